#pragma once

#include "troupe/actors/call_options.hpp"
#include "troupe/actors/future_state.hpp"
#include "troupe/actors/lent_memory.hpp"
#include "troupe/actors/worker_pool.hpp"
#include "troupe/transport/error.hpp"
#include "troupe/transport/proc_id.hpp"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace troupe {

/// @addtogroup loops
/// @{

/// How far a map has come.
struct map_status {
  /// Elements whose results are there.
  std::size_t done = 0;
  /// Elements that have been given to workers.
  std::size_t running = 0;
  /// Failures so far: attempts that threw, or that a worker died under.
  std::size_t failed = 0;
  /// Elements in all; nothing if the input doesn't tell.
  std::optional<std::size_t> total;
};

namespace detail {

/// The answer to a batch, as it has come.
class batch_reply : public future_state {
public:
  /// Needs an answer that isn't an error. It stays as long as this.
  reader content();
  /// Of the same, in bytes.
  std::size_t size();
};

/// What a worker tells of a batch, in front of the results. On the wire as it lies in memory.
struct batch_report {
  std::uint64_t nanoseconds = 0;
  std::uint32_t tried = 0;
  std::uint32_t failed = 0;
};

/// A map while it runs: which elements are where, who gets the next, what becomes of those whose worker has died or whose function has
/// thrown. It knows elements by their positions alone; what they are is the business of who derives from it. All of it runs in one thread,
/// which waits for answers in between.
class map_run {
public:
  struct settings {
    /// Empty: tasks of this process, `tasks` at a time.
    worker_pool pool;
    int tasks = 1;
    /// Elements in a batch; 0: found.
    std::size_t batch_size = 0;
    /// Batches that a worker has beyond the one that runs; nothing: found.
    std::optional<int> ahead;
    /// How often an element goes to another worker when one has died with it.
    int resubmit = 3;
    /// Elements in all, if that is known.
    std::optional<std::size_t> total;
    call_options options;
    /// For messages: "the map of simulate".
    std::string label;
  };

  explicit map_run(settings s);
  virtual ~map_run();
  map_run(const map_run&) = delete;
  map_run& operator=(const map_run&) = delete;

  /// Blocks until all is done. Throws the first error that nobody has handled, once what runs has ended, and what waits throw, at once.
  void go();

  /// Whether an element is done.
  bool is_done(std::size_t item) const;

protected:
  /// Elements on their way.
  struct batch {
    std::size_t first = 0;
    std::size_t count = 0;
    proc_id to = 0;
    std::shared_ptr<batch_reply> reply;
    /// Of the call; set when it is sent.
    std::size_t bytes = 0;
    std::optional<lent_memory> lent;
    /// A worker may have died of it: it is alone on its worker.
    bool alone = false;
    /// The processes that have ended with it.
    std::vector<proc_id> deaths;
  };

  // -- what elements are --------------------------------------------------------------------------------------------------------

  /// Takes up to `most` more elements of the input, which follow those before. Returns how many; 0: there are no more.
  virtual std::size_t draw(std::size_t most) = 0;

  /// How far elements that are given away may lie behind the first that isn't done.
  virtual std::size_t window() const;

  /// Encodes a batch and sends it off; sets what it takes in bytes. Throws process_exited if the process has gone.
  virtual void send(batch& b) = 0;

  /// Takes the results of a batch. Calls `failed` or `done_with` for each element that was tried.
  virtual batch_report take(batch& b) = 0;

  /// Elements are done: they needn't be kept.
  virtual void release(std::size_t first, std::size_t count) = 0;

  /// An element has failed. Returns true if there's a value in its place now; otherwise what it failed with is left in `thrown`.
  virtual bool handle(std::size_t item, const error_info& why, std::exception_ptr& thrown) = 0;

  /// When to try again what has failed so often, if that is to be done.
  virtual std::optional<std::chrono::nanoseconds> retry_after(std::size_t item, const std::exception_ptr& thrown, int tries) = 0;

  /// A process has ended.
  virtual void lost(proc_id id) = 0;

  /// What hasn't begun on this process needn't begin.
  virtual void stopped() {}

  /// An answer has come in.
  virtual void progressed(const map_status& now) = 0;

  // -- for those -----------------------------------------------------------------------------------------------------------------

  /// An element's function, or what it needs, has failed on a process that lives.
  void failed(std::size_t item, error_info why, proc_id where);
  /// Their results are there.
  void done_with(std::size_t first, std::size_t count);

  /// Has the answer to a batch taken care of when it is there. Before it is sent.
  void expect(batch& b, std::shared_ptr<batch_reply> reply);

  std::uint64_t number() const;
  /// Whether answers follow each other closely.
  bool answers_soon() const;
  /// How many batches may run at a time.
  std::size_t slots() const;

private:
  class engine;
  const std::unique_ptr<engine> engine_;
};

/// A batch where it runs.
class batch_guard {
public:
  batch_guard(proc_id from, std::uint64_t map);
  ~batch_guard();
  batch_guard(const batch_guard&) = delete;
  batch_guard& operator=(const batch_guard&) = delete;

  /// The map goes no further. Throws what the batch's task was told, if it was told to stop.
  bool stopped() const {
    if (flag_->load(std::memory_order_relaxed))
      return true;
    check_task();
    return false;
  }
  /// Whether the batch's task was.
  static bool told_to_stop();

private:
  static void check_task();

  const proc_id from_;
  const std::uint64_t map_;
  const std::shared_ptr<const std::atomic<bool>> flag_;
};

} // namespace detail

/// @}

} // namespace troupe
