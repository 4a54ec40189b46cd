#pragma once

#include "troupe/managers/cluster_manager.hpp"
#include "troupe/managers/output_pump.hpp"
#include "troupe/transport/loop.hpp"
#include "troupe/transport/transport.hpp"

#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace troupe {

/// What a manager of ours needs of the master.
struct manager_context {
  loop* events;
  output_pump* pump;
  std::string cookie;
  std::string host;
  /// A line of a worker's output; id 0 while it has none yet.
  std::function<void(proc_id, std::string_view)> output;
  /// A line for the user, on stderr.
  std::function<void(const std::string&)> warn;
  /// Lets workers dial the master at this address, with a port or without; returns where. Not on the loop's thread. Throws as
  /// transport::listen.
  std::function<endpoint(const std::string& address)> listen;
};

/// A manager of troupe's own, which knows more of the master than others.
class own_manager : public cluster_manager {
public:
  /// Comes before `launch`. What `context` points to outlives the manager's workers.
  virtual void attach(const manager_context&) {}

  /// Kills every process that it has started. Any thread.
  virtual void kill_all() {}

  /// What it is, for people: "local_manager(4 workers on this host)". Has no secrets.
  virtual std::string to_text() const { return "a manager"; }
};

/// Throws usage_error for what is wrong in the options of any manager of troupe's own; `kind` names its workers.
void check_options(const launch_options& options, const std::string& kind);

/// What makes a program a worker that was started by its master, behind its own arguments. It listens at `bind_addr`, if that has a port, at one of the `bind_tries` ports from there on.
/// `cookie`: stands on the command line; empty: comes by standard input.
std::vector<std::string> worker_arguments(const launch_options& options, const std::string& bind_addr, int bind_tries,
                                          const std::string& cookie = {});

/// What the environment of a process must not have that is started by an MPI rank: it would wait in MPI_Init for ever. Beginnings
/// of variables' names.
std::vector<std::string> launcher_variables();

/// Adds what keeps numeric libraries from starting a thread for each CPU in each worker, unless the user has said what they are to do.
void add_thread_limits(std::vector<std::pair<std::string, std::string>>& env);

/// Writes to a process that may have ended already, which its end tells: SIGPIPE would end this one, too. Returns what write(2) does.
long write_to_child(int fd, std::string_view text);

/// The program that runs here.
std::string own_program();

} // namespace troupe
