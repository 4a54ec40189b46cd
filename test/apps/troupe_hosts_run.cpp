#define BOOST_TEST_MODULE troupe_hosts_run
// `troupe hosts`, by a client in ssh's place and by the real one.
#include "system/sshd.hpp"

#include "apps/run_program.hpp"

namespace {

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

test::program_end hosts(const std::string& arguments) { return test::run_program("troupe", "hosts " + arguments + " 2>&1"); }

std::string line_with(const std::string& text, const std::string& begin) {
  std::istringstream in{text};
  for (std::string line; std::getline(in, line);)
    if (line.starts_with(begin))
      return line;
  return {};
}

} // namespace

BOOST_AUTO_TEST_CASE(hosts_are_reached_as_workers_are_and_described) {
  const fake_ssh client;
  const auto end =
    hosts("--host node1 'ann@node2:2222*4' --sshflags '-i key' --exename " + test::program_path("troupe") + " --ssh " + client.program());
  BOOST_TEST(end.status == 0, end.text);
  for (auto& name : {"node1", "ann@node2:2222"}) {
    const auto row = line_with(end.text, name);
    BOOST_TEST(says(row, " ms "));
    BOOST_TEST(says(row, " GB of "));
    BOOST_TEST(says(row, "MPICH "));
    BOOST_TEST(says(row, "same build"));
  }
  BOOST_TEST(says(end.text, "is the same machine as"));
  BOOST_TEST(says(end.text, "2 of 2 hosts reached."));
  const auto log = client.log();
  BOOST_REQUIRE(log.size() == 2u);
  for (auto& line : log) {
    BOOST_TEST(says(line, "<-o><ClearAllForwardings=yes><-i><key><-o><BatchMode=yes><-o><ConnectTimeout=4>"));
    if (!contains(line, "<node1>"))
      BOOST_TEST(says(line, "<-p><2222><ann@node2>"));
  }
}

BOOST_AUTO_TEST_CASE(a_hostfile_with_an_error_is_refused_by_its_line) {
  const temporary_folder folder;
  const auto file = folder.with("hosts", "# mine\nnode1\nnode2:99999\n");
  const auto end = hosts(file + " --ssh /no/such/client");
  BOOST_TEST(end.status == 2);
  BOOST_TEST(says(end.text, "line 3"));
  BOOST_TEST(says(end.text, "'99999'"));
  const auto empty = hosts(folder.with("empty", "# nobody\n"));
  BOOST_TEST(empty.status == 2);
  BOOST_TEST(says(empty.text, "no host in it"));
}

BOOST_AUTO_TEST_CASE(a_host_that_hangs_is_given_up_and_costs_the_others_nothing) {
  const temporary_folder folder;
  const auto pid_file = folder / "pid";
  const fake_ssh client{"case $host in slow) echo $$ > '" + pid_file + "'; echo 'banner' >&2; trap '' TERM; sleep 300; exit 1;; esac"};
  const auto file = folder.with("hosts", "slow\nnode1\n");
  const auto start = std::chrono::steady_clock::now();
  const auto end = hosts(file + " --timeout 1.5 --ssh " + client.program());
  BOOST_TEST((std::chrono::steady_clock::now() - start < 15s));
  BOOST_TEST(end.status == 1);
  BOOST_TEST(says(end.text, "neither reached the host nor failed within 1.5 s"));
  BOOST_TEST(says(end.text, "banner"));
  BOOST_TEST(says(line_with(end.text, "node1"), " GB of "));
  BOOST_TEST(says(end.text, "1 of 2 hosts reached."));
  const auto pid = std::atoi(read_file(pid_file).c_str());
  BOOST_REQUIRE(pid > 0);
  BOOST_TEST(eventually([&] { return ::kill(pid, 0) != 0; })); // nothing is left
}

BOOST_AUTO_TEST_CASE(ctrl_c_ends_what_runs) {
  const temporary_folder folder;
  const auto pid_file = folder / "pid";
  const fake_ssh client{"echo $$ > '" + pid_file + "'; trap '' TERM; sleep 300; exit 1"};
  troupe::child_process program{{.program = test::program_path("troupe"),
                                 .args = {"hosts", "--host", "slow", "--timeout", "300", "--ssh", client.program()},
                                 .dir = {},
                                 .env = {},
                                 .env_removed_prefixes = {}}};
  BOOST_REQUIRE(eventually([&] { return std::atoi(read_file(pid_file).c_str()) > 0; }));
  program.signal(SIGINT);
  const auto end = program.wait_until(std::chrono::steady_clock::now() + 20s);
  BOOST_REQUIRE(end.has_value());
  BOOST_TEST(end->signal == SIGINT);
  BOOST_TEST(eventually([&] { return ::kill(std::atoi(read_file(pid_file).c_str()), 0) != 0; }));
}

BOOST_AUTO_TEST_CASE(a_host_that_stops_talking_tells_what_it_had_told) {
  const temporary_folder folder;
  std::filesystem::create_directory(folder / "bin");
  const auto mpirun = folder.with("bin/mpirun", "#!/bin/sh\nsleep 300\n");
  std::filesystem::permissions(mpirun, std::filesystem::perms::owner_all);
  folder.with(".profile", "PATH='" + (folder / "bin") + "':$PATH\n");
  const fake_ssh client{"HOME='" + (folder / "") + "'; export HOME"};
  const auto end = hosts("--host node1 --timeout 1.5 --ssh " + client.program());
  BOOST_TEST(end.status == 1);
  BOOST_TEST(says(line_with(end.text, "node1"), " GB of "));
  BOOST_TEST(says(end.text, "has not told everything within 1.5 s"));
  BOOST_TEST(says(end.text, "mpirun --version"));
}

