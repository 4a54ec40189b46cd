#define BOOST_TEST_MODULE caching_pools
#include "system/harness.hpp"

#include <atomic>
#include <numeric>

namespace {

using troupe::caching_pool;
using troupe::pmap_options;
using troupe::worker_pool;
using ints = std::vector<int>;

// Counts on each process how often it is written, read and called.
struct counted {
  std::vector<double> data;
  int id = 0;

  static inline std::atomic<int> written{0};
  static inline std::atomic<int> read{0};
  static inline std::atomic<int> called{0};

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, counted& x) {
    if constexpr (Inspector::reads_state)
      ++written;
    else
      ++read;
    return f(caf::meta::type_name("counted"), x.data, x.id);
  }
  friend bool operator==(const counted&, const counted&) = default;

  int operator()(int x) const {
    ++called;
    return id + x;
  }
};

// The same, but what it is can't be compared.
struct opaque {
  std::vector<int> data;

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, opaque& x) {
    return f(caf::meta::type_name("opaque"), x.data);
  }
  int operator()(int x) const { return std::accumulate(data.begin(), data.end(), x); }
};

// Fails when it is read, on any process but the master.
struct unreadable {
  int id = 0;

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, unreadable& x) {
    if constexpr (Inspector::writes_state)
      if (here().myid() != 1)
        throw std::runtime_error("can't be read here");
    return f(caf::meta::type_name("unreadable"), x.id);
  }
  friend bool operator==(const unreadable&, const unreadable&) = default;
  int operator()(int x) const { return x; }
};

int read_here() { return counted::read.exchange(0); }

std::size_t functions_on(proc_id id) { return here().references(id).size(); }

std::uint64_t received_by_workers() {
  std::uint64_t bytes = 0;
  for (auto& s : here().statistics())
    if (s.id != 1)
      bytes += s.bytes_received;
  return bytes;
}

} // namespace

// CP-01, WP-05, WP-06 of this kind of pool
BOOST_AUTO_TEST_CASE(a_function_travels_to_each_member_once) {
  workers w{4};
  const caching_pool cache{here(), w.ids()};
  const counted f{std::vector<double>(10 * (1 << 17), 1.0), 5}; // 10 MiB
  counted::written = 0;
  const auto before = received_by_workers();
  std::vector<troupe::future<int>> all;
  for (int i = 0; i < 100; ++i)
    all.push_back(here().remotecall(cache, f, i));
  for (int i = 0; i < 100; ++i)
    BOOST_TEST(all[static_cast<std::size_t>(i)].fetch() == 5 + i);
  const auto bytes = received_by_workers() - before;
  BOOST_TEST(bytes >= 40u << 20);
  BOOST_TEST(bytes < 42u << 20);
  for (auto id : w.ids())
    BOOST_TEST(here().remotecall_fetch<read_here>(id) == 1);
  BOOST_TEST(counted::written <= 4);
  BOOST_TEST(cache.cached() == 1u);
  BOOST_TEST(cache.idle().size() == 4u);
  BOOST_TEST(here().remotecall_fetch(cache, f, 1) == 6);
  BOOST_TEST(here().remotecall_wait(cache, f, 2).fetch() == 7);
  here().remote_do(cache, f, 3);
  BOOST_TEST(received_by_workers() - before < 42u << 20);
}

// CP-02, CP-03
BOOST_AUTO_TEST_CASE(clear_forgets_here_and_on_the_members) {
  workers w{2};
  const auto on_master = here().references(1).size();
  {
    const caching_pool cache{here(), w.ids()};
    const auto with_pool = here().references(1).size();
    const auto call_all = [&] {
      here().pmap(counted{std::vector<double>(10000), 1}, ints(20), pmap_options<>{.pool = &cache, .batch_size = 1});
      here().remotecall_fetch(
        cache, troupe::with(std::string{"a"}, [](const std::string& s, int x) { return static_cast<int>(s.size()) + x; }), 1);
    };
    call_all();
    BOOST_TEST(cache.cached() == 2u);
    BOOST_TEST(functions_on(w[0]) + functions_on(w[1]) == 3u);
    clear(cache);
    BOOST_TEST(cache.cached() == 0u);
    BOOST_TEST(eventually([&] { return functions_on(w[0]) == 0 && functions_on(w[1]) == 0; }));
    BOOST_TEST(eventually([&] { return here().references(1).size() == with_pool; }));
    call_all();
    BOOST_TEST(cache.cached() == 2u);
  }
  BOOST_TEST(eventually([&] { return functions_on(w[0]) == 0 && functions_on(w[1]) == 0; }));
  BOOST_TEST(eventually([&] { return here().references(1).size() == on_master; }));
}

// CP-04
BOOST_AUTO_TEST_CASE(a_caching_pool_cant_be_sent_but_what_it_is_can) {
  workers w{2};
  const caching_pool cache{here(), w.ids()};
  const auto e = error_of<troupe::not_serializable>([&] { here().remotecall_fetch(w[0], [](caching_pool p) { return p.size(); }, cache); });
  BOOST_TEST(contains(e.what(), "pass it as a worker_pool"));
  BOOST_TEST(here().remotecall_fetch(w[0], [](const worker_pool& p) { return p.size(); }, cache) == 2u);
  const worker_pool plain = cache;
  BOOST_TEST((plain == cache));
  clear(plain); // the same one
  clear(worker_pool{here(), w.ids()});
}

