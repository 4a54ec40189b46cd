#define BOOST_TEST_MODULE render
#include <boost/test/unit_test.hpp>

#include "render/mandelbrot.hpp"

#include <algorithm>
#include <limits>
#include <set>
#include <stdexcept>

using namespace render;

namespace {

// 0 is the colour of the set.
view around(double x, double y, double width, std::int32_t size, std::int32_t tile) {
  view v;
  v.x = x;
  v.y = y;
  v.width = width;
  v.size = size;
  v.tile = tile;
  v.iterations = 500;
  return v;
}

std::vector<std::uint32_t> all_of(const view& v) {
  auto whole = v;
  whole.tile = v.size;
  return draw(whole, 0).colours;
}

} // namespace

BOOST_AUTO_TEST_CASE(tiles_cover_each_pixel_once) {
  for (auto [size, tile] : {std::pair{64, 64}, std::pair{100, 32}, std::pair{7, 1}, std::pair{5, 64}}) {
    const auto v = around(0, 0, 4, size, tile);
    std::set<std::pair<int, int>> seen;
    for (std::int32_t t = 0; t < tiles(v); ++t) {
      const auto a = area_of(v, t);
      BOOST_TEST(a.across > 0);
      BOOST_TEST(a.down > 0);
      for (auto x = a.left; x < a.left + a.across; ++x)
        for (auto y = a.top; y < a.top + a.down; ++y)
          BOOST_TEST(seen.insert({x, y}).second);
    }
    BOOST_TEST(seen.size() == static_cast<std::size_t>(size) * static_cast<std::size_t>(size));
    BOOST_TEST(seen.rbegin()->first == size - 1);
  }
}

BOOST_AUTO_TEST_CASE(points_of_the_set_are_black_and_others_are_not) {
  for (auto [x, y] : {std::pair{0.0, 0.0}, std::pair{-1.0, 0.0}, std::pair{-0.12, 0.75}, std::pair{0.2, 0.0}}) {
    const auto d = draw(around(x, y, 1e-6, 3, 3), 0);
    BOOST_TEST(std::count(d.colours.begin(), d.colours.end(), 0u) == 9);
    BOOST_TEST(d.iterations == 9 * 500);
  }
  for (auto [x, y] : {std::pair{0.3, 0.0}, std::pair{-2.1, 0.0}, std::pair{1.0, 1.0}, std::pair{-0.75, 0.3}}) {
    const auto d = draw(around(x, y, 1e-6, 3, 3), 0);
    BOOST_TEST(std::count(d.colours.begin(), d.colours.end(), 0u) == 0);
    BOOST_TEST(d.iterations < 9 * 100);
  }
}

// The set is its own mirror image; its colours aren't, since the light comes from one side.
BOOST_AUTO_TEST_CASE(up_in_the_picture_is_up_in_the_plane) {
  const auto v = around(-0.5, 0, 3, 60, 60);
  const auto colours = all_of(v);
  const auto black = [&](std::size_t column, std::size_t row) { return colours[row * 60 + column] == 0; };
  for (std::size_t row = 0; row < 60; ++row)
    for (std::size_t column = 0; column < 60; ++column)
      BOOST_TEST(black(column, row) == black(column, 59 - row));
  const auto upper = all_of(around(0, 2, 1, 4, 4)), lower = all_of(around(0, -2, 1, 4, 4));
  BOOST_TEST((upper != lower));
  const auto above = draw(around(-0.12, 0.75, 0.6, 30, 30), 0); // the bud is in the middle, the largest part below
  BOOST_TEST(std::count(above.colours.begin(), above.colours.begin() + 150, 0u)
             < std::count(above.colours.end() - 150, above.colours.end(), 0u));
}

BOOST_AUTO_TEST_CASE(a_picture_of_tiles_is_the_same_as_one_of_a_single_tile) {
  const auto v = around(-0.159, 1.033, 0.066, 70, 16);
  picture one{v}, many{v};
  auto whole = v;
  whole.tile = 70;
  picture single{whole};
  single.put(0, draw(whole, 0).colours);
  for (std::int32_t t = tiles(v); t-- > 0;)
    many.put(t, draw(v, t).colours);
  const auto png = many.png();
  BOOST_TEST((png == single.png()));
  BOOST_TEST((png != one.png()));
  BOOST_TEST(png.substr(0, 8) == "\x89PNG\r\n\x1a\n");
  BOOST_TEST((png.substr(12, 12) == std::string{"IHDR\0\0\0\x46\0\0\0\x46", 12})); // 70 by 70
  BOOST_CHECK_THROW(many.put(0, {1, 2, 3}), std::logic_error);
}

BOOST_AUTO_TEST_CASE(neighbours_outside_have_nearly_the_same_colour) {
  const auto colours = all_of(around(-0.2, 1.06, 0.002, 200, 200)); // deep in the blue
  const auto differ = [](std::uint32_t a, std::uint32_t b) {
    int most = 0;
    for (int shift : {0, 8, 16})
      most = std::max(most, std::abs(static_cast<int>(a >> shift & 255) - static_cast<int>(b >> shift & 255)));
    return most;
  };
  for (std::size_t i = 1; i < colours.size(); ++i)
    if (i % 200 != 0)
      BOOST_TEST(differ(colours[i - 1], colours[i]) <= 4);
}

BOOST_AUTO_TEST_CASE(the_default_view_has_tiles_that_differ_a_thousandfold) {
  view v;
  v.size = 256;
  v.tile = 8;
  std::int64_t least = std::numeric_limits<std::int64_t>::max(), most = 0;
  for (std::int32_t t = 0; t < tiles(v); ++t) {
    const auto n = draw(v, t).iterations;
    least = std::min(least, n);
    most = std::max(most, n);
  }
  BOOST_TEST(most / least > 1000);
}

BOOST_AUTO_TEST_CASE(a_view_that_makes_no_sense_is_refused) {
  BOOST_CHECK_NO_THROW(check({}));
  const auto refused = [](auto change, const std::string& says) {
    view v;
    change(v);
    BOOST_CHECK_EXCEPTION(check(v), std::invalid_argument,
                          [&](const std::invalid_argument& e) { return std::string{e.what()}.find(says) != std::string::npos; });
  };
  const auto nan = std::numeric_limits<double>::quiet_NaN();
  refused([](view& v) { v.size = 0; }, "the size is 0");
  refused([](view& v) { v.size = 100'000; }, "the size is 100000");
  refused([](view& v) { v.tile = -1; }, "a tile is -1");
  refused([](view& v) { v.iterations = 0; }, "iterations is 0");
  refused([](view& v) { v.width = 0; }, "the width");
  refused([&](view& v) { v.width = nan; }, "the width is nan");
  refused([](view& v) { v.width = 1e-13; }, "digits");
  refused([&](view& v) { v.x = nan; }, "the centre");
  refused([](view& v) { v.y = 1e300; }, "the centre");
}
