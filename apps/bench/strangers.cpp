// Calls while strangers besiege a worker.

#include "bench/bare_door.hpp"
#include "bench/metrics.hpp"

#include <algorithm>
#include <cstdlib>
#include <functional>

namespace bench {

namespace {

constexpr int attempts_per_second = 1700; // 100,000 a minute

int port_of_worker(troupe::cluster& c, troupe::proc_id worker) {
  const auto address = c.info(worker).address;
  return std::atoi(address.substr(address.rfind(':') + 1).c_str());
}

// Calls while a port is dialled, and how often that was.
class siege {
public:
  explicit siege(int port) : port_(port) {}

  // Returns calls per second.
  double hold(strangers& crowd, seconds time, const std::function<double()>& seconds_of_round, int calls) {
    crowd.turn_to(port_);
    const auto start = clock::now();
    seconds_of_round(); // until they are there
    double busy = 0;
    int rounds = 0;
    for (const auto end = after(time); rounds == 0 || clock::now() < end; ++rounds)
      busy += seconds_of_round();
    time_ += seconds_since(start);
    attempts_ += static_cast<double>(crowd.turn_to(0));
    rates.add(rounds * calls / busy);
    return rounds * calls / busy;
  }

  double attempts_per_second() const { return attempts_ / time_; }

  samples rates;

private:
  int port_;
  double time_ = 0;
  double attempts_ = 0;
};

} // namespace

figure measure_strangers(troupe::cluster& c, const options& o) {
  call_rounds rounds{c, o};
  bare_door beside;
  strangers crowd{attempts_per_second};
  siege ours{port_of_worker(c, c.workers().front())}, bare{beside.port()};
  const auto hold = [&](siege& s) {
    return s.hold(crowd, std::min(seconds{0.1}, seconds{o.time / 4}), [&] { return rounds.run(); }, rounds.calls());
  };
  samples slower;
  const auto end = after(seconds{5 * o.time});
  do {
    // there and back, so that what becomes faster or slower by itself hits both alike
    const double with_strangers[] = {hold(ours), hold(bare), hold(bare), hold(ours)};
    slower.add(100 * (1 - (with_strangers[0] + with_strangers[3]) / (with_strangers[1] + with_strangers[2])));
  } while (clock::now() < end);
  figure f{"strangers_pct", slower.median(), "%", {}};
  f.with("rate", ours.rates.median()).with("raw_rate", bare.rates.median());
  f.with("attempts", ours.attempts_per_second()).with("raw_attempts", bare.attempts_per_second());
  f.with("min", slower.min()).with("max", slower.max());
  return f.with("p10", slower.percentile(10)).with("p90", slower.percentile(90)).with("n", slower.size());
}

} // namespace bench
