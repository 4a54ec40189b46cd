#define BOOST_TEST_MODULE executor
#include <boost/test/unit_test.hpp>

#include "actors/waiting.hpp"

#include "troupe/actors/executor.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

using test::becomes_true;
using test::event;
using troupe::executor;

namespace {

// Counts how many are inside at once.
class crowd {
public:
  void enter() {
    auto now = ++inside_;
    auto most = most_.load();
    while (now > most && !most_.compare_exchange_weak(most, now)) {
    }
  }
  void leave() { --inside_; }
  int inside() const { return inside_; }
  int most() const { return most_; }

private:
  std::atomic<int> inside_{0};
  std::atomic<int> most_{0};
};

void spin(std::chrono::microseconds time) {
  auto end = std::chrono::steady_clock::now() + time;
  while (std::chrono::steady_clock::now() < end) {
  }
}

} // namespace

BOOST_AUTO_TEST_CASE(with_one_turn_two_jobs_never_run_at_once) {
  constexpr int jobs = 200;
  crowd c;
  std::atomic<int> done{0};
  executor e{1};
  for (int i = 0; i < jobs; ++i)
    e.submit([&] {
      for (int k = 0; k < 3; ++k) {
        c.enter();
        spin(std::chrono::microseconds{20});
        c.leave();
        executor::waiting guard; // others go on, and it comes back among them
        std::this_thread::yield();
      }
      ++done;
    });
  BOOST_REQUIRE(becomes_true([&] { return done == jobs; }));
  BOOST_TEST(c.most() == 1);
}

BOOST_AUTO_TEST_CASE(as_many_jobs_run_at_once_as_there_are_turns) {
  constexpr int turns = 3;
  crowd c;
  std::atomic<int> done{0}, met{0};
  executor e{turns};
  for (int i = 0; i < 12; ++i)
    e.submit([&] {
      c.enter();
      met += becomes_true([&] { return c.most() >= turns; }); // the first three meet
      c.leave();
      executor::waiting{};
      c.enter();
      spin(std::chrono::microseconds{200});
      c.leave();
      ++done;
    });
  BOOST_REQUIRE(becomes_true([&] { return done == 12; }));
  BOOST_TEST(met == 12);
  BOOST_TEST(c.most() == turns);
}

BOOST_AUTO_TEST_CASE(jobs_begin_in_the_order_of_their_submission) {
  std::vector<int> order;
  event end;
  executor e{1};
  for (int i = 0; i < 1000; ++i)
    e.submit([&, i] { order.push_back(i); });
  e.submit([&] { end.set(); });
  BOOST_REQUIRE(end.wait());
  BOOST_TEST(order.size() == 1000u);
  BOOST_TEST(std::is_sorted(order.begin(), order.end()));
}

BOOST_AUTO_TEST_CASE(jobs_of_many_threads_run_once_each) {
  constexpr int threads = 8, each = 1000;
  std::vector<std::atomic<int>> runs(threads * each);
  std::atomic<int> done{0};
  executor e{2};
  std::vector<std::thread> submitters;
  for (int t = 0; t < threads; ++t)
    submitters.emplace_back([&, t] {
      for (int i = 0; i < each; ++i)
        e.submit([&, n = static_cast<std::size_t>(t * each + i)] {
          ++runs[n];
          ++done;
        });
    });
  for (auto& s : submitters)
    s.join();
  BOOST_REQUIRE(becomes_true([&] { return done == threads * each; }));
  BOOST_TEST(std::all_of(runs.begin(), runs.end(), [](auto& n) { return n == 1; }));
}

BOOST_AUTO_TEST_CASE(a_job_that_waits_lets_another_run) {
  event begun, go_on, end;
  bool woken = false;
  executor e{1};
  e.submit([&] {
    begun.set();
    woken = go_on.wait_without_turn();
    end.set();
  });
  BOOST_REQUIRE(begun.wait());
  e.submit([&] { go_on.set(); });
  BOOST_REQUIRE(end.wait());
  BOOST_TEST(woken);
}

