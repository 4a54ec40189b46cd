#pragma once

#include "troupe/actors/named.hpp"
#include "troupe/managers/spread_tree.hpp"
#include "troupe/transport/mesh.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace troupe {

/// A version of a named value, as it travels.
struct named_value {
  std::uint64_t number = 0;
  std::string name;
  std::string type;
  detail::shared_bytes encoded;
};

/// What stands in front of its bytes in a frame.
struct named_header {
  std::uint64_t number = 0;
  std::string name;
  std::string type;
  /// To whom the receiver passes it on.
  std::vector<proc_id> others;

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, named_header& x) {
    return f(x.number, x.name, x.type, x.others);
  }
};

/// Sends it to the first of a branch, who is to pass it on. Its bytes aren't copied if they are many. Loop thread.
void send_named(mesh& net, const named_value& v, const spread_branch& to);

/// Takes it from a frame, passes it on to whom the frame says, and returns it. Loop thread.
named_value receive_named(mesh& net, const frame_view& f);

} // namespace troupe
