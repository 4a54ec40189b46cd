#pragma once

#include "troupe/managers/mpi_job.hpp"
#include "troupe/managers/mpi_world.hpp"
#include "troupe/transport/unique_fd.hpp"

#include <functional>
#include <map>
#include <memory>
#include <vector>

namespace troupe {

/// Brings in the other ranks of the master's own job, which are there already: rank r becomes process r + 1.
class mpi_rank_manager final : public mpi_world, public std::enable_shared_from_this<mpi_rank_manager> {
public:
  /// What mpi_job::gather gave.
  explicit mpi_rank_manager(std::vector<mpi_job::rank_info> ranks);
  void launch(const launch_options& options, launch_sink& sink) override;
  void manage(proc_id id, const worker_config& config, manage_op op) override;
  void kill(proc_id id, const worker_config& config) override;
  void lost(proc_id id, const worker_config& config) override;
  /// Where a rank's death isn't the end of all, and its process is one of this host's.
  bool watch(proc_id id, const worker_config& config, std::function<void(exit_cause)> ended) override;
  void attach(const manager_context& context) override { context_ = context; }
  bool shows_output() const override { return true; }

private:
  struct watched {
    unique_fd process; // a pidfd
    std::function<void(exit_cause)> on_end;
  };

  void tell_end(proc_id id, const exit_cause& cause);

  std::vector<mpi_job::rank_info> ranks_;
  manager_context context_{};
  std::map<proc_id, watched> watched_; // loop thread
};

} // namespace troupe
