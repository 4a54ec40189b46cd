#define BOOST_TEST_MODULE heat_tiles
#include <boost/test/unit_test.hpp>

#include "heat/tile.hpp"

#include <bit>
#include <cmath>
#include <limits>
#include <numbers>
#include <stdexcept>

using namespace heat;

namespace {

constexpr std::pair<std::int64_t, std::int64_t> way(side s) {
  switch (s) {
    case side::north:
      return {-1, 0};
    case side::south:
      return {1, 0};
    case side::west:
      return {0, -1};
    case side::east:
      break;
  }
  return {0, 1};
}

auto start_of(std::int64_t size) {
  return [size](std::int64_t row, std::int64_t column) { return initial_value(size, row, column); };
}

// A field in blocks that bring each other their edges.
class field {
public:
  template <class Value>
  field(std::int64_t size, const layout& blocks, double ratio, Value value) : size_(size), blocks_(blocks) {
    for (std::int64_t row = 0; row < blocks.rows; ++row)
      for (std::int64_t column = 0; column < blocks.columns; ++column) {
        side_set open;
        for (const auto s : all_sides)
          if (neighbour(row, column, s) >= 0)
            open.add(s);
        tiles_.emplace_back(area_of(blocks, size, row, column), open, ratio, value);
      }
  }

  explicit field(std::int64_t size, const layout& blocks = {1, 1}) : field(size, blocks, 0.2, start_of(size)) {}

  // Blocks of one colour of a chess board are a step ahead of the others when these get their edges, as it may be with neighbours on other processes.
  void run(std::uint32_t steps) {
    for (std::uint32_t n = 0; n < steps; ++n)
      for (const std::int64_t colour : {0, 1})
        for (std::int64_t i = 0; i < blocks_.rows * blocks_.columns; ++i)
          if ((i / blocks_.columns + i % blocks_.columns) % 2 == colour)
            advance(i);
  }

  std::vector<std::uint64_t> bits() const {
    std::vector<std::uint64_t> out(static_cast<std::size_t>(size_ * size_));
    for (const auto& t : tiles_)
      for (std::int64_t row = 0; row < t.where().rows; ++row)
        for (std::int64_t column = 0; column < t.where().columns; ++column)
          out[static_cast<std::size_t>((t.where().row + row) * size_ + t.where().column + column)] =
            std::bit_cast<std::uint64_t>(t.at(row, column));
    return out;
  }

  double largest_change() const {
    double largest = 0;
    for (const auto& t : tiles_)
      largest = std::max(largest, t.largest_change());
    return largest;
  }

  std::uint64_t checksum() const {
    std::uint64_t sum = 0;
    for (const auto& t : tiles_)
      sum += t.checksum(size_);
    return sum;
  }

  tile& only() { return tiles_.front(); }

private:
  std::int64_t neighbour(std::int64_t row, std::int64_t column, side s) const {
    const auto [down, right] = way(s);
    row += down;
    column += right;
    return row < 0 || row >= blocks_.rows || column < 0 || column >= blocks_.columns ? -1 : row * blocks_.columns + column;
  }

  void advance(std::int64_t i) {
    auto& t = tiles_[static_cast<std::size_t>(i)];
    t.compute_interior();
    BOOST_REQUIRE(t.ready());
    t.finish_step();
    for (const auto s : all_sides)
      if (const auto other = neighbour(i / blocks_.columns, i % blocks_.columns, s); other >= 0)
        tiles_[static_cast<std::size_t>(other)].bring(t.steps(), opposite(s), t.edge(s));
  }

  std::int64_t size_;
  layout blocks_;
  std::vector<tile> tiles_;
};

double sine_mode(std::int64_t size, std::int64_t row, std::int64_t column) {
  const auto wave = [&](std::int64_t i) { return std::sin(std::numbers::pi * static_cast<double>(i + 1) / static_cast<double>(size + 1)); };
  return row < 0 || row >= size || column < 0 || column >= size ? 0 : wave(row) * wave(column);
}

side_set sides(std::initializer_list<side> all) {
  side_set out;
  for (const auto s : all)
    out.add(s);
  return out;
}

} // namespace

BOOST_AUTO_TEST_CASE(blocks_compute_the_same_to_the_bit_as_one_for_everything) {
  for (const auto size : {1, 2, 5, 13, 37, 64}) {
    field whole{size};
    whole.run(50);
    const auto expected = whole.bits();
    for (const layout blocks : {layout{2, 1}, layout{1, 2}, layout{2, 2}, layout{3, 1}, layout{1, 5}, layout{4, 3}, layout{13, 13},
                                layout{37, 2}, layout{2, 64}}) {
      if (blocks.rows > size || blocks.columns > size)
        continue;
      field parts{size, blocks};
      parts.run(50);
      BOOST_TEST((parts.bits() == expected), size << " cells a side in " << blocks.rows << " x " << blocks.columns << " blocks");
      BOOST_TEST(parts.checksum() == whole.checksum());
      BOOST_TEST(parts.largest_change() == whole.largest_change());
    }
  }
}

