#pragma once

#include "troupe/transport/reference.hpp"

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <unordered_map>
#include <vector>

namespace troupe {

/// Functions that other processes call here again and again: each was sent once, and is kept under its number until the one who sent it says that it is done with it, or has
/// gone. Any thread. Locking: `mutex_` guards everything; functions are made and destroyed without it, and destroyed in a task's turn.
class function_cache {
public:
  using function = std::shared_ptr<const void>;

  /// The function of this number, as an object of the type of this tag. Throws codec_error if there's none, or it is of another type.
  function get(const ref_id& id, std::uint64_t type) const;

  /// The same; what `make` gives if there's none. It isn't kept if it was to be forgotten meanwhile.
  function get_or_add(const ref_id& id, std::uint64_t type, const std::function<function()>& make);

  void forget(const ref_id& id);

  /// Forgets all that a process has sent.
  void peer_lost(proc_id id);

  /// Their numbers, in ascending order.
  std::vector<ref_id> list() const;

private:
  struct entry {
    std::uint64_t type = 0;
    function f;
  };

  static function checked(const ref_id& id, const entry& e, std::uint64_t type);

  mutable std::mutex mutex_;
  std::unordered_map<ref_id, entry> all_;
  std::deque<ref_id> forgotten_; // the last ones: a call that was given up may still be about to bring one
  std::set<proc_id> gone_; // processes that have sent one and are lost, or may still have calls here
};

} // namespace troupe
