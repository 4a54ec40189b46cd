#define BOOST_TEST_MODULE waiter
#include <boost/test/unit_test.hpp>

#include "actors/waiting.hpp"

#include "troupe/actors/executor.hpp"
#include "troupe/actors/waiter.hpp"
#include "troupe/transport/error.hpp"

#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using namespace std::string_literals;
using test::becomes_true;
using test::event;
using troupe::executor;
using troupe::waiter;

namespace {

std::chrono::steady_clock::time_point in(std::chrono::milliseconds time) { return std::chrono::steady_clock::now() + time; }

// What the wait of a thread came to: 'y' and 'n' for what it returned, 'i' for interrupted, 'u' for usage_error.
char outcome_of(std::optional<waiter::time_point> limit = std::nullopt) {
  try {
    return waiter::of_this_thread().wait(limit) ? 'y' : 'n';
  } catch (const troupe::interrupted&) {
    return 'i';
  } catch (const troupe::usage_error&) {
    return 'u';
  }
}

// A thread that waits on its waiter once, then says what came of it.
class sleeper {
public:
  explicit sleeper(int times = 1)
    : thread_([this, times] {
        me_ = &waiter::of_this_thread();
        for (int i = 0; i < times; ++i) {
          auto c = outcome_of(in(60s));
          std::lock_guard guard{mutex_};
          text_ += c;
        }
        release_.wait(); // whoever holds its waiter may go on with it
      }) {}
  ~sleeper() {
    release_.set();
    thread_.join();
  }

  waiter& its() {
    becomes_true([&] { return me_.load() != nullptr; });
    return *me_;
  }

  bool becomes(const std::string& text) {
    return becomes_true([&] { return this->text() == text; });
  }

  std::string text() {
    std::lock_guard guard{mutex_};
    return text_;
  }

private:
  std::atomic<waiter*> me_{nullptr};
  std::mutex mutex_;
  std::string text_;
  event release_;
  std::thread thread_;
};

// The only way to learn that threads are asleep: interrupt_all tells. Those that weren't yet will be woken all the same.
void interrupt_sleepers() {
  waiter::interrupt_all();
  waiter::forget_interrupt(); // this thread's
}

} // namespace

BOOST_AUTO_TEST_CASE(a_notification_ends_the_wait_that_is_or_the_next) {
  auto& me = waiter::of_this_thread();
  me.reset();
  me.notify();
  BOOST_TEST(outcome_of(in(60s)) == 'y');
  BOOST_TEST(outcome_of(in(1ms)) == 'n'); // it counts once
  me.notify();
  me.notify();
  BOOST_TEST(outcome_of() == 'y');
  BOOST_TEST(outcome_of(in(0ms)) == 'n');

  sleeper s;
  s.its().notify();
  BOOST_TEST(s.becomes("y"));
}

BOOST_AUTO_TEST_CASE(reset_forgets_notifications) {
  auto& me = waiter::of_this_thread();
  me.notify();
  me.reset();
  BOOST_TEST(outcome_of(in(1ms)) == 'n');
}

BOOST_AUTO_TEST_CASE(a_wait_ends_at_its_limit_and_not_before) {
  auto& me = waiter::of_this_thread();
  me.reset();
  auto limit = in(30ms);
  BOOST_TEST(!me.wait(limit));
  BOOST_TEST((std::chrono::steady_clock::now() >= limit));
  BOOST_TEST(!me.wait(std::chrono::steady_clock::now() - 1h)); // one that has passed
  me.notify();
  BOOST_TEST(me.wait(std::chrono::steady_clock::now() - 1h)); // what has come by then counts
}

BOOST_AUTO_TEST_CASE(each_thread_has_a_waiter_of_its_own) {
  auto& me = waiter::of_this_thread();
  BOOST_TEST(&me == &waiter::of_this_thread());
  sleeper s;
  BOOST_TEST(&s.its() != &me);
  me.reset();
  s.its().notify();
  BOOST_TEST(outcome_of(in(1ms)) == 'n');
}

BOOST_AUTO_TEST_CASE(a_notification_is_not_lost_however_it_meets_the_wait) {
  sleeper s{1000};
  for (int i = 1; i <= 1000; ++i) {
    s.its().notify();
    BOOST_REQUIRE(becomes_true([&] { return s.text().size() == static_cast<std::size_t>(i); }));
  }
  BOOST_TEST(s.text() == std::string(1000, 'y'));
}

// -- interrupts ---------------------------------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(an_interrupt_throws_once_in_each_thread) {
  sleeper a{2}, b{2}, c{2};
  a.its(), b.its(), c.its();
  interrupt_sleepers();
  for (auto s : {&a, &b, &c})
    BOOST_TEST(s->becomes("i"));
  for (auto s : {&a, &b, &c})
    s->its().notify();
  for (auto s : {&a, &b, &c})
    BOOST_TEST(s->becomes("iy")); // the next wait is a wait again
}

BOOST_AUTO_TEST_CASE(an_interrupt_tells_whether_anybody_was_waiting) {
  BOOST_TEST(!waiter::interrupt_all());
  waiter::forget_interrupt();
  std::atomic<bool> stop{false}, ended{false};
  std::thread sleeps_again_and_again{[&] {
    while (!stop)
      outcome_of(in(60s));
    ended = true;
  }};
  BOOST_TEST(becomes_true([] { return waiter::interrupt_all(); }));
  stop = true;
  becomes_true([&] {
    waiter::interrupt_all();
    return ended.load();
  });
  sleeps_again_and_again.join();
  BOOST_TEST(!waiter::interrupt_all());
  waiter::forget_interrupt();
}

