#pragma once

#include "troupe/actors/moment_after.hpp"

#include <chrono>
#include <cstdint>

// The task that asks: a function that was called by a remote call.
namespace troupe::this_task {

/// @addtogroup calls
/// @{

/// Number of the task, unique within its process; 0 outside of one.
std::uint64_t id();

/// Throws if the task is to stop: `interrupted` (c.interrupt), deadline_exceeded or `cancelled` (its caller's call_options, a cancelled
/// future). For tasks that compute for long, again and again: every wait does the same. One that neither waits nor checks goes on, but 0.2
/// s later other tasks get its turn; who is told so late has a turn again before this throws. On a thread that runs no task, and in a task
/// of the master, it throws `interrupted` when the user has pressed Ctrl-C. In a `direct` function it does nothing, and none of it while an
/// exception unwinds the task. Doesn't block otherwise; takes some nanoseconds.
void check();

/// Whether `check` would throw. Any thread; doesn't block.
bool stop_requested();

/// Sleeps, and gives the turn to other tasks meanwhile. On other threads it just sleeps. Throws as `check` does, at once, and usage_error
/// inside of `direct` functions.
void sleep_until(std::chrono::steady_clock::time_point moment);

/// The same for so long from now on; not at all if `time` is 0 or less, but throws as `check` does.
template <class Rep, class Period>
void sleep_for(std::chrono::duration<Rep, Period> time) {
  sleep_until(detail::moment_after(time));
}

/// @}

} // namespace troupe::this_task
