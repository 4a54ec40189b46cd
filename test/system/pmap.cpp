#define BOOST_TEST_MODULE pmap
#include "system/harness.hpp"
#include "system/walked_numbers.hpp"

#include <atomic>
#include <forward_list>
#include <list>
#include <numeric>
#include <optional>
#include <set>

namespace {

using troupe::exponential_backoff;
using troupe::pmap_options;
using troupe::worker_pool;
using ints = std::vector<int>;

ints range(int first, int last) {
  ints out;
  for (int i = first; i <= last; ++i)
    out.push_back(i);
  return out;
}

int plus_one(int x) { return x + 1; }

proc_id where(int) { return here().myid(); }

// Of this process.
std::atomic<int> calls{0};

int count_call(int x) {
  ++calls;
  return x;
}

int calls_here() { return calls.exchange(0); }

int calls_on(const std::vector<proc_id>& ids) {
  int n = 0;
  for (auto id : ids)
    n += here().remotecall_fetch<calls_here>(id);
  return n;
}

// Odd ones are given back.
int fail_on_even(int x) {
  ++calls;
  if (x % 2 == 0)
    throw std::runtime_error("foobar");
  return x;
}

std::set<proc_id> set_of(const std::vector<proc_id>& ids) { return {ids.begin(), ids.end()}; }

// Ends the process if nobody has before.
void die_once(const std::string& mark) {
  if (std::filesystem::exists(mark))
    return;
  std::ofstream{mark} << "x";
  ::kill(::getpid(), SIGKILL);
}

// A path that nothing has.
std::string fresh_path(const char* name) {
  const auto path = std::filesystem::temp_directory_path() / (std::string{"troupe-pmap-"} + name + std::to_string(::getpid()));
  std::filesystem::remove(path);
  return path;
}

// Counts on each process how often it is written and read.
struct heavy {
  std::vector<double> data;

  static inline std::atomic<int> written{0};
  static inline std::atomic<int> read{0};

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, heavy& x) {
    if constexpr (Inspector::reads_state)
      ++written;
    else
      ++read;
    return f(caf::meta::type_name("heavy"), x.data);
  }

  double operator()(int i) const { return data[static_cast<std::size_t>(i) % data.size()]; }
};

int heavy_read_here() { return heavy::read.exchange(0); }

int heavy_written_here() { return heavy::written.exchange(0); }

} // namespace

// PF-01
BOOST_AUTO_TEST_CASE(results_are_in_the_order_of_the_elements_whatever_the_order_in_which_they_finish) {
  workers w{2};
  const auto ys = here().pmap(
    [](int x) {
      troupe::this_task::sleep_for(std::chrono::milliseconds{x % 7});
      return 2 * x;
    },
    range(1, 60));
  ints expected;
  for (int x = 1; x <= 60; ++x)
    expected.push_back(2 * x);
  BOOST_TEST(ys == expected, boost::test_tools::per_element());

  // the other way round
  BOOST_TEST(here().pmap(
               [](int x) {
                 troupe::this_task::sleep_for(std::chrono::milliseconds{10 * (10 - x)});
                 return x;
               },
               range(0, 10), pmap_options<>{.batch_size = 1, .ahead = 10})
               == range(0, 10),
             boost::test_tools::per_element());
}

// PF-02, PF-16 of the master alone
BOOST_AUTO_TEST_CASE(without_workers_the_master_does_it) {
  BOOST_TEST(here().pmap<plus_one>(range(1, 100)) == range(2, 101), boost::test_tools::per_element());
  const troupe::call_options limit{.deadline = 60s};
  BOOST_TEST(here().pmap<plus_one>(limit, range(1, 100)) == range(2, 101), boost::test_tools::per_element());
  ints each;
  here().pmap_each<plus_one>(limit, range(1, 100), [&](int x) { each.push_back(x); });
  BOOST_TEST(each == range(2, 101), boost::test_tools::per_element());
  const worker_pool just_me{here(), {1}};
  for (auto id : here().pmap<where>(range(1, 20), pmap_options<>{.pool = &just_me}))
    BOOST_TEST(id == 1);
}

// PF-04, PF-28
BOOST_AUTO_TEST_CASE(every_worker_is_used_or_those_of_the_pool) {
  workers w{4};
  const auto slow = [](int) {
    troupe::this_task::sleep_for(2ms);
    return here().myid();
  };
  BOOST_TEST((set_of(here().pmap(slow, range(1, 100))) == set_of(w.ids())));
  const worker_pool two{here(), {w[0], w[1]}};
  BOOST_TEST((set_of(here().pmap(slow, range(1, 100), pmap_options<>{.pool = &two})) == std::set<proc_id>{w[0], w[1]}));
  BOOST_TEST((set_of(here().pmap<where>(range(1, 30), pmap_options<>{.batch_size = 5, .distributed = false})) == std::set<proc_id>{1}));
}

