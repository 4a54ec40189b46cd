#pragma once

#include "bench/own_process.hpp"

#include <vector>

namespace bench {

/// The CPUs that this process may use.
std::vector<int> usable_cpus();

/// Keeps every usable CPU from sleeping while it lives, with a process on each that runs only where nothing
/// else does: a virtual machine gives a halted CPU back to its host, and waits for it when there is work.
class spinners {
public:
  /// Returns when all spin.
  spinners();

private:
  std::vector<own_process> processes_;
};

} // namespace bench
