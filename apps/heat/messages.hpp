#pragma once

#include "heat/tile.hpp"

#include <troupe/actors.hpp>

#include <cstdint>
#include <vector>

/// What the master and the blocks of a field tell each other.
namespace heat {

/// Master to block: go on until so many steps have been made. Answered with nothing, when they have.
struct advance {
  std::uint32_t until = 0;

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, advance& x) {
    return f(x.until);
  }
};

/// Block to block, after each step: the ring on the receiver's side `where`.
struct halo {
  std::uint32_t steps = 0;
  side where = side::north;
  std::vector<double> cells;

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, halo& x) {
    return f(x.steps, x.where, x.cells);
  }
};

/// Master to block: how much has the cell that changed most done so in the last step (double)? What is your part of the checksum (std::uint64_t), of the picture (std::vector<float>)?
using ask_change = caf::atom_constant<caf::atom("change")>;
using ask_checksum = caf::atom_constant<caf::atom("checksum")>;
using ask_picture = caf::atom_constant<caf::atom("picture")>;

} // namespace heat