// PF-03: one that takes ten times as long does about a tenth
BOOST_AUTO_TEST_CASE(who_is_free_gets_the_next_element) {
  workers w{4};
  const auto slow_one = w[0];
  const auto ids = here().pmap(
    [slow_one](int) {
      const auto me = here().myid();
      troupe::this_task::sleep_for(me == slow_one ? 50ms : 5ms);
      return me;
    },
    range(1, 200), pmap_options<>{.batch_size = 1, .ahead = 0});
  const auto n = std::count(ids.begin(), ids.end(), slow_one);
  BOOST_TEST(n >= 1);
  BOOST_TEST(n <= 20);
}

// PF-05, PF-06, PF-07
BOOST_AUTO_TEST_CASE(ranges_are_walked_together_up_to_the_end_of_the_shortest) {
  workers w{2};
  const auto plus = [](int x, int y) { return x + y; };
  BOOST_TEST(here().pmap(plus, ints{1, 2, 3}, ints{4, 5}) == (ints{5, 7}), boost::test_tools::per_element());
  BOOST_TEST(here().pmap(plus, std::list<int>{1, 2, 3}, ints{4, 5, 6, 7}) == (ints{5, 7, 9}), boost::test_tools::per_element());
  BOOST_TEST(here().pmap([](const std::string& s, double x, char c) { return s + std::to_string(static_cast<int>(x)) + c; },
                         std::vector<std::string>{"a", "b"}, std::array<double, 3>{1, 2, 3}, std::string{"xyz"})
               == (std::vector<std::string>{"a1x", "b2y"}),
             boost::test_tools::per_element());
  BOOST_TEST(here().pmap<count_call>(ints{}).empty());
  BOOST_TEST(here().pmap(plus, ints{}, std::list<int>{}).empty());
  BOOST_TEST(here().pmap<count_call>(std::forward_list<int>{}).empty());
  BOOST_TEST(calls_on(w.ids()) == 0);
  BOOST_TEST(here().pmap<plus_one>(ints{41}) == ints{42}, boost::test_tools::per_element());
  walked_numbers once{100};
  BOOST_TEST(here().pmap<plus_one>(once) == range(1, 100), boost::test_tools::per_element());
  std::string upper;
  for (char c : here().pmap([](char c) { return static_cast<char>(c - 'a' + 'A'); }, std::string{"abc"}))
    upper += c;
  BOOST_TEST(upper == "ABC");
  const auto bools = here().pmap([](bool b) { return !b; }, std::vector<bool>{true, false, true});
  BOOST_TEST((bools == std::vector<bool>{false, true, false}));
  int c_array[] = {1, 2, 3};
  BOOST_TEST(here().pmap<plus_one>(c_array) == range(2, 4), boost::test_tools::per_element());
}

// PF-09, PF-10, EX-14
BOOST_AUTO_TEST_CASE(the_first_error_stops_the_rest_and_reaches_the_caller) {
  workers w{2};
  const auto e = error_of<troupe::remote_error>([] {
    here().pmap(
      [](int x) {
        ++calls;
        if (x == 50)
          throw std::runtime_error("foobar");
        troupe::this_task::sleep_for(1ms);
        return x;
      },
      range(1, 1000));
  });
  BOOST_TEST(e.message() == "foobar");
  BOOST_TEST(e.item() == 49u);
  BOOST_TEST(contains(e.what(), "at element 49 of a map"));
  const auto n = calls_on(w.ids());
  BOOST_TEST(n >= 50);
  BOOST_TEST(n < 1000);
  BOOST_TEST(calls_on(w.ids()) == 0); // nothing runs any more
  here().pmap<plus_one>(range(1, 10));
  BOOST_TEST(calls_on(w.ids()) == 0);
}

