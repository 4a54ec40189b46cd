#pragma once

#include "troupe/transport/patience.hpp"
#include "troupe/transport/unique_fd.hpp"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <unordered_map>
#include <vector>

struct epoll_event;

namespace troupe {

/// The event loop of a process: descriptors, timers and posted functions, handled one after the other by one thread at a
/// time: the one that drives. Usually that is the loop's own, in `run`. A thread that waits for something that the loop will
/// bring may drive in its place (`lease`), which spares both the waking of another thread.
/// Nothing that it runs may block, and nothing that it runs may throw: that ends the process.
///
/// `post`, `stop` and what is said to be so may be called from any thread; everything else only from the thread that
/// drives the loop, or before it starts.
///
/// Locking: `driver_` is the right to drive, and guards what isn't atomic. Nobody who sleeps has it. A thread that is
/// `watchful_` looks whether something was posted before it sleeps, or sees to it that another does.
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

  /// Whether the calling thread drives. Any thread.
  bool in_loop_thread() const {
    return driver_.load(std::memory_order_relaxed) == std::this_thread::get_id();
  }

  /// Lets the calling thread drive while it lives, unless another does. Any thread but one that drives.
  class lease {
  public:
    explicit lease(loop& l);
    ~lease();
    lease(const lease&) = delete;
    lease& operator=(const lease&) = delete;

    explicit operator bool() const {
      return has_it_;
    }
    /// Handles what there is to do now; returns whether there was anything.
    bool poll() {
      return loop_.poll();
    }
    /// The loop has been told to stop: nothing will come any more.
    bool stopping() const {
      return loop_.stop_;
    }
    /// The thread is going to sleep: the loop's own goes on at once when the lease ends.
    void hand_over() {
      hand_over_ = true;
    }

  private:
    void end();

    loop& loop_;
    bool has_it_ = false;
    bool hand_over_ = false;
  };

  /// While it lives, a thread sleeps that would have driven, if another didn't: who stops driving sees to it that the loop's
  /// own thread goes on at once, and not within the next millisecond or two. Any thread.
  class hurry {
  public:
    explicit hurry(loop& l) : loop_(l) {
      ++loop_.users_;
      ++loop_.hurried_;
    }
    ~hurry() {
      --loop_.hurried_;
      --loop_.users_;
    }
    hurry(const hurry&) = delete;
    hurry& operator=(const hurry&) = delete;

  private:
    loop& loop_;
  };

  clock::time_point now() const {
    return time_ ? time_() : clock::now();
  }

private:
  struct watched {
    std::uint32_t generation;
    std::shared_ptr<watcher> on_event;
  };

  bool take();
  void give_back();
  bool poll() noexcept;
  void sleep();
  void handle_all(const epoll_event* events, int n) noexcept;
  void park();
  void wake();
  bool run_posted();
  bool run_timers();
  int timeout_ms() const;
  bool handle_events(const epoll_event* events, int n);
  void drain_bell();

  clock_source time_;
  unique_fd epoll_;
  unique_fd bell_;
  std::unordered_map<int, watched> watched_;
  std::uint32_t next_generation_ = 1;
  std::map<std::pair<clock::time_point, timer_id>, task> timers_;
  std::unordered_map<timer_id, clock::time_point> timer_times_;
  timer_id next_timer_ = 1;
  clock::time_point sleeps_until_{}; // the loop's own thread, if it does
  patience patience_;

  std::atomic<std::thread::id> driver_{};
  std::atomic<std::uint32_t> leases_{0}; // that there have been
  std::atomic<int> watchful_{0};
  std::atomic<int> hurried_{0};
  std::atomic<int> users_{0}; // leases and hurries
  std::atomic<bool> wanted_{false}; // somebody asks for a lease
  std::atomic<bool> asleep_{false}; // the loop's own thread waits for events

  std::mutex parking_mutex_; // guards called_back_; nothing else is locked while it is held
  std::condition_variable parking_;
  std::atomic<bool> parked_{false}; // the loop's own thread waits until nobody drives
  bool called_back_ = false;

  std::mutex posted_mutex_; // guards posted_; nothing else is locked while it is held
  std::vector<task> posted_;
  std::atomic<bool> rung_{false};
  std::atomic<bool> stop_{false};
};

} // namespace troupe
