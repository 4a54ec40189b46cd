#pragma once

#include "troupe/transport/proc_id.hpp"
#include "troupe/transport/reference.hpp"

#include <vector>

namespace troupe {

/// @addtogroup references
/// @{

/// A reference that lives on a process, as c.references tells.
struct reference_info {
  /// Its id.
  ref_id id;
  /// The processes that hold copies, in ascending order.
  std::vector<proc_id> holders;

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, reference_info& x) {
    return f(x.id, x.holders);
  }
};

/// @}

} // namespace troupe