// PF-11, PF-12
BOOST_AUTO_TEST_CASE(on_error_puts_a_value_in_the_place_of_a_result) {
  workers w{2};
  for (int batch : {0, 1, 2, 3}) {
    BOOST_TEST(
      here().pmap<fail_on_even>(range(1, 4), pmap_options<int>{.batch_size = batch, .on_error = [](const troupe::error&) { return 0; }})
        == (ints{1, 0, 3, 0}),
      boost::test_tools::per_element());
  }
  std::vector<std::size_t> items;
  here().pmap<fail_on_even>(range(1, 6), pmap_options<int>{.on_error = [&](const troupe::error& e) {
                              BOOST_TEST(e.message() == "foobar");
                              BOOST_TEST(e.type_name() == "std::runtime_error");
                              BOOST_TEST((e.kind() == troupe::error_kind::remote));
                              items.push_back(e.item());
                              return 0;
                            }});
  std::sort(items.begin(), items.end());
  BOOST_TEST(items == (std::vector<std::size_t>{1, 3, 5}), boost::test_tools::per_element());
  // one that throws ends the map with what it has thrown
  const auto e = error_of<std::out_of_range>([] {
    here().pmap<fail_on_even>(range(1, 4),
                              pmap_options<int>{.on_error = [](const troupe::error&) -> int { throw std::out_of_range("mine"); }});
  });
  BOOST_TEST(e.what() == "mine");
}

// PF-13, PF-14, PF-15, PF-22
BOOST_AUTO_TEST_CASE(an_element_that_fails_is_tried_again_elsewhere_as_often_as_there_are_delays) {
  workers w{4};
  calls_on(w.ids());
  for (int batch : {1, 2}) {
    const auto e = error_of<troupe::remote_error>([&] {
      here().pmap(
        [](int) -> int {
          ++calls;
          throw std::runtime_error("never");
        },
        ints{0}, pmap_options<>{.batch_size = batch, .retry_delays = exponential_backoff{.n = 3, .first = 1ms}});
    });
    BOOST_TEST(e.message() == "never");
    BOOST_TEST(calls_on(w.ids()) == 4);
  }
  const auto took = time_of([&] {
    BOOST_CHECK_THROW(here().pmap<fail_on_even>(ints{0}, pmap_options<>{.retry_delays = std::vector{200ms, 100ms}}), troupe::remote_error);
  });
  BOOST_TEST((took >= 300ms));
  calls_on(w.ids());

  // those with an even id can't
  const auto good = here().pmap(
    [](int x) {
      if (here().myid() % 2 == 0)
        throw std::runtime_error("even");
      return std::pair{x, here().myid()};
    },
    range(1, 100), pmap_options<>{.retry_delays = std::vector(1000, 1ms)});
  std::set<proc_id> used;
  for (int i = 0; i < 100; ++i) {
    BOOST_TEST(good[static_cast<std::size_t>(i)].first == i + 1);
    used.insert(good[static_cast<std::size_t>(i)].second);
  }
  for (auto id : used)
    BOOST_TEST(id % 2 == 1);
  BOOST_TEST(used.size() == 2u);

  int asked = 0;
  BOOST_CHECK_THROW(here().pmap<fail_on_even>(ints{0}, pmap_options<>{.retry_delays = std::vector{1ms, 1ms},
                                                                      .retry_check =
                                                                        [&](const troupe::error& e, int tries) {
                                                                          BOOST_TEST(tries == 1);
                                                                          BOOST_TEST(e.message() == "foobar");
                                                                          ++asked;
                                                                          return false;
                                                                        }}),
                    troupe::remote_error);
  BOOST_TEST(asked == 1);
  BOOST_TEST(calls_on(w.ids()) == 1);
  BOOST_CHECK_THROW(here().pmap<fail_on_even>(
                      ints{0}, pmap_options<>{.retry_delays = std::vector{1ms},
                                              .retry_check = [](const troupe::error&, int) -> bool { throw std::logic_error("check"); }}),
                    std::logic_error);
  BOOST_CHECK_THROW(here().pmap<fail_on_even>(ints{0}, pmap_options<>{.retry_delays = std::vector{-1ms}}), troupe::usage_error);
}

// PF-16, PF-17, PF-20, PF-21, PF-24: all combinations do what each of them says
BOOST_AUTO_TEST_CASE(options_combine) {
  workers w{2};
  calls_on(w.ids());
  calls_here();
  for (int all = 0; all < 32; ++all) {
    const bool distributed = (all & 1) != 0, batch = (all & 2) != 0, hook = (all & 4) != 0, delays = (all & 8) != 0,
               check = (all & 16) != 0;
    pmap_options<int> o;
    o.distributed = distributed;
    if (batch)
      o.batch_size = 2;
    if (hook)
      o.on_error = [](const troupe::error&) { return -1; };
    if (delays)
      o.retry_delays = exponential_backoff{.n = 2, .first = 1ms};
    if (check)
      o.retry_check = [](const troupe::error&, int) { return false; };
    BOOST_TEST_CONTEXT("distributed " << distributed << " batch " << batch << " hook " << hook << " delays " << delays << " check "
                                      << check) {
      if (hook) {
        BOOST_TEST(here().pmap<fail_on_even>(range(1, 4), o) == (ints{1, -1, 3, -1}), boost::test_tools::per_element());
        BOOST_TEST(calls_on(w.ids()) + calls_here() == 4); // a value was given: no retry
      } else {
        BOOST_CHECK_THROW(here().pmap<fail_on_even>(ints{2}, o), troupe::remote_error);
        BOOST_TEST(calls_on(w.ids()) + calls_here() == (delays && !check ? 3 : 1));
      }
      // one that rethrows: tried again
      o.on_error = [](const troupe::error& e) -> int { throw e; };
      BOOST_CHECK_THROW(here().pmap<fail_on_even>(ints{2}, o), troupe::error);
      BOOST_TEST(calls_on(w.ids()) + calls_here() == (delays && !check ? 3 : 1));
    }
  }
}

