#pragma once

#include "bench/statistics.hpp"

#include <algorithm>
#include <chrono>
#include <functional>
#include <vector>

namespace bench {

using clock = std::chrono::steady_clock;
using seconds = std::chrono::duration<double>;

inline clock::time_point after(seconds time) { return clock::now() + std::chrono::duration_cast<clock::duration>(time); }

inline double seconds_since(clock::time_point start) { return seconds{clock::now() - start}.count(); }

/// How long one call takes, in seconds.
template <class F>
double seconds_of(F&& f) {
  const auto start = clock::now();
  f();
  return seconds_since(start);
}

/// Adds the time of one call in µs, and of another, until `end`.
template <class F>
void time_until(clock::time_point end, samples& us, F&& f) {
  do
    us.add(1e6 * seconds_of(f));
  while (clock::now() < end);
}

/// Calls the functions in turn, each with the moment at which it shall return, until `total` is over:
/// whatever else goes on in the machine hits them alike.
inline void alternate(seconds total, const std::vector<std::function<void(clock::time_point)>>& fs) {
  const auto end = after(total);
  const auto block = std::min(seconds{0.05}, total / (2 * static_cast<double>(fs.size())));
  do
    for (auto& f : fs)
      f(after(block));
  while (clock::now() < end);
}

} // namespace bench
