#define BOOST_TEST_MODULE sync
#include "system/harness.hpp"

#include <atomic>
#include <memory>

using troupe::call_options;
using troupe::composite_error;
using troupe::future;

namespace {

constexpr auto nap_time = 300ms;

std::atomic<int> ended{0};

void nap() {
  troupe::this_task::sleep_for(nap_time);
  ++ended;
}

void fail(const std::string& why) { throw std::runtime_error{why}; }

int ended_on(proc_id id) {
  return here().remotecall_fetch(id, troupe::direct([] { return ended.load(); }));
}

// What can't be sent, nor be copied.
struct local_only {
  std::unique_ptr<int> x;
  int* address = nullptr;
};

} // namespace

// SP-05
BOOST_AUTO_TEST_CASE(a_sync_block_ends_when_its_calls_have) {
  workers w{2};
  const int out = here().sync([&] {
    here().remotecall<nap>(w[0]);
    here().spawnat<nap>(w[1]);
    here().async([] { nap(); });
    here().distributed_for(0, 2, [](int) { nap(); });
    BOOST_TEST(ended_on(w[0]) == 0);
    return 7;
  });
  BOOST_TEST(out == 7);
  BOOST_TEST(ended.exchange(0) == 1);
  BOOST_TEST(ended_on(w[0]) == 2);
  BOOST_TEST(ended_on(w[1]) == 2);
}

// SP-05
BOOST_AUTO_TEST_CASE(errors_of_a_sync_block_come_together_in_the_order_of_the_calls) {
  workers w{2};
  const auto e = error_of<composite_error>([&] {
    here().sync([&] {
      here().remotecall<fail>(w[1], "first");
      here().remotecall<nap>(w[0]);
      const auto seen = here().remotecall<fail>(w[0], "second");
      BOOST_CHECK_THROW(seen.wait(), troupe::remote_error);
      here().async([] { fail("third"); });
      here().remote_do(w[0], [] {});
    });
  });
  BOOST_REQUIRE(e.errors().size() == 3u);
  BOOST_TEST(e.errors()[0].message() == "first");
  BOOST_TEST(e.errors()[0].pid() == w[1]);
  BOOST_TEST(e.errors()[1].message() == "second");
  BOOST_TEST(e.errors()[2].message() == "third");
  BOOST_TEST(e.errors()[2].pid() == 1);
}

// SP-05
BOOST_AUTO_TEST_CASE(a_block_that_throws_does_so_when_its_calls_have_ended) {
  workers w{1};
  const auto before = ended_on(w[0]);
  BOOST_CHECK_THROW(here().sync([&] {
    here().remotecall<nap>(w[0]);
    here().remotecall<fail>(w[0], "not this");
    throw std::out_of_range{"this"};
  }),
                    std::out_of_range);
  BOOST_TEST(ended_on(w[0]) == before + 1);
}

// SP-05
BOOST_AUTO_TEST_CASE(blocks_nest_and_each_waits_for_its_own_calls) {
  workers w{2};
  const auto before = ended_on(w[0]);
  BOOST_CHECK_THROW(here().sync([&] {
    here().sync([&] { here().remotecall<nap>(w[0]); });
    BOOST_TEST(ended_on(w[0]) == before + 1);
    here().remotecall<fail>(w[1], "outer");
    here().sync([&] { here().remotecall([&] { return w[0]; }(), [] {}); });
  }),
                    composite_error);
  // in a task, too
  BOOST_TEST(here().remotecall_fetch(w[0], [] {
    int n = 0;
    here().sync([&] {
      for (int i = 0; i < 10; ++i)
        here().async([&] { ++n; });
    });
    return n;
  }) == 10);
}

BOOST_AUTO_TEST_CASE(a_value_can_be_moved_out_of_a_call_that_a_block_waits_for) {
  workers w{1};
  here().sync([&] {
    auto f = here().async([] { return std::make_unique<int>(5); });
    BOOST_TEST(*std::move(f).get() == 5);
  });
}

BOOST_AUTO_TEST_CASE(direct_functions_and_the_library_begin_calls_of_their_own) {
  workers w{1};
  // runs here while the block waits, and begins a call that isn't the block's
  here().sync([&] {
    here().remotecall_wait(w[0], [] {
      here().remotecall_wait(
        1, troupe::direct([](proc_id worker) { here().remotecall(worker, [] { throw std::runtime_error{"not the block's"}; }); }),
        here().myid());
    });
    here().statistics();
  });
}