BOOST_AUTO_TEST_CASE(failures_are_told_in_the_words_of_a_launch) {
  const fake_ssh client{R"(case $host in
down) echo 'ssh: connect to host down port 22: Connection refused' >&2; exit 255;;
closed) echo 'ann@closed: Permission denied (publickey).' >&2; exit 255;;
odd) exit 3;;
esac)"};
  const auto end = hosts("--host down closed odd --ssh " + client.program());
  BOOST_TEST(end.status == 1);
  BOOST_TEST(says(end.text, "ssh could not connect"));
  BOOST_TEST(says(end.text, "does sshd run there"));
  BOOST_TEST(says(end.text, "ssh-copy-id"));
  BOOST_TEST(says(end.text, "no shell answered: it exited with status 3"));
  BOOST_TEST(says(end.text, "0 of 3 hosts reached."));
  const auto none = hosts("--host node1 --ssh /no/such/client");
  BOOST_TEST(none.status == 1);
  BOOST_TEST(says(none.text, "/no/such/client"));
}

BOOST_AUTO_TEST_CASE(what_differs_from_here_is_a_warning) {
  const temporary_folder folder;
  std::filesystem::create_directory(folder / "bin");
  for (auto& [name, text] : std::map<std::string, std::string>{{"date", "/bin/date -d '+100 seconds' +%s.%N\n"},
                                                               {"uname", "case $1 in -m) echo pdp11;; *) /bin/uname $1;; esac\n"},
                                                               {"nproc", "printf '\\033[31m7\\n'\n"}})
    std::filesystem::permissions(folder.with("bin/" + name, "#!/bin/sh\n" + text), std::filesystem::perms::owner_all);
  folder.with(".profile", "echo Welcome\nprintf 'no end of line'\nPATH='" + (folder / "bin") + "':$PATH\n");
  const fake_ssh client{"HOME='" + (folder / "") + "'; export HOME"};
  const auto end = hosts("--host node1 --ssh " + client.program());
  BOOST_TEST(end.status == 0, end.text);
  BOOST_TEST(says(end.text, "it is pdp11"));
  BOOST_TEST(says(end.text, "its clock is "));
  BOOST_TEST(says(end.text, " s ahead"));
  BOOST_TEST(says(line_with(end.text, "node1"), "+100.0 s"));
  BOOST_TEST(says(line_with(end.text, "node1"), "?[31m7")); // nothing that a terminal would obey
  BOOST_TEST(!contains(end.text, "\033"));
}

BOOST_AUTO_TEST_CASE(another_build_or_none_is_told) {
  const temporary_folder folder;
  std::filesystem::create_directory(folder / "there");
  std::filesystem::create_symlink(test::program_path("troupe"), folder / "program");
  std::filesystem::create_symlink(test::program_path("bench"), folder / "there/program");
  const fake_ssh client{"cd '" + (folder / "there") + "'"};
  const auto in_folder = [&](const std::string& program) {
    return test::run_shell("cd '" + (folder / "") + "' && " + test::program_path("troupe") + " hosts --host node1 --exename " + program
                           + " --ssh " + client.program());
  };
  const auto other = in_folder("./program");
  BOOST_TEST(other.status == 0, other.text);
  BOOST_TEST(says(line_with(other.text, "node1"), "another build"));
  BOOST_TEST(says(other.text, "says 'bench, on troupe "));
  const auto missing = in_folder("./none");
  BOOST_TEST(missing.status == 1);
  BOOST_TEST(says(line_with(missing.text, "node1"), "missing"));
  BOOST_TEST(says(missing.text, "the program ./none is not there"));
}

BOOST_AUTO_TEST_CASE(a_directory_that_is_gone_keeps_nobody_from_asking) {
  const temporary_folder folder;
  std::filesystem::create_directory(folder / "gone");
  const fake_ssh client{"cd /"};
  const auto end = test::run_shell("cd '" + (folder / "gone") + "' && rmdir '" + (folder / "gone") + "' && " + test::program_path("troupe")
                                   + " hosts --host node1 --ssh " + client.program());
  BOOST_TEST(end.status == 0);
  BOOST_TEST(says(end.text, "1 of 1 hosts reached."));
}

BOOST_AUTO_TEST_CASE(a_real_sshd_is_reached, *boost::unit_test::precondition(with_sshd)) {
  const own_sshd sshd;
  std::string flags;
  for (auto& flag : sshd.options().sshflags)
    flags += " " + flag;
  const auto end = hosts("--host " + sshd.spec() + " --sshflags '" + flags + "'");
  BOOST_TEST(end.status == 0, end.text);
  BOOST_TEST(says(end.text, "1 of 1 hosts reached."));
  BOOST_TEST(says(line_with(end.text, sshd.spec()), "same")); // the clock
  BOOST_TEST(says(end.text, "is this machine"));
  const auto refused =
    hosts("--host " + sshd.spec() + " --sshflags '-F none -o UserKnownHostsFile=/dev/null -o GlobalKnownHostsFile=none'");
  BOOST_TEST(refused.status == 1);
  BOOST_TEST(says(refused.text, "host key is unknown"));
}
