#include "troupe/actors/alarms.hpp"

#include <vector>

namespace troupe {

alarms::alarms(loop& l) : loop_(l) {}

alarms::id alarms::set(clock::time_point when, std::function<void()> what) {
  std::lock_guard guard{mutex_};
  if (closed_)
    return {};
  const id which{when, ++last_};
  set_.emplace(which, std::move(what));
  if (when < next_) {
    next_ = when;
    loop_.post([self = shared_from_this()] { self->arm(); });
  }
  return which;
}

void alarms::clear(const id& which) {
  std::function<void()> forgotten; // destroyed without the lock
  std::lock_guard guard{mutex_};
  if (auto i = set_.find(which); i != set_.end()) {
    forgotten.swap(i->second);
    set_.erase(i);
  }
}

void alarms::close() {
  std::map<id, std::function<void()>> forgotten; // destroyed without the lock
  std::lock_guard guard{mutex_};
  closed_ = true;
  forgotten.swap(set_);
}

std::size_t alarms::size() const {
  std::lock_guard guard{mutex_};
  return set_.size();
}

// Loop thread, as the next one.
void alarms::arm() {
  std::lock_guard guard{mutex_};
  if (closed_)
    return;
  loop_.cancel(timer_);
  timer_ = next_ == clock::time_point::max() ? 0 : loop_.call_at(next_, [self = shared_from_this()] { self->ring(); });
}

void alarms::ring() {
  std::vector<std::function<void()>> due;
  {
    std::lock_guard guard{mutex_};
    const auto now = loop_.now();
    while (!set_.empty() && set_.begin()->first.first <= now) {
      due.push_back(std::move(set_.begin()->second));
      set_.erase(set_.begin());
    }
    next_ = set_.empty() ? clock::time_point::max() : set_.begin()->first.first;
  }
  arm();
  for (auto& f : due)
    f();
}

} // namespace troupe
