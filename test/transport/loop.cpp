#define BOOST_TEST_MODULE loop
#include <boost/test/unit_test.hpp>

#include "transport/loop_thread.hpp"
#include "transport/pipe_ends.hpp"

#include "troupe/transport/loop.hpp"
#include "troupe/transport/unique_fd.hpp"

#include <array>
#include <atomic>
#include <fcntl.h>
#include <memory>
#include <string>
#include <sys/epoll.h>
#include <system_error>
#include <thread>
#include <unistd.h>
#include <vector>

using namespace std::chrono_literals;
using test::pipe_ends;
using troupe::loop;
using troupe::unique_fd;

BOOST_AUTO_TEST_CASE(timers_run_in_the_order_of_their_moments_then_of_their_making) {
  loop l;
  std::string order;
  auto t = l.now() + 5ms;
  l.call_at(t + 2ms, [&] { order += 'e'; });
  l.call_at(t, [&] { order += 'b'; });
  l.call_at(t + 1ms, [&] { order += 'd'; });
  l.call_at(t, [&] { order += 'c'; });
  l.call_at(t - 1h, [&] { order += 'a'; });
  l.call_at(t + 3ms, [&] { l.stop(); });
  l.run();
  BOOST_TEST(order == "abcde");
}

BOOST_AUTO_TEST_CASE(a_timer_never_runs_before_its_moment) {
  loop l;
  int early = 0;
  int run = 0;
  for (int i = 0; i < 50; ++i) {
    auto when = l.now() + std::chrono::microseconds{i * 137};
    l.call_at(when, [&, when] {
      early += l.now() < when;
      if (++run == 50)
        l.stop();
    });
  }
  l.run();
  BOOST_TEST(early == 0);
}

BOOST_AUTO_TEST_CASE(timers_follow_the_clock_that_the_loop_was_given) {
  auto t = loop::clock::time_point{} + 5h;
  loop l{[&] { return t; }};
  BOOST_TEST((l.now() == t));
  std::string ran;
  l.call_after(10min, [&] { ran += 'b'; });
  l.call_at(t + 5min, [&] {
    ran += 'a';
    l.call_after(6min, [&] { ran += 'c'; });
  });
  l.call_at(t - 1s, [&] { ran += '0'; });
  BOOST_TEST(l.step());
  BOOST_TEST(ran == "0");
  BOOST_TEST(!l.step());
  BOOST_REQUIRE(l.next_timer());
  BOOST_TEST((*l.next_timer() == t + 5min));
  t += 5min - 1ns;
  BOOST_TEST(!l.step());
  t += 1ns;
  BOOST_TEST(l.step());
  BOOST_TEST(ran == "0a");
  t -= 1h; // what goes back brings nothing back, and runs nothing
  BOOST_TEST(!l.step());
  t += 3h;
  BOOST_TEST(l.step());
  BOOST_TEST(ran == "0abc");
  BOOST_TEST(!l.next_timer());
}

BOOST_AUTO_TEST_CASE(a_step_handles_what_there_is_and_does_not_wait) {
  loop l;
  pipe_ends p;
  std::string ran;
  bool in_thread = false;
  l.watch(p.read.get(), EPOLLIN, [&](std::uint32_t) {
    in_thread = l.in_loop_thread();
    ran += p.drain();
  });
  l.call_after(1h, [&] { ran += 'x'; });
  BOOST_TEST(!l.step());
  p.fill("ab");
  BOOST_TEST(l.step());
  BOOST_TEST(ran == "a");
  BOOST_TEST(in_thread);
  BOOST_TEST(!l.in_loop_thread());
  l.post([&] {
    ran += 'p';
    l.post([&] { ran += 'q'; });
  });
  BOOST_TEST(l.step());
  BOOST_TEST(ran == "abp");
  BOOST_TEST(l.step());
  BOOST_TEST(ran == "abpq");
  BOOST_TEST(!l.step()); // the bell that had rung is none
}

BOOST_AUTO_TEST_CASE(a_cancelled_timer_does_not_run) {
  loop l;
  std::string ran;
  auto t = l.now();
  loop::timer_id self = 0, second = 0, later = 0;
  auto first = l.call_at(t, [&] {
    ran += 'a';
    l.cancel(second); // due in this very round
    l.cancel(later);
  });
  second = l.call_at(t, [&] { ran += 'b'; });
  later = l.call_at(t + 1ms, [&] { ran += 'c'; });
  auto before = l.call_at(t, [&] { ran += 'd'; });
  l.cancel(before);
  self = l.call_at(t, [&] {
    ran += 'e';
    l.cancel(self);
  });
  l.call_at(t + 2ms, [&] {
    l.cancel(first); // has run: nothing happens
    l.cancel(first);
    l.cancel(12345);
    l.call_after(0ms, [&] {
      ran += 'f';
      l.stop();
    });
  });
  l.run();
  BOOST_TEST(ran == "aef");
}

