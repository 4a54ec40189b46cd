// Maps and reductions: elements per second, one a call and in batches; what is lost to giving them out.

#include "bench/metrics.hpp"
#include "bench/rate.hpp"

#include <troupe/troupe.hpp>

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <stdexcept>
#include <string>

namespace bench {

namespace {

constexpr auto plus_one = [](std::int64_t x) { return x + 1; };

// Maps plus_one over n elements again and again.
figure rate_of_map(const char* name, troupe::cluster& c, const options& o, std::int64_t n, const troupe::pmap_options<>& how) {
  std::vector<std::int64_t> xs(static_cast<std::size_t>(n));
  std::iota(xs.begin(), xs.end(), 0);
  return rate_of(name, o, static_cast<double>(n), "1/s", [&] {
    const auto ys = c.pmap(plus_one, xs, how);
    if (ys.size() != xs.size() || ys.back() != n)
      throw std::runtime_error("the map of x + 1 is wrong");
  });
}

// Computes for so long; what others take from this thread meanwhile doesn't count.
double spin(double time) {
  const auto end = after(seconds{time});
  double x = 1;
  do
    for (int i = 0; i < 100; ++i)
      x = x * 1.0000001 + 1e-9;
  while (clock::now() < end);
  return x;
}

std::uint64_t bytes_received(troupe::cluster& c) {
  std::uint64_t out = 0;
  for (auto& s : c.statistics())
    if (s.id != c.myid())
      out += s.bytes_received;
  return out;
}

} // namespace

figure measure_pmap_rate(troupe::cluster& c, const options& o) { return rate_of_map("pmap_rate", c, o, 100'000, {.batch_size = 1}); }

figure measure_pmap_rate_batched(troupe::cluster& c, const options& o) {
  return rate_of_map("pmap_rate_batched", c, o, 10'000'000, {.batch_size = 20'000});
}

figure measure_pmap_rate_default(troupe::cluster& c, const options& o) { return rate_of_map("pmap_rate_default", c, o, 1'000'000, {}); }

figure measure_pmap_efficiency(troupe::cluster& c, const options& o) {
  constexpr double task = 100e-6;
  const auto n = static_cast<int>(c.nworkers() * std::max(0.2, o.time / 4) / task);
  const std::vector<double> tasks(static_cast<std::size_t>(n), task);
  samples percent;
  const auto end = after(seconds{o.time});
  do {
    const auto ideal = n * task / c.nworkers();
    percent.add(100 * ideal / seconds_of([&] { c.pmap<spin>(tasks); }));
  } while (clock::now() < end);
  figure f{"pmap_efficiency", percent.median(), "%", {}};
  return f.with("min", percent.min()).with("max", percent.max()).with("n", percent.size());
}

figure measure_reduce_rate(troupe::cluster& c, const options& o) {
  constexpr std::int64_t n = 1'000'000'000;
  // a value that the compiler can't know, or it would know the sum
  constexpr auto term = [](std::int64_t i) { return i ^ (i >> 3); };
  const auto plain = [](std::int64_t first, std::int64_t last) {
    std::int64_t sum = 0;
    for (auto i = first; i < last; ++i)
      sum += i ^ (i >> 3);
    return sum;
  };
  samples rates, plain_rates;
  const auto end = after(seconds{o.time});
  const auto workers = c.workers();
  do {
    std::int64_t sum = 0, expected = 0;
    rates.add(n / seconds_of([&] { sum = c.distributed_reduce(std::int64_t{0}, n, term, std::plus<>{}); }) / c.nworkers());
    // the same by hand: a loop on each worker
    const auto part = n / static_cast<std::int64_t>(workers.size());
    plain_rates.add(n / seconds_of([&] {
                      std::vector<troupe::future<std::int64_t>> sums;
                      for (std::size_t k = 0; k < workers.size(); ++k)
                        sums.push_back(c.remotecall(workers[k], plain, static_cast<std::int64_t>(k) * part,
                                                    k + 1 == workers.size() ? n : static_cast<std::int64_t>(k + 1) * part));
                      for (auto& s : sums)
                        expected += s.fetch();
                    })
                    / c.nworkers());
    if (sum != expected)
      throw std::runtime_error("a sum over 10^9 numbers is wrong");
  } while (clock::now() < end);
  figure f{"reduce_rate", rates.median(), "1/s", {}};
  return f.with("by_hand", plain_rates.median()).with("min", rates.min()).with("max", rates.max()).with("n", rates.size());
}

figure measure_with_copies(troupe::cluster& c, const options&) {
  const std::vector<double> large(100'000'000 / sizeof(double), 1.5);
  const std::vector<int> xs(200);
  const auto before = bytes_received(c);
  const auto seconds = seconds_of([&] {
    const auto ys = c.pmap(troupe::with(large, [](const std::vector<double>& v, int i) { return v[static_cast<std::size_t>(i)]; }), xs,
                           troupe::pmap_options<>{.batch_size = 1});
    if (ys.front() != 1.5)
      throw std::runtime_error("a map over what its function holds is wrong");
  });
  const auto bytes = static_cast<double>(bytes_received(c) - before);
  figure f{"with_copies", bytes / 1e8 / c.nworkers(), "", {}};
  return f.with("seconds", seconds);
}

} // namespace bench
