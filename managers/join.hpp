#pragma once

#include "troupe/managers/membership.hpp"
#include "troupe/transport/byte_buffer.hpp"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace troupe {

/// What a worker says when it dials a master that lets workers in which come by themselves; see hello::claim.
inline constexpr auto guest_claim = "guest";

/// An option of the program with its values, as the master resolved them.
using option_values = std::vector<std::pair<std::string, std::vector<std::string>>>;

/// A function that every worker runs before it belongs to the cluster, see cluster::on_join: a call's content.
struct join_function {
  std::uint64_t task = 0;
  std::uint8_t flags = 0;
  /// For errors.
  std::string label;
  byte_buffer encoded;

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, join_function& x) {
    return f(x.task, x.flags, x.label, x.encoded);
  }
};

/// Runs it as a task of this process, and blocks until it has returned. Throws usage_error with a sentence that says which function failed, and how.
void run_join_function(proc_id here, const join_function& f);

/// What the master tells a worker that it has adopted.
struct join_request {
  cluster_form form;
  place_in_topology place;
  std::vector<member> members;
  /// Those of them that get no new work.
  std::vector<proc_id> draining;
  option_values options;
  /// The named values that come beside this, with their numbers.
  std::vector<std::pair<std::string, std::uint64_t>> values;
  /// What it is to run once it has these.
  std::vector<join_function> functions;

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, join_request& x) {
    return f(x.form, x.place, x.members, x.draining, x.options, x.values, x.functions);
  }
};

/// What the worker answers when it has run these and can take calls.
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