BOOST_AUTO_TEST_CASE(an_interrupt_that_comes_before_a_wait_ends_it_at_once) {
  auto& me = waiter::of_this_thread();
  me.reset();
  BOOST_TEST(!me.interrupt_pending());
  waiter::interrupt_all();
  BOOST_TEST(me.interrupt_pending());
  BOOST_TEST(outcome_of() == 'i');
  BOOST_TEST(!me.interrupt_pending());
  BOOST_TEST(outcome_of(in(1ms)) == 'n');
  waiter::interrupt_all();
  waiter::interrupt_all(); // is one
  BOOST_TEST(outcome_of() == 'i');
  BOOST_TEST(outcome_of(in(1ms)) == 'n');
}

BOOST_AUTO_TEST_CASE(an_interrupt_can_be_forgotten) {
  auto& me = waiter::of_this_thread();
  me.reset();
  waiter::interrupt_all();
  waiter::forget_interrupt();
  BOOST_TEST(!me.interrupt_pending());
  BOOST_TEST(outcome_of(in(1ms)) == 'n');
}

BOOST_AUTO_TEST_CASE(an_interrupt_does_not_eat_a_notification) {
  auto& me = waiter::of_this_thread();
  me.reset();
  me.notify();
  waiter::interrupt_all();
  BOOST_TEST(outcome_of() == 'i');
  BOOST_TEST(outcome_of(in(0ms)) == 'y');
}

BOOST_AUTO_TEST_CASE(an_interrupt_and_a_notification_that_meet_a_sleeper_both_count) {
  for (int i = 0; i < 300; ++i) {
    sleeper s{2};
    auto& its = s.its();
    if (i % 2 == 0)
      its.notify();
    waiter::interrupt_all();
    if (i % 2 != 0)
      its.notify();
    waiter::forget_interrupt();
    BOOST_REQUIRE(becomes_true([&] { return s.text().size() == 2; }));
    BOOST_REQUIRE((s.text() == "iy" || s.text() == "yi"));
  }
}

BOOST_AUTO_TEST_CASE(the_error_says_who_interrupted) {
  waiter::interrupt_all();
  BOOST_CHECK_EXCEPTION(waiter::of_this_thread().wait(), troupe::interrupted,
                        [](auto& e) { return e.message() == "interrupted by the user"; });
}

BOOST_AUTO_TEST_CASE(threads_that_have_ended_are_interrupted_no_more) {
  for (int i = 0; i < 50; ++i) {
    std::thread first{[] { waiter::of_this_thread(); }};
    std::thread second{[] { waiter::of_this_thread(); }};
    waiter::interrupt_all(); // while they come and go
    (i % 2 == 0 ? first : second).join();
    (i % 2 == 0 ? second : first).join();
    waiter::interrupt_all();
  }
  waiter::forget_interrupt();
}

// -- threads that must not block ----------------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(where_blocking_is_forbidden_a_wait_throws_why) {
  auto& me = waiter::of_this_thread();
  me.reset();
  auto why = [&]() -> std::string {
    try {
      waiter::check_may_block();
      return "";
    } catch (const troupe::usage_error& e) {
      return e.what();
    }
  };
  BOOST_TEST(why() == "");
  {
    waiter::no_blocking outer{"the outer reason"};
    BOOST_TEST(why() == "the outer reason");
    BOOST_TEST(outcome_of(in(60s)) == 'u');
    me.notify();
    BOOST_TEST(outcome_of(in(60s)) == 'u'); // even if it wouldn't have to
    me.reset();
    {
      waiter::no_blocking inner{"the inner reason"};
      BOOST_TEST(why() == "the inner reason");
    }
    BOOST_TEST(why() == "the outer reason");
    sleeper elsewhere;
    elsewhere.its().notify();
    BOOST_TEST(elsewhere.becomes("y"));
  }
  BOOST_TEST(why() == "");
  BOOST_TEST(outcome_of(in(1ms)) == 'n');
}

// -- turns --------------------------------------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(a_job_that_waits_gives_its_turn_away_and_gets_it_back) {
  executor e{1};
  event begun, end;
  waiter* first = nullptr;
  bool had_turn = false;
  e.submit([&] {
    first = &waiter::of_this_thread();
    begun.set();
    had_turn = outcome_of(in(60s)) == 'y' && executor::in_job();
    end.set();
  });
  BOOST_REQUIRE(begun.wait());
  e.submit([&] { first->notify(); }); // needs the turn
  BOOST_REQUIRE(end.wait());
  BOOST_TEST(had_turn);
}

BOOST_AUTO_TEST_CASE(a_job_that_is_interrupted_has_its_turn) {
  executor e{1};
  event begun, end;
  bool had_turn = false;
  char came = ' ';
  e.submit([&] {
    waiter::of_this_thread();
    begun.set();
    came = outcome_of(in(60s));
    had_turn = executor::in_job();
    end.set();
  });
  BOOST_REQUIRE(begun.wait());
  interrupt_sleepers();
  BOOST_REQUIRE(end.wait());
  BOOST_TEST(came == 'i');
  BOOST_TEST(had_turn);
}

BOOST_AUTO_TEST_CASE(a_wait_whose_time_is_up_gets_its_turn_back_first) {
  executor e{1};
  event begun, go_on, end;
  std::atomic<bool> other_runs{false}, together{false};
  e.submit([&] {
    begun.set();
    outcome_of(in(5ms));
    together = other_runs.load();
    end.set();
  });
  BOOST_REQUIRE(begun.wait());
  e.submit([&] {
    other_runs = true;
    auto limit = std::chrono::steady_clock::now() + 20ms;
    while (std::chrono::steady_clock::now() < limit) {
    }
    other_runs = false;
  });
  BOOST_REQUIRE(end.wait());
  BOOST_TEST(!together);
}
