#include "troupe/actors/side_thread.hpp"

#include <utility>

namespace troupe {

side_thread::~side_thread() {
  stop();
  if (thread_.joinable())
    thread_.join();
}

void side_thread::submit(std::function<void()> f) {
  std::lock_guard guard{mutex_};
  if (stopped_)
    return;
  queue_.push_back(std::move(f));
  if (!thread_.joinable())
    thread_ = std::thread{[this] { run(); }};
  changed_.notify_one();
}

bool side_thread::idle() const {
  std::lock_guard guard{mutex_};
  return queue_.empty() && !running_;
}

void side_thread::stop() {
  std::deque<std::function<void()>> dropped; // destroyed without the lock
  std::lock_guard guard{mutex_};
  stopped_ = true;
  dropped.swap(queue_);
  changed_.notify_one();
}

void side_thread::run() {
  std::unique_lock lock{mutex_};
  while (true) {
    changed_.wait(lock, [this] { return stopped_ || !queue_.empty(); });
    if (stopped_)
      return;
    auto f = std::move(queue_.front());
    queue_.pop_front();
    running_ = true;
    lock.unlock();
    f();
    f = nullptr;
    lock.lock();
    running_ = false;
  }
}

} // namespace troupe
