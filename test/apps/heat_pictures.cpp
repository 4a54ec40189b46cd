#define BOOST_TEST_MODULE heat_pictures
#include <boost/test/unit_test.hpp>

#include "heat/colours.hpp"
#include "heat/picture.hpp"
#include "heat/tile.hpp"

#include <cairo.h>

#include <cmath>
#include <memory>
#include <stdexcept>

using namespace heat;

namespace {

// Values that tell each cell from any other, up to what a float can hold.
tile numbered(std::int64_t size, const area& where) {
  return {where, {}, 0.2, [=](auto row, auto column) { return static_cast<double>(row * size + column); }};
}

picture drawn(std::int64_t size, const layout& blocks) {
  picture out{size};
  for (std::int64_t row = 0; row < blocks.rows; ++row)
    for (std::int64_t column = 0; column < blocks.columns; ++column) {
      const auto where = area_of(blocks, size, row, column);
      out.put(where, sample(tile{where, {}, 0.2, [=](auto y, auto x) { return initial_value(size, y, x); }}, size));
    }
  return out;
}

// A PNG file as cairo reads it.
class image {
public:
  explicit image(std::string png) : surface_(cairo_image_surface_create_from_png_stream(read, &png), cairo_surface_destroy) {
    BOOST_REQUIRE(cairo_surface_status(surface_.get()) == CAIRO_STATUS_SUCCESS);
  }
  int width() const { return cairo_image_surface_get_width(surface_.get()); }
  int height() const { return cairo_image_surface_get_height(surface_.get()); }
  std::uint32_t pixel(int x, int y) const {
    const auto row =
      cairo_image_surface_get_data(surface_.get()) + static_cast<std::ptrdiff_t>(y) * cairo_image_surface_get_stride(surface_.get());
    return reinterpret_cast<const std::uint32_t*>(row)[x] & 0xffffff;
  }

private:
  static cairo_status_t read(void* from, unsigned char* to, unsigned n) {
    auto& left = *static_cast<std::string*>(from);
    if (left.size() < n)
      return CAIRO_STATUS_READ_ERROR;
    left.copy(reinterpret_cast<char*>(to), n);
    left.erase(0, n);
    return CAIRO_STATUS_SUCCESS;
  }

  std::unique_ptr<cairo_surface_t, void (*)(cairo_surface_t*)> surface_;
};

double lightness_of(std::uint32_t pixel) { return to_oklab(shown_by(pixel)).lightness; }

} // namespace

// White, and sRGB's red as CSS Color 4 (W3C) converts it.
BOOST_AUTO_TEST_CASE(colours_go_to_oklab_and_back) {
  const auto white = to_oklab({1, 1, 1});
  BOOST_TEST(std::abs(white.lightness - 1) < 1e-6);
  BOOST_TEST(std::abs(white.a) < 1e-6);
  BOOST_TEST(std::abs(white.b) < 1e-6);
  const auto red = to_oklab({1, 0, 0});
  BOOST_TEST(std::abs(red.lightness - 0.62796) < 1e-4);
  BOOST_TEST(std::abs(red.a - 0.22486) < 1e-4);
  BOOST_TEST(std::abs(red.b - 0.12585) < 1e-4);
  for (const linear_rgb c : {linear_rgb{0.2, 0.5, 0.9}, linear_rgb{0.01, 0.8, 0.3}, linear_rgb{0, 0, 1}}) {
    const auto back = to_linear_rgb(to_oklab(c));
    BOOST_TEST(std::abs(back.red - c.red) < 1e-6);
    BOOST_TEST(std::abs(back.green - c.green) < 1e-6);
    BOOST_TEST(std::abs(back.blue - c.blue) < 1e-6);
  }
}

BOOST_AUTO_TEST_CASE(a_screen_can_show_all_colours_of_the_map) {
  for (int i = 0; i <= 1000; ++i) {
    const auto c = to_linear_rgb(colour_at(i / 1000.0));
    for (const double part : {c.red, c.green, c.blue})
      BOOST_TEST((part >= 0 && part <= 1), "at " << i / 1000.0 << ": " << part);
  }
}

