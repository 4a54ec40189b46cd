#pragma once

#include "bench/metrics.hpp"
#include "bench/statistics.hpp"

namespace bench {

/// Calls `round` again and again, after one that warms up: the median of how many things are done per second, with `count` of them in each round.
template <class Round>
figure rate_of(const char* name, const options& o, double count, const char* unit, Round round) {
  samples rates;
  round(); // warms up
  const auto end = after(seconds{o.time});
  do
    rates.add(count / seconds_of(round));
  while (clock::now() < end);
  figure f{name, rates.median(), unit, {}};
  f.with("min", rates.min()).with("max", rates.max()).with("p10", rates.percentile(10)).with("p90", rates.percentile(90));
  return f.with("n", rates.size());
}

} // namespace bench
