#pragma once

#include "epidemic/philox.hpp"

#include <cstdint>

namespace epidemic {

/// How many of `n` independent trials succeed, each with probability `p`. Takes its random numbers from
/// `random` and keeps nothing between calls, so that equal streams give equal numbers
/// (std::binomial_distribution promises neither). Exact but for rounding, for any `n` from 0 up to 2^52.
/// Throws std::invalid_argument if `n` is negative or `p` is not in [0, 1].
std::int64_t binomial(random_stream& random, std::int64_t n, double p);

} // namespace epidemic