BOOST_AUTO_TEST_CASE(each_cell_gets_the_value_of_the_formula) {
  constexpr std::int64_t size = 9;
  constexpr double ratio = 0.23;
  const auto value = start_of(size);
  field whole{size, {1, 1}, ratio, value};
  whole.run(1);
  for (std::int64_t row = 0; row < size; ++row)
    for (std::int64_t column = 0; column < size; ++column) {
      const double around = (value(row - 1, column) + value(row + 1, column)) + (value(row, column - 1) + value(row, column + 1));
      BOOST_TEST(whole.only().at(row, column) == value(row, column) + ratio * (around - 4 * value(row, column)));
    }
}

// The lowest mode of a square with cold surroundings is an eigenvector of the discrete operator: a step multiplies it by 1 - 8 r sin²(π / 2 (N + 1)).
BOOST_AUTO_TEST_CASE(a_sine_wave_decays_in_each_step_by_the_factor_of_the_discrete_equation) {
  constexpr std::uint32_t steps = 1000;
  for (const auto size : {3, 20, 63})
    for (const double ratio : {0.05, 0.2, 0.25}) {
      field whole{size, {1, 1}, ratio, [&](auto row, auto column) { return sine_mode(size, row, column); }};
      whole.run(steps);
      const double half = std::sin(std::numbers::pi / static_cast<double>(2 * (size + 1)));
      const double factor = std::pow(1 - 8 * ratio * half * half, steps);
      // Each step rounds each value a few times, by the half of an ulp of 1 at most.
      const double rounding = 4 * steps * std::numeric_limits<double>::epsilon();
      for (std::int64_t row = 0; row < size; ++row)
        for (std::int64_t column = 0; column < size; ++column)
          BOOST_TEST(std::abs(whole.only().at(row, column) - factor * sine_mode(size, row, column)) < rounding);
    }
}

BOOST_AUTO_TEST_CASE(a_field_goes_to_the_steady_state_of_its_surroundings) {
  constexpr std::int64_t size = 5;
  field whole{
    size, {1, 1}, 0.25, [](auto row, auto column) { return row < 0 || row >= size || column < 0 || column >= size ? 0.75 : 0.0; }};
  whole.run(2000);
  for (std::int64_t row = 0; row < size; ++row)
    for (std::int64_t column = 0; column < size; ++column)
      BOOST_TEST(std::abs(whole.only().at(row, column) - 0.75) < 1e-14);
  BOOST_TEST(whole.largest_change() < 1e-15);
}

BOOST_AUTO_TEST_CASE(the_largest_change_is_that_of_the_last_step) {
  constexpr std::int64_t size = 7;
  field whole{size, {1, 1}, 0.2, [](auto row, auto column) { return row == 3 && column == 3 ? 1.0 : 0.0; }};
  BOOST_TEST(whole.largest_change() == 0.0);
  whole.run(1);
  BOOST_TEST(whole.largest_change() == 0.8, boost::test_tools::tolerance(1e-15)); // 1 becomes 0.2
  whole.run(1);
  BOOST_TEST(whole.largest_change() == 0.12, boost::test_tools::tolerance(1e-14)); // its neighbours go from 0.2 to 0.08
}

BOOST_AUTO_TEST_CASE(the_checksum_tells_values_that_differ_in_a_bit_or_in_their_places) {
  constexpr std::int64_t size = 6;
  const auto with = [](std::int64_t at, double value) {
    return field{size, {1, 1}, 0.2, [=](auto row, auto column) { return row * size + column == at ? value : 0.5; }}.checksum();
  };
  const auto plain = with(-100, 0);
  BOOST_TEST(plain == with(0, 0.5));
  BOOST_TEST(plain != with(0, std::nextafter(0.5, 1.0)));
  BOOST_TEST(with(3, 0.7) != with(4, 0.7));
  BOOST_TEST(with(3, 0.0) != with(3, -0.0));
}

BOOST_AUTO_TEST_CASE(an_edge_is_taken_once_and_at_its_time) {
  const area where{0, 0, 3, 4};
  tile t{where, sides({side::south, side::east}), 0.2, start_of(10)};
  const std::vector<double> row(4, 0.5), column(3, 0.5);
  BOOST_TEST(t.ready()); // the ring is there at the beginning
  BOOST_CHECK_THROW(t.bring(0, side::south, row), std::invalid_argument);
  t.bring(1, side::south, row); // from a tile that is ahead
  BOOST_CHECK_THROW(t.bring(1, side::south, row), std::invalid_argument);
  BOOST_CHECK_THROW(t.bring(1, side::east, row), std::invalid_argument);
  BOOST_CHECK_THROW(t.bring(1, side::north, row), std::invalid_argument);
  BOOST_CHECK_THROW(t.bring(2, side::east, column), std::invalid_argument);
  t.compute_interior();
  t.finish_step();
  BOOST_TEST(!t.ready());
  t.bring(1, side::east, column);
  BOOST_TEST(t.ready());
  BOOST_TEST(t.steps() == 1U);
}
