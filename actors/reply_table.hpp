#pragma once

#include "troupe/actors/future_state.hpp"
#include "troupe/transport/proc_id.hpp"

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

namespace troupe {

/// The calls of this process that have no answer yet, by number. When a process is lost, the calls to it end with its error.
///
/// Any thread. Who calls and who takes answers meet at every call, so they meet at no lock: each slot belongs to who has
/// changed its `key`, and threads keep free slots for themselves. `mutex_` guards the rest, for each batch of slots.
class reply_table {
public:
  using entry = std::shared_ptr<detail::future_state>;

  reply_table();
  ~reply_table();
  reply_table(const reply_table&) = delete;
  reply_table& operator=(const reply_table&) = delete;

  /// Returns the number of a new call, never 0 and never one of a call that is open or was recently.
  std::uint64_t add(proc_id to, entry waiting);

  /// What waits for this answer; null if nobody does.
  entry find(std::uint64_t number);

  /// Ends a call. Null if there's no such call: then the answer came twice, or too late.
  entry take(std::uint64_t number);

  /// Ends all calls to a process with an error.
  void fail_all(proc_id to, const error_info& why);

  /// How many calls are open.
  std::size_t size() const;

private:
  struct slot {
    std::atomic<std::uint64_t> key{0}; // the number of the open call; 0: none; with `looked_at`, somebody reads `waiting`
    std::atomic<proc_id> to{0};
    std::uint32_t generation = 0;
    entry waiting;
  };
  class free_slots;

  static constexpr std::size_t first_block = 256; // each block is twice as large as the one before
  static constexpr std::size_t most_blocks = 24;  // more than 4 thousand million calls would be open

  static free_slots& of_this_thread();
  slot* slot_at(std::uint32_t index) const;
  std::uint32_t take_free_slot();
  void give_back(std::uint32_t index);
  void get_free_slots(std::vector<std::uint32_t>& out);
  void put_free_slots(std::vector<std::uint32_t>& in, std::size_t kept);
  bool claim(slot& s, std::uint64_t number);
  slot* claimed(std::uint64_t number);

  const std::uint64_t serial_; // of the tables of this process
  std::array<std::atomic<slot*>, most_blocks> blocks_{};
  mutable std::mutex mutex_; // guards what follows; nothing else is locked while it is held
  std::vector<std::unique_ptr<slot[]>> owned_;
  std::vector<std::uint32_t> free_;
};

} // namespace troupe
