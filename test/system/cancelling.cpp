#define BOOST_TEST_MODULE cancelling
#include "system/harness.hpp"

#include "troupe/actors/call.hpp"
#include "troupe/actors/runtime.hpp"
#include "troupe/actors/task.hpp"
#include "troupe/actors/waiter.hpp"

#include <atomic>
#include <memory>
#include <optional>
#include <random>
#include <set>

using troupe::call_options;
using troupe::cancel_token;
using troupe::direct;

namespace {

using clock = std::chrono::steady_clock;

// What has to end at once ends within this time, on a busy machine as well. What would go on without being told takes `long_time`.
constexpr auto soon = 5s;
constexpr auto long_time = 40s;

// -- functions that are called on other processes -----------------------------------------------------------

proc_id own_id() { return here().myid(); }
int own_os_pid() { return ::getpid(); }
int twice(int x) { return 2 * x; }

std::atomic<int> begun{0};
std::atomic<int> ended{0};
std::atomic<bool> gate{false};
std::mutex last_mutex;
std::string last_words;

void nap() {
  ++begun;
  troupe::this_task::sleep_for(long_time);
  ++ended;
}

// Computes and never looks, until its gate is opened.
int spin() {
  ++begun;
  const auto until = clock::now() + long_time;
  while (!gate && clock::now() < until) {
  }
  ++ended;
  return 7;
}

void spin_and_check() {
  ++begun;
  const auto until = clock::now() + long_time;
  while (clock::now() < until)
    troupe::this_task::check();
  ++ended;
}

// Waits, and writes down what that throws.
void nap_and_tell() {
  ++begun;
  try {
    troupe::this_task::sleep_for(long_time);
  } catch (const troupe::error& e) {
    std::lock_guard guard{last_mutex};
    last_words = std::string{to_string(e.kind())} + (troupe::this_task::stop_requested() ? ", requested: " : ": ") + e.what();
    throw;
  }
}

// Neither of these needs a turn.
int begun_on(proc_id where) {
  return here().remotecall_fetch(where, direct([] { return begun.load(); }));
}
int ended_on(proc_id where) {
  return here().remotecall_fetch(where, direct([] { return ended.load(); }));
}
void set_gate(proc_id where, bool open) {
  here().remotecall_fetch(where, direct([](bool b) { gate = b; }), open);
}
std::string last_words_on(proc_id where) {
  return here().remotecall_fetch(where, direct([] {
                                   std::lock_guard guard{last_mutex};
                                   return last_words;
                                 }));
}

[[nodiscard]] bool begins(proc_id where, int n = 1) {
  return eventually([&] { return begun_on(where) >= n; });
}

// What a process keeps for calls that have no answer, and for those that may be stopped; alarms look after told tasks for a moment.
std::size_t kept_here() {
  auto& rt = troupe::runtime::get();
  return rt.replies().size() + rt.stoppable().size() + rt.timers().size();
}
std::size_t stoppable_here() { return troupe::runtime::get().stoppable().size(); }

[[nodiscard]] bool nothing_stays(const workers& w) {
  return eventually([&] {
    if (kept_here() != 0)
      return false;
    for (auto id : w.ids())
      if (here().remotecall_fetch(id, direct([] { return stoppable_here() + troupe::runtime::get().timers().size(); })) != 0)
        return false;
    return true;
  });
}

// A worker whose only turn is taken, by a task that computes until the gate is opened.
class hogged {
public:
  explicit hogged(proc_id where) : where_(where) {
    set_gate(where, false);
    const auto before = begun_on(where);
    here().remote_do<spin>(where);
    BOOST_REQUIRE(begins(where, before + 1));
  }
  ~hogged() { open(); }
  hogged(const hogged&) = delete;
  hogged& operator=(const hogged&) = delete;

  void open() { set_gate(where_, true); }

private:
  proc_id where_;
};

template <class F>
bool takes_less_than(clock::duration limit, F f) {
  return time_of(f) < limit;
}

} // namespace

// -- interrupt ----------------------------------------------------------------------------------------------