// PF-18
BOOST_AUTO_TEST_CASE(a_batch_has_as_many_elements_as_was_said) {
  workers w{2};
  const auto ids = here().pmap([](int) { return troupe::this_task::id() * 100 + static_cast<std::uint64_t>(here().myid()); }, range(1, 22),
                               pmap_options<>{.batch_size = 5});
  std::map<std::uint64_t, int> sizes;
  for (auto id : ids)
    ++sizes[id];
  BOOST_TEST(sizes.size() == 5u);
  std::multiset<int> all;
  for (auto& [id, n] : sizes)
    all.insert(n);
  BOOST_TEST((all == std::multiset<int>{2, 5, 5, 5, 5}));
  BOOST_CHECK_THROW(here().pmap<plus_one>(ints{1}, pmap_options<>{.batch_size = -1}), troupe::usage_error);
  BOOST_CHECK_THROW(here().pmap<plus_one>(ints{1}, pmap_options<>{.ahead = -1}), troupe::usage_error);
  BOOST_CHECK_THROW(here().pmap<plus_one>(ints{1}, pmap_options<>{.resubmit = -1}), troupe::usage_error);
}

// PF-25, PF-26, PF-23: a worker's death costs time only
BOOST_AUTO_TEST_CASE(what_a_dead_worker_held_goes_to_the_others) {
  for (int batch : {0, 1, 7}) {
    workers w{3};
    const auto mark = fresh_path("once");
    const auto ys = here().pmap(troupe::with(mark,
                                             [](const std::string& path, int x) {
                                               if (x == 10)
                                                 die_once(path);
                                               troupe::this_task::sleep_for(1ms);
                                               return std::pair{x, here().myid()};
                                             }),
                                range(1, 100), pmap_options<>{.batch_size = batch});
    BOOST_TEST(ys.size() == 100u);
    const auto alive = here().workers();
    BOOST_TEST(alive.size() == 2u);
    for (int i = 0; i < 100; ++i)
      BOOST_TEST(ys[static_cast<std::size_t>(i)].first == i + 1);
    std::filesystem::remove(mark);
  }
}

BOOST_AUTO_TEST_CASE(with_resubmit_0_a_death_is_an_error_like_others) {
  const auto dies_at_10 = [](int x) {
    if (x == 10)
      ::kill(::getpid(), SIGKILL);
    return x;
  };
  {
    workers w{2};
    auto e =
      error_of<troupe::process_exited>([&] { here().pmap(dies_at_10, range(1, 100), pmap_options<>{.batch_size = 1, .resubmit = 0}); });
    BOOST_TEST(e.item() == 9u);
    BOOST_TEST(e.cause().signal == SIGKILL);
  }
  {
    workers w{2};
    const auto ys = here().pmap(dies_at_10, range(1, 100),
                                pmap_options<int>{.batch_size = 1,
                                                  .on_error =
                                                    [](const troupe::error& e) {
                                                      BOOST_TEST((e.kind() == troupe::error_kind::process_exited));
                                                      BOOST_TEST(e.item() == 9u);
                                                      return -1;
                                                    },
                                                  .resubmit = 0});
    for (int i = 1; i <= 100; ++i)
      BOOST_TEST(ys[static_cast<std::size_t>(i - 1)] == (i == 10 ? -1 : i));
  }
  {
    workers w{3};
    const auto mark = fresh_path("retry");
    const auto ys = here().pmap(troupe::with(mark,
                                             [](const std::string& path, int x) {
                                               if (x == 10)
                                                 die_once(path);
                                               return x;
                                             }),
                                range(1, 100), pmap_options<>{.retry_delays = exponential_backoff{1}, .resubmit = 0});
    BOOST_TEST(ys == range(1, 100), boost::test_tools::per_element());
    std::filesystem::remove(mark);
  }
}

