#pragma once

#include <bit>
#include <cstdint>
#include <span>

namespace heat {

/// Each bit of the result depends on each bit of x, and no two give the same: the last part of SplitMix64 (S. Vigna, 2015, https://prng.di.unimi.it/splitmix64.c, public domain).
constexpr std::uint64_t mixed(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15;
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
  x = (x ^ x >> 27) * 0x94d049bb133111eb;
  return x ^ x >> 31;
}

/// What depends on each bit of some cells, and on their places, of which `first` is the first one's. A field's checksum is the sum of those of its parts, however it is divided: it needs no
/// process that has all cells, and no order. Sums may overflow.
constexpr std::uint64_t checksum_of(std::span<const double> cells, std::uint64_t first) {
  std::uint64_t sum = 0;
  for (const double cell : cells)
    sum += mixed(std::bit_cast<std::uint64_t>(cell) ^ mixed(first++));
  return sum;
}

} // namespace heat
