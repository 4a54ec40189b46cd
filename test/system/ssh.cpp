#define BOOST_TEST_MODULE ssh
#include "system/fake_ssh.hpp"

#include "troupe/managers/child_process.hpp"

#include <numeric>
#include <set>

#include <sys/wait.h>

namespace {

using troupe::auto_count;
using troupe::machine_spec;
using troupe::ssh_options;

std::string variable(const std::string& name) {
  const auto value = std::getenv(name.c_str());
  return value == nullptr ? "(none)" : value;
}

std::string fetch_variable(proc_id id, const std::string& name) {
  return here().remotecall_fetch(id, [](const std::string& n) { return variable(n); }, name);
}

std::string fetch_dir(proc_id id) {
  return here().remotecall_fetch(id, [] { return std::filesystem::current_path().string(); });
}

int port_of(proc_id id) {
  const auto address = here().info(id).address;
  return std::atoi(address.substr(address.rfind(':') + 1).c_str());
}

int cpus() { return static_cast<int>(std::thread::hardware_concurrency()); }

troupe::launch_failure only_failure(const troupe::launch_error& e) {
  BOOST_REQUIRE_MESSAGE(e.failures().size() == 1u, e.what());
  return e.failures().front();
}

bool says(const std::string& text, const std::string& part) {
  if (contains(text, part))
    return true;
  BOOST_TEST_MESSAGE("no '" << part << "' in: " << text);
  return false;
}

} // namespace

// SM-02, SM-03, SM-11, SM-14
BOOST_AUTO_TEST_CASE(each_machine_has_its_workers_over_one_connection) {
  const fake_ssh ssh{"test \"$host\" = slow && sleep 0.5"};
  const workers w{here().addprocs({{"slow", 2}, "user@node:2222", {"all", auto_count}}, ssh.options())};
  BOOST_TEST(w.size() == static_cast<std::size_t>(3 + cpus()));
  for (auto id : w.ids())
    BOOST_TEST(here().remotecall_fetch(id, [] { return here().myid(); }) == id);
  const auto log = ssh.log();
  BOOST_TEST(log.size() == 3u);
  // the ids are in the order of the machines: slow's keeper is the parent of the first two
  const auto parent = [](proc_id id) { return here().remotecall_fetch(id, [] { return static_cast<int>(::getppid()); }); };
  BOOST_TEST(parent(w[0]) == parent(w[1]));
  BOOST_TEST(parent(w[2]) != parent(w[0]));
  BOOST_TEST(parent(w[3]) != parent(w[2]));
  BOOST_TEST(parent(w[3]) == parent(w.ids().back()));
  // they are one cluster
  BOOST_TEST(
    here().remotecall_fetch(w[0], [](proc_id to) { return here().remotecall_fetch(to, [] { return here().myid(); }); }, w[2]) == w[2]);
}

// SM-04
BOOST_AUTO_TEST_CASE(the_same_machine_is_reached_once) {
  const fake_ssh ssh;
  const workers w{here().addprocs({"h", {"h", 2}, "h"}, ssh.options())};
  BOOST_TEST(w.size() == 4u);
  BOOST_TEST(ssh.log().size() == 1u);
}

// SM-01, SM-15, SM-16, SM-17, SM-23
BOOST_AUTO_TEST_CASE(the_client_gets_fixed_options_then_the_users_then_the_port) {
  const fake_ssh ssh{"ps -o pgid= -p $$ | tr -d ' ' > " + std::string{"\"$(dirname \"$0\")/pgid\"; echo $$ > \"$(dirname \"$0\")/pid\""}};
  auto o = ssh.options();
  o.sshflags = {"-v", "-o", "Some Thing=x"};
  o.launch_timeout = 30s;
  const workers w{here().addprocs({"ann@node1:2222 127.0.0.1"}, o)};
  const auto line = ssh.log().at(0);
  BOOST_TEST(line.starts_with("<-T><-a><-x><-o><ClearAllForwardings=yes><-v><-o><Some Thing=x><-o><BatchMode=yes><-o><ConnectTimeout=10>"),
             line);
  BOOST_TEST(says(line, "<-p><2222><ann@node1><sh -l -c "));
  BOOST_TEST(!contains(line, here().cookie()));
  BOOST_TEST(says(here().info(w[0]).address, "127.0.0.1:"));
  BOOST_TEST(read_file(ssh.folder() / "pgid") == read_file(ssh.folder() / "pid"));
  const auto os_pid = here().info(w[0]).os_pid;
  BOOST_TEST(!contains(read_file("/proc/" + std::to_string(os_pid) + "/cmdline"), here().cookie()));
}

