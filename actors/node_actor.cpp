#include "troupe/actors/node_actor.hpp"

#include <caf/all.hpp>

namespace troupe {

node_actor::node_actor(caf::actor_config& cfg) : caf::monitorable_actor(cfg) {}

void node_actor::enqueue(caf::mailbox_element_ptr what, caf::execution_unit*) {
  // exit messages of those that link to it are for them to survive, not for the process
  if (what->mid.is_request())
    bounce(what, caf::make_error(caf::sec::unexpected_message));
}

} // namespace troupe
