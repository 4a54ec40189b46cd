#include "heat/kernel.hpp"

namespace heat {

namespace {

// What vectors of 4 numbers, where the machine has them, gain in a cache: a third to a half. They round as those of 2 do, there being no fused operations among them.
#ifdef __x86_64__
[[gnu::target_clones("avx2", "default")]]
#endif
void step_row(const double* __restrict north, const double* __restrict here, const double* __restrict south, double* __restrict out,
              std::ptrdiff_t n, double ratio) {
  for (std::ptrdiff_t i = 0; i < n; ++i)
    out[i] = here[i] + ratio * (((north[i] + south[i]) + (here[i - 1] + here[i + 1])) - 4 * here[i]);
}

} // namespace

void step(const double* from, double* to, std::ptrdiff_t stride, const window& cells, double ratio) {
  for (auto row = cells.first_row; row < cells.last_row; ++row) {
    const auto at = row * stride + cells.first_column;
    step_row(from + at - stride, from + at, from + at + stride, to + at, cells.last_column - cells.first_column, ratio);
  }
}

} // namespace heat
