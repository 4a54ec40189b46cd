#pragma once

/// Programs under mpirun, as their users start them.

#include "system/faults.hpp"

#include <string>
#include <vector>

namespace faults {

inline const std::vector<std::string> mpi_modes{"--mpi-transport", "--tcp-transport"};

/// mpirun -n RANKS PROGRAM ARGS…
inline run mpirun(int ranks, const std::string& name, std::vector<std::string> args, run::variables env = {}) {
  std::vector<std::string> all{"-n", std::to_string(ranks), program(name)};
  all.insert(all.end(), args.begin(), args.end());
  return run{"/usr/bin/mpirun", std::move(all), std::move(env)};
}

/// The processes of a run that run this program, but for the run's own.
inline std::vector<::pid_t> running(const run& r, const std::string& name) {
  auto all = r.children();
  std::erase_if(all, [&](::pid_t pid) {
    const auto command = read_file("/proc/" + std::to_string(pid) + "/cmdline");
    return std::filesystem::path{command.substr(0, command.find('\0'))}.filename() != name
           || read_file("/proc/" + std::to_string(pid) + "/comm") == "troupe-keeper\n";
  });
  return all;
}

} // namespace faults
