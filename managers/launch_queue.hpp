#pragma once

#include "troupe/actors/future_state.hpp"

#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

namespace troupe {

/// What the thread that launches workers has still to do: others tell it by functions, which it runs one after the other. Made by std::make_shared.
class launch_queue : public std::enable_shared_from_this<launch_queue> {
public:
  /// Any thread. Dropped once the queue is closed.
  void post(std::function<void()> what);

  /// Runs what is posted until `done` is ready, true, or until the limit, false. Throws `interrupted`, and what the functions throw.
  bool run_until(detail::future_state& done, std::chrono::steady_clock::time_point limit);

  void close();

private:
  std::mutex mutex_; // guards all
  std::vector<std::function<void()>> posted_;
  std::shared_ptr<detail::future_state> bell_;
  bool closed_ = false;
};

} // namespace troupe
