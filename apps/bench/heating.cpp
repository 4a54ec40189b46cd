// The heat equation by an array of actors, against the same kernel in a plain MPI program.

#include "bench/metrics.hpp"
#include "bench/own_process.hpp"

#include "heat/block.hpp"

#include <algorithm>
#include <sstream>
#include <stdexcept>

namespace bench {

namespace {

constexpr std::uint32_t warming = 10; // steps before those that are timed
constexpr std::size_t least_samples = 3;

struct outcome {
  double rate = 0; // cells a second
  std::uint64_t checksum = 0;
};

// So many that a sample takes half a second where memory is the limit.
std::uint32_t steps_of(std::int64_t size) {
  return static_cast<std::uint32_t>(std::clamp<std::int64_t>(400'000'000 / (size * size), 20, 200));
}

class field {
public:
  field(troupe::cluster& c, const options& o, int elements_each)
    : size_(o.cells), steps_(steps_of(size_)), grid_(make(c, size_, elements_each)) {}
  ~field() { grid_.end(); }
  field(const field&) = delete;
  field& operator=(const field&) = delete;

  double rate() {
    advance(warming);
    const double time = seconds_of([&] { advance(steps_); });
    return static_cast<double>(size_) * static_cast<double>(size_) * steps_ / time;
  }

  std::uint64_t checksum() const { return grid_.reduce<std::uint64_t>(std::plus<>{}, heat::ask_checksum::value); }

private:
  static troupe::actor_array<heat::block> make(troupe::cluster& c, std::int64_t size, int elements_each) {
    const auto blocks = heat::squarish(c.nworkers() * elements_each);
    return c.spawn_array<heat::block>({blocks.rows, blocks.columns}, troupe::placement::block, heat::problem{.size = size});
  }

  void advance(std::uint32_t steps) {
    made_ += steps;
    grid_.step(heat::advance{made_}).fetch();
  }

  std::int64_t size_;
  std::uint32_t steps_, made_ = 0;
  troupe::actor_array<heat::block> grid_;
};

outcome run_plain_program(int ranks, std::int64_t size) {
  own_process program{{"mpirun", "-n", std::to_string(ranks)},
                      {"--bare", "heat", std::to_string(size), std::to_string(warming), std::to_string(steps_of(size))}};
  outcome out;
  std::istringstream{program.read_line()} >> out.rate >> out.checksum;
  program.wait();
  return out;
}

} // namespace

figure measure_heat_efficiency(troupe::cluster& c, const options& o) {
  field one{c, o, 1}, four{c, o, 4}, sixteen{c, o, 16};
  samples raw, rate, percent, percent_of_four, percent_of_sixteen;
  const auto end = after(seconds{3 * o.time});
  do {
    const auto plain = run_plain_program(c.nworkers(), o.cells);
    const double ours = one.rate();
    raw.add(plain.rate);
    rate.add(ours);
    percent.add(100 * ours / plain.rate);
    percent_of_four.add(100 * four.rate() / plain.rate);
    percent_of_sixteen.add(100 * sixteen.rate() / plain.rate);
    if (raw.size() == 1 && (one.checksum() != plain.checksum || four.checksum() != plain.checksum || sixteen.checksum() != plain.checksum))
      throw std::runtime_error("the plain program has computed something else");
  } while (clock::now() < end || raw.size() < least_samples);
  figure f{"heat_efficiency_pct", percent.median(), "%", {}};
  f.with("elements_4", percent_of_four.median()).with("elements_16", percent_of_sixteen.median());
  f.with("rate", rate.median()).with("raw", raw.median()).with("min", percent.min()).with("max", percent.max());
  return f.with("n", raw.size()).with("cells", o.cells);
}

} // namespace bench
