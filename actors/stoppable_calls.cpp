#include "troupe/actors/stoppable_calls.hpp"

#include <thread>

namespace troupe {

stoppable_calls::locked::locked(bucket& b) : bucket_(b) {
  constexpr int tries = 50;
  for (int i = 0;; ++i) {
    auto head = b.head_.load(std::memory_order_relaxed) & ~std::uintptr_t{1};
    if (b.head_.compare_exchange_weak(head, head | 1, std::memory_order_acquire, std::memory_order_relaxed)) {
      first = reinterpret_cast<entry*>(head);
      return;
    }
    if (i >= tries)
      std::this_thread::yield();
  }
}

stoppable_calls::locked::~locked() { bucket_.head_.store(reinterpret_cast<std::uintptr_t>(first), std::memory_order_release); }

void stoppable_calls::add(entry& e) {
  locked b{bucket_of(e)};
  e.listed_ = true;
  e.next_ = b.first;
  if (e.next_ != nullptr)
    e.next_->previous_ = &e;
  b.first = &e;
}

void stoppable_calls::unlist(locked& b, entry& e) {
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
  const locked b{bucket_of(e)}; // who has stopped it is done with it
  return false;
}

void stoppable_calls::remove(entry& e) {
  locked b{bucket_of(e)};
  if (e.listed_)
    unlist(b, e);
}

std::optional<task_control::run> stoppable_calls::stop(proc_id from, std::uint64_t number, const error_info& why,
                                                       const std::function<void(entry&, bool queued)>& found) {
  locked b{bucket_of(from, number)};
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
  for (auto& bucket : buckets_) {
    const locked b{bucket};
    for (auto e = b.first; e != nullptr; e = e->next_)
      ++n;
  }
  return n;
}

} // namespace troupe
