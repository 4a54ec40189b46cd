#define BOOST_TEST_MODULE map_chaos
// Maps at random while workers die, leave and join. TROUPE_CHAOS_SEED repeats a run, as far as threads let it; TROUPE_CHAOS_SECONDS says how long it goes on.
#include "system/harness.hpp"
#include "system/walked_numbers.hpp"

#include "troupe/actors/runtime.hpp"

#include <atomic>
#include <numeric>
#include <optional>
#include <random>
#include <set>

namespace {

using troupe::caching_pool;
using troupe::call_options;
using troupe::error_kind;
using troupe::pmap_options;
using troupe::worker_pool;
using ints = std::vector<int>;

unsigned seed() {
  static const unsigned chosen = [] {
    const auto text = std::getenv("TROUPE_CHAOS_SEED");
    return text != nullptr ? static_cast<unsigned>(std::stoul(text)) : std::random_device{}() % 1000000;
  }();
  return chosen;
}

std::chrono::seconds time_to_spend() {
  const auto text = std::getenv("TROUPE_CHAOS_SECONDS");
  return std::chrono::seconds{text != nullptr ? std::stoi(text) : 8};
}

const setup longer{[](troupe::app&) { case_limit = 120s + time_to_spend(); }};

ints range(int n) {
  ints out(static_cast<std::size_t>(n));
  std::iota(out.begin(), out.end(), 0);
  return out;
}

// Of this process.
std::atomic<int> begun{0};
std::atomic<int> running{0};

int begun_here() { return begun; }

std::size_t maps_here() { return troupe::runtime::get().maps().size(); }

void compute_for(std::chrono::microseconds time) {
  const auto until = std::chrono::steady_clock::now() + time;
  while (std::chrono::steady_clock::now() < until) {
  }
}

void kill_worker(proc_id id) { ::kill(static_cast<::pid_t>(here().info(id).os_pid), SIGKILL); }

// WP-19
class highest_first final : public troupe::abstract_pool {
public:
  explicit highest_first(const std::vector<proc_id>& ids) : members_(ids.begin(), ids.end()), idle_(members_) {}
  std::optional<proc_id> take() override {
    if (idle_.empty())
      return std::nullopt;
    const auto id = *idle_.rbegin();
    idle_.erase(id);
    return id;
  }
  void put(proc_id id) override {
    if (members_.contains(id))
      idle_.insert(id);
  }
  void push(proc_id id) override {
    members_.insert(id);
    idle_.insert(id);
  }
  std::vector<proc_id> members() const override { return {members_.begin(), members_.end()}; }
  std::vector<proc_id> idle() const override { return {idle_.begin(), idle_.end()}; }
  void lost(proc_id id) override {
    members_.erase(id);
    idle_.erase(id);
  }

private:
  std::set<proc_id> members_;
  std::set<proc_id> idle_;
};

bool is_left_alone(proc_id id) {
  return here().remotecall_fetch(id, troupe::direct(troupe::fn<maps_here>)) == 0 && (id == 1 || here().references(id).empty());
}

} // namespace

// -- one thing at a time --------------------------------------------------------------------------------------------------------------

// PF-10: neither what a worker is at nor what waits there goes on
BOOST_AUTO_TEST_CASE(a_map_that_is_given_up_leaves_nothing_running_or_kept_on_its_workers) {
  workers w{2};
  for (std::size_t size : {std::size_t{3}, std::size_t{100000}}) {
    const auto took = time_of([&] {
      BOOST_CHECK_THROW(here().pmap(call_options{.deadline = 300ms},
                                    troupe::with(std::vector<double>(size),
                                                 [](const std::vector<double>&, int x) {
                                                   ++begun;
                                                   compute_for(2ms);
                                                   return x;
                                                 }),
                                    range(100000), pmap_options<>{.batch_size = 1000, .ahead = 5}),
                        troupe::deadline_exceeded);
    });
    BOOST_TEST((took < 5s));
    for (auto id : w.ids())
      BOOST_TEST(eventually([&] { return is_left_alone(id); }));
    const auto all = [&] { return here().remotecall_fetch<begun_here>(w[0]) + here().remotecall_fetch<begun_here>(w[1]); };
    int now = all();
    BOOST_TEST(eventually([&] { return now == std::exchange(now, all()); }, 1s)); // those two that ran
    BOOST_TEST(now < 2000);
    BOOST_TEST(here().remotecall_fetch(w[0], [] { return 1; }) == 1);
  }
}

