#pragma once

#include <caf/actor_control_block.hpp>
#include <caf/error.hpp>

#include <cstddef>
#include <deque>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <utility>

namespace troupe {

/// Why the actors that have ended lately did: who watches one too late is told what it would have heard in time.
/// Any thread.
class ended_actors {
public:
  /// How many are remembered.
  static constexpr std::size_t capacity = 4096;

  void note(caf::actor_id id, caf::error reason) {
    std::lock_guard guard{mutex_};
    if (!reasons_.try_emplace(id, std::move(reason)).second)
      return;
    order_.push_back(id);
    if (order_.size() > capacity) {
      reasons_.erase(order_.front());
      order_.pop_front();
    }
  }

  std::optional<caf::error> reason_of(caf::actor_id id) const {
    std::lock_guard guard{mutex_};
    auto i = reasons_.find(id);
    return i == reasons_.end() ? std::nullopt : std::optional{i->second};
  }

private:
  mutable std::mutex mutex_;
  std::unordered_map<caf::actor_id, caf::error> reasons_;
  std::deque<caf::actor_id> order_; // the oldest first
};

} // namespace troupe