BOOST_AUTO_TEST_CASE(one_that_has_waited_goes_on_before_those_that_have_not_begun) {
  constexpr int others = 3000;
  event begun, go_on, end;
  std::atomic<bool> awake{false};
  std::atomic<int> ran{0};
  int ran_before = -1;
  executor e{1};
  e.submit([&] {
    {
      executor::waiting guard;
      begun.set();
      go_on.wait();
      awake = true;
    }
    ran_before = ran;
  });
  BOOST_REQUIRE(begun.wait());
  e.submit([&] { // keeps the turn until all is set up
    go_on.set();
    becomes_true([&] { return awake.load(); });
  });
  for (int i = 0; i < others; ++i)
    e.submit([&] {
      becomes_true([&] { return awake.load(); });
      spin(std::chrono::microseconds{30});
      ++ran;
    });
  e.submit([&] { end.set(); });
  BOOST_REQUIRE(end.wait());
  BOOST_TEST(ran_before >= 0);
  BOOST_TEST(ran_before < others / 2);
}

BOOST_AUTO_TEST_CASE(a_thousand_jobs_that_wait_for_each_other_do_not_lock_up) { // RC-16
  constexpr std::size_t jobs = 1000;
  std::vector<event> done(jobs);
  std::atomic<int> failed{0};
  executor e{1};
  for (std::size_t i = 0; i < jobs; ++i)
    e.submit([&, i] { // each waits for the next, which hasn't begun
      if (i + 1 < jobs && !done[i + 1].wait_without_turn())
        ++failed;
      done[i].set();
    });
  BOOST_REQUIRE(done[0].wait());
  BOOST_TEST(failed == 0);
  BOOST_TEST(becomes_true([&] { return e.threads() <= 5; }), "threads that are needed no more end, but there are " << e.threads());
  event again; // and it still works
  e.submit([&] { again.set(); });
  BOOST_TEST(again.wait());
}

BOOST_AUTO_TEST_CASE(a_storm_of_short_jobs_takes_few_threads) {
  executor e{2};
  std::atomic<int> done{0};
  std::size_t most = 0;
  for (int i = 0; i < 5000; ++i) {
    e.submit([&] { ++done; });
    most = std::max(most, e.threads());
  }
  BOOST_REQUIRE(becomes_true([&] { return done == 5000; }));
  BOOST_TEST(most <= 8u);
}

BOOST_AUTO_TEST_CASE(it_is_idle_when_no_job_runs_or_waits) {
  executor e{1};
  BOOST_TEST(e.idle());
  event begun, go_on, waiting, end;
  e.submit([&] {
    begun.set();
    go_on.wait();
    executor::waiting guard;
    waiting.set();
    end.wait();
  });
  BOOST_REQUIRE(begun.wait());
  BOOST_TEST(!e.idle());
  go_on.set();
  BOOST_REQUIRE(waiting.wait());
  BOOST_TEST(!e.idle()); // it hasn't returned
  end.set();
  BOOST_TEST(becomes_true([&] { return e.idle(); }));
}

BOOST_AUTO_TEST_CASE(a_backlog_is_what_waits_for_a_turn) {
  executor e{1};
  event begun, go_on, end;
  e.submit([&] {
    begun.set();
    go_on.wait();
  });
  BOOST_REQUIRE(begun.wait());
  BOOST_TEST(!e.backlog());
  e.submit([&] { end.set(); });
  BOOST_TEST(e.backlog());
  go_on.set();
  BOOST_REQUIRE(end.wait());
  BOOST_TEST(!e.backlog());
}

BOOST_AUTO_TEST_CASE(a_thread_knows_whether_it_has_a_turn) {
  BOOST_TEST(!executor::in_job());
  {
    executor::waiting guard; // has none to give away
    BOOST_TEST(!executor::in_job());
  }
  std::string seen;
  event end;
  executor e{1};
  e.submit([&] {
    auto look = [&] { seen += executor::in_job() ? 'y' : 'n'; };
    look();
    {
      executor::waiting outer;
      look();
      {
        executor::waiting inner;
        look();
      }
      look();
    }
    look();
    end.set();
  });
  BOOST_REQUIRE(end.wait());
  BOOST_TEST(seen == "ynnny");
}

