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

namespace {

// A pipe whose handler counts how often it is asked, and what it has got.
struct counted_reader {
  explicit counted_reader(loop& l) : of(l) {
    of.watch_reader(pipe.read.get(), EPOLLIN, [this](std::uint32_t events) {
      BOOST_TEST(events == EPOLLIN);
      ++asked;
      char c;
      const bool any = ::read(pipe.read.get(), &c, 1) == 1;
      got += any ? 1 : 0;
      return any;
    });
  }
  ~counted_reader() { of.unwatch(pipe.read.get()); }

  loop& of;
  pipe_ends pipe;
  int asked = 0, got = 0;
};

} // namespace

BOOST_AUTO_TEST_CASE(a_reader_that_is_alone_to_have_something_is_asked_without_an_event) {
  loop l;
  counted_reader one{l}, other{l};
  loop::lease lease{l};
  BOOST_REQUIRE(static_cast<bool>(lease));
  const auto rounds = [&](int n) {
    for (int i = 0; i < n; ++i)
      lease.poll();
  };
  rounds(100);
  BOOST_TEST(one.asked == 0);
  for (int i = 1; i <= 3; ++i) { // the first two make it the favourite
    one.pipe.fill();
    rounds(8);
    BOOST_TEST(one.got == i);
  }
  BOOST_TEST(one.asked > 8);

  one.asked = 0;
  rounds(100); // each of eight asks for all
  BOOST_TEST(one.asked > 80);
  BOOST_TEST(one.asked < 95);
  BOOST_TEST(other.asked == 0);

  one.pipe.fill();
  other.pipe.fill();
  lease.look(); // both, whoever is the favourite
  BOOST_TEST(one.got == 4);
  BOOST_TEST(other.got == 1);

  one.asked = 0;
  rounds(100); // neither was alone
  BOOST_TEST(one.asked == 0);

  for (int i = 0; i < 2; ++i) {
    one.pipe.fill();
    lease.look();
  }
  other.pipe.fill();
  rounds(8); // is found beside the favourite, which isn't any more
  BOOST_TEST(other.got == 2);
  one.asked = 0;
  rounds(100);
  BOOST_TEST(one.asked == 0);
}

BOOST_AUTO_TEST_CASE(a_favourite_is_left_alone_once_it_is_unwatched_or_watched_for_something_else) {
  loop l;
  std::optional<counted_reader> r{l};
  const auto make_favourite = [&](loop::lease& lease) {
    for (int i = 0; i < 2; ++i) {
      r->pipe.fill();
      lease.look();
    }
    r->asked = 0;
    lease.poll();
    BOOST_TEST(r->asked == 1);
  };
  loop::lease lease{l};
  make_favourite(lease);
  l.rewatch(r->pipe.read.get(), 0);
  for (int i = 0; i < 20; ++i)
    lease.poll();
  BOOST_TEST(r->asked == 1);
  l.rewatch(r->pipe.read.get(), EPOLLIN);
  make_favourite(lease);
  r.reset();
  for (int i = 0; i < 20; ++i)
    BOOST_TEST(!lease.poll());
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
