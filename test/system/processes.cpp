#define BOOST_TEST_MODULE processes
#include "system/harness.hpp"

#include "troupe/managers/bind_address.hpp"

#include <atomic>
#include <future>
#include <iostream>
#include <set>

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

namespace {

using ids = std::vector<proc_id>;

proc_id own_id() { return here().myid(); }
int own_os_pid() { return ::getpid(); }
int own_group() { return ::getpgrp(); }
std::string own_dir() { return std::filesystem::current_path(); }

std::string variable(const std::string& name) {
  const auto value = std::getenv(name.c_str());
  return value == nullptr ? "(unset)" : value;
}

std::vector<std::string> command_line() {
  std::vector<std::string> out;
  std::istringstream in{read_file("/proc/self/cmdline")};
  for (std::string arg; std::getline(in, arg, '\0');)
    out.push_back(arg);
  return out;
}

std::string own_program() { return std::filesystem::read_symlink("/proc/self/exe"); }

// What a process says of the cluster.
struct view {
  int nprocs = 0;
  int nworkers = 0;
  ids procs;
  ids workers;
  bool operator==(const view&) const = default;

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, view& x) {
    return f(x.nprocs, x.nworkers, x.procs, x.workers);
  }
};

view own_view() { return {here().nprocs(), here().nworkers(), here().procs(), here().workers()}; }

bool all_agree() {
  const auto mine = own_view();
  const auto all = here().procs();
  return std::all_of(all.begin(), all.end(), [&](proc_id p) { return here().remotecall_fetch<own_view>(p) == mine; });
}

proc_id id_of(proc_id p) { return here().remotecall_fetch<own_id>(p); }
int os_pid_of(proc_id p) { return here().remotecall_fetch<own_os_pid>(p); }
std::size_t children() { return processes_of_run().size(); }

// A worker that has left its runtime and yet doesn't end; only SIGKILL helps.
void hang_at_exit() {
  for (auto signal : {SIGUSR1, SIGQUIT, SIGTERM})
    std::signal(signal, SIG_IGN);
  std::atexit([] {
    for (;;)
      ::pause();
  });
}

troupe::local_options quick_to_kill() {
  troupe::local_options options;
  options.kill_after = {1500ms, 100ms, 100ms};
  return options;
}

// Starts two workers by hand, the second one when it is told to.
class two_step_manager : public troupe::cluster_manager {
public:
  explicit two_step_manager(std::string cookie) : cookie_(std::move(cookie)) {}

  void launch(const troupe::launch_options&, troupe::launch_sink& sink) override {
    sink.launched(start());
    go_on_.get_future().wait();
    sink.launched(start());
  }

  void go_on() { go_on_.set_value(); }

private:
  troupe::worker_config start() {
    auto& child = children_.emplace_back(
      troupe::child_options{.program = own_program(), .args = {"--worker"}, .dir = {}, .env = {}, .env_removed_prefixes = {}});
    const auto in = child.take_stdin();
    const auto out = child.take_stdout();
    const auto line = cookie_ + "\n";
    if (::write(in.get(), line.data(), line.size()) != static_cast<ssize_t>(line.size()))
      throw std::runtime_error{"the worker doesn't read"};
    std::string address;
    for (char c; ::read(out.get(), &c, 1) == 1 && c != '\n';)
      address += c;
    troupe::worker_config config; // troupe_worker:PORT#ADDRESS
    config.port = static_cast<std::uint16_t>(std::stoi(address.substr(address.find(':') + 1)));
    config.host = address.substr(address.find('#') + 1);
    return config;
  }

  std::string cookie_;
  std::promise<void> go_on_;
  std::vector<troupe::child_process> children_;
};

