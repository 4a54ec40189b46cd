#pragma once

#include "troupe/actors/future_state.hpp"
#include "troupe/transport/proc_id.hpp"

#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

namespace troupe {

/// The calls of this process that have no answer yet, by number. When a process is lost, the calls to it end with its error.
/// Any thread. Locking: `mutex_` guards everything; futures are completed without it.
class reply_table {
public:
  using entry = std::shared_ptr<detail::future_state>;

  /// Returns the number of a new call, never 0 and never one of a call that is open or was recently.
  std::uint64_t add(proc_id to, entry waiting);

  /// What waits for this answer; null if nobody does.
  entry find(std::uint64_t number) const;

  /// Ends a call. Null if there's no such call: then the answer came twice, or too late.
  entry take(std::uint64_t number);

  /// Ends all calls to a process with an error.
  void fail_all(proc_id to, const error_info& why);

  /// How many calls are open.
  std::size_t size() const;

private:
  struct slot {
    std::uint32_t generation = 1;
    proc_id to = 0; // 0: free
    entry waiting;
  };

  const slot* open_slot(std::uint64_t number) const;

  mutable std::mutex mutex_;
  std::vector<slot> slots_;
  std::vector<std::uint32_t> free_;
};

} // namespace troupe
