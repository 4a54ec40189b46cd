#define BOOST_TEST_MODULE retry
#include <boost/test/unit_test.hpp>

#include "troupe/actors/retry.hpp"
#include "troupe/actors/task_control.hpp"
#include "troupe/actors/waiter.hpp"

#include <array>
#include <limits>
#include <list>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

using namespace std::chrono_literals;
using troupe::delay_sequence;
using troupe::exponential_backoff;
using troupe::retry;
using delays = std::vector<std::chrono::nanoseconds>;

namespace {

delays walked(const delay_sequence& from) {
  delays out;
  auto walk = from.walk();
  while (auto d = walk())
    out.push_back(*d);
  BOOST_TEST(!walk().has_value()); // and stays at its end
  return out;
}

delays walked(const exponential_backoff& b) { return {b.begin(), b.end()}; }

// Fails so many times, then returns which call it was.
struct fails {
  int times;
  int calls = 0;

  int operator()() {
    if (++calls <= times)
      throw std::out_of_range("call " + std::to_string(calls));
    return calls;
  }
};

// Only some of a range's numbers: begin() isn't const, as in a filter.
struct odd_milliseconds {
  int last;

  struct iterator {
    int at;
    std::chrono::milliseconds operator*() const { return std::chrono::milliseconds{at}; }
    void operator++() { at += 2; }
    bool operator!=(int end) const { return at <= end; }
  };
  iterator begin() { return {1}; }
  int end() { return last; }
};

} // namespace

// RY-01
BOOST_AUTO_TEST_CASE(delays_grow_by_the_factor_up_to_the_longest) {
  const auto some = walked(exponential_backoff{.n = 5, .jitter = 0});
  BOOST_TEST((some == delays{50ms, 250ms, 1250ms, 6250ms, 10s}));
  BOOST_TEST((walked(exponential_backoff{.n = 3, .first = 1min, .max = 2s, .factor = 3, .jitter = 0.1})[0] == 2s));
  BOOST_TEST((walked(exponential_backoff{.n = 3, .first = 1us, .max = 1h, .factor = 0.5, .jitter = 0}) == delays{1us, 500ns, 250ns}));
  BOOST_TEST((walked(exponential_backoff{}) == delays{50ms}));
  BOOST_TEST(walked(exponential_backoff{0}).empty());
  const auto forever = walked(exponential_backoff{.n = 3, .first = 1h, .max = exponential_backoff::seconds{1e300}, .factor = 1e200});
  BOOST_TEST((forever[2] > std::chrono::years{100})); // and not less than nothing
}

// RY-01
BOOST_AUTO_TEST_CASE(each_walk_draws_its_own_jitter_within_the_limits) {
  const exponential_backoff b{.n = 2, .first = 1s, .max = 1h, .factor = 10, .jitter = 0.1};
  std::set<std::chrono::nanoseconds> seen;
  for (int i = 0; i < 200; ++i) {
    const auto d = walked(b);
    BOOST_REQUIRE(d.size() == 2u);
    BOOST_TEST((d[0] == 1s));
    BOOST_TEST((d[1] >= 9s && d[1] <= 11s));
    seen.insert(d[1]);
  }
  BOOST_TEST(seen.size() > 190u);
  BOOST_TEST((*seen.begin() < 9500ms && *seen.rbegin() > 10500ms)); // of 200, 1 in 10^25 runs would have none
  const auto walk = b.begin();
  auto once = walk, again = walk;
  BOOST_TEST((*++once == *++again));
}

