#include "heat/picture.hpp"

#include "files/files.hpp"
#include "heat/colours.hpp"
#include "heat/tile.hpp"

#include <algorithm>
#include <memory>
#include <stdexcept>
#include <utility>

#include <cairo.h>

namespace heat {

namespace {

constexpr std::int64_t most_pixels = 1024;
constexpr int least_side = 512;
constexpr int margin = 24, scale_width = 22, label_width = 50, caption_height = 40;

std::int64_t pixels_of(std::int64_t size) { return std::min(size, most_pixels); }

// The cell in the middle of a pixel.
std::int64_t cell_of(std::int64_t pixel, std::int64_t size) { return (2 * pixel + 1) * size / (2 * pixels_of(size)); }

// The first pixel whose cell isn't in front of this one.
std::int64_t first_pixel(std::int64_t cell, std::int64_t size) {
  const auto pixel = cell * pixels_of(size) / size; // that, or the one in front of it
  return cell_of(pixel, size) < cell ? pixel + 1 : pixel;
}

area pixels_within(const area& cells, std::int64_t size) {
  const auto top = first_pixel(cells.row, size), left = first_pixel(cells.column, size);
  return {top, left, first_pixel(cells.row + cells.rows, size) - top, first_pixel(cells.column + cells.columns, size) - left};
}

using surface = std::unique_ptr<cairo_surface_t, void (*)(cairo_surface_t*)>;
using context = std::unique_ptr<cairo_t, void (*)(cairo_t*)>;

surface blank(int width, int height) { return {cairo_image_surface_create(CAIRO_FORMAT_RGB24, width, height), cairo_surface_destroy}; }

surface image_of(const std::vector<std::uint32_t>& colours, int width) {
  const int height = static_cast<int>(colours.size()) / width;
  auto out = blank(width, height);
  if (const auto status = cairo_surface_status(out.get()); status != CAIRO_STATUS_SUCCESS)
    throw std::runtime_error(std::string{"cannot make the picture: "} + cairo_status_to_string(status));
  cairo_surface_flush(out.get());
  const auto stride = cairo_image_surface_get_stride(out.get());
  auto from = colours.begin();
  for (int row = 0; row < height; ++row, from += width)
    std::copy_n(from, width,
                reinterpret_cast<std::uint32_t*>(cairo_image_surface_get_data(out.get()) + static_cast<std::ptrdiff_t>(row) * stride));
  cairo_surface_mark_dirty(out.get());
  return out;
}

// With square pixels, however large they become.
void place(cairo_t* c, const surface& image, double x, double y, double width, double height) {
  cairo_save(c);
  cairo_translate(c, x, y);
  cairo_scale(c, width / cairo_image_surface_get_width(image.get()), height / cairo_image_surface_get_height(image.get()));
  cairo_set_source_surface(c, image.get(), 0, 0);
  cairo_pattern_set_filter(cairo_get_source(c), CAIRO_FILTER_NEAREST);
  cairo_paint(c);
  cairo_restore(c);
}

void write(cairo_t* c, double x, double y, const std::string& text) {
  cairo_set_source_rgb(c, 0.13, 0.15, 0.18);
  cairo_move_to(c, x, y);
  cairo_show_text(c, text.c_str());
}

void draw_scale(cairo_t* c, double x, double y, double height) {
  std::vector<std::uint32_t> colours;
  for (int i = 255; i >= 0; --i)
    colours.push_back(pixel_of(i / 255.0));
  place(c, image_of(colours, 1), x, y, scale_width, height);
  for (const auto& [value, text] : {std::pair{0.0, "0"}, {0.25, "0.25"}, {0.5, "0.5"}, {0.75, "0.75"}, {1.0, "1"}})
    write(c, x + scale_width + 8, y + (1 - value) * (height - 10) + 10, text);
}

} // namespace

std::vector<float> sample(const tile& part, std::int64_t size) {
  const auto& cells = part.where();
  const auto pixels = pixels_within(cells, size);
  std::vector<float> out;
  out.reserve(static_cast<std::size_t>(pixels.rows * pixels.columns));
  for (auto y = pixels.row; y < pixels.row + pixels.rows; ++y)
    for (auto x = pixels.column; x < pixels.column + pixels.columns; ++x)
      out.push_back(static_cast<float>(part.at(cell_of(y, size) - cells.row, cell_of(x, size) - cells.column)));
  return out;
}

picture::picture(std::int64_t size) : size_(size), pixels_(pixels_of(size)), colours_(static_cast<std::size_t>(pixels_ * pixels_)) {}

void picture::put(const area& where, const std::vector<float>& values) {
  const auto pixels = pixels_within(where, size_);
  if (std::cmp_not_equal(values.size(), pixels.rows * pixels.columns))
    throw std::logic_error("a part of " + std::to_string(pixels.rows) + " x " + std::to_string(pixels.columns) + " pixels has "
                           + std::to_string(values.size()) + " values");
  auto from = values.begin();
  for (auto y = pixels.row; y < pixels.row + pixels.rows; ++y, from += pixels.columns)
    std::transform(from, from + pixels.columns, colours_.begin() + y * pixels_ + pixels.column,
                   [](float value) { return pixel_of(static_cast<double>(value)); });
}

int picture::side() const {
  const int pixels = static_cast<int>(pixels_);
  return (least_side + pixels - 1) / pixels * pixels;
}

int picture::width() const { return margin + side() + margin + scale_width + label_width; }

int picture::height() const { return margin + side() + caption_height; }

std::string picture::png(const std::string& caption) const {
  const auto out = blank(width(), height());
  const context c{cairo_create(out.get()), cairo_destroy};
  cairo_set_source_rgb(c.get(), 1, 1, 1);
  cairo_paint(c.get());
  place(c.get(), image_of(colours_, static_cast<int>(pixels_)), margin, margin, side(), side());
  cairo_select_font_face(c.get(), "sans-serif", CAIRO_FONT_SLANT_NORMAL, CAIRO_FONT_WEIGHT_NORMAL);
  cairo_set_font_size(c.get(), 14);
  draw_scale(c.get(), 2 * margin + side(), margin, side());
  write(c.get(), margin, height() - 14, caption);
  return files::png_of(out.get());
}

} // namespace heat