// an element that ends its worker each time is told as the reason, with those that it has ended
BOOST_AUTO_TEST_CASE(an_element_that_ends_every_worker_is_found) {
  for (int batch : {1, 10}) {
    workers w{5};
    const auto e = error_of<troupe::process_exited>([&] {
      here().pmap(
        [](int x) {
          if (x == 17)
            ::kill(::getpid(), SIGKILL);
          troupe::this_task::sleep_for(1ms);
          return x;
        },
        range(0, 60), pmap_options<>{.batch_size = batch, .resubmit = 2});
    });
    BOOST_TEST(e.item() == 17u);
    BOOST_TEST(e.info().pids.size() == 3u);
    BOOST_TEST(contains(e.what(), "3 workers have ended while they were at this element"));
    BOOST_TEST(here().workers().size() == 2u);
  }
}

// PF-27, WP-13
BOOST_AUTO_TEST_CASE(a_map_without_a_living_worker_ends) {
  {
    workers w{2};
    const auto e = error_of<troupe::error>([] {
      here().pmap(
        [](int) {
          ::kill(::getpid(), SIGKILL);
          return 0;
        },
        range(1, 100), pmap_options<>{.resubmit = 100});
    });
    BOOST_TEST((e.kind() == troupe::error_kind::no_workers));
    BOOST_TEST(contains(e.what(), "has lost all its workers"));
    BOOST_TEST(contains(e.what(), "killed by signal 9"));
  }
  const worker_pool empty{here(), ints{}};
  BOOST_CHECK_THROW(here().pmap<plus_one>(range(1, 3), pmap_options<>{.pool = &empty}), troupe::no_workers);
  BOOST_TEST(here().pmap<plus_one>(range(1, 3)) == range(2, 4), boost::test_tools::per_element()); // the master is still there
}

// PF-29, WP-17
BOOST_AUTO_TEST_CASE(a_worker_maps_as_well) {
  workers w{3};
  const auto ids = here().remotecall_fetch(w[0], [] {
    return here().pmap(
      [](int) {
        troupe::this_task::sleep_for(2ms);
        return here().myid();
      },
      std::vector<int>(100));
  });
  BOOST_TEST((set_of(ids) == set_of(w.ids())));
}

// PF-30
BOOST_AUTO_TEST_CASE(maps_nest) {
  for (int n : {1, 4}) {
    workers w{n};
    const auto outer = [](int x) {
      int sum = 0;
      for (int y : here().pmap([x](int y) { return x * y; }, std::vector<int>{1, 2}))
        sum += y;
      return sum;
    };
    const auto ys = here().pmap(outer, range(1, 10));
    for (int x = 1; x <= 10; ++x)
      BOOST_TEST(ys[static_cast<std::size_t>(x - 1)] == 3 * x);
  }
  // over one pool of one worker
  workers w{1};
  const worker_pool one{here(), w.ids()};
  const auto ys = here().pmap(troupe::with(one,
                                           [](const worker_pool& p, int x) {
                                             const auto inner =
                                               here().pmap([](int y) { return y + 1; }, std::vector<int>{x, x}, pmap_options<>{.pool = &p});
                                             return inner[0] + inner[1];
                                           }),
                              range(1, 10), pmap_options<>{.pool = &one});
  for (int x = 1; x <= 10; ++x)
    BOOST_TEST(ys[static_cast<std::size_t>(x - 1)] == 2 * x + 2);
}

// PF-31
BOOST_AUTO_TEST_CASE(several_threads_map_at_once) {
  workers w{2};
  std::vector<std::thread> threads;
  std::atomic<int> right{0};
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (int round = 0; round < 10; ++round) {
        const auto ys = here().pmap([t](int x) { return x + t; }, range(1, 500));
        right += ys.size() == 500 && ys[0] == 1 + t && ys[499] == 500 + t ? 1 : 0;
      }
    });
  for (auto& t : threads)
    t.join();
  BOOST_TEST(right == 40);
}

