#include "render/mandelbrot.hpp"

#include "files/files.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <stdexcept>

#include <cairo.h>

namespace render {

namespace {

struct rgb {
  double red, green, blue;
};

/// Anchors of a palette that goes round, in equal steps: night, sea, foam, sand, ember.
constexpr std::array<rgb, 6> anchors{
  {{0.02, 0.03, 0.12}, {0.05, 0.20, 0.48}, {0.36, 0.68, 0.86}, {0.98, 0.95, 0.86}, {0.96, 0.66, 0.16}, {0.42, 0.10, 0.08}}};

/// Between the anchors, smoothly (a cubic of Catmull and Rom). `at`: its fraction counts.
rgb palette(double at) {
  const double position = (at - std::floor(at)) * static_cast<double>(anchors.size());
  const auto i = static_cast<std::size_t>(position) % anchors.size();
  const double t = position - std::floor(position);
  const auto& a = anchors[(i + anchors.size() - 1) % anchors.size()];
  const auto& b = anchors[i];
  const auto& c = anchors[(i + 1) % anchors.size()];
  const auto& d = anchors[(i + 2) % anchors.size()];
  const auto mix = [t](double p, double q, double r, double s) {
    const double x = q + 0.5 * t * (r - p + t * (2 * p - 5 * q + 4 * r - s + t * (3 * (q - r) + s - p)));
    return std::clamp(x, 0.0, 1.0);
  };
  return {mix(a.red, b.red, c.red, d.red), mix(a.green, b.green, c.green, d.green), mix(a.blue, b.blue, c.blue, d.blue)};
}

/// The same from a table, which is finer than what a picture's numbers tell apart.
const rgb& quick_palette(double at) {
  constexpr std::size_t size = 8192;
  static const auto table = [] {
    std::vector<rgb> all;
    for (std::size_t i = 0; i < size; ++i)
      all.push_back(palette((static_cast<double>(i) + 0.5) / size));
    return all;
  }();
  return table[static_cast<std::size_t>((at - std::floor(at)) * size) % size];
}

std::uint32_t packed(const rgb& colour) {
  const auto byte = [](double x) { return static_cast<std::uint32_t>(255 * std::clamp(x, 0.0, 1.0) + 0.5); };
  return byte(colour.red) << 16 | byte(colour.green) << 8 | byte(colour.blue);
}

constexpr double far = 1e4; // |z|² of an orbit that has left for good; so large that bands join smoothly

constexpr std::size_t lanes = 4;
using numbers = double __attribute__((vector_size(lanes * sizeof(double))));
using counts = std::int64_t __attribute__((vector_size(lanes * sizeof(std::int64_t))));

/// How many iterations it takes until the orbits of some points, side by side, have left; the limit if they don't.
std::array<std::int64_t, lanes> lengths(const std::array<double, lanes>& xs, double cy, int limit) {
  numbers cx{xs[0], xs[1], xs[2], xs[3]}, x{}, y{};
  counts n{};
  constexpr int at_once = 8; // before it looks whether all have left: what has left goes to infinity, and is not counted
  for (int done = 0; done < limit; done += at_once) {
    const auto before = n;
    for (int i = 0; i < at_once; ++i) {
      const auto next_x = x * x - y * y + cx;
      y = 2 * x * y + cy;
      x = next_x;
      n -= x * x + y * y <= far; // true is -1
    }
    const auto counted = n - before;
    if ((counted[0] | counted[1] | counted[2] | counted[3]) == 0)
      break;
  }
  std::array<std::int64_t, lanes> out;
  for (std::size_t i = 0; i < lanes; ++i)
    out[i] = std::min<std::int64_t>(n[i], limit);
  return out;
}

/// Where the orbit of a point was when it had left, and the derivative of that by the point.
struct escape {
  int n = 0;
  double x = 0, y = 0;
  double dx = 0, dy = 0;
};

/// Of a point that leaves.
escape follow(double cx, double cy, int limit) {
  escape e;
  for (; e.n <= limit && e.x * e.x + e.y * e.y <= far; ++e.n) {
    const double dx = 2 * (e.x * e.dx - e.y * e.dy) + 1;
    e.dy = 2 * (e.x * e.dy + e.y * e.dx);
    e.dx = dx;
    const double x = e.x * e.x - e.y * e.y + cx;
    e.y = 2 * e.x * e.y + cy;
    e.x = x;
  }
  return e;
}

/// Light falls on the potential of the set as on a hillside; the nearer to the set, the darker. `pixel`: its width in the plane.
std::uint32_t colour_of(const escape& e, double pixel) {
  const double r = std::sqrt(e.x * e.x + e.y * e.y), slope = std::sqrt(e.dx * e.dx + e.dy * e.dy);
  const double log_r = std::log(r);
  const double level = std::max(e.n - std::log2(log_r), 1.0);
  const auto& colour = quick_palette(0.23 * std::log(level) + 0.035 * std::sqrt(level) + 0.62);
  const bool known = slope > 0 && std::isfinite(slope);
  const double towards_light = known ? 0.7071 * (e.x * e.dx + e.y * e.dy + e.y * e.dx - e.x * e.dy) / (r * slope) : 0; // of z / z'
  const double distance = known ? 2 * r * log_r / slope / pixel : 0; // in pixels
  constexpr double height = 1.5;
  const double light = (towards_light + height) / (1 + height);
  const double shade = (0.35 + 0.75 * light) * std::min(1.0, 0.25 + 0.5 * std::sqrt(distance));
  return packed({colour.red * shade, colour.green * shade, colour.blue * shade});
}

[[noreturn]] void refuse(const char* what, const std::string& came, const char* expected) {
  throw std::invalid_argument(std::string{what} + " is " + came + ", and must be " + expected);
}

std::int32_t tiles_across(const view& v) { return (v.size + v.tile - 1) / v.tile; }

} // namespace

void check(const view& v) {
  if (v.size < 1 || v.size > 32'000)
    refuse("the size", std::to_string(v.size), "1 to 32000 pixels");
  if (v.tile < 1 || v.tile > 4096)
    refuse("the size of a tile", std::to_string(v.tile), "1 to 4096 pixels");
  if (v.iterations < 1 || v.iterations > 100'000'000)
    refuse("the number of iterations", std::to_string(v.iterations), "1 to 100000000");
  if (!std::isfinite(v.x) || !std::isfinite(v.y) || std::hypot(v.x, v.y) > 10)
    refuse("the centre", std::to_string(v.x) + ' ' + std::to_string(v.y), "two numbers, within 10 of 0");
  if (!(v.width > 0) || v.width > 100)
    refuse("the width", std::to_string(v.width), "more than 0, and 100 at most");
  if (v.width / v.size < 1e-15)
    refuse("the width", std::to_string(v.width), "1e-15 for each pixel at least: numbers have no more digits");
}

std::int32_t tiles(const view& v) { return tiles_across(v) * tiles_across(v); }

area area_of(const view& v, std::int32_t tile) {
  const auto left = tile % tiles_across(v) * v.tile;
  const auto top = tile / tiles_across(v) * v.tile;
  return {left, top, std::min(v.tile, v.size - left), std::min(v.tile, v.size - top)};
}

pixels draw(const view& v, std::int32_t tile) {
  const auto where = area_of(v, tile);
  const double pixel = v.width / v.size;
  pixels out;
  out.colours.reserve(static_cast<std::size_t>(where.across) * static_cast<std::size_t>(where.down));
  for (auto row = where.top; row < where.top + where.down; ++row) {
    const double cy = v.y - (row + 0.5 - 0.5 * v.size) * pixel;
    for (std::int32_t from = 0; from < where.across; from += lanes) {
      std::array<double, lanes> cx;
      for (std::size_t i = 0; i < lanes; ++i)
        cx[i] = v.x + (where.left + from + static_cast<int>(i) + 0.5 - 0.5 * v.size) * pixel;
      const auto n = lengths(cx, cy, v.iterations);
      for (std::size_t i = 0; i < std::min(lanes, static_cast<std::size_t>(where.across - from)); ++i) {
        out.iterations += n[i];
        out.colours.push_back(n[i] >= v.iterations ? 0 : colour_of(follow(cx[i], cy, v.iterations), pixel));
      }
    }
  }
  return out;
}

picture::picture(const view& v) : view_(v), colours_(static_cast<std::size_t>(v.size) * static_cast<std::size_t>(v.size)) {}

void picture::put(std::int32_t tile, const std::vector<std::uint32_t>& colours) {
  const auto where = area_of(view_, tile);
  if (colours.size() != static_cast<std::size_t>(where.across) * static_cast<std::size_t>(where.down))
    throw std::logic_error("tile " + std::to_string(tile) + " has " + std::to_string(colours.size()) + " pixels");
  auto from = colours.begin();
  for (auto row = where.top; row < where.top + where.down; ++row, from += where.across)
    std::copy_n(from, where.across, colours_.begin() + static_cast<std::ptrdiff_t>(row) * view_.size + where.left);
}

std::string picture::png() const {
  const std::unique_ptr<cairo_surface_t, void (*)(cairo_surface_t*)> surface{
    cairo_image_surface_create(CAIRO_FORMAT_RGB24, view_.size, view_.size), cairo_surface_destroy};
  if (const auto status = cairo_surface_status(surface.get()); status != CAIRO_STATUS_SUCCESS)
    throw std::runtime_error(std::string{"cannot make the picture: "} + cairo_status_to_string(status));
  cairo_surface_flush(surface.get());
  const auto stride = cairo_image_surface_get_stride(surface.get());
  for (std::int32_t row = 0; row < view_.size; ++row)
    std::copy_n(colours_.begin() + static_cast<std::ptrdiff_t>(row) * view_.size, view_.size,
                reinterpret_cast<std::uint32_t*>(cairo_image_surface_get_data(surface.get()) + static_cast<std::ptrdiff_t>(row) * stride));
  cairo_surface_mark_dirty(surface.get());
  return files::png_of(surface.get());
}

} // namespace render