BOOST_AUTO_TEST_CASE(there_is_always_a_turn) {
  for (int turns : {0, -5}) {
    event end;
    executor e{turns};
    e.submit([&] { end.set(); });
    BOOST_TEST(end.wait());
  }
}

BOOST_AUTO_TEST_CASE(stop_drops_what_is_queued_and_lets_the_rest_go_on) {
  event begun, waiting, go_on, ended, waiter_ended;
  std::atomic<int> ran{0};
  executor e{1};
  e.submit([&] { // one that waits when the stop comes
    executor::waiting guard;
    waiting.set();
    go_on.wait();
  });
  BOOST_REQUIRE(waiting.wait());
  e.submit([&] { // and one that runs
    begun.set();
    go_on.wait();
    ended.set();
    executor::waiting{};
    waiter_ended.set();
  });
  BOOST_REQUIRE(begun.wait());
  auto run = [](void* context, void*) { ++*static_cast<std::atomic<int>*>(context); };
  int data[5];
  for (auto& d : data)
    e.submit(executor::job{run, &ran, &d});
  std::vector<executor::job> dropped;
  e.stop([&](executor::job j) { dropped.push_back(j); });
  BOOST_REQUIRE(dropped.size() == 5u);
  for (std::size_t i = 0; i < 5; ++i) {
    BOOST_TEST((dropped[i].run == run));
    BOOST_TEST(dropped[i].context == &ran);
    BOOST_TEST(dropped[i].data == &data[i]);
  }
  BOOST_TEST(!e.submit(executor::job{run, &ran, &data[0]}));
  BOOST_TEST(!e.submit([&] { ++ran; }));
  BOOST_TEST(!e.idle());
  go_on.set();
  BOOST_TEST(ended.wait());
  BOOST_TEST(waiter_ended.wait());
  BOOST_TEST(becomes_true([&] { return e.idle(); }));
  e.stop([&](executor::job j) { dropped.push_back(j); }); // again: nothing is left
  BOOST_TEST(dropped.size() == 5u);
  BOOST_TEST(ran == 0);
}

BOOST_AUTO_TEST_CASE(functions_that_never_run_are_released) {
  auto held = std::make_shared<int>(1);
  {
    event begun, go_on;
    executor e{1};
    e.submit([&] {
      begun.set();
      go_on.wait();
    });
    BOOST_REQUIRE(begun.wait());
    e.submit([held] {});
    e.submit([held] {});
    e.stop([](executor::job) {});
    BOOST_TEST(held.use_count() == 1);
    BOOST_TEST(!e.submit([held] {}));
    BOOST_TEST(held.use_count() == 1);
    go_on.set();
  }
}

BOOST_AUTO_TEST_CASE(its_end_waits_for_jobs_that_run_or_wait) {
  std::atomic<bool> ended{false};
  {
    event begun, go_on;
    executor e{1};
    e.submit([&] {
      begun.set();
      go_on.wait_without_turn();
      spin(std::chrono::milliseconds{2});
      ended = true;
    });
    BOOST_REQUIRE(begun.wait());
    go_on.set();
  }
  BOOST_TEST(ended);
}

