#pragma once

#include "troupe/actors/future_state.hpp"
#include "troupe/transport/error.hpp"

#include <cstddef>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

/// Waiting for all calls that a block of code has begun.
namespace troupe::detail {

/// While it lives, the calls that its thread begins are collected in it, and not in one around it. For one thread.
class sync_scope {
public:
  sync_scope();
  /// Waits for nothing.
  ~sync_scope();
  sync_scope(const sync_scope&) = delete;
  sync_scope& operator=(const sync_scope&) = delete;

  /// The innermost scope of the calling thread gets the future of a call; nothing happens if there's none.
  template <class Future>
  static void add(const Future& call) {
    if (current_ != nullptr)
      current_->take(call.shared_state());
  }

  /// Blocks until all have ended, and throws their errors, as composite_error. Throws as future_state::wait does.
  void finish();

  /// The same without the errors.
  void wait();

  /// While it lives, what the calling thread does has nothing to do with its scopes.
  class hidden {
  public:
    hidden() : outer_(std::exchange(current_, nullptr)) {}
    ~hidden() { current_ = outer_; }
    hidden(const hidden&) = delete;
    hidden& operator=(const hidden&) = delete;

  private:
    sync_scope* const outer_;
  };

private:
  void take(std::shared_ptr<future_state> call);
  void close();
  void forget_those_that_went_well();

  static inline constinit thread_local sync_scope* current_ = nullptr;

  sync_scope* const outer_;
  bool open_ = true;
  std::vector<std::shared_ptr<future_state>> calls_;
  std::size_t room_ = 64; // when there are so many, those that have ended go
};

/// See cluster::sync.
template <class Block>
decltype(auto) run_sync(Block&& block) {
  using result = std::invoke_result_t<Block&>;
  sync_scope scope;
  const auto run = [&]() -> result {
    try {
      return block();
    } catch (const interrupted&) {
      throw;
    } catch (...) {
      scope.wait();
      throw;
    }
  };
  if constexpr (std::is_void_v<result>) {
    run();
    scope.finish();
  } else {
    result out = run();
    scope.finish();
    return static_cast<result>(std::forward<result>(out));
  }
}

} // namespace troupe::detail
