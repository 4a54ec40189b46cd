#include "troupe/actors/stoppable_calls.hpp"

#include "troupe/transport/brief_lock.hpp"

namespace troupe {

void stoppable_calls::add(entry& e) {
  auto& b = bucket_of(e);
  auto lock = lock_briefly(b.mutex);
  e.listed_ = true;
  e.next_ = b.first;
  if (e.next_ != nullptr)
    e.next_->previous_ = &e;
  b.first = &e;
}

// Needs the bucket's lock.
void stoppable_calls::unlist(bucket& b, entry& e) {
  e.listed_ = false;
  if (e.previous_ != nullptr)
    e.previous_->next_ = e.next_;
  else
    b.first = e.next_;
  if (e.next_ != nullptr)
    e.next_->previous_ = e.previous_;
}

bool stoppable_calls::begin(entry& e, task_control& as) {
  e.control_ = &as;
  auto expected = entry::stage::queued;
  if (e.stage_.compare_exchange_strong(expected, entry::stage::runs, std::memory_order_acq_rel))
    return true;
  auto lock = lock_briefly(bucket_of(e).mutex); // who has stopped it is done with it
  return false;
}

void stoppable_calls::remove(entry& e) {
  auto& b = bucket_of(e);
  auto lock = lock_briefly(b.mutex);
  if (e.listed_)
    unlist(b, e);
}

std::optional<task_control::run> stoppable_calls::stop(proc_id from, std::uint64_t number, const error_info& why,
                                                       const std::function<void(entry&, bool queued)>& found) {
  auto& b = bucket_of(from, number);
  auto lock = lock_briefly(b.mutex);
  auto e = b.first;
  while (e != nullptr && (e->client.from != from || e->client.number != number))
    e = e->next_;
  if (e == nullptr)
    return std::nullopt;
  auto expected = entry::stage::queued;
  if (!e->stage_.compare_exchange_strong(expected, entry::stage::stopped, std::memory_order_acq_rel)) {
    found(*e, false);
    return e->control_->tell(why); // it is in its task until it has left the table
  }
  unlist(b, *e);
  found(*e, true);
  return std::nullopt;
}

std::size_t stoppable_calls::size() const {
  std::size_t n = 0;
  for (auto& b : buckets_) {
    std::lock_guard guard{b.mutex};
    for (auto e = b.first; e != nullptr; e = e->next_)
      ++n;
  }
  return n;
}

} // namespace troupe
