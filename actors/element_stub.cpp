#include "troupe/actors/element_stub.hpp"

#include <caf/all.hpp>

#include <utility>

namespace troupe {

element_stub::element_stub(caf::actor_config& cfg) : caf::actor_proxy(cfg) {}

void element_stub::become(caf::strong_actor_ptr element) {
  std::lock_guard guard{mutex_};
  element_ = std::move(element);
  for (auto& what : std::exchange(kept_, {}))
    element_->enqueue(std::move(what), nullptr);
  made_.store(true, std::memory_order_release);
}

void element_stub::kill_proxy(caf::execution_unit* host, caf::error reason) {
  std::vector<caf::mailbox_element_ptr> unread;
  {
    std::lock_guard guard{mutex_};
    ended_ = true;
    unread.swap(kept_);
  }
  for (auto& what : unread)
    bounce(what, reason);
  cleanup(std::move(reason), host);
}

void element_stub::enqueue(caf::mailbox_element_ptr what, caf::execution_unit* host) {
  if (!made_.load(std::memory_order_acquire)) {
    std::unique_lock lock{mutex_};
    if (!element_ && !ended_) {
      kept_.push_back(std::move(what));
      return;
    }
    if (!element_) {
      lock.unlock();
      bounce(what);
      return;
    }
  }
  element_->enqueue(std::move(what), host);
}

} // namespace troupe
