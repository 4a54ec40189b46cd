// Threads that sleep until a loop's next event in the place of its own, and what is to be run soon.

#define BOOST_TEST_MODULE loop_sleep
#include <boost/test/unit_test.hpp>

#include "cpu_seconds.hpp"
#include "transport/loop_thread.hpp"
#include "transport/pipe_ends.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <functional>
#include <future>
#include <sys/epoll.h>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using test::comes;
using test::pipe_ends;
using troupe::loop;

namespace {

constexpr auto no_limit = loop::clock::time_point::max();

// A thread that sleeps as a driver of the loop until it is told to stop: again and again if it insists, or else until it must sleep
// elsewhere.
class sleeper {
public:
  enum class insistence { once, always };

  sleeper(loop& l, loop::sitter who, insistence how = insistence::always) : loop_(l), thread_([this, who, how] { run(who, how); }) {}
  ~sleeper() {
    tell();
    thread_.join();
  }
  void tell() {
    told_ = true;
    if (asleep_)
      loop_.ring();
  }
  bool asleep() const { return asleep_; }
  bool ended() const { return ended_; }
  std::thread::id id() const { return thread_.get_id(); }

private:
  void run(loop::sitter who, insistence how) {
    while (!told_) {
      loop::lease lease{loop_};
      if (!lease)
        continue;
      while (!told_ && lease.sleep(who, no_limit, told_, asleep_)) {
      }
      if (how == insistence::once)
        break;
    }
    ended_ = true;
  }

  loop& loop_;
  std::atomic<bool> told_{false}, asleep_{false}, ended_{false};
  std::thread thread_;
};

// In which thread what is posted runs.
std::thread::id driver_of(loop& l) {
  std::promise<std::thread::id> who;
  l.post([&] { who.set_value(std::this_thread::get_id()); });
  return who.get_future().get();
}

} // namespace

// Now and then the loop's own thread drives all the same: when it looks while the sleeper is about to sleep again.
BOOST_AUTO_TEST_CASE(who_sleeps_handles_what_comes) {
  test::loop_thread l;
  sleeper s{l.get(), loop::sitter::waiter};
  BOOST_TEST(comes([&] { return s.asleep() && driver_of(l.get()) == s.id(); }));
  pipe_ends p;
  std::atomic<bool> by_sleeper{false}, handled{false};
  const auto on_event = [&](std::uint32_t) {
    char c;
    static_cast<void>(!::read(p.read.get(), &c, 1));
    by_sleeper = std::this_thread::get_id() == s.id();
    handled = true;
  };
  l.run([&] { l.get().watch(p.read.get(), EPOLLIN, on_event); });
  BOOST_TEST(comes([&] {
    handled = false;
    p.fill();
    return comes([&] { return handled.load(); }) && by_sleeper;
  }));
  std::atomic<bool> timer{false};
  l.run([&] { l.get().call_after(2ms, [&] { timer = true; }); });
  BOOST_TEST(comes([&] { return timer.load(); }));
  s.tell();
  BOOST_REQUIRE(comes([&] { return s.ended(); }));
  BOOST_TEST((driver_of(l.get()) != s.id())); // the loop's own goes on
  l.run([&] { l.get().unwatch(p.read.get()); });
}

BOOST_AUTO_TEST_CASE(a_waiter_takes_the_place_of_an_idler_and_keeps_it) {
  using enum sleeper::insistence;
  test::loop_thread l;
  sleeper idler{l.get(), loop::sitter::idler};
  BOOST_REQUIRE(comes([&] { return idler.asleep(); }));
  sleeper waiter{l.get(), loop::sitter::waiter};
  BOOST_REQUIRE(comes([&] { return waiter.asleep(); }));
  sleeper late{l.get(), loop::sitter::waiter, once}, idle{l.get(), loop::sitter::idler, once};
  BOOST_TEST(comes([&] { return late.ended() && idle.ended(); }));
  BOOST_TEST(comes([&] { return waiter.asleep(); }));
}

BOOST_AUTO_TEST_CASE(who_sleeps_with_a_limit_leaves_before_it) {
  test::loop_thread l;
  std::atomic<bool> told{false}, asleep{false};
  for (auto wait : {0ms, 1ms, 20ms}) {
    const auto limit = loop::clock::now() + wait;
    for (bool goes_on = true; goes_on;) {
      loop::lease lease{l.get()};
      if (!lease)
        continue;
      while (lease.sleep(loop::sitter::waiter, limit, told, asleep)) {
      }
      goes_on = limit - loop::clock::now() > 2ms; // somebody else was asleep, or drove
    }
    BOOST_TEST((limit - loop::clock::now() <= 2ms));
  }
}

