#pragma once

#include "troupe/managers/own_manager.hpp"

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace troupe {

/// Starts workers on this host: each in a process group of its own, with the cookie as the first line of its standard input, which
/// stays open as long as this process lives: a worker whose input ends, ends too.
class local_manager final : public own_manager, public std::enable_shared_from_this<local_manager> {
public:
  /// What `context` points to must outlive the manager and its workers. Throws usage_error for options that make no sense.
  local_manager(int count, local_options options, manager_context context);
  ~local_manager() override;

  void launch(const launch_options& options, launch_sink& sink) override;
  void relaunch(const worker_config& lost, const launch_options& options, launch_sink& sink) override;
  void manage(proc_id id, const worker_config& config, manage_op op) override;
  void kill(proc_id id, const worker_config& config) override;
  void lost(proc_id id, const worker_config& config) override;
  bool watch(proc_id id, const worker_config& config, std::function<void(exit_cause)> ended) override;
  launch_options default_options() const override;

  void kill_all() override;

private:
  struct child;
  using child_ptr = std::shared_ptr<child>;
  struct gathering;

  void launch(const launch_options& options, launch_sink& sink, const std::vector<int>& indices);
  child_ptr start(const launch_options& options, int index, const std::shared_ptr<gathering>& g);
  void take_line(const child_ptr& c, std::string_view line, bool is_stderr, const std::shared_ptr<gathering>& g);
  void watch_end(const child_ptr& c, const std::shared_ptr<gathering>& g);
  void take_end(const child_ptr& c, const std::shared_ptr<gathering>& g);
  launch_failure explain(child& c, launch_reason reason, int status, const std::string& text) const;
  void give_up_silent(const launch_options& options, gathering& g);
  exit_cause cause_of(child& c) const;
  void escalate(const child_ptr& c, std::size_t stage);
  static child_ptr child_of(const worker_config& config);

  int count_;
  local_options options_;
  manager_context context_;
  std::mutex children_mutex_;
  std::vector<std::weak_ptr<child>> children_;
};

/// The address at which local workers listen when they shall be reached from other hosts: the first that is neither loopback
/// nor link-local, IPv4 before IPv6, then link-local ones; 127.0.0.1 if there's none.
std::string choose_bind_address();

} // namespace troupe
