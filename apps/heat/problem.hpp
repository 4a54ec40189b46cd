#pragma once

#include <cstdint>
#include <string>

namespace heat {

/// What is computed: `steps` explicit steps on size × size cells, whose surroundings keep their values.
struct problem {
  std::int64_t size = 512;
  std::int64_t steps = 1000;
  /// D dt / dx²: beyond 0.25, explicit steps are unstable in two dimensions.
  double ratio = 0.2;
  /// A picture after each so many steps; 0: only at the end.
  std::int64_t frames = 0;

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, problem& x) {
    return f(x.size, x.steps, x.ratio, x.frames);
  }
};

/// Throws std::invalid_argument, which says what came and what was expected.
void check(const problem& p);

/// Between two questions for the residual.
inline constexpr std::int64_t report_steps = 100;

/// After how many steps something is asked for next, the residual or a picture, when `now` steps have been made, fewer than all.
std::int64_t next_rest(const problem& p, std::int64_t now);

/// The value of a cell at the beginning, 0 to 1: some spots. Rows and columns -1 and `size` are the surroundings, warm in the north, cold elsewhere. Made of the four
/// basic operations alone, so that it is the same to the bit on every host, whatever its mathematical library.
double initial_value(std::int64_t size, std::int64_t row, std::int64_t column);

/// Some of the cells: `rows` × `columns`, from (row, column) on.
struct area {
  std::int64_t row, column, rows, columns;
};

/// Into how many blocks the cells are divided, down and across.
struct layout {
  std::int64_t rows, columns;
};

/// As near to a square as so many blocks can be, with no fewer rows than columns: edges in rows lie in memory as they travel. `blocks` is positive.
layout squarish(std::int64_t blocks);

/// What "6" or "3x2" says, and empty text for `workers` blocks or as many rows as there are cells. Throws std::invalid_argument for other text, and for more rows or columns of blocks than of
/// cells.
layout read_layout(const std::string& text, std::int64_t workers, std::int64_t size);

/// The cells of a block. Blocks differ by one row and one column at most, none is empty.
area area_of(const layout& blocks, std::int64_t size, std::int64_t row, std::int64_t column);

} // namespace heat
