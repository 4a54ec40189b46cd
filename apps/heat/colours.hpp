#pragma once

#include <cstdint>

namespace heat {

/// A colour in OKLab (B. Ottosson, "A perceptual color space for image processing", 2020, https://bottosson.github.io/posts/oklab/): lightness, and how far it is from grey towards
/// red (or green) and towards yellow (or blue).
struct oklab {
  double lightness, a, b;
};

/// A colour in sRGB without its transfer curve, each 0 to 1 where a screen can show it.
struct linear_rgb {
  double red, green, blue;
};

linear_rgb to_linear_rgb(const oklab& c);
oklab to_oklab(const linear_rgb& c);

/// The colour of a value from 0 to 1, what is beyond as the nearest of these: from dark violet over red to light yellow. Equal differences of values look equally large: lightness grows
/// with the value in a straight line.
oklab colour_at(double value);

/// The same as a screen takes it: 0x00RRGGBB.
std::uint32_t pixel_of(double value);

/// What a pixel shows.
linear_rgb shown_by(std::uint32_t pixel);

} // namespace heat
