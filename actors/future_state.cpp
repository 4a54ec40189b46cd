#include "troupe/actors/future_state.hpp"

#include "troupe/actors/waiter.hpp"

#include <algorithm>

namespace troupe::detail {

bool future_state::set_value(frame_view encoded) {
  std::lock_guard guard{mutex_};
  if (ready())
    return false;
  value_ = std::move(encoded);
  complete();
  return true;
}

bool future_state::set_error(error_info why) {
  std::lock_guard guard{mutex_};
  if (ready())
    return false;
  error_ = std::move(why);
  complete();
  return true;
}

void future_state::complete() {
  ready_.store(true, std::memory_order_release);
  for (auto w : waiters_)
    w->notify();
  waiters_.clear();
}

bool future_state::wait(std::optional<time_point> limit) {
  if (ready())
    return true;
  waiter::check_may_block();
  auto& me = waiter::of_this_thread();
  me.reset();
  {
    std::lock_guard guard{mutex_};
    if (ready())
      return true;
    waiters_.push_back(&me);
  }
  // whatever way the wait ends, nobody may notify this thread's waiter for this future any more
  struct leave {
    future_state& state;
    waiter& me;
    ~leave() {
      std::lock_guard guard{state.mutex_};
      std::erase(state.waiters_, &me);
    }
  } leaving{*this, me};
  while (!ready())
    if (!me.wait(limit))
      return ready();
  return true;
}

bool wait_for_any(const std::vector<std::shared_ptr<future_state>>& states, std::optional<future_state::time_point> limit) {
  waiter::check_may_block();
  auto& me = waiter::of_this_thread();
  me.reset();
  struct leave {
    const std::vector<std::shared_ptr<future_state>>& states;
    waiter& me;
    ~leave() {
      for (auto& s : states) {
        std::lock_guard guard{s->mutex_};
        std::erase(s->waiters_, &me);
      }
    }
  } leaving{states, me};
  for (auto& s : states) {
    std::lock_guard guard{s->mutex_};
    if (s->ready())
      return true;
    s->waiters_.push_back(&me);
  }
  const auto any = [&] { return std::any_of(states.begin(), states.end(), [](auto& s) { return s->ready(); }); };
  while (!any())
    if (!me.wait(limit))
      return any();
  return true;
}

void future_state::throw_if_failed() const {
  if (error_)
    throw_error(*error_);
}

} // namespace troupe::detail
