#pragma once

#include <array>
#include <cstdint>

namespace epidemic {

using philox_counter = std::array<std::uint32_t, 4>;
using philox_key = std::array<std::uint32_t, 2>;

/// Philox4x32-10, the counter-based generator of J. K. Salmon, M. A. Moraes, R. O. Dror and D. E. Shaw,
/// "Parallel random numbers: as easy as 1, 2, 3", SC 2011: 128 random bits as a pure function of counter and
/// key.
constexpr philox_counter philox(philox_counter c, philox_key k) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t x = std::uint64_t{0xD2511F53} * c[0];
    const std::uint64_t y = std::uint64_t{0xCD9E8D57} * c[2];
    c = {static_cast<std::uint32_t>(y >> 32) ^ c[1] ^ k[0], static_cast<std::uint32_t>(y),
         static_cast<std::uint32_t>(x >> 32) ^ c[3] ^ k[1], static_cast<std::uint32_t>(x)};
    k = {k[0] + 0x9E3779B9, k[1] + 0xBB67AE85};
  }
  return c;
}

/// What random numbers are drawn for: part of their address, so that no two draws share one.
enum class purpose : std::uint32_t { departures = 1, exposures = 2, progression = 3 };

/// The random numbers that belong to one (seed, place, day, purpose), in a fixed order. They depend on
/// nothing else: not on the process that draws them, nor on what it drew before.
class random_stream {
public:
  random_stream(std::uint64_t seed, std::uint32_t place, std::uint32_t day, purpose p)
    : key_{static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)},
      counter_{0, static_cast<std::uint32_t>(p), day, place} {}

  /// The next number, uniform on the open interval (0, 1), with 52 random bits.
  double uniform() {
    if (used_ == 4) {
      words_ = philox(counter_, key_);
      ++counter_[0];
      used_ = 0;
    }
    const std::uint64_t bits = std::uint64_t{words_[used_ + 1]} << 32 | words_[used_];
    used_ += 2;
    return (static_cast<double>(bits >> 12) + 0.5) * 0x1p-52;
  }

private:
  philox_key key_;
  philox_counter counter_;
  philox_counter words_{};
  unsigned used_ = 4;
};

} // namespace epidemic
