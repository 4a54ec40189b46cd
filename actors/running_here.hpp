#pragma once

#include <cstddef>
#include <mutex>

namespace troupe {

class waiter;

namespace detail {

/// Tasks of this process that use what belongs to a thread which waits for them, on its stack, say. Any thread. Locking: `mutex_` guards everything; the waiter is notified under it.
class running_here {
public:
  /// A task begins. False: it must not, and uses nothing.
  bool enter();
  /// One that has begun is over, and uses nothing any more.
  void leave();

  /// From now on none begins.
  void close();

  /// The same, and blocks until none runs, whatever the calling thread or its task is told meanwhile: an interrupt comes to its next wait.
  void close_and_wait() noexcept;

private:
  std::mutex mutex_;
  bool closed_ = false;
  std::size_t tasks_ = 0;
  waiter* waiting_ = nullptr;
};

} // namespace detail

} // namespace troupe
