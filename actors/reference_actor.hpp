#pragma once

#include "troupe/actors/node_actor.hpp"

namespace troupe {

/// What a future or channel lives as, seen from CAF: something to monitor and to link to, which ends when nobody holds the reference any more. It
/// is made when it is first asked for.
class reference_actor final : public node_actor {
public:
  using node_actor::node_actor;

  const char* name() const override { return "troupe.reference"; }
};

} // namespace troupe