// RY-02
BOOST_AUTO_TEST_CASE(what_is_negative_or_not_a_number_is_refused_when_it_is_walked) {
  const auto nan = std::numeric_limits<double>::quiet_NaN();
  using seconds = exponential_backoff::seconds;
  for (auto& [wrong, named] : std::vector<std::pair<exponential_backoff, std::string>>{{{.n = -1}, "n is -1"},
                                                                                       {{.first = -1ms}, "first"},
                                                                                       {{.max = -1ms}, "max"},
                                                                                       {{.factor = -1}, "factor is -1"},
                                                                                       {{.jitter = -0.1}, "jitter is -0.1"},
                                                                                       {{.first = seconds{nan}}, "first"},
                                                                                       {{.max = seconds{nan}}, "max"},
                                                                                       {{.factor = nan}, "factor is nan"},
                                                                                       {{.jitter = nan}, "jitter is nan"}}) {
    const auto says = [named = named](const troupe::usage_error& e) { return std::string{e.what()}.find(named) != std::string::npos; };
    BOOST_CHECK_EXCEPTION(wrong.begin(), troupe::usage_error, says);
    fails f{0};
    BOOST_CHECK_EXCEPTION(retry(f, wrong), troupe::usage_error, says);
    BOOST_TEST(f.calls == 0);
  }
}

BOOST_AUTO_TEST_CASE(any_range_of_durations_is_a_sequence_of_delays) {
  BOOST_TEST((walked(delay_sequence{std::vector{1ms, 2ms}}) == delays{1ms, 2ms}));
  BOOST_TEST((walked(delay_sequence{std::array{1s, 2s}}) == delays{1s, 2s}));
  BOOST_TEST((walked(delay_sequence{std::list<std::chrono::duration<double>>{exponential_backoff::seconds{0.25}}}) == delays{250ms}));
  BOOST_TEST((walked(delay_sequence{odd_milliseconds{5}}) == delays{1ms, 3ms, 5ms}));
  BOOST_TEST((walked(delay_sequence{1ms, 2s}) == delays{1ms, 2s}));
  const std::chrono::milliseconds array[] = {1ms, 2ms};
  BOOST_TEST((walked(delay_sequence{array}) == delays{1ms, 2ms}));
  delay_sequence copy = std::vector<std::chrono::milliseconds>{};
  {
    const auto il = {1ms, 2ms};
    const delay_sequence original{il};
    copy = original;
  }
  auto first = copy.walk(), second = copy.walk();
  BOOST_TEST((first() == 1ms));
  BOOST_TEST((first() == 2ms));
  BOOST_TEST((second() == 1ms));
  BOOST_CHECK_THROW(delay_sequence{std::vector{-1ms}}.walk()(), troupe::usage_error);
  BOOST_CHECK_THROW(delay_sequence{std::vector{exponential_backoff::seconds{std::numeric_limits<double>::quiet_NaN()}}}.walk()(),
                    troupe::usage_error);
}

// RY-03
BOOST_AUTO_TEST_CASE(a_call_is_repeated_until_it_succeeds_with_a_delay_before_each_retry) {
  const auto begin = std::chrono::steady_clock::now();
  BOOST_TEST(retry(fails{0}, std::vector{1h}) == 1);
  BOOST_TEST(retry(fails{2}, {10ms, 30ms, 1h}) == 3);
  BOOST_TEST(((std::chrono::steady_clock::now() - begin) >= 40ms));
  BOOST_TEST(((std::chrono::steady_clock::now() - begin) < 1h));
  BOOST_TEST(retry(fails{1}) == 2); // one retry
  fails once{1};
  BOOST_TEST(retry(once, {1ms}) == 2);
  BOOST_TEST(once.calls == 2); // it is called, not a copy
  int calls = 0;
  retry([&] { ++calls; }); // nothing is returned
  BOOST_TEST(calls == 1);
}

// RY-03
BOOST_AUTO_TEST_CASE(the_error_of_the_last_call_is_thrown) {
  fails f{100};
  BOOST_CHECK_EXCEPTION(retry(f, exponential_backoff{.n = 3, .first = 1ms, .factor = 1}), std::out_of_range,
                        [](const std::out_of_range& e) { return e.what() == std::string{"call 4"}; });
  BOOST_TEST(f.calls == 4);
}