// IN-01
BOOST_AUTO_TEST_CASE(interrupt_takes_no_ids_one_or_several) {
  workers w{3};
  const auto start = [](proc_id id) {
    const auto before = begun_on(id);
    auto f = here().remotecall<nap>(id);
    BOOST_REQUIRE(begins(id, before + 1));
    return f;
  };
  std::vector<troupe::future<void>> all;
  for (auto id : w.ids())
    all.push_back(start(id));
  here().interrupt(w[0]);
  BOOST_CHECK_THROW(all[0].wait(), troupe::interrupted);
  BOOST_TEST(!all[1].isready());
  here().interrupt({w[1], w[2]});
  BOOST_CHECK_THROW(all[1].wait(), troupe::interrupted);
  BOOST_CHECK_THROW(all[2].wait(), troupe::interrupted);
  for (auto id : w.ids())
    all.push_back(start(id));
  BOOST_TEST(takes_less_than(soon, [&] {
    here().interrupt();
    for (auto& f : all)
      BOOST_CHECK_THROW(f.wait(), troupe::interrupted);
  }));
  BOOST_TEST(nothing_stays(w));
}

// IN-01
BOOST_AUTO_TEST_CASE(only_the_master_interrupts) {
  workers w{2};
  for (auto to : {w[0], w[1]}) {
    const auto e = error_of<troupe::remote_error>([&] { here().remotecall_fetch(w[0], [](proc_id id) { here().interrupt(id); }, to); });
    BOOST_TEST(contains(e.what(), "interrupt: only process 1 may do this"));
  }
}

// IN-02
BOOST_AUTO_TEST_CASE(a_task_that_waits_ends_with_interrupted_and_its_worker_serves_on) {
  workers w{2};
  const auto pid = here().remotecall_fetch<own_os_pid>(w[0]);
  const auto sleeping = here().remotecall<nap>(w[0]);
  const auto fetching = here().remotecall(
    w[0],
    [](proc_id other) {
      ++begun;
      here().remotecall_fetch<nap>(other);
    },
    w[1]);
  const auto waiting = here().remotecall(
    w[0],
    [](proc_id other) {
      const auto f = here().remotecall<nap>(other);
      ++begun;
      return f.wait_for(long_time);
    },
    w[1]);
  BOOST_REQUIRE(begins(w[0], 3));
  BOOST_REQUIRE(begins(w[1], 2));
  BOOST_TEST(takes_less_than(soon, [&] {
    here().interrupt(w[0]);
    const auto e = error_of<troupe::interrupted>([&] { sleeping.wait(); });
    BOOST_TEST(e.pid() == w[0]);
    BOOST_TEST(contains(e.what(), "interrupted on worker " + std::to_string(w[0])));
    BOOST_CHECK_THROW(fetching.wait(), troupe::interrupted);
    BOOST_CHECK_THROW(waiting.wait(), troupe::interrupted);
  }));
  BOOST_TEST(here().remotecall_fetch<own_os_pid>(w[0]) == pid);
  BOOST_TEST(here().remotecall_fetch<own_id>(w[0]) == w[0]);
}

// IN-02
BOOST_AUTO_TEST_CASE(a_task_that_computes_and_checks_ends_with_interrupted) {
  workers w{1};
  const auto f = here().remotecall<spin_and_check>(w[0]);
  BOOST_REQUIRE(begins(w[0]));
  BOOST_TEST(takes_less_than(soon, [&] {
    here().interrupt(w[0]);
    const auto e = error_of<troupe::interrupted>([&] { f.wait(); });
    BOOST_TEST(!contains(e.what(), "still running"));
  }));
  BOOST_TEST(ended_on(w[0]) == 0);
  BOOST_TEST(here().remotecall_fetch<own_id>(w[0]) == w[0]);
}

BOOST_AUTO_TEST_CASE(a_task_that_waits_to_send_is_interrupted_as_well) {
  workers w{2};
  hogged other{w[1]};
  const auto f = here().remotecall(
    w[0],
    [](proc_id to) {
      ++begun;
      for (int i = 0; i < 1000; ++i)
        here().remote_do(to, [](const std::vector<char>&) {}, std::vector<char>(1 << 20));
    },
    w[1]);
  const auto waits = [&] {
    for (auto& s : here().statistics())
      if (s.id == w[0])
        for (auto& p : s.peers)
          if (p.peer == w[1] && p.waiting > 0)
            return true;
    return false;
  };
  BOOST_REQUIRE(eventually(waits));
  here().interrupt(w[0]);
  BOOST_CHECK_THROW(f.wait(), troupe::interrupted);
}

// IN-03
BOOST_AUTO_TEST_CASE(interrupting_an_idle_worker_does_nothing) {
  for (int i = 0; i < 10; ++i) {
    workers w{5};
    here().interrupt();
    for (auto id : w.ids()) {
      here().interrupt(id);
      BOOST_TEST(here().remotecall_fetch<own_id>(id) == id);
      here().remotecall_fetch(id, [] { troupe::this_task::sleep_for(1ms); });
    }
  }
}

