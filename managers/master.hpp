#pragma once

#include "troupe/managers/cluster_manager.hpp"
#include "troupe/managers/default_pool.hpp"
#include "troupe/managers/join.hpp"
#include "troupe/managers/local_manager.hpp"
#include "troupe/managers/machine_spec.hpp"
#include "troupe/managers/mpi_world.hpp"
#include "troupe/managers/named_changes.hpp"
#include "troupe/managers/output_pump.hpp"
#include "troupe/managers/process.hpp"
#include "troupe/managers/rank_output.hpp"
#include "troupe/transport/tcp.hpp"

#include <chrono>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace troupe {

/// Process 1: it brings workers in, sees them go, and tells everyone.
///
/// What is known of each worker belongs to the loop's thread. The public functions may be called from any other thread, and
/// block; additions and removals may be under way at the same time.
class master {
public:
  using output_handler = std::function<void(proc_id, std::string_view)>;

  struct settings {
    std::string cookie;
    int threads = 1;
    std::string bind_addr;
    std::chrono::milliseconds launch_timeout{60000};
    /// What holds unless the first addition of workers says otherwise.
    topology_choice topology;
    lazy_choice lazy;
    /// TCP if null.
    std::shared_ptr<transport> net;
    /// See job.
    std::shared_ptr<mpi_world> job;
  };

  explicit master(settings s);
  ~master();
  master(const master&) = delete;
  master& operator=(const master&) = delete;

  process& self() { return process_; }

  /// What new workers are told of the program's options.
  void set_options(option_values values);

  /// See cluster::addprocs.
  std::vector<proc_id> add(const std::shared_ptr<cluster_manager>& manager, launch_options options);
  std::vector<proc_id> add_local(int count, local_options options);
  std::vector<proc_id> add_ssh(const std::vector<machine_spec>& machines, ssh_options options);

  /// Lets workers in that come by themselves and know the cookie, at this address (empty: at all of this host), from now on. Returns where they find it.
  endpoint let_guests_in(const std::string& address);

  /// The MPI job that this process is a rank of, or that the command line has asked for; null if there's none.
  const std::shared_ptr<mpi_world>& job() const { return settings_.job; }

  /// These processes as a group of ranks, if they are all of one MPI job; see mpi_world::group_of.
  std::optional<rank_group> ranks_of(const std::vector<proc_id>& ids);

  /// See cluster::rmprocs.
  void remove(const std::vector<proc_id>& ids, std::optional<std::chrono::milliseconds> limit);
  /// See cluster::rmprocs_async: what the result is called for blocks until they are gone.
  std::function<void()> begin_removing(const std::vector<proc_id>& ids);

  /// See cluster::drain. Returns those that still have something to do.
  std::vector<proc_id> drain(const std::vector<proc_id>& ids, std::optional<std::chrono::milliseconds> limit);

  /// Called with each line that a worker writes, in place of printing it; null: printing again.
  void on_output(output_handler handler);

  /// See cluster::on_join.
  void on_join(join_function f);

  /// See cluster::define.
  named_changes& names() { return names_; }

  /// See cluster::default_worker_pool.
  default_pool& pool() { return pool_; }

  /// Throws usage_error once there have been workers.
  void set_cookie(const std::string& cookie);

  /// Asks all workers to leave, then makes them, and stops. Returns what is left of this process's own tasks and actors (see
  /// runtime::shut_down).
  std::string shut_down();

  /// Kills all workers and ends this process. For the second Ctrl-C.
  [[noreturn]] void end_now(int status);

private:
  struct batch;
  struct adding;
  struct worker;
  using worker_ptr = std::shared_ptr<worker>;
  class sink;

  std::shared_ptr<batch> begin_adding(const launch_options& options);
  void finish_adding(const std::shared_ptr<batch>& b, const launch_options& options);
  void replace(const worker_ptr& lost);
  void relaunch(const std::shared_ptr<cluster_manager>& manager, const worker_config& lost, const launch_options& options, proc_id id);
  std::optional<mesh::guest> take_guest(const hello& h);
  std::optional<std::string> missing_peer(const batch& b) const;
  void control(proc_id from, frame_view& f);
  void print(proc_id id, std::string_view line);
  std::vector<proc_id> ranks_of_own_job() const;
  void take_last_lines(const std::vector<proc_id>& ids);
  void give_up_joining(const std::shared_ptr<batch>& b);
  std::vector<named_changes::listener> listeners() const;
  void set_up(const worker_ptr& w);
  void add_siblings(const worker_ptr& first, const std::shared_ptr<batch>& b);
  void send_join(const worker_ptr& w);
  void take_answer(proc_id from, const frame_view& f);
  void fail_set_up(const worker_ptr& w, launch_reason reason, const std::string& text);
  void link_down(proc_id id, const std::string& why);
  void unreachable(proc_id id, const std::string& why);
  void process_ended(proc_id id, const exit_cause& cause);
  void lose(const worker_ptr& w);
  void begin_removal(const std::vector<proc_id>& ids, const std::shared_ptr<batch>& b);
  void left(const worker_ptr& w);
  static void retire(worker& w);
  void broadcast(membership_change change);
  void take_seen(proc_id from, std::uint64_t version);
  void wait_until_seen(std::chrono::milliseconds limit);
  bool wait_until(std::function<bool()> holds, std::optional<std::chrono::milliseconds> limit);
  void look_again();
  worker_ptr find(proc_id id) const;
  std::vector<proc_id> removable(const std::vector<proc_id>& ids, const std::string& what) const;
  void wait_for_removal(const std::vector<std::shared_ptr<batch>>& all, std::optional<std::chrono::milliseconds> limit);
  std::vector<std::shared_ptr<batch>> start_removal(const std::vector<proc_id>& ids);
  bool wait_for_leaving(std::chrono::milliseconds limit);
  void keep(const std::shared_ptr<own_manager>& manager);
  endpoint let_dial(const std::string& address);
  manager_context context();

  settings settings_;
  process process_;
  default_pool pool_;
  std::mutex cookie_mutex_;
  bool had_workers_ = false;

  std::mutex ids_mutex_;
  proc_id last_id_ = master_id;

  std::mutex own_managers_mutex_;
  std::vector<std::weak_ptr<own_manager>> own_managers_;

  std::mutex printing_; // held while a line is printed or handled: the pump's thread does that, and tasks of rank_output
  std::unique_ptr<rank_output> rank_output_; // guarded by output_mutex_; once made, it stays
  std::mutex output_mutex_;
  output_handler output_;
  bool output_lost_ = false; // guarded by printing_

  // loop thread
  std::map<proc_id, worker_ptr> workers_;
  option_values options_;
  std::vector<join_function> join_functions_;
  named_changes names_;
  std::uint64_t version_ = 0;
  struct awaited {
    std::function<bool()> holds;
    std::shared_ptr<detail::future_state> done;
  };
  std::list<awaited> awaited_; // what is looked at whenever something has changed
  int adding_ = 0; // additions under way
  bool ending_ = false;
  std::shared_ptr<cluster_manager> guests_; // null while none are let in
  struct listener {
    std::string at;
    endpoint where;
    std::unique_ptr<tcp_transport> net;
  };
  std::vector<listener> listeners_; // which workers dial

  output_pump pump_; // last: its thread calls the others
};

} // namespace troupe
