#pragma once

#include <cstddef>

/// The heat equation u_t = D (u_xx + u_yy) on a grid of square cells.
namespace heat {

/// Rows and columns of a field, the last ones excluded. Empty if one of the last isn't behind its first.
struct window {
  std::ptrdiff_t first_row, last_row;
  std::ptrdiff_t first_column, last_column;
};

/// One explicit step of the cells of a window: u' = u + ratio · (((north + south) + (west + east)) - 4 u), always by this expression, so that a cell gets the same value, to the
/// bit, whatever the window. `ratio` is D dt / dx². Both fields are row by row, `stride` apart, don't overlap, and have what is next to the window; `from` and `to` point to (0, 0).
void step(const double* from, double* to, std::ptrdiff_t stride, const window& cells, double ratio);

} // namespace heat
