#pragma once

#include <caf/message.hpp>
#include <caf/monitorable_actor.hpp>

#include <mutex>
#include <unordered_map>

namespace troupe {

class waiter;

/// Asks actors for those who are none: threads that wait for the answer. One for each process; it has no mailbox, an answer
/// wakes its asker where it arrives.
class request_port final : public caf::monitorable_actor {
public:
  explicit request_port(caf::actor_config& cfg);

  using caf::abstract_actor::enqueue;
  void enqueue(caf::mailbox_element_ptr what, caf::execution_unit* host) override;

  /// Sends a request and blocks until the answer comes, which is an error if the actor, or its process, has ended. Any thread that may
  /// block; throws `interrupted`.
  caf::message ask(const caf::strong_actor_ptr& whom, caf::message question);

  const char* name() const override { return "troupe.request_port"; }

private:
  struct pending {
    waiter* asker;
    caf::message answer;
    bool done = false;
  };

  std::mutex mutex_; // guards the rest; waiters are notified under it
  std::unordered_map<std::uint64_t, pending*> pending_;
  std::uint64_t last_id_ = 0;
};

} // namespace troupe
