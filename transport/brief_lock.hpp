#pragma once

#include <mutex>

namespace troupe {

/// Locks a mutex that others hold for moments only. The thread asks for about a µs before it sleeps: to be woken would take much
/// longer than the other holds it. Any thread.
inline std::unique_lock<std::mutex> lock_briefly(std::mutex& m) {
  constexpr int tries = 50;
  std::unique_lock lock{m, std::try_to_lock};
  for (int i = 1; i < tries && !lock; ++i) {
#ifdef __x86_64__
    __builtin_ia32_pause();
#endif
    lock.try_lock();
  }
  if (!lock)
    lock.lock();
  return lock;
}

} // namespace troupe
