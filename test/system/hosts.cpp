#define BOOST_TEST_MODULE hosts
// Workers on several hosts, and what becomes of them when cables are pulled and power is cut: runs itself in scripts/lab. Needs root, sshd and iproute2.
#include "system/harness.hpp"

#include <cerrno>
#include <cstring>
#include <numeric>
#include <set>

namespace {

using ids = std::vector<proc_id>;
using troupe::machine_spec;

// Before main: this program again, as the command of a lab.
const setup in_a_lab{[](troupe::app&) {
  if (std::getenv("TROUPE_LAB") != nullptr)
    return;
  const auto self = std::filesystem::read_symlink("/proc/self/exe").string();
  const auto lab = std::string{TROUPE_SOURCE_DIR "/scripts/lab"};
  if (::geteuid() != 0) {
    std::puts("skipped: needs root");
    std::exit(77);
  }
  std::vector<std::string> words{lab, "4", "--", self};
  const auto line = read_file("/proc/self/cmdline");
  for (std::size_t begin = line.find('\0') + 1, n = 0; begin < line.size() && n < 100; begin += n + 1) {
    n = line.substr(begin).find('\0');
    words.push_back(line.substr(begin, n));
  }
  std::vector<char*> argv;
  for (auto& w : words)
    argv.push_back(w.data());
  argv.push_back(nullptr);
  ::execv(lab.c_str(), argv.data());
  std::fprintf(stderr, "can't run %s: %s\n", lab.c_str(), std::strerror(errno));
  std::exit(1);
}};

/// scripts/lab with these words.
void lab(std::vector<std::string> words) {
  const auto script = std::string{TROUPE_SOURCE_DIR "/scripts/lab"};
  troupe::child_process child{{.program = script, .args = std::move(words), .dir = {}, .env = {}, .env_removed_prefixes = {}}};
  const auto end = child.wait_until(std::chrono::steady_clock::now() + patience);
  BOOST_REQUIRE_MESSAGE(end && end->status == 0, "scripts/lab failed");
}

proc_id where_am_i() { return here().myid(); }

proc_id by_way_of(proc_id first, proc_id second) {
  return here().remotecall_fetch(first, [](proc_id to) { return here().remotecall_fetch<where_am_i>(to); }, second);
}

bool linked(proc_id a, proc_id b) {
  for (auto& l : here().links())
    if (l.a == std::min(a, b) && l.b == std::max(a, b))
      return true;
  return false;
}

/// Workers on these hosts that live no longer than the object.
class remote_workers {
public:
  explicit remote_workers(const std::vector<machine_spec>& machines, troupe::ssh_options options = {})
    : ids_(here().addprocs(machines, std::move(options))) {}
  ~remote_workers() {
    const auto there = here().procs();
    std::erase_if(ids_, [&](proc_id id) { return std::find(there.begin(), there.end(), id) == there.end(); });
    here().rmprocs(ids_);
  }
  remote_workers(const remote_workers&) = delete;
  remote_workers& operator=(const remote_workers&) = delete;
  proc_id operator[](std::size_t i) const { return ids_.at(i); }
  const ids& all() const { return ids_; }

private:
  ids ids_;
};

std::vector<machine_spec> hosts(int n) {
  std::vector<machine_spec> out;
  for (int i = 1; i <= n; ++i)
    out.emplace_back("host" + std::to_string(i));
  return out;
}

// A task that waits for a worker that never answers, from elsewhere; how long it took to hear of its end, in ms.
troupe::future<std::int64_t> wait_for_end(proc_id on, proc_id of) {
  return here().remotecall(
    on,
    [](proc_id victim) {
      auto never = here().remotecall(victim, [] { troupe::this_task::sleep_for(1h); });
      const auto begin = std::chrono::steady_clock::now();
      try {
        never.wait();
      } catch (const troupe::process_exited&) {
        return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - begin).count();
      }
      return std::int64_t{-1};
    },
    of);
}

} // namespace

