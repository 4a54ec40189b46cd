#pragma once

#include "troupe/managers/join.hpp"

#include "troupe/transport/transport.hpp"

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace troupe {

/// How a worker was started; see `app --worker`.
struct worker_settings {
  /// A numeric address, an interface or a subnet, with a port or without.
  std::string bind_addr = "127.0.0.1";
  /// How many ports are tried, from that port on.
  int bind_tries = 1;
  double launch_timeout = 60; // seconds
  int threads = 1;
  /// Ends when its standard input does.
  bool tied = false;
  /// Not empty: the cluster's cookie, which isn't read from standard input then.
  std::string cookie;
  /// Whether standard input reads as empty once the cookie has been read, and whether what is written to stderr goes to stdout.
  bool close_stdin = false;
  bool stderr_to_stdout = false;
  /// It is no worker but the host's keeper, see run_host_keeper.
  bool keeper = false;
  /// For a rank of an MPI job; -1: MPI_THREAD_MULTIPLE.
  int mpi_thread_level = -1;
};

/// When the time is over that a worker has for joining, if that begins now.
std::chrono::steady_clock::time_point launch_limit(const worker_settings& settings);

/// Serves as a worker until the master lets it go: reads the cookie from standard input (unless it is given one), listens, prints its address, joins, runs what it
/// is asked to. `apply` sets the program's options to what the master tells; what it throws is told to the master. Returns the exit
/// status. A worker that loses its master ends the process at once.
int run_worker(const worker_settings& settings, const std::function<void(const option_values&)>& apply);

/// A master that a worker is to dial.
struct master_address {
  endpoint where;
  /// See hello::claim.
  std::string claim;
};

/// A worker that isn't told these things by its standard input and output.
struct prepared_worker {
  worker_settings settings;
  std::string cookie;
  /// What it is tied to, if it is; -1: its standard input.
  int tied_to = -1;
  /// TCP if null.
  std::shared_ptr<transport> net;
  /// Is called once, with where the worker listens.
  std::function<void(const endpoint&)> announce;
  /// Is called before the process ends while a task is still running. May be empty.
  std::function<void()> before_exit;
  /// Where to dial the master, one address after the other until one leads to it; empty: the master dials.
  std::vector<master_address> master;
  /// Whether the user is told when the first attempt has failed.
  bool tells_why_not = false;
  /// Is called once, with the worker's id. May be empty.
  std::function<void(proc_id)> joined;
  /// Is called when the worker is to leave; with whether it is a rank of an MPI job that ends without the others. May be empty.
  std::function<void(bool apart)> leaving;
};

/// The next line of standard input, read byte by byte: what follows is not ours. Throws usage_error if none comes before `limit`, or if it is longer
/// than a setting can be; `what` says in the error what it should have been.
std::string read_setting_line(std::chrono::steady_clock::time_point limit, const std::string& what);

/// The same, for such a worker.
int run_worker(prepared_worker worker, const std::function<void(const option_values&)>& apply);

} // namespace troupe
