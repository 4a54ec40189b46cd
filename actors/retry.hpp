#pragma once

#include "troupe/actors/backoff.hpp"
#include "troupe/transport/error.hpp"

#include <chrono>
#include <functional>
#include <optional>
#include <type_traits>
#include <utility>

namespace troupe {

/// @addtogroup calls
/// @{

/// Says whether to try again: made from bool(const error&, int tries), where tries counts the calls so far, or from bool(const error&), or
/// from nothing: always. An exception that isn't troupe's is shown as a remote_error, with its type and text.
class retry_check {
public:
  /// Always.
  retry_check() = default;

  /// As `f(why, tries)` says.
  template <class F>
    requires(!std::is_same_v<std::remove_cvref_t<F>, retry_check> && std::is_invocable_r_v<bool, std::decay_t<F>&, const error&, int>)
  retry_check(F&& f) : ask_(std::forward<F>(f)) {}

  /// As `f(why)` says.
  template <class F>
    requires(!std::is_same_v<std::remove_cvref_t<F>, retry_check> && !std::is_invocable_v<std::decay_t<F>&, const error&, int>
             && std::is_invocable_r_v<bool, std::decay_t<F>&, const error&>)
  retry_check(F&& f) : ask_([f = std::forward<F>(f)](const error& e, int) mutable -> bool { return f(e); }) {}

  /// Whether to try again after `tries` calls, the last of which failed with this. Throws what the function throws.
  bool operator()(const error& why, int tries) const { return !ask_ || ask_(why, tries); }

private:
  std::function<bool(const error&, int)> ask_;
};

namespace detail {

/// What `retry` does between the calls.
class retrying {
public:
  /// Throws usage_error if the first delay makes no sense.
  retrying(const delay_sequence& delays, const retry_check& check);

  /// Inside a catch block: whether what has just failed is to be called again, after `pause`.
  bool again();

  /// Sleeps, see this_task::sleep_for.
  void pause();

private:
  const retry_check& check_;
  delay_sequence::walk_function walk_;
  std::optional<std::chrono::nanoseconds> delay_; // before the next call
  int tries_ = 0;
};

} // namespace detail

/// Calls `f` until it returns, once more than there are delays at most, and returns what it returned; before the k-th retry it waits for
/// the k-th delay, as this_task::sleep_for does. What the last call has thrown is thrown on; so is what `check`, which is asked before each
/// delay, says no to. There is no retry of what was `interrupted` or `cancelled`, nor in a task that is to stop. Throws usage_error if a
/// delay is negative. Not in a `direct` function.
template <class F>
  requires std::is_invocable_v<F&>
std::invoke_result_t<F&> retry(F&& f, const delay_sequence& delays = exponential_backoff{}, const retry_check& check = {}) {
  detail::retrying attempts{delays, check};
  while (true) {
    try {
      return std::invoke(f);
    } catch (...) {
      if (!attempts.again())
        throw;
    }
    attempts.pause();
  }
}

/// @}

} // namespace troupe
