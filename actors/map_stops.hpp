#pragma once

#include "troupe/transport/proc_id.hpp"

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <utility>

namespace troupe {

/// Which maps of other processes are to go no further here: batches of theirs look before each element. Of a map is known what is needed for the batches that run, and that it was stopped, until it has
/// ended, or the process has that it belongs to. Any thread. Locking: `mutex_` guards the table.
class map_stops {
public:
  using flag = std::shared_ptr<const std::atomic<bool>>;

  /// A batch begins. The flag is set once the map is stopped, or has ended.
  flag begin(proc_id from, std::uint64_t map);
  /// It is over.
  void over(proc_id from, std::uint64_t map, const flag& its);

  void stop(proc_id from, std::uint64_t map);

  /// Nobody wants its results any more. A batch may come all the same that was on its way.
  void end(proc_id from, std::uint64_t map);
  void peer_lost(proc_id id);

  /// Of how many maps is known. For tests.
  std::size_t size() const;

private:
  struct entry {
    std::shared_ptr<std::atomic<bool>> stopped = std::make_shared<std::atomic<bool>>(false);
    int batches = 0;
  };

  mutable std::mutex mutex_;
  std::map<std::pair<proc_id, std::uint64_t>, entry> all_;
};

} // namespace troupe
