// Calls to many workers, and from many threads, against those to two and from one: what it costs to share the CPUs.

#include "bench/bare_crowd.hpp"
#include "bench/metrics.hpp"

#include <algorithm>
#include <functional>
#include <iterator>
#include <memory>
#include <utility>
#include <vector>

namespace bench {

namespace {

// One of what is compared: does so many things in so many seconds.
struct contender {
  double things;
  std::function<double()> round;
  samples rates{};
};

void compete(std::vector<contender>& all, double time) {
  std::vector<std::function<void(clock::time_point)>> turns;
  for (auto& c : all) {
    c.round(); // warms up
    turns.emplace_back([&c](clock::time_point end) {
      c.round(); // what the others have left in the caches is gone
      do
        c.rates.add(c.things / c.round());
      while (clock::now() < end);
    });
  }
  alternate(seconds{time * static_cast<double>(all.size()) / 2}, turns);
}

contender of_calls(call_rounds& calls) {
  return {static_cast<double>(calls.calls()), [&calls] { return calls.run(); }};
}

double percent(const contender& c, const contender& of) { return 100 * c.rates.median() / of.rates.median(); }

std::vector<troupe::proc_id> first(std::vector<troupe::proc_id> workers, std::size_t n) {
  workers.resize(n);
  return workers;
}

} // namespace

figure measure_crowd(troupe::cluster& c, const options& o) {
  const std::size_t sizes[] = {2, 8, 16};
  bare_crowd bare{16};
  std::vector<std::unique_ptr<call_rounds>> rounds;
  std::vector<contender> all;
  for (const auto n : sizes) {
    rounds.push_back(std::make_unique<call_rounds>(c, first(c.workers(), n), o.calls, 1));
    all.push_back(of_calls(*rounds.back()));
  }
  for (const auto n : sizes)
    all.push_back({static_cast<double>(o.calls), [&bare, &o, n] { return bare.ask(n, o.calls); }});
  compete(all, o.time);
  figure f{"crowd_pct", percent(all[2], all[0]), "%", {}};
  f.with("raw", percent(all[5], all[3])).with("workers_8", percent(all[1], all[0])).with("raw_8", percent(all[4], all[3]));
  return f.with("rate_2", all[0].rates.median()).with("raw_rate_2", all[3].rates.median()).with("n", all[0].rates.size());
}

figure measure_callers(troupe::cluster& c, const options& o) {
  const int threads[] = {1, 2, 4, 8};
  std::vector<std::unique_ptr<call_rounds>> rounds;
  std::vector<contender> all;
  for (const int n : threads) {
    rounds.push_back(std::make_unique<call_rounds>(c, c.workers(), o.calls, n));
    all.push_back(of_calls(*rounds.back()));
  }
  compete(all, o.time);
  const double of_one[] = {percent(all[1], all[0]), percent(all[2], all[0]), percent(all[3], all[0])};
  figure f{"callers_pct", *std::min_element(std::begin(of_one), std::end(of_one)), "%", {}};
  f.with("callers_2", of_one[0]).with("callers_4", of_one[1]).with("callers_8", of_one[2]);
  return f.with("rate_1", all[0].rates.median()).with("n", all[0].rates.size());
}

} // namespace bench
