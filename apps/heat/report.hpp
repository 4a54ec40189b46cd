#pragma once

#include "heat/problem.hpp"

#include <cstdint>
#include <map>
#include <ostream>
#include <string>

namespace heat {

/// What a process has sent.
struct traffic {
  std::uint64_t messages = 0, bytes = 0;
};

/// What a run comes to, beside its pictures.
struct run_figures {
  std::uint64_t checksum = 0;
  double seconds = 0; ///< that all steps took
  std::map<int, traffic> sent; ///< by process
};

/// How large the residual is after so many steps: with all digits, so that runs can be compared.
void print_residual(std::ostream& out, std::int64_t steps, double residual);

/// The checksum in a line of its own, so that runs can be compared, and then what differs from run to run.
void print_figures(std::ostream& out, const problem& p, const layout& blocks, const run_figures& f);

/// Of a picture on the way: "heat-000100.png".
std::string frame_name(std::int64_t steps);

/// Of any picture.
std::string caption(const problem& p, std::int64_t steps);

} // namespace heat
