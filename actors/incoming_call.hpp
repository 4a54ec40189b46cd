#pragma once

#include "troupe/actors/runtime.hpp"
#include "troupe/actors/stoppable_calls.hpp"
#include "troupe/actors/task.hpp"
#include "troupe/transport/frame.hpp"

#include <cstddef>
#include <utility>

namespace troupe {

/// What is known of a call to this process until it has been answered. The frame's buffer is kept while the arguments are needed; of a
/// call that is in the table of those that may be stopped, it is taken by who stops it before it begins.
struct runtime::incoming_call : stoppable_calls::entry {
  incoming_call(runtime* r, const task_control::client& c) : stoppable_calls::entry(c), self(r) {}
  ~incoming_call() {
    forget();
    if (counted)
      self->call_ended();
  }

  /// It is work of this process until this ends.
  void count() {
    counted = true;
    self->calls_taken_.fetch_add(1, std::memory_order_relaxed);
  }

  /// Takes it out of the table of calls that may be stopped.
  void forget() {
    if (std::exchange(listed, false))
      self->stoppable_.remove(*this);
  }

  runtime* self;
  bool listed = false;
  bool counted = false;
  detail::task_entry task;
  frame_view frame;
  std::size_t arguments_at = 0;
};

} // namespace troupe
