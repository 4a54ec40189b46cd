#define BOOST_TEST_MODULE managers
// Managers as users write them: see docs/managers.md.
#include "system/harness.hpp"

#include "troupe/managers/child_process.hpp"
#include "troupe/managers/start_line.hpp"

#include <poll.h>
#include <sched.h>

namespace {

using ids = std::vector<proc_id>;
using troupe::manage_op;

std::string first_line(const troupe::unique_fd& from, std::chrono::milliseconds limit) {
  std::string line;
  ::pollfd p{from.get(), POLLIN, 0};
  for (char c = 0; ::poll(&p, 1, static_cast<int>(limit.count())) == 1 && ::read(from.get(), &c, 1) == 1 && c != '\n';)
    line += c;
  return line;
}

class pinned_manager : public troupe::cluster_manager {
public:
  explicit pinned_manager(std::vector<int> cpus) : cpus_(std::move(cpus)) {}

  void launch(const troupe::launch_options& options, troupe::launch_sink& sink) override {
    const auto program = options.exename.empty() ? std::filesystem::read_symlink("/proc/self/exe").string() : options.exename;
    for (int cpu : cpus_) {
      std::vector<std::string> args{"-c", std::to_string(cpu), program};
      args.insert(args.end(), options.exeflags.begin(), options.exeflags.end());
      args.push_back("--worker");
      auto child = std::make_shared<troupe::child_process>(troupe::child_options{
        .program = "taskset", .args = args, .dir = options.dir, .env = troupe::env_of(options.env, cpu), .env_removed_prefixes = {}});
      const auto cookie = troupe::here().cookie() + "\n";
      const auto in = child->take_stdin();
      static_cast<void>(!::write(in.get(), cookie.data(), cookie.size()));
      const auto line = first_line(child->take_stdout(), options.launch_timeout);
      if (const auto where = troupe::parse_start_line(line)) {
        troupe::worker_config config;
        config.host = where->address;
        config.port = where->port;
        config.os_pid = child->pid();
        config.userdata = child;
        sink.launched(std::move(config));
      } else {
        sink.failed({"cpu " + std::to_string(cpu), troupe::launch_reason::no_address, -1, "it said '" + line + "'"});
      }
    }
  }

private:
  std::vector<int> cpus_;
};

// The same, and keeps what it is called with.
class logging_manager final : public pinned_manager {
public:
  logging_manager() : pinned_manager({0}) {}
  void launch(const troupe::launch_options& options, troupe::launch_sink& sink) override {
    seen = options;
    pinned_manager::launch(options, sink);
  }
  void manage(proc_id id, const troupe::worker_config& config, manage_op op) override {
    std::lock_guard guard{mutex};
    calls.emplace_back(id, op);
    has_userdata = has_userdata && config.userdata.has_value();
  }
  void kill(proc_id id, const troupe::worker_config&) override {
    std::lock_guard guard{mutex};
    killed.push_back(id);
  }
  troupe::launch_options default_options() const override {
    troupe::launch_options out;
    out.exeflags = {"--a-flag-of-the-managers"};
    out.extra["from"] = "the manager";
    return out;
  }
  std::vector<manage_op> calls_for(proc_id id) {
    std::lock_guard guard{mutex};
    std::vector<manage_op> out;
    for (auto& [of, op] : calls)
      if (of == id)
        out.push_back(op);
    return out;
  }

  std::mutex mutex;
  troupe::launch_options seen;
  std::vector<std::pair<proc_id, manage_op>> calls;
  ids killed;
  bool has_userdata = true;
};

// Starts one, which is to start others.
class counting_manager final : public pinned_manager {
public:
  explicit counting_manager(int count) : pinned_manager({0}), count_(count) {}
  void launch(const troupe::launch_options& options, troupe::launch_sink& sink) override {
    struct with_count final : troupe::launch_sink {
      with_count(troupe::launch_sink& to, int n) : sink(to), count(n) {}
      void launched(troupe::worker_config config) override {
        config.count = count;
        sink.launched(std::move(config));
      }
      void failed(troupe::launch_failure why) override { sink.failed(std::move(why)); }
      troupe::launch_sink& sink;
      int count;
    } to{sink, count_};
    pinned_manager::launch(options, to);
  }

private:
  int count_;
};

class failing_manager final : public troupe::cluster_manager {
public:
  void launch(const troupe::launch_options&, troupe::launch_sink&) override { throw std::runtime_error{"boom"}; }
};

class idle_manager final : public troupe::cluster_manager {
public:
  void launch(const troupe::launch_options&, troupe::launch_sink&) override {}
};

bool is_pinned(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  return ::sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) == 1 && CPU_ISSET(static_cast<std::size_t>(cpu), &set);
}

} // namespace

