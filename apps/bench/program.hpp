#pragma once

#include <string>
#include <vector>

namespace bench {

struct program_settings {
  std::string name;
  /// What --version shows; empty: the name and troupe's.
  std::string version{};
  /// What is measured when no names are given, and printed for people. Empty: all, for programs.
  std::vector<std::string> selection{};
  /// How long each is measured by default, in seconds.
  double time = 2;
};

/// The benchmark: each figure is a line of JSON on stdout, beside what bare sockets and processes do. Returns the exit status.
int run_program(int argc, char** argv, const program_settings& settings);

/// Whether this process was started by such a program, as a worker or to be measured: it has to be handed to run_program, whatever
/// else the executable is.
bool is_own_start(int argc, char** argv);

} // namespace bench
