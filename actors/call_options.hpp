#pragma once

#include "troupe/actors/future_state.hpp"

#include <chrono>
#include <concepts>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>

namespace troupe {

/// @addtogroup calls
/// @{

namespace detail {

/// What the copies of a cancel_token share: ready once it has been cancelled. Any thread.
class cancel_state final : public future_state {
public:
  /// For good: runs what was added, in the calling thread.
  void cancel() override;

  /// Has `f` run when it is cancelled; at once, if it has been. It must neither block nor throw. Returns what to remove it by.
  std::uint64_t add(std::function<void()> f);

  /// Does nothing if it is running or has run.
  void remove(std::uint64_t which);

  /// How many are there to be run.
  std::size_t size() const;

private:
  mutable std::mutex functions_mutex_; // guards the next ones; functions run without it
  std::map<std::uint64_t, std::function<void()>> functions_;
  std::uint64_t last_ = 0;
};

} // namespace detail

/// Ends the calls that were given it, from anywhere in this process. Copies mean the same. Any thread.
class cancel_token {
public:
  /// One that hasn't been cancelled.
  cancel_token();

  /// For good; the second time nothing happens. Doesn't block.
  void cancel() const { state_->cancel(); }

  /// Whether it has been cancelled.
  bool cancelled() const { return state_->ready(); }

  /// @cond internal
  /// Is ready once it has been cancelled.
  const std::shared_ptr<detail::cancel_state>& state() const { return state_; }
  /// @endcond

private:
  std::shared_ptr<detail::cancel_state> state_;
};

/// How long a call may take, and who may end it. Its task is told then: every wait in it throws, this_task::check() does, and
/// this_task::stop_requested() answers. A call that hasn't begun by then doesn't. What it returns all the same is dropped.
struct call_options {
  /// From the call on. Past it, the call ends with deadline_exceeded; at once if it is 0 or less, and then nothing is sent.
  std::optional<std::chrono::steady_clock::duration> deadline{};
  /// When it is cancelled, the call ends with `cancelled`; at once if that has been done before, and then nothing is sent.
  std::optional<cancel_token> token{};
};

/// @}

namespace detail {

// Of arguments of a function that may be given call_options first.
template <class... Ts>
inline constexpr bool begins_with_options = false;
template <class T, class... Ts>
inline constexpr bool begins_with_options<T, Ts...> = std::same_as<std::remove_cvref_t<T>, call_options>;

} // namespace detail

} // namespace troupe
