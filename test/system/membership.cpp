#define BOOST_TEST_MODULE membership
// How workers come, go, are replaced, and come by themselves.
#include "system/harness.hpp"

#include "system/test_manager.hpp"

#include <numeric>
#include <set>

namespace {

using ids = std::vector<proc_id>;

proc_id where_am_i() { return here().myid(); }

int add(int a, int b) { return a + b; }

bool is_worker(proc_id id) {
  const auto all = here().workers();
  return std::find(all.begin(), all.end(), id) != all.end() && id != 1;
}

void kill_worker(proc_id id) { ::kill(static_cast<::pid_t>(here().info(id).os_pid), SIGKILL); }

// What lies in a worker's environment.
std::string variable(const std::string& name) {
  const auto value = std::getenv(name.c_str());
  return value == nullptr ? "" : value;
}

std::atomic<int> set_up{0};

class folder {
public:
  folder() : path_(std::filesystem::temp_directory_path() / ("troupe_membership." + std::to_string(::getpid()))) {
    std::filesystem::create_directory(path_);
  }
  ~folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

private:
  std::filesystem::path path_;
};

/// A process of this program, whose stderr is read line by line.
class started {
public:
  explicit started(std::vector<std::string> args)
    : child_({.program = std::filesystem::read_symlink("/proc/self/exe"),
              .args = std::move(args),
              .dir = {},
              .env = {},
              .env_removed_prefixes = {}}),
      in_(child_.take_stdin()),
      out_(child_.take_stdout()),
      err_(child_.take_stderr()) {}
  troupe::child_process& process() { return child_; }
  /// What it writes to stderr, up to a line that has this in it; empty if none comes.
  std::string line_with(std::string_view part) {
    const auto until = std::chrono::steady_clock::now() + patience;
    for (;;) {
      if (const auto end = text_.find('\n'); end != std::string::npos) {
        const auto line = text_.substr(0, end);
        text_.erase(0, end + 1);
        if (contains(line, part))
          return line;
        continue;
      }
      ::pollfd p{err_.get(), POLLIN, 0};
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
      char buffer[4096];
      const auto n = left > 0ms && ::poll(&p, 1, static_cast<int>(left.count())) > 0 ? ::read(err_.get(), buffer, sizeof buffer) : 0;
      if (n <= 0)
        return {};
      text_.append(buffer, static_cast<std::size_t>(n));
    }
  }
  int status() {
    const auto end = child_.wait_until(std::chrono::steady_clock::now() + patience);
    return end ? end->status : -1;
  }

private:
  troupe::child_process child_;
  troupe::unique_fd in_, out_, err_;
  std::string text_;
};

std::string word_behind(const std::string& line, const std::string& mark) {
  const auto begin = line.find(mark) + mark.size();
  return line.substr(begin, line.find(' ', begin) - begin);
}

const scenario waits_for_two{"waits for two", [](troupe::cluster& c) {
                               if (!eventually([&] { return c.nprocs() == 3; }))
                                 return 9;
                               int sum = 0;
                               for (auto id : c.workers())
                                 sum += c.remotecall_fetch(
                                   id, [](proc_id other) { return here().remotecall_fetch<add>(other, 20, 1); }, id == 2 ? 3 : 2);
                               return sum;
                             }};

const scenario adds_a_silent_one{"adds one that is silent", [](troupe::cluster& c) {
                                   c.addprocs(1, {.exename = "/bin/sh", .exeflags = {"-c", "sleep 1000"}});
                                   return 0;
                                 }};

const scenario adds_and_ends{"adds and ends", [](troupe::cluster& c) {
                               auto coming = c.addprocs_async(2);
                               return 0;
                             }};

} // namespace

// -- in the background ----------------------------------------------------------------------------------------------------

