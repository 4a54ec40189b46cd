#pragma once

#include <cstdint>

namespace bench {

/// What heat_efficiency_pct is measured against: the heat equation on size × size cells by the ranks of an MPI job, a part of the rows each, with the kernel of apps/heat. Rank 0 prints how many
/// cells are computed in a second, all ranks together, and the checksum of the field after `warming` + `steps` steps, of which the first ones aren't timed. Returns the exit status.
int run_bare_heat(std::int64_t size, std::uint32_t warming, std::uint32_t steps);

} // namespace bench
