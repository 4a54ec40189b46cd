#include "troupe/actors/running_here.hpp"

#include "troupe/actors/task_control.hpp"
#include "troupe/actors/waiter.hpp"
#include "troupe/transport/error.hpp"

#include <optional>
#include <string>

namespace troupe::detail {

bool running_here::enter() {
  std::lock_guard guard{mutex_};
  if (!closed_)
    ++tasks_;
  return !closed_;
}

void running_here::leave() {
  std::lock_guard guard{mutex_};
  if (--tasks_ == 0 && waiting_ != nullptr)
    waiting_->notify();
}

void running_here::close() {
  std::lock_guard guard{mutex_};
  closed_ = true;
}

void running_here::close_and_wait() noexcept {
  task_control::hidden not_in_a_task; // which may have been told to stop: that is why this is called
  auto& me = waiter::of_this_thread();
  std::optional<std::string> interrupt;
  while (true) {
    me.reset();
    {
      std::lock_guard guard{mutex_};
      closed_ = true;
      waiting_ = tasks_ == 0 ? nullptr : &me;
    }
    if (waiting_ == nullptr) // only this thread sets it
      break;
    try {
      me.wait(std::nullopt, waiter::purpose::time);
    } catch (const error& e) {
      interrupt = e.info().message;
    }
  }
  if (interrupt)
    me.interrupt(*interrupt);
}

} // namespace troupe::detail
