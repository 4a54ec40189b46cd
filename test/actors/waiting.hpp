#pragma once

#include "troupe/actors/executor.hpp"

#include <boost/test/unit_test.hpp>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

namespace test {

/// How long anything that must happen may take.
inline constexpr std::chrono::seconds deadline{60};

/// Something that happens once, and that threads wait for.
class event {
public:
  void set() {
    std::lock_guard guard{mutex_};
    set_ = true;
    changed_.notify_all();
  }

  bool is_set() {
    std::lock_guard guard{mutex_};
    return set_;
  }

  /// Keeps the turn. Returns whether it happened before the deadline.
  bool wait() {
    std::unique_lock lock{mutex_};
    return changed_.wait_for(lock, deadline, [this] { return set_; });
  }

  /// Gives the turn away meanwhile.
  bool wait_without_turn() {
    troupe::executor::waiting guard;
    return wait();
  }

private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool set_ = false;
};

/// For what nobody announces: looks again and again until the deadline.
template <class F>
bool becomes_true(F condition) {
  auto limit = std::chrono::steady_clock::now() + deadline;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > limit)
      return false;
    std::this_thread::yield();
  }
  return true;
}

} // namespace test
