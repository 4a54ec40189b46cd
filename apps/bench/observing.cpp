// Calls while the cluster is looked at.

#include "bench/metrics.hpp"

#include <atomic>
#include <thread>

namespace bench {

namespace {

constexpr std::size_t least_pairs = 20;

// Asks for all that can be asked, a hundred times a second, while it lives.
class looker {
public:
  explicit looker(troupe::cluster& c)
    : thread_([this, &c] {
        while (!stop_) {
          c.statistics();
          c.links();
          ++times;
          std::this_thread::sleep_for(std::chrono::milliseconds{10});
        }
      }) {}
  ~looker() {
    stop_ = true;
    thread_.join();
  }
  looker(const looker&) = delete;
  looker& operator=(const looker&) = delete;

  std::atomic<int> times{0};

private:
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

} // namespace

figure measure_observing(troupe::cluster& c, const options& o) {
  call_rounds calls{c, o};
  samples slower, unobserved;
  int times = 0;
  const auto rate = [&] {
    double busy = 0;
    int rounds = 0;
    for (const auto end = after(std::min(seconds{0.1}, seconds{o.time / 4})); rounds == 0 || clock::now() < end; ++rounds)
      busy += calls.run();
    return rounds * calls.calls() / busy;
  };
  const auto observed_rate = [&] {
    looker l{c};
    const auto r = rate();
    times += l.times;
    return r;
  };
  rate();
  const auto end = after(seconds{2 * o.time});
  do {
    // there and back, so that what becomes faster or slower by itself hits both alike
    const double rates[] = {observed_rate(), rate(), rate(), observed_rate()};
    slower.add(100 * (1 - (rates[0] + rates[3]) / (rates[1] + rates[2])));
    unobserved.add(100 * (1 - rates[1] / rates[2]));
  } while (clock::now() < end || slower.size() < least_pairs);
  figure f{"observe_pct", slower.median(), "%", {}};
  f.with("times", times).with("min", slower.min()).with("max", slower.max());
  f.with("p10", slower.percentile(10)).with("p90", slower.percentile(90));
  f.with("same_p10", unobserved.percentile(10)).with("same_p90", unobserved.percentile(90));
  return f.with("n", slower.size());
}

} // namespace bench