// SM-17, CK-04
BOOST_AUTO_TEST_CASE(the_cookie_may_stand_on_the_command_line) {
  const fake_ssh ssh;
  auto o = ssh.options();
  o.cmdline_cookie = true;
  const workers w{here().addprocs({"h"}, o)};
  BOOST_TEST(says(ssh.log().at(0), "--worker=" + here().cookie()));
  BOOST_TEST(says(read_file("/proc/" + std::to_string(here().info(w[0]).os_pid) + "/cmdline"), "--worker=" + here().cookie()));
}

// SM-10
BOOST_AUTO_TEST_CASE(machines_are_reached_at_the_same_time) {
  const fake_ssh ssh{"sleep 1"};
  const auto took = time_of([&] { const workers w{here().addprocs({"a", "b", "c", "d"}, ssh.options())}; });
  BOOST_TEST((took < 3s));
}

// SM-21
BOOST_AUTO_TEST_CASE(no_more_than_max_parallel_connections_are_in_the_making) {
  const fake_ssh ssh{R"(d=$(dirname "$0"); touch "$d/in.$$"; ls "$d" | grep -c '^in\.' >> "$d/counts"; sleep 0.2; rm "$d/in.$$")"};
  auto o = ssh.options();
  o.max_parallel = 2;
  const workers w{here().addprocs({"a", "b", "c", "d", "e"}, o)};
  BOOST_TEST(w.size() == 5u);
  std::istringstream in{read_file(ssh.folder() / "counts")};
  int most = 0;
  for (int n = 0; in >> n;)
    most = std::max(most, n);
  BOOST_TEST(most == 2);
}

// SM-13
BOOST_AUTO_TEST_CASE(workers_with_a_fixed_port_take_successive_ones) {
  const fake_ssh ssh;
  const workers w{here().addprocs({{"h 127.0.0.1:21000", 3}}, ssh.options())};
  std::set<int> ports;
  for (auto id : w.ids())
    ports.insert(port_of(id));
  BOOST_TEST((ports == std::set<int>{21000, 21001, 21002}));
  // alone, it must have that one
  const auto e = error_of<troupe::launch_error>([&] { here().addprocs({"g 127.0.0.1:21000"}, ssh.options()); });
  const auto f = only_failure(e);
  BOOST_TEST(f.host == "g");
  BOOST_CHECK(f.reason == troupe::launch_reason::no_address);
  BOOST_TEST(f.status == 1);
  BOOST_TEST(says(f.text, "cannot listen at 127.0.0.1:21000: Address already in use"));
}

// SH-06, AP-33
BOOST_AUTO_TEST_CASE(directory_variables_and_flags_arrive_as_they_are) {
  const fake_ssh ssh;
  const std::string odd = "a 'b' \"c\" $HOME \\n `x` !y\n;&z";
  const auto dir = ssh.folder() / "my 'own' $dir";
  std::filesystem::create_directory(dir);
  auto o = ssh.options();
  o.dir = dir;
  o.env = {{"ODD", odd}, {"SLOT", [](int i) { return "slot " + std::to_string(i); }}};
  const workers w{here().addprocs({{"h", 2}, "g"}, o)};
  for (auto id : w.ids()) {
    BOOST_TEST(fetch_variable(id, "ODD") == odd);
    BOOST_TEST(fetch_dir(id) == dir);
  }
  BOOST_TEST(fetch_variable(w[0], "SLOT") == "slot 0");
  BOOST_TEST(fetch_variable(w[1], "SLOT") == "slot 1");
  BOOST_TEST(fetch_variable(w[2], "SLOT") == "slot 0");
}

