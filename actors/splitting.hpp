#pragma once

#include "troupe/transport/error.hpp"

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

// How ranges are divided among processes.
namespace troupe {

/// @addtogroup loops
/// @{

namespace detail {

/// An integer that can be an index: of 8 to 64 bits.
template <class I>
concept index_type = std::integral<I> && !std::same_as<std::remove_cv_t<I>, bool> && sizeof(I) <= sizeof(std::uint64_t);

/// What two ends of a range have in common.
template <class A, class B>
using common_index = std::common_type_t<std::remove_cvref_t<A>, std::remove_cvref_t<B>>;

[[noreturn]] void throw_index_out_of_range(const std::string& value, std::size_t bits, bool is_signed);
[[noreturn]] void throw_too_few(const char* what, std::int64_t value, int least);

/// The same value as an I. Throws usage_error if an I can't hold it.
template <index_type I, index_type A>
I index_cast(A x) {
  const auto out = static_cast<I>(x);
  if (static_cast<A>(out) != x || (out < I{}) != (x < A{}))
    throw_index_out_of_range(std::to_string(x), sizeof(I) * 8, std::is_signed_v<I>);
  return out;
}

/// How many lie in front of `last` from `first` on. Needs first <= last.
template <index_type I>
std::uint64_t distance_between(I first, I last) {
  return static_cast<std::uint64_t>(last) - static_cast<std::uint64_t>(first);
}

/// The n-th index behind `first`, which must exist.
template <index_type I>
I index_behind(I first, std::uint64_t n) {
  return static_cast<I>(static_cast<std::uint64_t>(first) + n);
}

} // namespace detail

/// The integers from `first` to `last`, both included, in at most `parts` chunks, each given by its first and its last. Their sizes differ
/// by one at most, the larger ones come first; with fewer integers than parts, each is a chunk. None if last < first. The ends may be any
/// integers of 8 to 64 bits, up to their limits; the chunks' are of their common type. Throws usage_error if `parts` is less than 1, or the
/// common type can't hold one of the ends.
template <detail::index_type A, detail::index_type B, std::integral N>
auto split_range(A first, B last, N parts) {
  using I = detail::common_index<A, B>;
  const auto begin = detail::index_cast<I>(first);
  const auto end = detail::index_cast<I>(last);
  if (parts < N{1})
    detail::throw_too_few("split_range: the number of parts", static_cast<std::int64_t>(parts), 1);
  std::vector<std::pair<I, I>> out;
  if (end < begin)
    return out;
  if (parts == N{1}) {
    out.emplace_back(begin, end);
    return out;
  }
  // one less than there are, which fits always
  const auto span = detail::distance_between(begin, end);
  const auto p = static_cast<std::uint64_t>(parts);
  const auto chunks = span < p ? span + 1 : p;
  auto size = span / chunks;
  auto larger = span % chunks + 1;
  if (larger == chunks) {
    ++size;
    larger = 0;
  }
  out.reserve(static_cast<std::size_t>(chunks));
  std::uint64_t at = 0;
  for (std::uint64_t k = 0; k < chunks; ++k) {
    const auto n = size + (k < larger ? 1 : 0);
    out.emplace_back(detail::index_behind(begin, at), detail::index_behind(begin, at + (n - 1)));
    at += n;
  }
  return out;
}

/// The sizes of the batches in which n items are worked on: 100 each, the last one what is left; if that made fewer than `at_least`
/// batches, n / at_least each, but one at least. Throws usage_error if at_least is less than 1 or n is negative.
std::vector<std::size_t> split_batches(std::int64_t n, std::int64_t at_least);

/// The first n elements of a range, all of them if there are fewer, and the others. Throws usage_error if n is negative.
template <class Xs>
auto split_head(Xs&& xs, std::int64_t n) {
  if (n < 0)
    detail::throw_too_few("split_head: the number of elements", n, 0);
  using std::begin;
  using std::end;
  using element = typename std::iterator_traits<std::remove_cvref_t<decltype(begin(xs))>>::value_type;
  std::pair<std::vector<element>, std::vector<element>> out;
  auto i = begin(xs);
  const auto last = end(xs);
  for (; n > 0 && i != last; --n, ++i)
    out.first.push_back(*i);
  for (; i != last; ++i)
    out.second.push_back(*i);
  return out;
}

/// All pairs of an element of one range and one of another, in row order: the loops over both, the second one inside. `ys` is walked once
/// for each of xs.
template <class Xs, class Ys>
auto product(const Xs& xs, const Ys& ys) {
  using std::begin;
  using x_type = typename std::iterator_traits<decltype(begin(xs))>::value_type;
  using y_type = typename std::iterator_traits<decltype(begin(ys))>::value_type;
  std::vector<std::pair<x_type, y_type>> out;
  for (auto&& x : xs)
    for (auto&& y : ys)
      out.emplace_back(x, y);
  return out;
}

/// @}

} // namespace troupe