// A thread takes several jobs at once.
BOOST_AUTO_TEST_CASE(each_job_runs_or_is_dropped_whenever_it_is_stopped) {
  for (int round = 0; round < 300; ++round) {
    constexpr int jobs = 200;
    std::vector<std::atomic<int>> seen(jobs);
    std::atomic<bool> begun{false};
    executor e{1};
    struct context {
      std::vector<std::atomic<int>>& seen;
      std::atomic<bool>& begun;
      int round;
    } c{seen, begun, round};
    for (int i = 0; i < jobs; ++i)
      e.submit(executor::job{[](void* p, void* which) {
                               auto& c = *static_cast<context*>(p);
                               c.begun = true;
                               const auto i = reinterpret_cast<std::intptr_t>(which);
                               if (c.round % 3 == 0 && i % 50 == 49)
                                 executor::waiting give;
                               ++c.seen[static_cast<std::size_t>(i)];
                             },
                             &c, reinterpret_cast<void*>(static_cast<std::intptr_t>(i))});
    while (!begun)
      std::this_thread::yield();
    spin(std::chrono::microseconds{round % 20});
    e.stop([&](executor::job j) { seen[static_cast<std::size_t>(reinterpret_cast<std::intptr_t>(j.data))] += 1000; });
    BOOST_REQUIRE(becomes_true([&] { return e.idle(); }));
    for (auto& n : seen)
      BOOST_REQUIRE((n == 1 || n == 1000));
  }
}

BOOST_AUTO_TEST_CASE(jobs_keep_their_order_when_one_before_them_waits) {
  executor e{1};
  std::mutex mutex;
  std::vector<int> order;
  event go_on;
  std::atomic<int> done{0};
  for (int i = 0; i < 100; ++i)
    e.submit([&, i] {
      {
        std::lock_guard guard{mutex};
        order.push_back(i);
      }
      if (i == 3) {
        executor::waiting give;
        go_on.wait();
      } else if (i == 99) {
        go_on.set();
      }
      ++done;
    });
  BOOST_REQUIRE(becomes_true([&] { return done == 100; }));
  BOOST_TEST(std::is_sorted(order.begin(), order.end()));
}

// -- turns that are taken away --------------------------------------------------------------------------------------

namespace {

// A job that computes until it is let go; then does something more.
class busy_job {
public:
  explicit busy_job(executor& e, std::function<void()> then = [] {}) {
    e.submit([this, then = std::move(then)] {
      holder_ = &executor::holder::of_this_thread();
      go_on_.wait();
      had_turn_ = executor::in_job();
      then();
      done_.set();
    });
    becomes_true([this] { return holder_.load() != nullptr; });
  }

  bool seize() { return executor::seize(*holder_, executor::turn_of(*holder_)); }
  executor::holder& holder() { return *holder_; }
  // Returns whether it had a turn by then.
  bool finish() {
    go_on_.set();
    done_.wait();
    return had_turn_;
  }

private:
  std::atomic<executor::holder*> holder_{nullptr};
  event go_on_, done_;
  std::atomic<bool> had_turn_{false};
};

// That no more than so many of these run at once, in any order.
void check_turns(executor& e, int turns) {
  crowd c;
  std::atomic<int> done{0};
  for (int i = 0; i < 200; ++i)
    e.submit([&, i] {
      c.enter();
      spin(std::chrono::microseconds{20});
      c.leave();
      if (i % 3 == 0)
        executor::waiting{};
      ++done;
    });
  BOOST_TEST(becomes_true([&] { return done == 200; }));
  BOOST_TEST(c.most() <= turns);
}

} // namespace

BOOST_AUTO_TEST_CASE(a_turn_that_is_taken_away_is_anothers_and_is_not_given_back) {
  for (int turns : {1, 2}) {
    executor e{turns};
    std::vector<std::unique_ptr<busy_job>> all;
    for (int i = 0; i < turns; ++i)
      all.push_back(std::make_unique<busy_job>(e));
    event other;
    e.submit([&] { other.set(); });
    BOOST_TEST(all.front()->seize());
    BOOST_TEST(other.wait());
    BOOST_TEST(!all.front()->seize()); // it has none any more
    for (auto& j : all)
      if (j != all.front())
        j->finish();
    check_turns(e, turns);
    BOOST_TEST(!all.front()->finish());
    check_turns(e, turns);
  }
}

