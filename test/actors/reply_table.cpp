#define BOOST_TEST_MODULE reply_table
#include <boost/test/unit_test.hpp>

#include "troupe/actors/reply_table.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <set>
#include <thread>
#include <unordered_set>
#include <vector>

using troupe::reply_table;
using entry = reply_table::entry;

namespace {

entry make_entry() { return std::make_shared<troupe::detail::future_state>(); }

troupe::error_info lost(troupe::proc_id id) { return troupe::make_error_info(troupe::error_kind::process_exited, "lost", id); }

bool failed(const entry& e) {
  if (!e->ready())
    return false;
  try {
    e->throw_if_failed();
    return false;
  } catch (const troupe::process_exited&) {
    return true;
  }
}

} // namespace

BOOST_AUTO_TEST_CASE(an_answer_finds_its_call) {
  reply_table t;
  auto a = make_entry(), b = make_entry();
  auto na = t.add(2, a), nb = t.add(3, b);
  BOOST_TEST(na != nb);
  BOOST_TEST(na != 0u);
  BOOST_TEST(nb != 0u);
  BOOST_TEST(t.size() == 2u);
  BOOST_TEST(t.take(nb) == b);
  BOOST_TEST(t.take(na) == a);
  BOOST_TEST(t.size() == 0u);
}

BOOST_AUTO_TEST_CASE(an_answer_that_comes_twice_or_too_late_finds_nothing) { // RC-26
  reply_table t;
  auto a = make_entry();
  auto n = t.add(2, a);
  BOOST_TEST(t.take(n) == a);
  BOOST_TEST(t.take(n) == nullptr);
  auto b = make_entry();
  auto next = t.add(2, b); // where the first one was
  BOOST_TEST(t.take(n) == nullptr);
  BOOST_TEST(t.take(next) == b);
}

BOOST_AUTO_TEST_CASE(a_number_that_was_never_given_finds_nothing) {
  reply_table t;
  BOOST_TEST(t.take(0) == nullptr);
  auto a = make_entry();
  auto n = t.add(2, a);
  for (auto wrong :
       {std::uint64_t{0}, std::uint64_t{1}, ~std::uint64_t{0}, n + 1, n + (std::uint64_t{1} << 32), n ^ (std::uint64_t{1} << 63)})
    BOOST_TEST(t.take(wrong) == nullptr);
  BOOST_TEST(t.size() == 1u);
  BOOST_TEST(t.take(n) == a);
}

BOOST_AUTO_TEST_CASE(the_table_keeps_nothing_of_a_call_that_has_ended) {
  reply_table t;
  auto a = make_entry(), b = make_entry();
  t.take(t.add(2, a));
  t.add(2, b);
  t.fail_all(2, lost(2));
  BOOST_TEST(a.use_count() == 1);
  BOOST_TEST(b.use_count() == 1);
}

BOOST_AUTO_TEST_CASE(numbers_are_not_given_again) {
  reply_table t;
  std::unordered_set<std::uint64_t> seen;
  for (int i = 0; i < 100000; ++i) {
    auto n = t.add(2, make_entry());
    BOOST_REQUIRE(n != 0u);
    BOOST_REQUIRE(seen.insert(n).second);
    if (i % 3 != 0)
      t.take(n);
    if (i % 1000 == 0)
      t.fail_all(2, lost(2));
  }
}

BOOST_AUTO_TEST_CASE(the_loss_of_a_process_ends_the_calls_to_it_and_no_others) { // FU-14
  reply_table t;
  std::vector<entry> to_two, to_three;
  std::vector<std::uint64_t> numbers;
  for (int i = 0; i < 100; ++i) {
    to_two.push_back(make_entry());
    to_three.push_back(make_entry());
    numbers.push_back(t.add(2, to_two.back()));
    t.add(3, to_three.back());
  }
  BOOST_TEST(t.take(numbers[50]) == to_two[50]);
  t.fail_all(2, lost(2));
  for (std::size_t i = 0; i < 100; ++i) {
    BOOST_TEST(failed(to_two[i]) == (i != 50));
    BOOST_TEST(!to_three[i]->ready());
    BOOST_TEST(t.take(numbers[i]) == nullptr);
  }
  BOOST_TEST(t.size() == 100u);
  t.fail_all(2, lost(2));
  t.fail_all(9, lost(9));
  BOOST_TEST(t.size() == 100u);
}

BOOST_AUTO_TEST_CASE(who_is_woken_by_a_loss_may_call_again) {
  reply_table t;
  auto a = make_entry();
  t.add(2, a);
  std::thread waiting{[&] {
    a->wait(std::chrono::steady_clock::now() + std::chrono::seconds{60});
    t.add(2, make_entry());
  }};
  t.fail_all(2, lost(2));
  waiting.join();
  BOOST_TEST(t.size() == 1u);
}

BOOST_AUTO_TEST_CASE(threads_share_it_without_mixing_their_calls) { // RC-12
  constexpr int threads = 8, each = 3000;
  reply_table t;
  std::atomic<int> wrong{0};
  std::mutex mutex;
  std::set<std::uint64_t> all;
  std::vector<std::thread> callers;
  for (int i = 0; i < threads; ++i)
    callers.emplace_back([&, i] {
      std::vector<std::pair<std::uint64_t, entry>> open;
      std::vector<std::uint64_t> given;
      for (int k = 0; k < each; ++k) {
        auto e = make_entry();
        open.emplace_back(t.add(i + 2, e), e);
        given.push_back(open.back().first);
        if (k % 3 == 2) {
          auto [n, own] = open[open.size() / 2];
          open.erase(open.begin() + static_cast<std::ptrdiff_t>(open.size() / 2));
          if (t.take(n) != own)
            ++wrong;
        }
      }
      for (auto& [n, own] : open)
        if (t.take(n) != own || t.take(n))
          ++wrong;
      std::lock_guard guard{mutex};
      all.insert(given.begin(), given.end());
    });
  for (auto& c : callers)
    c.join();
  BOOST_TEST(wrong == 0);
  BOOST_TEST(all.size() == static_cast<std::size_t>(threads * each));
  BOOST_TEST(t.size() == 0u);
}

BOOST_AUTO_TEST_CASE(a_call_that_is_answered_while_its_process_is_lost_ends_once) {
  for (int round = 0; round < 300; ++round) {
    reply_table t;
    std::vector<entry> entries;
    std::vector<std::uint64_t> numbers;
    for (int i = 0; i < 20; ++i) {
      entries.push_back(make_entry());
      numbers.push_back(t.add(2, entries.back()));
    }
    std::atomic<int> answered{0};
    std::thread answers{[&] {
      for (auto n : numbers)
        if (auto e = t.take(n))
          answered += e->set_value({});
    }};
    t.fail_all(2, lost(2));
    answers.join();
    auto lost_ones = std::count_if(entries.begin(), entries.end(), failed);
    BOOST_REQUIRE(std::all_of(entries.begin(), entries.end(), [](auto& e) { return e->ready(); }));
    BOOST_REQUIRE(lost_ones + answered == 20);
    BOOST_REQUIRE(t.size() == 0u);
  }
}
