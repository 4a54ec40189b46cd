#define BOOST_TEST_MODULE silence
// Who says nothing is lost, and who is only busy is not.
#include "system/harness.hpp"

#include <sys/wait.h>

namespace {

/// Processes that compute, as long as the object lives.
class rivals {
public:
  explicit rivals(int n) {
    for (; n > 0; --n)
      all_.emplace_back(
        troupe::child_options{.program = "sh", .args = {"-c", "while :; do :; done"}, .dir = {}, .env = {}, .env_removed_prefixes = {}});
  }

private:
  std::vector<troupe::child_process> all_;
};

/// Computes all the time, and gives its turn to nobody.
int spin(int milliseconds) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds{milliseconds};
  volatile unsigned rounds = 0;
  while (std::chrono::steady_clock::now() < until)
    rounds = rounds + 1;
  return here().myid();
}

int all_cpus() { return static_cast<int>(std::max(2u, std::thread::hardware_concurrency())); }

} // namespace

// FA-10
BOOST_AUTO_TEST_CASE(local_workers_that_are_stopped_are_lost_within_five_seconds_and_ended) {
  workers some{4};
  const std::vector<proc_id> stopped{some[0], some[1], some[3]};
  std::vector<std::int64_t> pids;
  std::vector<troupe::future<int>> open;
  for (auto id : stopped) {
    pids.push_back(here().info(id).os_pid);
    open.push_back(here().remotecall<spin>(id, 60000));
  }
  captured_stream log{STDERR_FILENO};
  for (auto pid : pids)
    ::kill(static_cast<::pid_t>(pid), SIGSTOP);
  const auto time = time_of([&] {
    for (std::size_t i = 0; i < open.size(); ++i) {
      BOOST_REQUIRE(open[i].wait_for(patience));
      const auto e = error_of<troupe::process_exited>([&] { open[i].wait(); });
      BOOST_TEST(e.pid() == stopped[i]);
      BOOST_TEST(contains(e.what(), "silent"), e.what());
    }
  });
  BOOST_TEST(time < 8s); // 4 s, and what this machine needs
  BOOST_TEST(time > 1s);
  BOOST_TEST((here().workers() == std::vector<proc_id>{some[2]}));
  BOOST_TEST(here().remotecall_fetch<spin>(some[2], 1) == some[2]);
  for (auto pid : pids)
    BOOST_TEST(eventually([&] { return !process_exists(pid); }, 10s), "process " << pid << " is still there");
}

// FA-10
BOOST_AUTO_TEST_CASE(workers_that_compute_on_all_cpus_of_a_busy_machine_are_not_lost) {
  const auto self = std::filesystem::read_symlink("/proc/self/exe").string();
  troupe::local_options options;
  options.threads = all_cpus();
  const workers ordinary{1, options};
  options.exename = "nice";
  options.exeflags = {"-n", "19", self};
  const workers modest{1, options};
  const rivals others{3};
  captured_stream log{STDERR_FILENO};
  std::vector<troupe::future<int>> open;
  for (auto id : {ordinary[0], modest[0]})
    for (int i = 0; i < all_cpus(); ++i)
      open.push_back(here().remotecall<spin>(id, 10000));
  for (auto& f : open)
    BOOST_CHECK_NO_THROW(f.wait());
  for (auto id : {ordinary[0], modest[0]})
    BOOST_TEST((here().info(id).state == troupe::process_state::connected));
  BOOST_TEST(log.text() == "");
}

// FA-10
BOOST_AUTO_TEST_CASE(a_master_that_computes_is_not_left_by_its_workers) {
  const workers some{2};
  const rivals others{3};
  std::vector<std::thread> threads;
  for (int i = 0; i < all_cpus(); ++i)
    threads.emplace_back([] { spin(8000); });
  for (auto& t : threads)
    t.join();
  BOOST_TEST(here().nworkers() == 2);
  for (auto id : some.ids())
    BOOST_TEST(here().remotecall_fetch<spin>(id, 1) == id);
}
