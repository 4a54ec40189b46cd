#include "troupe/actors/task_control.hpp"

#include "troupe/actors/waiter.hpp"

#include <exception>
#include <utility>

namespace troupe {

namespace {

constinit thread_local task_control* current_control = nullptr;

task_control& of_this_thread() {
  thread_local const auto c = std::make_shared<task_control>();
  return *c;
}

} // namespace

task_control::task_control() : holder_(executor::holder::of_this_thread()), waiter_(waiter::of_this_thread().shared_from_this()) {
  process_list<task_control>::of_process().add(*this);
}

task_control::~task_control() { process_list<task_control>::of_process().remove(*this); }

task_control* task_control::current() { return current_control; }

task_control* task_control::obeyed() { return current_control == nullptr || std::uncaught_exceptions() > 0 ? nullptr : current_control; }

// -- the task's thread ------------------------------------------------------------------------------------------------

task_control::task::task(const client& works_for) : control_(of_this_thread()) {
  control_.client_ = works_for;
  const auto number = (control_.run_.load(std::memory_order_relaxed) >> number_shift) + 1;
  control_.run_.store((number << number_shift) | is_running, std::memory_order_release);
  current_control = &control_;
}

task_control::task::~task() { end(); }

bool task_control::task::end() {
  if (!std::exchange(open_, false))
    return answers_;
  current_control = nullptr;
  const auto number = control_.run_.load(std::memory_order_relaxed) >> number_shift;
  if ((control_.run_.exchange(number << number_shift, std::memory_order_acq_rel) & was_told) == 0)
    return true;
  std::lock_guard guard{control_.mutex_};
  control_.why_.reset();
  answers_ = !std::exchange(control_.answered_, false);
  return answers_;
}

task_control::hidden::hidden() : outer_(std::exchange(current_control, nullptr)) {}

task_control::hidden::~hidden() { current_control = outer_; }

void task_control::throw_what_was_told() {
  executor::regain_turn();
  throw_error(*why_);
}

// -- other threads ----------------------------------------------------------------------------------------------------

std::optional<task_control::run> task_control::tell(const error_info& why) {
  std::lock_guard guard{mutex_};
  auto now = run_.load(std::memory_order_acquire);
  if ((now & is_running) == 0 || (now & was_told) != 0)
    return std::nullopt;
  why_ = why; // until the next line the task may end, and its thread
  if (!run_.compare_exchange_strong(now, now | was_told, std::memory_order_acq_rel)) {
    why_.reset(); // it has just ended
    return std::nullopt;
  }
  waiter_->stir();
  return run{shared_from_this(), now >> number_shift, executor::turn_of(holder_)}; // the thread is there: its task ends behind this
}

std::vector<task_control::run> task_control::tell_all(const error_info& why) {
  std::vector<run> out;
  auto& list = process_list<task_control>::of_process();
  std::lock_guard list_guard{list.mutex};
  for (auto& c : list.all)
    if (auto told = c.tell(why))
      out.push_back(std::move(*told));
  return out;
}

task_control::progress task_control::look_after(run& r) {
  auto& c = *r.control;
  std::lock_guard guard{c.mutex_};
  const auto now = c.run_.load(std::memory_order_acquire);
  if (now >> number_shift != r.number || (now & is_running) == 0)
    return {};
  progress out{true, std::nullopt};
  if (!executor::seize(c.holder_, r.turn))
    r.turn = executor::turn_of(c.holder_);
  else if (c.why_->kind == error_kind::interrupted && !std::exchange(c.answered_, true))
    out.unanswered = c.client_;
  return out;
}

} // namespace troupe