// Brings a peer that accepts connections and says nothing.
class mute_manager : public troupe::cluster_manager {
public:
  mute_manager() : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    ::sockaddr_in where{};
    where.sin_family = AF_INET;
    where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ::socklen_t size = sizeof where;
    if (::bind(socket_.get(), reinterpret_cast<::sockaddr*>(&where), size) != 0 || ::listen(socket_.get(), 5) != 0
        || ::getsockname(socket_.get(), reinterpret_cast<::sockaddr*>(&where), &size) != 0)
      throw std::runtime_error{"no socket to listen on"};
    port_ = ntohs(where.sin_port);
  }

  void launch(const troupe::launch_options&, troupe::launch_sink& sink) override {
    troupe::worker_config config;
    config.host = "127.0.0.1";
    config.port = port_;
    sink.launched(config);
  }

  // Once the master has tried.
  bool is_dialled() const {
    ::pollfd entry{socket_.get(), POLLIN, 0};
    return ::poll(&entry, 1, 20'000) == 1;
  }

private:
  troupe::unique_fd socket_;
  std::uint16_t port_ = 0;
};

// The addresses, in hexadecimal as the kernel has them, on which a process listens for TCP.
std::set<std::string> listens_on(int os_pid) {
  std::set<std::string> inodes;
  for (auto& entry : std::filesystem::directory_iterator{"/proc/" + std::to_string(os_pid) + "/fd"}) {
    std::error_code gone;
    const auto to = std::filesystem::read_symlink(entry.path(), gone).string();
    if (to.starts_with("socket:["))
      inodes.insert(to.substr(8, to.size() - 9));
  }
  std::set<std::string> out;
  for (auto file : {"/proc/net/tcp", "/proc/net/tcp6"}) {
    std::ifstream table{file};
    std::string line;
    std::getline(table, line);
    while (std::getline(table, line)) {
      std::istringstream in{line};
      std::string number, local, remote, state, queues, timer, retransmits, uid, timeout, inode;
      in >> number >> local >> remote >> state >> queues >> timer >> retransmits >> uid >> timeout >> inode;
      if (state == "0A" && inodes.contains(inode))
        out.insert(local.substr(0, local.find(':')));
    }
  }
  return out;
}

int global_setting = 0;

bool is_ascending(const ids& x) { return std::adjacent_find(x.begin(), x.end(), std::greater_equal<>{}) == x.end(); }

bool no_cluster_before_run = false;

const setup ask_too_early{[](troupe::app&) {
  try {
    here();
  } catch (const troupe::usage_error&) {
    no_cluster_before_run = true;
  }
}};

std::size_t number_of_links() { return here().links().size(); }

} // namespace

// -- ids and numbers ----------------------------------------------------------------------------------------

// PM-01
BOOST_AUTO_TEST_CASE(each_process_knows_its_id_and_the_master_is_1) {
  workers w{2};
  BOOST_TEST(here().myid() == 1);
  for (auto p : here().procs())
    BOOST_TEST(id_of(p) == p);
}

BOOST_AUTO_TEST_CASE(here_is_the_cluster_on_every_process_once_the_program_runs) {
  workers w{1};
  for (auto p : here().procs()) {
    BOOST_TEST(here().remotecall_fetch(p, [] { return no_cluster_before_run; }));
    BOOST_TEST(here().remotecall_fetch(p, [] { return &here() == &here() && here().cookie().size() > 0; }));
  }
}

// PM-02
BOOST_AUTO_TEST_CASE(the_master_alone_counts_as_the_only_worker) {
  BOOST_TEST((own_view() == view{1, 1, {1}, {1}}));
  BOOST_TEST(here().remotecall_fetch<own_id>(troupe::any) == 1);
}

// PM-03
BOOST_AUTO_TEST_CASE(with_workers_the_master_is_no_worker) {
  workers w{4};
  auto all = w.ids();
  all.insert(all.begin(), 1);
  BOOST_TEST((own_view() == view{5, 4, all, w.ids()}));
}

const scenario first_ids{"first ids", [](troupe::cluster& c) {
                           for (auto p : c.workers())
                             std::cout << p << ' ';
                           c.rmprocs(3);
                           for (auto p : c.addprocs(2))
                             std::cout << p << ' ';
                           return 0;
                         }};

