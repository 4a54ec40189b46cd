#pragma once

#include "heat/kernel.hpp"
#include "heat/problem.hpp"

#include <array>
#include <cstdint>
#include <functional>
#include <span>
#include <utility>
#include <vector>

namespace heat {

enum class side : std::uint8_t { north, south, west, east };

inline constexpr std::array all_sides{side::north, side::south, side::west, side::east};

constexpr side opposite(side s) { return static_cast<side>(static_cast<std::uint8_t>(s) ^ 1); }

/// Sides of a rectangle.
class side_set {
public:
  constexpr void add(side s) { bits_ = static_cast<std::uint8_t>(bits_ | bit(s)); }
  constexpr bool has(side s) const { return (bits_ & bit(s)) != 0; }
  friend constexpr bool operator==(side_set, side_set) = default;

private:
  static constexpr std::uint8_t bit(side s) { return static_cast<std::uint8_t>(1 << static_cast<std::uint8_t>(s)); }
  std::uint8_t bits_ = 0;
};

/// The cells of an area, step after step, with a ring of cells around them. On `open` sides the ring is the edge of another tile, which has to be brought before each step but the first; elsewhere
/// it is the surroundings, and stays. Tiles that bring each other their edges have the same cells, to the bit, as one tile of everything. Not thread-safe.
class tile {
public:
  /// `value` gives the cells at the beginning, and the ring, by row and column in the whole field.
  tile(const area& where, side_set open, double ratio, const std::function<double(std::int64_t row, std::int64_t column)>& value);

  const area& where() const { return where_; }
  /// How many have been made.
  std::uint32_t steps() const { return steps_; }
  /// Whether the ring is complete for the next step.
  bool ready() const { return brought_[steps_ % 2] == open_; }

  /// The outermost cells on a side, from the west or the north.
  std::vector<double> edge(side s) const;

  /// The ring on an open side, after so many steps: as many as have been made, or one more. Throws std::invalid_argument for others, for one that has been brought, and for a wrong number of cells.
  void bring(std::uint32_t steps, side s, std::span<const double> cells);

  /// The part of the next step that needs no other tile. May be called as soon as the last step is finished.
  void compute_interior();

  /// The rest of it, when `compute_interior` has been called and it is `ready`.
  void finish_step();

  /// How much the cell that changed most did in the last step; 0 before the first.
  double largest_change() const;

  /// The tile's part of the checksum of a field of size × size cells: see checksum_of.
  std::uint64_t checksum(std::int64_t size) const;

  /// A cell, by row and column in the tile.
  double at(std::int64_t row, std::int64_t column) const { return now()[index(row, column)]; }

private:
  std::size_t index(std::int64_t row, std::int64_t column) const { return static_cast<std::size_t>((row + 1) * stride_ + column + 1); }
  const std::vector<double>& now() const { return states_[steps_ % 2]; }
  /// Where the cells of a side begin, and how far they are apart: `out` 0 for the edge, 1 for the ring.
  std::pair<std::size_t, std::size_t> line(side s, std::int64_t out) const;
  void compute(std::int64_t first_row, std::int64_t last_row, std::int64_t first_column, std::int64_t last_column);

  area where_;
  side_set open_;
  double ratio_;
  std::int64_t stride_;
  std::uint32_t steps_ = 0;
  window interior_;
  /// The cells and their ring after an even number of steps, and after an odd number: a neighbour that is a step ahead brings the ring for the next one while the present one is needed.
  std::array<std::vector<double>, 2> states_;
  std::array<side_set, 2> brought_;
};

} // namespace heat
