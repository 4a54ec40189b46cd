#pragma once

#include <chrono>

// Lengths of time as users give them: of any unit, and also the largest that there is.
namespace troupe::detail {

/// The same length as the clock has it; what is longer than a hundred years, either way, is a hundred years.
template <class Rep, class Period>
std::chrono::steady_clock::duration clamped(std::chrono::duration<Rep, Period> time) {
  using seconds = std::chrono::duration<double>;
  constexpr std::chrono::hours most{24 * 36525};
  if (seconds{time} >= seconds{most})
    return most;
  if (seconds{time} <= -seconds{most})
    return -most;
  return std::chrono::duration_cast<std::chrono::steady_clock::duration>(time);
}

/// The moment at which a wait of this length, which begins now unless told otherwise, ends. What goes beyond the clock's range is the end of
/// its time.
template <class Rep, class Period>
std::chrono::steady_clock::time_point moment_after(std::chrono::duration<Rep, Period> wait,
                                                   std::chrono::steady_clock::time_point now = std::chrono::steady_clock::now()) {
  using clock = std::chrono::steady_clock;
  using seconds = std::chrono::duration<double>;
  if (wait <= wait.zero())
    return now;
  if (seconds{wait} >= seconds{clock::time_point::max() - now - std::chrono::hours{1}})
    return clock::time_point::max();
  return now + std::chrono::duration_cast<clock::duration>(wait);
}

} // namespace troupe::detail