BOOST_AUTO_TEST_CASE(a_timer_that_makes_the_next_leaves_room_for_everything_else) {
  loop l;
  pipe_ends p;
  p.fill();
  int ticks = 0;
  bool posted = false, readable = false;
  std::function<void()> tick = [&] {
    ++ticks;
    if (posted && readable)
      l.stop();
    l.call_after(0ms, tick);
  };
  l.watch(p.read.get(), EPOLLIN, [&](std::uint32_t) {
    p.drain();
    readable = true;
    l.post([&] { posted = true; });
  });
  l.call_after(0ms, tick);
  l.run();
  BOOST_TEST(ticks < 1000);
}

BOOST_AUTO_TEST_CASE(a_timer_of_the_far_future_neither_runs_nor_keeps_the_loop_from_ending) {
  loop l;
  bool ran = false;
  l.call_at(loop::clock::time_point::max(), [&] { ran = true; });
  l.call_after(std::chrono::hours{24 * 365 * 100}, [&] { ran = true; });
  l.call_after(5ms, [&] { l.stop(); });
  l.run();
  BOOST_TEST(!ran);
}

BOOST_AUTO_TEST_CASE(posted_functions_run_in_order_those_that_they_post_afterwards) {
  loop l;
  std::string order;
  l.post([&] {
    order += 'a';
    l.post([&] {
      order += 'c';
      l.stop();
    });
  });
  l.post([&] { order += 'b'; });
  l.run();
  BOOST_TEST(order == "abc");
}

BOOST_AUTO_TEST_CASE(posts_of_many_threads_all_run_on_the_loops_thread_each_threads_in_order) {
  constexpr int threads = 8, each = 5000;
  test::loop_thread l;
  std::array<int, threads> next{};
  bool in_order = true, in_thread = true;
  std::vector<std::thread> posters;
  for (int t = 0; t < threads; ++t)
    posters.emplace_back([&, t] {
      for (int i = 0; i < each; ++i)
        l.get().post([&, t, i] {
          in_order = in_order && next[static_cast<std::size_t>(t)]++ == i;
          in_thread = in_thread && l.get().in_loop_thread();
        });
    });
  for (auto& p : posters)
    p.join();
  l.stop(); // what was posted before still runs
  BOOST_TEST(in_order);
  BOOST_TEST(in_thread);
  for (auto n : next)
    BOOST_TEST(n == each);
  BOOST_TEST(!l.get().in_loop_thread());
}

BOOST_AUTO_TEST_CASE(a_post_wakes_a_loop_that_sleeps) {
  test::loop_thread l;
  auto main_thread = std::this_thread::get_id();
  for (int i = 0; i < 200; ++i) // each after the last has been handled: the loop sleeps by then, or is about to
    BOOST_REQUIRE(l.run([&] { return std::this_thread::get_id() != main_thread; }));
}

BOOST_AUTO_TEST_CASE(stop_lets_run_what_was_posted_before_and_nothing_else) {
  loop l;
  std::string ran;
  auto held = std::make_shared<int>(1);
  l.post([&] {
    ran += 'a';
    l.post([&] { ran += 'b'; });
    l.stop();
    l.call_after(0ms, [&] { ran += 'x'; });
  });
  l.run();
  BOOST_TEST(ran == "ab");
  l.post([&, held] { ran += 'y'; });
  BOOST_TEST(ran == "ab");
}

BOOST_AUTO_TEST_CASE(what_is_posted_to_a_loop_that_has_ended_is_released_with_it) {
  auto held = std::make_shared<int>(1);
  {
    loop l;
    l.stop();
    l.run();
    l.post([held] {});
    l.call_after(1h, [held] {});
    BOOST_TEST(held.use_count() == 3);
  }
  BOOST_TEST(held.use_count() == 1);
}

BOOST_AUTO_TEST_CASE(a_descriptor_is_reported_as_long_as_it_has_something) {
  loop l;
  pipe_ends p;
  p.fill("abc");
  std::string got;
  l.watch(p.read.get(), EPOLLIN, [&](std::uint32_t events) {
    BOOST_TEST((events & EPOLLIN) != 0u);
    got += p.drain();
    if (got.size() == 3)
      l.stop();
  });
  l.run();
  BOOST_TEST(got == "abc");
}

BOOST_AUTO_TEST_CASE(rewatch_turns_events_off_and_on_again) {
  loop l;
  pipe_ends p;
  p.fill("ab");
  int calls = 0, while_off = -1;
  l.watch(p.read.get(), EPOLLIN, [&](std::uint32_t) {
    ++calls;
    p.drain();
    if (calls == 2)
      return l.stop();
    l.rewatch(p.read.get(), 0);
    l.call_after(20ms, [&] {
      while_off = calls;
      l.rewatch(p.read.get(), EPOLLIN);
    });
  });
  l.run();
  BOOST_TEST(while_off == 1);
  BOOST_TEST(calls == 2);
}