BOOST_AUTO_TEST_CASE(a_block_may_begin_any_number_of_calls) {
  workers w{1};
  const auto e = error_of<composite_error>([&] {
    here().sync([&] {
      for (int i = 0; i < 10'000; ++i)
        here().remotecall(
          w[0],
          [](int i) {
            if (i % 5000 == 7)
              throw std::runtime_error{std::to_string(i)};
          },
          i);
    });
  });
  BOOST_REQUIRE(e.errors().size() == 2u);
  BOOST_TEST(e.errors()[0].message() == "7");
  BOOST_TEST(e.errors()[1].message() == "5007");
}

BOOST_AUTO_TEST_CASE(a_block_in_a_task_that_is_told_to_stop_ends) {
  workers w{2};
  const auto f = here().remotecall(
    w[0], [](proc_id other) { here().sync([&] { here().remotecall(other, [] { troupe::this_task::sleep_for(40s); }); }); }, w[1]);
  BOOST_TEST(!f.wait_for(50ms));
  here().interrupt(w[0]);
  BOOST_TEST((time_of([&] { BOOST_CHECK_THROW(f.wait(), troupe::interrupted); }) < patience));
  here().interrupt(w[1]);
}

BOOST_AUTO_TEST_CASE(a_task_of_this_process_shares_what_its_maker_has) {
  int x = 1;
  const auto id = here().async([&x] {
    x = 2;
    return troupe::this_task::id();
  });
  BOOST_TEST(id.fetch() != 0u);
  BOOST_TEST(x == 2);
  const auto f = here().async([p = std::make_unique<int>(3)]() mutable {
    auto address = p.get();
    return local_only{std::move(p), address};
  });
  BOOST_TEST(*f.fetch().address == 3);
  // a future that it returns is its result's
  workers w{1};
  const int sum = here().async([&] { return here().remotecall(w[0], [] { return 42; }); }).fetch();
  BOOST_TEST(sum == 42);
  BOOST_TEST(f.fetch().x.get() == f.fetch().address);
  // and one that is ready can be sent
  BOOST_TEST(here().remotecall_fetch(w[0], [](future<int> f) { return f.fetch(); }, here().async([] { return 8; })) == 8);
}

BOOST_AUTO_TEST_CASE(a_task_of_this_process_fails_as_others_do) {
  const auto f = here().async([] { fail("here"); });
  const auto e = error_of<troupe::remote_error>([&] { f.wait(); });
  BOOST_TEST(e.message() == "here");
  BOOST_TEST(e.pid() == 1);
  const auto nap = [] { troupe::this_task::sleep_for(40s); };
  BOOST_CHECK_THROW(here().async(call_options{.deadline = 50ms}, nap).wait(), troupe::deadline_exceeded);
  troupe::cancel_token token;
  const auto g = here().async(call_options{.token = token}, nap);
  token.cancel();
  BOOST_CHECK_THROW(g.wait(), troupe::cancelled);
  std::atomic<bool> running{false}, told{false};
  const auto h = here().async([&] {
    running = true;
    try {
      troupe::this_task::sleep_for(40s);
    } catch (const troupe::cancelled&) {
      told = true;
      throw;
    }
  });
  BOOST_TEST(eventually([&] { return running.load(); }));
  h.cancel();
  BOOST_CHECK_THROW(h.wait(), troupe::cancelled);
  BOOST_TEST(eventually([&] { return told.load(); }));
  running = false;
  const auto i = here().async([&] {
    running = true;
    troupe::this_task::sleep_for(40s);
  });
  BOOST_TEST(eventually([&] { return running.load(); }));
  here().interrupt(1);
  BOOST_CHECK_THROW(i.wait(), troupe::interrupted);
}

BOOST_AUTO_TEST_CASE(a_function_whose_task_never_begins_is_destroyed) {
  const auto alive = std::make_shared<int>(0);
  BOOST_CHECK_THROW(here().async(call_options{.deadline = 0s}, [alive] {}).wait(), troupe::deadline_exceeded);
  BOOST_TEST(eventually([&] { return alive.use_count() == 1; }));
  std::atomic<bool> running{false}, gate{false};
  const auto hog = here().async([&] { // keeps the only turn
    running = true;
    while (!gate)
      std::this_thread::yield();
  });
  BOOST_TEST(eventually([&] { return running.load(); }));
  const auto f = here().async([alive] {});
  BOOST_TEST(alive.use_count() == 2);
  f.cancel();
  gate = true;
  BOOST_CHECK_THROW(f.wait(), troupe::cancelled);
  BOOST_TEST(eventually([&] { return alive.use_count() == 1; }));
  hog.wait();
}

// EX-08
BOOST_AUTO_TEST_CASE(the_errors_of_several_tasks_come_together_in_the_order_of_the_tasks) {
  const workers w{2};
  const auto all = error_of<troupe::composite_error>([&] {
    here().sync([&] {
      for (int i = 1; i <= 5; ++i)
        here().async([i] {
          std::this_thread::sleep_for(std::chrono::milliseconds{5 * (5 - i)});
          throw std::runtime_error{"task " + std::to_string(i)};
        });
    });
  });
  BOOST_TEST(all.errors().size() == 5u);
  const std::string text = all.what();
  BOOST_TEST(contains(text, "task 1"));
  BOOST_TEST(text.ends_with("4 more exceptions"), text);
}
