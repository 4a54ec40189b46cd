#pragma once

#include "troupe/actors/begin_call.hpp"

#include <cstdint>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>

/// Tasks of this process whose functions and results stay here.
namespace troupe::detail {

/// A function that waits to be run as a task of this process.
class local_closure {
public:
  virtual ~local_closure() = default;
  /// Once, in the task.
  virtual void run() = 0;
};

/// Keeps a closure until its task begins, or `result` is ready. Returns its number. Any thread.
std::uint64_t keep_closure(std::unique_ptr<local_closure> f, future_state& result);
/// Throws usage_error if there's none of this number: who calls on another process can't know one.
std::unique_ptr<local_closure> take_closure(std::uint64_t number);
proc_id own_id();

/// What is called as the task: it goes by the name of the closure's function.
template <class F>
struct local_task {
  void operator()(std::uint64_t number) const { take_closure(number)->run(); }
};

template <class F>
struct callable_label<local_task<F>> : callable_label<F> {};

/// A closure and the state that gets its result. `Bare`: and what it throws, as it is; otherwise that comes as the error of a task.
template <class F, class R, bool Bare>
class local_function final : public local_closure {
public:
  local_function(F f, std::shared_ptr<typed_future_state<R>> result) : f_(std::move(f)), result_(std::move(result)) {}

  void run() override {
    if constexpr (Bare) {
      try {
        call();
      } catch (...) {
        result_->set_error(describe_current_exception());
      }
    } else {
      call();
    }
  }

private:
  void call() {
    using raw = std::remove_cvref_t<std::invoke_result_t<F&>>;
    if constexpr (std::is_void_v<raw>) {
      f_();
    } else if constexpr (is_future<raw> && std::is_void_v<R>) {
      f_().get();
    } else if constexpr (is_future<raw>) {
      result_->set(f_().get());
    } else {
      result_->set(f_());
    }
  }

  F f_;
  const std::shared_ptr<typed_future_state<R>> result_;
};

/// Runs f as a task of this process; see cluster::async.
template <bool Bare = false, class F>
auto begin_local_task(const call_options* options, F&& f) {
  using function = std::decay_t<F>;
  using result = typename without_future<std::remove_cvref_t<std::invoke_result_t<function&>>>::type;
  using task = task_of<local_task<function>, std::uint64_t>;
  auto state = std::make_shared<typed_future_state<result>>();
  outgoing_call call{own_id(), task::id(), call_stoppable, &task::label, options};
  const auto number =
    keep_closure(std::unique_ptr<local_closure>{new local_function<function, result, Bare>(std::forward<F>(f), state)}, *state);
  call.encode([&](writer& out) { task::write_call(out, nullptr, {}, number); });
  call.send(state, false); // the task sets the state, unless it fails
  return future<result>{std::move(state)};
}

} // namespace troupe::detail
