#define BOOST_TEST_MODULE call_options
#include <boost/test/unit_test.hpp>

#include "troupe/actors/call_options.hpp"

#include <atomic>
#include <thread>
#include <vector>

using troupe::cancel_token;

BOOST_AUTO_TEST_CASE(a_token_is_cancelled_once_and_with_it_its_copies) {
  const cancel_token token;
  const auto copy = token;
  int calls = 0;
  token.state()->add([&] { ++calls; });
  BOOST_TEST(!copy.cancelled());
  copy.cancel();
  token.cancel();
  BOOST_TEST(token.cancelled());
  BOOST_TEST(calls == 1);
  BOOST_TEST(token.state()->size() == 0u);
  BOOST_TEST(!cancel_token{}.cancelled());
}

BOOST_AUTO_TEST_CASE(what_is_added_to_a_cancelled_token_runs_at_once) {
  const cancel_token token;
  token.cancel();
  int calls = 0;
  BOOST_TEST(token.state()->add([&] { ++calls; }) == 0u);
  BOOST_TEST(calls == 1);
  BOOST_TEST(token.state()->size() == 0u);
}

BOOST_AUTO_TEST_CASE(what_was_removed_does_not_run) {
  const cancel_token token;
  int calls = 0;
  const auto first = token.state()->add([&] { calls += 1; });
  token.state()->add([&] { calls += 10; });
  token.state()->remove(first);
  token.state()->remove(first);
  token.cancel();
  BOOST_TEST(calls == 10);
}

BOOST_AUTO_TEST_CASE(each_runs_once_whenever_the_token_is_cancelled) {
  for (int round = 0; round < 200; ++round) {
    const cancel_token token;
    std::atomic<int> calls{0};
    std::thread adding{[&] {
      for (int i = 0; i < 100; ++i)
        token.state()->add([&] { ++calls; });
    }};
    if (round % 2 == 0)
      std::this_thread::yield();
    token.cancel();
    adding.join();
    BOOST_TEST(calls == 100);
  }
}