BOOST_AUTO_TEST_CASE(workers_are_where_they_were_asked_for) {
  const remote_workers w{{{"host1", 2}, "host2", "root@host3:22"}};
  std::vector<std::string> names;
  for (auto id : w.all())
    names.push_back(here().remotecall_fetch(id, [] {
      char name[256] = {};
      ::gethostname(name, sizeof name - 1);
      return std::string{name};
    }));
  BOOST_TEST(names == (std::vector<std::string>{"host1", "host1", "host2", "host3"}));
  // PM-11, from any process; in ascending order, while those of an addition are in that of the machines
  const ids together{std::min(w[0], w[1]), std::max(w[0], w[1])};
  for (auto from : here().procs())
    BOOST_TEST(here().remotecall_fetch(from, [](proc_id id) { return here().procs(id); }, w[0]) == together);
  for (auto a : w.all())
    for (auto b : w.all()) {
      BOOST_TEST(by_way_of(a, b) == b);
      BOOST_TEST((a == b || linked(a, b)));
    }
}

// LM-02: local workers listen on loopback, where others don't reach them: they dial these.
BOOST_AUTO_TEST_CASE(local_workers_and_those_on_other_hosts_have_direct_links) {
  const workers local{1};
  const remote_workers far{hosts(1)};
  BOOST_TEST(by_way_of(far[0], local[0]) == local[0]);
  BOOST_TEST(by_way_of(local[0], far[0]) == far[0]);
  BOOST_TEST(eventually([&] { return linked(local[0], far[0]); }));
}

BOOST_AUTO_TEST_CASE(with_tunnels_workers_of_two_hosts_talk_by_way_of_the_master) {
  const remote_workers w{{{"root@host1", 2}, "root@host2"}, {.tunnel = true}};
  for (auto a : w.all())
    for (auto b : w.all())
      BOOST_TEST(by_way_of(a, b) == b);
  BOOST_TEST(linked(w[0], w[1])); // on one host
  BOOST_TEST(!linked(w[0], w[2]));
}

// The master goes on at the tunnel's end: the worker's own address means something on its host only.
BOOST_AUTO_TEST_CASE(a_link_that_is_lost_in_a_tunnel_is_opened_again_through_it) {
  const remote_workers w{{"root@host1"}, {.tunnel = true}};
  const auto before = here().info(w[0]).os_pid;
  troupe::child_process killing{{.program = "sh",
                                 .args = {"-c", "n=0; for p in $(pgrep -f '[s]sh .*-L 127'); do kill -9 $p; n=$((n + 1)); done; exit $n"},
                                 .dir = {},
                                 .env = {},
                                 .env_removed_prefixes = {}}};
  const auto killed = killing.wait_until(std::chrono::steady_clock::now() + patience);
  BOOST_TEST((killed && killed->status == 1));
  BOOST_TEST(by_way_of(1, w[0]) == w[0]);
  BOOST_TEST(here().info(w[0]).os_pid == before);
}

// FA-10
BOOST_AUTO_TEST_CASE(a_host_that_vanishes_is_known_everywhere_within_6_seconds) {
  const remote_workers w{hosts(3)};
  auto elsewhere = wait_for_end(w[1], w[0]);
  auto mine = here().remotecall(w[0], [] { troupe::this_task::sleep_for(1h); });
  by_way_of(w[2], w[0]);
  lab({"cut", "host1"});
  const auto time = time_of([&] { BOOST_CHECK_THROW(mine.wait(), troupe::process_exited); });
  BOOST_TEST(std::chrono::duration<double>{time}.count() < 6);
  BOOST_TEST(elsewhere.fetch() < 6500);
  const auto cause = here().info(w[0]).cause;
  BOOST_REQUIRE(cause.has_value());
  BOOST_TEST(cause->host == "host1");
  BOOST_TEST(contains(cause->to_text(), "silent"));
  lab({"heal", "host1"});
  // nothing of it is left when it is there again
  BOOST_TEST(eventually([] {
    troupe::child_process look{
      {.program = "ssh", .args = {"host1", "pgrep -f system_host[s] | wc -l"}, .dir = {}, .env = {}, .env_removed_prefixes = {}}};
    const auto out = look.take_stdout();
    char n[16] = {};
    return ::read(out.get(), n, sizeof n - 1) > 0 && std::string{n} == "0\n";
  }));
}

