#define BOOST_TEST_MODULE alarms
#include <boost/test/unit_test.hpp>

#include "transport/loop_thread.hpp"

#include "troupe/actors/alarms.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using troupe::alarms;
using clock_type = alarms::clock;

namespace {

// A loop whose time is told.
struct fixture {
  clock_type::time_point now = clock_type::now();
  troupe::loop l{[this] { return now; }};
  std::shared_ptr<alarms> a = std::make_shared<alarms>(l);
  std::vector<int> rung = {};

  auto say(int x) {
    return [this, x] { rung.push_back(x); };
  }
  const std::vector<int>& after(clock_type::duration time) {
    now += time;
    while (l.step()) {
    }
    return rung;
  }
};

using numbers = std::vector<int>;

} // namespace

BOOST_FIXTURE_TEST_CASE(alarms_ring_once_in_the_order_of_their_times, fixture) {
  a->set(now + 20ms, say(2));
  a->set(now + 30ms, say(3));
  a->set(now + 10ms, say(1));
  a->set(now + 20ms, say(22));
  BOOST_TEST(after(9ms) == numbers{});
  BOOST_TEST(after(1ms) == numbers{1});
  BOOST_TEST(after(10ms) == (numbers{1, 2, 22}));
  BOOST_TEST(after(1s) == (numbers{1, 2, 22, 3}));
  BOOST_TEST(after(1s).size() == 4u);
  BOOST_TEST(a->size() == 0u);
  a->set(now - 1s, say(4)); // one that has passed
  BOOST_TEST(after(0s).back() == 4);
}

BOOST_FIXTURE_TEST_CASE(an_alarm_that_was_cleared_does_not_ring, fixture) {
  const auto first = a->set(now + 10ms, say(1));
  a->set(now + 20ms, say(2));
  a->clear(first);
  a->clear(first);
  a->clear({});
  BOOST_TEST(a->size() == 1u);
  BOOST_TEST(after(15ms) == numbers{});
  BOOST_TEST(after(5ms) == numbers{2});
  a->clear(first);
}

BOOST_FIXTURE_TEST_CASE(one_may_be_set_by_another, fixture) {
  a->set(now + 10ms, [this] {
    say(1)();
    a->set(now + 10ms, say(2));
  });
  BOOST_TEST(after(10ms) == numbers{1});
  BOOST_TEST(after(10ms) == (numbers{1, 2}));
}

BOOST_FIXTURE_TEST_CASE(after_its_end_nothing_rings, fixture) {
  a->set(now + 10ms, say(1));
  a->close();
  a->set(now + 10ms, say(2));
  BOOST_TEST(a->size() == 0u);
  BOOST_TEST(after(1s) == numbers{});
}

BOOST_AUTO_TEST_CASE(threads_set_and_clear_them_while_the_loop_runs) {
  test::loop_thread l;
  const auto a = std::make_shared<alarms>(l.get());
  std::atomic<int> rung{0};
  constexpr int threads = 4, each = 2000;
  std::vector<std::thread> all;
  for (int t = 0; t < threads; ++t)
    all.emplace_back([&, t] {
      for (int i = 0; i < each; ++i) {
        const auto id = a->set(clock_type::now() + std::chrono::microseconds{(i * 37 + t) % 2000}, [&] { ++rung; });
        if (i % 4 == 0)
          a->clear(a->set(clock_type::now() + 1h, [&] { rung += 1'000'000; }));
        if (i % 1000 == 999)
          a->clear(id);
      }
    });
  for (auto& t : all)
    t.join();
  BOOST_TEST(test::comes([&] { return a->size() == 0; }));
  l.settle();
  BOOST_TEST(rung <= threads * each);
  BOOST_TEST(rung >= threads * (each - 2));
  a->close();
}
