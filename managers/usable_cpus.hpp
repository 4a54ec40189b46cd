#pragma once

namespace troupe {

/// How many CPUs this process may run on, 1 at least: its affinity, as taskset and batch systems set it. What std::thread counts are those of the machine.
int usable_cpus();

} // namespace troupe
