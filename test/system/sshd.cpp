#define BOOST_TEST_MODULE sshd
// Workers over ssh with the system's client, and an sshd of the test's own.
#include "system/sshd.hpp"

#include "troupe/managers/ssh_tunnel.hpp"

#include <set>

namespace {

using troupe::auto_count;
using troupe::ssh_options;

bool says(const std::string& text, const std::string& part) {
  if (contains(text, part))
    return true;
  BOOST_TEST_MESSAGE("no '" << part << "' in: " << text);
  return false;
}

boost::test_tools::assertion_result with_sshd(boost::unit_test::test_unit_id) {
  boost::test_tools::assertion_result there{has_sshd()};
  there.message() << "openssh-server isn't installed";
  return there;
}

const auto needs_sshd = boost::unit_test::precondition(with_sshd);

troupe::launch_failure failure_of(const std::string& spec, const ssh_options& o) {
  const auto e = error_of<troupe::launch_error>([&] { here().addprocs({spec}, o); });
  BOOST_REQUIRE_MESSAGE(e.failures().size() == 1u, e.what());
  return e.failures().front();
}

// Whether two workers can call each other.
bool can_call(proc_id from, proc_id to) {
  return here().remotecall_fetch(from, [](proc_id id) { return here().remotecall_fetch(id, [] { return here().myid(); }); }, to) == to;
}

std::string sockets_in(const std::string& folder) {
  std::string out;
  std::error_code ignored;
  for (auto& f : std::filesystem::directory_iterator{folder, ignored})
    if (f.is_socket(ignored))
      out += f.path().filename().string() + " ";
  return out;
}

// Another home while it lives.
struct other_home {
  explicit other_home(const std::string& path) : before(std::getenv("HOME") == nullptr ? "/" : std::getenv("HOME")) {
    ::setenv("HOME", path.c_str(), 1);
  }
  ~other_home() { ::setenv("HOME", before.c_str(), 1); }
  std::string before;
};

// The user's name while it lives.
struct with_user {
  explicit with_user(const char* name) {
    if (const auto text = std::getenv("USER"))
      before = text;
    name == nullptr ? ::unsetenv("USER") : ::setenv("USER", name, 1);
  }
  ~with_user() { before ? ::setenv("USER", before->c_str(), 1) : ::unsetenv("USER"); }
  std::optional<std::string> before;
};

} // namespace

// SM-24
BOOST_AUTO_TEST_CASE(every_spelling_of_a_machine_adds_a_worker, *needs_sshd) {
  const own_sshd sshd;
  auto o = sshd.options();
  o.sshflags.insert(o.sshflags.end(), {"-o", "Port=" + std::to_string(sshd.port()), "-o", "User=" + user_name()});
  const auto at = ":" + std::to_string(sshd.port());
  const auto me = user_name() + "@127.0.0.1";
  const workers w{here().addprocs({"127.0.0.1", me, me + at, me + at + " 127.0.0.1", me + at + " 127.0.0.1:22300"}, o)};
  BOOST_REQUIRE(w.size() == 5u);
  BOOST_TEST(says(here().info(w[3]).address, "127.0.0.1:"));
  BOOST_TEST(here().info(w[4]).address == "127.0.0.1:22300");
  for (auto id : w.ids())
    BOOST_TEST(can_call(id, w[0]));
}

// SM-18
BOOST_AUTO_TEST_CASE(what_keeps_ssh_out_is_told_apart, *needs_sshd) {
  const own_sshd sshd;
  auto o = sshd.options();
  o.launch_timeout = 20s;
  const test::unclaimed_port nobody;
  auto f = failure_of("127.0.0.1:" + std::to_string(nobody.number()), o);
  BOOST_CHECK(f.reason == troupe::launch_reason::unreachable);
  BOOST_TEST(f.host == "127.0.0.1");
  BOOST_TEST(says(f.text, "Connection refused"));
  // there is no such host
  f = failure_of("errorhost.invalid", o);
  BOOST_CHECK(f.reason == troupe::launch_reason::unreachable);
  BOOST_TEST(f.host == "errorhost.invalid");
  BOOST_TEST(says(f.text, "resolve"));
  // another key
  const temporary_folder folder;
  BOOST_REQUIRE(run_program("ssh-keygen", {"-q", "-t", "ed25519", "-N", "", "-f", folder / "key"}).status == 0);
  auto other = sshd.options();
  other.sshflags[3] = folder / "key";
  f = failure_of(sshd.spec(), other); // sshd would take a password, too, which nobody is asked for
  BOOST_CHECK(f.reason == troupe::launch_reason::refused);
  BOOST_TEST(says(f.text, "ssh-copy-id"));
  BOOST_TEST(says(f.text, "Permission denied"));
  // a host key that is unknown
  other = sshd.options();
  other.sshflags[7] = "UserKnownHostsFile=" + (folder / "none");
  f = failure_of(sshd.spec(), other);
  BOOST_CHECK(f.reason == troupe::launch_reason::refused);
  BOOST_TEST(says(f.text, "host key is unknown"));
  // one that has changed
  other.sshflags[7] = "UserKnownHostsFile=" + folder.with("known_hosts", "* " + read_file(folder / "key.pub"));
  f = failure_of(sshd.spec(), other);
  BOOST_CHECK(f.reason == troupe::launch_reason::refused);
  BOOST_TEST(says(f.text, "ssh-keygen -R"));
  BOOST_TEST(processes_of_run().empty());
}