// PF-28: the tasks use what is on the caller's stack
BOOST_AUTO_TEST_CASE(a_map_of_this_process_that_is_given_up_waits_for_its_tasks) {
  for (int round = 0; round < 5; ++round) {
    BOOST_CHECK_THROW(here().pmap(
                        call_options{.deadline = 20ms},
                        [](int) {
                          ++running;
                          compute_for(5ms);
                          try {
                            troupe::this_task::sleep_for(10s);
                          } catch (...) {
                          }
                          compute_for(20ms);
                          --running;
                        },
                        range(20), pmap_options<>{.distributed = false, .tasks = 10}),
                      troupe::deadline_exceeded);
    BOOST_TEST(running == 0);
  }
}

// PF-25: a process that a function needs isn't the one that it runs on
BOOST_AUTO_TEST_CASE(a_function_that_meets_a_dead_process_has_failed_and_its_worker_has_not) {
  workers w{2};
  workers other{1};
  const worker_pool pool{here(), w.ids()};
  const auto dead = other[0];
  kill_worker(dead);
  BOOST_TEST(eventually([&] { return here().workers().size() == 2; }));
  const auto call_it = [dead](int x) {
    if (++begun % 2 == 1)
      here().remotecall_fetch(dead, [] { return 0; });
    return x;
  };
  BOOST_TEST(here().pmap(call_it, range(50), pmap_options<>{.pool = &pool, .retry_delays = std::vector(100, 1ms)}) == range(50),
             boost::test_tools::per_element());
  std::size_t failures = 0;
  const auto e = error_of<troupe::process_exited>([&] {
    here().pmap([dead](int) { return here().remotecall_fetch(dead, [] { return 0; }); }, range(5),
                pmap_options<>{.pool = &pool, .watch = [&](const troupe::map_status& s) { failures = s.failed; }});
  });
  BOOST_TEST(e.pid() == dead);
  BOOST_TEST(failures >= 1u);
  BOOST_TEST(pool.size() == 2u);
}

// CP-02, CP-03
BOOST_AUTO_TEST_CASE(calls_that_are_on_their_way_when_their_caching_pool_ends_still_find_their_function) {
  workers w{1};
  for (int round = 0; round < 50; ++round) {
    std::vector<troupe::future<int>> all;
    {
      const caching_pool cache{here(), w.ids(), 100};
      const auto f = troupe::with(std::string{"abc"}, [](const std::string& s, int x) { return static_cast<int>(s.size()) + x; });
      BOOST_TEST(here().remotecall_fetch(cache, f, 0) == 3);
      here().remote_do(w[0], [] { compute_for(2ms); });
      for (int i = 0; i < 20; ++i)
        all.push_back(here().remotecall(cache, f, i));
      if (round % 2 == 0)
        clear(cache);
    }
    for (int i = 0; i < 20; ++i)
      BOOST_TEST(all[static_cast<std::size_t>(i)].fetch() == i + 3);
  }
  BOOST_TEST(eventually([&] { return here().references(w[0]).empty(); }));
}