// AP-18
BOOST_AUTO_TEST_CASE(workers_can_be_added_in_the_background) {
  auto coming = here().addprocs_async(2);
  const auto all = coming.fetch();
  BOOST_TEST(all == here().workers());
  BOOST_TEST(here().default_worker_pool().members() == all);
  auto failing = here().addprocs_async(1, {.exename = "/bin/true"});
  BOOST_CHECK_THROW(failing.fetch(), troupe::launch_error);
  here().rmprocs(all);
}

BOOST_AUTO_TEST_CASE(an_addition_that_is_cancelled_gives_up_those_that_havent_joined) {
  auto coming = here().addprocs_async(1, {.exename = "/bin/sh", .exeflags = {"-c", "sleep 1000"}});
  std::this_thread::sleep_for(100ms); // it may have begun, or not
  coming.cancel();
  BOOST_CHECK_THROW(coming.fetch(), troupe::cancelled);
  BOOST_TEST(here().nprocs() == 1);
  const workers w{1}; // nothing is held up
  BOOST_TEST(w.ids().size() == 1u);
}

BOOST_AUTO_TEST_CASE(an_addition_that_is_cancelled_gives_up_those_that_are_joining) {
  here().on_join([] {
    if (std::getenv("SLOW_TO_JOIN") != nullptr)
      std::this_thread::sleep_for(2s);
  });
  auto coming = here().addprocs_async(1, {.env = {{"SLOW_TO_JOIN", "yes"}}});
  std::this_thread::sleep_for(500ms); // it has told its address by then
  coming.cancel();
  BOOST_CHECK_THROW(coming.fetch(), troupe::cancelled);
  std::this_thread::sleep_for(3s);
  BOOST_TEST(here().nprocs() == 1);
}

BOOST_AUTO_TEST_CASE(an_addition_over_ssh_in_the_background_fails_with_the_error_of_an_addition) {
  auto coming = here().addprocs_async({"nowhere"}, {.ssh = "/bin/false"});
  const auto failed = error_of<troupe::launch_error>([&] { coming.fetch(); });
  BOOST_TEST(failed.failures().at(0).host == "nowhere");
}

BOOST_AUTO_TEST_CASE(a_program_that_ends_while_workers_come_leaves_none) {
  const auto end = run_scenario("adds and ends");
  BOOST_TEST(end.end.status == 0);
  BOOST_TEST(end.err == "");
}

BOOST_AUTO_TEST_CASE(workers_removed_in_the_background_dont_count_at_once) {
  const workers w{2};
  const auto os_pid = here().info(w[0]).os_pid;
  const auto gone = here().rmprocs_async({w[0]});
  BOOST_TEST(!is_worker(w[0]));
  gone.wait();
  BOOST_TEST(!process_exists(os_pid));
}

// AP-02: also managers of different kinds, and removals beside them
BOOST_AUTO_TEST_CASE(additions_from_several_threads_dont_hold_up_each_other) {
  auto silent = std::async(std::launch::async,
                           [] { here().addprocs(1, {.exename = "/bin/sh", .exeflags = {"-c", "sleep 1000"}, .launch_timeout = 4s}); });
  std::vector<std::future<ids>> adding;
  for (int i = 0; i < 4; ++i)
    adding.push_back(std::async(std::launch::async, [] {
      auto mine = here().addprocs(1);
      here().rmprocs(mine);
      return here().addprocs(1);
    }));
  ids all;
  for (auto& a : adding)
    all.push_back(a.get().at(0));
  std::sort(all.begin(), all.end());
  BOOST_TEST(here().workers() == all);
  BOOST_TEST((silent.wait_for(0s) == std::future_status::timeout));
  BOOST_CHECK_THROW(silent.get(), troupe::launch_error);
  here().rmprocs(all);
}

BOOST_AUTO_TEST_CASE(two_removals_of_one_worker_both_wait_for_its_end) {
  const workers w{1};
  auto nap = here().remotecall(w[0], [] { std::this_thread::sleep_for(500ms); });
  const auto os_pid = here().info(w[0]).os_pid;
  auto first = std::async(std::launch::async, [&] { here().rmprocs(w[0]); });
  auto second = std::async(std::launch::async, [&] { here().rmprocs(w[0]); });
  first.get();
  second.get();
  BOOST_TEST(!process_exists(os_pid));
}

