#pragma once

#include "troupe/transport/patience.hpp"

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <mutex>
#include <thread>

namespace troupe {

class driving;

/// Runs what users wrote: tasks and the handlers of actors. A fixed number of them run at a time: each needs a *turn*. One that
/// waits gives its turn away, so that another thread goes on with the queue: a process never locks up because its tasks wait for
/// each other. One that has waited gets a turn before anything that hasn't begun.
///
/// Any thread. Locking: `mutex_` guards everything; jobs run without it.
class executor {
public:
  /// A job: a function and what it is called with. Must not throw.
  struct job {
    void (*run)(void* context, void* data) = nullptr;
    void* context = nullptr;
    void* data = nullptr;
  };

  /// `turns`: how many jobs run at a time, at least 1.
  explicit executor(int turns);

  /// Waits for the threads; see `stop`.
  ~executor();
  executor(const executor&) = delete;
  executor& operator=(const executor&) = delete;

  /// Queues a job. Jobs begin in the order in which they were submitted. After `stop`: returns false, and the job won't run.
  bool submit(job j);

  /// Queues a function.
  bool submit(std::function<void()> f);

  /// Begins nothing any more. Jobs that are running go on; `drop` is called with each that was queued, except for functions, which are
  /// destroyed.
  void stop(const std::function<void(job)>& drop);

  /// Whether no thread runs a job.
  bool idle() const;

  /// Whether jobs wait for a turn, as of a moment ago. Takes no lock.
  bool backlog() const {
    return backlog_.load(std::memory_order_relaxed)
           || batch_next_.load(std::memory_order_relaxed) < batch_end_.load(std::memory_order_relaxed);
  }

  /// How many threads there are, those that wait in a job included.
  std::size_t threads() const;

  /// Whether the calling thread is one of an executor's and has a turn.
  static bool in_job();

  /// A thread as those see it that may take its turn away.
  class holder {
  public:
    /// The calling thread's, which lives as long as the thread.
    static holder& of_this_thread();

  private:
    friend class executor;
    enum class state : std::uint8_t { without, has_turn, seized };

    executor* of_ = nullptr;                         // whose thread it is; the thread's own
    std::atomic<state> state_{state::without};       // written under mutex_; from `without`, by the thread alone
    std::uint64_t turns_ = 0;                        // that it has had; guarded by mutex_
  };

  /// How many turns the thread has had, with the one that it has; 0 if it has none now.
  static std::uint64_t turn_of(const holder& h);

  /// Takes the thread's turn away, if it still is this one, and gives it to others. The thread goes on without; when it waits, it has a
  /// turn again afterwards. The caller sees to it that the thread's job doesn't end meanwhile. Returns whether it did.
  static bool seize(holder& h, std::uint64_t turn);

  /// If the calling thread's turn was seized: waits until it has one again.
  static void regain_turn();

  /// Gives the calling thread's turn away while it lives. Does nothing on a thread that has none. What may take a while, or may
  /// depend on another job, belongs into one.
  class waiting {
  public:
    waiting();
    ~waiting();
    waiting(const waiting&) = delete;
    waiting& operator=(const waiting&) = delete;

  private:
    executor* executor_;
  };

private:
  struct resuming {
    std::condition_variable granted;
    bool has_turn = false;
  };

  static constexpr std::size_t batch_size = 64;

  void run_thread(std::list<std::thread>::iterator self);
  std::size_t take_batch();
  bool claim(job& next, std::size_t end);
  void return_batch();
  void wait_for_work(std::unique_lock<std::mutex>& lock, patience& p);
  void add_thread_if_needed();
  bool tell_driver();
  void pass_turn_on();
  void give_turn(holder& me);
  void take_turn(holder& me);

  mutable std::mutex mutex_;
  std::condition_variable work_;
  std::condition_variable changed_;
  std::deque<job> queue_;
  std::deque<resuming*> resuming_; // have waited, and want to go on
  std::atomic<bool> backlog_{false}; // written under mutex_
  // With one turn, who has it takes several jobs at once, and then one after the other without the lock. Others, who have the lock,
  // may take back those that nobody has claimed.
  std::array<job, batch_size> batch_;
  std::atomic<std::size_t> batch_next_{0};
  std::atomic<std::size_t> batch_end_{0};     // written under mutex_
  std::atomic<std::size_t> resuming_now_{0};  // how many; written under mutex_
  const int turns_;
  int free_turns_;
  std::list<std::thread> threads_;
  std::list<std::thread> ended_; // to be joined; in them, `mutex_` isn't taken any more
  int idle_ = 0;    // threads that wait for work
  int woken_ = 0;   // of these, those that have been told of some
  driving* driver_ = nullptr; // one of those that wait, and haven't been told: it drives the loop
  int running_ = 0; // threads within a job, those that wait there included
  bool stopped_ = false;
};

} // namespace troupe
