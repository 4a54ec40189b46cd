#include "bench/spinners.hpp"

#include <string>

#include <sched.h>

namespace bench {

std::vector<int> usable_cpus() {
  ::cpu_set_t usable;
  std::vector<int> out;
  if (::sched_getaffinity(0, sizeof usable, &usable) != 0)
    return {0};
  for (int i = 0; i < CPU_SETSIZE; ++i)
    if (CPU_ISSET(static_cast<std::size_t>(i), &usable))
      out.push_back(i);
  return out;
}

spinners::spinners() {
  for (const int cpu : usable_cpus())
    processes_.emplace_back(std::vector<std::string>{"--bare", "spin", std::to_string(cpu)});
  for (auto& p : processes_)
    p.read_line();
}

} // namespace bench