// PM-04
BOOST_AUTO_TEST_CASE(ids_of_workers_begin_at_2_rise_by_one_and_are_not_used_again) {
  const auto result = run_scenario("first ids", {"-p", "2"});
  BOOST_TEST(result.out == "2 3 4 5 ");
  BOOST_TEST(result.err == "");
  BOOST_TEST(result.end.status == 0);
}

// PM-05, PM-06
BOOST_AUTO_TEST_CASE(addprocs_returns_the_new_ids_alone_in_ascending_order) {
  workers first{2};
  workers second{3};
  const auto from = first[0];
  BOOST_TEST(first.ids() == (ids{from, from + 1}));
  BOOST_TEST(second.ids() == (ids{from + 2, from + 3, from + 4}));
  here().rmprocs({first[1], second[0]});
  workers third{1};
  BOOST_TEST(here().workers() == (ids{from, from + 3, from + 4, from + 5}));
  BOOST_TEST(is_ascending(here().procs()));
}

// PM-07
BOOST_AUTO_TEST_CASE(a_worker_that_is_being_set_up_does_not_count) {
  workers w{1};
  const auto before = own_view();
  auto manager = std::make_shared<mute_manager>();
  troupe::launch_options options;
  options.launch_timeout = 1500ms;
  auto adding = std::async(std::launch::async, [&] { return here().addprocs(manager, options); });
  BOOST_TEST(manager->is_dialled());
  BOOST_TEST((own_view() == before));
  BOOST_TEST((here().remotecall_fetch<own_view>(w[0]) == before));
  BOOST_CHECK_THROW(adding.get(), troupe::launch_error);
  BOOST_TEST((own_view() == before));
}

// PM-08, PM-09, AP-19
BOOST_AUTO_TEST_CASE(when_an_addition_or_removal_returns_every_process_knows_of_it) {
  workers w{2};
  BOOST_TEST(all_agree());
  workers more{3};
  BOOST_TEST(all_agree());
  here().rmprocs({w[0], more[1]});
  BOOST_TEST(all_agree());
  BOOST_TEST(here().nworkers() == 3);
  here().rmprocs(more[2]);
  BOOST_TEST(all_agree());
}