BOOST_AUTO_TEST_CASE(what_is_to_be_run_soon_is_run_whoever_sleeps) {
  test::loop_thread l;
  const auto all_run = [&] {
    for (int i = 0; i < 300; ++i) {
      std::atomic<int> ran{0};
      const int n = 1 + i % 5;
      for (int k = 0; k < n; ++k)
        l.get().soon([&] { ++ran; });
      if (!comes([&] { return ran == n; }))
        return false;
    }
    return true;
  };
  BOOST_TEST(all_run());
  for (auto who : {loop::sitter::idler, loop::sitter::waiter}) {
    sleeper s{l.get(), who};
    BOOST_REQUIRE(comes([&] { return s.asleep(); }));
    BOOST_TEST(all_run());
  }
  {
    loop::looking_later busy;
    BOOST_TEST(all_run());
  }
  std::atomic<bool> ran{false};
  l.run([&] { l.get().soon([&] { ran = true; }); });
  BOOST_TEST(comes([&] { return ran.load(); }));
}

// What took long isn't repeated at once, but after 4 ms; until it is due, nobody asks for the time again and again.
BOOST_AUTO_TEST_CASE(the_loop_sleeps_until_what_is_to_be_run_soon_is_due) {
  test::loop_thread l;
  const loop::looking_later busy; // the loop's own thread has to do it
  const auto run = [&](std::chrono::milliseconds takes) {
    std::promise<void> done;
    l.get().soon([&] {
      std::this_thread::sleep_for(takes);
      done.set_value();
    });
    BOOST_REQUIRE((done.get_future().wait_for(test::deadline) == std::future_status::ready));
  };
  const auto begin = std::chrono::steady_clock::now();
  const auto cpu = test::cpu_seconds();
  for (int i = 0; i < 50; ++i)
    run(2ms);
  const std::chrono::duration<double> all = std::chrono::steady_clock::now() - begin;
  BOOST_TEST(all.count() > 50 * 0.005); // of 2 + 4 ms each
  BOOST_TEST(test::cpu_seconds() - cpu < all.count() / 2);
  run(100ms);
  const auto then = std::chrono::steady_clock::now();
  run(0ms);
  BOOST_TEST((std::chrono::steady_clock::now() - then < 800ms)); // not 16 times as long as it took
}

// 16 of them, two each time, the oldest first.
BOOST_AUTO_TEST_CASE(of_much_that_is_to_be_run_soon_each_has_its_turn) {
  loop l; // which nobody runs
  std::vector<int> ran;
  std::vector<std::size_t> sizes;
  {
    const loop::looking_later busy;
    for (int i = 0; i < 16; ++i)
      l.soon([&ran, i] { ran.push_back(i); });
  }
  BOOST_TEST(ran.empty());
  while (ran.size() < 16 && sizes.size() < 16) {
    l.look_if_due();
    sizes.push_back(ran.size());
    std::this_thread::sleep_for(5ms); // longer than anything waits for the next turn
  }
  BOOST_TEST(sizes == (std::vector<std::size_t>{2, 4, 6, 8, 10, 12, 14, 16}), boost::test_tools::per_element());
  BOOST_TEST(std::is_sorted(ran.begin(), ran.end()));
}

BOOST_AUTO_TEST_CASE(who_adds_to_what_leaves_together_looks_at_the_clock_each_16th_time) {
  loop l;
  std::vector<int> looks;
  std::thread{[&] {
    for (int round = 0; round < 3; ++round) {
      bool ran = false;
      {
        const loop::looking_later busy;
        l.soon([&] { ran = true; });
      }
      std::this_thread::sleep_for(5ms); // it is due
      int n = 0;
      while (!ran && n < 100) {
        l.look_now_and_then();
        ++n;
      }
      looks.push_back(n);
    }
  }}.join();
  BOOST_TEST(looks == (std::vector<int>{16, 16, 16}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_loop_that_stops_wakes_who_sleeps) {
  for (auto who : {loop::sitter::idler, loop::sitter::waiter}) {
    test::loop_thread l;
    std::atomic<bool> told{false}, asleep{false};
    std::atomic<bool> ended{false};
    std::thread t{[&] {
      while (!ended) {
        loop::lease lease{l.get()};
        while (lease && !lease.stopping())
          if (!lease.sleep(who, no_limit, told, asleep))
            break;
        ended = lease.stopping();
      }
    }};
    BOOST_REQUIRE(comes([&] { return asleep.load(); }));
    l.stop();
    t.join();
    BOOST_TEST(ended);
  }
}
