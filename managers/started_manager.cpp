#include "troupe/managers/started_manager.hpp"

#include "troupe/managers/started_worker.hpp"

namespace troupe {

void started_manager::manage(proc_id id, const worker_config& config, manage_op op) {
  if (const auto w = started_worker::of(config))
    w->manage(id, op);
}

void started_manager::kill(proc_id, const worker_config& config) {
  if (const auto w = started_worker::of(config))
    w->kill();
}

void started_manager::lost(proc_id, const worker_config& config) {
  if (const auto w = started_worker::of(config))
    w->lost();
}

bool started_manager::watch(proc_id, const worker_config& config, std::function<void(exit_cause)> ended) {
  const auto w = started_worker::of(config);
  if (w)
    w->watch(std::move(ended));
  return w != nullptr;
}

} // namespace troupe
