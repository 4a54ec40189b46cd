#pragma once

#include <caf/monitorable_actor.hpp>

namespace troupe {

/// A process as an actor: something to monitor and to link to. It lives as long as its process belongs to the cluster, has no
/// mailbox, and answers every request with sec::unexpected_message.
class node_actor : public caf::monitorable_actor {
public:
  explicit node_actor(caf::actor_config& cfg);

  using caf::abstract_actor::enqueue;
  void enqueue(caf::mailbox_element_ptr what, caf::execution_unit* host) override;

  const char* name() const override { return "troupe.node"; }
};

} // namespace troupe
