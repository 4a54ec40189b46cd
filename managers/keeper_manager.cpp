#include "troupe/managers/keeper_manager.hpp"

#include "troupe/managers/keeper_launch.hpp"

namespace troupe {

std::function<void(const std::shared_ptr<keeper_session>&)> keeper_manager::remembering() {
  return [this](const std::shared_ptr<keeper_session>& s) {
    std::lock_guard guard{sessions_mutex_};
    std::erase_if(sessions_, [](auto& weak) { return weak.expired(); });
    sessions_.push_back(s);
  };
}

void keeper_manager::kill_all() {
  std::lock_guard guard{sessions_mutex_};
  for (auto& weak : sessions_)
    if (const auto s = weak.lock())
      s->kill_now();
}

} // namespace troupe