BOOST_AUTO_TEST_CASE(rewatching_for_another_event_keeps_the_handler) {
  loop l;
  pipe_ends p;
  std::uint32_t got = 0;
  l.watch(p.write.get(), 0, [&](std::uint32_t events) {
    got = events;
    l.stop();
  });
  l.rewatch(p.write.get(), EPOLLOUT);
  l.rewatch(12345, EPOLLIN); // isn't watched: nothing happens
  l.run();
  BOOST_TEST(got == std::uint32_t{EPOLLOUT});
}

BOOST_AUTO_TEST_CASE(a_handler_may_unwatch_itself_and_lives_until_it_returns) {
  loop l;
  pipe_ends p;
  p.fill("ab");
  int calls = 0;
  auto held = std::make_shared<std::string>("captured");
  std::weak_ptr<std::string> weak = held;
  l.watch(p.read.get(), EPOLLIN, [&, held = std::move(held)](std::uint32_t) {
    ++calls;
    l.unwatch(p.read.get());
    BOOST_TEST(*held == "captured");
    l.call_after(10ms, [&] { l.stop(); });
  });
  l.run();
  BOOST_TEST(calls == 1);
  BOOST_TEST(weak.expired()); // and no longer
  l.unwatch(p.read.get());
}

BOOST_AUTO_TEST_CASE(a_handler_may_unwatch_another_whose_event_was_already_fetched) {
  loop l;
  std::array<pipe_ends, 2> pipes;
  int calls = 0;
  for (std::size_t i = 0; i < 2; ++i) {
    pipes[i].fill();
    l.watch(pipes[i].read.get(), EPOLLIN, [&, i](std::uint32_t) {
      ++calls;
      l.unwatch(pipes[i].read.get());
      l.unwatch(pipes[1 - i].read.get());
      l.call_after(10ms, [&] { l.stop(); });
    });
  }
  l.run();
  BOOST_TEST(calls == 1);
}

BOOST_AUTO_TEST_CASE(an_event_of_a_descriptor_does_not_reach_the_next_one_of_its_number) {
  loop l;
  std::array<pipe_ends, 2> pipes;
  pipe_ends fresh; // has nothing to read
  int calls = 0, stale = 0;
  for (std::size_t i = 0; i < 2; ++i) {
    pipes[i].fill();
    l.watch(pipes[i].read.get(), EPOLLIN, [&, i](std::uint32_t) {
      ++calls;
      l.unwatch(pipes[i].read.get());
      // the other one's event has been fetched as well: its number now means something else
      auto number = pipes[1 - i].read.get();
      l.unwatch(number);
      BOOST_REQUIRE(::dup2(fresh.read.get(), number) == number);
      l.watch(number, EPOLLIN, [&](std::uint32_t) { ++stale; });
      l.call_after(10ms, [&] { l.stop(); });
    });
  }
  l.run();
  BOOST_TEST(calls == 1);
  BOOST_TEST(stale == 0);
}

BOOST_AUTO_TEST_CASE(a_watch_of_the_same_number_again_gets_the_new_handler_only) {
  loop l;
  pipe_ends p;
  p.fill("ab");
  std::string got;
  l.watch(p.read.get(), EPOLLIN, [&](std::uint32_t) {
    got += p.drain();
    l.unwatch(p.read.get());
    l.watch(p.read.get(), EPOLLIN, [&](std::uint32_t) {
      got += '2';
      got += p.drain();
      l.stop();
    });
  });
  l.run();
  BOOST_TEST(got == "a2b");
}

BOOST_AUTO_TEST_CASE(what_cannot_be_watched_throws) {
  loop l;
  BOOST_CHECK_THROW(l.watch(-1, EPOLLIN, [](std::uint32_t) {}), std::system_error);
  unique_fd file{::open("/proc/self/exe", O_RDONLY | O_CLOEXEC)};
  BOOST_CHECK_THROW(l.watch(file.get(), EPOLLIN, [](std::uint32_t) {}), std::system_error);
  pipe_ends p;
  l.watch(p.read.get(), EPOLLIN, [](std::uint32_t) {});
  BOOST_CHECK_THROW(l.watch(p.read.get(), EPOLLIN, [](std::uint32_t) {}), std::system_error);
}

BOOST_AUTO_TEST_CASE(a_peer_that_is_gone_is_reported_even_when_nothing_is_asked_for) {
  loop l;
  pipe_ends p;
  std::uint32_t got = 0;
  l.watch(p.read.get(), 0, [&](std::uint32_t events) {
    got = events;
    l.unwatch(p.read.get());
    l.stop();
  });
  p.write.reset();
  l.run();
  BOOST_TEST(got == std::uint32_t{EPOLLHUP});
}
