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

  loop& events() {
    return loop_;
  }
  mesh& net() {
    return *mesh_;
  }
  membership& members() {
    return members_;
  }
  named_values& named() {
    return named_;
  }
  /// Null before make_runtime.
  troupe::runtime* runtime() {
    return runtime_.get();
  }
  const std::string& host() const {
    return host_;
  }
  /// What others are told of this process.
  member self() const;
  void set_address(endpoint where) {
    where_ = std::move(where);
  }

  /// Takes a change of membership, on workers and on the master alike. Loop thread.
  void apply(const membership_change& change);

  /// Runs a function on the loop's thread and waits for it. Not from the loop's thread.
  void run_in_loop(const std::function<void()>& f);

  /// What a process on this machine is doing, as a letter of /proc/PID/stat: T for stopped by a signal, t by a debugger; 0 for one
  /// that is elsewhere or that nothing is known of. Any thread.
  char state_of(proc_id id) const;

  /// For the user, on stderr: one line, above what shows progress. Any thread.
  static void warn(const std::string& text);

private:
  void refused(const refusal& r);
  void tell_refusals();
  void link_missing(proc_id id, const error_info& why);

  std::string host_;
  role role_;
  endpoint where_;
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

/// What /proc/PID/stat has behind a process's name: its state, its parent's id, and so on, see proc(5); empty if there's no such process.
std::vector<std::string> stat_fields(std::int64_t pid);

/// The error that calls to a process get once it is gone.
error_info gone_error(proc_id id, const exit_cause& cause);

} // namespace troupe
