#pragma once

#include "troupe/transport/error.hpp"
#include "troupe/transport/frame.hpp"

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

namespace troupe {

class waiter;

namespace detail {

/// The moment at which a wait of this length ends. What goes beyond the clock's range is the end of its time.
template <class Rep, class Period>
std::chrono::steady_clock::time_point moment_after(std::chrono::duration<Rep, Period> wait) {
  using clock = std::chrono::steady_clock;
  using seconds = std::chrono::duration<double>;
  auto now = clock::now();
  if (wait <= wait.zero())
    return now;
  if (seconds{wait} >= seconds{clock::time_point::max() - now - std::chrono::hours{1}})
    return clock::time_point::max();
  return now + std::chrono::duration_cast<clock::duration>(wait);
}

/// What a future and the reply that it waits for share: empty, then once and for ever a value in encoded form, or an error.
/// Any thread. Locking: `mutex_` guards everything; waiters are notified under it.
class future_state {
public:
  using time_point = std::chrono::steady_clock::time_point;

  future_state() = default;
  virtual ~future_state() = default;
  future_state(const future_state&) = delete;
  future_state& operator=(const future_state&) = delete;

  /// Returns false, and changes nothing, if it has been set before.
  bool set_value(frame_view encoded);
  bool set_error(error_info why);

  /// Whether there is a value or an error. Doesn't block.
  bool ready() const {
    return ready_.load(std::memory_order_acquire);
  }

  /// Blocks until it is ready, or until the limit; tells which. Throws `interrupted`, and usage_error where blocking is not allowed.
  bool wait(std::optional<time_point> limit = std::nullopt);

  /// Throws the error, if that is what it holds. Needs `ready`.
  void throw_if_failed() const;

  /// Reads the beginning of a value, so that the reader may find a landing in it.
  virtual void seek_landing(reader&) const {
  }

  /// How many futures share it.
  std::atomic<int> shares{0};

protected:
  std::mutex& mutex() {
    return mutex_;
  }

  /// The encoded value; needs `ready` and no error. The bytes stay until `release_payload`.
  std::span<const std::byte> payload() const {
    return value_.payload;
  }

  landing* landed() const {
    return value_.landed.get();
  }

  void release_payload() {
    value_ = {};
  }

private:
  friend bool wait_for_any(const std::vector<std::shared_ptr<future_state>>&, std::optional<time_point>);

  void complete();

  std::mutex mutex_;
  std::atomic<bool> ready_{false};
  frame_view value_;
  std::optional<error_info> error_;
  std::vector<waiter*> waiters_;
};

/// Blocks until one of them is ready, or until the limit; tells whether one is. Throws `interrupted`, and usage_error where blocking is not allowed.
bool wait_for_any(const std::vector<std::shared_ptr<future_state>>& states, std::optional<future_state::time_point> limit = std::nullopt);

} // namespace detail

} // namespace troupe