// SH-02
BOOST_AUTO_TEST_CASE(a_c_shell_starts_them_too) {
  if (::access("/bin/tcsh", X_OK) != 0) {
    BOOST_TEST_MESSAGE("tcsh isn't installed");
    return;
  }
  const fake_ssh ssh{"exec tcsh -c \"$last\""};
  auto o = ssh.options();
  o.shell = "csh";
  o.env = {{"ODD", "it's !x $y \\ \"\n"}};
  const workers w{here().addprocs({"h"}, o)};
  BOOST_TEST(fetch_variable(w[0], "ODD") == "it's !x $y \\ \"\n");
}

// SM-19, SM-20
BOOST_AUTO_TEST_CASE(our_own_variables_go_along_unless_they_are_set) {
  ::setenv("TROUPE_LAUNCH_TIMEOUT", "55", 1);
  ::setenv("TROUPE_OF_MINE", "x y", 1);
  ::setenv("TROUPE_HOSTFILE", "/no/file", 1);
  const fake_ssh ssh{"unset TROUPE_OF_MINE TROUPE_LAUNCH_TIMEOUT TROUPE_HOSTFILE"};
  {
    const workers w{here().addprocs({"h"}, ssh.options())};
    BOOST_TEST(fetch_variable(w[0], "TROUPE_OF_MINE") == "x y");
    BOOST_TEST(fetch_variable(w[0], "TROUPE_LAUNCH_TIMEOUT") == "55");
    BOOST_TEST(fetch_variable(w[0], "TROUPE_HOSTFILE") == "(none)");
    BOOST_TEST(says(ssh.log().at(0), "TROUPE_LAUNCH_TIMEOUT="));
  }
  auto o = ssh.options();
  o.env = {{"TROUPE_LAUNCH_TIMEOUT", "44"}};
  const workers w{here().addprocs({"h"}, o)};
  BOOST_TEST(fetch_variable(w[0], "TROUPE_LAUNCH_TIMEOUT") == "44");
  for (auto name : {"TROUPE_LAUNCH_TIMEOUT", "TROUPE_OF_MINE", "TROUPE_HOSTFILE"})
    ::unsetenv(name);
}

// SM-08, SM-09, SH-04, SH-05
BOOST_AUTO_TEST_CASE(what_makes_no_sense_is_said_before_anything_is_started) {
  const fake_ssh ssh;
  const auto refused = [&](auto add) { return std::string{error_of<troupe::usage_error>(add).what()}; };
  BOOST_TEST(says(refused([&] { here().addprocs({"good", "host:0"}, ssh.options()); }), "'host:0'"));
  BOOST_TEST(says(refused([&] { here().addprocs({"  "}, ssh.options()); }), "no host"));
  BOOST_TEST(says(refused([&] { ssh_options{}.shell = "fish"; }), "fish"));
  for (const char* name : {"A-B", "1X", "A B", ""}) {
    auto o = ssh.options();
    o.env = {{name, "x"}};
    BOOST_TEST(says(refused([&] { here().addprocs({"h"}, o); }), "name of a variable"));
  }
  auto o = ssh.options();
  o.max_parallel = 0;
  BOOST_TEST(says(refused([&] { here().addprocs({"h"}, o); }), "max_parallel"));
  o = ssh.options();
  o.extra = {{"queue", "long"}};
  BOOST_TEST(says(refused([&] { here().addprocs({"h"}, o); }), "queue"));
  o = ssh.options();
  o.shell = "wincmd";
  o.exename = "a\"b";
  BOOST_TEST(says(refused([&] { here().addprocs({"h"}, o); }), "a\"b"));
  BOOST_TEST(ssh.log().empty());
  BOOST_TEST(here().addprocs(std::vector<machine_spec>{}, ssh.options()).empty());
  BOOST_TEST(here().addprocs({{"h", 0}}, ssh.options()).empty());
}

