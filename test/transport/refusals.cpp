#define BOOST_TEST_MODULE refusals
#include <boost/test/unit_test.hpp>

#include "transport/encoding.hpp"

#include "troupe/transport/refusals.hpp"

#include <chrono>
#include <string>

using namespace std::chrono_literals;
using namespace std::string_literals;
using test::contains;
using troupe::refusal;
using troupe::refusal_log;
using troupe::refusal_reason;

namespace {

refusal example(refusal_reason why = refusal_reason::junk, const std::string& address = "127.0.0.1") {
  return {why, address, address + ":4242: the peer did something"};
}

// A log of the given number of lines in ten seconds, and the time as the test has it.
struct scene {
  refusal_log log{{.lines = 2, .interval = 10s}};
  refusal_log::clock::time_point now{1h};

  // How many lines so many refusals make.
  int add(int n, const refusal& r = example()) {
    int lines = 0;
    for (int i = 0; i < n; ++i)
      lines += log.add(r, now).has_value();
    return lines;
  }
};

} // namespace

BOOST_AUTO_TEST_CASE(the_first_few_are_told_one_by_one) {
  scene s;
  BOOST_TEST(s.log.add(example(), s.now).value() == "a connection was refused: 127.0.0.1:4242: the peer did something");
  BOOST_TEST(s.add(1) == 1);
  BOOST_TEST(!s.log.due());
  BOOST_TEST(!s.log.take(s.now));
}

BOOST_AUTO_TEST_CASE(a_flood_makes_one_line_for_each_interval) {
  scene s;
  int lines = 0;
  for (int second = 0; second < 60; ++second, s.now += 1s) {
    if (auto due = s.log.due(); due && *due <= s.now)
      lines += s.log.take(s.now).has_value();
    lines += s.add(10'000);
  }
  BOOST_TEST(lines == 2 + 5); // the end of the sixth interval is still to come
  BOOST_TEST(contains(s.log.take(s.now).value(), "100000 more connections were refused: "));
  BOOST_TEST(!s.log.take(s.now));
}

BOOST_AUTO_TEST_CASE(a_summary_counts_by_reason_and_by_address_the_most_frequent_first) {
  scene s;
  s.add(2);
  s.add(3, example(refusal_reason::left, "10.0.0.7"));
  s.add(5, example(refusal_reason::cookie, "[::1]"));
  s.add(1, example(refusal_reason::left, "[::1]"));
  BOOST_TEST(s.log.take(s.now + 10s).value()
             == "9 more connections were refused: 5 don't know the cookie, 4 hung up early; 6 from [::1], 3 from 10.0.0.7");
}

BOOST_AUTO_TEST_CASE(a_line_stays_short_however_many_addresses_knock) {
  scene s;
  s.add(2);
  s.add(7, example(refusal_reason::junk, "10.1.1.1"));
  for (int i = 0; i < 100'000; ++i)
    s.log.add(example(refusal_reason::junk, "10.0." + std::to_string(i / 256) + "." + std::to_string(i % 256)), s.now);
  const auto line = s.log.take(s.now + 10s).value();
  BOOST_TEST(line.size() < 250u);
  BOOST_TEST(contains(line, "100007 more connections were refused: 100007 sent junk; 7 from 10.1.1.1, "), line);
  BOOST_TEST(contains(line, ", 99998 from other addresses"), line);
}

BOOST_AUTO_TEST_CASE(the_summary_is_due_at_the_end_of_the_interval) {
  scene s;
  const auto begin = s.now;
  s.add(2);
  s.now += 4s;
  s.add(1);
  BOOST_TEST((s.log.due() == begin + 10s));
  s.log.take(begin + 10s);
  BOOST_TEST(!s.log.due());
}

BOOST_AUTO_TEST_CASE(single_lines_come_back_after_a_quiet_interval) {
  scene s;
  s.add(3);
  s.now += 10s;
  s.log.take(s.now);
  s.now += 9s;
  BOOST_TEST(s.add(1) == 0); // the interval after one with a summary is not quiet yet
  s.now += 1s;
  s.log.take(s.now);
  s.now += 10s;
  BOOST_TEST(s.add(3) == 2);
}

BOOST_AUTO_TEST_CASE(every_reason_has_words_of_its_own) {
  scene s;
  s.add(2);
  std::string all;
  for (int i = 0; i <= static_cast<int>(refusal_reason::trouble); ++i) {
    const auto words = "|"s + std::string{to_string(static_cast<refusal_reason>(i))} + "|";
    BOOST_TEST(words.size() > 6u);
    BOOST_TEST(!contains(all, words), words);
    all += words;
  }
}
