#pragma once

#include "troupe/actors/process_list.hpp"
#include "troupe/transport/patience.hpp"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

namespace troupe {

class driving;

/// What a thread sleeps on, one for each thread. Any number of things can be waited for with it: who completes one calls
/// `notify`, and the thread looks again. While it sleeps, its turn is another's (executor::waiting).
class waiter : public std::enable_shared_from_this<waiter>, public process_list_member {
public:
  using time_point = std::chrono::steady_clock::time_point;

  static waiter& of_this_thread();

  waiter();
  ~waiter();
  waiter(const waiter&) = delete;
  waiter& operator=(const waiter&) = delete;

  /// Ends the current or next `wait`; if the calling thread drives the loop, not before it has handled all that there is: a thread that
  /// waits for one answer after the other shouldn't be woken for each. Any thread, which must know that the waiting thread hasn't ended: because it is on a
  /// list, under that list's lock, which the waiting thread takes to leave it.
  void notify();

  /// Forgets notifications from before: call it before you put the waiter on a list.
  void reset();

  /// What a thread waits for: something that the loop brings, which it drives meanwhile; or that time passes.
  enum class purpose { answer, time };

  /// Sleeps until `notify`, or until the limit. Returns false at the limit. Throws `interrupted` when the user has pressed
  /// Ctrl-C, what the thread's task was told if it is to stop (task_control), and usage_error on a thread that must not block.
  bool wait(std::optional<time_point> limit = std::nullopt, purpose why = purpose::answer);

  /// Throws usage_error on a thread that must not block: the loop's, and inside of `direct` functions.
  static void check_may_block();

  /// Whether `check_may_block` would throw nothing.
  static bool may_block();

  /// Has every thread's current or next wait throw `interrupted`, once. Returns whether a thread was waiting. Any thread.
  static bool interrupt_all();

  /// Has its thread's current or next wait throw `interrupted`, once, with this text. Any thread.
  void interrupt(const std::string& why);

  /// Throws `interrupted` if its thread, which is the calling one, was interrupted, as a wait would.
  void check();

  /// Has the wait of its thread, if it waits, look whether its task was told to stop. Any thread.
  void stir();

  /// An interrupt that the calling thread hasn't noticed yet won't be noticed.
  static void forget_interrupt();

  /// Whether the waiter's thread was interrupted and hasn't noticed. Any thread.
  bool interrupt_pending();

  /// Marks the calling thread as one that must not block, while it lives.
  class no_blocking {
  public:
    explicit no_blocking(const char* why);
    ~no_blocking();
    no_blocking(const no_blocking&) = delete;
    no_blocking& operator=(const no_blocking&) = delete;

  private:
    const char* outer_;
  };

private:
  void throw_if_interrupted();
  void notify_now();
  void wake();

  std::mutex mutex_;
  std::condition_variable changed_;
  bool notified_ = false;
  std::atomic<bool> interrupted_{false};
  std::string why_interrupted_; // guarded by mutex_
  bool waiting_ = false;
  driving* driving_ = nullptr; // while the thread waits in it; guarded by mutex_
  patience patience_;
};

} // namespace troupe
