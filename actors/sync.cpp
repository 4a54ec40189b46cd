#include "troupe/actors/sync.hpp"

#include <algorithm>

namespace troupe::detail {

sync_scope::sync_scope() : outer_(std::exchange(current_, this)) {}

sync_scope::~sync_scope() {
  close();
  for (auto& c : calls_)
    c->unwatch();
}

// What is called from now on is another scope's.
void sync_scope::close() {
  if (std::exchange(open_, false))
    current_ = outer_;
}

void sync_scope::take(std::shared_ptr<future_state> call) {
  if (calls_.size() >= room_)
    forget_those_that_went_well();
  call->watch();
  calls_.push_back(std::move(call));
}

void sync_scope::forget_those_that_went_well() {
  std::erase_if(calls_, [](auto& c) {
    if (!c->ready() || c->failure() != nullptr)
      return false;
    c->unwatch();
    return true;
  });
  room_ = std::max(room_, 2 * calls_.size());
}

void sync_scope::wait() {
  close();
  for (auto& c : calls_)
    c->wait();
}

void sync_scope::finish() {
  wait();
  error_info all;
  all.kind = error_kind::composite;
  for (auto& c : calls_) {
    if (const auto why = c->failure()) {
      all.parts.push_back(*why);
      c->settle(); // it was looked at
    }
  }
  if (!all.parts.empty())
    throw_error(std::move(all));
}

} // namespace troupe::detail
