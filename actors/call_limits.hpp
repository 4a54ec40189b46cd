#pragma once

#include "troupe/actors/call_options.hpp"
#include "troupe/transport/error.hpp"
#include "troupe/transport/proc_id.hpp"

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

namespace troupe {

class alarms;

namespace detail {

/// Which call, for messages and for those that end it.
struct called {
  proc_id to = 0;
  std::uint64_t number = 0;
  /// Names the function; null if it isn't known.
  std::string (*label)() = nullptr;

  /// "the call of simulate on worker 2".
  std::string to_text() const;
};

/// A call was cancelled by its caller.
error_info cancelled_error(const called& call);

/// What call_options mean for one call.
class call_limits {
public:
  /// Its time runs from `since` on.
  call_limits(const call_options& options, std::chrono::steady_clock::time_point since);

  /// Why the call has ended already, if it has.
  std::optional<error_info> reached(const called& call) const;

  /// While what it returns lives, the call is given up at its deadline and when its token is cancelled; perhaps at once.
  std::shared_ptr<void> watch(const std::shared_ptr<alarms>& timers, const called& call) const;

private:
  std::chrono::steady_clock::duration deadline_{};
  std::optional<std::chrono::steady_clock::time_point> moment_;
  std::shared_ptr<cancel_state> token_;
};

} // namespace detail

} // namespace troupe