// PM-10
BOOST_AUTO_TEST_CASE(local_workers_are_on_the_masters_host) {
  workers w{3};
  const auto all = here().procs();
  BOOST_TEST(here().procs(1) == all);
  BOOST_TEST(here().procs(w[2]) == all);
  const auto seen = here().remotecall_fetch(w[0], [](proc_id p) { return here().procs(p); }, w[1]);
  BOOST_TEST(seen == all);
  BOOST_TEST(error_of<troupe::unknown_process>([] { here().procs(99'999); }).pid() == 99'999);
}

// -- ids that are nobody's ----------------------------------------------------------------------------------

// PM-12
BOOST_AUTO_TEST_CASE(an_id_that_was_never_given_fails_at_the_call) {
  workers w{1};
  for (proc_id wrong : {99'999, 0, -1}) {
    const auto e = error_of<troupe::unknown_process>([&] { here().remotecall<own_id>(proc_id{wrong}); });
    BOOST_TEST(contains(e.what(), std::to_string(wrong)));
    BOOST_TEST(e.pid() == wrong);
  }
}

// PM-13
BOOST_AUTO_TEST_CASE(on_a_worker_an_unknown_id_fails_soon) {
  workers w{1};
  const auto took = time_of([&] {
    const auto e = error_of<troupe::remote_error>([&] { here().remotecall_fetch<id_of>(w[0], proc_id{99'999}); });
    BOOST_TEST(e.pid() == w[0]);
    BOOST_TEST(contains(e.what(), "99999"));
    BOOST_CHECK_THROW(e.rethrow_nested(), troupe::unknown_process);
  });
  BOOST_TEST((took < 10s));
}

// PM-14
BOOST_AUTO_TEST_CASE(an_id_that_was_removed_fails_at_once_with_its_end) {
  workers w{2};
  const auto removed = w[1];
  here().rmprocs(removed);
  for (int i = 0; i < 3; ++i) {
    const auto e = error_of<troupe::process_exited>([&] { here().remotecall<own_id>(removed); });
    BOOST_TEST(e.pid() == removed);
  }
  const auto e = error_of<troupe::process_exited>([&] { here().remotecall_fetch<id_of>(w[0], removed); });
  BOOST_TEST(e.pid() == removed);
}

// -- who may change the cluster -----------------------------------------------------------------------------

// PM-15
BOOST_AUTO_TEST_CASE(only_process_1_adds_and_removes_workers) {
  workers w{2};
  auto refused = [&](const troupe::remote_error& e) {
    BOOST_TEST(e.pid() == w[0]);
    BOOST_TEST(contains(e.message(), "only process 1"));
    BOOST_CHECK_THROW(e.rethrow_nested(), troupe::usage_error);
  };
  refused(error_of<troupe::remote_error>([&] { here().remotecall_fetch(w[0], [] { here().addprocs(1); }); }));
  refused(error_of<troupe::remote_error>([&] { here().remotecall_fetch(w[0], [](proc_id other) { here().rmprocs(other); }, w[1]); }));
  BOOST_TEST(here().workers() == w.ids());

  here().remotecall_fetch(w[0], [](proc_id other) { here().remotecall_fetch(1, [](proc_id p) { here().rmprocs(p); }, other); }, w[1]);
  BOOST_TEST(here().workers() == ids{w[0]});
  const auto added = here().remotecall_fetch(w[0], [] { return here().remotecall_fetch(1, [] { return here().addprocs(1); }); });
  BOOST_TEST(here().workers() == (ids{w[0], added.at(0)}));
  here().rmprocs(added);
}

// AP-02
BOOST_AUTO_TEST_CASE(two_threads_may_add_workers_at_once) {
  auto add = [] { return here().addprocs(2); };
  auto one = std::async(std::launch::async, add);
  auto two = std::async(std::launch::async, add);
  auto all = one.get();
  for (auto p : two.get())
    all.push_back(p);
  std::sort(all.begin(), all.end());
  BOOST_TEST(all.size() == 4u);
  BOOST_TEST(here().workers() == all);
  BOOST_TEST(is_ascending(all));
  here().rmprocs(all);
}

// -- what workers are started with --------------------------------------------------------------------------

// AP-01
BOOST_AUTO_TEST_CASE(without_a_number_there_is_a_worker_for_each_cpu) {
  const auto added = here().addprocs();
  BOOST_TEST(added.size() == std::max(1u, std::thread::hardware_concurrency()));
  here().rmprocs(added);
}

// AP-03
BOOST_AUTO_TEST_CASE(an_unknown_option_is_refused_before_anything_is_started) {
  troupe::local_options options;
  options.extra["foo"] = "1";
  BOOST_TEST(contains(error_of<troupe::usage_error>([&] { here().addprocs(2, options); }).what(), "'foo'"));
  BOOST_TEST(children() == 0u);
  BOOST_CHECK_THROW(here().addprocs(-1), troupe::usage_error);
}

// AP-05
BOOST_AUTO_TEST_CASE(a_worker_runs_in_the_directory_it_is_given) {
  const auto dir = std::filesystem::canonical(std::filesystem::temp_directory_path());
  BOOST_TEST_REQUIRE(dir != own_dir());
  troupe::local_options options;
  options.dir = dir;
  workers there{1, options};
  workers usual{1};
  BOOST_TEST(here().remotecall_fetch<own_dir>(there[0]) == dir);
  BOOST_TEST(here().remotecall_fetch<own_dir>(usual[0]) == own_dir());
}

// AP-06, AP-30
BOOST_AUTO_TEST_CASE(a_worker_has_the_masters_environment_of_now_and_what_it_is_given) {
  ::setenv("SYSTEM_TEST_A", "before", 1);
  ::setenv("SYSTEM_TEST_B", "before", 1);
  troupe::local_options options;
  options.env = {{"SYSTEM_TEST_B", "given = x"}, {"SYSTEM_TEST_C", ""}};
  ::setenv("SYSTEM_TEST_A", "now", 1);
  workers w{1, options};
  const auto of = [&](const std::string& name) { return here().remotecall_fetch<variable>(w[0], name); };
  BOOST_TEST(of("SYSTEM_TEST_A") == "now");
  BOOST_TEST(of("SYSTEM_TEST_B") == "given = x");
  BOOST_TEST(of("SYSTEM_TEST_C") == "");
  BOOST_TEST(of("SYSTEM_TEST_D") == "(unset)");
  BOOST_TEST(variable("SYSTEM_TEST_B") == "before");
}

// AP-31
BOOST_AUTO_TEST_CASE(numeric_libraries_of_workers_use_one_thread_unless_told_otherwise) {
  ::unsetenv("OPENBLAS_NUM_THREADS");
  ::unsetenv("OMP_NUM_THREADS");
  {
    troupe::local_options options;
    options.env = {{"OMP_NUM_THREADS", "3"}};
    workers w{1, options};
    BOOST_TEST(here().remotecall_fetch<variable>(w[0], "OPENBLAS_NUM_THREADS") == "1");
    BOOST_TEST(here().remotecall_fetch<variable>(w[0], "OMP_NUM_THREADS") == "3");
    BOOST_TEST(variable("OPENBLAS_NUM_THREADS") == "(unset)");
  }
  ::setenv("OPENBLAS_NUM_THREADS", "2", 1);
  workers w{1};
  BOOST_TEST(here().remotecall_fetch<variable>(w[0], "OPENBLAS_NUM_THREADS") == "2");
  BOOST_TEST(variable("OPENBLAS_NUM_THREADS") == "2");
  ::unsetenv("OPENBLAS_NUM_THREADS");
}

// AP-07, AP-08
BOOST_AUTO_TEST_CASE(the_program_may_be_a_path_or_a_command_and_flags_are_not_split) {
  troupe::local_options path;
  path.exename = own_program();
  path.exeflags = {"--one flag", "--two=2"};
  workers by_path{1, path};
  const auto args = here().remotecall_fetch<command_line>(by_path[0]);
  BOOST_TEST_REQUIRE(args.size() > 3);
  BOOST_TEST(args[0] == own_program());
  BOOST_TEST(args[1] == "--one flag");
  BOOST_TEST(args[2] == "--two=2");

  troupe::local_options command;
  command.exename = "env"; // found in PATH
  command.exeflags = {"SYSTEM_TEST_E=from env", own_program()};
  workers by_command{1, command};
  BOOST_TEST(here().remotecall_fetch<variable>(by_command[0], "SYSTEM_TEST_E") == "from env");
}

// AP-29
BOOST_AUTO_TEST_CASE(workers_do_not_inherit_what_the_program_has_set) {
  global_setting = 7;
  workers w{1};
  BOOST_TEST(here().remotecall_fetch(w[0], [] { return global_setting; }) == 0);
  BOOST_TEST(here().remotecall_fetch(1, [] { return global_setting; }) == 7);
}

// AP-16
BOOST_AUTO_TEST_CASE(a_worker_that_has_joined_can_be_used_while_others_are_awaited) {
  auto manager = std::make_shared<two_step_manager>(here().cookie());
  auto adding = std::async(std::launch::async, [&] { return here().addprocs(manager); });
  BOOST_TEST_REQUIRE(eventually([] { return here().workers() != ids{1}; }));
  const auto first = here().workers().at(0);
  BOOST_TEST(id_of(first) == first);
  BOOST_TEST((adding.wait_for(0s) == std::future_status::timeout));
  manager->go_on();
  const auto both = adding.get();
  BOOST_TEST(both == (ids{first, first + 1}));
  BOOST_TEST(id_of(both[1]) == both[1]);
  here().rmprocs(both);
  BOOST_TEST(here().workers() == ids{1});
}

// -- local workers ------------------------------------------------------------------------------------------

// LM-01
BOOST_AUTO_TEST_CASE(local_workers_listen_on_loopback_unless_told_otherwise) {
  workers w{1};
  BOOST_TEST(listens_on(os_pid_of(w[0])) == std::set<std::string>{"0100007F"});
  BOOST_TEST(here().info(w[0]).address.starts_with("127.0.0.1:"));

  troupe::local_options open;
  open.restrict_loopback = false;
  workers other{1, open};
  BOOST_TEST(here().info(other[0]).address.starts_with(troupe::choose_bind_address()));
  BOOST_TEST(listens_on(os_pid_of(other[0])).size() == 1u);
  const auto met = here().remotecall_fetch<id_of>(w[0], other[0]);
  BOOST_TEST(met == other[0]);
}

// LM-03
BOOST_AUTO_TEST_CASE(local_workers_are_not_in_the_masters_process_group) {
  workers w{2};
  const auto first = here().remotecall_fetch<own_group>(w[0]);
  const auto second = here().remotecall_fetch<own_group>(w[1]);
  BOOST_TEST(first != own_group());
  BOOST_TEST(second != own_group());
  BOOST_TEST(first != second);
}

// LM-04, LM-06, RM-09
BOOST_AUTO_TEST_CASE(a_worker_that_is_removed_runs_its_exit_handlers_and_causes_no_warning) {
  worker_output output;
  captured_stream err{STDERR_FILENO};
  {
    workers w{2};
    here().remotecall_fetch(w[0], [] { std::atexit([] { std::puts("so long"); }); });
    here().rmprocs(w.ids());
    BOOST_TEST(output.lines_of(w[0]) == std::vector<std::string>{"so long"});
  }
  BOOST_TEST(err.text() == "");
}

// PM-18
BOOST_AUTO_TEST_CASE(what_is_known_of_a_process_is_right) {
  const auto begin = std::chrono::system_clock::now();
  workers w{2};
  const auto worker = here().info(w[0]);
  BOOST_TEST((worker.state == troupe::process_state::connected));
  BOOST_TEST(worker.os_pid == os_pid_of(w[0]));
  BOOST_TEST(worker.cpus == static_cast<int>(std::thread::hardware_concurrency()));
  BOOST_TEST(worker.host == here().info(1).host);
  BOOST_TEST((worker.started >= begin && worker.started <= std::chrono::system_clock::now()));
  BOOST_TEST(!worker.cause.has_value());
  const auto master = here().info(1);
  BOOST_TEST(master.os_pid == ::getpid());
  BOOST_TEST(master.address == "");
  const auto from_worker = here().remotecall_fetch(w[0], [](proc_id p) { return here().info(p); }, w[1]);
  BOOST_TEST(from_worker.os_pid == os_pid_of(w[1]));

  here().rmprocs(w[0]);
  const auto gone = here().info(w[0]);
  BOOST_TEST((gone.state == troupe::process_state::terminated));
  BOOST_TEST(gone.os_pid == worker.os_pid);
  BOOST_TEST_REQUIRE(gone.cause.has_value());
  BOOST_TEST(gone.cause->status == 0);
  BOOST_TEST(gone.cause->signal == 0);
  BOOST_TEST(error_of<troupe::unknown_process>([] { here().info(99'999); }).pid() == 99'999);
}

// -- removal ------------------------------------------------------------------------------------------------

// RM-01, RM-13
BOOST_AUTO_TEST_CASE(when_a_removal_returns_the_processes_are_gone) {
  workers w{3};
  std::vector<int> os_pids;
  for (auto p : w.ids())
    os_pids.push_back(os_pid_of(p));
  here().rmprocs(w.ids());
  for (auto os_pid : os_pids)
    BOOST_TEST(!process_exists(os_pid));
  BOOST_TEST((own_view() == view{1, 1, {1}, {1}}));
  BOOST_TEST(children() == 0u);
}

// RM-02
BOOST_AUTO_TEST_CASE(a_removal_with_a_limit_tells_who_is_still_there) {
  captured_stream err{STDERR_FILENO};
  workers w{2, quick_to_kill()};
  const auto os_pid = os_pid_of(w[1]);
  here().remotecall_fetch<hang_at_exit>(w[1]);
  const auto e = error_of<troupe::timeout_error>([&] { here().rmprocs(w.ids(), 600ms); });
  BOOST_TEST(e.pids() == ids{w[1]});
  BOOST_TEST(contains(e.what(), "600"));
  BOOST_TEST((here().info(w[1]).state == troupe::process_state::terminating));
  BOOST_TEST(here().workers() == ids{1});
  BOOST_TEST(eventually([&] { return !process_exists(os_pid); }));
  BOOST_TEST(eventually([&] { return here().info(w[1]).state == troupe::process_state::terminated; }));
  BOOST_TEST(here().info(w[1]).cause->signal == SIGKILL);
}

// RM-03
BOOST_AUTO_TEST_CASE(with_a_limit_of_0_the_workers_no_longer_count_at_once) {
  captured_stream err{STDERR_FILENO};
  workers w{3, quick_to_kill()};
  here().remotecall_fetch<hang_at_exit>(w[0]);
  const auto took =
    time_of([&] { BOOST_TEST(error_of<troupe::timeout_error>([&] { here().rmprocs(ids{w[0]}, 0s); }).pids() == ids{w[0]}); });
  BOOST_TEST((took < 1s));
  BOOST_TEST(here().workers() == (ids{w[1], w[2]}));
  BOOST_CHECK_THROW(id_of(w[0]), troupe::process_exited);
  BOOST_TEST(id_of(w[1]) == w[1]);
  BOOST_TEST(id_of(w[2]) == w[2]);
  BOOST_TEST(eventually([&] { return here().info(w[0]).state == troupe::process_state::terminated; }));
}

// RM-04, RM-05, RM-06
BOOST_AUTO_TEST_CASE(removing_the_master_or_who_is_not_there_only_warns) {
  workers w{3};
  captured_stream err{STDERR_FILENO};
  here().rmprocs(1);
  BOOST_TEST(contains(err.text(), "process 1"));
  here().rmprocs(ids{99'999});
  BOOST_TEST(contains(err.text(), "99999"));
  BOOST_TEST(here().workers() == w.ids());
  here().rmprocs({w[1], w[1]});
  here().rmprocs(ids{w[1]});
  here().rmprocs(ids{});
  BOOST_TEST(here().workers() == (ids{w[0], w[2]}));
  here().rmprocs(w[0]);
  here().rmprocs({w[0], w[2]});
  BOOST_TEST(here().workers() == ids{1});
}

// RM-08
BOOST_AUTO_TEST_CASE(workers_can_be_added_while_others_leave) {
  captured_stream err{STDERR_FILENO};
  for (int i = 0; i < 5; ++i) {
    const auto leaving = here().addprocs(1).at(0);
    auto nap = here().remotecall(leaving, [] { troupe::this_task::sleep_for(5s); });
    try {
      here().rmprocs(ids{leaving}, 0s);
    } catch (const troupe::timeout_error&) {
      // mostly
    }
    const auto next = here().addprocs(1).at(0);
    BOOST_TEST(here().workers() == ids{next});
    BOOST_TEST((here().remotecall_fetch<own_view>(next) == own_view()));
    BOOST_TEST(error_of<troupe::process_exited>([&] { nap.fetch(); }).pid() == leaving);
    here().rmprocs(next);
  }
  BOOST_TEST(err.text() == "");
}

// Whether two tasks compute at the same time, on a worker and on the master.
bool meet() {
  static std::atomic<int> inside{0};
  ++inside;
  const auto until = std::chrono::steady_clock::now() + patience;
  while (inside < 2 && std::chrono::steady_clock::now() < until)
    std::this_thread::yield();
  return inside >= 2;
}

const scenario two_threads{"two threads", [](troupe::cluster& c) {
                             for (auto p : c.procs()) {
                               auto one = c.remotecall<meet>(p);
                               auto two = c.remotecall<meet>(p);
                               if (!one.fetch() || !two.fetch())
                                 return 1;
                             }
                             return c.nprocs();
                           }};

// AP-32
BOOST_AUTO_TEST_CASE(the_number_of_threads_on_the_command_line_is_every_processs) {
  const auto result = run_scenario("two threads", {"-p", "2", "--threads", "2"});
  BOOST_TEST(result.end.status == 3);
  BOOST_TEST(result.err == "");
}

const scenario idle{"idle", [](troupe::cluster&) { return 7; }};

// RM-12
BOOST_AUTO_TEST_CASE(at_the_end_of_a_program_idle_workers_leave_without_a_word) {
  for (int i = 0; i < 20; ++i) {
    const auto result = run_scenario("idle", {"-p", "4"});
    BOOST_TEST(result.end.status == 7);
    BOOST_TEST(result.out == "");
    BOOST_TEST(result.err == "");
  }
}

const scenario unheard{"unheard", [](troupe::cluster& c) {
                         c.remote_do(2, [] { throw std::runtime_error{"nobody hears it"}; });
                         c.remotecall_fetch(2, [] {});
                         return 0;
                       }};

BOOST_AUTO_TEST_CASE(what_troupe_says_has_a_level_on_every_process) {
  const auto said = [](const program_result& r) { return contains(r.out + r.err, "nobody hears it"); };
  BOOST_TEST(said(run_scenario("unheard", {"-p", "1"})));
  BOOST_TEST(said(run_scenario("unheard", {"-p", "1", "--log-level", "error"})));
  BOOST_TEST(!said(run_scenario("unheard", {"-p", "1", "--log-level=off"})));
}

// -- links --------------------------------------------------------------------------------------------------

// TP-05, TP-06, TP-08
BOOST_AUTO_TEST_CASE(workers_are_linked_when_they_first_call_each_other) {
  workers w{4};
  const auto call = [](proc_id from, proc_id to) { return here().remotecall_fetch<id_of>(from, to); };
  BOOST_TEST(number_of_links() == 4u);
  for (auto p : w.ids())
    BOOST_TEST(here().remotecall_fetch<number_of_links>(p) == 1u);

  BOOST_TEST(call(w[0], w[1]) == w[1]);
  BOOST_TEST(number_of_links() == 5u);
  BOOST_TEST(here().remotecall_fetch<number_of_links>(w[0]) == 2u);
  BOOST_TEST(here().remotecall_fetch<number_of_links>(w[1]) == 2u);
  BOOST_TEST(call(w[3], w[2]) == w[2]);
  BOOST_TEST(number_of_links() == 6u);

  BOOST_TEST(call(w[0], w[1]) == w[1]);
  BOOST_TEST(call(w[1], w[0]) == w[0]);
  BOOST_TEST(call(w[2], w[3]) == w[3]);
  BOOST_TEST(call(w[2], w[2]) == w[2]); // itself
  BOOST_TEST(call(w[2], 1) == 1);
  BOOST_TEST(id_of(1) == 1);
  BOOST_TEST(number_of_links() == 6u);
  for (auto& l : here().links()) {
    BOOST_TEST(l.a < l.b);
    BOOST_TEST(l.kind == "tcp");
    BOOST_TEST(l.frames > 0u);
    BOOST_TEST(l.bytes > l.frames);
  }
}

// TP-09
BOOST_AUTO_TEST_CASE(workers_that_call_each_other_at_the_same_time_end_up_with_one_link) {
  workers w{4};
  const auto call_all = [] {
    std::vector<troupe::future<proc_id>> open;
    for (auto p : here().workers())
      open.push_back(here().remotecall<own_id>(p));
    ids out;
    for (auto& f : open)
      out.push_back(f.fetch());
    return out;
  };
  std::vector<troupe::future<ids>> open;
  for (auto p : w.ids())
    open.push_back(here().remotecall(p, call_all));
  for (auto& f : open)
    BOOST_TEST(f.fetch() == w.ids());
  BOOST_TEST(number_of_links() == 4u + 6u);
}