// -- drained --------------------------------------------------------------------------------------------------------------

// RM-14
BOOST_AUTO_TEST_CASE(a_worker_that_is_drained_finishes_what_it_has_and_gets_nothing_new) {
  const workers w{2};
  const troupe::worker_pool pool{here(), w.ids()};
  std::vector<troupe::future<int>> naps;
  for (int i = 0; i < 3; ++i) // one runs, two are queued
    naps.push_back(here().remotecall(
      w[0],
      [](int n) {
        troupe::this_task::sleep_for(200ms);
        return n;
      },
      i));
  auto draining = std::async(std::launch::async, [&] { here().drain(w[0]); });
  BOOST_TEST(eventually([&] { return !is_worker(w[0]); }));
  const auto refused = error_of<troupe::process_exited>([&] { here().remotecall(w[0], [] {}); });
  BOOST_TEST(contains(refused.what(), "takes no new work"));
  BOOST_TEST(eventually([&] { return pool.members() == ids{w[1]}; }));
  BOOST_TEST(here().default_worker_pool().members() == ids{w[1]});
  for (int i = 0; i < 4; ++i)
    BOOST_TEST(here().remotecall_fetch<where_am_i>(troupe::any) == w[1]);
  draining.get();
  for (int i = 0; i < 3; ++i) {
    BOOST_TEST(naps[static_cast<std::size_t>(i)].isready());
    BOOST_TEST(naps[static_cast<std::size_t>(i)].fetch() == i); // lives there
  }
  // who calls from elsewhere is refused, too
  BOOST_CHECK_THROW(
    here().remotecall_fetch(w[1], [](proc_id to) { here().remotecall_fetch<where_am_i>(to); }, w[0]), troupe::process_exited);
  // who comes later knows, too
  const workers later{1};
  const auto known = here().remotecall_fetch(later[0], [] { return here().workers(); });
  BOOST_TEST((known == ids{w[1], later[0]}));
  BOOST_CHECK_THROW(
    here().remotecall_fetch(later[0], [](proc_id to) { here().remotecall_fetch<where_am_i>(to); }, w[0]), troupe::process_exited);
  here().drain(w[0]); // again: nothing to do
  here().rmprocs(w[0]);
}

BOOST_AUTO_TEST_CASE(a_drain_with_a_limit_tells_who_is_still_busy) {
  const workers w{1};
  auto nap = here().remotecall(w[0], [] { troupe::this_task::sleep_for(10s); });
  const auto late = error_of<troupe::timeout_error>([&] { here().drain(w.ids(), 100ms); });
  BOOST_TEST(late.pids() == w.ids());
  nap.cancel();
  here().drain(w.ids());
}

BOOST_AUTO_TEST_CASE(a_drain_ends_when_its_worker_dies) {
  const workers w{1};
  auto nap = here().remotecall(w[0], [] { troupe::this_task::sleep_for(60s); });
  auto draining = std::async(std::launch::async, [&] { here().drain(w.ids()); });
  BOOST_TEST(eventually([&] { return !is_worker(w[0]); }));
  kill_worker(w[0]);
  draining.get();
  BOOST_CHECK_THROW(nap.fetch(), troupe::process_exited);
}

BOOST_AUTO_TEST_CASE(a_map_goes_on_while_one_of_its_workers_is_drained) {
  const workers w{3};
  std::vector<int> xs(300);
  std::iota(xs.begin(), xs.end(), 0);
  auto draining = std::async(std::launch::async, [&] {
    std::this_thread::sleep_for(30ms);
    here().drain(w[0]);
  });
  const auto ys = here().pmap(
    [](int x) {
      troupe::this_task::sleep_for(1ms);
      return x;
    },
    xs, troupe::pmap_options<int>{.batch_size = 5});
  BOOST_TEST(ys == xs);
  draining.get();
}

