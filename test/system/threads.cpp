// Every operation, from many threads of several processes at the same time. TROUPE_THREADS_SECONDS says for how long.
#define BOOST_TEST_MODULE threads
#include "system/harness.hpp"

#include <atomic>
#include <cstdlib>
#include <numeric>
#include <random>

using namespace system_test;
using troupe::future;
using troupe::remote_channel;

namespace {

std::chrono::seconds time_to_spend() {
  const char* text = std::getenv("TROUPE_THREADS_SECONDS");
  return std::chrono::seconds{text ? std::atoi(text) : 3};
}

const setup longer{[](troupe::app&) { case_limit = 120s + time_to_spend(); }};

int twice(int x) { return 2 * x; }

using random_engine = std::minstd_rand;

proc_id any_of(const std::vector<proc_id>& ids, random_engine& r) { return ids[r() % ids.size()]; }

// Each does one thing with the processes that stay, and tells whether what came back is right.
using operation = bool (*)(const std::vector<proc_id>& stay, random_engine&);

bool call(const std::vector<proc_id>& stay, random_engine& r) {
  const int x = static_cast<int>(r() % 1000);
  auto f = here().remotecall<twice>(any_of(stay, r), x);
  return here().remotecall_fetch<twice>(any_of(stay, r), x) == 2 * x && f.fetch() == 2 * x;
}

bool hand_on_a_future(const std::vector<proc_id>& stay, random_engine& r) {
  const auto f = future<int>::on(here(), any_of(stay, r));
  here().remote_do(any_of(stay, r), [](const future<int>& mine) { mine.put(7); }, f);
  return here().remotecall_fetch(any_of(stay, r), [](const future<int>& mine) { return mine.fetch(); }, f) == 7 && f.fetch() == 7;
}

bool put_and_take(const std::vector<proc_id>& stay, random_engine& r) {
  const auto ch = remote_channel<int>::on(here(), any_of(stay, r), 2);
  here().remote_do(
    any_of(stay, r),
    [](const remote_channel<int>& to) {
      for (int i = 0; i < 10; ++i)
        to.put(i);
      to.close();
    },
    ch);
  std::vector<int> got;
  try {
    for (;;)
      got.push_back(ch.take());
  } catch (const troupe::channel_closed&) {
  }
  std::vector<int> all(10);
  std::iota(all.begin(), all.end(), 0);
  return got == all;
}

bool map_all(const std::vector<proc_id>& stay, random_engine&) {
  std::vector<int> xs(20), expected(20);
  std::iota(xs.begin(), xs.end(), 0);
  std::transform(xs.begin(), xs.end(), expected.begin(), twice);
  troupe::worker_pool pool{here(), stay};
  return here().pmap<twice>(xs, troupe::pmap_options<>{.pool = &pool}) == expected;
}

bool look(const std::vector<proc_id>& stay, random_engine&) {
  const auto there = here().procs();
  const bool all =
    std::all_of(stay.begin(), stay.end(), [&](proc_id id) { return std::find(there.begin(), there.end(), id) != there.end(); });
  return all && !here().statistics().empty() && here().links().size() < 1000;
}

bool fail(const std::vector<proc_id>& stay, random_engine& r) {
  try {
    here().remotecall_fetch(any_of(stay, r), [] { throw std::out_of_range{"on purpose"}; });
    return false;
  } catch (const troupe::remote_error& e) {
    return e.message() == "on purpose";
  }
}

bool add_and_remove(const std::vector<proc_id>&, random_engine&) {
  const auto added = here().addprocs(1);
  const bool right = here().remotecall_fetch<twice>(added.at(0), 3) == 6;
  here().rmprocs(added);
  return right;
}

struct outcome {
  std::uint64_t done = 0;
  std::vector<std::string> wrong;

  template <class Inspector>
  friend auto inspect(Inspector& f, outcome& x) {
    return f(x.done, x.wrong);
  }
};

outcome from_threads(int threads, const std::vector<operation>& all, const std::vector<proc_id>& stay) {
  const auto until = std::chrono::steady_clock::now() + time_to_spend();
  std::mutex mutex;
  outcome result;
  std::vector<std::thread> running;
  for (int t = 0; t < threads; ++t)
    running.emplace_back([&, t] {
      random_engine r{static_cast<unsigned>(here().myid() * 100 + t)};
      while (std::chrono::steady_clock::now() < until) {
        const auto which = r() % all.size();
        std::string wrong;
        try {
          if (!all[which](stay, r))
            wrong = "another result";
        } catch (const std::exception& e) {
          wrong = e.what();
        }
        std::lock_guard guard{mutex};
        ++result.done;
        if (!wrong.empty())
          result.wrong.push_back("operation " + std::to_string(which) + " on process " + std::to_string(here().myid()) + ": " + wrong);
      }
    });
  for (auto& t : running)
    t.join();
  return result;
}

outcome on_a_worker(const std::vector<proc_id>& stay) { return from_threads(4, {call, hand_on_a_future, put_and_take, fail}, stay); }

const scenario ends_at_once{"ends at once", [](troupe::cluster& c) {
                              const auto w = c.workers();
                              std::atomic<bool> ready{false};
                              std::thread other{[&] {
                                for (int i = 0; i < 200; ++i) {
                                  const auto f = future<std::vector<int>>::on(c, w[static_cast<std::size_t>(i) % w.size()]);
                                  c.remote_do(w.back(), [](const future<std::vector<int>>& mine) { mine.put({1, 2, 3}); }, f);
                                  ready = true;
                                }
                              }};
                              while (!ready)
                                std::this_thread::yield();
                              std::vector<remote_channel<int>> many;
                              for (int i = 0; i < 200; ++i)
                                many.push_back(remote_channel<int>::on(c, w[0]));
                              other.join();
                              return 5;
                            }};

} // namespace

// TH-01
BOOST_AUTO_TEST_CASE(threads_of_three_processes_do_everything_at_once) {
  troupe::local_options options;
  options.threads = 2; // one of them waits for threads of its own
  const workers w{2, options};
  std::vector<proc_id> stay = w.ids();
  auto there = here().remotecall<on_a_worker>(w[0], stay);
  auto here_too = from_threads(8, {call, hand_on_a_future, put_and_take, map_all, look, fail, add_and_remove}, stay);
  const auto worker_s = there.fetch();
  for (auto* o : {&worker_s, static_cast<const outcome*>(&here_too)}) {
    BOOST_TEST_MESSAGE(o->done << " operations");
    BOOST_TEST(o->done > 20U);
    BOOST_TEST(o->wrong == std::vector<std::string>{}, boost::test_tools::per_element());
  }
  BOOST_TEST(here().workers() == stay);
  for (proc_id p : {proc_id{1}, w[0], w[1]})
    BOOST_TEST(eventually([&] { return here().references(p).empty(); }));
}

// RM-15, TH-04
BOOST_AUTO_TEST_CASE(a_program_that_ends_while_references_are_on_their_way_ends_at_once_each_time) {
  for (int i = 0; i < 100; ++i) {
    program_result result;
    const auto time = time_of([&] { result = run_scenario("ends at once", {"-p", "2"}); });
    BOOST_TEST_REQUIRE(result.end.status == 5);
    BOOST_TEST_REQUIRE(result.err == "");
    BOOST_TEST_REQUIRE((time < 5s));
  }
}
