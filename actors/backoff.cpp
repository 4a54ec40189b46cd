#include "troupe/actors/backoff.hpp"

#include "troupe/transport/error.hpp"

#include <algorithm>
#include <atomic>
#include <random>
#include <string>

namespace troupe {

namespace {

constexpr std::chrono::nanoseconds longest{std::int64_t{1} << 62}; // a clock's reading can be added

// G. L. Steele, D. Lea, C. H. Flood, "Fast splittable pseudorandom number generators", 2014.
std::uint64_t next_random(std::uint64_t& state) {
  auto z = state += 0x9e3779b97f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

// Different in each process, and for each walk.
std::uint64_t fresh_seed() {
  static std::atomic<std::uint64_t> next{[] {
    std::random_device device;
    return std::uint64_t{device()} << 32 | device();
  }()};
  auto state = next.fetch_add(1, std::memory_order_relaxed);
  return next_random(state);
}

void require_not_negative(double x, const char* member) {
  if (!(x >= 0))
    throw usage_error{std::string{"exponential_backoff: "} + member + " is " + std::to_string(x) + ", and must be a number, 0 or more"};
}

} // namespace

std::chrono::nanoseconds detail::checked_delay(std::chrono::duration<double> delay) {
  if (!(delay.count() >= 0))
    throw usage_error{"a delay between retries is " + std::to_string(delay.count()) + " s, and must be a number, 0 or more"};
  if (delay >= longest)
    return longest;
  return std::chrono::nanoseconds{static_cast<std::int64_t>(delay.count() * 1e9 + 0.5)};
}

exponential_backoff::iterator::iterator(const exponential_backoff& of)
  : left_(of.n),
    next_(std::min(of.first, of.max).count()),
    max_(of.max.count()),
    factor_(of.factor),
    jitter_(of.jitter),
    random_(fresh_seed()) {}

std::chrono::nanoseconds exponential_backoff::iterator::operator*() const { return detail::checked_delay(seconds{next_}); }

exponential_backoff::iterator& exponential_backoff::iterator::operator++() {
  --left_;
  const double u = static_cast<double>(next_random(random_) >> 11) * 0x1p-53;
  next_ = std::min(max_, next_ * factor_ * (1 + jitter_ * (2 * u - 1)));
  next_ = std::max(0.0, next_); // with a jitter of more than 1
  return *this;
}

exponential_backoff::iterator exponential_backoff::begin() const {
  if (n < 0)
    throw usage_error{"exponential_backoff: n is " + std::to_string(n) + ", and must be 0 or more"};
  require_not_negative(first.count(), "first, in seconds,");
  require_not_negative(max.count(), "max, in seconds,");
  require_not_negative(factor, "factor");
  require_not_negative(jitter, "jitter");
  return iterator{*this};
}

delay_sequence::delay_sequence(std::initializer_list<std::chrono::nanoseconds> delays) { assign(std::vector(delays)); }

} // namespace troupe
