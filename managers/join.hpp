#pragma once

#include "troupe/managers/membership.hpp"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace troupe {

/// An option of the program with its values, as the master resolved them.
using option_values = std::vector<std::pair<std::string, std::vector<std::string>>>;

/// What the master tells a worker that it has adopted.
struct join_request {
  std::vector<member> members;
  option_values options;

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, join_request& x) {
    return f(x.members, x.options);
  }
};

/// What the worker answers when it can take calls.
struct join_answer {
  member self;
  /// Empty, or why it can't be a worker of this program.
  std::string problem;

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, join_answer& x) {
    return f(x.self, x.problem);
  }
};

} // namespace troupe
