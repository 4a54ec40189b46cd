#pragma once

#include "troupe/actors/future.hpp"
#include "troupe/actors/loop_options.hpp"
#include "troupe/transport/error.hpp"
#include "troupe/transport/proc_id.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

/// What loops have in common that don't know the types of what they compute.
namespace troupe::detail {

/// How n iterations are divided: share k has the iterations from begin(k) on, size(k) of them.
class loop_division {
public:
  /// Throws usage_error if `chunk` is negative. `workers` isn't 0.
  loop_division(std::uint64_t n, std::size_t workers, std::int64_t chunk);

  std::uint64_t count() const { return count_; }
  std::uint64_t begin(std::uint64_t k) const { return k * size_ + (k < larger_ ? k : larger_); }
  std::uint64_t size(std::uint64_t k) const { return (k + 1 == count_ ? n_ : begin(k + 1)) - begin(k); }

private:
  std::uint64_t n_;
  std::uint64_t count_;
  std::uint64_t size_;
  std::uint64_t larger_ = 0; // so many first ones have one more
};

/// The shares of one loop: sends them, and again when their workers are lost, and tells which have ended. For one thread at a time. When it ends, what is
/// under way is cancelled.
class loop_shares {
public:
  /// Calls the function with share k on a process. Throws process_exited if that is gone.
  using begin_share = std::function<std::shared_ptr<future_state>(proc_id, std::uint64_t k, const call_options&)>;

  /// `workers`: who works; share k goes to the k-th if there is one share for each. Throws usage_error for options that make no sense.
  loop_shares(const loop_options& options, std::vector<proc_id> workers, std::uint64_t count, begin_share begin);
  ~loop_shares();
  loop_shares(const loop_shares&) = delete;
  loop_shares& operator=(const loop_shares&) = delete;

  /// Sends as much as the workers may have at a time. Throws what can't be sent for.
  void send();

  struct ended {
    std::uint64_t share = 0;
    std::shared_ptr<future_state> state;
    /// Null if all is well.
    std::optional<error_info> why;
  };
  /// Blocks until some shares have ended, for good; they are told once. Sends what comes next. Empty when all have ended.
  std::vector<ended> next();

  /// No share from k on is needed any more: those under way are cancelled, and not told of.
  void cut(std::uint64_t k);

  /// No other share begins.
  void send_no_more() { next_ = count_; }

  /// Whether all shares have been sent, and none is sent a second time.
  bool settled() const { return next_ == count_ && options_.resubmit == 0; }

  /// Those under way, in the order in which they were sent; from now on they aren't this one's.
  std::vector<ended> release();

  /// What is left of the loop's time, for a call.
  call_options limits() const;

private:
  struct place {
    proc_id id = 0;
    std::size_t open = 0;
    bool gone = false;
  };
  struct open_share {
    std::uint64_t share = 0;
    std::size_t place = 0;
    int lost = 0;
    std::shared_ptr<future_state> state;
  };
  struct lost_share {
    std::uint64_t share = 0;
    int lost = 0;
  };

  void send_to(std::size_t place, std::uint64_t share, int lost);
  void lose(std::size_t place, std::uint64_t share, int lost, const error_info& why);
  std::optional<std::size_t> least_busy(std::size_t room) const;

  const loop_options options_;
  std::optional<future_state::time_point> until_;
  std::vector<place> places_;
  const std::uint64_t count_;
  const begin_share begin_;
  std::uint64_t next_ = 0;
  std::uint64_t needed_; // shares from here on aren't
  std::vector<open_share> open_;
  std::vector<lost_share> again_;
  std::vector<ended> failed_; // while they were sent
};

/// The future of a loop without a result. An error that nobody hears of is printed.
class loop_state final : public typed_future_state<void> {
public:
  /// Once: the errors of the shares that failed, in their order.
  void end(std::vector<error_info> errors);

  /// What is to be cancelled with it: the shares, or who looks after them. Before others know the state.
  void works_with(std::vector<std::shared_ptr<future_state>> parts) { parts_ = std::move(parts); }

  void cancel() override;

private:
  void dropped() override;
  void print_unless_heard();

  std::vector<std::shared_ptr<future_state>> parts_;
  std::atomic<bool> unheard_{false}; // the last future has gone, and nobody has looked
  std::atomic<bool> printed_{false};
};

/// Waits for shares of a loop without a result, without a thread: the state is ready when all are. Sends those that don't begin at once from a task of this process.
void finish_loop(std::shared_ptr<loop_shares> shares, const std::shared_ptr<loop_state>& out);

/// In a catch block: throws what a function that was called on another process would have had its caller throw, here.
[[noreturn]] void rethrow_as_task(const std::string& label);
[[noreturn]] void throw_empty_range(const char* what);

/// A moment for calls that follow one another: what is left until then.
call_options limits_of(const loop_options& options, std::optional<future_state::time_point> until);

} // namespace troupe::detail
