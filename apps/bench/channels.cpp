// Channels: values there and back, one way, in batches, large ones; and what futures and channels cost their owner.

#include "bench/metrics.hpp"
#include "bench/rate.hpp"

#include <malloc.h>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>

namespace bench {

namespace {

constexpr int pairs_at_once = 500;
constexpr int puts_at_once = 2000;
constexpr int batch = 1000;
constexpr std::size_t megabyte_of_doubles = (std::size_t{1} << 20) / sizeof(double);

// Takes until the channel is closed. Returns how many values came.
template <class T>
std::int64_t take_all(troupe::remote_channel<T> from) {
  std::int64_t n = 0;
  try {
    for (;; ++n)
      from.take();
  } catch (const troupe::channel_closed&) {
    return n;
  }
}

std::int64_t read_all(troupe::remote_channel<int> from) {
  std::int64_t n = 0;
  for (const int x : from)
    n += x >= 0 ? 1 : 0;
  return n;
}

void check(std::int64_t came, std::int64_t sent) {
  if (came != sent)
    throw std::runtime_error(std::to_string(came) + " of " + std::to_string(sent) + " values came");
}

// Bytes of heap that are in use on a process.
std::int64_t heap_of(troupe::cluster& c, troupe::proc_id id) {
  return c.remotecall_fetch(id, troupe::direct([] { return static_cast<std::int64_t>(::mallinfo2().uordblks); }));
}

} // namespace

figure measure_channel_rate(troupe::cluster& c, const options& o) {
  const auto there = troupe::remote_channel<int>::on(c, c.workers().front(), 32);
  int next = 0;
  return rate_of("channel_rate", o, pairs_at_once, "1/s", [&] {
    for (int i = 0; i < pairs_at_once; ++i) {
      there.put(++next);
      check(there.take(), next);
    }
  });
}

figure measure_channel_put_rate(troupe::cluster& c, const options& o) {
  const auto worker = c.workers().front();
  const auto there = troupe::remote_channel<int>::on(c, worker, 32);
  auto taken = c.remotecall<take_all<int>>(worker, there);
  std::int64_t put = 0;
  auto f = rate_of("channel_put_rate", o, puts_at_once, "1/s", [&] {
    for (int i = 0; i < puts_at_once; ++i)
      there.put(i);
    put += puts_at_once;
  });
  there.close();
  check(taken.fetch(), put);
  return f;
}

figure measure_channel_batch_rate(troupe::cluster& c, const options& o) {
  const auto worker = c.workers().front();
  const auto there = troupe::remote_channel<int>::on(c, worker, 2 * batch);
  auto taken = c.remotecall<read_all>(worker, there);
  const std::vector<int> values(batch, 1);
  std::int64_t put = 0;
  auto f = rate_of("channel_batch_rate", o, batch, "1/s", [&] {
    there.put_many(values);
    put += batch;
  });
  there.close();
  check(taken.fetch(), put);
  return f;
}

figure measure_channel_bandwidth(troupe::cluster& c, const options& o) {
  constexpr int vectors_at_once = 64;
  const auto worker = c.workers().front();
  const auto there = troupe::remote_channel<std::vector<double>>::on(c, worker, 8);
  auto taken = c.remotecall<take_all<std::vector<double>>>(worker, there);
  const std::vector<double> value(megabyte_of_doubles, 1.5);
  std::int64_t put = 0;
  auto f = rate_of("channel_put_bw", o, vectors_at_once * static_cast<double>(value.size() * sizeof(double)) / 1e9, "GB/s", [&] {
    for (int i = 0; i < vectors_at_once; ++i)
      there.put(value);
    put += vectors_at_once;
  });
  there.close();
  check(taken.fetch(), put);
  return f;
}

figure measure_reference_memory(troupe::cluster& c, const options&) {
  constexpr std::int64_t count = 100000;
  const auto worker = c.workers().front();
  const auto before = heap_of(c, worker);
  std::vector<troupe::future<int>> futures;
  for (std::int64_t i = 0; i < count; ++i)
    futures.push_back(c.remotecall(worker, [] { return 1; }));
  for (auto& x : futures)
    x.wait();
  const auto with_futures = heap_of(c, worker);
  std::vector<troupe::remote_channel<int>> channels;
  for (std::int64_t i = 0; i < count; ++i)
    channels.push_back(troupe::remote_channel<int>::on(c, worker, 4));
  channels.back().put(1);
  const auto with_channels = heap_of(c, worker);
  futures.clear();
  channels.clear();
  const auto deadline = after(seconds{10});
  while (!c.references(worker).empty() && clock::now() < deadline)
    std::this_thread::sleep_for(std::chrono::milliseconds{1});
  figure f{"reference_bytes", static_cast<double>(with_futures - before) / count, "B", {}};
  f.with("channel", static_cast<double>(with_channels - with_futures) / count);
  return f.with("left", heap_of(c, worker) - before).with("n", count);
}

} // namespace bench
