#pragma once

#include "troupe/actors/future_state.hpp"

#include <chrono>
#include <memory>
#include <optional>

namespace troupe {

/// Ends the calls that were given it, from anywhere in this process. Copies mean the same. Any thread.
class cancel_token {
public:
  cancel_token() : state_(std::make_shared<detail::future_state>()) {
  }

  /// For good; the second time nothing happens.
  void cancel() const {
    state_->set_value({});
  }

  /// Whether it has been cancelled.
  bool cancelled() const {
    return state_->ready();
  }

  /// Internal: is ready once it has been cancelled.
  const std::shared_ptr<detail::future_state>& state() const {
    return state_;
  }

private:
  std::shared_ptr<detail::future_state> state_;
};

/// How long a call may take, and who may end it. So far for mpi_do.
struct call_options {
  /// From the call on. Past it, the call ends with deadline_exceeded.
  std::optional<std::chrono::steady_clock::duration> deadline{};
  /// When it is cancelled, the call ends with `cancelled`.
  std::optional<cancel_token> token{};
};

} // namespace troupe
