// A large array, there and back.

#include "bench/bare_line.hpp"
#include "bench/metrics.hpp"

#include <span>
#include <stdexcept>

namespace bench {

namespace {

constexpr std::size_t elements = (std::size_t{64} << 20) / sizeof(double);
constexpr double gigabytes = 2 * static_cast<double>(elements * sizeof(double)) / 1e9;
constexpr std::size_t least_samples = 3;

std::vector<double> numbers() {
  std::vector<double> out(elements);
  for (std::size_t i = 0; i < out.size(); ++i)
    out[i] = static_cast<double>(i);
  return out;
}

} // namespace

figure measure_array_bandwidth(troupe::cluster& c, const options& o) {
  const auto worker = c.workers().front();
  const auto there = numbers();
  auto raw_numbers = numbers();
  const auto bare = bare_line::as_in(c);
  samples ours, raw;
  const auto trip = [&] {
    std::vector<double> back;
    const double time = seconds_of([&] { back = c.remotecall_fetch(worker, [](std::vector<double> x) { return x; }, there); });
    if (back.size() != there.size() || back.front() != there.front() || back.back() != there.back())
      throw std::runtime_error("an array came back as another");
    return gigabytes / time;
  };
  const auto raw_trip = [&] {
    const auto bytes = std::as_writable_bytes(std::span{raw_numbers});
    return gigabytes / bare->send_there_and_back(bytes);
  };
  trip();
  raw_trip(); // touches the other end's buffer
  const auto end = after(seconds{o.time});
  do {
    ours.add(trip());
    raw.add(raw_trip());
  } while (clock::now() < end || ours.size() < least_samples);
  figure f{"array_bw", ours.median(), "GB/s", {}};
  f.with("raw", raw.median()).with("min", ours.min()).with("max", ours.max());
  return f.with("n", ours.size()).with("bytes", elements * sizeof(double));
}

} // namespace bench
