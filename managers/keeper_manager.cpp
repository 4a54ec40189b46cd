#include "troupe/managers/keeper_manager.hpp"

#include "troupe/managers/keeper_launch.hpp"

namespace troupe {

void keeper_manager::run(keeper_launch& l, launch_sink& sink) {
  struct remember { // also when the launch is interrupted
    keeper_manager& self;
    const keeper_launch& of;
    ~remember() {
      std::lock_guard guard{self.sessions_mutex_};
      std::erase_if(self.sessions_, [](auto& weak) { return weak.expired(); });
      self.sessions_.insert(self.sessions_.end(), of.sessions().begin(), of.sessions().end());
    }
  } remembering{*this, l};
  l.run(sink);
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