// CP-05, CP-08
BOOST_AUTO_TEST_CASE(functions_that_hold_something_else_are_others) {
  workers w{1};
  const caching_pool cache{here(), w.ids()};
  counted f{{1, 2, 3}, 1};
  BOOST_TEST(here().remotecall_fetch(cache, f, 1) == 2);
  f.id = 10;
  BOOST_TEST(here().remotecall_fetch(cache, f, 1) == 11);
  BOOST_TEST(here().remotecall_fetch(cache, counted{{1, 2, 3}, 1}, 1) == 2);
  BOOST_TEST(cache.cached() == 2u);
  opaque g{{1, 2}};
  BOOST_TEST(here().remotecall_fetch(cache, g, 1) == 4);
  g.data.push_back(10);
  BOOST_TEST(here().remotecall_fetch(cache, g, 1) == 14);
  BOOST_TEST(here().remotecall_fetch(cache, opaque{{1, 2}}, 1) == 4);
  BOOST_TEST(cache.cached() == 4u);
  std::array<int, 100> large{};
  const auto sum = [&](int last) {
    large[99] = last;
    return here().remotecall_fetch(cache, [large](int x) { return large[99] + x; }, 1);
  };
  BOOST_TEST(sum(1) == 2);
  BOOST_TEST(sum(2) == 3);
  BOOST_TEST(sum(1) == 2);
  BOOST_TEST(cache.cached() == 6u);
  // one that changes itself begins anew each time
  for (int i = 0; i < 2; ++i)
    BOOST_TEST(here().remotecall_fetch(cache, [large, n = 0]() mutable { return ++n + large[0]; }) == 1);
  BOOST_TEST(here().remotecall_fetch(cache, [](int x) { return x; }, 3) == 3); // nothing to be kept
  BOOST_TEST(cache.cached() == 7u);
}

// CP-06
BOOST_AUTO_TEST_CASE(what_didnt_arrive_is_sent_again) {
  workers w{1};
  const caching_pool cache{here(), w.ids()};
  for (int i = 0; i < 2; ++i)
    BOOST_CHECK_THROW(here().remotecall_fetch(cache, unreadable{1}, 1), troupe::error);
  BOOST_CHECK_THROW(here().pmap(unreadable{1}, ints{1, 2}, pmap_options<>{.pool = &cache}), troupe::error);
  BOOST_CHECK_THROW(here().pmap(unreadable{1}, ints{1, 2}), troupe::error);
  BOOST_TEST(here().remotecall_fetch(cache, [] { return 1; }) == 1);
}

// CP-07
BOOST_AUTO_TEST_CASE(a_function_that_throws_is_kept_all_the_same) {
  workers w{1};
  const caching_pool cache{here(), w.ids()};
  const auto f = troupe::with(std::vector<double>(1 << 17, 1.0), [](const std::vector<double>& v, int x) {
    if (x == 0)
      throw std::runtime_error("first");
    return v[0] + x;
  });
  const auto before = received_by_workers();
  BOOST_CHECK_THROW(here().remotecall_fetch(cache, f, 0), troupe::remote_error);
  BOOST_TEST(here().remotecall_fetch(cache, f, 1) == 2.0);
  BOOST_TEST(received_by_workers() - before < 2u << 20);
}

// CP-09
BOOST_AUTO_TEST_CASE(no_more_than_some_are_kept) {
  workers w{1};
  const caching_pool cache{here(), w.ids()};
  for (int i = 0; i < 1000; ++i)
    BOOST_TEST(
      here().remotecall_fetch(cache, troupe::with(std::to_string(i), [](const std::string& s, int x) { return std::stoi(s) + x; }), 1)
      == i + 1);
  BOOST_TEST(cache.cached() <= 64u);
  BOOST_TEST(functions_on(w[0]) <= 64u);
}

// CP-10
BOOST_AUTO_TEST_CASE(who_comes_after_one_that_died_gets_the_function_afresh) {
  workers w{2};
  caching_pool cache{here(), w.ids()};
  const auto f = troupe::with(std::string{"abc"}, [](const std::string& s, int x) { return static_cast<int>(s.size()) + x; });
  for (int i = 0; i < 4; ++i)
    BOOST_TEST(here().remotecall_fetch(cache, f, 1) == 4);
  ::kill(static_cast<::pid_t>(here().info(w[0]).os_pid), SIGKILL);
  BOOST_TEST(eventually([&] { return cache.size() == 1; }));
  workers more{1};
  cache.push(more[0]);
  for (int i = 0; i < 4; ++i)
    BOOST_TEST(here().remotecall_fetch(cache, f, 1) == 4);
  BOOST_TEST(functions_on(more[0]) == 1u);
}

// WP-18
BOOST_AUTO_TEST_CASE(a_caching_pool_may_be_the_default) {
  workers w{2};
  const auto before = here().default_worker_pool();
  const caching_pool cache{here(), w.ids()};
  here().default_worker_pool(cache);
  BOOST_TEST((here().default_worker_pool() == cache));
  const counted f{{1.0}, 3};
  BOOST_TEST(here().pmap(f, ints{1, 2, 3}) == (ints{4, 5, 6}), boost::test_tools::per_element());
  BOOST_TEST(cache.cached() == 1u);
  clear(cache);
  BOOST_TEST(cache.cached() == 0u);
  here().default_worker_pool(before);
  BOOST_TEST(here().pmap(f, ints{1}).front() == 4);
  BOOST_TEST(cache.cached() == 0u);
}

// a user's inspect is never in the way of others: many threads, one function
BOOST_AUTO_TEST_CASE(many_threads_call_one_function) {
  workers w{3};
  const caching_pool cache{here(), w.ids()};
  const counted f{std::vector<double>(1 << 16), 7};
  std::vector<std::thread> threads;
  std::atomic<int> right{0};
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 200; ++i)
        right += here().remotecall_fetch(cache, f, i) == 7 + i ? 1 : 0;
    });
  for (auto& t : threads)
    t.join();
  BOOST_TEST(right == 800);
  for (auto id : w.ids())
    BOOST_TEST(here().remotecall_fetch<read_here>(id) == 1);
}
