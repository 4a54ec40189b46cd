#pragma once

#include "troupe/managers/child_process.hpp"
#include "troupe/managers/keeper_manager.hpp"
#include "troupe/managers/machine_spec.hpp"

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace troupe {

/// A node of a Slurm allocation.
struct slurm_node {
  std::string name;
  /// How many tasks, and logical CPUs, the allocation has there.
  int tasks = 1;
  int cpus = 1;
};

/// The number for each node from what Slurm says in its variables: "4(x2),1" is 4, 4, 1. Throws usage_error for what isn't that.
std::vector<int> parse_slurm_counts(std::string_view text);

/// As many workers on each node as it has a share in all tasks, `count` together; auto_count: as many as there are tasks.
std::vector<int> share_among(const std::vector<slurm_node>& nodes, int count);

/// The allocation that this process is in: from the environment, names expanded by `scontrol`. Throws usage_error if there is none, std::runtime_error if scontrol fails.
std::vector<slurm_node> slurm_allocation();

/// Starts workers inside a Slurm allocation: on each node one step of `srun` with a host keeper, which starts the workers there. `c.addprocs(std::make_shared<slurm_manager>(8))`.
///
/// They may use all CPUs that the allocation has on their node. They listen where the node's name is most likely to be reached (see choose_bind_address), unless
/// options.bind_addr says otherwise.
class slurm_manager final : public keeper_manager, public std::enable_shared_from_this<slurm_manager> {
public:
  /// `count`: how many workers, or auto_count: one for each task of the allocation.
  explicit slurm_manager(int count, launch_options options = {});

  void attach(const manager_context& context) override { context_ = context; }
  void launch(const launch_options& options, launch_sink& sink) override;
  void relaunch(const worker_config& lost, const launch_options& options, launch_sink& sink) override;
  launch_options default_options() const override { return options_; }
  /// "slurm_manager(8)"
  std::string to_text() const override;

private:
  struct part {
    slurm_node node;
    int number; // of the node
    int first;
    int count;
  };

  void launch(const launch_options& options, launch_sink& sink, const std::vector<part>& parts);

  const int count_;
  const launch_options options_;
  manager_context context_{};
};

/// The command that brings a keeper to a node.
child_options slurm_step(const slurm_node& node, const launch_options& options);

} // namespace troupe
