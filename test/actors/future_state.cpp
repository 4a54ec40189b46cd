#define BOOST_TEST_MODULE future_state
#include <boost/test/unit_test.hpp>

#include "actors/waiting.hpp"

#include "troupe/actors/future_state.hpp"
#include "troupe/actors/waiter.hpp"

#include <atomic>
#include <chrono>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using namespace std::string_literals;
using test::becomes_true;
using test::event;
using troupe::error_kind;
using troupe::waiter;

namespace {

// With a look at what it holds.
class state : public troupe::detail::future_state {
public:
  std::string text() {
    auto bytes = payload().value.bytes;
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  void release() { payload() = {}; }
};

troupe::frame_view value(std::string_view text) {
  auto owner = std::make_shared<troupe::byte_buffer>(text.size());
  std::memcpy(owner->data(), text.data(), text.size());
  troupe::frame_view f;
  f.payload = *owner;
  f.owner = owner;
  return f;
}

troupe::error_info failure(std::string text) { return troupe::make_error_info(error_kind::process_exited, std::move(text), 7); }

std::chrono::steady_clock::time_point in(std::chrono::milliseconds time) { return std::chrono::steady_clock::now() + time; }

} // namespace

BOOST_AUTO_TEST_CASE(a_value_is_set_once) {
  state s;
  BOOST_TEST(!s.ready());
  BOOST_TEST(s.set_value(value("first")));
  BOOST_TEST(s.ready());
  BOOST_TEST(!s.set_value(value("second")));
  BOOST_TEST(!s.set_error(failure("third")));
  BOOST_TEST(s.wait());
  BOOST_CHECK_NO_THROW(s.throw_if_failed());
  BOOST_TEST(s.text() == "first");
}

BOOST_AUTO_TEST_CASE(an_error_is_set_once_and_thrown_each_time) {
  state s;
  BOOST_TEST(s.set_error(failure("first")));
  BOOST_TEST(!s.set_error(failure("second")));
  BOOST_TEST(!s.set_value(value("third")));
  BOOST_TEST(s.wait()); // waiting itself throws nothing of it
  for (int i = 0; i < 3; ++i)
    BOOST_CHECK_EXCEPTION(s.throw_if_failed(), troupe::process_exited, [](auto& e) { return e.message() == "first" && e.pid() == 7; });
}

BOOST_AUTO_TEST_CASE(the_bytes_stay_until_they_are_released) {
  state s;
  auto v = value("x");
  std::weak_ptr<const troupe::byte_buffer> bytes = v.owner;
  s.set_value(std::move(v));
  BOOST_TEST(!bytes.expired());
  s.release();
  BOOST_TEST(bytes.expired());
  BOOST_TEST(s.ready());
}

BOOST_AUTO_TEST_CASE(a_wait_ends_at_its_limit_and_may_be_repeated) {
  state s;
  auto limit = in(20ms);
  BOOST_TEST(!s.wait(limit));
  BOOST_TEST((std::chrono::steady_clock::now() >= limit));
  BOOST_TEST(!s.wait(in(-1h)));
  std::thread setter{[&] { s.set_value(value("x")); }};
  BOOST_TEST(s.wait(in(60s)));
  BOOST_TEST(s.wait(in(-1h)));
  setter.join();
}

BOOST_AUTO_TEST_CASE(all_who_wait_are_woken) { // FU-06
  for (int round = 0; round < 20; ++round) {
    state s;
    std::atomic<int> woken{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 10; ++i)
      threads.emplace_back([&] {
        if (s.wait(in(60s)) && s.text() == "x") // what is waited for can be seen
          ++woken;
      });
    if (round % 2 == 0)
      std::this_thread::yield();
    s.set_value(value("x"));
    for (auto& t : threads)
      t.join();
    BOOST_TEST(woken == 10);
  }
}

BOOST_AUTO_TEST_CASE(of_many_who_set_it_one_succeeds) { // FU-03
  for (int round = 0; round < 50; ++round) {
    state s;
    std::atomic<int> succeeded{0};
    std::atomic<int> winner{-1};
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i)
      threads.emplace_back([&, i] {
        if (i % 2 == 0 ? s.set_value(value(std::to_string(i))) : s.set_error(failure(std::to_string(i)))) {
          ++succeeded;
          winner = i;
        }
      });
    BOOST_TEST(s.wait(in(60s)));
    for (auto& t : threads)
      t.join();
    BOOST_REQUIRE(succeeded == 1);
    if (winner % 2 == 0)
      BOOST_TEST(s.text() == std::to_string(winner));
    else
      BOOST_CHECK_THROW(s.throw_if_failed(), troupe::process_exited);
  }
}

BOOST_AUTO_TEST_CASE(setting_and_waiting_never_miss_each_other) { // FU-12
  for (int round = 0; round < 3000; ++round) {
    state s;
    std::atomic<bool> go{false};
    std::thread setter{[&] {
      while (!go)
        std::this_thread::yield();
      s.set_value(value("x"));
    }};
    go = true;
    auto got = s.wait(in(60s));
    setter.join();
    BOOST_REQUIRE(got);
  }
}

