#include "heat/report.hpp"

#include <algorithm>
#include <iomanip>
#include <limits>
#include <sstream>

namespace heat {

namespace {

// Without a trace in the stream of how they were written.
template <class... Ts>
std::string text_of(const Ts&... all) {
  std::ostringstream out;
  (out << ... << all);
  return out.str();
}

} // namespace

void print_residual(std::ostream& out, std::int64_t steps, double residual) {
  out << text_of("step ", steps, ": residual ", std::setprecision(std::numeric_limits<double>::max_digits10), residual, '\n');
}

void print_figures(std::ostream& out, const problem& p, const layout& blocks, const run_figures& f) {
  const auto steps = static_cast<double>(p.steps), cells = static_cast<double>(p.size) * static_cast<double>(p.size);
  out << text_of("checksum: ", std::hex, std::setw(16), std::setfill('0'), f.checksum, '\n') << "process   messages sent       MB sent\n";
  for (const auto& [process, sent] : f.sent)
    out << text_of(std::fixed, std::setprecision(3), std::setw(7), process, std::setw(16), sent.messages, std::setw(14),
                   static_cast<double>(sent.bytes) / 1e6, '\n');
  if (p.steps > 0)
    out << text_of(std::fixed, std::setprecision(3), "time:     ", 1e3 * f.seconds / steps, " ms a step, ", std::setprecision(1),
                   1e-6 * cells * steps / f.seconds, " million cells a second, in ", blocks.rows, " x ", blocks.columns, " blocks\n");
}

std::string frame_name(std::int64_t steps) { return text_of("heat-", std::setw(6), std::setfill('0'), steps, ".png"); }

std::string caption(const problem& p, std::int64_t steps) {
  return text_of(p.size, " x ", p.size, " cells after ", steps, steps == 1 ? " step" : " steps");
}

} // namespace heat
