#pragma once

#include "troupe/managers/started_manager.hpp"

#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace troupe {

class gathering;

/// Starts workers on this host: each in a process group of its own, with the cookie as the first line of its standard input, which
/// stays open as long as this process lives: a worker whose input ends, ends too.
class local_manager final : public started_manager, public std::enable_shared_from_this<local_manager> {
public:
  /// What `context` points to must outlive the manager and its workers. Throws usage_error for options that make no sense.
  local_manager(int count, local_options options, manager_context context);
  ~local_manager() override;

  void launch(const launch_options& options, launch_sink& sink) override;
  void relaunch(const worker_config& lost, const launch_options& options, launch_sink& sink) override;
  launch_options default_options() const override;

  void kill_all() override;

  std::string to_text() const override;

private:
  class child;

  void launch(const launch_options& options, launch_sink& sink, const std::vector<int>& indices);
  void start(const launch_options& options, int index, const std::shared_ptr<gathering>& g);

  const int count_;
  const local_options options_;
  const manager_context context_;
  std::mutex children_mutex_;
  std::vector<std::weak_ptr<child>> children_;
};

} // namespace troupe
