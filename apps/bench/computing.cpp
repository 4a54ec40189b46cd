// A worker that computes while others call each other.

#include "bench/metrics.hpp"
#include "bench/raw_peer.hpp"

namespace bench {

namespace {

constexpr seconds slice{0.2};

// Steps per second of a loop that does nothing but compute.
double compute(double time) {
  const auto end = after(seconds{time});
  const auto start = clock::now();
  std::uint64_t steps = 0;
  auto x = 0x9e3779b97f4a7c15U;
  do {
    for (int i = 0; i < 1000; ++i)
      x ^= x << 13U, x ^= x >> 7U, x ^= x << 17U;
    ++steps;
  } while (clock::now() < end && x != 0);
  return static_cast<double>(steps) / seconds_since(start);
}

} // namespace

figure measure_computing(troupe::cluster& c, const options& o) {
  const auto workers = c.workers();
  raw_peer peer;
  samples lost, raw_lost, us;
  const auto computing = [&](auto meanwhile) {
    auto rate = c.remotecall(workers[0], [](double time) { return compute(time); }, slice.count());
    meanwhile(after(slice));
    return rate.fetch();
  };
  const auto alone = [&] { return computing([](auto) {}); };
  const auto beside_calls = [&] {
    return computing([&](auto end) { time_until(end, us, [&] { c.remotecall_fetch(workers[1], [] {}); }); });
  };
  const auto beside_raw = [&] {
    samples ignored;
    return computing([&](auto end) { time_until(end, ignored, [&] { peer.ping(raw_peer::wait::sleeping); }); });
  };
  alone();
  const auto end = after(seconds{3 * o.time});
  do {
    const double rates[] = {alone(), beside_calls(), beside_raw(), alone()};
    const auto before = (rates[0] + rates[3]) / 2;
    lost.add(100 * (1 - rates[1] / before));
    raw_lost.add(100 * (1 - rates[2] / before));
  } while (clock::now() < end);
  figure f{"compute_loss_pct", lost.median(), "%", {}};
  f.with("raw", raw_lost.median()).with("rtt_us", us.median()).with("min", lost.min()).with("max", lost.max());
  return f.with("p10", lost.percentile(10)).with("p90", lost.percentile(90)).with("n", lost.size());
}

} // namespace bench
