#pragma once

#include <array>
#include <compare>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

namespace troupe {

/// @addtogroup actors
/// @{

namespace detail {

// By value, whatever their signs.
std::strong_ordering compare(std::size_t a, std::integral auto b) {
  return std::cmp_less(a, b)    ? std::strong_ordering::less
         : std::cmp_equal(a, b) ? std::strong_ordering::equal
                                : std::strong_ordering::greater;
}

} // namespace detail

/// How large an array is in each of its 1 to 3 dimensions: 64, or {8, 8}, or {4, 4, 4}. As a number it is how many elements there are.
class array_extents {
public:
  /// An array has no more.
  static constexpr std::size_t most_dimensions = 3;

  /// Of no elements, in one dimension.
  array_extents() = default;
  /// In one dimension. Throws usage_error for a number below 1, or beyond 2^31.
  array_extents(std::integral auto n) : array_extents({to_signed(n), 1, 1}, 1) { // NOLINT: implicit
  }
  /// In two dimensions. Throws usage_error for a number below 1, or more than 2^31 elements.
  array_extents(std::integral auto n0, std::integral auto n1) : array_extents({to_signed(n0), to_signed(n1), 1}, 2) {}
  /// In three dimensions. Throws usage_error for a number below 1, or more than 2^31 elements.
  array_extents(std::integral auto n0, std::integral auto n1, std::integral auto n2)
    : array_extents({to_signed(n0), to_signed(n1), to_signed(n2)}, 3) {}

  /// Of `dimensions` numbers, none below 1. Throws usage_error, also when there would be more elements than an array can have (2^31).
  array_extents(const std::array<std::int64_t, most_dimensions>& sizes, std::size_t dimensions);

  /// How many dimensions there are; with begin and end the sizes in order.
  std::size_t size() const { return dimensions_; }
  /// The size in the first dimension.
  const std::size_t* begin() const { return sizes_.data(); }
  /// Behind the size in the last one.
  const std::size_t* end() const { return sizes_.data() + dimensions_; }

  /// The size in a dimension, 0 to 2; 1 in those that it hasn't.
  std::size_t operator[](std::integral auto dimension) const { return sizes_[static_cast<std::size_t>(dimension)]; }

  /// How many elements there are.
  operator std::size_t() const { // NOLINT: implicit
    return sizes_[0] * sizes_[1] * sizes_[2];
  }

  /// Whether dimensions and sizes are the same.
  friend bool operator==(const array_extents&, const array_extents&) = default;
  /// Whether it has so many elements.
  friend bool operator==(const array_extents& a, std::integral auto n) { return std::cmp_equal(static_cast<std::size_t>(a), n); }
  /// Compares its number of elements, by value, whatever the signs.
  friend std::strong_ordering operator<=>(const array_extents& a, std::integral auto n) { return detail::compare(a, n); }

  /// "64", "8 x 8".
  friend std::string to_string(const array_extents& x);

private:
  // What is beyond the range is as wrong as what is negative.
  static std::int64_t to_signed(std::integral auto n) { return std::in_range<std::int64_t>(n) ? static_cast<std::int64_t>(n) : -1; }

  std::array<std::size_t, most_dimensions> sizes_{0, 1, 1};
  std::size_t dimensions_ = 1;
};

/// Which element of an array: 5, or {1, 2}, or {1, 2, 3}. One number is the element's position in row-major order, whatever the array's
/// dimensions. As a number, an index that an array gave is that position.
class array_index {
public:
  /// An index has no more numbers.
  static constexpr std::size_t most_dimensions = array_extents::most_dimensions;

  /// The first element.
  array_index() = default;
  /// The element at a position.
  array_index(std::integral auto i) : array_index({to_signed(i), 0, 0}, 1) { // NOLINT: implicit
  }
  /// The element in row i and column j.
  array_index(std::integral auto i, std::integral auto j) : array_index({to_signed(i), to_signed(j), 0}, 2) {}
  /// The element in layer i, row j and column k.
  array_index(std::integral auto i, std::integral auto j, std::integral auto k)
    : array_index({to_signed(i), to_signed(j), to_signed(k)}, 3) {}

  /// The index, in as many dimensions, of the element at a position in an array of these extents; there must be one.
  static array_index at(std::size_t position, const array_extents& extents);

  /// Where it lies in an array of these extents. Throws usage_error if there's no such element.
  std::size_t position_in(const array_extents& extents) const;

  /// How many dimensions it has; with begin and end its numbers in order.
  std::size_t size() const { return dimensions_; }
  /// Its first number.
  const std::int64_t* begin() const { return at_.data(); }
  /// Behind its last number.
  const std::int64_t* end() const { return at_.data() + dimensions_; }

  /// Its number in a dimension, 0 to 2; 0 in those that it hasn't.
  std::size_t operator[](std::integral auto dimension) const { return static_cast<std::size_t>(at_[static_cast<std::size_t>(dimension)]); }

  /// The position. Throws usage_error for one of several dimensions that no array gave: its position isn't known.
  operator std::size_t() const { // NOLINT: implicit
    return position_ == unknown ? throw_no_number() : position_;
  }

  /// Whether the numbers are the same, and as many.
  friend bool operator==(const array_index& a, const array_index& b) { return a.dimensions_ == b.dimensions_ && a.at_ == b.at_; }
  /// Whether that is its position. Throws usage_error if the position isn't known.
  friend bool operator==(const array_index& a, std::integral auto n) { return std::cmp_equal(static_cast<std::size_t>(a), n); }
  /// Compares its position, by value, whatever the signs. Throws usage_error if the position isn't known.
  friend std::strong_ordering operator<=>(const array_index& a, std::integral auto n) { return detail::compare(a, n); }

  /// "5", "(1, 2)".
  friend std::string to_string(const array_index& x);

private:
  static constexpr std::size_t unknown = ~std::size_t{0};

  array_index(const std::array<std::int64_t, most_dimensions>& at, std::size_t dimensions)
    : at_(at), dimensions_(dimensions), position_(dimensions == 1 ? static_cast<std::size_t>(at[0]) : unknown) {}
  static std::int64_t to_signed(std::integral auto n) { return std::in_range<std::int64_t>(n) ? static_cast<std::int64_t>(n) : -1; }
  std::size_t throw_no_number() const;

  std::array<std::int64_t, most_dimensions> at_{};
  std::size_t dimensions_ = 1;
  std::size_t position_ = 0;
};

/// @}

} // namespace troupe
