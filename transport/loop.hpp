#pragma once

#include "troupe/transport/patience.hpp"
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

struct epoll_event;

namespace troupe {

/// @addtogroup managers
/// @{

/// The event loop of a process: descriptors, timers and posted functions, handled one after the other by one thread at a
/// time: the one that drives. Usually that is the loop's own, in `run`. A thread that waits for something that the loop will
/// bring may drive in its place (`lease`), and sleep in its place, which spares both the waking of another thread.
/// Nothing that it runs may block, and nothing that it runs may throw: that ends the process. Transports of one's own get it in `listen`,
/// `dial` and byte_stream::start, and use it to watch descriptors and to be called later.
///
/// `post`, `stop` and what is said to be so may be called from any thread; everything else only from the thread that
/// drives the loop, or before it starts.
// Locking: `driver_` is the right to drive, and guards what isn't atomic. Nobody who sleeps has it. At most one thread sleeps
// until the next event: it has the `seat_`. A thread that is `watchful_` looks whether something was posted before it sleeps, or
// sees to it that another does.
class loop {
public:
  /// Moments of timers are its.
  using clock = std::chrono::steady_clock;
  /// What is run: it may neither block nor throw.
  using task = std::function<void()>;
  /// Gets epoll's event mask.
  using watcher = std::function<void(std::uint32_t)>;
  /// The same, of what can be asked without an event, with EPOLLIN; returns whether there was anything.
  using reader = std::function<bool(std::uint32_t)>;
  /// By which a timer is cancelled; never 0.
  using timer_id = std::uint64_t;

  /// @cond internal

  /// Something that brings work and that no descriptor tells of. It is asked in each round by who drives.
  class source {
  public:
    virtual ~source() = default;
    /// Handles what there is; returns whether there was anything.
    virtual bool poll() = 0;
    /// A thread is about to sleep until the next event; what comes from now on has to be one, of a descriptor that is watched. Returns for
    /// how long it may sleep before the source must be asked again.
    virtual clock::duration rest() = 0;
    /// That thread has woken. Any thread.
    virtual void wake() = 0;
    /// Whether it must be asked again soon, although nothing may come that wakes anybody.
    virtual bool unfinished() const = 0;
  };

  /// Where the time comes from, for tests: the steady clock, unless another is given. With another one, drive it by `step`: then no
  /// other thread runs anything.
  using clock_source = std::function<clock::time_point()>;

  explicit loop(clock_source time = {});
  ~loop();
  loop(const loop&) = delete;
  loop& operator=(const loop&) = delete;

  /// @endcond

  /// Calls `on_event` when `fd` has one of `events`. Throws std::system_error if the descriptor can't be watched.
  void watch(int fd, std::uint32_t events, watcher on_event);
  /// The same of a descriptor that brings messages. One that is alone to have events is asked itself by threads that ask again and again,
  /// which spares them a system call for each message; epoll is asked in one of several rounds then.
  void watch_reader(int fd, std::uint32_t events, reader on_event);
  /// Changes what a watched descriptor is watched for.
  void rewatch(int fd, std::uint32_t events);
  /// Must come before the descriptor is closed. Events of it that were already fetched are dropped.
  void unwatch(int fd);

  /// @cond internal

  /// From now on `s` is asked; null for nothing. There is one at most.
  void set_source(std::shared_ptr<source> s) { source_ = std::move(s); }

  /// @endcond

  /// Runs `what` once, not before `when`. Timers of one moment run in the order of their making.
  timer_id call_at(clock::time_point when, task what);
  /// Runs `what` once, when the delay has passed from now on.
  timer_id call_after(clock::duration delay, task what) { return call_at(now() + delay, std::move(what)); }
  /// Does nothing if the timer has run.
  void cancel(timer_id id);

  /// Runs `what` on the loop's thread, in the order of posting. What is posted after the loop has ended is dropped.
  void post(task what);

  /// @cond internal

  /// Runs `what` within a few milliseconds, usually a fraction of one, once, on any thread, the calling one perhaps; several together. For what is
  /// cheaper for many at once, and safe everywhere: writing what sessions have. In no order, but of many those that wait longest come first.
  void soon(task what);
  /// Runs some of what is to be run soon, unless that has been done a moment ago, or the calling thread drives or looks later. Any thread.
  void look_if_due();
  /// The same, each 16th time that the thread calls it: for threads that call it all the time.
  void look_now_and_then();

  /// While it lives, the calling thread is busy with several things, and takes a lease when they are done: what it wants to be run
  /// soon can usually wait for that.
  class looking_later {
  public:
    looking_later();
    ~looking_later();
    looking_later(const looking_later&) = delete;
    looking_later& operator=(const looking_later&) = delete;
  };

  /// Handles events until `stop`.
  void run();
  /// Handles what there is to do now, without waiting; returns whether there was anything. For tests, in place of `run`.
  bool step();
  /// When the next timer is due.
  std::optional<clock::time_point> next_timer() const;
  /// Lets `run` return soon. What has been posted before is still run.
  void stop();

  /// @endcond

  /// Whether the calling thread drives. Any thread.
  bool in_loop_thread() const { return driver_.load(std::memory_order_relaxed) == std::this_thread::get_id(); }

  /// @cond internal

  /// Who sleeps until the next event. A later one takes the seat from an earlier one: the thread that waits for an answer is the
  /// one to be woken by it.
  enum class sitter : std::uint8_t { nobody, loop, idler, waiter };

