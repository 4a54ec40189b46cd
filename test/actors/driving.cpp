// Threads that wait in all ways at once: nobody is forgotten.

#define BOOST_TEST_MODULE driving
#include <boost/test/unit_test.hpp>

#include "transport/loop_thread.hpp"

#include "troupe/actors/driving.hpp"

#include <atomic>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <random>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using troupe::driving;
using troupe::loop;

namespace {

struct loop_in_use : test::loop_thread {
  loop_in_use() { driving::set_loop(&get()); }
  ~loop_in_use() { driving::set_loop(nullptr); }
};

// What a thread waits for, as the library's own do: driving, or on a condition.
struct wait {
  std::mutex mutex;
  std::condition_variable changed;
  bool has_come = false;
  driving* drives = nullptr;

  void come() {
    std::lock_guard guard{mutex};
    has_come = true;
    if (drives != nullptr)
      drives->tell();
    changed.notify_one();
  }

  // False if nobody woke it.
  bool until_come(troupe::patience& p, loop::sitter who) {
    driving d{p, who};
    {
      std::lock_guard guard{mutex};
      if (has_come)
        return true;
      drives = &d;
    }
    d.until_told();
    std::unique_lock lock{mutex};
    drives = nullptr;
    return changed.wait_for(lock, test::deadline, [this] { return has_come; });
  }
};

} // namespace

BOOST_AUTO_TEST_CASE(who_waits_is_woken_whatever_the_others_do) {
  constexpr int threads = 6, each = 2500;
  loop_in_use l;
  std::atomic<int> forgotten{0};
  std::vector<std::thread> all;
  for (int t = 0; t < threads; ++t)
    all.emplace_back([&, t] {
      std::minstd_rand dice(static_cast<unsigned>(t) + 1);
      troupe::patience p;
      for (int i = 0; i < each && forgotten == 0; ++i) {
        wait w;
        const auto how = dice() % 5;
        if (how == 0)
          l.get().soon([&] { w.come(); });
        else if (how == 1)
          l.get().post([&] { l.get().call_after(1ms, [&] { w.come(); }); });
        else if (how == 2)
          l.get().post([&] { l.get().post([&] { l.get().soon([&] { w.come(); }); }); });
        else
          l.get().post([&] { w.come(); });
        if (!w.until_come(p, t % 3 == 0 ? loop::sitter::idler : loop::sitter::waiter)) {
          std::fprintf(stderr, "thread %d was forgotten in its wait %d, of kind %lu\n", t, i, how);
          ++forgotten;
          std::abort(); // what it waited for may still come, and it is gone
        }
        if (i % 16 == 0)
          driving::look();
        if (i % 400 == 0)
          std::this_thread::sleep_for(3ms);
      }
    });
  for (auto& t : all)
    t.join();
  BOOST_TEST(forgotten == 0);
}

BOOST_AUTO_TEST_CASE(who_sleeps_is_woken_by_a_thread_that_does_not_drive) {
  loop_in_use l;
  troupe::patience p;
  for (int i = 0; i < 200; ++i) {
    wait w;
    std::thread other{[&] {
      if (i % 2 == 0)
        std::this_thread::sleep_for(200us);
      w.come();
    }};
    BOOST_TEST(w.until_come(p, i % 3 == 0 ? loop::sitter::idler : loop::sitter::waiter));
    other.join();
  }
}