BOOST_AUTO_TEST_CASE(the_jobs_behind_one_that_loses_its_turn_run_elsewhere_once_and_in_order) {
  executor e{1};
  std::vector<int> order;
  event first, begins, end;
  // they are taken together: all of them are there when the turn gets free
  e.submit([&] {
    first.set();
    begins.wait();
  });
  BOOST_REQUIRE(first.wait());
  std::unique_ptr<busy_job> busy;
  std::thread making{[&] { busy = std::make_unique<busy_job>(e); }};
  BOOST_REQUIRE(becomes_true([&] { return e.backlog(); }));
  for (int i = 0; i < 100; ++i)
    e.submit([&, i] { order.push_back(i); });
  e.submit([&] { end.set(); });
  begins.set();
  making.join();
  BOOST_TEST(order.empty());
  BOOST_TEST(busy->seize());
  BOOST_REQUIRE(end.wait());
  BOOST_TEST(order.size() == 100u);
  BOOST_TEST(std::is_sorted(order.begin(), order.end()));
  BOOST_TEST(!busy->finish());
  check_turns(e, 1);
}

BOOST_AUTO_TEST_CASE(who_has_lost_its_turn_has_one_after_a_wait) {
  executor e{1};
  std::atomic<int> turns{0};
  busy_job busy{e, [&] {
                  executor::regain_turn();
                  turns += executor::in_job();
                  executor::regain_turn(); // has one
                  executor::waiting{};
                  turns += executor::in_job();
                }};
  BOOST_TEST(busy.seize());
  busy_job other{e}; // has the turn
  std::thread finishing{[&] { busy.finish(); }};
  BOOST_TEST(turns == 0);
  other.finish();
  finishing.join();
  BOOST_TEST(turns == 2);
  check_turns(e, 1);
}

BOOST_AUTO_TEST_CASE(only_the_turn_that_is_meant_is_taken) {
  executor e{1};
  event waits;
  busy_job busy{e, [&] {
                  executor::waiting guard;
                  waits.wait();
                }};
  const auto turn = executor::turn_of(busy.holder());
  BOOST_TEST(turn != 0u);
  BOOST_TEST(!executor::seize(busy.holder(), turn + 1));
  std::thread finishing{[&] { busy.finish(); }};
  BOOST_TEST(becomes_true([&] { return executor::turn_of(busy.holder()) == 0; }));
  BOOST_TEST(!executor::seize(busy.holder(), turn));
  BOOST_TEST(!executor::seize(busy.holder(), 0));
  waits.set();
  finishing.join();
  BOOST_TEST(executor::turn_of(executor::holder::of_this_thread()) == 0u); // no thread of an executor
  BOOST_TEST(!executor::seize(executor::holder::of_this_thread(), 0));
  check_turns(e, 1);
}

BOOST_AUTO_TEST_CASE(each_job_runs_once_whichever_turns_are_taken_away) {
  for (int turns : {1, 2}) {
    executor e{turns};
    std::mutex mutex; // a job that ends takes it, so that none does while its turn is being taken
    std::vector<executor::holder*> busy;
    constexpr int jobs = 3000;
    std::vector<std::atomic<int>> runs(jobs);
    std::atomic<int> done{0};
    for (int i = 0; i < jobs; ++i)
      e.submit([&, i] {
        auto me = &executor::holder::of_this_thread();
        {
          std::lock_guard guard{mutex};
          busy.push_back(me);
        }
        ++runs[static_cast<std::size_t>(i)];
        spin(std::chrono::microseconds{i % 7});
        if (i % 5 == 0)
          executor::waiting{};
        {
          std::lock_guard guard{mutex};
          std::erase(busy, me);
        }
        ++done;
      });
    int seized = 0;
    BOOST_TEST(becomes_true([&] {
      std::lock_guard guard{mutex};
      for (auto h : busy)
        seized += executor::seize(*h, executor::turn_of(*h));
      return done == jobs;
    }));
    BOOST_TEST(seized > 0);
    BOOST_TEST(std::all_of(runs.begin(), runs.end(), [](auto& n) { return n == 1; }));
    check_turns(e, turns);
  }
}
