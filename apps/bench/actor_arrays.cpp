// Arrays of actors: what is for all elements, and how they come to be.

#include "bench/metrics.hpp"

#include <troupe/actors.hpp>

#include <functional>

namespace bench {

namespace {

constexpr int reduced_elements = 1024;
constexpr int created_elements = 100'000;

struct value_state {
  std::int64_t value = 0;
};

using value_actor = caf::stateful_actor<value_state>;

caf::behavior value(value_actor* self, const troupe::element<value_actor>& me) {
  self->state.value = static_cast<std::int64_t>(me.index());
  return {
    [self](std::int64_t add) { self->state.value += add; },
    [self](std::uint8_t) { return self->state.value; },
  };
}

// Of a tree in which each process asks two others.
int levels_of(std::size_t processes) {
  int out = 0;
  for (std::size_t reached = 0; reached < processes; ++out)
    reached += std::size_t{2} << out;
  return out;
}

} // namespace

figure measure_array_reduction(troupe::cluster& c, const options& o) {
  const auto workers = c.workers();
  const auto grid = c.spawn_array<value>(reduced_elements);
  samples ms, rtt;
  std::int64_t expected = std::int64_t{reduced_elements} * (reduced_elements - 1) / 2;
  const auto end = after(seconds{o.time});
  do {
    for (int i = 0; i < 10; ++i)
      time_until(clock::now(), rtt, [&] { c.remotecall_fetch(workers[static_cast<std::size_t>(i)], [] {}); });
    ms.add(1e3 * seconds_of([&] {
             grid.broadcast(std::int64_t{1});
             expected += reduced_elements;
             if (grid.reduce<std::int64_t>(std::plus<>{}, std::uint8_t{0}) != expected)
               throw std::runtime_error{"the sum of the array's elements is wrong"};
           }));
  } while (clock::now() < end);
  grid.end();
  const auto levels = levels_of(workers.size());
  figure f{"array_reduce_ms", ms.median(), "ms", {}};
  f.with("rtt_us", rtt.median()).with("levels", levels).with("limit", 1 + 2e-3 * levels * rtt.median());
  f.with("min", ms.min()).with("p10", ms.percentile(10)).with("p90", ms.percentile(90));
  return f.with("elements", reduced_elements).with("n", ms.size());
}

figure measure_array_creation(troupe::cluster& c, const options& o) {
  const auto memory = [&] {
    double mb = 0;
    for (const auto worker : c.workers())
      mb += pss_mb(c.info(worker).os_pid);
    return mb;
  };
  const auto before = memory();
  double bytes = 0;
  samples s, ended;
  const auto end = after(seconds{o.time});
  do {
    troupe::actor_array<value_actor> grid;
    s.add(seconds_of([&] { grid = c.spawn_array<value>(created_elements); }));
    if (bytes == 0) // what was freed before is used again later
      bytes = 1e6 * (memory() - before) / created_elements - sizeof(value_state);
    ended.add(seconds_of([&] { grid.end(); }));
    std::size_t left = 1;
    while (left > 0) { // until all have ended
      left = 0;
      for (const auto worker : c.workers())
        left += c.remotecall_fetch(worker, [] { return troupe::here().system().registry().running(); });
    }
  } while (clock::now() < end);
  figure f{"array_create_s", s.median(), "s", {}};
  f.with("bytes_each", bytes).with("min", s.min()).with("max", s.max()).with("end_s", ended.median());
  return f.with("elements", created_elements).with("n", s.size());
}

} // namespace bench
