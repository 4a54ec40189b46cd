#define BOOST_TEST_MODULE futures
#include "system/harness.hpp"

#include <atomic>
#include <memory>
#include <numeric>

namespace {

proc_id own_id() { return here().myid(); }

std::atomic<int> gate{0};

// A task that ends when the gate of its process is opened this far.
int wait_for_gate(int wanted) {
  const auto until = std::chrono::steady_clock::now() + patience;
  while (gate < wanted && std::chrono::steady_clock::now() < until)
    troupe::this_task::sleep_for(1ms);
  return gate;
}

void open_gate(proc_id where, int to) {
  here().remotecall_fetch(where, [](int n) { gate = n; }, to);
}

std::vector<int> numbers(int n) {
  std::vector<int> out(static_cast<std::size_t>(n));
  std::iota(out.begin(), out.end(), 0);
  return out;
}

// A result that can be moved, but not copied.
struct only_moved {
  std::unique_ptr<int> value = std::make_unique<int>(0);

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, only_moved& x) {
    return f(*x.value);
  }
};

std::uint64_t bytes_to(proc_id id) {
  for (auto& l : here().links())
    if (l.a == 1 && l.b == id)
      return l.bytes;
  return 0;
}

template <class F>
concept can_take = requires(F& f) { f.take(); };

} // namespace

BOOST_AUTO_TEST_CASE(a_future_becomes_ready_when_its_call_has_ended) {
  workers w{1};
  for (auto p : {proc_id{1}, w[0]}) {
    open_gate(p, 0);
    auto f = here().remotecall<wait_for_gate>(p, 1);
    BOOST_TEST(f.valid());
    BOOST_TEST(!f.isready());
    BOOST_TEST(!f.wait_for(0s));
    BOOST_TEST(!f.wait_for(20ms));
    open_gate(p, 1);
    BOOST_TEST(f.wait_for(patience));
    BOOST_TEST(f.isready());
    f.wait();
    BOOST_TEST(f.fetch() == 1);
  }
}

// FU-04
BOOST_AUTO_TEST_CASE(nothing_is_taken_out_of_a_future) {
  BOOST_TEST(!can_take<troupe::future<int>>);
  BOOST_TEST(!can_take<troupe::future<void>>);
}