  /// Lets the calling thread drive while it lives, unless another does. Any thread but one that drives.
  class lease {
  public:
    enum class insistence { asks_once, waits_a_little };

    explicit lease(loop& l, insistence how = insistence::waits_a_little);
    ~lease();
    lease(const lease&) = delete;
    lease& operator=(const lease&) = delete;

    /// Whether it drives: not if another does, and no longer once `sleep` has returned false.
    explicit operator bool() const { return has_it_; }
    /// Handles what there is to do now; returns whether there was anything.
    bool poll() { return loop_.poll(); }
    /// The same, and if there is no source, surely of all descriptors.
    void look() {
      if (loop_.source_ == nullptr)
        loop_.not_looked_ = source_rounds;
      loop_.poll();
    }
    /// Runs what is to be run soon: the thread is about to wait.
    void run_soon() { loop_.run_soon(); }
    /// Sleeps until there is something to do, and does it; at most until `limit`, up to 2 ms less than that. `told` is asked once
    /// more when others can see that `asleep` is true: who changes what `told` looks at, and then sees that, rings.
    /// Returns false if the thread is to sleep elsewhere: another has the seat, or drives, or the limit is near.
    bool sleep(sitter who, clock::time_point limit, const std::atomic<bool>& told, std::atomic<bool>& asleep);
    /// The loop has been told to stop: nothing will come any more.
    bool stopping() const { return loop_.stop_; }
    /// The thread is going to sleep elsewhere: the loop's own goes on at once when the lease ends, unless another sleeps here.
    void hand_over() { hand_over_ = true; }

  private:
    void end();

    loop& loop_;
    bool has_it_ = false;
    bool hand_over_ = false;
  };

  /// Wakes the thread that sleeps until the next event. Any thread.
  void ring();

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

  /// @endcond

  /// The time by which timers go.
  clock::time_point now() const { return time_ ? time_() : clock::now(); }

private:
  struct watched {
    std::uint32_t generation;
    bool reads;
    std::shared_ptr<reader> on_event;
  };

  enum class alarm : std::uint8_t { none, late, early };

  // One of so many rounds asks for more than the source, or the favourite.
  static constexpr int source_rounds = 8;

  bool take();
  void give_back();
  bool poll() noexcept;
  bool look_around();
  bool ask_favourite();
  void note_alone(int fd, bool reads);
  void add_watched(int fd, std::uint32_t events, bool reads, reader on_event);
  int wait_for_events(epoll_event* events, clock::duration limit);
  bool sit(sitter who);
  bool sleep_seated(clock::time_point limit, const std::atomic<bool>* told, std::atomic<bool>* asleep);
  void handle_all(const epoll_event* events, int n, bool run_soon_now) noexcept;
  void park(alarm when);
  void wake();
  bool run_soon();
  void run_soon_if_due();
  int run_some_soon();
  bool too_late_for_sitter() const;
  void stop_driving();
  void leave(bool sooner, bool nobody_else);
  void look_again(alarm when);
  void wait_for_alarm();
  void call_back();
  void set_alarm(clock::duration delay);
  bool run_posted();
  bool run_timers();
  clock::duration time_to_sleep(clock::time_point limit) const;
  bool handle_events(const epoll_event* events, int n);
  void drain_bell();

  clock_source time_;
  unique_fd epoll_;
  unique_fd bell_;
  unique_fd alarm_; // wakes the loop's own thread when it is parked
  std::unordered_map<int, watched> watched_;
  std::uint32_t next_generation_ = 1;
  std::map<std::pair<clock::time_point, timer_id>, task> timers_;
  std::unordered_map<timer_id, clock::time_point> timer_times_;
  timer_id next_timer_ = 1;
  clock::time_point sleeps_until_{}; // who has the seat
  patience patience_;
  std::shared_ptr<source> source_;
  int not_looked_ = 0; // rounds in which only the source, or the favourite, was asked
  int alone_ = -1; // the descriptor that was alone to have events in the last round that had any, and can be asked
  int favourite_ = -1; // the one that was so twice in a row

  std::atomic<std::thread::id> driver_{};
  std::atomic<std::uint32_t> leases_{0}; // that there have been
  std::atomic<int> watchful_{0};
  std::atomic<int> hurried_{0};
  std::atomic<int> users_{0}; // leases and hurries
  std::atomic<bool> wanted_{false}; // somebody asks for a lease
  std::atomic<sitter> seat_{sitter::nobody}; // taken by who drives, left by who sits
  std::atomic<bool> get_up_{false}; // who sits is to leave the seat

  std::atomic<bool> parked_{false}; // the loop's own thread waits until nobody drives
  std::atomic<alarm> alarm_set_{alarm::none};
  std::atomic<bool> called_back_{false};

  std::mutex posted_mutex_; // guards posted_; nothing else is locked while it is held
  std::vector<task> posted_;
  std::atomic<bool> rung_{false};
  std::atomic<bool> stop_{false};

  std::mutex soon_mutex_; // guards soon_; nothing else is locked while it is held
  std::vector<task> soon_;
  std::atomic<bool> any_soon_{false};
  std::atomic<std::uint64_t> soon_times_{0};
  std::atomic<clock::rep> soon_due_{0}; // when what is to be run soon is run by who adds to it
};

/// @}

} // namespace troupe
