#pragma once

#include "troupe/managers/machine_spec.hpp"
#include "troupe/managers/options.hpp"

#include <map>
#include <optional>
#include <string>

namespace command {

/// How hosts are looked at.
struct host_question {
  troupe::ssh_options ssh; ///< launch_timeout: how long one host may take; exename: which program is looked for, if any
  std::string dir;         ///< where workers would run
};

/// Another host's clock, against this one's.
struct clock_difference {
  double seconds = 0; ///< it is ahead by so much
  double error = 0;   ///< give or take
};

/// What a host has told.
struct host_state {
  troupe::machine_spec machine{"localhost"};
  /// Seconds until a shell there answered; nothing: it never did.
  std::optional<double> reached;
  /// Why it has not told all, and what to do; empty if it has.
  std::string failure;
  std::string advice;
  std::optional<clock_difference> clock;
  /// By name; what a host couldn't tell is empty or isn't there:
  ///   name, os, arch, cpus, load, total, available (kB), machine (unlike any other's), mpi (of mpirun --version), dir ("yes", "no"),
  ///   program (its path), head (its first bytes, hexadecimal), version (the first line that it says to --version)
  std::map<std::string, std::string> told;

  std::string at(const std::string& name) const;
};

/// Runs a script there by ssh, as a launch would start a worker: the same client, login shell and flags. Blocks, no longer than launch_timeout and a second. Any thread.
host_state look_at(const troupe::machine_spec& machine, const host_question& what);

/// The same about this host, without ssh.
host_state look_here();

} // namespace command
