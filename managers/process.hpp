#pragma once

#include "troupe/actors/named_values.hpp"
#include "troupe/actors/runtime.hpp"
#include "troupe/managers/membership.hpp"
#include "troupe/transport/loop.hpp"
#include "troupe/transport/mesh.hpp"
#include "troupe/transport/refusals.hpp"

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace troupe {

/// What master and workers have in common: the loop with its thread, the mesh, the runtime, and who belongs to the cluster. The role
/// takes the events that are its own.
class process {
public:
  struct role {
    /// A control frame.
    std::function<void(proc_id, frame_view&)> control;
    /// A link has ended; it is opened again if the process lives.
    std::function<void(proc_id, const std::string& why)> down;
    /// A process can't be reached any more.
    std::function<void(proc_id, const std::string& why)> lost;
    /// The cluster goes on without this process.
    std::function<void(const std::string& why)> dismissed;
    /// A worker has got its id.
    std::function<void(const hello&)> adopted;
    /// See all_linked. May be empty.
    std::function<void()> linked{};
    /// See mesh::events. May be empty.
    std::function<std::optional<mesh::guest>(const hello&)> guest_comes{};
  };

  /// `net`: TCP if null.
  process(std::string cookie, proc_id id, std::uint64_t cluster, role r, std::shared_ptr<transport> net = nullptr);
  ~process();
  process(const process&) = delete;
  process& operator=(const process&) = delete;

  /// Makes the runtime, once the id is known. Any thread but the loop's.
  void make_runtime(int turns);

  /// Starts the loop's thread.
  void start();
  /// Ends all links, and the loop. Nothing is received any more.
  void stop();

  loop& events() { return loop_; }
  mesh& net() { return *mesh_; }
  membership& members() { return members_; }
  named_values& named() { return named_; }
  /// Null before make_runtime.
  troupe::runtime* runtime() { return runtime_.get(); }
  const std::string& host() const { return host_; }
  /// What others are told of this process.
  member self() const;
  void set_address(endpoint where) { where_ = std::move(where); }

  /// Before the first change of membership that has others in it. Loop thread.
  void set_form(const cluster_form& form, place_in_topology place = {}) {
    form_ = form;
    place_ = std::move(place);
  }
  const cluster_form& form() const { return form_; }

  /// Takes a change of membership, on workers and on the master alike. Opens the links to those who have joined unless they are lazy. Loop thread.
  void apply(const membership_change& change);

  /// Whether the links that have to be open are, or can't be had: role::linked tells when that may have become so. Loop thread.
  bool all_linked() const { return awaited_links_.empty(); }

  /// Runs a function on the loop's thread and waits for it. Not from the loop's thread.
  void run_in_loop(const std::function<void()>& f);

  /// What a process on this machine is doing, as a letter of /proc/PID/stat: T for stopped by a signal, t by a debugger; 0 for one
  /// that is elsewhere or that nothing is known of. Any thread.
  char state_of(proc_id id) const;

  /// For the user, on stderr: one line, above what shows progress. Any thread.
  static void warn(const std::string& text);

private:
  void meet(const member& me, const member& m);
  void link_is_there(proc_id id);
  error_info topology_error(proc_id to) const;
  void refused(const refusal& r);
  void tell_refusals();
  void link_missing(proc_id id, const error_info& why);

  std::string host_;
  role role_;
  endpoint where_;
  std::uint64_t scope_;
  cluster_form form_; // loop thread
  place_in_topology place_; // loop thread
  std::set<proc_id> awaited_links_; // loop thread
  loop loop_;
  std::unique_ptr<mesh> mesh_;
  refusal_log refusals_; // loop thread
  loop::timer_id refusals_timer_ = 0;
  membership members_;
  named_values named_;
  std::unique_ptr<troupe::runtime> runtime_;
  std::thread thread_;
};

/// This machine's name.
std::string host_name();

/// The same number on all processes, and on those only, that a loopback address of this process's leads to the same: a network namespace of a machine since it was started.
std::uint64_t loopback_scope();

/// What /proc/PID/stat has behind a process's name: its state, its parent's id, and so on, see proc(5); empty if there's no such process.
std::vector<std::string> stat_fields(std::int64_t pid);

/// The error that calls to a process get once it is gone.
error_info gone_error(proc_id id, const exit_cause& cause);

/// The error that new calls to a process get that is to finish what it has.
error_info draining_error(proc_id id);

} // namespace troupe