BOOST_AUTO_TEST_CASE(a_notification_for_something_else_does_not_end_a_wait) {
  state s;
  waiter* me = &waiter::of_this_thread();
  std::thread other{[&] {
    for (int i = 0; i < 1000; ++i)
      me->notify();
    s.set_value(value("x"));
  }};
  BOOST_TEST(s.wait(in(60s)));
  BOOST_TEST(s.ready());
  other.join();
  me->notify(); // left over from before the next wait
  state t;
  BOOST_TEST(!t.wait(in(5ms)));
}

BOOST_AUTO_TEST_CASE(a_thread_that_gave_up_waiting_is_not_notified_any_more) {
  state s;
  BOOST_TEST(!s.wait(in(1ms)));
  s.set_value(value("x"));
  BOOST_TEST(!waiter::of_this_thread().wait(in(0ms)));
}

BOOST_AUTO_TEST_CASE(a_thread_that_gave_up_waiting_may_end_before_the_result_comes) {
  auto s = std::make_unique<state>();
  bool in_time = true, interrupted = false;
  std::thread{[&] { in_time = s->wait(in(1ms)); }}.join();
  std::thread{[&] {
    waiter::of_this_thread(); // before the interrupt, which is for the threads that there are
    waiter::interrupt_all();
    try {
      s->wait(in(60s));
    } catch (const troupe::interrupted&) {
      interrupted = true;
    }
  }}.join();
  BOOST_TEST(!in_time);
  BOOST_TEST(interrupted);
  waiter::forget_interrupt();
  BOOST_TEST(s->set_value(value("x"))); // notifies nobody who is gone
}

BOOST_AUTO_TEST_CASE(an_interrupt_ends_the_wait_but_not_the_future) {
  state s;
  waiter::of_this_thread();
  waiter::interrupt_all();
  BOOST_CHECK_THROW(s.wait(), troupe::interrupted);
  BOOST_TEST(!s.wait(in(1ms)));
  s.set_value(value("x"));
  waiter::interrupt_all();
  BOOST_TEST(s.wait()); // what is there already isn't waited for
  waiter::forget_interrupt();
}

BOOST_AUTO_TEST_CASE(where_blocking_is_forbidden_only_what_is_there_can_be_waited_for) {
  state s;
  waiter::no_blocking guard{"not here"};
  BOOST_CHECK_EXCEPTION(s.wait(), troupe::usage_error, [](auto& e) { return e.what() == "not here"s; });
  BOOST_CHECK_THROW(s.wait(in(1ms)), troupe::usage_error);
  s.set_value(value("x"));
  BOOST_TEST(s.wait());
}

BOOST_AUTO_TEST_CASE(jobs_that_wait_for_each_others_results_share_one_turn) { // RC-16
  constexpr std::size_t jobs = 200;
  std::vector<state> states(jobs);
  std::atomic<int> failed{0};
  troupe::executor e{1};
  for (std::size_t i = 0; i < jobs; ++i)
    e.submit([&, i] {
      if (i + 1 < jobs && !states[i + 1].wait(in(60s)))
        ++failed;
      states[i].set_value(value("x"));
    });
  BOOST_TEST(states[0].wait(in(60s)));
  BOOST_TEST(failed == 0);
}

namespace {

// Says when it ends, and whether its state was ready then.
struct ending final : troupe::detail::until_ready {
  ending(state* of, std::vector<bool>& seen) : of_(of), seen_(seen) {}
  ~ending() override { seen_.push_back(of_ != nullptr && of_->ready()); }

private:
  state* of_;
  std::vector<bool>& seen_;
};

} // namespace

// WP-06
BOOST_AUTO_TEST_CASE(what_is_held_until_it_is_ready_ends_before_anybody_can_see_that_it_is) {
  const std::vector<std::function<void(state&)>> ways{[](state& s) { s.set_value(value("x")); },
                                                      [](state& s) { s.set_error(failure("x")); }, [](state& s) { s.set_elsewhere(); },
                                                      [](state& s) { s.set_kept({}); }};
  for (auto& way : ways) {
    std::vector<bool> ends;
    state s;
    s.hold_until_ready(std::make_unique<ending>(&s, ends));
    BOOST_TEST(ends.empty());
    way(s);
    BOOST_TEST(s.ready());
    BOOST_TEST((ends == std::vector<bool>{false}));
    s.set_value(value("y"));
    BOOST_TEST(ends.size() == 1u);
  }
}

BOOST_AUTO_TEST_CASE(what_is_held_until_it_is_ready_ends_with_a_state_that_never_is) {
  std::vector<bool> ends;
  {
    state s;
    s.hold_until_ready(std::make_unique<ending>(nullptr, ends));
  }
  BOOST_TEST(ends.size() == 1u);
}

BOOST_AUTO_TEST_CASE(what_is_held_until_it_is_ready_ends_once_however_many_set_the_state) {
  for (int i = 0; i < 200; ++i) {
    std::vector<bool> ends;
    state s;
    s.hold_until_ready(std::make_unique<ending>(nullptr, ends));
    std::atomic<bool> go{false};
    const auto set = [&](const auto& f) {
      while (!go)
        std::this_thread::yield();
      f();
    };
    std::jthread a{[&] { set([&] { s.set_value(value("x")); }); }};
    std::jthread b{[&] { set([&] { s.set_error(failure("x")); }); }};
    go = true;
    a.join();
    b.join();
    BOOST_REQUIRE(ends.size() == 1u);
  }
}
