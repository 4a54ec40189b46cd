// Threads that drive a loop in the place of its own.

#define BOOST_TEST_MODULE loop_lease
#include <boost/test/unit_test.hpp>

#include "transport/loop_thread.hpp"
#include "transport/pipe_ends.hpp"

#include <array>
#include <atomic>
#include <chrono>
#include <optional>
#include <sys/epoll.h>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using test::pipe_ends;
using troupe::loop;

namespace {

// Asks until it is given one.
struct sure_lease {
  explicit sure_lease(loop& l) {
    do
      held.emplace(l);
    while (!*held);
  }
  loop::lease& operator*() { return *held; }
  loop::lease* operator->() { return &*held; }
  std::optional<loop::lease> held;
};

bool comes(const std::atomic<bool>& what) {
  const auto end = loop::clock::now() + 10s;
  while (!what && loop::clock::now() < end)
    std::this_thread::sleep_for(10us);
  return what;
}

template <class Done>
void poll_until(loop::lease& lease, Done done) {
  while (!done())
    lease.poll();
}

} // namespace

BOOST_AUTO_TEST_CASE(what_comes_is_handled_by_who_has_the_lease) {
  test::loop_thread l;
  pipe_ends p;
  std::thread::id handled_by;
  std::atomic<int> handled{0};
  l.run([&] {
    l.get().watch(p.read.get(), EPOLLIN, [&](std::uint32_t) {
      char c = 0;
      static_cast<void>(!::read(p.read.get(), &c, 1)); // Boost.Test's checks are for one thread at a time
      handled_by = std::this_thread::get_id();
      ++handled;
    });
  });
  {
    sure_lease lease{l.get()};
    BOOST_TEST(l.get().in_loop_thread());
    p.fill();
    poll_until(*lease, [&] { return handled == 1; });
    BOOST_TEST((handled_by == std::this_thread::get_id()));
    std::atomic<bool> ran{false};
    std::thread other{[&] {
      BOOST_TEST(!loop::lease{l.get()});
      l.get().post([&] { ran = true; });
    }};
    other.join();
    poll_until(*lease, [&] { return ran.load(); });
    bool timer = false;
    l.get().call_after(1ms, [&] { timer = true; });
    poll_until(*lease, [&] { return timer; });
  }
  BOOST_TEST(!l.get().in_loop_thread());
  p.fill();
  while (handled < 2)
    std::this_thread::yield();
  BOOST_TEST((handled_by != std::this_thread::get_id()));
  l.run([&] { l.get().unwatch(p.read.get()); });
}

BOOST_AUTO_TEST_CASE(the_loops_own_thread_goes_on_after_a_lease) {
  for (bool handed_over : {true, false}) {
    test::loop_thread l;
    for (int i = 0; i < 50; ++i) {
      std::atomic<bool> ran{false};
      {
        sure_lease lease{l.get()};
        lease->poll();
        // sooner than anything that the sleeping thread knows of
        l.get().call_after(i % 2 == 0 ? 0ms : 3ms, [&] { ran = true; });
        if (handed_over)
          lease->hand_over();
      }
      BOOST_REQUIRE(comes(ran));
    }
  }
}

BOOST_AUTO_TEST_CASE(what_is_posted_while_a_lease_ends_is_not_forgotten) {
  test::loop_thread l;
  for (int i = 0; i < 2000; ++i) {
    std::atomic<bool> ran{false};
    std::thread poster{[&] { l.get().post([&] { ran = true; }); }};
    {
      loop::lease lease{l.get()};
      if (lease && i % 3 != 0)
        lease.poll();
    }
    BOOST_REQUIRE(comes(ran));
    poster.join();
  }
}

BOOST_AUTO_TEST_CASE(a_loop_that_is_told_to_stop_ends_its_leases_and_gives_no_more) {
  test::loop_thread l;
  std::atomic<bool> driving{false};
  std::thread driver{[&] {
    sure_lease lease{l.get()};
    driving = true;
    while (!lease->stopping())
      lease->poll();
  }};
  while (!driving)
    std::this_thread::yield();
  l.stop();
  driver.join();
  BOOST_TEST(!loop::lease{l.get()});
}

BOOST_AUTO_TEST_CASE(threads_that_drive_in_turn_run_all_that_is_posted_once_and_in_order) {
  constexpr int threads = 4, each = 3000;
  test::loop_thread l;
  std::array<int, threads> next{};
  bool in_order = true, alone = true;
  std::atomic<bool> inside{false};
  std::vector<std::thread> all;
  for (int t = 0; t < threads; ++t)
    all.emplace_back([&, t] {
      for (int i = 0; i < each; ++i) {
        std::atomic<bool> done{false};
        l.get().post([&, t, i] {
          alone = !inside.exchange(true) && alone && l.get().in_loop_thread();
          in_order = in_order && next[static_cast<std::size_t>(t)]++ == i;
          inside = false;
          done = true;
        });
        while (!done) {
          loop::lease lease{l.get()};
          if (!lease) {
            loop::hurry hurry{l.get()};
            std::this_thread::yield();
            continue;
          }
          for (int k = 0; k < 3 && !done; ++k)
            lease.poll();
          if (i % 2 == 0)
            lease.hand_over();
        }
      }
    });
  for (auto& t : all)
    t.join();
  BOOST_TEST(l.run([&] { return in_order && alone; }));
  for (auto n : next)
    BOOST_TEST(n == each);
}
