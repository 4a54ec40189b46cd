#pragma once

#include "troupe/actors/executor.hpp"
#include "troupe/actors/process_list.hpp"
#include "troupe/actors/sync.hpp"
#include "troupe/transport/error.hpp"
#include "troupe/transport/proc_id.hpp"
#include "troupe/transport/reference.hpp"

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace troupe {

class waiter;

/// Through which a task is told to stop while it runs. From then on each of its waits throws the error that it was told, the one in progress
/// at once, and so does `check`; but not while an exception unwinds the task: what its destructors wait for may come. There is one
/// control for each thread that runs tasks, for one task after the other.
///
/// Locking: a task begins and ends without a lock, by changing `run_`. Who tells it something holds `mutex_`; a task that was told something
/// takes that at its end, too, so that it doesn't end while somebody is at it. A waiter's and an executor's lock are taken under it.
class task_control : public std::enable_shared_from_this<task_control>, public process_list_member {
public:
  /// Whom a task works for.
  struct client {
    proc_id from = 0;
    /// Of the call, on `from`.
    std::uint64_t number = 0;
    std::uint8_t flags = 0;
    /// The future that gets its result, if that is kept.
    ref_id kept;
    /// Names the function.
    std::string (*label)() = nullptr;
  };

  /// One task of a control's thread, which may have ended.
  struct run {
    std::shared_ptr<task_control> control;
    std::uint64_t number = 0;
    /// The turn in which it was told.
    std::uint64_t turn = 0;
  };

  /// A task that the calling thread runs, on which it runs no other. Lives on its stack.
  class task {
  public:
    explicit task(const client& works_for);
    ~task();
    task(const task&) = delete;
    task& operator=(const task&) = delete;

    task_control& control() { return control_; }

    /// From now on it can't be told anything. Returns false if its client has been answered in its place. More than once is once.
    bool end();

  private:
    task_control& control_;
    bool open_ = true;
    bool answers_ = true;
  };

  /// While it lives, the calling thread isn't in its task: it runs what has nothing to do with that, a `direct` function.
  class hidden {
  public:
    hidden();
    ~hidden();
    hidden(const hidden&) = delete;
    hidden& operator=(const hidden&) = delete;

  private:
    task_control* const outer_;
    detail::sync_scope::hidden calls_;
  };

  task_control();
  ~task_control();

  /// Of the task that the calling thread is in; null if there is none.
  static task_control* current();

  /// The same; null also while an exception unwinds the task.
  static task_control* obeyed();

  /// Throws what the calling thread's task was told, if it was. Takes some nanoseconds.
  static void check() {
    if (auto c = obeyed())
      c->throw_if_told();
  }

  /// Whether the task was told to stop. Any thread.
  bool told() const { return (run_.load(std::memory_order_acquire) & was_told) != 0; }

  /// Needs `told`; the task's thread. If its turn was seized, it has one again before this throws.
  [[noreturn]] void throw_what_was_told();

  /// Tells the task that runs; nothing if there's none, or it was told before. Any thread.
  std::optional<run> tell(const error_info& why);

  /// Tells all tasks of this process that have begun. Any thread.
  static std::vector<run> tell_all(const error_info& why);

  struct progress {
    /// The task hasn't ended.
    bool runs = false;
    /// It must be answered in the task's place, which won't.
    std::optional<client> unanswered;
  };
  /// What has become of a task that was told. If it has computed since `r.turn`, its turn goes to others, and if it was
  /// interrupted, its client is to be answered. Otherwise `r.turn` is the one that it has now. Any thread.
  static progress look_after(run& r);

private:
  // run_: the task's number in its upper bits, and these.
  static constexpr std::uint64_t is_running = 1;
  static constexpr std::uint64_t was_told = 2;
  static constexpr int number_shift = 2;

  void throw_if_told() {
    if (told())
      throw_what_was_told();
  }

  std::atomic<std::uint64_t> run_{0};
  client client_; // the task's; others look at it under mutex_, after they have told it something
  executor::holder& holder_;
  const std::shared_ptr<waiter> waiter_;
  std::mutex mutex_; // guards the next ones; what was told stays as it is until the task ends
  std::optional<error_info> why_;
  bool answered_ = false;
};

} // namespace troupe