// -- replaced -------------------------------------------------------------------------------------------------------------

// FA-15, AP-33, AP-34
BOOST_AUTO_TEST_CASE(a_worker_that_is_lost_is_replaced_as_often_as_was_asked_for) {
  here().on_join([] { ++set_up; });
  const workers w{2, {.env = {{"SLOT", [](int i) { return "slot" + std::to_string(i); }}}, .respawn = 2}};
  const troupe::worker_pool pool{here(), w.ids()};
  auto victim = w[1];
  const auto slot = here().remotecall_fetch<variable>(victim, "SLOT");
  BOOST_TEST(slot.starts_with("slot"));
  std::set<proc_id> seen{w[0], w[1]};
  for (int i = 0; i < 2; ++i) {
    kill_worker(victim);
    proc_id by = 0;
    BOOST_REQUIRE(eventually([&] {
      for (auto id : here().workers())
        if (!seen.contains(id) && id != 1)
          by = id;
      return by != 0;
    }));
    seen.insert(by);
    BOOST_TEST(here().remotecall_fetch<variable>(by, "SLOT") == slot);
    BOOST_TEST(here().remotecall_fetch(by, [] { return set_up.load(); }) == 1);
    BOOST_TEST(eventually([&] { return pool.members() == (ids{w[0], by}); }));
    BOOST_TEST(eventually([&] { return here().default_worker_pool().members() == (ids{w[0], by}); }));
    victim = by;
  }
  kill_worker(victim); // the third is for good
  BOOST_TEST(eventually([&] { return here().workers() == ids{w[0]}; }));
  std::this_thread::sleep_for(500ms);
  BOOST_TEST(here().workers() == ids{w[0]});
  here().rmprocs(w[0]); // who is removed isn't replaced
  std::this_thread::sleep_for(300ms);
  BOOST_TEST(here().nprocs() == 1);
}

BOOST_AUTO_TEST_CASE(a_manager_that_cant_replace_a_worker_says_so) {
  const auto manager = std::make_shared<test_manager>(test_manager::settings{});
  troupe::launch_options options;
  options.extra["count"] = "1";
  options.threads = 1;
  options.respawn = 1;
  captured_stream err{STDERR_FILENO};
  const auto all = here().addprocs(manager, options);
  manager->send(all.at(0), SIGKILL);
  BOOST_TEST(
    eventually([&] { return contains(err.text(), "worker " + std::to_string(all.at(0)) + " is not replaced: its manager can't"); }));
}

// -- by themselves ----------------------------------------------------------------------------------------------------------

// CM-17, CK-04
BOOST_AUTO_TEST_CASE(workers_that_know_the_cookie_may_come_by_themselves) {
  const folder f;
  const auto cookie = (f / "cookie").string();
  started master{{"--scenario=waits for two", "--listen", "127.0.0.1", "--cookie-file", cookie}};
  const auto line = master.line_with("workers may come");
  BOOST_TEST_REQUIRE(contains(line, "--join 127.0.0.1:"));
  BOOST_TEST(contains(line, "--cookie-file " + cookie));
  const auto where = word_behind(line, "--join ");
  started one{{"--join", where, "--cookie-file", cookie, "--bind-addr", "127.0.0.1"}};
  BOOST_TEST(contains(master.line_with("has joined"), "worker 2 has joined from "));
  started two{{"--join", "localhost:" + word_behind(where, ":"), "--cookie-file", cookie, "--bind-addr", "127.0.0.1"}};
  BOOST_TEST(contains(two.line_with("this is worker"), "this is worker 3 of the cluster at localhost"));
  BOOST_TEST(master.status() == 42);
  BOOST_TEST(one.status() == 0);
  BOOST_TEST(two.status() == 0);
}

