#define BOOST_TEST_MODULE loops
#include "system/harness.hpp"

#include <array>
#include <atomic>
#include <list>
#include <numeric>
#include <set>

using troupe::future;
using troupe::loop_options;
using troupe::remote_error;

namespace {

using ints = std::vector<int>;
using doubles = std::vector<double>;

ints concatenated(ints a, const ints& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

ints ids_of_share(int) { return {here().myid()}; }

doubles ones(int) { return doubles(1'250'000, 1.0); }
doubles sum_of(doubles a, const doubles& b) {
  for (std::size_t i = 0; i < a.size(); ++i)
    a[i] += b[i];
  return a;
}

// How many times an operator was applied.
struct counted {
  int value = 0;
  int applied = 0;
};
counted count(counted a, counted b) { return {a.value + b.value, a.applied + b.applied + 1}; }

int slow_process = 0;
void be_slow(int id) { slow_process = id; }

void die() { ::_exit(9); }

std::uint64_t bytes_received() { return here().statistics().front().bytes_received; }

// A range that can be walked only once.
struct numbers_in {
  std::istream& in;
  auto begin() const { return std::istream_iterator<int>{in}; }
  auto end() const { return std::istream_iterator<int>{}; }
};

std::atomic<int> begun{0};
int begun_on(proc_id id) {
  return here().remotecall_fetch(id, troupe::direct([] { return begun.load(); }));
}

} // namespace

// DF-01, DF-16
BOOST_AUTO_TEST_CASE(a_reduction_is_the_sum_with_workers_and_without) {
  const auto check = [] {
    BOOST_TEST(here().distributed_reduce(1, 101, [](int) { return 1; }, std::plus<>{}) == 100);
    BOOST_TEST(here().distributed_reduce(1, 3, [](int i) { return i; }, std::plus<>{}) == 3);
    BOOST_TEST(here().distributed_reduce(1, 11, [](int i) { return i * i; }, std::plus<>{}) == 385);
  };
  check();
  workers w{3};
  check();
}

// DF-02, DF-03
BOOST_AUTO_TEST_CASE(share_k_goes_to_the_kth_worker_and_shares_differ_by_one) {
  workers w{4};
  const auto places = here().distributed_reduce(1, 8, troupe::fn<ids_of_share>, troupe::fn<concatenated>);
  BOOST_TEST(places == (ints{w[0], w[0], w[1], w[1], w[2], w[2], w[3]}));
  BOOST_TEST(here().distributed_reduce(0, 2, troupe::fn<ids_of_share>, troupe::fn<concatenated>) == (ints{w[0], w[1]}));
  BOOST_TEST(here().distributed_reduce(loop_options{.workers = {w[2], 1}}, 0, 3, troupe::fn<ids_of_share>, troupe::fn<concatenated>)
             == (ints{w[2], w[2], 1}));
}

// DF-04
BOOST_AUTO_TEST_CASE(an_operator_that_does_not_commute_gives_what_one_process_would) {
  workers w{3};
  const auto text = [](int i) { return std::to_string(i); };
  BOOST_TEST(here().distributed_reduce(1, 11, text, std::plus<>{}) == "12345678910");
  BOOST_TEST(here().distributed_reduce(1, 11, text, std::plus<>{}, std::string{">"}) == ">12345678910");
  std::string all;
  for (int i = 0; i < 1000; ++i)
    all += std::to_string(i);
  for (int chunk : {1, 7, 999, 5000})
    BOOST_TEST(here().distributed_reduce(loop_options{.chunk = chunk}, 0, 1000, text, std::plus<>{}) == all);
}

// DF-05
BOOST_AUTO_TEST_CASE(the_operator_is_applied_once_less_than_there_are_values) {
  workers w{3};
  for (int chunk : {0, 1, 3})
    for (int n : {1, 2, 3, 10, 100}) {
      const auto c = here().distributed_reduce(loop_options{.chunk = chunk}, 0, n, [](int) { return counted{1, 0}; }, troupe::fn<count>);
      BOOST_TEST(c.value == n);
      BOOST_TEST(c.applied == n - 1);
    }
}

// DF-06
BOOST_AUTO_TEST_CASE(nothing_gives_the_initial_value_or_an_error) {
  workers w{2};
  BOOST_TEST(here().distributed_reduce(0, 0, [](int i) { return i; }, std::plus<>{}, 42) == 42);
  BOOST_TEST(here().distributed_reduce(5, 0, [](int i) { return i; }, std::plus<>{}, 0.5) == 0.5);
  BOOST_TEST(here().distributed_reduce(0, 3, [](int i) { return i; }, std::plus<>{}, 0.5) == 3.5);
  BOOST_CHECK_THROW(here().distributed_reduce(0, 0, [](int i) { return i; }, std::plus<>{}), troupe::empty_range);
  BOOST_CHECK_THROW(here().distributed_reduce(ints{}, [](int i) { return i; }, std::plus<>{}), troupe::empty_range);
  here().distributed_for(0, 0, [](int) { throw std::runtime_error{"called"}; }).wait();
}

// DF-07
BOOST_AUTO_TEST_CASE(without_an_operator_a_loop_returns_at_once) {
  workers w{2};
  const auto nap = [](int) { troupe::this_task::sleep_for(500ms); };
  future<void> f;
  BOOST_TEST((time_of([&] { f = here().distributed_for(0, 2, nap); }) < 400ms));
  BOOST_TEST((time_of([&] { f.wait(); }) < patience));
  BOOST_TEST((time_of([&] { here().sync([&] { here().distributed_for(0, 2, nap); }); }) >= 500ms));
}

// DF-08
BOOST_AUTO_TEST_CASE(shares_of_a_loop_without_operator_go_to_the_workers_in_turn) {
  workers w{3};
  const auto seen = troupe::remote_channel<std::pair<int, int>>::on(here(), 1, 16);
  const auto tell = [](troupe::remote_channel<std::pair<int, int>>& ch, int i) { ch.put(std::pair{i, here().myid()}); };
  const auto first = here().remotecall_fetch(troupe::any, [] { return here().myid(); });
  here().distributed_for(0, 3, troupe::with(seen, tell)).wait();
  std::map<int, int> where;
  for (int i = 0; i < 3; ++i)
    where.insert(seen.take());
  const auto at = std::find(w.ids().begin(), w.ids().end(), first) - w.ids().begin();
  for (int i = 0; i < 3; ++i)
    BOOST_TEST(where[i] == w[static_cast<std::size_t>(at + 1 + i) % 3]);
}

// DF-09
BOOST_AUTO_TEST_CASE(errors_of_a_loop_without_operator_are_thrown_or_printed) {
  workers w{4};
  const auto fail = [](int i) {
    if (i % 2 == 1)
      throw std::out_of_range{"at " + std::to_string(i)};
  };
  for (int chunk : {0, 2}) {
    const auto e = error_of<troupe::composite_error>([&] { here().distributed_for(loop_options{.chunk = chunk}, 0, 8, fail).wait(); });
    if (chunk == 0)
      BOOST_REQUIRE(e.errors().size() == 4u);
    for (std::size_t k = 0; k < e.errors().size(); ++k)
      BOOST_TEST(contains(e.errors()[k].message(), "at "));
    BOOST_TEST(e.errors()[0].message() == "at 1");
  }
  captured_stream err{2};
  here().distributed_for(0, 8, fail);
  BOOST_TEST(eventually([&] { return contains(err.text(), "nobody waits for failed"); }));
  BOOST_TEST(contains(err.text(), "std::out_of_range: at "));
  BOOST_TEST(contains(err.text(), "(and 3 other shares failed)"));
}

// DF-09
BOOST_AUTO_TEST_CASE(errors_that_somebody_has_seen_are_not_printed) {
  workers w{2};
  const auto fail = [](int) { throw std::runtime_error{"seen"}; };
  captured_stream err{2};
  BOOST_CHECK_THROW(here().distributed_for(0, 2, fail).wait(), troupe::composite_error);
  BOOST_CHECK_THROW(here().sync([&] { here().distributed_for(0, 2, fail); }), troupe::composite_error);
  {
    const auto f = here().distributed_for(0, 2, fail);
    BOOST_TEST(f.wait_for(patience));
    BOOST_TEST(err.text() == "");
  }
  BOOST_TEST(contains(err.text(), "nobody waits for failed")); // it was ready, but nobody had looked at it
}

// DF-10
BOOST_AUTO_TEST_CASE(a_body_that_fails_in_a_reduction_throws_at_the_caller) {
  workers w{3};
  const auto body = [](int i) {
    if (i >= 7)
      throw std::out_of_range{"at " + std::to_string(i)};
    return i;
  };
  const auto e = error_of<remote_error>([&] { here().distributed_reduce(0, 12, body, std::plus<>{}); });
  BOOST_TEST(e.message() == "at 7");
  BOOST_TEST(e.type_name() == "std::out_of_range");
  BOOST_TEST(e.pid() == w[1]);
  const auto bad_op = [](int a, int b) {
    if (a + b > 20)
      throw std::runtime_error{"too much"};
    return a + b;
  };
  BOOST_TEST(error_of<remote_error>([&] { here().distributed_reduce(0, 12, [](int i) { return i; }, bad_op); }).message() == "too much");
  BOOST_TEST(error_of<remote_error>([&] { here().distributed_reduce(0, 2, [](int) { return 9; }, bad_op, 5); }).message() == "too much");
}

// DF-10
BOOST_AUTO_TEST_CASE(the_shares_behind_one_that_failed_are_stopped) {
  workers w{3};
  const auto body = [](int i) {
    if (i == 0)
      throw std::runtime_error{"first"};
    troupe::this_task::sleep_for(40s);
    return i;
  };
  BOOST_TEST((
    time_of([&] { BOOST_TEST(error_of<remote_error>([&] { here().distributed_reduce(0, 3, body, std::plus<>{}); }).message() == "first"); })
    < patience));
  // and their workers are free
  BOOST_TEST((time_of([&] { here().everywhere([] {}); }) < patience));
}

// DF-11, DF-13
BOOST_AUTO_TEST_CASE(any_range_is_walked_once) {
  workers w{3};
  const auto same = [](int i) { return i; };
  BOOST_TEST(here().distributed_reduce(std::list<int>{1, 2, 3, 4, 5}, same, std::plus<>{}) == 15);
  BOOST_TEST(here().distributed_reduce(std::array<double, 3>{1, 2, 3}, [](double x) { return x; }, std::plus<>{}, 0.5) == 6.5);
  BOOST_TEST(
    here().distributed_reduce(std::set<std::string>{"a", "b", "c", "d"}, [](const std::string& x) { return x; }, std::plus<>{}) == "abcd");
  BOOST_TEST(here().distributed_reduce(std::vector<bool>{true, false, true}, [](bool b) { return b ? 1 : 0; }, std::plus<>{}) == 2);
  const ints large(100'000, 1);
  BOOST_TEST(here().distributed_reduce(large, same, std::plus<>{}) == 100'000);
  BOOST_TEST(here().distributed_reduce(loop_options{.chunk = 999}, large, same, std::plus<>{}) == 100'000);
  const auto pairs = troupe::product(ints{1, 2, 3}, ints{10, 20});
  BOOST_TEST(here().distributed_reduce(pairs, [](const std::pair<int, int>& p) { return p.first * p.second; }, std::plus<>{}) == 180);
  std::istringstream text{"1 2 3 4 5 6"};
  BOOST_TEST(here().distributed_reduce(numbers_in{text}, same, std::plus<>{}) == 21);
  const auto sum = troupe::remote_channel<int>::on(here(), 1, 100);
  for (int chunk : {0, 2})
    here()
      .distributed_for(loop_options{.chunk = chunk}, std::list<int>{1, 2, 3},
                       troupe::with(sum, [](troupe::remote_channel<int>& ch, int i) { ch.put(i); }))
      .wait();
  int all = 0;
  for (int x : sum.take_many(6))
    all += x;
  BOOST_TEST(all == 12);
}

// DF-12
BOOST_AUTO_TEST_CASE(integers_of_all_types_are_ends) {
  workers w{3};
  const auto check = []<class I>(I) {
    BOOST_TEST(here().distributed_reduce(I{1}, I{11}, [](I i) { return static_cast<int>(i); }, std::plus<>{}) == 55);
    constexpr auto most = std::numeric_limits<I>::max();
    BOOST_TEST(here().distributed_reduce(
                 static_cast<I>(most - 5), most, [](I i) { return static_cast<int>(std::numeric_limits<I>::max() - i); }, std::plus<>{})
               == 15);
  };
  check(std::int8_t{});
  check(std::uint8_t{});
  check(std::int16_t{});
  check(std::uint16_t{});
  check(std::int32_t{});
  check(std::uint32_t{});
  check(std::int64_t{});
  check(std::uint64_t{});
  const auto same = [](auto i) { return i; };
  BOOST_TEST(here().distributed_reduce(-1, 1, same, std::plus<>{}) == -1);
  BOOST_TEST(here().distributed_reduce(0, ints(5).size(), same, std::plus<>{}) == 10u);
  BOOST_CHECK_THROW(here().distributed_reduce(-1, ints(5).size(), same, std::plus<>{}), troupe::usage_error);
  constexpr auto least = std::numeric_limits<std::int64_t>::min();
  BOOST_TEST(here().distributed_reduce(
               least, least + 4, [](std::int64_t i) { return i - std::numeric_limits<std::int64_t>::min(); }, std::plus<>{})
             == 6);
}

// DF-14
BOOST_AUTO_TEST_CASE(what_a_body_captures_is_a_copy) {
  workers w{2};
  int x = 5;
  here().distributed_for(0, 4, [x](int) mutable { ++x; }).wait();
  ints zeros(3);
  here().distributed_for(0, 3, troupe::with(zeros, [](ints& xs, int i) { xs[static_cast<std::size_t>(i)] = 1; })).wait();
  BOOST_TEST(x == 5);
  BOOST_TEST(zeros == ints(3));
}

// DF-15
BOOST_AUTO_TEST_CASE(loops_nest_and_run_from_workers) {
  workers w{3};
  const auto inner = [](int) { return here().distributed_reduce(0, 4, [](int) { return 1; }, std::plus<>{}); };
  BOOST_TEST(here().distributed_reduce(0, 3, inner, std::plus<>{}) == 12);
  here().distributed_for(0, 3, [](int) { here().distributed_for(0, 4, [](int) {}).wait(); }).wait();
}

// DF-17
BOOST_AUTO_TEST_CASE(a_worker_that_dies_ends_a_reduction) {
  workers w{3};
  const auto body = [](int i) {
    if (i == 1)
      die();
    return i;
  };
  BOOST_TEST(error_of<troupe::process_exited>([&] { here().distributed_reduce(0, 3, body, std::plus<>{}); }).pid() == w[1]);
  const auto e = error_of<troupe::composite_error>([&] {
    here()
      .distributed_for(0, 2,
                       [](int i) {
                         if (i == 1)
                           die();
                       })
      .wait();
  });
  BOOST_TEST(e.errors().size() == 1u);
  BOOST_TEST((e.errors()[0].kind() == troupe::error_kind::process_exited));
}

// DF-18
BOOST_AUTO_TEST_CASE(shares_that_were_lost_with_a_worker_are_given_to_others) {
  for (int chunk : {0, 10}) {
    workers w{3};
    const auto victim = w[1];
    const auto body = [](proc_id victim, int i) {
      if (here().myid() == victim && i % 2 == 0)
        die();
      return i;
    };
    BOOST_TEST(here().distributed_reduce(loop_options{.resubmit = 2, .chunk = chunk}, 0, 100, troupe::with(victim, body), std::plus<>{})
               == 4950);
    // who is gone at the beginning costs nothing but one try
    BOOST_TEST(here().distributed_reduce(
                 loop_options{.resubmit = 1, .chunk = chunk, .workers = {victim, w[0]}}, 0, 100, [](int i) { return i; }, std::plus<>{})
               == 4950);
    BOOST_CHECK_THROW(here().distributed_reduce(
                        loop_options{.resubmit = 9, .chunk = chunk, .workers = {victim}}, 0, 100, [](int i) { return i; }, std::plus<>{}),
                      troupe::process_exited);
    const auto victim2 = w[2];
    here()
      .distributed_for(loop_options{.resubmit = 2, .chunk = chunk}, 0, 100,
                       troupe::with(victim2,
                                    [](proc_id victim, int) {
                                      if (here().myid() == victim)
                                        die();
                                    }))
      .wait();
    BOOST_CHECK_THROW(here()
                        .distributed_for(loop_options{.resubmit = 3, .chunk = chunk}, 0, 10,
                                         [](int) {
                                           if (here().myid() != 1)
                                             die();
                                         })
                        .wait(),
                      troupe::composite_error);
  }
}

// DF-19
BOOST_AUTO_TEST_CASE(with_small_shares_a_slow_worker_gets_less) {
  workers w{4};
  here().remotecall_wait<be_slow>(w[0], w[0]);
  const auto body = [](int) {
    troupe::this_task::sleep_for(slow_process != 0 ? 40ms : 4ms);
    return ints{here().myid()};
  };
  const auto who = here().distributed_reduce(loop_options{.chunk = 2}, 0, 400, body, troupe::fn<concatenated>);
  BOOST_REQUIRE(who.size() == 400u);
  // three times ten to one: 13 of 400 would be its fair part
  const auto slow = std::count(who.begin(), who.end(), w[0]);
  BOOST_TEST(slow > 0);
  BOOST_TEST(slow < 60);
}

// DF-20
BOOST_AUTO_TEST_CASE(large_partial_results_are_folded_on_the_workers) {
  workers w{8};
  const auto before = bytes_received();
  const auto sum = here().distributed_reduce(0, 8, troupe::fn<ones>, troupe::fn<sum_of>);
  const auto came = bytes_received() - before;
  BOOST_TEST(sum == doubles(1'250'000, 8.0));
  BOOST_TEST(came <= 2 * 10'000'000u);
  BOOST_TEST(eventually([&] {
    for (auto id : w.ids())
      if (!here().references(id).empty())
        return false;
    return true;
  }));
}

// DF-20
BOOST_AUTO_TEST_CASE(large_and_small_partial_results_are_folded_in_order) {
  workers w{5};
  const auto body = [](int i) { return ints(i % 2 == 0 ? 1u : 10'000u, i); };
  ints expected;
  for (int i = 0; i < 23; ++i)
    expected = concatenated(expected, ints(i % 2 == 0 ? 1u : 10'000u, i));
  BOOST_TEST((here().distributed_reduce(0, 23, body, troupe::fn<concatenated>) == expected));
  BOOST_TEST((here().distributed_reduce(loop_options{.chunk = 2}, 0, 23, body, troupe::fn<concatenated>) == expected));
  BOOST_TEST((here().distributed_reduce(0, 3, body, troupe::fn<concatenated>) == concatenated(concatenated(body(0), body(1)), body(2))));
}

BOOST_AUTO_TEST_CASE(a_deadline_and_a_token_end_loops_and_their_tasks) {
  workers w{2};
  const auto nap = [](int) {
    ++begun;
    troupe::this_task::sleep_for(40s);
    return 1;
  };
  const auto over = [&](int n) {
    return eventually([&] { return begun_on(w[0]) >= n; }) && time_of([&] { here().everywhere([] {}); }) < patience;
  };
  for (int chunk : {0, 1}) {
    BOOST_CHECK_THROW(here().distributed_reduce(loop_options{.chunk = chunk, .deadline = 100ms}, 0, 10, nap, std::plus<>{}),
                      troupe::deadline_exceeded);
    BOOST_CHECK_THROW(here().distributed_for(loop_options{.chunk = chunk, .deadline = 100ms}, 0, 10, nap).wait(),
                      troupe::deadline_exceeded);
    troupe::cancel_token token;
    const auto f = here().distributed_for(loop_options{.chunk = chunk, .token = token}, 0, 10, nap);
    token.cancel();
    BOOST_CHECK_THROW(f.wait(), troupe::cancelled);
    const auto n = begun_on(w[0]);
    const auto g = here().distributed_for(loop_options{.chunk = chunk}, 0, 10, nap);
    BOOST_TEST(over(n + 1)); // those that nap have given their turns away
    g.cancel();
    BOOST_CHECK_THROW(g.wait(), troupe::cancelled);
  }
  BOOST_CHECK_THROW(here().distributed_reduce(loop_options{.resubmit = -1}, 0, 10, nap, std::plus<>{}), troupe::usage_error);
  BOOST_CHECK_THROW(here().distributed_reduce(loop_options{.chunk = -1}, 0, 10, nap, std::plus<>{}), troupe::usage_error);
  BOOST_CHECK_THROW(here().distributed_for(loop_options{.workers = {77}}, 0, 10, nap), troupe::unknown_process);
}
