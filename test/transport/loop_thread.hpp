#pragma once

#include "troupe/transport/loop.hpp"

#include <boost/test/unit_test.hpp>

#include <chrono>
#include <condition_variable>
#include <functional>
#include <future>
#include <mutex>
#include <thread>
#include <utility>

namespace test {

/// How long anything that must happen may take.
inline constexpr std::chrono::seconds deadline{60};

/// Asks until the answer is yes; false at the deadline.
inline bool comes(const std::function<bool()>& what) {
  for (const auto end = std::chrono::steady_clock::now() + deadline; std::chrono::steady_clock::now() < end;
       std::this_thread::sleep_for(std::chrono::microseconds{10}))
    if (what())
      return true;
  return false;
}

/// An event loop that a thread of its own drives, until the end of its life.
class loop_thread {
public:
  loop_thread() : thread_([this] { loop_.run(); }) {}
  ~loop_thread() { stop(); }
  loop_thread(const loop_thread&) = delete;
  loop_thread& operator=(const loop_thread&) = delete;

  troupe::loop& get() { return loop_; }

  /// Runs f on the loop's thread and returns what it returns.
  template <class F>
  auto run(F f) {
    std::packaged_task<decltype(f())()> task{std::move(f)};
    auto result = task.get_future();
    loop_.post([&] { task(); });
    return result.get();
  }

  /// Until everything that has been posted so far, and what that posts, has run.
  void settle() {
    for (int i = 0; i < 3; ++i)
      run([] {});
  }

  void stop() {
    loop_.stop();
    if (thread_.joinable())
      thread_.join();
  }

private:
  troupe::loop loop_;
  std::thread thread_;
};

/// State that a loop's thread changes and a test waits for.
template <class T>
class watched {
public:
  explicit watched(T initial = {}) : value_(std::move(initial)) {}

  template <class F>
  void change(F f) {
    std::lock_guard guard{mutex_};
    f(value_);
    changed_.notify_all();
  }

  /// Whether the condition came true before the deadline.
  template <class F>
  bool wait(F condition) {
    std::unique_lock lock{mutex_};
    return changed_.wait_for(lock, deadline, [&] { return condition(static_cast<const T&>(value_)); });
  }

  T get() {
    std::lock_guard guard{mutex_};
    return value_;
  }

private:
  std::mutex mutex_;
  std::condition_variable changed_;
  T value_;
};

} // namespace test