BOOST_AUTO_TEST_CASE(a_worker_with_another_cookie_doesnt_get_in_and_says_why) {
  const folder f;
  const auto cookie = (f / "cookie").string();
  started master{{"--scenario=waits for two", "--listen", "127.0.0.1", "--cookie-file", cookie}};
  const auto where = word_behind(master.line_with("workers may come"), "--join ");
  const auto other = (f / "other").string();
  {
    std::ofstream{other} << "another\n";
    std::filesystem::permissions(other, std::filesystem::perms::owner_read);
  }
  const auto begin = std::chrono::steady_clock::now();
  started one{{"--join", where, "--cookie-file", other, "--bind-addr", "127.0.0.1"}};
  BOOST_TEST(contains(one.line_with("can't join yet"), "cookie"));
  BOOST_TEST(one.status() == 1);
  BOOST_TEST((std::chrono::steady_clock::now() - begin < 30s)); // it goes on trying for 60 s where that may help
  master.process().signal_group(SIGKILL);
}

BOOST_AUTO_TEST_CASE(what_is_wrong_about_joining_is_said_at_once) {
  const folder f;
  const auto none = (f / "none").string();
  for (auto& [args, text] : std::vector<std::pair<std::vector<std::string>, std::string>>{
         {{"--join", "nowhere"}, "'nowhere' is not HOST:PORT"},
         {{"--join", "127.0.0.1:9000", "--cookie-file", none}, none + ": copy it there from the master's host"},
         {{"--join", "127.0.0.1:9000", "-p", "2"}, "excludes"},
       }) {
    const auto end = run_scenario("waits for two", args);
    BOOST_TEST(end.end.status == 2);
    BOOST_TEST(contains(end.err, text), end.err);
  }
}

// AP-14
BOOST_AUTO_TEST_CASE(the_time_for_joining_can_be_set_in_the_environment) {
  ::setenv("TROUPE_LAUNCH_TIMEOUT", "1", 1);
  const auto begin = std::chrono::steady_clock::now();
  const auto end = run_scenario("adds one that is silent");
  ::unsetenv("TROUPE_LAUNCH_TIMEOUT");
  BOOST_TEST(end.end.status == 1);
  BOOST_TEST(contains(end.err, "told no address within 1000 ms"), end.err);
  BOOST_TEST((std::chrono::steady_clock::now() - begin < 8s));
}

// SE-06
BOOST_AUTO_TEST_CASE(workers_that_come_and_go_leave_nothing_behind) {
  const workers stays{1};
  const auto rounds = [&](int n) {
    for (int i = 0; i < n; ++i) {
      const workers w{1};
      BOOST_TEST_REQUIRE(
        here().remotecall_fetch(
          w[0],
          [](proc_id to, std::vector<int> x) { return here().remotecall_fetch(to, [](const std::vector<int>& v) { return v.size(); }, x); },
          stays[0], std::vector<int>(1000))
        == 1000U);
    }
  };
  worker_output output;
  rounds(20);
  const auto before = bytes_in_use(1), before_there = bytes_in_use(stays[0]);
  rounds(100);
  BOOST_TEST_MESSAGE((bytes_in_use(1) - before) / 100 << " bytes for each that was here, " << (bytes_in_use(stays[0]) - before_there) / 100
                                                      << " at another worker");
  BOOST_TEST(bytes_in_use(1) - before < 100 * 10'000);
  BOOST_TEST(bytes_in_use(stays[0]) - before_there < 100 * 10'000);
  const auto links = here().links();
  BOOST_TEST(links.size() == 1U);
  BOOST_TEST(output.lines_of(stays[0]) == std::vector<std::string>{},
             boost::test_tools::per_element()); // no dials at what doesn't know them
}

BOOST_AUTO_TEST_CASE(without_listen_nobody_comes) {
  const auto end = run_scenario("waits for two", {"--bind-addr", "127.0.0.1", "-p", "2"});
  BOOST_TEST(end.end.status == 42); // the usual way
  BOOST_TEST(end.err == "");
}