// SM-12, IO-05
BOOST_AUTO_TEST_CASE(what_they_write_comes_over_the_one_connection_under_their_own_ids) {
  const fake_ssh ssh;
  const workers w{here().addprocs({{"h", 3}}, ssh.options())};
  worker_output output;
  for (auto id : w.ids())
    here().remotecall_wait(
      id,
      [](int n) {
        for (int i = 0; i < 200; ++i)
          std::printf("line %d of %d %s\n", i, n, std::string(200, 'x').c_str());
        std::fprintf(stderr, "  an error of %d\n", n);
        std::printf("%s\n", std::string(100'000, 'y').c_str());
      },
      id);
  for (auto id : w.ids()) {
    const auto name = std::to_string(id);
    BOOST_TEST(output.wait_for_line(id, "yyy"));
    BOOST_TEST(output.wait_for_line(id, "  an error of " + name));
    BOOST_TEST(output.wait_for([&](auto& lines) {
      std::size_t y = 0;
      int x = 0;
      for (auto& [from, text] : lines)
        if (from == id) {
          x += text == "line " + std::to_string(x) + " of " + name + " " + std::string(200, 'x');
          y += text.find_first_not_of('y') == std::string::npos ? text.size() : 0;
        }
      return x == 200 && y == 100'000;
    }));
  }
}

BOOST_AUTO_TEST_CASE(a_death_there_is_known_exactly) {
  const fake_ssh ssh;
  const workers w{here().addprocs({{"h", 3}}, ssh.options())};
  const auto die = [&](proc_id id, auto how) {
    return error_of<troupe::process_exited>([&] { here().remotecall_fetch(id, how); }).cause();
  };
  const auto exited = die(w[0], [] {
    std::fprintf(stderr, "the last words\n");
    std::fflush(stderr);
    ::_exit(7);
  });
  BOOST_TEST(exited.status == 7);
  BOOST_TEST(exited.host == "h");
  BOOST_TEST(says(exited.stderr_tail, "the last words"));
  BOOST_TEST(die(w[1], [] { ::raise(SIGKILL); }).signal == SIGKILL);
  // the first one's death takes nobody along
  BOOST_TEST(here().remotecall_fetch(w[2], [] { return 5; }) == 5);
}

BOOST_AUTO_TEST_CASE(one_that_is_lost_is_replaced_on_its_host_with_its_number) {
  const fake_ssh ssh;
  auto o = ssh.options();
  o.respawn = 1;
  o.env = {{"SLOT", [](int i) { return std::to_string(i); }}};
  auto before = here().addprocs_async({"g", {"h", 2}}, o).get();
  BOOST_REQUIRE(before.size() == 3u);
  here().remote_do(before[2], [] { ::_exit(1); });
  const auto last = *std::max_element(before.begin(), before.end());
  BOOST_REQUIRE(eventually([&] { return here().workers().back() > last; }));
  const workers w{here().workers()};
  BOOST_REQUIRE(w.size() == 3u);
  BOOST_TEST(fetch_variable(w[2], "SLOT") == "1");
  BOOST_TEST(says(ssh.log().back(), "<h>"));
}

// SM-18
BOOST_AUTO_TEST_CASE(a_host_that_fails_is_named_and_the_others_stay) {
  const fake_ssh ssh{"test \"$host\" = bad && { echo 'ssh: connect to host bad port 22: Connection refused' >&2; exit 255; }"};
  const auto e = error_of<troupe::launch_error>([&] { here().addprocs({"good", {"bad", 2}, "fine"}, ssh.options()); });
  const workers w{e.joined()};
  BOOST_TEST(w.size() == 2u);
  const auto f = only_failure(e);
  BOOST_TEST(f.host == "bad");
  BOOST_CHECK(f.reason == troupe::launch_reason::unreachable);
  BOOST_TEST(f.status == 255);
  BOOST_TEST(says(f.text, "none of its 2 workers"));
  BOOST_TEST(says(f.text, "Connection refused"));
  BOOST_TEST(says(e.what(), "on bad (unreachable)"));
  auto o = ssh.options();
  o.partial = true;
  const workers some{here().addprocs({"bad", "good"}, o)};
  BOOST_TEST(some.size() == 1u);
}

// AP-15
BOOST_AUTO_TEST_CASE(a_client_that_says_nothing_is_given_up_in_time) {
  const fake_ssh ssh{"test \"$host\" = mute && exec sleep 100"};
  auto o = ssh.options();
  o.launch_timeout = 1s;
  const auto took = time_of([&] {
    const auto e = error_of<troupe::launch_error>([&] { here().addprocs({"mute"}, o); });
    const auto f = only_failure(e);
    BOOST_TEST(f.host == "mute");
    BOOST_CHECK(f.reason == troupe::launch_reason::silent);
    BOOST_TEST(says(f.text, "1000 ms"));
  });
  BOOST_TEST((took < 3s));
}

BOOST_AUTO_TEST_CASE(failures_of_the_far_end_are_told_apart) {
  const fake_ssh ssh;
  auto o = ssh.options();
  const auto failure = [&] { return only_failure(error_of<troupe::launch_error>([&] { here().addprocs({"h"}, o); })); };
  o.exename = "/no/such/program";
  auto f = failure();
  BOOST_CHECK(f.reason == troupe::launch_reason::no_address);
  BOOST_TEST(f.status == 127);
  BOOST_TEST(says(f.text, "/no/such/program"));
  BOOST_TEST(says(f.text, "not there"));
  o = ssh.options();
  o.dir = "/no/such/dir";
  f = failure();
  BOOST_TEST(f.status == 125);
  BOOST_TEST(says(f.text, "no directory /no/such/dir"));
  o = ssh.options();
  o.exename = "/bin/sh";
  o.exeflags = {"-c", "echo first >&2; echo last words >&2; exit 3"};
  f = failure();
  BOOST_CHECK(f.reason == troupe::launch_reason::no_address);
  BOOST_TEST(f.status == 3);
  BOOST_TEST(says(f.text, "exited with status 3"));
  BOOST_TEST(says(f.text, "last words"));
  o.exeflags = {"-c", "yes"};
  f = failure();
  BOOST_CHECK(f.reason == troupe::launch_reason::noise);
  // the keeper is there, the worker isn't
  o.exeflags = {"-c", "case \"$*\" in *--keeper*) exec \"$0\" \"$@\";; esac; echo I die >&2; exit 4",
                std::filesystem::read_symlink("/proc/self/exe").string()};
  f = failure();
  BOOST_TEST(f.status == 4);
  BOOST_TEST(says(f.text, "I die"));
}

BOOST_AUTO_TEST_CASE(what_a_login_shell_says_does_no_harm) {
  const fake_ssh ssh{"echo welcome; echo; printf 'no end of line '"};
  captured_stream out{STDOUT_FILENO};
  const workers w{here().addprocs({"h"}, ssh.options())};
  const auto text = out.text();
  BOOST_TEST(w.size() == 1u);
  BOOST_TEST(says(text, "welcome\n"));
  BOOST_TEST(says(text, "no end of line \n"));
  BOOST_TEST(!contains(text, "troupe_keeper"));
}

// SM-25
BOOST_AUTO_TEST_CASE(the_manager_shows_its_machines_and_no_secrets) {
  troupe::manager_context context{};
  context.cookie = "secret";
  const troupe::ssh_manager m{{"a", {"u@b:22", 4}, {"c", auto_count}}, {}, context};
  BOOST_TEST(m.to_text() == "ssh_manager(a, u@b:22 * 4, c * auto)");
  BOOST_TEST(!contains(m.to_text(), "secret"));
}

// PM-16, PM-17
const scenario count_workers{"count", [](troupe::cluster& c) {
                               std::printf("workers: %d\n", c.nworkers());
                               return 0;
                             }};
BOOST_AUTO_TEST_CASE(hosts_come_from_the_command_line_the_environment_and_a_file) {
  const fake_ssh ssh;
  const temporary_folder path;
  std::filesystem::create_symlink(ssh.program(), path / "ssh");
  const std::string before = std::getenv("PATH");
  ::setenv("PATH", ((path / "") + ":" + before).c_str(), 1);
  const auto file = path.with("hosts", "2*a\n\n b # another\n");
  const auto all = run_scenario("count", {"-p", "1", "--host", "c*2", "--host", "u@d:22", "--hostfile", file});
  BOOST_TEST(says(all.out, "workers: 7"));
  ::setenv("TROUPE_HOST", "2*e", 1);
  BOOST_TEST(says(run_scenario("count").out, "workers: 2"));
  ::unsetenv("TROUPE_HOST");
  const auto wrong = run_scenario("count", {"--host", "e:0"});
  BOOST_TEST(wrong.end.status == 2);
  BOOST_TEST(says(wrong.err, "e:0"));
  const auto bad_file = run_scenario("count", {"--hostfile", path.with("bad", "x\ny:z\n")});
  BOOST_TEST(bad_file.end.status == 2);
  BOOST_TEST(says(bad_file.err, "line 2"));
  ::setenv("PATH", before.c_str(), 1);
}

// the master is killed: its keepers go, and theirs
const scenario be_killed{"be_killed", [](troupe::cluster& c) {
                           ssh_options o;
                           o.ssh = std::getenv("FAKE_SSH");
                           for (auto id : c.addprocs({{"a", 2}, "b"}, o)) {
                             c.remotecall_wait(id, [] {
                               if (::fork() == 0) // what a worker has started, too
                                 for (;;)
                                   ::pause();
                             });
                           }
                           ::raise(SIGKILL);
                           return 0;
                         }};
BOOST_AUTO_TEST_CASE(nothing_is_left_when_the_master_is_killed) {
  const fake_ssh ssh;
  ::setenv("FAKE_SSH", ssh.program().c_str(), 1);
  BOOST_TEST(run_scenario("be_killed").end.signal == SIGKILL);
  BOOST_TEST(eventually([] { return processes_of_run().empty(); }));
}

// the keeper is killed: its workers go, and are lost with a reason
BOOST_AUTO_TEST_CASE(workers_go_with_their_keeper) {
  const fake_ssh ssh;
  const workers w{here().addprocs({{"h", 2}}, ssh.options())};
  const auto keeper = here().remotecall_fetch(w[0], [] { return static_cast<int>(::getppid()); });
  const auto os_pid = here().info(w[1]).os_pid;
  ::kill(keeper, SIGKILL);
  const auto e = error_of<troupe::process_exited>([&] {
    here().remotecall_fetch(w[1], [] {
      for (;;)
        troupe::this_task::sleep_for(1s);
    });
  });
  BOOST_TEST(says(e.what(), "h"));
  BOOST_TEST(eventually([&] { return !process_exists(os_pid); }));
}

// nothing is left of a client when its workers have gone
BOOST_AUTO_TEST_CASE(the_connection_ends_with_the_last_worker) {
  const fake_ssh ssh;
  {
    const workers w{here().addprocs({{"h", 2}}, ssh.options())};
    BOOST_TEST(!processes_of_run().empty());
  }
  BOOST_TEST(eventually([] { return processes_of_run().empty(); }));
}

// Ctrl-C while hosts are on their way
const scenario be_interrupted{"be_interrupted", [](troupe::cluster& c) {
                                ssh_options o;
                                o.ssh = std::getenv("FAKE_SSH");
                                std::thread{[] {
                                  eventually([] { return processes_of_run().size() >= 2; });
                                  ::kill(::getpid(), SIGINT);
                                }}.detach();
                                c.addprocs({"mute", "slow"}, o);
                                return 0;
                              }};
BOOST_AUTO_TEST_CASE(an_interrupt_ends_a_launch) {
  const fake_ssh ssh{"exec sleep 100"};
  ::setenv("FAKE_SSH", ssh.program().c_str(), 1);
  const auto took = time_of([&] { BOOST_TEST(run_scenario("be_interrupted").end.status == 130); });
  BOOST_TEST((took < 10s));
  BOOST_TEST(eventually([] { return processes_of_run().empty(); }));
}

BOOST_AUTO_TEST_CASE(workers_that_listen_everywhere_are_reached_at_their_hosts_address) {
  const fake_ssh ssh;
  auto o = ssh.options();
  o.bind_addr = "0.0.0.0";
  const workers w{here().addprocs({{"h", 2}}, o)};
  for (auto id : w.ids())
    BOOST_TEST(!contains(here().info(id).address, "0.0.0.0"));
}