BOOST_AUTO_TEST_CASE(pixels_become_lighter_in_even_steps) {
  constexpr int steps = 64;
  const double from = lightness_of(pixel_of(0)), to = lightness_of(pixel_of(1));
  BOOST_TEST(from < 0.15);
  BOOST_TEST(to > 0.95);
  const double even = (to - from) / steps;
  for (int i = 1; i <= steps; ++i) {
    const double here = lightness_of(pixel_of(static_cast<double>(i) / steps)),
                 before = lightness_of(pixel_of(static_cast<double>(i - 1) / steps));
    BOOST_TEST(here - before > 0.75 * even); // the colours of a pixel are rounded
    BOOST_TEST(here - before < 1.25 * even);
    BOOST_TEST(std::abs(here - (from + i * even)) < 0.3 * even);
  }
}

BOOST_AUTO_TEST_CASE(values_beyond_0_and_1_have_the_colours_of_these) {
  BOOST_TEST(pixel_of(-0.5) == pixel_of(0));
  BOOST_TEST(pixel_of(7) == pixel_of(1));
}

BOOST_AUTO_TEST_CASE(pixels_have_the_values_of_the_cells_in_their_middle) {
  const auto small = sample(numbered(5, {0, 0, 5, 5}), 5);
  BOOST_REQUIRE(small.size() == 25U);
  for (std::size_t i = 0; i < 25; ++i)
    BOOST_TEST(small[i] == static_cast<float>(i));
  constexpr std::int64_t size = 3072; // three cells a pixel
  const auto large = sample(numbered(size, {0, 0, size, size}), size);
  BOOST_REQUIRE(large.size() == 1024U * 1024U);
  BOOST_TEST(large[0] == static_cast<float>(size + 1));
  BOOST_TEST(large[1] == static_cast<float>(size + 4));
  BOOST_TEST(large[1024] == static_cast<float>(4 * size + 1));
}

BOOST_AUTO_TEST_CASE(a_picture_of_parts_is_the_same_as_one_of_everything) {
  for (const std::int64_t size : {1, 50, 1025, 1500}) {
    const auto expected = drawn(size, {1, 1}).png("");
    for (const layout blocks : {layout{2, 1}, layout{3, 7}, layout{50, 50}})
      if (blocks.rows <= size && blocks.columns <= size)
        BOOST_TEST((drawn(size, blocks).png("") == expected));
    BOOST_TEST((picture{size}.png("") != expected));
  }
}

BOOST_AUTO_TEST_CASE(a_picture_shows_each_cell_as_a_square_in_the_colour_of_its_value) {
  constexpr std::int64_t size = 64;
  const auto p = drawn(size, {2, 2});
  const image shown{p.png("64 x 64 cells")};
  BOOST_TEST(shown.width() == p.width());
  BOOST_TEST(shown.height() == p.height());
  for (std::int64_t row = 0; row < size; ++row)
    for (std::int64_t column = 0; column < size; ++column) {
      const auto expected = pixel_of(static_cast<double>(static_cast<float>(initial_value(size, row, column))));
      const int x = 24 + 8 * static_cast<int>(column), y = 24 + 8 * static_cast<int>(row);
      BOOST_TEST(shown.pixel(x, y) == expected);
      BOOST_TEST(shown.pixel(x + 7, y + 7) == expected);
    }
}

BOOST_AUTO_TEST_CASE(pictures_are_about_500_to_1000_pixels_large_however_many_cells_there_are) {
  for (const std::int64_t size : {1, 3, 300, 512, 513, 1024, 5000, 100'000}) {
    const picture p{size};
    BOOST_TEST(p.height() > 512);
    BOOST_TEST(p.height() < 1200);
    BOOST_TEST(p.width() > p.height());
    BOOST_TEST(p.width() < 1200);
  }
  BOOST_TEST(picture{1024}.width() == picture{5000}.width());
}

BOOST_AUTO_TEST_CASE(a_part_that_is_too_short_is_an_error_that_says_so) {
  picture p{10};
  BOOST_CHECK_EXCEPTION(p.put({0, 0, 5, 10}, std::vector<float>(49)), std::logic_error,
                        [](const std::logic_error& e) { return std::string{e.what()} == "a part of 5 x 10 pixels has 49 values"; });
}
