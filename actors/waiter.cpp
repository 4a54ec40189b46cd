#include "troupe/actors/waiter.hpp"

#include "troupe/actors/driving.hpp"
#include "troupe/actors/executor.hpp"
#include "troupe/actors/task_control.hpp"
#include "troupe/transport/error.hpp"

#include <utility>
#include <vector>

namespace troupe {

namespace {

thread_local const char* blocking_forbidden = nullptr;

// When what the loop has to do now is done. Guarded by the right to drive it.
std::vector<std::shared_ptr<waiter>>& to_be_notified() {
  static auto list = new std::vector<std::shared_ptr<waiter>>; // threads may end after the static objects have
  return *list;
}

} // namespace

waiter& waiter::of_this_thread() {
  thread_local const auto w = std::make_shared<waiter>();
  return *w;
}

waiter::waiter() { process_list<waiter>::of_process().add(*this); }

waiter::~waiter() { process_list<waiter>::of_process().remove(*this); }

void waiter::notify() {
  const auto l = driving::loop_of_driver();
  if (l == nullptr || this == &of_this_thread())
    return notify_now();
  to_be_notified().push_back(shared_from_this());
  if (to_be_notified().size() == 1)
    l->post([] {
      for (auto& w : std::exchange(to_be_notified(), {}))
        w->notify_now();
    });
}

void waiter::notify_now() {
  std::lock_guard guard{mutex_};
  notified_ = true;
  wake();
}

// Needs mutex_.
void waiter::wake() {
  if (driving_ != nullptr)
    driving_->tell();
  changed_.notify_one();
}

void waiter::reset() {
  std::lock_guard guard{mutex_};
  notified_ = false;
}

void waiter::throw_if_interrupted() {
  if (!interrupted_)
    return;
  interrupted_ = false;
  const auto why = std::exchange(why_interrupted_, {});
  throw_error(make_error_info(error_kind::interrupted, why.empty() ? "interrupted by the user" : why));
}

bool waiter::wait(std::optional<time_point> limit, purpose why) {
  check_may_block();
  const auto task = task_control::obeyed();
  const auto told = [task] { return task != nullptr && task->told(); };
  driving loop{patience_, troupe::loop::sitter::waiter};
  {
    std::unique_lock lock{mutex_};
    throw_if_interrupted();
    if (told()) {
      lock.unlock();
      task->throw_what_was_told();
    }
    if (notified_) {
      notified_ = false;
      return true;
    }
    waiting_ = true;
    driving_ = &loop;
  }
  executor::waiting without_turn;
  if (why == purpose::answer)
    loop.until_told(limit.value_or(time_point::max()));
  std::unique_lock lock{mutex_};
  driving_ = nullptr;
  auto ready = [&] { return notified_ || interrupted_ || told(); };
  auto in_time = true;
  if (limit)
    in_time = changed_.wait_until(lock, *limit, ready);
  else
    changed_.wait(lock, ready);
  waiting_ = false;
  throw_if_interrupted();
  if (told())
    task->throw_what_was_told();
  notified_ = false;
  return in_time;
}

bool waiter::may_block() { return blocking_forbidden == nullptr; }

void waiter::check_may_block() {
  if (blocking_forbidden != nullptr)
    throw usage_error{blocking_forbidden};
}

bool waiter::interrupt_all() {
  auto& list = process_list<waiter>::of_process();
  std::lock_guard list_guard{list.mutex};
  bool any = false;
  for (auto& w : list.all) {
    std::lock_guard guard{w.mutex_};
    w.interrupted_ = true;
    any = any || w.waiting_;
    w.wake();
  }
  return any;
}

void waiter::interrupt(const std::string& why) {
  std::lock_guard guard{mutex_};
  interrupted_ = true;
  why_interrupted_ = why;
  wake();
}

void waiter::check() {
  if (!interrupted_)
    return;
  std::lock_guard guard{mutex_};
  throw_if_interrupted();
}

void waiter::stir() {
  std::lock_guard guard{mutex_};
  wake();
}

void waiter::forget_interrupt() {
  auto& me = of_this_thread();
  std::lock_guard guard{me.mutex_};
  me.interrupted_ = false;
  me.why_interrupted_.clear();
}

bool waiter::interrupt_pending() {
  std::lock_guard guard{mutex_};
  return interrupted_;
}

waiter::no_blocking::no_blocking(const char* why) : outer_(blocking_forbidden) { blocking_forbidden = why; }

waiter::no_blocking::~no_blocking() { blocking_forbidden = outer_; }

} // namespace troupe
