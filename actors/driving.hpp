#pragma once

#include "troupe/transport/loop.hpp"
#include "troupe/transport/patience.hpp"

#include <atomic>
#include <optional>

namespace troupe {

/// One wait of a thread for what this process's loop brings: an answer, the next task. Who waits, drives: the thread drives the
/// loop itself, first asking again and again if that is worth it, then sleeping until the next event, which spares the waking of a second
/// thread. Where it can't, because others do, it sleeps by whatever means; the object is to live until what was waited for
/// has come.
class driving {
public:
  using clock = loop::clock;

  /// The loop that waiting threads drive from now on; null for none. It must live until no thread waits any more.
  static void set_loop(loop* l);

  /// The loop, if the calling thread drives it.
  static loop* loop_of_driver();

  /// What has come meanwhile is handled, unless another thread drives. For threads that are busy, now and then.
  static void look();

  /// `who`: a waiter for whom the loop's own thread goes on at once when another stops driving, or an idler, who has time.
  driving(patience& p, loop::sitter who);
  ~driving();
  driving(const driving&) = delete;
  driving& operator=(const driving&) = delete;

  /// Drives until told, until the limit or a little before, or until the thread is to sleep elsewhere. Not on a thread that must not
  /// block.
  void until_told(clock::time_point limit = clock::time_point::max());

  /// What was waited for has come, or the thread is wanted for something else. Any thread, while the object lives.
  void tell();

private:
  bool over(clock::time_point limit) const;
  bool drive(loop::lease& lease, clock::time_point limit);

  patience& patience_;
  const loop::sitter who_;
  loop* const loop_;
  std::atomic<bool> told_{false};
  std::atomic<bool> asleep_{false}; // until the loop's next event
  bool began_ = false;
  std::optional<loop::hurry> hurry_;
};

} // namespace troupe