// WP-19
BOOST_AUTO_TEST_CASE(a_pool_of_the_users_own_gets_back_whom_a_map_has_taken) {
  workers w{2};
  const worker_pool pool{here(), std::make_shared<highest_first>(w.ids())};
  const auto idle = [&] { return eventually([&] { return pool.idle().size() == 2; }); };
  // one that fails may have to go where it was
  BOOST_TEST(here().pmap(
               [](int x) {
                 if (++begun % 3 == 0)
                   throw std::runtime_error("again");
                 return x;
               },
               range(30), pmap_options<>{.pool = &pool, .retry_delays = std::vector(1000, 1ms)})
               == range(30),
             boost::test_tools::per_element());
  BOOST_TEST(idle());
  for (int round = 0; round < 3; ++round) {
    BOOST_CHECK_THROW(here().pmap(
                        call_options{.deadline = 50ms},
                        [](int x) {
                          troupe::this_task::sleep_for(10s);
                          return x;
                        },
                        range(30), pmap_options<>{.pool = &pool}),
                      troupe::deadline_exceeded);
    BOOST_TEST(idle());
  }
  BOOST_TEST(here().pmap([](int x) { return x; }, range(30), pmap_options<>{.pool = &pool}) == range(30), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(an_interrupt_of_a_worker_ends_a_map_also_one_that_computes) {
  workers w{2};
  for (int batch : {1, 1000}) {
    std::atomic<bool> go{false};
    std::atomic<bool> ended{false};
    std::thread interrupter{[&] {
      while (!go)
        std::this_thread::sleep_for(1ms);
      while (!ended) { // between two tasks there's nobody to be told
        here().interrupt({w[1]});
        std::this_thread::sleep_for(20ms);
      }
    }};
    BOOST_CHECK_THROW(here().pmap(
                        [](int x) {
                          compute_for(1ms);
                          return x;
                        },
                        range(20000),
                        pmap_options<int>{.batch_size = batch,
                                          .on_error = [](const troupe::error&) { return 0; },
                                          .watch = [&](const troupe::map_status&) { go = true; }}),
                      troupe::interrupted);
    ended = true;
    interrupter.join();
  }
}

// CP-06: a large function is on its way when its worker dies
BOOST_AUTO_TEST_CASE(a_worker_may_die_while_it_gets_its_function) {
  for (int round = 0; round < 3; ++round) {
    workers w{3};
    const auto f =
      troupe::with(std::vector<double>(8 << 20, 1.0), [](const std::vector<double>& v, int x) { return static_cast<int>(v.back()) + x; });
    std::thread killer{[&] {
      std::this_thread::sleep_for(std::chrono::milliseconds{10 + 30 * round});
      kill_worker(w[0]);
    }};
    const auto ys = here().pmap(f, range(50), pmap_options<>{.batch_size = 1});
    killer.join();
    for (int i = 0; i < 50; ++i)
      BOOST_TEST(ys[static_cast<std::size_t>(i)] == i + 1);
  }
}

// Ctrl-C is noticed by a map whose answers never cease
static const scenario interrupted_map{"interrupted_map", [](troupe::cluster& c) {
                                        c.addprocs(2);
                                        std::thread user{[] {
                                          std::this_thread::sleep_for(500ms);
                                          ::kill(::getpid(), SIGINT);
                                        }};
                                        int status = 1;
                                        try {
                                          walked_numbers endless{1 << 30};
                                          c.pmap_each([](int x) { return x; }, endless, [](int) {}, pmap_options<>{.batch_size = 1});
                                        } catch (const troupe::interrupted&) {
                                          status = 7;
                                        }
                                        user.join();
                                        return status;
                                      }};

BOOST_AUTO_TEST_CASE(ctrl_c_ends_a_map) {
  const auto r = run_scenario("interrupted_map");
  BOOST_TEST(r.end.status == 7);
  BOOST_TEST(r.err == "");
}

// -- all of it ------------------------------------------------------------------------------------------------------------------------

namespace {

struct plan {
  int n = 0;
  bool walked = false;
  int batch = 0;
  std::optional<int> ahead;
  std::size_t held = 0; // what the function holds, in numbers
  int naps = 0; // one of so many elements waits for a moment; 0: none
  int throws = 0; // the attempt at one of so many fails; 0: none
  bool replaced = false; // those have a value given; else they are tried again
  int resubmit = 3;
  int deadline = 0; // ms

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, plan& x) {
    return f(caf::meta::type_name("plan"), x.n, x.walked, x.batch, x.ahead, x.held, x.naps, x.throws, x.replaced, x.resubmit, x.deadline);
  }
};

std::string text_of(const plan& p) {
  return "n " + std::to_string(p.n) + (p.walked ? " walked" : "") + " batch " + std::to_string(p.batch) + " ahead "
         + std::to_string(p.ahead.value_or(-1)) + " held " + std::to_string(p.held) + " naps " + std::to_string(p.naps) + " throws "
         + std::to_string(p.throws) + (p.replaced ? " replaced" : "") + " resubmit " + std::to_string(p.resubmit) + " deadline "
         + std::to_string(p.deadline);
}

// What it should be; what was wrong, or nothing.
std::string map_by(const plan& p, const worker_pool* pool) {
  pmap_options<std::int64_t> o;
  o.pool = pool;
  o.batch_size = p.batch;
  o.ahead = p.ahead;
  o.resubmit = p.resubmit;
  if (p.throws > 0 && p.replaced)
    o.on_error = [](const troupe::error& e) -> std::int64_t {
      if (e.kind() != error_kind::remote)
        throw e;
      return -static_cast<std::int64_t>(e.item());
    };
  else if (p.throws > 0)
    o.retry_delays = std::vector(1000, std::chrono::milliseconds{1});
  call_options limits;
  if (p.deadline > 0)
    limits.deadline = std::chrono::milliseconds{p.deadline};
  const auto f = troupe::with(std::vector<std::int64_t>(p.held, 2), p.naps, p.throws, p.replaced,
                              [](const std::vector<std::int64_t>& v, int naps, int throws, bool always, int x) {
                                if (naps > 0 && x % naps == 0)
                                  troupe::this_task::sleep_for(std::chrono::milliseconds{1 + x % 3});
                                if (throws > 0 && (always ? x % throws == 0 : begun++ % throws == 0))
                                  throw std::runtime_error("at random");
                                return static_cast<std::int64_t>(x) * (v.empty() ? 2 : v[static_cast<std::size_t>(x) % v.size()]);
                              });
  std::vector<std::int64_t> ys;
  if (p.walked) {
    walked_numbers xs{p.n};
    ys = here().pmap(limits, f, xs, o);
  } else {
    ys = here().pmap(limits, f, range(p.n), o);
  }
  if (ys.size() != static_cast<std::size_t>(p.n))
    return std::to_string(ys.size()) + " results of " + std::to_string(p.n);
  for (int x = 0; x < p.n; ++x) {
    const std::int64_t right = p.throws > 0 && p.replaced && x % p.throws == 0 ? -x : 2 * std::int64_t{x};
    if (ys[static_cast<std::size_t>(x)] != right)
      return "element " + std::to_string(x) + " is " + std::to_string(ys[static_cast<std::size_t>(x)]);
  }
  return {};
}

std::string map_over(const plan& p, const worker_pool& pool) { return map_by(p, pool.valid() ? &pool : nullptr); }

worker_pool pool_there(const std::vector<proc_id>& ids, bool own) {
  return own ? worker_pool{here(), std::make_shared<highest_first>(ids)} : worker_pool{here(), ids};
}

/// Has workers die, leave and join while it lives; the first worker is never touched.
class reaper {
public:
  explicit reaper(unsigned salt) : dice_(salt) {
    refill();
    witness_ = here().workers().front();
    thread_ = std::thread{[this] { work(); }};
  }
  ~reaper() {
    over_ = true;
    thread_.join();
    here().rmprocs(here().workers());
  }
  proc_id witness() const { return witness_; }
  std::atomic<int> killed{0}, removed{0}, interrupts{0};
  std::atomic<bool> interrupting{false};

private:
  void refill() {
    auto all = here().workers();
    const auto there = all.front() == 1 ? 0 : static_cast<int>(all.size());
    if (there < 4)
      here().addprocs(4 - there);
  }
  void work() {
    while (!over_) {
      std::this_thread::sleep_for(std::chrono::milliseconds{dice_() % 150});
      auto all = here().workers();
      std::erase(all, witness_);
      try {
        if (!all.empty()) {
          const auto id = all[dice_() % all.size()];
          const auto what = dice_() % 10;
          if (what < 6) {
            kill_worker(id);
            ++killed;
          } else if (what < 8) {
            here().rmprocs({id});
            ++removed;
          } else if (interrupting) {
            here().interrupt({id});
            ++interrupts;
          }
        }
        refill();
      } catch (const troupe::error& e) {
        std::fprintf(stderr, "reaper: %s\n", e.what());
      }
    }
  }

  std::mt19937 dice_;
  proc_id witness_ = 0;
  std::atomic<bool> over_{false};
  std::thread thread_;
};

} // namespace

// PF-23, PF-25, PF-26, PF-29, PF-33, WP-19, CP-06, CP-10
BOOST_AUTO_TEST_CASE(maps_are_right_or_say_why_not_whoever_dies) {
  std::printf("TROUPE_CHAOS_SEED=%u\n", seed());
  captured_stream log{STDERR_FILENO}; // a line for each worker that is lost
  int right = 0;
  std::map<std::string, int> ended;
  std::mt19937 dice{seed()};
  const auto one_of = [&](unsigned n) { return dice() % n == 0; };
  const auto up_to = [&](unsigned n) { return static_cast<int>(dice() % (n + 1)); };
  {
    reaper r{seed() + 1};
    std::optional<caching_pool> cache;
    std::chrono::steady_clock::duration longest{};
    std::string longest_one;
    const auto until = std::chrono::steady_clock::now() + time_to_spend();
    while (std::chrono::steady_clock::now() < until || right <= 10) {
      plan p;
      p.n = one_of(10) ? up_to(1) : one_of(10) ? 20000 + up_to(50000) : up_to(500);
      p.walked = one_of(2);
      p.batch = one_of(2) ? 0 : 1 + up_to(30);
      if (one_of(2))
        p.ahead = up_to(5);
      p.held = one_of(4) ? 200000 : one_of(2) ? 0 : static_cast<std::size_t>(up_to(100));
      p.naps = one_of(3) || p.n > 1000 ? 0 : 1 + up_to(10);
      p.throws = one_of(2) ? 0 : 3 + up_to(20);
      if (p.throws > 0) // an error takes a millisecond or two, its stack trace most of that
        p.n = std::min(p.n, 5000);
      p.replaced = one_of(2);
      p.resubmit = one_of(3) ? up_to(3) : 50;
      if (p.resubmit == 0) // a death is the element's then
        p.ahead = std::nullopt;
      if (one_of(10))
        p.deadline = 1 + up_to(100);
      r.interrupting = one_of(8);
      // where, by whom
      auto ids = here().workers();
      const auto kind = up_to(6);
      const auto on_worker = one_of(4);
      const auto owner = kind == 5 || kind == 6 ? ids[dice() % ids.size()] : proc_id{1};
      const auto caller = on_worker ? ids[dice() % ids.size()] : proc_id{1};
      std::string wrong;
      const auto begin = std::chrono::steady_clock::now();
      const auto what =
        text_of(p) + " pool " + std::to_string(kind) + " owner " + std::to_string(owner) + " caller " + std::to_string(caller);
      describe_hang = [&] { return what + "\n"; };
      try {
        worker_pool pool;
        if (kind == 1) {
          pool = worker_pool{here(), ids};
        } else if (kind == 2) {
          if (!cache || one_of(5))
            cache.emplace(here(), ids);
          else if (one_of(5))
            clear(*cache);
          for (auto id : ids) {
            const auto there = cache->members();
            if (std::find(there.begin(), there.end(), id) == there.end())
              try {
                cache->push(id);
              } catch (const troupe::process_exited&) {
              }
          }
          pool = *cache;
        } else if (kind == 3) {
          ids.push_back(1);
          pool = worker_pool{here(), ids, 2};
        } else if (kind == 4) {
          pool = worker_pool{here(), std::make_shared<highest_first>(ids)};
        } else if (kind == 5 || kind == 6) {
          pool = here().remotecall_fetch<pool_there>(owner, ids, kind == 6);
        }
        wrong = on_worker ? here().remotecall_fetch<map_over>(caller, p, pool) : map_over(p, pool);
        ++right;
      } catch (const troupe::error& e) {
        const auto gone = [&](proc_id id) { return e.info().pid == id && id != 1 && id != r.witness(); };
        bool allowed = false;
        switch (e.kind()) {
          case error_kind::process_exited: // an element that was there too often, or who was needed
            allowed = (e.info().item != troupe::error_info::no_item && static_cast<int>(e.info().pids.size()) > p.resubmit) || gone(owner)
                      || gone(caller);
            break;
          case error_kind::deadline_exceeded:
            allowed = p.deadline > 0;
            break;
          case error_kind::interrupted:
            allowed = r.interrupts > 0;
            break;
          default: // no_workers is none of them: the witness is always there
            break;
        }
        // a map on a worker has its own errors wrapped
        if (!allowed && on_worker && e.kind() == error_kind::remote)
          allowed = contains(e.what(), "has gone") || contains(e.what(), "deadline");
        if (!allowed)
          wrong = e.what();
        ++ended[std::to_string(static_cast<int>(e.kind()))];
      }
      if (const auto took = std::chrono::steady_clock::now() - begin; took > longest) {
        longest = took;
        longest_one = what;
      }
      BOOST_TEST(wrong == "", what << ": " << wrong);
    }
    describe_hang = nullptr;
    cache.reset();
    r.interrupting = false;
    BOOST_TEST_MESSAGE(right << " maps right; " << r.killed << " workers killed, " << r.removed << " removed, " << r.interrupts
                             << " interrupted; the longest took " << std::chrono::duration<double>{longest}.count() << " s");
    for (auto& [kind, n] : ended)
      BOOST_TEST_MESSAGE("  ended by an error of kind " << kind << ": " << n);
    BOOST_TEST((longest < 60s), longest_one); // of 70,000 elements that throw, beside compilers
    BOOST_TEST(eventually([&] { return is_left_alone(1); }));
    BOOST_TEST(eventually([&] { return is_left_alone(r.witness()); }));
  }
  BOOST_TEST(right > 10);
}