// CM-05
BOOST_AUTO_TEST_CASE(the_manager_of_the_guide_works) {
  const auto all = here().addprocs(std::make_shared<pinned_manager>(std::vector{0, 0}));
  BOOST_TEST(all.size() == 2u);
  for (auto id : all)
    BOOST_TEST(here().remotecall_fetch<is_pinned>(id, 0));
  here().rmprocs(all);
  const auto failed = error_of<troupe::launch_error>([] {
    troupe::launch_options o;
    o.exename = "/bin/echo";
    here().addprocs(std::make_shared<pinned_manager>(std::vector{0}), o);
  });
  BOOST_TEST(contains(failed.what(), "it said '--worker'"));
}

// CM-07
BOOST_AUTO_TEST_CASE(with_a_count_the_first_worker_starts_the_others) {
  auto all = here().addprocs(std::make_shared<counting_manager>(3));
  BOOST_TEST(all.size() == 3u);
  for (auto from : all)
    for (auto to : all)
      BOOST_TEST(
        here().remotecall_fetch(from, [](proc_id id) { return here().remotecall_fetch(id, [] { return here().myid(); }); }, to) == to);
  const auto last = here().info(all[2]).os_pid;
  here().rmprocs(all[2]);
  BOOST_TEST(eventually([&] { return !process_exists(last); }));
  const auto second = here().info(all[1]).os_pid;
  ::kill(static_cast<::pid_t>(here().info(all[0]).os_pid), SIGKILL); // the second goes with it
  BOOST_TEST(eventually([&] { return here().nprocs() == 1 && !process_exists(second); }));
}

// CM-07
BOOST_AUTO_TEST_CASE(a_count_of_0_is_a_worker_for_each_cpu_that_the_first_one_may_use) {
  const auto all = here().addprocs(std::make_shared<counting_manager>(0));
  BOOST_TEST(all.size() == 1u); // which is pinned to one
  here().rmprocs(all);
}

// CM-02
BOOST_AUTO_TEST_CASE(what_a_launch_throws_the_addition_throws) {
  BOOST_TEST(error_of<std::runtime_error>([] { here().addprocs(std::make_shared<failing_manager>()); }).what() == std::string{"boom"});
  const workers w{1}; // nothing is held up
}

// CM-03
BOOST_AUTO_TEST_CASE(a_launch_that_brings_nobody_is_an_empty_list_at_once) {
  BOOST_TEST((time_of([] { BOOST_TEST(here().addprocs(std::make_shared<idle_manager>()).empty()); }) < 1s));
}

// CM-04, CM-06, CM-08, CM-09
BOOST_AUTO_TEST_CASE(a_manager_is_called_for_what_happens_to_its_workers) {
  const auto manager = std::make_shared<logging_manager>();
  const auto first = here().addprocs(manager).at(0);
  BOOST_TEST(manager->seen.exeflags == std::vector<std::string>{"--a-flag-of-the-managers"});
  BOOST_TEST(manager->seen.extra["from"] == "the manager");
  BOOST_TEST((manager->calls_for(first) == std::vector{manage_op::registered}));
  auto options = manager->default_options();
  options.exeflags.clear();
  options.extra["to"] = "whom it concerns";
  const auto second = here().addprocs(manager, options).at(0);
  BOOST_TEST(manager->seen.exeflags.empty());
  BOOST_TEST(manager->seen.extra.size() == 2u);

  here().rmprocs(first);
  BOOST_TEST(manager->killed == ids{first});
  ::kill(static_cast<::pid_t>(here().info(second).os_pid), SIGKILL);
  BOOST_TEST(eventually([&] { return here().nprocs() == 1; }));
  for (auto id : {first, second})
    BOOST_TEST(eventually([&] { return manager->calls_for(id) == std::vector{manage_op::registered, manage_op::deregistered}; }));
  BOOST_TEST(manager->has_userdata);
}
