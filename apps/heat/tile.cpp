#include "heat/tile.hpp"

#include "heat/checksum.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>
#include <utility>

namespace heat {

tile::tile(const area& where, side_set open, double ratio, const std::function<double(std::int64_t row, std::int64_t column)>& value)
  : where_(where), open_(open), ratio_(ratio), stride_(where.columns + 2), brought_{open, side_set{}} {
  const auto inset = [&](side s) { return open.has(s) ? 1 : 0; };
  interior_ = {inset(side::north), where.rows - inset(side::south), inset(side::west), where.columns - inset(side::east)};
  auto& first = states_[0];
  first.reserve(static_cast<std::size_t>((where.rows + 2) * stride_));
  for (std::int64_t row = -1; row <= where.rows; ++row)
    for (std::int64_t column = -1; column <= where.columns; ++column)
      first.push_back(value(where.row + row, where.column + column));
  states_[1] = first;
}

std::pair<std::size_t, std::size_t> tile::line(side s, std::int64_t out) const {
  const auto down = static_cast<std::size_t>(stride_);
  switch (s) {
    case side::north:
      return {index(-out, 0), 1};
    case side::south:
      return {index(where_.rows - 1 + out, 0), 1};
    case side::west:
      return {index(0, -out), down};
    case side::east:
      break;
  }
  return {index(0, where_.columns - 1 + out), down};
}

std::vector<double> tile::edge(side s) const {
  const auto length = s == side::north || s == side::south ? where_.columns : where_.rows;
  auto [at, apart] = line(s, 0);
  std::vector<double> out(static_cast<std::size_t>(length));
  for (auto& cell : out) {
    cell = now()[at];
    at += apart;
  }
  return out;
}

void tile::bring(std::uint32_t steps, side s, std::span<const double> cells) {
  const auto length = s == side::north || s == side::south ? where_.columns : where_.rows;
  auto& brought = brought_[steps % 2];
  if (!open_.has(s) || (steps != steps_ && steps != steps_ + 1) || brought.has(s) || std::cmp_not_equal(cells.size(), length))
    throw std::invalid_argument("an edge of " + std::to_string(cells.size()) + " cells after " + std::to_string(steps)
                                + " steps came to a tile of " + std::to_string(where_.rows) + " x " + std::to_string(where_.columns)
                                + " cells, which has made " + std::to_string(steps_) + " steps, on side "
                                + std::to_string(static_cast<int>(s)));
  auto& state = states_[steps % 2];
  auto [at, apart] = line(s, 1);
  for (const double cell : cells) {
    state[at] = cell;
    at += apart;
  }
  brought.add(s);
}

void tile::compute(std::int64_t first_row, std::int64_t last_row, std::int64_t first_column, std::int64_t last_column) {
  const auto origin = index(0, 0);
  step(now().data() + origin, states_[(steps_ + 1) % 2].data() + origin, stride_, {first_row, last_row, first_column, last_column}, ratio_);
}

void tile::compute_interior() { compute(interior_.first_row, interior_.last_row, interior_.first_column, interior_.last_column); }

void tile::finish_step() {
  const auto& [top, bottom, left, right] = interior_;
  compute(0, top, 0, where_.columns);
  compute(std::max(top, bottom), where_.rows, 0, where_.columns);
  compute(top, bottom, 0, left);
  compute(top, bottom, std::max(left, right), where_.columns);
  brought_[steps_ % 2] = {};
  ++steps_;
}

double tile::largest_change() const {
  if (steps_ == 0)
    return 0;
  const auto& before = states_[(steps_ + 1) % 2];
  double largest = 0;
  for (std::int64_t row = 0; row < where_.rows; ++row)
    for (auto i = index(row, 0); i < index(row, where_.columns); ++i)
      largest = std::max(largest, std::abs(now()[i] - before[i]));
  return largest;
}

std::uint64_t tile::checksum(std::int64_t size) const {
  std::uint64_t sum = 0;
  for (std::int64_t row = 0; row < where_.rows; ++row)
    sum += checksum_of({&now()[index(row, 0)], static_cast<std::size_t>(where_.columns)},
                       static_cast<std::uint64_t>((where_.row + row) * size + where_.column));
  return sum;
}

} // namespace heat
