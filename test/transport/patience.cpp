#define BOOST_TEST_MODULE patience
#include <boost/test/unit_test.hpp>

#include "troupe/transport/patience.hpp"

using namespace std::chrono_literals;
using troupe::patience;

namespace {

// The time of the test, which goes on from case to case: what one thread has noticed of others is known to the process.
patience::clock::time_point t{1h};

// Asks each µs until `length` has gone by or it doesn't want to any more; returns for how long.
patience::clock::duration wait(patience& p, patience::clock::duration length) {
  const auto start = t;
  auto asks = p.begin(t);
  auto asked = 0us;
  for (; asks && t - start < length; asked += 1us) {
    t += 1us;
    asks = p.more(t, false);
  }
  t = start + length;
  p.end(t);
  return asked;
}

void be_kept_away(patience& p) {
  BOOST_TEST(p.begin(t));
  t += 4ms;
  BOOST_TEST(!p.more(t, false));
}

} // namespace

BOOST_AUTO_TEST_CASE(short_waits_are_waited_for_and_a_single_long_one_is_not) {
  patience p;
  for (int i = 0; i < 20; ++i)
    BOOST_TEST((wait(p, 10us) == 10us));
  BOOST_TEST((wait(p, 1s) < 100us));
}

BOOST_AUTO_TEST_CASE(who_usually_waits_long_sleeps_at_once_until_waits_are_short_again) {
  patience p;
  for (int i = 0; i < 20; ++i)
    wait(p, 1s);
  BOOST_TEST((wait(p, 1s) == 0us));
  int n = 0;
  while (wait(p, 70us) == 0us) // as long as it takes to be woken
    ++n;
  BOOST_TEST(n > 1);
  BOOST_TEST(n < 20);
}

BOOST_AUTO_TEST_CASE(who_is_kept_from_running_leaves_the_cpu_to_others_for_longer_and_longer) {
  patience p, other;
  auto last = 0us;
  for (int i = 0; i < 10; ++i) {
    be_kept_away(p);
    BOOST_TEST(!p.begin(t));
    BOOST_TEST(!other.begin(t)); // any thread of the process
    auto left = 0us;
    while (!other.begin(t)) {
      t += 100us;
      left += 100us;
    }
    BOOST_TEST((left >= last));
    last = left;
  }
  BOOST_TEST((last >= 500ms));
  BOOST_TEST((last <= 1s + 1ms));
  t += 60s; // undisturbed: the next break is a short one
  be_kept_away(p);
  t += 30ms;
  BOOST_TEST(p.begin(t));
}

BOOST_AUTO_TEST_CASE(time_that_goes_into_what_came_is_not_time_without_a_cpu) {
  t += 60s;
  patience p;
  BOOST_TEST(p.begin(t));
  t += 20us;
  BOOST_TEST(p.more(t, false));
  t += 5ms;
  p.more(t, true);
  BOOST_TEST(patience{}.begin(t));
}
