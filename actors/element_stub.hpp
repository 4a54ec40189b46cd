#pragma once

#include <caf/actor_proxy.hpp>
#include <caf/fwd.hpp>
#include <caf/mailbox_element.hpp>

#include <atomic>
#include <mutex>
#include <vector>

namespace troupe {

/// Stands for an element of an array on its own process before it is made, or after it has ended. It has the element's address, so that its handles are equal to the element's; it keeps what is sent
/// until there is an element, and hands everything on from then on. Any thread.
class element_stub final : public caf::actor_proxy {
public:
  explicit element_stub(caf::actor_config& cfg);

  /// The element is there: it gets what has come so far, in order. Keeps it.
  void become(caf::strong_actor_ptr element);

  /// The element has ended, or will never be: who watches is told, who asks, too. (CAF's name for the end of those that stand for another.)
  void kill_proxy(caf::execution_unit* host, caf::error reason) override;

  using caf::abstract_actor::enqueue;
  void enqueue(caf::mailbox_element_ptr what, caf::execution_unit* host) override;

private:
  std::atomic<bool> made_{false};
  std::mutex mutex_; // guards the rest, and what is handed on before `made_`
  caf::strong_actor_ptr element_;
  std::vector<caf::mailbox_element_ptr> kept_;
  bool ended_ = false;
};

} // namespace troupe
