#pragma once

#include "troupe/transport/loop.hpp"
#include "troupe/transport/patience.hpp"

#include <optional>

namespace troupe {

/// One wait of a thread for what this process's loop brings: an answer, the next task. Who waits, drives: for a while the
/// thread drives the loop itself, which spares the waking of two threads. Then it sleeps, by whatever means; the object is to
/// live until what was waited for has come.
class driving {
public:
  /// The loop that waiting threads drive from now on; null for none. It must live until no thread waits any more.
  static void set_loop(loop* l);

  explicit driving(patience& p);
  ~driving();
  driving(const driving&) = delete;
  driving& operator=(const driving&) = delete;

  /// Drives until `done()`, or until it is better to sleep. Nothing happens if another thread drives. Not on a thread that must
  /// not block.
  template <class Done>
  void until(Done done) {
    if (loop_ != nullptr)
      drive([](void* f) { return (*static_cast<Done*>(f))(); }, &done);
  }

private:
  void drive(bool (*done)(void*), void* context);

  patience& patience_;
  loop* loop_; // null: it isn't worth it
  std::optional<loop::hurry> hurry_;
};

} // namespace troupe