// RY-04
BOOST_AUTO_TEST_CASE(a_check_that_says_no_ends_it) {
  fails f{100};
  std::vector<std::string> seen;
  const auto check = [&](const troupe::error& e, int tries) {
    seen.push_back(e.type_name() + " '" + e.message() + "' " + std::to_string(tries));
    return tries < 2;
  };
  BOOST_CHECK_THROW(retry(f, std::vector(5, 1ms), check), std::out_of_range);
  BOOST_TEST(f.calls == 2);
  BOOST_TEST((seen == std::vector<std::string>{"std::out_of_range 'call 1' 1", "std::out_of_range 'call 2' 2"}));

  f.calls = 0;
  BOOST_CHECK_THROW(retry(f, std::vector(5, 1ms), [](const troupe::error&) { return false; }), std::out_of_range);
  BOOST_TEST(f.calls == 1);
  const auto throwing = [](const troupe::error&) -> bool { throw std::logic_error("of the check"); };
  BOOST_CHECK_THROW(retry(f, std::vector(5, 1ms), throwing), std::logic_error);
}

// RY-04
BOOST_AUTO_TEST_CASE(a_check_sees_errors_of_troupe_as_they_are_and_all_others_as_remote_errors) {
  bool exited = false, remote = false;
  const auto fail_as = [](auto e, auto check) {
    try {
      retry([&] { throw e; }, {0ms}, check);
    } catch (...) {
    }
  };
  fail_as(troupe::process_exited{troupe::make_error_info(troupe::error_kind::process_exited, "gone", 3)}, [&](const troupe::error& e) {
    exited = dynamic_cast<const troupe::process_exited*>(&e) != nullptr && e.pid() == 3;
    return true;
  });
  fail_as(42, [&](const troupe::error& e) {
    remote = dynamic_cast<const troupe::remote_error*>(&e) != nullptr && e.type_name() == "int";
    return true;
  });
  BOOST_TEST(exited);
  BOOST_TEST(remote);
}

// RY-05
BOOST_AUTO_TEST_CASE(without_delays_there_is_one_call_and_no_check) {
  fails f{100};
  bool asked = false;
  BOOST_CHECK_THROW(retry(f, delays{}, [&](const troupe::error&) { return asked = true; }), std::out_of_range);
  BOOST_TEST(f.calls == 1);
  BOOST_TEST(!asked);
}

BOOST_AUTO_TEST_CASE(what_was_interrupted_or_cancelled_is_not_retried) {
  using troupe::error_kind;
  for (auto kind : {error_kind::interrupted, error_kind::cancelled}) {
    int calls = 0;
    const auto f = [&] {
      ++calls;
      troupe::throw_error(troupe::make_error_info(kind, "enough"));
    };
    BOOST_CHECK_EXCEPTION(retry(f, std::vector(3, 0ms)), troupe::error, [&](const troupe::error& e) { return e.kind() == kind; });
    BOOST_TEST(calls == 1);
  }
  int calls = 0; // a deadline of a call inside of it is an error like others
  BOOST_CHECK_THROW(
    retry([&] { ++calls, troupe::throw_error(troupe::make_error_info(error_kind::deadline_exceeded, "late")); }, std::vector(3, 0ms)),
    troupe::deadline_exceeded);
  BOOST_TEST(calls == 4);
}

BOOST_AUTO_TEST_CASE(a_task_that_is_to_stop_does_not_try_again) {
  troupe::task_control::task task{{}};
  fails f{100};
  const auto told = [&] {
    task.control().tell(troupe::make_error_info(troupe::error_kind::deadline_exceeded, "late"));
    return f();
  };
  BOOST_CHECK_THROW(retry(told, std::vector(3, 1h)), std::out_of_range);
  BOOST_TEST(f.calls == 1);
}

BOOST_AUTO_TEST_CASE(a_delay_can_be_interrupted) {
  fails f{100};
  const auto told_while_it_is_checked = [](const troupe::error&) {
    troupe::waiter::of_this_thread().interrupt("by hand");
    return true;
  };
  BOOST_CHECK_THROW(retry(f, std::vector(3, 1h), told_while_it_is_checked), troupe::interrupted);
  BOOST_TEST(f.calls == 1);
}