BOOST_AUTO_TEST_CASE(two_hosts_that_dont_hear_each_other_go_on_by_way_of_the_master_until_they_do) {
  const remote_workers w{hosts(2)};
  BOOST_TEST(by_way_of(w[0], w[1]) == w[1]);
  BOOST_TEST(eventually([&] { return linked(w[0], w[1]); }));
  lab({"cut", "host1", "host2"});
  for (int i = 0; i < 20; ++i) {
    BOOST_TEST(by_way_of(w[0], w[1]) == w[1]);
    BOOST_TEST(by_way_of(w[1], w[0]) == w[0]);
    std::this_thread::sleep_for(100ms);
  }
  BOOST_TEST(eventually([&] { return !linked(w[0], w[1]); }));
  lab({"heal", "host1", "host2"});
  BOOST_TEST(eventually([&] {
    by_way_of(w[0], w[1]);
    return linked(w[0], w[1]);
  }));
}

BOOST_AUTO_TEST_CASE(workers_on_hosts_that_never_heard_each_other_talk_by_way_of_the_master) {
  lab({"cut", "host3", "host4"});
  {
    const remote_workers w{{"host3", "host4"}};
    BOOST_TEST(by_way_of(w[0], w[1]) == w[1]);
    BOOST_TEST(by_way_of(w[1], w[0]) == w[0]);
    BOOST_TEST(!linked(w[0], w[1]));
  }
  lab({"heal", "host3", "host4"});
}

BOOST_AUTO_TEST_CASE(a_host_that_lost_power_can_be_used_when_it_is_there_again) {
  const remote_workers stays{{"host2"}};
  {
    const remote_workers w{{{"host1", 2}}};
    auto elsewhere = wait_for_end(stays[0], w[1]);
    lab({"down", "host1"});
    BOOST_TEST(elsewhere.fetch() >= 0);
    BOOST_TEST(eventually([&] { return here().workers() == stays.all(); }));
    const auto failed = error_of<troupe::launch_error>([] { here().addprocs({"host1"}, {.launch_timeout = 2s}); });
    BOOST_TEST(failed.failures().at(0).host == "host1");
  }
  lab({"up", "host1"});
  const remote_workers again{{{"host1", 2}}};
  BOOST_TEST(by_way_of(stays[0], again[1]) == again[1]);
}

// With respawn a worker on another host is replaced there.
BOOST_AUTO_TEST_CASE(a_worker_on_another_host_is_replaced_there) {
  const remote_workers w{{{"host1", 2}}, {.respawn = 1}};
  here().remote_do(w[0], [] { ::raise(SIGKILL); });
  BOOST_TEST(eventually([&] { return here().nworkers() == 2 && here().workers() != w.all(); }));
  const auto by = here().workers().back();
  BOOST_TEST(here().info(by).host == "host1");
  here().rmprocs(by);
}

BOOST_AUTO_TEST_CASE(some_hosts_that_fail_dont_lose_the_others) {
  lab({"cut", "host3"});
  const auto begin = std::chrono::steady_clock::now();
  const auto came = here().addprocs({"host1", "host3", "nowhere.invalid", "host2"}, {.launch_timeout = 6s, .partial = true});
  BOOST_TEST(came.size() == 2u);
  BOOST_TEST((std::chrono::steady_clock::now() - begin < 10s));
  here().rmprocs(came);
  lab({"heal", "host3"});
}
