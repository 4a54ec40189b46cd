#pragma once

#include "troupe/transport/unique_fd.hpp"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <unordered_map>
#include <vector>

namespace troupe {

/// The event loop of a process: descriptors, timers and posted functions, handled one after the other by one thread.
/// Nothing that it runs may block, and nothing that it runs may throw.
///
/// `post`, `wake` and `stop` may be called from any thread; everything else only from the thread that drives the loop, or
/// before it starts.
class loop {
public:
  using clock = std::chrono::steady_clock;
  using task = std::function<void()>;
  /// Gets epoll's event mask.
  using watcher = std::function<void(std::uint32_t)>;
  using timer_id = std::uint64_t;

  /// Where the time comes from, for tests: the steady clock, unless another is given. With another one, drive it by `step`.
  using clock_source = std::function<clock::time_point()>;

  explicit loop(clock_source time = {});
  ~loop();
  loop(const loop&) = delete;
  loop& operator=(const loop&) = delete;

  /// Calls `on_event` when `fd` has one of `events`. Throws std::system_error if the descriptor can't be watched.
  void watch(int fd, std::uint32_t events, watcher on_event);
  /// Changes what a watched descriptor is watched for.
  void rewatch(int fd, std::uint32_t events);
  /// Must come before the descriptor is closed. Events of it that were already fetched are dropped.
  void unwatch(int fd);

  /// Runs `what` once, not before `when`. Timers of one moment run in the order of their making.
  timer_id call_at(clock::time_point when, task what);
  timer_id call_after(clock::duration delay, task what) {
    return call_at(now() + delay, std::move(what));
  }
  /// Does nothing if the timer has run.
  void cancel(timer_id id);

  /// Runs `what` on the loop's thread, in the order of posting. What is posted after the loop has ended is dropped.
  void post(task what);

  /// Handles events until `stop`.
  void run();
  /// Handles what there is to do now, without waiting; returns whether there was anything. For tests, in place of `run`.
  bool step();
  /// When the next timer is due.
  std::optional<clock::time_point> next_timer() const;
  /// Lets `run` return soon. What has been posted before is still run.
  void stop();

  bool in_loop_thread() const {
    return driver_.load(std::memory_order_relaxed) == std::this_thread::get_id();
  }

  clock::time_point now() const {
    return time_ ? time_() : clock::now();
  }

private:
  struct watched {
    std::uint32_t generation;
    std::shared_ptr<watcher> on_event;
  };

  bool run_posted();
  bool run_timers();
  int timeout_ms() const;
  bool wait_for_events(int timeout);
  void drain_bell();

  clock_source time_;
  unique_fd epoll_;
  unique_fd bell_;
  std::unordered_map<int, watched> watched_;
  std::uint32_t next_generation_ = 1;
  std::map<std::pair<clock::time_point, timer_id>, task> timers_;
  std::unordered_map<timer_id, clock::time_point> timer_times_;
  timer_id next_timer_ = 1;
  std::atomic<std::thread::id> driver_{};

  std::mutex posted_mutex_; // guards posted_; nothing else is locked while it is held
  std::vector<task> posted_;
  std::atomic<bool> rung_{false};
  std::atomic<bool> stop_{false};
};

} // namespace troupe
