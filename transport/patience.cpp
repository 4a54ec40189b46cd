#include "troupe/transport/patience.hpp"

#include <algorithm>
#include <atomic>
#include <sched.h>

namespace troupe {

namespace {

using namespace std::chrono_literals;
using clock = patience::clock;

// A wait that is usually longer than this isn't worth a CPU. Sleeping and being woken takes up to 70 µs of it.
constexpr clock::duration longest_usual = 200us;
// A single long wait says little about the next one.
constexpr clock::duration longest_counted = 1ms;
constexpr clock::duration least_asked = 30us;

// The answer may have to come from a thread that has to run on this very CPU.
constexpr clock::duration selfish_time = 25us;
// Letting others run takes a µs if nobody wants to. If they did, and the answer wasn't what they were to bring, they need the CPU.
constexpr clock::duration others_turn = 20us;

// A question takes about a µs. Who was away for as long as this had its CPU taken.
constexpr clock::duration kept_away = 400us;
constexpr clock::duration first_break = 5ms;
constexpr clock::duration longest_break = 1s;

struct contention {
  std::atomic<clock::rep> until{0};
  std::atomic<clock::rep> length{0};
};

contention cpus;

void others_want_cpu(clock::time_point now) {
  const auto t = now.time_since_epoch().count();
  const auto until = cpus.until.load(std::memory_order_relaxed);
  const auto last = cpus.length.load(std::memory_order_relaxed);
  // soon after the last break it was too short
  const auto length =
    until != 0 && t < until + 4 * last ? std::min(2 * last, clock::duration{longest_break}.count()) : clock::duration{first_break}.count();
  cpus.length.store(length, std::memory_order_relaxed);
  cpus.until.store(t + length, std::memory_order_relaxed);
}

} // namespace

bool patience::begin(clock::time_point now) {
  started_ = asked_ = polite_ = now;
  others_ran_ = false;
  asks_ = usual_ <= longest_usual && now.time_since_epoch().count() >= cpus.until.load(std::memory_order_relaxed);
  return asks_;
}

bool patience::more(clock::time_point now, bool busy) {
  if (!asks_)
    return false;
  if (!busy && now - asked_ > kept_away) {
    others_want_cpu(now);
    return false;
  }
  if (!busy && others_ran_)
    return false;
  others_ran_ = false;
  asked_ = now;
  if (now - polite_ >= selfish_time) {
    ::sched_yield();
    polite_ = clock::now();
    others_ran_ = polite_ - now > others_turn;
  }
  return now - started_ < least_asked + 2 * usual_;
}

void patience::end(clock::time_point now) { usual_ += (std::min(now - started_, longest_counted) - usual_) / 4; }

} // namespace troupe
