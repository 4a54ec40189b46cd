#pragma once

#include "troupe/transport/loop.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <utility>

namespace troupe {

/// Timers that any thread may set and clear, and that cost the loop nothing until one is due: most are cleared before.
///
/// Any thread. `mutex_` guards everything; functions run without it.
class alarms : public std::enable_shared_from_this<alarms> {
public:
  using clock = loop::clock;
  /// Tells one alarm from others; a default-made one is none.
  using id = std::pair<clock::time_point, std::uint64_t>;

  /// The loop must live until `close`.
  explicit alarms(loop& l);
  alarms(const alarms&) = delete;
  alarms& operator=(const alarms&) = delete;

  /// Runs `what` once, not before `when`, on the loop's thread. It must not throw.
  id set(clock::time_point when, std::function<void()> what);

  /// Forgets one. Does nothing if it is running or has run.
  void clear(const id& which);

  /// Forgets all, and those that are set later.
  void close();

  /// How many are set.
  std::size_t size() const;

private:
  void arm();
  void ring();

  loop& loop_;
  loop::timer_id timer_ = 0; // loop thread
  mutable std::mutex mutex_;
  std::map<id, std::function<void()>> set_;
  std::uint64_t last_ = 0;
  clock::time_point next_ = clock::time_point::max(); // when the loop is going to look
  bool closed_ = false;
};

} // namespace troupe
