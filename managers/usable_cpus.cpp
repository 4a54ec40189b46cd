#include "troupe/managers/usable_cpus.hpp"

#include <algorithm>
#include <cstddef>
#include <sched.h>
#include <thread>
#include <vector>

namespace troupe {

int usable_cpus() {
  // a set that has no room for all of the machine's CPUs is refused
  for (std::size_t sets = 1; sets <= 64; sets *= 2) {
    std::vector<::cpu_set_t> all(sets);
    if (::sched_getaffinity(0, sets * sizeof(::cpu_set_t), all.data()) == 0)
      return std::max(1, CPU_COUNT_S(sets * sizeof(::cpu_set_t), all.data()));
  }
  return static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
}

} // namespace troupe
