#include "heat/problem.hpp"

#include <algorithm>
#include <charconv>
#include <optional>
#include <stdexcept>
#include <string_view>

namespace heat {

namespace {

struct spot {
  double x, y, radius, height; // in widths of the field
};

// They don't overlap, so that nothing is above 1.
constexpr spot spots[] = {{0.30, 0.36, 0.19, 1.00}, {0.70, 0.62, 0.28, 0.85}, {0.24, 0.76, 0.17, 0.70},
                          {0.78, 0.22, 0.13, 1.00}, {0.58, 0.26, 0.06, 0.90}, {0.46, 0.89, 0.08, 1.00}};

[[noreturn]] void refuse(const std::string& what, const std::string& came, const std::string& expected) {
  throw std::invalid_argument(what + " is " + came + ", and must be " + expected);
}

constexpr std::int64_t most_blocks = 1'000'000; // a slip of the finger should not take all memory

std::optional<std::int64_t> read_count(std::string_view text) {
  std::int64_t n = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
  if (error != std::errc{} || end != text.data() + text.size() || n < 1 || n > most_blocks)
    return std::nullopt;
  return n;
}

std::optional<layout> read_counts(std::string_view text) {
  const auto cross = text.find('x');
  const auto rows = read_count(text.substr(0, cross));
  if (cross == std::string_view::npos)
    return rows ? std::optional{squarish(*rows)} : std::nullopt;
  const auto columns = read_count(text.substr(cross + 1));
  return rows && columns && *columns <= most_blocks / *rows ? std::optional{layout{*rows, *columns}} : std::nullopt;
}

} // namespace

void check(const problem& p) {
  constexpr std::int64_t most_cells = 100'000, most_steps = 1'000'000'000;
  if (p.size < 1 || p.size > most_cells)
    refuse("the size", std::to_string(p.size), "1 to " + std::to_string(most_cells) + " cells a side");
  if (p.steps < 0 || p.steps > most_steps)
    refuse("the number of steps", std::to_string(p.steps), "0 to " + std::to_string(most_steps));
  if (!(p.ratio > 0 && p.ratio <= 0.25))
    refuse("the ratio", std::to_string(p.ratio), "more than 0, and 0.25 at most: beyond that, explicit steps are unstable");
  if (p.frames < 0)
    refuse("the number of steps between pictures", std::to_string(p.frames), "0 or more");
}

std::int64_t next_rest(const problem& p, std::int64_t now) {
  const auto next_multiple = [now](std::int64_t n) { return now - now % n + n; };
  const auto rest = std::min(p.steps, next_multiple(report_steps));
  return p.frames > 0 ? std::min(rest, next_multiple(p.frames)) : rest;
}

double initial_value(std::int64_t size, std::int64_t row, std::int64_t column) {
  if (row < 0 || row >= size || column < 0 || column >= size)
    return row < 0 ? 1 : 0;
  const double x = (static_cast<double>(column) + 0.5) / static_cast<double>(size);
  const double y = (static_cast<double>(row) + 0.5) / static_cast<double>(size);
  double value = 0;
  for (const auto& s : spots) {
    const double dx = (x - s.x) / s.radius, dy = (y - s.y) / s.radius;
    const double inside = 1 - (dx * dx + dy * dy);
    if (inside > 0)
      value += s.height * (inside * inside);
  }
  return value;
}

layout squarish(std::int64_t blocks) {
  std::int64_t columns = 1;
  for (std::int64_t n = 1; n <= blocks / n; ++n)
    if (blocks % n == 0)
      columns = n;
  return {blocks / columns, columns};
}

layout read_layout(const std::string& text, std::int64_t workers, std::int64_t size) {
  if (text.empty()) {
    const auto wanted = squarish(workers);
    return {std::min(wanted.rows, size), std::min(wanted.columns, size)};
  }
  const auto blocks = read_counts(text);
  if (!blocks)
    refuse("the number of blocks", "'" + text + "'", "1 to " + std::to_string(most_blocks) + ", as in 6, or down and across, as in 3x2");
  if (blocks->rows > size || blocks->columns > size)
    refuse("the number of blocks", std::to_string(blocks->rows) + " down and " + std::to_string(blocks->columns) + " across",
           "no more than there are cells, " + std::to_string(size) + " each way");
  return *blocks;
}

area area_of(const layout& blocks, std::int64_t size, std::int64_t row, std::int64_t column) {
  const auto down = [&](std::int64_t n) { return n * size / blocks.rows; };
  const auto across = [&](std::int64_t n) { return n * size / blocks.columns; };
  return {down(row), across(column), down(row + 1) - down(row), across(column + 1) - across(column)};
}

} // namespace heat
