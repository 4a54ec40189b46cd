#pragma once

#include "troupe/managers/join.hpp"

#include <functional>
#include <string>

namespace troupe {

/// How a worker was started; see `app --worker`.
struct worker_settings {
  std::string bind_addr = "127.0.0.1";
  double launch_timeout = 60; // seconds
  int threads = 1;
  /// Ends when its standard input does.
  bool tied = false;
};

/// Serves as a worker until the master lets it go: reads the cookie from standard input, listens, prints its address, joins, runs what it
/// is asked to. `apply` sets the program's options to what the master tells; what it throws is told to the master. Returns the exit
/// status. A worker that loses its master ends the process at once.
int run_worker(const worker_settings& settings, const std::function<void(const option_values&)>& apply);

} // namespace troupe
