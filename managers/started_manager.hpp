#pragma once

#include "troupe/managers/own_manager.hpp"

#include <functional>

namespace troupe {

/// A manager whose workers are all started_workers, however they are started: what happens to one is that one's business.
class started_manager : public own_manager {
public:
  void manage(proc_id id, const worker_config& config, manage_op op) override;
  void kill(proc_id id, const worker_config& config) override;
  void lost(proc_id id, const worker_config& config) override;
  bool watch(proc_id id, const worker_config& config, std::function<void(exit_cause)> ended) override;
};

} // namespace troupe