// PF-32, CP-01: what a function holds travels once to each worker
BOOST_AUTO_TEST_CASE(what_a_function_holds_travels_once_to_each_worker) {
  workers w{2};
  here().pmap<plus_one>(range(1, 3)); // the default pool lives from then on
  const auto before_all = here().references(1).size();
  const auto received = [&] {
    std::uint64_t bytes = 0;
    for (auto& s : here().statistics())
      if (s.id != 1)
        bytes += s.bytes_received;
    return bytes;
  };
  const auto before = received();
  heavy f{std::vector<double>(1 << 17, 1.5)}; // 1 MiB
  heavy::written = 0;
  const auto ys = here().pmap(f, range(1, 200), pmap_options<>{.batch_size = 1});
  BOOST_TEST(std::accumulate(ys.begin(), ys.end(), 0.0) == 300);
  const auto bytes = received() - before;
  BOOST_TEST(bytes >= 2u << 20);
  BOOST_TEST(bytes < 3u << 20);
  for (auto id : w.ids())
    BOOST_TEST(here().remotecall_fetch<heavy_read_here>(id) == 1);
  BOOST_TEST(heavy_written_here() <= 2);

  // values, small and large
  for (std::size_t n : {std::size_t{10}, std::size_t{100000}}) {
    const auto zs = here().pmap(troupe::with(std::vector<double>(n, 2.0), std::string{"x"},
                                             [](const std::vector<double>& v, const std::string& s, int i) {
                                               return v[static_cast<std::size_t>(i)] * static_cast<double>(s.size());
                                             }),
                                range(0, 9), pmap_options<>{.batch_size = 1});
    BOOST_TEST(zs == std::vector<double>(10, 2.0), boost::test_tools::per_element());
  }
  // nothing is left of it
  for (auto id : w.ids())
    BOOST_TEST(here().references(id).empty());
  BOOST_TEST(eventually([&] { return here().references(1).size() == before_all; }));
}

// a function that changes itself begins anew with each batch
BOOST_AUTO_TEST_CASE(a_function_that_changes_itself_has_a_copy_for_each_batch) {
  workers w{1};
  const auto ys = here().pmap([n = 0](int) mutable { return ++n; }, range(1, 6), pmap_options<>{.batch_size = 3});
  BOOST_TEST(ys == (ints{1, 2, 3, 1, 2, 3}), boost::test_tools::per_element());
}

// PF-33
BOOST_AUTO_TEST_CASE(workers_that_join_take_part) {
  workers first{1};
  std::optional<workers> more;
  bool added = false;
  const auto ids = here().pmap(
    [](int) {
      troupe::this_task::sleep_for(5ms);
      return here().myid();
    },
    range(1, 400), pmap_options<>{.batch_size = 1, .watch = [&](const troupe::map_status& s) {
                                    if (s.done >= 20 && !std::exchange(added, true))
                                      more.emplace(3);
                                  }});
  BOOST_TEST(added);
  BOOST_TEST(set_of(ids).size() == 4u);
}

// PF-34
BOOST_AUTO_TEST_CASE(no_more_is_drawn_than_is_needed) {
  workers w{4};
  walked_numbers endless{1 << 30};
  BOOST_CHECK_THROW(here().pmap(
                      [](int x) {
                        if (x == 10)
                          throw std::runtime_error("enough");
                        troupe::this_task::sleep_for(x < 10 ? 5ms : 500ms); // longer than it takes to tell of an error
                        return x;
                      },
                      endless, pmap_options<>{.batch_size = 1, .ahead = 0}),
                    troupe::remote_error);
  BOOST_TEST(endless.drawn() <= 20);
  walked_numbers blocked{1 << 30};
  const auto gate = troupe::remote_channel<int>::on(here(), 1, 1);
  std::thread map{[&] {
    try {
      here().pmap(troupe::with(gate, [](const troupe::remote_channel<int>& g, int) { return g.fetch(); }), blocked);
    } catch (const troupe::error&) {
    }
  }};
  std::this_thread::sleep_for(300ms); // long enough for anything that is drawn too early
  BOOST_TEST(blocked.drawn() <= 5);
  gate.close();
  map.join();
}

// PF-35, PF-38: in order, as they come, or with their places
BOOST_AUTO_TEST_CASE(results_are_handed_over_as_they_come) {
  workers w{2};
  constexpr int n = 1 << 20;
  walked_numbers input{n};
  int drawn_at_first = 0;
  ints got;
  here().pmap_each<plus_one>(input, [&](int y) {
    if (got.empty())
      drawn_at_first = input.drawn();
    got.push_back(y);
  });
  BOOST_TEST(drawn_at_first < n);
  BOOST_TEST((got == range(1, n)));

  std::map<std::size_t, int> placed;
  here().pmap_each<plus_one>(range(0, 99), [&](std::size_t i, int y) { placed[i] = y; }, pmap_options<>{.batch_size = 3});
  BOOST_TEST(placed.size() == 100u);
  for (auto& [i, y] : placed)
    BOOST_TEST(static_cast<std::size_t>(y) == i + 1);
  BOOST_CHECK_THROW(here().pmap_each<plus_one>(range(0, 99), [](int) { throw std::logic_error("sink"); }), std::logic_error);
}

