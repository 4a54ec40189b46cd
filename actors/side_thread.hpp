#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

namespace troupe {

/// A thread that runs functions one after the other, in the order of their submission; there is none before the first. Any thread.
class side_thread {
public:
  side_thread() = default;

  /// Waits for the function that runs; those that haven't begun are dropped.
  ~side_thread();
  side_thread(const side_thread&) = delete;
  side_thread& operator=(const side_thread&) = delete;

  /// `f` must not throw.
  void submit(std::function<void()> f);

  /// Whether nothing runs or waits to.
  bool idle() const;

  /// Begins nothing any more.
  void stop();

private:
  void run();

  mutable std::mutex mutex_; // guards everything
  std::condition_variable changed_;
  std::deque<std::function<void()>> queue_;
  bool running_ = false;
  bool stopped_ = false;
  std::thread thread_;
};

} // namespace troupe
