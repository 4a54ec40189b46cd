#pragma once

#include "troupe/actors/call_options.hpp"
#include "troupe/transport/proc_id.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <vector>

namespace troupe {

/// @addtogroup loops
/// @{

/// How a loop is divided among workers, and when it ends early.
struct loop_options {
  /// How often each share that was lost with its worker is given to another one; it then runs again from its beginning. 0: the loop fails
  /// with process_exited.
  int resubmit = 0;
  /// 0: one share for each worker. Otherwise shares of at most so many iterations, which go to whoever is free, in the order of the range.
  std::int64_t chunk = 0;
  /// Who works, in this order; empty: all workers, in the order of their ids.
  std::vector<proc_id> workers{};
  /// From the loop's beginning. Past it, the loop ends with deadline_exceeded, and the tasks that work on it are told to stop.
  std::optional<std::chrono::steady_clock::duration> deadline{};
  /// When it is cancelled, the loop ends with `cancelled`, and the tasks are told.
  std::optional<cancel_token> token{};
};

/// @}

} // namespace troupe