// a host that accepts and says nothing
BOOST_AUTO_TEST_CASE(a_host_that_says_nothing_costs_the_others_nothing, *needs_sshd) {
  const own_sshd sshd;
  const troupe::unique_fd mute{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  ::sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ::socklen_t size = sizeof at;
  BOOST_REQUIRE(::bind(mute.get(), reinterpret_cast<::sockaddr*>(&at), size) == 0 && ::listen(mute.get(), 5) == 0);
  BOOST_REQUIRE(::getsockname(mute.get(), reinterpret_cast<::sockaddr*>(&at), &size) == 0);
  auto o = sshd.options();
  o.launch_timeout = 6s;
  o.max_parallel = 1;
  const auto took = time_of([&] {
    const auto e =
      error_of<troupe::launch_error>([&] { here().addprocs({"127.0.0.1:" + std::to_string(ntohs(at.sin_port)), sshd.spec()}, o); });
    const workers w{e.joined()};
    BOOST_TEST(w.size() == 1u);
    BOOST_REQUIRE(e.failures().size() == 1u);
    BOOST_CHECK(e.failures().front().reason == troupe::launch_reason::unreachable);
    BOOST_TEST(says(e.failures().front().text, "timed out"));
  });
  BOOST_TEST((took < 7s));
}

BOOST_AUTO_TEST_CASE(failures_behind_a_real_shell_are_told_apart, *needs_sshd) {
  const own_sshd sshd;
  auto o = sshd.options();
  o.exename = "/no/such/program";
  auto f = failure_of(sshd.spec(), o);
  BOOST_TEST(f.status == 127);
  BOOST_TEST(says(f.text, "/no/such/program is not there"));
  o = sshd.options();
  o.dir = "/no/such/dir";
  f = failure_of(sshd.spec(), o);
  BOOST_TEST(says(f.text, "no directory /no/such/dir"));
}

// TU-01, TU-02
BOOST_AUTO_TEST_CASE(through_a_tunnel_the_master_reaches_the_workers_by_ports_of_its_own, *needs_sshd) {
  const own_sshd sshd;
  auto o = sshd.options();
  o.tunnel = true;
  const workers w{here().addprocs({{sshd.spec(), 3}}, o)};
  BOOST_REQUIRE(w.size() == 3u);
  std::string tunnel;
  for (auto& [pid, command] : processes_of_run())
    if (contains(command, "ExitOnForwardFailure"))
      tunnel += command;
  BOOST_TEST(count_of(tunnel, "-L 127.0.0.1:") == 3);
  BOOST_TEST(count_of(tunnel, ":127.0.0.1:9") == 3); // they listen on loopback
  for (auto a : w.ids()) {
    BOOST_TEST(here().remotecall_fetch(a, [](std::vector<int> x) { return x.size(); }, std::vector<int>(1'000'000)) == 1'000'000u);
    for (auto b : w.ids())
      BOOST_TEST(can_call(a, b));
  }
}

// TU-03
BOOST_AUTO_TEST_CASE(a_forwarding_that_fails_is_tried_again_with_another_port, *needs_sshd) {
  const own_sshd sshd;
  const temporary_folder folder;
  // the first one finds its port taken
  const auto client = folder.with(
    "ssh", "#!/bin/sh\ncase \"$*\" in *ExitOnForwardFailure=yes*) echo \"$*\" >> '" + (folder / "log") + "'; mkdir '" + (folder / "first")
             + "' 2>/dev/null && { echo 'Could not request local forwarding.' >&2; exit 255; };; esac\nexec ssh \"$@\"\n");
  std::filesystem::permissions(client, std::filesystem::perms::owner_all);
  auto o = sshd.options();
  o.ssh = client;
  o.tunnel = true;
  const workers w{here().addprocs({{sshd.spec(), 2}}, o)};
  BOOST_TEST(w.size() == 2u);
  std::istringstream in{read_file(folder / "log")};
  std::set<std::string> ports;
  for (std::string word; in >> word;)
    if (word.starts_with("127.0.0.1:"))
      ports.insert(word.substr(0, word.find(':', 10)));
  BOOST_TEST(ports.size() >= 4u); // others may have taken one, too
}

// TU-02
BOOST_AUTO_TEST_CASE(ports_of_tunnels_count_up_and_those_that_are_taken_are_left_out) {
  const int first = troupe::next_tunnel_port();
  BOOST_TEST((first >= 9201 && first <= 32'000));
  const troupe::unique_fd taken{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  ::sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_port = htons(static_cast<std::uint16_t>(first + 1));
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int on = 1; // what has been connected there is no matter
  BOOST_REQUIRE(::setsockopt(taken.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0);
  const bool is_taken = ::bind(taken.get(), reinterpret_cast<::sockaddr*>(&at), sizeof at) != 0 || ::listen(taken.get(), 1) == 0;
  BOOST_REQUIRE(is_taken);
  BOOST_TEST(troupe::next_tunnel_port() > first + 1);
  for (int i = 0, last = 0; i < 200; ++i) {
    const int port = troupe::next_tunnel_port();
    BOOST_TEST(port > last);
    last = port;
  }
}

// a tunnel that breaks is made again
BOOST_AUTO_TEST_CASE(a_tunnel_that_breaks_is_mended, *needs_sshd) {
  const own_sshd sshd;
  auto o = sshd.options();
  o.tunnel = true;
  const workers w{here().addprocs({{sshd.spec(), 2}}, o)};
  const auto tunnel_of = [] {
    for (auto& [pid, command] : processes_of_run())
      if (contains(command, "ExitOnForwardFailure"))
        return pid;
    return 0;
  };
  for (int i = 0; i < 3; ++i) {
    const int before = tunnel_of();
    BOOST_REQUIRE(before != 0);
    ::kill(before, SIGKILL);
    BOOST_TEST(eventually([&] {
      const int now = tunnel_of();
      return now != 0 && now != before;
    }));
    for (auto id : w.ids())
      BOOST_TEST(here().remotecall_fetch(id, [] { return 4; }) == 4);
  }
}

// … and if it can't be, they are lost
BOOST_AUTO_TEST_CASE(workers_whose_tunnel_stays_broken_are_lost_with_that_reason, *needs_sshd) {
  own_sshd sshd;
  auto o = sshd.options();
  o.tunnel = true;
  const workers w{here().addprocs({{sshd.spec(), 2}}, o)};
  sshd.stop(); // who is connected stays
  for (auto& [pid, command] : processes_of_run())
    if (contains(command, "ExitOnForwardFailure"))
      ::kill(pid, SIGKILL);
  const auto e = error_of<troupe::process_exited>([&] {
    here().remotecall_fetch(w[0], [] {
      for (;;)
        troupe::this_task::sleep_for(1s);
    });
  });
  BOOST_TEST(says(e.what(), "tunnel"));
  BOOST_TEST(eventually([] { return processes_of_run().empty(); }));
}

// TU-04, TU-05
BOOST_AUTO_TEST_CASE(one_connection_does_for_all_with_multiplex, *needs_sshd) {
  const own_sshd sshd;
  const temporary_folder home;
  const other_home there{home / ""};
  const auto log = home / "log";
  const auto client = home.with("ssh", "#!/bin/sh\necho \"$*\" | tr '\\n' ' ' | sed 's/$/\\n/' >> '" + log + "'\nexec ssh \"$@\"\n");
  std::filesystem::permissions(client, std::filesystem::perms::owner_all);
  auto o = sshd.options();
  o.ssh = client;
  o.tunnel = true;
  o.multiplex = true;
  {
    const workers w{here().addprocs({{sshd.spec(), 2}}, o)};
    BOOST_TEST(says(sockets_in(home / ".ssh"), user_name() + "@127.0.0.1:" + std::to_string(sshd.port())));
    for (auto id : w.ids())
      BOOST_TEST(here().remotecall_fetch(id, [] { return 4; }) == 4);
    const auto text = read_file(log);
    BOOST_TEST(count_of(text, "\n") == 2); // the session, and the forwardings
    BOOST_TEST(count_of(text, "-O forward") == 1);
    BOOST_TEST(count_of(text, "-L 127.0.0.1:") == 2);
    here().rmprocs(w[0]);
    BOOST_TEST(eventually([&] { return contains(read_file(log), "-O cancel"); }));
    BOOST_TEST(here().remotecall_fetch(w[1], [] { return 4; }) == 4);
    BOOST_TEST(!sockets_in(home / ".ssh").empty());
  }
  BOOST_TEST(eventually([&] { return sockets_in(home / ".ssh").empty(); }, 10s));
  BOOST_TEST(eventually([] { return processes_of_run().empty(); }));
}

// TU-06
BOOST_AUTO_TEST_CASE(a_tunnel_needs_a_user) {
  const with_user nobody{nullptr};
  ssh_options o;
  o.tunnel = true;
  o.ssh = "/no/such/client";
  BOOST_TEST(says(error_of<troupe::usage_error>([&] { here().addprocs({"ann@a", "node1"}, o); }).what(), "node1"));
  const with_user ann{"ann"};
  BOOST_TEST(says(error_of<troupe::launch_error>([&] { here().addprocs({"node1"}, o); }).what(), "/no/such/client"));
}

// the master is killed
const scenario be_killed{"be_killed", [](troupe::cluster& c) {
                           ssh_options o;
                           std::istringstream flags{std::getenv("SSH_FLAGS")};
                           for (std::string flag; std::getline(flags, flag);)
                             o.sshflags.push_back(flag);
                           o.env = {{run_variable, std::getenv(run_variable)}};
                           o.tunnel = true;
                           o.multiplex = std::getenv("MULTIPLEX") != nullptr;
                           c.addprocs({{std::getenv("SSH_SPEC"), 2}}, o);
                           ::raise(SIGKILL);
                           return 0;
                         }};
BOOST_AUTO_TEST_CASE(nothing_is_left_when_the_master_is_killed, *needs_sshd) {
  const own_sshd sshd;
  const temporary_folder home;
  const other_home there{home / ""};
  std::string flags;
  for (auto& flag : sshd.options().sshflags)
    flags += flag + "\n";
  ::setenv("SSH_FLAGS", flags.c_str(), 1);
  ::setenv("SSH_SPEC", sshd.spec().c_str(), 1);
  for (const char* multiplex : {"", "yes"}) {
    *multiplex == '\0' ? ::unsetenv("MULTIPLEX") : ::setenv("MULTIPLEX", multiplex, 1);
    const auto r = run_scenario("be_killed");
    BOOST_TEST(r.end.signal == SIGKILL, r.err);
    BOOST_TEST(eventually([] { return processes_of_run().empty(); }));
    BOOST_TEST(eventually([&] { return sockets_in(home / ".ssh").empty(); }));
  }
}

// a second cluster of the same user on the same host at the same time
const scenario other_cluster{"other_cluster", [](troupe::cluster& c) {
                               ssh_options o;
                               std::istringstream flags{std::getenv("SSH_FLAGS")};
                               for (std::string flag; std::getline(flags, flag);)
                                 o.sshflags.push_back(flag);
                               o.multiplex = o.tunnel = true;
                               const auto ids = c.addprocs({{std::getenv("SSH_SPEC"), 2}}, o);
                               return c.remotecall_fetch(ids[1], [] { return 42; });
                             }};
BOOST_AUTO_TEST_CASE(two_clusters_on_a_host_leave_each_other_alone, *needs_sshd) {
  const own_sshd sshd;
  const temporary_folder home;
  const other_home there{home / ""};
  std::string flags;
  for (auto& flag : sshd.options().sshflags)
    flags += flag + "\n";
  ::setenv("SSH_FLAGS", flags.c_str(), 1);
  ::setenv("SSH_SPEC", sshd.spec().c_str(), 1);
  auto o = sshd.options();
  o.multiplex = o.tunnel = true;
  const workers w{here().addprocs({{sshd.spec(), 2}}, o)};
  const auto r = run_scenario("other_cluster");
  BOOST_TEST(r.end.status == 42, r.err);
  BOOST_TEST(count_of(sockets_in(home / ".ssh"), "troupe-") == 1); // of this one
  for (auto id : w.ids())
    BOOST_TEST(here().remotecall_fetch(id, [] { return 4; }) == 4);
}
