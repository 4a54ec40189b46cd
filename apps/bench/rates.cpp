// Rates: calls in flight, and one-way messages.

#include "bench/metrics.hpp"

#include <troupe/actors.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <dlfcn.h>
#include <optional>
#include <stdexcept>
#include <utility>

namespace bench {

namespace {

constexpr std::uint64_t messages_at_once = 100000;

figure rate_figure(const char* name, const samples& rates) {
  figure f{name, rates.median(), "1/s", {}};
  f.with("min", rates.min()).with("max", rates.max());
  f.with("p10", rates.percentile(10)).with("p90", rates.percentile(90));
  return f.with("n", rates.size());
}

// What counting.cpp counts, if it is loaded.
std::optional<std::array<std::uint64_t, 3>> counts() {
  static const auto get = reinterpret_cast<void (*)(std::uint64_t*)>(::dlsym(RTLD_DEFAULT, "bench_counts"));
  if (get == nullptr)
    return std::nullopt;
  std::array<std::uint64_t, 3> out{};
  get(out.data());
  return out;
}

// Repeats `round`, of `count` calls or messages, which returns its seconds.
template <class Round>
figure measure_rate(const char* name, const options& o, double count, Round round) {
  samples rates;
  round(); // warms up
  const auto before = counts();
  const auto end = after(seconds{o.time});
  do
    rates.add(count / round());
  while (clock::now() < end);
  auto f = rate_figure(name, rates);
  if (const auto now = counts()) {
    const auto n = count * static_cast<double>(rates.size());
    const char* names[] = {"allocations_each", "mutexes_each", "rwlocks_each"};
    for (std::size_t i = 0; i < now->size(); ++i)
      f.with(names[i], static_cast<double>((*now)[i] - (*before)[i]) / n);
  }
  return f;
}

void call_and_collect(troupe::cluster& c, const std::vector<troupe::proc_id>& workers, int calls) {
  std::vector<troupe::future<int>> open;
  open.reserve(static_cast<std::size_t>(calls));
  for (int i = 0; i < calls; ++i) {
    const auto worker = workers[static_cast<std::size_t>(i) % workers.size()];
    open.push_back(c.remotecall(worker, [](int x) { return x + 1; }, i));
  }
  for (int i = 0; i < calls; ++i)
    if (open[static_cast<std::size_t>(i)].fetch() != i + 1)
      throw std::runtime_error("a call came back with another's result");
}

struct receiver_state {
  caf::actor sender;
  std::uint64_t expected = 0;
  std::uint64_t counted = 0;
};

// Is told by whom and how many messages will come, and tells when they have.
caf::behavior receiver(caf::stateful_actor<receiver_state>* self) {
  return {[self](const caf::actor& sender, std::uint64_t n) { self->state = {sender, n, 0}; },
          [self](std::uint64_t) {
            auto& s = self->state;
            if (++s.counted == s.expected)
              self->send(s.sender, s.counted);
          }};
}

struct sender_state {
  clock::time_point start;
  caf::response_promise promise;
};

// Sends so many messages, and answers with the seconds until the receiver had them all.
caf::behavior sender(caf::stateful_actor<sender_state>* self, const caf::actor& receiver) {
  self->monitor(receiver);
  self->set_down_handler([self](caf::down_msg& down) { self->state.promise.deliver(std::move(down.reason)); });
  return {[self, receiver](std::int32_t n) {
            auto& s = self->state;
            s.promise = self->make_response_promise();
            const auto count = static_cast<std::uint64_t>(n);
            self->send(receiver, caf::actor{self}, count);
            s.start = clock::now();
            for (std::uint64_t i = 0; i < count; ++i)
              self->send(receiver, i);
            return s.promise;
          },
          [self](std::uint64_t) { self->state.promise.deliver(seconds_since(self->state.start)); }};
}

} // namespace

call_rounds::call_rounds(troupe::cluster& c, std::vector<troupe::proc_id> workers, int calls, int callers)
  : cluster_(c), workers_(std::move(workers)), share_(std::max(1, calls / callers)), calls_(share_ * callers), meet_(callers) {
  for (int i = 1; i < callers; ++i)
    threads_.emplace_back([this] {
      while (true) {
        meet_.arrive_and_wait();
        if (ended_)
          return;
        take_part();
        meet_.arrive_and_wait();
      }
    });
}

call_rounds::~call_rounds() {
  ended_ = true;
  meet_.arrive_and_wait();
}

void call_rounds::take_part() {
  try {
    call_and_collect(cluster_, workers_, share_);
  } catch (...) {
    std::lock_guard guard{mutex_};
    failure_ = std::current_exception();
  }
}

double call_rounds::run() {
  const auto seconds = seconds_of([&] {
    meet_.arrive_and_wait();
    take_part();
    meet_.arrive_and_wait();
  });
  if (failure_)
    std::rethrow_exception(std::exchange(failure_, nullptr));
  return seconds;
}

figure measure_call_rate(troupe::cluster& c, const options& o) {
  call_rounds rounds{c, o};
  auto f = measure_rate("call_rate", o, rounds.calls(), [&] { return rounds.run(); });
  return f.with("in_flight", rounds.calls()).with("callers", o.callers);
}

figure measure_message_rate(troupe::cluster& c, const options& o) {
  const auto workers = c.workers();
  auto to = c.spawn<receiver>(workers[1]);
  auto from = c.spawn<sender>(workers[0], to);
  auto f = measure_rate("msg_rate", o, static_cast<double>(messages_at_once),
                        [&] { return c.request<double>(from, static_cast<std::int32_t>(messages_at_once)); });
  caf::anon_send_exit(from, caf::exit_reason::user_shutdown);
  caf::anon_send_exit(to, caf::exit_reason::user_shutdown);
  return f.with("messages", messages_at_once);
}

} // namespace bench
