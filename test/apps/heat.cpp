#define BOOST_TEST_MODULE heat
#include <boost/test/unit_test.hpp>

#include "heat/checksum.hpp"
#include "heat/problem.hpp"
#include "heat/report.hpp"

#include <algorithm>
#include <limits>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

using namespace heat;

namespace {

template <class F>
void check_refused(F f, const std::string& came, const std::string& expected) {
  BOOST_CHECK_EXCEPTION(f(), std::invalid_argument, [&](const std::invalid_argument& e) {
    const std::string text = e.what();
    BOOST_TEST_INFO(text);
    return text.find(came) != std::string::npos && text.find(expected) != std::string::npos;
  });
}

void check_layout(const std::string& text, std::int64_t workers, std::int64_t size, std::int64_t rows, std::int64_t columns) {
  const auto blocks = read_layout(text, workers, size);
  BOOST_TEST(blocks.rows == rows, "'" << text << "' gives " << blocks.rows << " rows of blocks");
  BOOST_TEST(blocks.columns == columns, "'" << text << "' gives " << blocks.columns << " columns of blocks");
}

} // namespace

BOOST_AUTO_TEST_CASE(a_problem_that_makes_no_sense_is_refused) {
  BOOST_CHECK_NO_THROW(check({}));
  BOOST_CHECK_NO_THROW(check({.size = 1, .steps = 0, .ratio = 0.25}));
  check_refused([] { check({.size = 0}); }, "the size is 0", "1 to 100000");
  check_refused([] { check({.size = 100'001}); }, "the size is 100001", "1 to 100000");
  check_refused([] { check({.steps = -1}); }, "the number of steps is -1", "0 to");
  check_refused([] { check({.ratio = 0.2500001}); }, "the ratio is 0.25", "unstable");
  check_refused([] { check({.ratio = 0}); }, "the ratio is 0", "more than 0");
  check_refused([] { check({.ratio = -0.1}); }, "the ratio is -0.1", "more than 0");
  check_refused([] { check({.ratio = std::numeric_limits<double>::quiet_NaN()}); }, "the ratio is nan", "0.25 at most");
  check_refused([] { check({.frames = -1}); }, "pictures is -1", "0 or more");
}

BOOST_AUTO_TEST_CASE(blocks_rest_where_a_residual_or_a_picture_is_asked_for_and_at_the_end) {
  const auto rests = [](const problem& p) {
    std::vector<std::int64_t> out;
    for (std::int64_t now = 0; now < p.steps; out.push_back(now))
      now = next_rest(p, now);
    return out;
  };
  using steps = std::vector<std::int64_t>;
  BOOST_TEST((rests({.steps = 0}) == steps{}));
  BOOST_TEST((rests({.steps = 30}) == steps{30}));
  BOOST_TEST((rests({.steps = 250}) == steps{100, 200, 250}));
  BOOST_TEST((rests({.steps = 250, .frames = 70}) == steps{70, 100, 140, 200, 210, 250}));
  BOOST_TEST((rests({.steps = 120, .frames = 50}) == steps{50, 100, 120}));
  BOOST_TEST((rests({.steps = 20, .frames = 1'000'000'000'000'000'000}) == steps{20}));
}

BOOST_AUTO_TEST_CASE(there_is_one_block_for_each_worker_as_near_to_a_square_as_divides) {
  check_layout("", 1, 100, 1, 1);
  check_layout("", 2, 100, 2, 1);
  check_layout("", 4, 100, 2, 2);
  check_layout("", 6, 100, 3, 2);
  check_layout("", 7, 100, 7, 1);
  check_layout("", 12, 100, 4, 3);
  check_layout("", 7, 3, 3, 1); // no more than there are cells
}

BOOST_AUTO_TEST_CASE(blocks_are_given_by_their_number_or_by_how_many_there_are_down_and_across) {
  check_layout("6", 1, 100, 3, 2);
  check_layout("2x3", 1, 100, 2, 3);
  check_layout("1x10", 1, 10, 1, 10);
}

BOOST_AUTO_TEST_CASE(blocks_that_make_no_sense_or_have_no_cells_are_refused) {
  for (const std::string text : {"0", "-2", "x", "2x", "x2", "2x0", "2x2x2", "2,2", " 2", "9999999999999999999", "1000001", "2000x1000"})
    check_refused([&] { read_layout(text, 2, 100'000); }, "'" + text + "'", "3x2");
  check_refused([] { read_layout("11x1", 2, 10); }, "11 down and 1 across", "10 each way");
  check_refused([] { read_layout("1x11", 2, 10); }, "1 down and 11 across", "10 each way");
  check_refused([] { read_layout("101", 2, 100); }, "101 down", "100 each way");
}

BOOST_AUTO_TEST_CASE(blocks_cover_each_cell_once_and_differ_by_one_row_and_column_at_most) {
  for (const std::int64_t size : {1, 2, 7, 64, 101})
    for (const layout blocks : {layout{1, 1}, layout{2, 1}, layout{1, 2}, layout{7, 5}, layout{64, 3}}) {
      if (blocks.rows > size || blocks.columns > size)
        continue;
      std::vector<int> seen(static_cast<std::size_t>(size * size));
      for (std::int64_t row = 0; row < blocks.rows; ++row)
        for (std::int64_t column = 0; column < blocks.columns; ++column) {
          const auto a = area_of(blocks, size, row, column);
          BOOST_TEST((a.rows == size / blocks.rows || a.rows == size / blocks.rows + 1));
          BOOST_TEST((a.columns == size / blocks.columns || a.columns == size / blocks.columns + 1));
          for (auto y = a.row; y < a.row + a.rows; ++y)
            for (auto x = a.column; x < a.column + a.columns; ++x)
              ++seen.at(static_cast<std::size_t>(y * size + x));
        }
      BOOST_TEST((seen == std::vector<int>(seen.size(), 1)));
    }
}

BOOST_AUTO_TEST_CASE(the_field_begins_with_spots_between_0_and_1_and_is_warm_in_the_north) {
  constexpr std::int64_t size = 200;
  double most = 0, least = 1;
  for (std::int64_t row = 0; row < size; ++row)
    for (std::int64_t column = 0; column < size; ++column) {
      const auto value = initial_value(size, row, column);
      most = std::max(most, value);
      least = std::min(least, value);
    }
  BOOST_TEST(most > 0.99);
  BOOST_TEST(most <= 1.0);
  BOOST_TEST(least == 0.0);
  for (const std::int64_t i : {0, 100, 199}) {
    BOOST_TEST(initial_value(size, -1, i) == 1.0);
    BOOST_TEST(initial_value(size, size, i) == 0.0);
    BOOST_TEST(initial_value(size, i, -1) == 0.0);
    BOOST_TEST(initial_value(size, i, size) == 0.0);
  }
}

// The first numbers of SplitMix64 that begins with 1234567, as its author's program prints them.
BOOST_AUTO_TEST_CASE(numbers_are_mixed_as_splitmix64_does) {
  constexpr std::uint64_t seed = 1234567, increment = 0x9e3779b97f4a7c15;
  BOOST_TEST(mixed(seed) == 6457827717110365317U);
  BOOST_TEST(mixed(seed + increment) == 3203168211198807973U);
  BOOST_TEST(mixed(seed + 2 * increment) == 9817491932198370423U);
}

BOOST_AUTO_TEST_CASE(a_residual_is_printed_with_all_its_digits) {
  std::ostringstream out;
  print_residual(out, 100, 0.1);
  out << 0.123456789; // as before
  BOOST_TEST(out.str() == "step 100: residual 0.10000000000000001\n0.123457");
}

BOOST_AUTO_TEST_CASE(the_checksum_has_a_line_of_its_own_and_figures_follow) {
  std::ostringstream out;
  print_figures(out, {.size = 1000, .steps = 100}, {3, 2},
                {.checksum = 0xabc, .seconds = 0.25, .sent = {{1, {12, 3'000}}, {10, {3456, 7'800'000}}}});
  BOOST_TEST(out.str()
             == "checksum: 0000000000000abc\n"
                "process   messages sent       MB sent\n"
                "      1              12         0.003\n"
                "     10            3456         7.800\n"
                "time:     2.500 ms a step, 400.0 million cells a second, in 3 x 2 blocks\n");
  out.str("");
  print_figures(out, {.steps = 0}, {1, 1}, {});
  BOOST_TEST(out.str().find("time") == std::string::npos);
}

BOOST_AUTO_TEST_CASE(pictures_are_named_and_titled_by_their_steps) {
  BOOST_TEST(frame_name(100) == "heat-000100.png");
  BOOST_TEST(frame_name(12'345'678) == "heat-12345678.png");
  BOOST_TEST(caption({.size = 64}, 1) == "64 x 64 cells after 1 step");
  BOOST_TEST(caption({.size = 64}, 20) == "64 x 64 cells after 20 steps");
}