// FU-05
BOOST_AUTO_TEST_CASE(fetching_again_gives_the_same_value_without_asking_again) {
  workers w{1};
  const auto f = here().remotecall<numbers>(w[0], 1 << 18);
  const auto& first = f.fetch();
  const auto before = bytes_to(w[0]);
  for (int i = 0; i < 5; ++i) {
    BOOST_TEST(&f.fetch() == &first);
    BOOST_TEST(f.isready());
    f.wait();
  }
  BOOST_TEST(bytes_to(w[0]) < before + 100'000); // the value has a megabyte
  BOOST_TEST(first.back() == (1 << 18) - 1);
}

// FU-06
BOOST_AUTO_TEST_CASE(many_threads_may_fetch_one_future) {
  workers w{1};
  for (int round = 1; round <= 20; ++round) {
    const auto f = here().remotecall(
      w[0],
      [](int n) {
        wait_for_gate(n);
        return numbers(n);
      },
      round);
    std::atomic<int> right{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 10; ++i)
      threads.emplace_back([&] { right += f.fetch() == numbers(round); });
    open_gate(w[0], round);
    for (auto& t : threads)
      t.join();
    BOOST_TEST(right == 10);
  }
}

// FU-12
BOOST_AUTO_TEST_CASE(a_thread_that_fetches_while_the_value_arrives_gets_it) {
  int right = 0;
  for (int i = 0; i < 10'000; ++i) {
    const auto f = here().remotecall(1, [](int n) { return n; }, i);
    if (i % 2 == 0) {
      std::atomic<int> other{0};
      std::thread t{[&] { other = f.fetch(); }};
      right += f.fetch() == i;
      t.join();
      right += other == i;
    } else {
      right += 2 * (f.fetch() == i && f.isready());
    }
  }
  BOOST_TEST(right == 20'000);
}

BOOST_AUTO_TEST_CASE(what_a_call_failed_with_is_thrown_each_time) {
  workers w{1};
  for (auto p : {proc_id{1}, w[0]}) {
    auto f = here().remotecall(p, []() -> int { throw std::domain_error{"not here"}; });
    for (int i = 0; i < 3; ++i) {
      BOOST_TEST(error_of<troupe::remote_error>([&] { f.wait(); }).message() == "not here");
      BOOST_TEST(error_of<troupe::remote_error>([&] { f.fetch(); }).message() == "not here");
    }
    BOOST_TEST(f.wait_for(0s));
    BOOST_TEST(f.isready());
    std::atomic<int> caught{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i)
      threads.emplace_back([&] {
        try {
          f.fetch();
        } catch (const troupe::remote_error& e) {
          caught += e.pid() == p;
        }
      });
    for (auto& t : threads)
      t.join();
    BOOST_TEST(caught == 4);
    BOOST_CHECK_THROW(std::move(f).get(), troupe::remote_error);
  }
}

BOOST_AUTO_TEST_CASE(get_moves_the_value_out_of_the_last_copy) {
  workers w{1};
  auto f = here().remotecall<numbers>(w[0], 100);
  const auto inside = f.fetch().data();
  const auto value = std::move(f).get();
  BOOST_TEST(value.data() == inside);
  BOOST_TEST(!f.valid());

  auto one = here().remotecall<numbers>(w[0], 100);
  const auto two = one;
  BOOST_TEST(std::move(one).get() == numbers(100));
  BOOST_TEST(two.fetch() == numbers(100));
  BOOST_TEST(here().remotecall<numbers>(w[0], 3).get() == numbers(3));
}

BOOST_AUTO_TEST_CASE(an_empty_future_throws_whatever_is_asked_of_it) {
  workers w{1};
  auto f = here().remotecall<own_id>(w[0]);
  auto moved = std::move(f);
  BOOST_TEST(moved.fetch() == w[0]);
  for (auto& empty : {f, troupe::future<proc_id>{}}) {
    BOOST_TEST(!empty.valid());
    BOOST_CHECK_THROW(empty.fetch(), troupe::usage_error);
    BOOST_CHECK_THROW(empty.wait(), troupe::usage_error);
    BOOST_CHECK_THROW(empty.wait_for(1s), troupe::usage_error);
    BOOST_CHECK_THROW(empty.isready(), troupe::usage_error);
    BOOST_CHECK_THROW(troupe::future<proc_id>{empty}.get(), troupe::usage_error);
  }
}

BOOST_AUTO_TEST_CASE(a_reference_to_the_value_lives_as_long_as_a_copy_of_the_future) {
  workers w{1};
  troupe::future<std::vector<int>> kept;
  const std::vector<int>* value = nullptr;
  {
    const auto f = here().remotecall<numbers>(w[0], 1000);
    value = &f.fetch();
    kept = f;
  }
  BOOST_TEST(*value == numbers(1000));
  for (int x : here().remotecall<numbers>(w[0], 3).fetch()) // by value from a future that ends here
    BOOST_TEST((x >= 0 && x < 3));
}

BOOST_AUTO_TEST_CASE(results_need_not_be_copyable) {
  workers w{1};
  const auto make = [](int n) {
    only_moved x;
    *x.value = n;
    return x;
  };
  BOOST_TEST(*here().remotecall_fetch(w[0], make, 7).value == 7);
  const auto f = here().remotecall(w[0], make, 8);
  BOOST_TEST(*f.fetch().value == 8);
  BOOST_TEST(here().remotecall_fetch(w[0], [](only_moved x) { return *x.value; }, here().remotecall_fetch(w[0], make, 9)) == 9);
}

BOOST_AUTO_TEST_CASE(a_value_that_has_arrived_outlives_its_worker) {
  workers w{1};
  const auto fetched = here().remotecall<numbers>(w[0], 50'000);
  fetched.fetch();
  const auto arrived = here().remotecall_wait<numbers>(w[0], 500);
  const auto left_there = here().remotecall_wait<numbers>(w[0], 50'000);
  const auto failed = here().remotecall(w[0], [] { throw std::runtime_error{"before"}; });
  BOOST_TEST(failed.wait_for(patience));
  here().rmprocs(w[0]);
  BOOST_TEST((fetched.fetch() == numbers(50'000)));
  BOOST_TEST((arrived.fetch() == numbers(500)));
  error_of<troupe::process_exited>([&] { left_there.fetch(); });
  BOOST_TEST(error_of<troupe::remote_error>([&] { failed.fetch(); }).message() == "before");
}

// FU-14
BOOST_AUTO_TEST_CASE(a_fetch_ends_when_the_worker_leaves_and_so_does_a_later_one) {
  workers w{2};
  const auto f = here().remotecall(w[0], [] {
    troupe::this_task::sleep_for(30s);
    return 1;
  });
  std::atomic<int> ended{0};
  std::thread fetching{[&] {
    try {
      f.fetch();
    } catch (const troupe::process_exited& e) {
      ended = e.pid();
    }
  }};
  auto on_worker = here().remotecall(
    w[1],
    [](proc_id p) {
      try {
        here().remotecall_fetch(p, [] { troupe::this_task::sleep_for(30s); });
      } catch (const troupe::process_exited& e) {
        return e.pid();
      }
      return 0;
    },
    w[0]);
  BOOST_TEST(here().remotecall_fetch(w[1], [](proc_id p) { return here().remotecall_fetch<own_id>(p); }, w[0]) == w[0]);
  here().rmprocs(w[0]);
  fetching.join();
  BOOST_TEST(ended == w[0]);
  BOOST_TEST(on_worker.fetch() == w[0]);
  const auto e = error_of<troupe::process_exited>([&] { f.fetch(); });
  BOOST_TEST(e.pid() == w[0]);
  BOOST_TEST(contains(e.what(), "removed"));
}

BOOST_AUTO_TEST_CASE(futures_that_nobody_fetches_do_no_harm) {
  workers w{1};
  for (int i = 0; i < 1000; ++i)
    static_cast<void>(here().remotecall<numbers>(w[0], 100));
  static_cast<void>(here().remotecall(w[0], [] { throw std::runtime_error{"unheard"}; }));
  BOOST_TEST(here().remotecall_fetch<own_id>(w[0]) == w[0]);
}
