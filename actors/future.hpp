#pragma once

#include "troupe/actors/future_state.hpp"

#include <chrono>
#include <concepts>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

namespace troupe {

namespace detail {

/// The codec for actor handles of this process; null outside of app::run.
actor_codec* process_codec();

[[noreturn]] void throw_empty_future();
[[noreturn]] void throw_not_decodable(const char* what_was, const std::string& why);

/// Adds the decoded value, which is made in the first thread that asks for it.
template <class T>
class typed_future_state final : public future_state {
public:
  const T& value() {
    std::lock_guard guard{mutex()};
    if (!value_) {
      throw_if_failed();
      decode();
    }
    return *value_;
  }

  /// The value itself, for its only owner.
  T take() {
    value();
    return std::move(*value_);
  }

  void seek_landing(reader& in) const override {
    if constexpr (can_land<T>)
      static_cast<void>(read<T>(in));
  }

private:
  void decode() {
    reader in{payload(), process_codec()};
    in.set_landed(landed());
    try {
      value_.emplace(read<T>(in));
      in.expect_end();
    } catch (const error&) {
      throw;
    } catch (const std::exception& e) {
      value_.reset();
      throw_not_decodable("a result", e.what());
    }
    release_payload();
  }

  std::optional<T> value_;
};

template <>
class typed_future_state<void> final : public future_state {
public:
  void value() {
    throw_if_failed();
  }

  void take() {
    throw_if_failed();
  }
};

/// A future's hold on its state. Who sets the state holds it for a moment, too: that is no copy of the future.
template <class T>
class future_share {
public:
  future_share() = default;
  explicit future_share(std::shared_ptr<typed_future_state<T>> state) : state_(std::move(state)) {
    count(1);
  }
  future_share(const future_share& other) : state_(other.state_) {
    count(1);
  }
  future_share(future_share&&) noexcept = default;
  future_share& operator=(future_share other) noexcept {
    state_.swap(other.state_);
    return *this;
  }
  ~future_share() {
    count(-1);
  }

  explicit operator bool() const noexcept {
    return state_ != nullptr;
  }
  typed_future_state<T>& operator*() const {
    return *state_;
  }
  typed_future_state<T>* operator->() const {
    return state_.get();
  }

  /// Whether no other future shares the state.
  bool is_last() const {
    return state_->shares.load(std::memory_order_acquire) == 1;
  }

private:
  void count(int n) {
    if (state_)
      state_->shares.fetch_add(n, std::memory_order_acq_rel);
  }

  std::shared_ptr<typed_future_state<T>> state_;
};

} // namespace detail

/// The result of a call that another process, or a task of this one, is working on. Copies share it. A future that was
/// default-constructed or moved from is empty: all but `valid` throw usage_error.
///
/// All functions may be called from any thread. Those that block give the turn of a task or an actor's handler away, and throw
/// `interrupted` when the user presses Ctrl-C. What the call failed with is thrown by `fetch`, `get` and `wait`, each time:
/// remote_error when the function threw, process_exited when its process is gone, and so on.
template <class T>
class future {
public:
  static_assert(std::is_void_v<T> || std::is_default_constructible_v<T>,
                "results are decoded into a default-constructed value: give the type a default constructor");

  using value_type = T;

  future() = default;

  /// Internal.
  explicit future(std::shared_ptr<detail::typed_future_state<T>> state) : state_(std::move(state)) {
  }

  bool valid() const noexcept {
    return static_cast<bool>(state_);
  }

  /// Blocks until there is a result; the reference is valid as long as a copy of the future.
  decltype(auto) fetch() const& {
    state().wait();
    return state().value();
  }

  /// The same by value, for a future that ends with the expression.
  T fetch() && {
    return std::move(*this).get();
  }

  /// Blocks until there is a result, and moves it out if this is the only copy of the future. Leaves the future empty.
  T get() && {
    auto s = std::move(state_);
    if (!s)
      detail::throw_empty_future();
    s->wait();
    if constexpr (std::is_void_v<T>) {
      s->value();
    } else {
      if (s.is_last())
        return s->take();
      if constexpr (std::is_copy_constructible_v<T>)
        return s->value();
      else
        return s->take(); // can't be copied: whoever comes first has it
    }
  }

  /// Blocks until the call has ended; throws what it failed with.
  void wait() const {
    state().wait();
    state().throw_if_failed();
  }

  /// Blocks no longer than `limit`. Returns whether the call has ended; throws nothing that it failed with.
  template <class Rep, class Period>
  bool wait_for(std::chrono::duration<Rep, Period> limit) const {
    auto& s = state();
    if (s.ready())
      return true;
    return s.wait(detail::moment_after(limit));
  }

  /// Whether `fetch` would return, or throw, at once. Doesn't block.
  bool isready() const {
    return state().ready();
  }

private:
  detail::typed_future_state<T>& state() const {
    if (!state_)
      detail::throw_empty_future();
    return *state_;
  }

  detail::future_share<T> state_;
};

} // namespace troupe
