#define BOOST_TEST_MODULE stoppable_calls
#include <boost/test/unit_test.hpp>

#include "actors/waiting.hpp"

#include "troupe/actors/stoppable_calls.hpp"

#include <atomic>
#include <list>
#include <memory>
#include <string>
#include <thread>
#include <vector>

using troupe::stoppable_calls;
using troupe::task_control;

namespace {

const auto why = troupe::make_error_info(troupe::error_kind::cancelled, "enough");

task_control::client call(troupe::proc_id from, std::uint64_t number) {
  task_control::client c;
  c.from = from;
  c.number = number;
  return c;
}

struct fixture {
  stoppable_calls table = {};
  std::vector<const stoppable_calls::entry*> taken = {}; // out of the queue

  bool stop(troupe::proc_id from, std::uint64_t number) {
    const auto found = [this](auto& e, bool queued) {
      if (queued)
        taken.push_back(&e);
    };
    return table.stop(from, number, why, found).has_value();
  }
};

} // namespace

BOOST_FIXTURE_TEST_CASE(a_call_that_is_queued_is_taken_out_and_never_begins, fixture) {
  stoppable_calls::entry a{call(2, 7)}, b{call(2, 8)}, c{call(3, 7)};
  for (auto e : {&a, &b, &c})
    table.add(*e);
  BOOST_TEST(table.size() == 3u);
  BOOST_TEST(!stop(2, 7));
  BOOST_TEST((taken == std::vector<const stoppable_calls::entry*>{&a}));
  BOOST_TEST(table.size() == 2u);
  BOOST_TEST(!stop(2, 7)); // it isn't there any more
  BOOST_TEST(taken.size() == 1u);
  task_control::task t{a.client};
  BOOST_TEST(!table.begin(a, t.control()));
  BOOST_TEST(!t.control().told());
  for (auto e : {&a, &b, &c})
    table.remove(*e);
  BOOST_TEST(table.size() == 0u);
}

BOOST_FIXTURE_TEST_CASE(a_call_that_runs_is_told, fixture) {
  stoppable_calls::entry e{call(2, 7)};
  table.add(e);
  task_control::task t{e.client};
  BOOST_TEST(table.begin(e, t.control()));
  BOOST_TEST(stop(2, 7));
  BOOST_TEST(!stop(2, 7));
  BOOST_TEST(taken.empty());
  BOOST_CHECK_THROW(task_control::check(), troupe::cancelled);
  table.remove(e);
  BOOST_TEST(table.size() == 0u);
}

BOOST_FIXTURE_TEST_CASE(a_call_that_is_not_there_is_left_alone, fixture) {
  stoppable_calls::entry e{call(2, 7)};
  table.add(e);
  BOOST_TEST(!stop(2, 8));
  BOOST_TEST(!stop(3, 7));
  BOOST_TEST(!stop(2, 7 + 8192)); // of the same bucket
  task_control::task t{e.client};
  BOOST_TEST(table.begin(e, t.control()));
  table.remove(e);
  BOOST_TEST(!stop(2, 7));
  BOOST_TEST(!t.control().told());
  BOOST_TEST(taken.empty());
}

BOOST_FIXTURE_TEST_CASE(calls_of_one_bucket_come_and_go_in_any_order, fixture) {
  std::list<stoppable_calls::entry> all;
  for (std::uint64_t i = 1; i <= 30; ++i)
    table.add(all.emplace_back(call(2, i * 8192)));
  std::size_t left = 30;
  for (auto& e : all)
    if (e.client.number % 3 == 0) {
      table.remove(e);
      BOOST_TEST(table.size() == --left);
    }
  for (std::uint64_t i = 1; i <= 30; ++i)
    stop(2, i * 8192);
  BOOST_TEST(taken.size() == 20u);
  BOOST_TEST(table.size() == 0u);
}

// Either it never runs, or its task is told, or it had ended.
BOOST_AUTO_TEST_CASE(a_call_that_is_stopped_at_any_time_ends_once) {
  constexpr std::uint64_t calls = 20'000;
  stoppable_calls table;
  std::atomic<std::uint64_t> added{0};
  int dropped = 0, ran = 0;
  std::atomic<int> stopped_queued{0};
  std::thread stopping{[&] {
    for (std::uint64_t i = 1; i <= calls; ++i) {
      while (added < i)
        std::this_thread::yield();
      table.stop(2, i, why, [&](auto&, bool queued) { stopped_queued += queued; });
    }
  }};
  for (std::uint64_t i = 1; i <= calls; ++i) {
    auto e = std::make_unique<stoppable_calls::entry>(call(2, i));
    table.add(*e);
    added = i;
    if (i % 2 == 0)
      std::this_thread::yield();
    task_control::task t{e->client};
    const bool runs = table.begin(*e, t.control());
    (runs ? ran : dropped) += 1;
    table.remove(*e);
  }
  stopping.join();
  BOOST_TEST(dropped == stopped_queued);
  BOOST_TEST(static_cast<std::uint64_t>(dropped + ran) == calls);
  BOOST_TEST(table.size() == 0u);
}
