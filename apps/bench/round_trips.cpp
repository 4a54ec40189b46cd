// Round trips: a call, a direct call, a request between actors; each beside a bare ping-pong.

#include "bench/bare_line.hpp"
#include "bench/metrics.hpp"

#include <troupe/actors.hpp>

#include <thread>

namespace bench {

namespace {

// `trips(end, us)` makes round trips until `end` and adds the time of each.
template <class Trips>
figure beside_raw(const char* name, troupe::cluster& c, const options& o, Trips trips) {
  const auto bare = bare_line::as_in(c);
  samples ours, raw, raw_spin, ignored;
  bare->ping(after(seconds{0.02}), ignored);
  trips(after(seconds{0.05}), ignored);
  alternate(seconds{o.time}, {[&](auto end) { trips(end, ours); }, [&](auto end) { bare->ping(end, raw); },
                              [&](auto end) { trips(end, ours); }, [&](auto end) { bare->ping_spinning(end, raw_spin); }});
  figure f{name, ours.median(), "us", {}};
  f.with("p99", ours.percentile(99)).with("raw", raw.median()).with("raw_spin", raw_spin.median());
  f.with("min", ours.min()).with("p10", ours.percentile(10)).with("p90", ours.percentile(90));
  return f.with("n", ours.size());
}

caf::behavior echo() {
  return {[](std::uint64_t x) { return x; }};
}

struct asker_state {
  caf::actor echo;
  clock::time_point end;
  clock::time_point sent;
  std::vector<double> us;
  caf::response_promise promise;
};

using asker_actor = caf::stateful_actor<asker_state>;

void ask(asker_actor* self) {
  auto& s = self->state;
  s.sent = clock::now();
  self->request(s.echo, caf::infinite, std::uint64_t{1})
    .then(
      [self](std::uint64_t) {
        auto& s = self->state;
        const auto now = clock::now();
        s.us.push_back(1e6 * seconds{now - s.sent}.count());
        if (now < s.end)
          return ask(self);
        s.promise.deliver(std::move(s.us));
        s.us.clear();
      },
      [self](caf::error& e) { self->state.promise.deliver(std::move(e)); });
}

// Makes round trips for some seconds, and answers with the time of each in µs.
caf::behavior asker(asker_actor* self, const caf::actor& echo) {
  self->state.echo = echo;
  return {[self](double time) {
    self->state.end = after(seconds{time});
    self->state.promise = self->make_response_promise();
    ask(self);
    return self->state.promise;
  }};
}

// Sends its neighbour a message and gets one back, for some seconds; answers with the time of each in µs.
caf::behavior pinger(asker_actor* self, const troupe::element<caf::actor>& me) {
  self->state.echo = me.neighbour(me.index() == 0 ? 1 : -1);
  return {
    [self](double time) {
      self->state.end = after(seconds{time});
      self->state.promise = self->make_response_promise();
      self->state.sent = clock::now();
      self->send(self->state.echo, std::uint64_t{1});
      return self->state.promise;
    },
    [self, first = me.index() == 0](std::uint64_t x) {
      auto& s = self->state;
      if (first) {
        const auto now = clock::now();
        s.us.push_back(1e6 * seconds{now - s.sent}.count());
        if (now >= s.end) {
          s.promise.deliver(std::move(s.us));
          s.us.clear();
          return;
        }
        s.sent = now;
      }
      self->send(s.echo, x);
    },
  };
}

} // namespace

figure measure_array_rtt(troupe::cluster& c, const options& o) {
  const auto workers = c.workers();
  const auto pair = c.spawn_array<pinger>(2, troupe::placement::block.on({workers[0], workers[1]}));
  auto f = beside_raw("array_rtt_us", c, o, [&](auto end, samples& us) {
    for (const double x : c.request<std::vector<double>>(pair[0], seconds{end - clock::now()}.count()))
      us.add(x);
  });
  pair.end();
  return f;
}

figure measure_rtt(troupe::cluster& c, const options& o) {
  const auto worker = c.workers().front();
  return beside_raw("rtt_us", c, o, [&](auto end, samples& us) { time_until(end, us, [&] { c.remotecall_fetch(worker, [] {}); }); });
}

figure measure_direct_rtt(troupe::cluster& c, const options& o) {
  const auto worker = c.workers().front();
  return beside_raw("rtt_direct_us", c, o,
                    [&](auto end, samples& us) { time_until(end, us, [&] { c.remotecall_fetch(worker, troupe::direct([] {})); }); });
}

figure measure_waking(troupe::cluster& c, const options& o) {
  const auto worker = c.workers().front();
  samples us;
  const auto end = after(seconds{o.time});
  do {
    std::this_thread::sleep_for(std::chrono::milliseconds{20}); // until everybody sleeps
    us.add(1e6 * seconds_of([&] { c.remotecall_fetch(worker, troupe::direct([] {})); }));
  } while (clock::now() < end);
  figure f{"wake_us", us.median(), "us", {}};
  return f.with("p90", us.percentile(90)).with("min", us.min()).with("max", us.max()).with("n", us.size());
}

figure measure_actor_rtt(troupe::cluster& c, const options& o) {
  auto there = c.spawn<echo>(c.workers().front());
  auto here = c.spawn<asker>(c.myid(), there);
  auto f = beside_raw("actor_rtt_us", c, o, [&](auto end, samples& us) {
    for (const double x : c.request<std::vector<double>>(here, seconds{end - clock::now()}.count()))
      us.add(x);
  });
  caf::anon_send_exit(here, caf::exit_reason::user_shutdown);
  caf::anon_send_exit(there, caf::exit_reason::user_shutdown);
  return f;
}

} // namespace bench
