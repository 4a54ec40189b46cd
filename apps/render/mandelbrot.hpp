#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace render {

/// Which part of the Mandelbrot set is drawn, and how: a square of `size` × `size` pixels around (x, y) in the complex plane, `width` wide, cut into tiles of `tile` × `tile`
/// pixels, row by row from the top left; those at the right and at the bottom may be smaller. The defaults: a small copy of the set, above its largest part.
struct view {
  double x = -0.159;
  double y = 1.033;
  double width = 0.066;
  std::int32_t size = 4096;
  std::int32_t tile = 64;
  /// After so many, a point counts as one of the set, which is black.
  std::int32_t iterations = 80000;

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, view& v) {
    return f(v.x, v.y, v.width, v.size, v.tile, v.iterations);
  }
};

/// Throws std::invalid_argument, which says what came and what was expected.
void check(const view& v);

/// How many tiles there are.
std::int32_t tiles(const view& v);

/// Some of the pixels: `across` × `down`, from (left, top) on.
struct area {
  std::int32_t left, top, across, down;
};
area area_of(const view& v, std::int32_t tile);

/// A tile's pixels, 0x00RRGGBB, row by row, and how many iterations they took. Depends on nothing but its arguments.
struct pixels {
  std::vector<std::uint32_t> colours;
  std::int64_t iterations = 0;
};
pixels draw(const view& v, std::int32_t tile);

/// All pixels of a view.
class picture {
public:
  explicit picture(const view& v);

  /// `colours` has as many elements as the tile's area.
  void put(std::int32_t tile, const std::vector<std::uint32_t>& colours);

  /// The bytes of a PNG file. Throws std::runtime_error.
  std::string png() const;

private:
  view view_;
  std::vector<std::uint32_t> colours_;
};

} // namespace render
