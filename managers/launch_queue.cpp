#include "troupe/managers/launch_queue.hpp"

#include <utility>

namespace troupe {

void launch_queue::post(std::function<void()> what) {
  std::lock_guard guard{mutex_};
  if (closed_)
    return;
  posted_.push_back(std::move(what));
  if (bell_)
    bell_->set_value({});
}

bool launch_queue::run_until(detail::future_state& done, std::chrono::steady_clock::time_point limit) {
  done.when_here([self = shared_from_this()] { self->post([] {}); });
  for (;;) {
    const auto bell = std::make_shared<detail::future_state>();
    std::vector<std::function<void()>> now;
    {
      std::lock_guard guard{mutex_};
      now = std::exchange(posted_, {});
      bell_ = bell;
    }
    for (auto& f : now)
      f();
    if (done.ready())
      return true;
    if (now.empty() && !bell->wait(limit))
      return false;
    if (std::chrono::steady_clock::now() >= limit)
      return false;
  }
}

void launch_queue::close() {
  std::vector<std::function<void()>> dropped; // their ends come after the lock's
  std::lock_guard guard{mutex_};
  closed_ = true;
  dropped = std::exchange(posted_, {});
}

} // namespace troupe
