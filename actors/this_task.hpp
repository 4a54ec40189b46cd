#pragma once

#include <chrono>
#include <cstdint>

/// The task that asks: a function that was called by a remote call.
namespace troupe::this_task {

/// Number of the task, unique within its process; 0 outside of one.
std::uint64_t id();

/// Sleeps, and gives the turn to other tasks meanwhile. On other threads it just sleeps. Throws `interrupted`, and usage_error inside
/// of `direct` functions.
void sleep_until(std::chrono::steady_clock::time_point moment);

template <class Rep, class Period>
void sleep_for(std::chrono::duration<Rep, Period> time) {
  sleep_until(std::chrono::steady_clock::now() + std::chrono::duration_cast<std::chrono::nanoseconds>(time));
}

} // namespace troupe::this_task
