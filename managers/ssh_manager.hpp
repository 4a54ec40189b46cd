#pragma once

#include "troupe/managers/keeper_lines.hpp"
#include "troupe/managers/keeper_manager.hpp"
#include "troupe/managers/keeper_session.hpp"
#include "troupe/managers/machine_spec.hpp"

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace troupe {

class keeper_launch;
struct told_worker;

/// Starts workers on hosts that the system's ssh client reaches: one connection for each host, over which a host keeper starts its workers and tells what becomes of them.
class ssh_manager final : public keeper_manager, public std::enable_shared_from_this<ssh_manager> {
public:
  /// What `context` points to must outlive the manager and its workers. Throws usage_error for machines and options that make no sense; nothing has been started then.
  ssh_manager(std::vector<machine_spec> machines, ssh_options options, manager_context context);
  ~ssh_manager() override;

  void launch(const launch_options& options, launch_sink& sink) override;
  void relaunch(const worker_config& lost, const launch_options& options, launch_sink& sink) override;
  void manage(proc_id id, const worker_config& config, manage_op op) override;
  launch_options default_options() const override;

  /// "ssh_manager(node1, user@node2:2222 * 4, node3 * auto)"
  std::string to_text() const override;

private:
  struct part;

  void launch(const launch_options& options, launch_sink& sink, const std::vector<part>& parts);
  struct way;

  /// A client with the user's options; `first` stand in front of these.
  child_options client_with(const machine_spec& m, const launch_options& options, std::vector<std::string> first) const;
  child_options client_of(const machine_spec& m, const launch_options& options, const std::string& control_path) const;
  void make_way(const std::shared_ptr<keeper_launch>& l, const std::shared_ptr<way>& w, const child_options& client,
                const std::string& destination, const std::vector<told_worker>& told) const;
  std::string bind_address_of(const machine_spec& m, const launch_options& options, const keeper_hello& there) const;

  const std::vector<machine_spec> machines_;
  const ssh_options options_;
  const manager_context context_;
  std::mutex ways_mutex_; // guards the ways
  std::vector<std::weak_ptr<way>> ways_;
};

/// The client by which a launch reaches a machine, without a multiplexed connection; the command that is to run there becomes its last argument.
child_options ssh_client(const machine_spec& m, const ssh_options& options);

/// Why there is no keeper at the other end of an ssh client that has ended, and what to do; `dir` and `program` are what it was to find there.
launch_failure explain_ssh(const std::string& host, const keeper_session::end& end, const std::string& dir, const std::string& program);

} // namespace troupe
