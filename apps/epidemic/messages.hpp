#pragma once

#include "epidemic/model.hpp"

#include <cstdint>
#include <tuple>
#include <vector>

/// What the master and the blocks of an epidemic tell each other, and how it is written on the wire.
namespace epidemic {

/// Master to all blocks: tell the days up to and with `report`, each once and in order, as soon as they are
/// over, and go on up to and with `until`. Answered with results.
struct advance {
  std::uint32_t report = 0;
  std::uint32_t until = 0;
};

struct results {
  std::vector<counts> rows;   ///< day by day, the block's places on each
  std::uint64_t messages = 0; ///< what this block has sent to others since it began
};

/// Block to block, on each day: a parcel of those who come to the receiver's places in the morning, and one of
/// the receiver's residents who were exposed in the sender's places.
template <class Item>
struct parcel {
  std::uint32_t day = 0;
  std::vector<Item> all;
};

inline auto members(place& x) { return std::tie(x.code, x.name, x.population, x.latitude, x.longitude); }
inline auto members(parameters& x) {
  return std::tie(x.days, x.r0, x.incubation, x.infectious, x.travel, x.first_case, x.first_count, x.seed);
}
inline auto members(scenario& x) { return std::tie(x.given, x.places); }
inline auto members(counts& x) { return std::tie(x.s, x.e, x.i, x.r); }
inline auto members(visit& x) { return std::tie(x.from, x.to, x.who); }
inline auto members(exposure& x) { return std::tie(x.home, x.people); }
inline auto members(advance& x) { return std::tie(x.report, x.until); }
inline auto members(results& x) { return std::tie(x.rows, x.messages); }
template <class Item>
auto members(parcel<Item>& x) {
  return std::tie(x.day, x.all);
}

template <class I, class T>
  requires requires(T& x) { members(x); }
typename I::result_type inspect(I& f, T& x) {
  return std::apply([&](auto&... each) { return f(each...); }, members(x));
}

} // namespace epidemic
