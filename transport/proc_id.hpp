#pragma once

#include <cstdint>

namespace troupe {

/// @addtogroup applications
/// @{

/// Number of a process in its cluster: 1 for the master, 2, 3, … for workers, never used twice. 0: none.
using proc_id = std::int32_t;

/// The process that runs the program's body.
inline constexpr proc_id master_id = 1;

/// @}

} // namespace troupe
