#include "heat/colours.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

namespace heat {

namespace {

double cube(double x) { return x * x * x; }

// The transfer curve of sRGB (IEC 61966-2-1) and its inverse.
double encoded(double x) { return x <= 0.0031308 ? 12.92 * x : 1.055 * std::pow(x, 1 / 2.4) - 0.055; }

double decoded(double x) { return x <= 0.04045 ? x / 12.92 : std::pow((x + 0.055) / 1.055, 2.4); }

std::uint32_t packed(const linear_rgb& c) {
  const auto byte = [](double x) { return static_cast<std::uint32_t>(255 * encoded(std::clamp(x, 0.0, 1.0)) + 0.5); };
  return byte(c.red) << 16 | byte(c.green) << 8 | byte(c.blue);
}

} // namespace

linear_rgb to_linear_rgb(const oklab& c) {
  const double l = cube(c.lightness + 0.3963377774 * c.a + 0.2158037573 * c.b);
  const double m = cube(c.lightness - 0.1055613458 * c.a - 0.0638541728 * c.b);
  const double s = cube(c.lightness - 0.0894841775 * c.a - 1.2914855480 * c.b);
  return {4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s, -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
          -0.0041960863 * l - 0.7034186147 * m + 1.7076147010 * s};
}

oklab to_oklab(const linear_rgb& c) {
  const double l = std::cbrt(0.4122214708 * c.red + 0.5363325363 * c.green + 0.0514459929 * c.blue);
  const double m = std::cbrt(0.2119034982 * c.red + 0.6806995451 * c.green + 0.1073969566 * c.blue);
  const double s = std::cbrt(0.0883024619 * c.red + 0.2817188376 * c.green + 0.6299787005 * c.blue);
  return {0.2104542553 * l + 0.7936177850 * m - 0.0040720468 * s, 1.9779984951 * l - 2.4285922050 * m + 0.4505937099 * s,
          0.0259040371 * l + 0.7827717662 * m - 0.8086757660 * s};
}

oklab colour_at(double value) {
  const double t = std::clamp(value, 0.0, 1.0);
  const double hue = (285 + 185 * t) * std::numbers::pi / 180; // violet, red (at 29 + 360 degrees), yellow
  const double chroma = 0.065 + 0.335 * t - 0.27 * t * t;      // as strong as sRGB allows on this way, or nearly so
  return {0.12 + 0.85 * t, chroma * std::cos(hue), chroma * std::sin(hue)};
}

std::uint32_t pixel_of(double value) {
  constexpr std::size_t size = 4096; // finer than what pixels can tell apart
  static const auto table = [] {
    std::array<std::uint32_t, size> all;
    for (std::size_t i = 0; i < size; ++i)
      all[i] = packed(to_linear_rgb(colour_at(static_cast<double>(i) / (size - 1))));
    return all;
  }();
  return table[static_cast<std::size_t>(std::clamp(value, 0.0, 1.0) * (size - 1) + 0.5)];
}

linear_rgb shown_by(std::uint32_t pixel) {
  const auto part = [&](int shift) { return decoded((pixel >> shift & 255) / 255.0); };
  return {part(16), part(8), part(0)};
}

} // namespace heat
