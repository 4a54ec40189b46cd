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

void keeper_manager::manage(proc_id id, const worker_config& config, manage_op op) {
  if (const auto w = started_worker::of(config))
    w->manage(id, op);
}

bool keeper_manager::watch(proc_id, const worker_config& config, std::function<void(exit_cause)> ended) {
  const auto w = started_worker::of(config);
  if (w)
    w->watch(std::move(ended));
  return w != nullptr;
}

void keeper_manager::lost(proc_id, const worker_config& config) {
  if (const auto w = started_worker::of(config))
    w->lost();
}

void keeper_manager::kill(proc_id, const worker_config& config) {
  if (const auto w = started_worker::of(config))
    w->kill();
}

void keeper_manager::kill_all() {
  std::lock_guard guard{sessions_mutex_};
  for (auto& weak : sessions_)
    if (const auto s = weak.lock())
      s->kill_now();
}

} // namespace troupe