// what waits for an element before it is bounded
BOOST_AUTO_TEST_CASE(a_slow_first_element_doesnt_make_all_others_wait_in_memory) {
  workers w{2};
  walked_numbers input{1 << 20};
  bool first = true;
  int drawn = 0;
  BOOST_CHECK_THROW(here().pmap_each(
                      [](int x) {
                        if (x == 0)
                          troupe::this_task::sleep_for(500ms);
                        return std::vector<char>(1 << 20);
                      },
                      input,
                      [&](const std::vector<char>&) {
                        if (std::exchange(first, false))
                          drawn = input.drawn();
                        throw std::runtime_error("enough");
                      }),
                    std::runtime_error);
  BOOST_TEST(drawn < 100);
}

// PF-38
BOOST_AUTO_TEST_CASE(progress_can_be_watched_and_a_map_be_stopped) {
  workers w{2};
  calls_on(w.ids());
  std::size_t last = 0;
  here().pmap<plus_one>(range(1, 100), pmap_options<>{.watch = [&](const troupe::map_status& s) {
                          BOOST_TEST(s.done >= last);
                          BOOST_TEST(s.total.value_or(0) == 100u);
                          last = s.done;
                        }});
  BOOST_TEST(last == 100u);

  troupe::cancel_token stop;
  BOOST_CHECK_THROW(here().pmap(
                      troupe::call_options{.token = stop},
                      [](int x) {
                        ++calls;
                        troupe::this_task::sleep_for(1ms);
                        return x;
                      },
                      range(1, 10000),
                      pmap_options<>{.batch_size = 1,
                                     .ahead = 0,
                                     .watch =
                                       [&](const troupe::map_status& s) {
                                         if (s.done == 10)
                                           stop.cancel();
                                       }}),
                    troupe::cancelled);
  BOOST_TEST(calls_on(w.ids()) <= 14);
  const auto took = time_of([&] {
    BOOST_CHECK_THROW(here().pmap(
                        troupe::call_options{.deadline = 200ms},
                        [](int) {
                          troupe::this_task::sleep_for(20s);
                          return 0;
                        },
                        range(1, 10)),
                      troupe::deadline_exceeded);
  });
  BOOST_TEST((took < 10s));
  // the workers' tasks were told
  BOOST_TEST(here().remotecall_fetch(w[0], [] { return 1; }) == 1);
}

// PF-39
BOOST_AUTO_TEST_CASE(what_was_done_survives_an_error) {
  workers w{2};
  try {
    here().pmap(
      [](int x) {
        if (x == 50)
          throw std::runtime_error("foobar");
        return x;
      },
      range(1, 100), pmap_options<>{.batch_size = 1, .ahead = 0});
    BOOST_ERROR("nothing was thrown");
  } catch (const troupe::error& e) {
    const auto done = troupe::pmap_results<int>(e);
    BOOST_TEST(done.size() >= 48u);
    BOOST_TEST(done.size() < 100u);
    BOOST_TEST(!done.contains(49));
    for (auto& [i, y] : done)
      BOOST_TEST(static_cast<std::size_t>(y) == i + 1);
    BOOST_CHECK_THROW(troupe::pmap_results<double>(e), troupe::type_mismatch);
  }
}

// AM-01, AM-02, AM-03, AM-06
BOOST_AUTO_TEST_CASE(a_map_of_this_process_runs_many_tasks_and_sends_nothing) {
  int calls_seen = 0; // shared by all of them: they take turns
  const auto ids_of = [&](int n, int tasks) {
    return here().pmap(
      [&calls_seen](int) {
        ++calls_seen;
        const auto id = troupe::this_task::id();
        troupe::this_task::sleep_for(20ms);
        return id;
      },
      range(1, n), pmap_options<>{.distributed = false, .tasks = tasks});
  };
  const auto took = time_of([&] { BOOST_TEST(ids_of(100, 100).size() == 100u); });
  BOOST_TEST((took < 1s)); // one after the other they would take 2 s
  BOOST_TEST((time_of([&] { ids_of(20, 5); }) >= 80ms));
  BOOST_TEST(calls_seen == 120);
  BOOST_CHECK_THROW(ids_of(1, 0), troupe::usage_error);
  BOOST_TEST(here().pmap<plus_one>(std::list<int>{1, 2, 3}, pmap_options<>{.distributed = false}) == range(2, 4),
             boost::test_tools::per_element());
}

