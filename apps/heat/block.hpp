#pragma once

#include "heat/messages.hpp"
#include "heat/tile.hpp"

#include <troupe/actors.hpp>

#include <array>
#include <cstdint>
#include <optional>

namespace heat {

/// An element of the array that divides a field. Blocks send each other their edges and run as far as the master's last `advance` says, without it; a block is never more than a step ahead of
/// its neighbours. What the master asks for is about the state in which they rest.
class block : public caf::event_based_actor {
public:
  block(caf::actor_config& cfg, troupe::element<block> here, const problem& p);

  caf::behavior make_behavior() override;
  void on_exit() override;

private:
  void go_on();
  void send_edges();

  const std::int64_t size_;
  std::array<caf::actor, 4> neighbours_; // by side; none at the field's border
  tile cells_;
  bool interior_is_done_ = false; // of the next step
  std::uint32_t until_ = 0;
  std::optional<caf::response_promise> arrival_; // of the master's question, while it is open
};

} // namespace heat
