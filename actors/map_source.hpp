#pragma once

#include "troupe/actors/callable.hpp"
#include "troupe/transport/error.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <iterator>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

/// The input of a map: ranges that are walked together, up to the end of the shortest.
namespace troupe::detail {

/// Throws usage_error: a range has another size than at the start of the map.
[[noreturn]] void throw_range_changed(std::size_t before, std::size_t now);

template <class X>
concept indexed_range = std::ranges::random_access_range<X> && std::ranges::sized_range<X>;

/// Writes arguments for one parameter side by side: n of them, which `get` gives by their places.
template <class P, class Get>
void write_column(writer& out, lent_memory* lent, std::size_t n, Get get) {
  using held = typename argument<P>::held;
  if constexpr (block_element<held>) {
    if (n == 0)
      return;
    std::vector<held> all;
    all.reserve(n);
    for (std::size_t i = 0; i < n; ++i)
      all.push_back(static_cast<held>(get(i)));
    write_block(out, all.data(), n);
  } else {
    for (std::size_t i = 0; i < n; ++i)
      write_argument<P>(out, lent, get(i));
  }
}

/// Ranges that are looked at where they are: nothing of them is copied but into messages.
template <class... Xs>
class indexed_source {
public:
  explicit indexed_source(Xs&... xs) : ranges_(xs...), sizes_{static_cast<std::size_t>(std::ranges::size(xs))...} {}

  std::optional<std::size_t> total() const { return *std::min_element(sizes_.begin(), sizes_.end()); }

  std::size_t draw(std::size_t most) {
    check();
    const auto n = std::min(most, *total() - drawn_);
    drawn_ += n;
    return n;
  }

  template <class... Ps>
  void write(writer& out, lent_memory& lent, std::size_t first, std::size_t count) {
    check();
    write_all<Ps...>(out, lent, first, count, std::index_sequence_for<Xs...>{});
  }

  /// The elements at a place, to be passed to a function.
  auto element(std::size_t i) {
    check();
    return std::apply([&](auto&... xs) { return std::tuple<std::ranges::range_reference_t<Xs>...>{at(xs, i)...}; }, ranges_);
  }

  void release(std::size_t, std::size_t) {}

private:
  template <class X>
  static decltype(auto) at(X& x, std::size_t i) {
    return std::ranges::begin(x)[static_cast<std::ranges::range_difference_t<X>>(i)];
  }

  // What the map calls may be the owner of a range.
  void check() {
    std::size_t place = 0;
    std::apply(
      [&](auto&... xs) {
        const auto same = [&](std::size_t now) {
          if (now != sizes_[place])
            throw_range_changed(sizes_[place], now);
          ++place;
        };
        (same(static_cast<std::size_t>(std::ranges::size(xs))), ...);
      },
      ranges_);
  }

  template <class... Ps, std::size_t... I>
  void write_all(writer& out, lent_memory& lent, std::size_t first, std::size_t count, std::index_sequence<I...>) {
    (write_one<Ps>(out, lent, std::get<I>(ranges_), first, count), ...);
  }

  template <class P, class X>
  static void write_one(writer& out, lent_memory& lent, X& x, std::size_t first, std::size_t count) {
    using held = typename argument<P>::held;
    if constexpr (std::ranges::contiguous_range<X> && block_element<held> && std::is_same_v<std::ranges::range_value_t<X>, held>)
      write_block(out, std::ranges::data(x) + first, count);
    else
      write_column<P>(out, &lent, count, [&](std::size_t i) -> decltype(auto) { return at(x, first + i); });
  }

  std::tuple<Xs&...> ranges_;
  std::array<std::size_t, sizeof...(Xs)> sizes_;
  std::size_t drawn_ = 0;
};

/// Ranges that can be walked once: what was drawn is kept until it is done with.
template <class... Xs>
class walked_source {
public:
  explicit walked_source(Xs&... xs) : begins_(std::ranges::begin(xs)...), ends_(std::ranges::end(xs)...) {}

  std::optional<std::size_t> total() const { return std::nullopt; }

  std::size_t draw(std::size_t most) {
    part fresh;
    while (fresh.items.size() < most && !at_end(std::index_sequence_for<Xs...>{})) {
      std::apply([&](auto&... is) { fresh.items.emplace_back(*is...); }, begins_);
      std::apply([&](auto&... is) { (++is, ...); }, begins_);
    }
    const auto n = fresh.items.size();
    if (n > 0) {
      fresh.left = n;
      parts_.emplace(drawn_, std::move(fresh));
    }
    drawn_ += n;
    return n;
  }

  template <class... Ps>
  void write(writer& out, lent_memory& lent, std::size_t first, std::size_t count) {
    write_all<Ps...>(out, lent, first, count, std::index_sequence_for<Xs...>{});
  }

  auto element(std::size_t i) {
    return std::apply([](auto&... xs) { return std::tie(xs...); }, item(i));
  }

  void release(std::size_t first, std::size_t count) {
    while (count > 0) {
      const auto p = part_of(first);
      const auto n = std::min(count, p->first + p->second.items.size() - first);
      first += n;
      count -= n;
      p->second.left -= n;
      if (p->second.left == 0)
        parts_.erase(p);
    }
  }

private:
  using values = std::tuple<std::ranges::range_value_t<Xs>...>;
  struct part {
    std::vector<values> items;
    std::size_t left = 0; // that are needed
  };

  auto part_of(std::size_t i) { return std::prev(parts_.upper_bound(i)); }
  values& item(std::size_t i) {
    const auto p = part_of(i);
    return p->second.items[i - p->first];
  }

  template <std::size_t... I>
  bool at_end(std::index_sequence<I...>) {
    return ((std::get<I>(begins_) == std::get<I>(ends_)) || ...);
  }

  template <class... Ps, std::size_t... I>
  void write_all(writer& out, lent_memory& lent, std::size_t first, std::size_t count, std::index_sequence<I...>) {
    (write_column<Ps>(out, &lent, count, [&](std::size_t i) -> const auto& { return std::get<I>(item(first + i)); }), ...);
  }

  std::tuple<std::ranges::iterator_t<Xs>...> begins_;
  std::tuple<std::ranges::sentinel_t<Xs>...> ends_;
  std::map<std::size_t, part> parts_; // by their first element
  std::size_t drawn_ = 0;
};

template <class... Xs>
using map_source = std::conditional_t<(indexed_range<Xs> && ...), indexed_source<Xs...>, walked_source<Xs...>>;

} // namespace troupe::detail
