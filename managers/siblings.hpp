#pragma once

#include "troupe/managers/cluster_manager.hpp"
#include "troupe/managers/process.hpp"

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace troupe {

/// How the first worker of a host starts the others there: see worker_config::count.
struct sibling_orders {
  /// How many; 0: one for each logical CPU, less this one.
  int count = 0;
  std::string exename;
  std::vector<std::string> exeflags;
  int threads = 1;
  std::int64_t timeout_ms = 60000;

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, sibling_orders& x) {
    return f(x.count, x.exename, x.exeflags, x.threads, x.timeout_ms);
  }
};

/// What came of it.
struct started_siblings {
  std::vector<endpoint> listening;
  std::vector<std::int64_t> os_pids; // of the same
  std::vector<std::string> failures;

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, started_siblings& x) {
    return f(x.listening, x.os_pids, x.failures);
  }
};

/// On a worker, while it serves: what starts others beside it. They end with this process. What they write goes to this process's standard output, each line behind
/// "      From worker 3:" and a tab.
class sibling_starter {
public:
  /// `bind_addr`: where they listen.
  sibling_starter(process& p, std::string bind_addr);
  ~sibling_starter();
  sibling_starter(const sibling_starter&) = delete;
  sibling_starter& operator=(const sibling_starter&) = delete;

private:
  friend started_siblings start_siblings(proc_id on, const sibling_orders& orders);
  friend class sibling_manager;
  struct state;
  std::shared_ptr<state> state_;
};

/// On the master: has a worker start others, and blocks until they listen or have failed. Throws what calls throw.
started_siblings start_siblings(proc_id on, const sibling_orders& orders);

/// Brings in such workers: its calls go to the manager of the first one, but for those that end a process, which the first one does.
class sibling_manager final : public cluster_manager {
public:
  sibling_manager(process& p, proc_id first, std::shared_ptr<cluster_manager> of_first)
    : process_(p), first_(first), of_first_(std::move(of_first)) {}

  void launch(const launch_options&, launch_sink&) override {}
  void manage(proc_id id, const worker_config& config, manage_op op) override;
  void kill(proc_id id, const worker_config& config) override;
  void lost(proc_id id, const worker_config& config) override;

private:
  void tell(proc_id id, const worker_config& config, int what);

  process& process_;
  const proc_id first_;
  const std::shared_ptr<cluster_manager> of_first_;
};

} // namespace troupe