// IN-04
BOOST_AUTO_TEST_CASE(what_is_queued_and_what_comes_later_runs) {
  workers w{1};
  const auto runs = here().remotecall<spin_and_check>(w[0]);
  BOOST_REQUIRE(begins(w[0]));
  const auto queued = here().remotecall<twice>(w[0], 21);
  const auto queued_nap = here().remotecall(w[0], [] {
    troupe::this_task::sleep_for(20ms);
    return 1;
  });
  here().interrupt(w[0]);
  const auto later = here().remotecall(w[0], [] {
    troupe::this_task::sleep_for(100ms);
    return 2;
  });
  BOOST_CHECK_THROW(runs.wait(), troupe::interrupted);
  BOOST_TEST(queued.fetch() == 42);
  BOOST_TEST(queued_nap.fetch() == 1);
  BOOST_TEST(later.fetch() == 2);
}

// IN-05
BOOST_AUTO_TEST_CASE(each_of_many_calls_has_one_answer_whenever_the_interrupt_comes) {
  workers w{2, {.threads = 2}};
  std::mt19937 random{11};
  for (int round = 0; round < 20; ++round) {
    std::vector<troupe::future<int>> all;
    for (int i = 0; i < 100; ++i)
      all.push_back(here().remotecall(
        w[i % 2],
        [](int n, int us) {
          troupe::this_task::sleep_for(std::chrono::microseconds{us});
          return n;
        },
        i, static_cast<int>(random() % 20'000)));
    here().interrupt();
    int answered = 0;
    for (int i = 0; i < 100; ++i) {
      try {
        answered += all[static_cast<std::size_t>(i)].fetch() == i;
      } catch (const troupe::interrupted&) {
        ++answered;
      }
    }
    BOOST_TEST(answered == 100);
  }
  BOOST_TEST(nothing_stays(w));
}

// IN-08
BOOST_AUTO_TEST_CASE(interrupting_who_is_unknown_or_gone_is_an_error_and_interrupts_nobody) {
  workers w{2};
  const auto f = here().remotecall<nap>(w[0]);
  BOOST_REQUIRE(begins(w[0]));
  BOOST_TEST(error_of<troupe::unknown_process>([] { here().interrupt(99'999); }).pid() == 99'999);
  BOOST_CHECK_THROW(here().interrupt({w[0], 99'999}), troupe::unknown_process);
  here().rmprocs(w[1]);
  BOOST_TEST(error_of<troupe::process_exited>([&] { here().interrupt(w[1]); }).pid() == w[1]);
  BOOST_CHECK_THROW(here().interrupt({w[0], w[1]}), troupe::process_exited);
  BOOST_TEST(!f.isready());
  here().interrupt();
  BOOST_CHECK_THROW(f.wait(), troupe::interrupted);
}

// IN-09
BOOST_AUTO_TEST_CASE(a_task_that_never_looks_is_reported_as_running_and_keeps_only_its_thread) {
  workers w{1};
  const auto pid = here().remotecall_fetch<own_os_pid>(w[0]);
  set_gate(w[0], false);
  const auto f = here().remotecall<spin>(w[0]);
  BOOST_REQUIRE(begins(w[0]));
  const auto queued = here().remotecall<twice>(w[0], 21);
  BOOST_TEST(takes_less_than(soon, [&] {
    here().interrupt(w[0]);
    const auto e = error_of<troupe::interrupted>([&] { f.fetch(); });
    BOOST_TEST(e.pid() == w[0]);
    BOOST_TEST(contains(e.what(), "spin"));
    BOOST_TEST(contains(e.what(), "still running"));
    BOOST_TEST(contains(e.what(), "this_task::check()"));
    BOOST_TEST(queued.fetch() == 42);
  }));
  BOOST_TEST(ended_on(w[0]) == 0);
  for (int i = 0; i < 100; ++i)
    BOOST_TEST(here().remotecall_fetch<twice>(w[0], i) == 2 * i);
  BOOST_TEST(here().remotecall_fetch<own_os_pid>(w[0]) == pid);
  set_gate(w[0], true);
  BOOST_TEST(eventually([&] { return ended_on(w[0]) == 1; }));
  BOOST_CHECK_THROW(f.fetch(), troupe::interrupted); // its result is dropped
  // one turn is one turn again
  std::vector<troupe::future<int>> all;
  for (int i = 0; i < 200; ++i)
    all.push_back(here().remotecall(w[0], [] {
      static std::atomic<int> inside{0};
      const int met = ++inside;
      const auto until = clock::now() + 50us;
      while (clock::now() < until) {
      }
      --inside;
      if (clock::now().time_since_epoch().count() % 3 == 0)
        troupe::this_task::sleep_for(10us);
      return met;
    }));
  for (auto& x : all)
    BOOST_TEST(x.fetch() == 1);
  BOOST_TEST(nothing_stays(w));
}

// IN-09
BOOST_AUTO_TEST_CASE(a_task_that_checks_late_has_a_turn_again_before_it_goes_on) {
  workers w{1};
  const auto late = here().remotecall(w[0], [] {
    ++begun;
    const auto until = clock::now() + 600ms; // longer than it may compute after it was told
    while (clock::now() < until) {
    }
    try {
      troupe::this_task::check();
    } catch (const troupe::interrupted&) {
      return troupe::executor::in_job() ? 1 : 0;
    }
    return 2;
  });
  BOOST_REQUIRE(begins(w[0]));
  here().interrupt(w[0]);
  BOOST_CHECK_THROW(late.wait(), troupe::interrupted);
  BOOST_TEST(here().remotecall_fetch<own_id>(w[0]) == w[0]);
  BOOST_TEST(nothing_stays(w));
}

BOOST_AUTO_TEST_CASE(tasks_of_the_master_are_interrupted_when_it_is_named) {
  const auto before = begun.load();
  const auto f = here().remotecall<nap>(1);
  BOOST_REQUIRE(eventually([&] { return begun > before; }));
  here().interrupt(1);
  const auto e = error_of<troupe::interrupted>([&] { f.wait(); });
  BOOST_TEST(contains(e.what(), "on the master"));
}

// -- deadlines ----------------------------------------------------------------------------------------------

// RC-26, IN-06
BOOST_AUTO_TEST_CASE(every_form_takes_a_deadline) {
  workers w{1};
  const call_options options{.deadline = 200ms};
  for (auto p : {w[0], proc_id{1}}) {
    const auto check = [&](auto call) {
      const auto took = time_of([&] {
        const auto e = error_of<troupe::deadline_exceeded>(call);
        BOOST_TEST(e.pid() == p);
        BOOST_TEST(contains(e.what(), "nap"));
        BOOST_TEST(contains(e.what(), p == 1 ? "on the master" : "on worker " + std::to_string(p)));
        BOOST_TEST(contains(e.what(), "200 ms"));
      });
      BOOST_TEST((took >= 200ms));
      BOOST_TEST((took < soon));
    };
    check([&] { here().remotecall(options, p, troupe::fn<nap>).wait(); });
    check([&] { here().remotecall<nap>(options, p).fetch(); });
    check([&] { here().remotecall_wait(options, p, troupe::fn<nap>); });
    check([&] { here().remotecall_wait<nap>(options, p); });
    check([&] { here().remotecall_fetch(options, p, troupe::fn<nap>); });
    check([&] { here().remotecall_fetch<nap>(call_options{.deadline = 200ms}, p); });
    check([&] { here().spawnat(options, p, troupe::fn<nap>).wait(); });
    check([&] { here().spawnat<nap>(options, p).wait(); });
    check([&] { here().everywhere(options, p, troupe::fn<nap>); });
  }
  const auto all = error_of<troupe::composite_error>([&] { here().everywhere(options, troupe::fn<nap>); });
  BOOST_TEST(all.errors().size() == 2u);
  const auto listed = error_of<troupe::composite_error>([&] { here().everywhere(options, w.ids(), troupe::fn<nap>); });
  BOOST_TEST((listed.errors().front().kind() == troupe::error_kind::deadline_exceeded));
  BOOST_TEST(nothing_stays(w));
}

// RC-26
BOOST_AUTO_TEST_CASE(a_call_that_ends_before_its_deadline_is_like_any_other) {
  workers w{1};
  const call_options options{.deadline = 30s, .token = cancel_token{}};
  for (auto p : {w[0], proc_id{1}}) {
    BOOST_TEST(here().remotecall<twice>(options, p, 1).fetch() == 2);
    BOOST_TEST(here().remotecall_fetch(options, p, [](int x) { return x + 1; }, 1) == 2);
    BOOST_TEST(here().remotecall_fetch(options, p, direct([](int x) { return x + 1; }), 1) == 2);
    BOOST_TEST(here().remotecall_wait<twice>(options, p, 2).isready());
    BOOST_CHECK_THROW(here().remotecall_fetch(options, p, [] { throw std::logic_error{"no"}; }), troupe::remote_error);
    const auto before = begun_on(p);
    here().remote_do(options, p, [] { ++begun; });
    here().remote_do<nap>(call_options{.token = cancel_token{}}, p); // its answer never comes, nor is it waited for
    BOOST_TEST(begins(p, before + 2));
  }
  here().everywhere(options, [] {});
  here().interrupt({1, w[0]}); // the naps
  BOOST_TEST(nothing_stays(w));
  BOOST_TEST(options.token->state()->size() == 0u);
}

// IN-06
BOOST_AUTO_TEST_CASE(past_its_deadline_the_task_is_told_why) {
  workers w{1};
  BOOST_CHECK_THROW(here().remotecall_fetch<nap_and_tell>(call_options{.deadline = 100ms}, w[0]), troupe::deadline_exceeded);
  BOOST_REQUIRE(eventually([&] { return !last_words_on(w[0]).empty(); }));
  const auto words = last_words_on(w[0]);
  BOOST_TEST(words.starts_with("deadline_exceeded, requested: the call of "));
  BOOST_TEST(contains(words, "nap_and_tell"));
  BOOST_TEST(contains(words, "100 ms"));
}

// RC-26
BOOST_AUTO_TEST_CASE(a_future_becomes_ready_at_its_deadline_though_nobody_waits) {
  workers w{1};
  const auto before = clock::now();
  const auto f = here().remotecall<nap>(call_options{.deadline = 100ms}, w[0]);
  BOOST_TEST(!f.isready());
  BOOST_TEST(eventually([&] { return f.isready(); }));
  BOOST_TEST((clock::now() - before >= 100ms));
  BOOST_CHECK_THROW(f.fetch(), troupe::deadline_exceeded);
}

BOOST_AUTO_TEST_CASE(a_deadline_that_has_passed_ends_the_call_at_once_and_nothing_is_sent) {
  workers w{1};
  const auto before = begun_on(w[0]);
  for (auto limit : {0s, -1s}) {
    const call_options options{.deadline = limit};
    const auto f = here().remotecall(options, w[0], [] { ++begun; });
    BOOST_TEST(f.isready());
    BOOST_CHECK_THROW(f.fetch(), troupe::deadline_exceeded);
    BOOST_CHECK_THROW(here().remotecall_fetch(options, w[0], [] { ++begun; }), troupe::deadline_exceeded);
    BOOST_CHECK_THROW(here().remote_do(options, w[0], [] { ++begun; }), troupe::deadline_exceeded);
  }
  here().remotecall_fetch<own_id>(w[0]);
  BOOST_TEST(begun_on(w[0]) == before);
  BOOST_CHECK_THROW(here().remotecall(call_options{.deadline = 0s}, 99'999, [] {}), troupe::unknown_process);
}

BOOST_AUTO_TEST_CASE(a_call_that_is_queued_at_its_deadline_never_runs) {
  workers w{1};
  hogged hog{w[0]};
  const auto before = begun_on(w[0]);
  BOOST_CHECK_THROW(here().remotecall_fetch(call_options{.deadline = 50ms}, w[0], [] { ++begun; }), troupe::deadline_exceeded);
  const auto in_batch = here().remotecall(call_options{.deadline = 50ms}, w[0], [] { ++begun; });
  BOOST_CHECK_THROW(in_batch.fetch(), troupe::deadline_exceeded);
  BOOST_TEST(nothing_stays(w)); // also while it can't begin
  hog.open();
  here().remotecall_fetch<own_id>(w[0]);
  BOOST_TEST(begun_on(w[0]) == before);
}

// RC-26
BOOST_AUTO_TEST_CASE(an_answer_that_comes_late_does_no_harm) {
  workers w{1};
  set_gate(w[0], false);
  const auto f = here().remotecall<spin>(call_options{.deadline = 100ms}, w[0]);
  BOOST_CHECK_THROW(f.fetch(), troupe::deadline_exceeded);
  // it neither looks nor waits, and yet others go on
  BOOST_TEST(here().remotecall_fetch<twice>(w[0], 4) == 8);
  BOOST_TEST(ended_on(w[0]) == 0);
  set_gate(w[0], true);
  BOOST_REQUIRE(eventually([&] { return ended_on(w[0]) == 1; }));
  BOOST_TEST(here().remotecall_fetch<twice>(w[0], 5) == 10);
  BOOST_CHECK_THROW(f.fetch(), troupe::deadline_exceeded);
  BOOST_TEST(nothing_stays(w));
}

BOOST_AUTO_TEST_CASE(a_deadline_holds_while_the_call_waits_to_be_sent) {
  workers w{1};
  hogged hog{w[0]};
  const auto before = begun_on(w[0]);
  const auto call = [&](const call_options& options) {
    return here().remotecall(options, w[0], [](const std::vector<char>&) { ++begun; }, std::vector<char>(1 << 20));
  };
  std::vector<troupe::future<void>> open;
  BOOST_TEST(takes_less_than(long_time, [&] {
    for (int i = 0; i < 40; ++i) // the worker takes 16 MiB of them
      open.push_back(call({.deadline = 300ms}));
  }));
  for (auto& f : open)
    BOOST_CHECK_THROW(f.fetch(), troupe::deadline_exceeded);
  // those that were given up in the queue count no longer
  BOOST_TEST(takes_less_than(long_time, [&] {
    cancel_token token;
    std::vector<troupe::future<void>> more;
    std::thread cancelling;
    for (int i = 0; i < 40; ++i) {
      if (i == 8)
        cancelling = std::thread{[&] {
          eventually([&] { return kept_here() > 15; });
          token.cancel();
        }};
      more.push_back(call({.token = token}));
    }
    cancelling.join();
    for (auto& f : more)
      BOOST_CHECK_THROW(f.fetch(), troupe::cancelled);
    BOOST_CHECK_THROW(here().remote_do(call_options{.token = token}, w[0], [] { ++begun; }), troupe::cancelled);
  }));
  hog.open();
  here().remotecall_fetch<own_id>(w[0]);
  BOOST_TEST(begun_on(w[0]) == before);
  BOOST_TEST(nothing_stays(w));
}

BOOST_AUTO_TEST_CASE(a_task_on_a_worker_gives_its_calls_deadlines) {
  workers w{2};
  const auto words = here().remotecall_fetch(
    w[0],
    [](proc_id other) -> std::string {
      try {
        here().remotecall_fetch<nap_and_tell>(call_options{.deadline = 100ms}, other);
      } catch (const troupe::deadline_exceeded& e) {
        return e.what();
      }
      return {};
    },
    w[1]);
  BOOST_TEST(contains(words, "on worker " + std::to_string(w[1])));
  BOOST_REQUIRE(eventually([&] { return !last_words_on(w[1]).empty(); }));
  BOOST_TEST(nothing_stays(w));
}

BOOST_AUTO_TEST_CASE(a_worker_that_leaves_ends_the_call_before_its_deadline) {
  workers w{1};
  const cancel_token token;
  const auto f = here().remotecall<nap>(call_options{.deadline = long_time, .token = token}, w[0]);
  here().remote_do<nap>(call_options{.deadline = long_time, .token = token}, w[0]);
  BOOST_REQUIRE(begins(w[0], 2));
  here().rmprocs(w[0]);
  BOOST_CHECK_THROW(f.fetch(), troupe::process_exited);
  BOOST_TEST(eventually([] { return kept_here() == 0; }));
  BOOST_TEST(token.state()->size() == 0u);
}

// -- tokens -------------------------------------------------------------------------------------------------

// IN-06
BOOST_AUTO_TEST_CASE(a_token_ends_all_calls_that_were_given_it) {
  workers w{2};
  const cancel_token token;
  const call_options options{.token = token};
  std::vector<troupe::future<void>> all;
  for (auto p : {w[0], w[1], proc_id{1}})
    for (int i = 0; i < 3; ++i)
      all.push_back(here().remotecall<nap>(options, p));
  const auto untouched = here().remotecall<nap>(w[0]);
  BOOST_REQUIRE(begins(w[0], 4));
  std::thread blocked{[&] {
    try {
      here().remotecall_fetch<nap_and_tell>(options, w[1]);
    } catch (const troupe::cancelled&) {
      ++begun;
    }
  }};
  BOOST_REQUIRE(begins(w[1], 4));
  const auto before = begun.load();
  token.cancel();
  token.cancel();
  blocked.join();
  BOOST_TEST(begun == before + 1);
  for (auto& f : all) {
    BOOST_TEST(f.isready());
    const auto e = error_of<troupe::cancelled>([&] { f.wait(); });
    BOOST_TEST(contains(e.what(), "nap"));
    BOOST_TEST(contains(e.what(), e.pid() == 1 ? "on the master" : "on worker " + std::to_string(e.pid())));
  }
  BOOST_TEST(eventually([&] { return last_words_on(w[1]).starts_with("cancelled, requested"); }));
  BOOST_TEST(!untouched.isready());
  here().interrupt();
  BOOST_CHECK_THROW(untouched.wait(), troupe::interrupted);
  BOOST_TEST(nothing_stays(w));
}

BOOST_AUTO_TEST_CASE(a_token_that_was_cancelled_before_ends_the_call_and_nothing_is_sent) {
  workers w{1};
  const auto before = begun_on(w[0]);
  const cancel_token token;
  token.cancel();
  const call_options options{.token = token};
  const auto f = here().remotecall(options, w[0], [] { ++begun; });
  BOOST_TEST(f.isready());
  BOOST_CHECK_THROW(f.fetch(), troupe::cancelled);
  BOOST_CHECK_THROW(here().remotecall_fetch(options, w[0], [] { ++begun; }), troupe::cancelled);
  BOOST_CHECK_THROW(here().remotecall_wait(options, w[0], [] { ++begun; }), troupe::cancelled);
  BOOST_CHECK_THROW(here().remote_do(options, w[0], [] { ++begun; }), troupe::cancelled);
  here().remotecall_fetch<own_id>(w[0]);
  BOOST_TEST(begun_on(w[0]) == before);
  BOOST_TEST(kept_here() == 0u);
}

BOOST_AUTO_TEST_CASE(a_call_that_nobody_waits_for_is_cancelled_where_it_runs) {
  workers w{1};
  const cancel_token token;
  here().remote_do<nap_and_tell>(call_options{.token = token}, w[0]);
  BOOST_REQUIRE(begins(w[0]));
  token.cancel();
  BOOST_TEST(eventually([&] { return last_words_on(w[0]).starts_with("cancelled, requested"); }));
  BOOST_TEST(nothing_stays(w));
}

BOOST_AUTO_TEST_CASE(one_call_is_cancelled_while_it_is_queued_or_runs) {
  workers w{1};
  using task = troupe::detail::task_of<troupe::fn_t<nap_and_tell>>;
  const auto call = [&] {
    auto state = std::make_shared<troupe::detail::typed_future_state<void>>();
    troupe::detail::outgoing_call c{w[0], task::id(), troupe::detail::call_stoppable, &task::label};
    c.encode([](troupe::writer& out) { task::write_call(out, nullptr, troupe::fn<nap_and_tell>); });
    c.send(state, false);
    return state;
  };
  const auto runs = call();
  BOOST_REQUIRE(begins(w[0]));
  {
    hogged hog{w[0]};
    const auto queued = call();
    cancel_call(*queued);
    cancel_call(*queued);
    BOOST_TEST(queued->ready());
    BOOST_CHECK_THROW(queued->throw_if_failed(), troupe::cancelled);
  }
  cancel_call(*runs);
  BOOST_CHECK_THROW(runs->throw_if_failed(), troupe::cancelled);
  BOOST_TEST(eventually([&] { return last_words_on(w[0]).starts_with("cancelled, requested"); }));
  here().remotecall_fetch<own_id>(w[0]);
  BOOST_TEST(begun_on(w[0]) == 2); // the hog is one
  BOOST_TEST(nothing_stays(w));
  const auto done = here().remotecall_wait<own_id>(w[0]);
  BOOST_TEST(done.fetch() == w[0]);
}

// Whatever comes first: each call ends once, and nothing of it stays.
BOOST_AUTO_TEST_CASE(limits_that_meet_the_answers_leave_nothing_behind) {
  workers w{2, {.threads = 2}};
  std::mt19937 random{5};
  std::map<troupe::error_kind, int> failed;
  int values = 0;
  for (int round = 0; round < 20; ++round) {
    cancel_token token;
    std::vector<troupe::future<int>> all;
    for (int i = 0; i < 200; ++i) {
      call_options options;
      if (i % 3 != 0)
        options.deadline = std::chrono::microseconds{random() % 4000};
      if (i % 2 == 0)
        options.token = token;
      all.push_back(here().remotecall(
        options, i % 5 == 0 ? 1 : w[i % 2],
        [](int us) {
          if (us % 2 == 0)
            troupe::this_task::sleep_for(std::chrono::microseconds{us});
          return us;
        },
        static_cast<int>(random() % 3000)));
      if (i == 150)
        token.cancel();
    }
    for (auto& f : all) {
      try {
        f.fetch();
        ++values;
      } catch (const troupe::error& e) {
        ++failed[e.kind()];
      }
    }
    BOOST_TEST(token.state()->size() == 0u);
  }
  BOOST_TEST(values > 0);
  BOOST_TEST(failed[troupe::error_kind::deadline_exceeded] > 0);
  BOOST_TEST(failed[troupe::error_kind::cancelled] > 0);
  BOOST_TEST(failed.size() == 2u);
  BOOST_TEST(nothing_stays(w));
  for (auto id : w.ids())
    BOOST_TEST(here().remotecall_fetch<own_id>(id) == id);
}

// -- tasks --------------------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(a_direct_function_is_not_told_what_the_task_is_whose_thread_runs_it) {
  workers w{1};
  // the task waits, and drives the loop, which runs direct functions
  const auto f = here().remotecall(w[0], [] {
    ++begun;
    try {
      troupe::this_task::sleep_for(long_time);
    } catch (const troupe::interrupted&) {
    }
    // it was told, and calls a direct function of its own process in its own thread
    const bool seen = here()
                        .remotecall(own_id(), direct([] {
                                      troupe::this_task::check();
                                      return troupe::this_task::stop_requested();
                                    }))
                        .fetch();
    return std::pair{troupe::this_task::stop_requested(), seen};
  });
  BOOST_REQUIRE(begins(w[0]));
  here().interrupt(w[0]);
  BOOST_TEST(f.fetch().first);
  BOOST_TEST(!f.fetch().second);
}

BOOST_AUTO_TEST_CASE(what_a_told_task_waits_for_while_it_unwinds_may_come) {
  workers w{1};
  const auto f = here().remotecall(w[0], [] {
    struct cleaning {
      ~cleaning() {
        troupe::this_task::sleep_for(5ms);
        ended += here().remotecall_fetch<twice>(1, 21);
      }
    } at_end;
    ++begun;
    troupe::this_task::sleep_for(long_time);
  });
  BOOST_REQUIRE(begins(w[0]));
  here().interrupt(w[0]);
  BOOST_CHECK_THROW(f.wait(), troupe::interrupted);
  BOOST_TEST(ended_on(w[0]) == 42);
}

BOOST_AUTO_TEST_CASE(outside_of_a_task_only_the_user_interrupts) {
  troupe::this_task::check();
  BOOST_TEST(!troupe::this_task::stop_requested());
  here().interrupt(1);
  troupe::this_task::check();
  troupe::waiter::of_this_thread().interrupt("the user has");
  BOOST_TEST(troupe::this_task::stop_requested());
  BOOST_TEST(contains(error_of<troupe::interrupted>([] { troupe::this_task::check(); }).what(), "the user has"));
  BOOST_TEST(!troupe::this_task::stop_requested());
  troupe::this_task::check();
}

// TH-03
BOOST_AUTO_TEST_CASE(a_hundred_tasks_that_wait_leave_the_worker_responsive_and_end_together) {
  workers w{1};
  const cancel_token token;
  std::vector<troupe::future<void>> all;
  for (int i = 0; i < 101; ++i)
    all.push_back(here().remotecall<nap>(call_options{.token = token}, w[0]));
  BOOST_REQUIRE(begins(w[0], 101));
  BOOST_TEST(takes_less_than(soon, [&] { BOOST_TEST(here().remotecall_fetch<own_id>(w[0]) == w[0]); }));
  token.cancel();
  for (auto& f : all)
    BOOST_CHECK_THROW(f.wait(), troupe::cancelled);
  BOOST_TEST(nothing_stays(w));
}

BOOST_AUTO_TEST_CASE(limits_may_be_longer_than_time_can_tell) {
  constexpr auto most = std::chrono::hours::max();
  workers w{2};
  const auto sleep = [] { troupe::this_task::sleep_for(most); };
  BOOST_CHECK_THROW(here().remotecall_fetch(call_options{.deadline = 100ms}, w[0], sleep), troupe::deadline_exceeded);

  const auto ch = troupe::remote_channel<int>::on(here(), w[0], 1);
  const auto taken = here().remotecall(w[1], [](const troupe::remote_channel<int>& c) { return c.try_take(most).value_or(0); }, ch);
  BOOST_TEST(!taken.wait_for(50ms));
  BOOST_TEST(ch.try_put(7, most));
  BOOST_TEST(taken.fetch() == 7);

  here().drain({w[0]}, most);
  here().rmprocs({w[0]}, std::chrono::duration<double>{1e300});
  BOOST_TEST(here().workers() == std::vector<proc_id>{w[1]}, boost::test_tools::per_element());
}