// AM-07
BOOST_AUTO_TEST_CASE(an_error_of_a_task_of_this_process_comes_with_its_cause) {
  int begun = 0;
  const auto e = error_of<troupe::remote_error>([&] {
    here().pmap(
      [&begun](int x) {
        ++begun;
        if (x != 3)
          troupe::this_task::sleep_for(5ms);
        else
          try {
            throw std::runtime_error("inner");
          } catch (...) {
            std::throw_with_nested(std::logic_error("outer"));
          }
        return x;
      },
      range(1, 1000), pmap_options<>{.distributed = false, .tasks = 4});
  });
  BOOST_TEST(e.item() == 2u);
  BOOST_TEST(e.message() == "outer");
  BOOST_TEST(contains(e.what(), "inner"));
  BOOST_TEST(!e.stack().empty());
  BOOST_TEST(begun < 1000);
}

// PF-40: batches that are found make a map of trivial elements cheaper than a call for each
BOOST_AUTO_TEST_CASE(a_map_costs_less_than_calls) {
  workers w{2};
  const auto xs = range(1, 10000);
  const auto calls = [&] {
    std::vector<troupe::future<int>> all;
    for (int x : xs)
      all.push_back(here().remotecall<plus_one>(troupe::any, x));
    for (auto& f : all)
      f.wait();
  };
  const auto map = [&] { here().pmap<plus_one>(xs); };
  calls();
  map();
  auto best_calls = time_of(calls), best_map = time_of(map);
  for (int i = 0; i < 5; ++i) {
    best_calls = std::min(best_calls, time_of(calls));
    best_map = std::min(best_map, time_of(map));
  }
  BOOST_TEST((best_map <= best_calls));
}

BOOST_AUTO_TEST_CASE(a_range_must_not_change_meanwhile) {
  workers w{1};
  ints xs = range(1, 100);
  BOOST_CHECK_THROW(here().pmap<plus_one>(xs, pmap_options<>{.batch_size = 1,
                                                             .ahead = 0,
                                                             .watch =
                                                               [&](const troupe::map_status& s) {
                                                                 if (s.done == 5)
                                                                   xs.clear();
                                                               }}),
                    troupe::usage_error);
}

BOOST_AUTO_TEST_CASE(bad_functions_and_results_are_errors) {
  workers w{1};
  int here_only = 0;
  const auto e = error_of<troupe::not_serializable>([&] { here().pmap([p = &here_only](int) { return *p; }, range(1, 3)); });
  BOOST_TEST(contains(e.what(), "capture"));
  // an argument that can't be decoded, for one that can
  BOOST_TEST(here().pmap<plus_one>(range(1, 3)).size() == 3u);
}

// large elements and results, and many small ones
BOOST_AUTO_TEST_CASE(elements_may_be_large_or_many) {
  workers w{2};
  std::vector<std::vector<double>> large(4, std::vector<double>(4 << 20, 1.0)); // 32 MiB each
  const auto sums = here().pmap([](const std::vector<double>& v) { return std::accumulate(v.begin(), v.end(), 0.0); }, large);
  BOOST_TEST(sums == std::vector<double>(4, 4.0 * (1 << 20)), boost::test_tools::per_element());
  std::size_t n = 0;
  here().pmap_each([](int) { return std::vector<double>(4 << 20, 1.0); }, range(1, 6),
                   [&](const std::vector<double>& v) { n += v.size(); });
  BOOST_TEST(n == 6u * (4 << 20));
  std::vector<std::int64_t> many(1'000'000);
  std::iota(many.begin(), many.end(), 0);
  const auto ys = here().pmap([](std::int64_t x) { return x + 1; }, many);
  BOOST_TEST(std::accumulate(ys.begin(), ys.end(), std::int64_t{0}) == 500'000'500'000);
}

// futures as results are waited for where they are
BOOST_AUTO_TEST_CASE(a_function_that_returns_a_future_gives_its_value) {
  workers w{2};
  const auto a = w[0];
  BOOST_TEST(here().pmap([a](int x) { return here().remotecall(a, [](int y) { return y + 1; }, x); }, range(1, 5)) == range(2, 6),
             boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(functions_without_results_map_as_well) {
  workers w{2};
  calls_on(w.ids());
  here().pmap([](int) { ++calls; }, range(1, 10));
  BOOST_TEST(calls_on(w.ids()) == 10);
  std::set<std::size_t> done;
  here().pmap_each([](int) {}, range(1, 10), [&](std::size_t i) { done.insert(i); });
  BOOST_TEST(done.size() == 10u);
}

// WP-21
BOOST_AUTO_TEST_CASE(a_pool_may_hold_the_master_and_workers) {
  workers w{2};
  const worker_pool all{here(), here().procs()};
  for (int i = 0; i < 100; ++i)
    BOOST_TEST(here().pmap<plus_one>(range(1, 10), pmap_options<>{.pool = &all}) == range(2, 11), boost::test_tools::per_element());
}
