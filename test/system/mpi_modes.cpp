#define BOOST_TEST_MODULE mpi_modes
// Programs under mpirun, as their users start them.
#include <boost/test/unit_test.hpp>

#include "system/mpi_runs.hpp"

#include <cstdlib>
#include <unistd.h>

using namespace faults;
using namespace std::chrono_literals;

namespace {

void check_talk(run& r, const std::string& processes, const std::string& ranks, int pairs, int workers) {
  const auto end = r.end(60s);
  BOOST_TEST(end.state.status == 0);
  BOOST_TEST(end.err == "");
  BOOST_TEST(r.value("processes") == processes);
  BOOST_TEST(r.value("ranks") == ranks);
  BOOST_TEST(r.value("right") == std::to_string(pairs) + " of " + std::to_string(pairs));
  BOOST_TEST(r.value("large") == std::to_string(workers) + " of " + std::to_string(workers));
  BOOST_TEST(r.value("in order") == "10000");
  BOOST_TEST(r.value("finished") == "yes");
  r.check_nothing_left();
}

} // namespace

// MP-13, MP-23, MP-28
BOOST_AUTO_TEST_CASE(the_ranks_of_a_job_are_a_cluster) {
  for (auto& mode : mpi_modes) {
    auto r = mpirun(4, "mpi_cluster", {mode});
    check_talk(r, "1 2 3 4", "0 1 2 3", 16, 3);
    BOOST_TEST(r.value("links") == (mode == "--mpi-transport" ? "mpi" : "tcp"));
    BOOST_TEST_MESSAGE(mode << ": 4 idle ranks use " << r.value("idle") << " % of a CPU");
    BOOST_TEST(std::stod(r.value("idle")) < 50); // those that ask all the time use 200
  }
}

// MP-34
BOOST_AUTO_TEST_CASE(where_processes_listen_can_be_said_in_each_mode) {
  const auto count_of = [](const std::string& text, const std::string& part) {
    int n = 0;
    for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1))
      ++n;
    return n;
  };
  const auto check = [&](run r, int there) {
    BOOST_TEST(r.end(60s).state.status == 0);
    const auto addresses = r.value("addresses") + " ";
    BOOST_TEST(count_of(addresses, "127.0.0.2:") == there, addresses);
    BOOST_TEST(r.value("right") == std::to_string(count_of(addresses, ":")));
    r.check_nothing_left();
  };
  check(mpirun(3, "mpi_cluster", {"--tcp-transport", "--bind-addr", "127.0.0.2", "--what", "where"}), 2);
  check(mpirun(2, "mpi_cluster", {"--mpi-transport", "-p", "2", "--bind-addr", "127.0.0.2", "--what", "where"}), 2);
  check(run{program("mpi_cluster"), {"--mpi", "2", "-p", "1", "--bind-addr", "127.0.0.2", "--what", "where"}}, 3);
}

BOOST_AUTO_TEST_CASE(a_file_can_say_how_messages_travel) {
  std::string file = "/tmp/troupe-modes-XXXXXX";
  const int fd = ::mkstemp(file.data());
  BOOST_REQUIRE(fd >= 0);
  const std::string text = "mpi-transport = true\n";
  BOOST_REQUIRE(::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
  ::close(fd);
  for (auto args : {std::vector<std::string>{"--config", file}, {"--config=" + file}}) {
    args.insert(args.end(), {"--what", "none"});
    auto r = mpirun(2, "mpi_cluster", args);
    BOOST_TEST(r.end(20s).state.status == 7);
    r.check_nothing_left();
  }
  ::unlink(file.c_str());
}

BOOST_AUTO_TEST_CASE(a_job_of_one_rank_is_a_master_alone) {
  for (auto& mode : mpi_modes) {
    auto r = mpirun(1, "mpi_cluster", {mode, "--what", "none"});
    BOOST_TEST(r.end(20s).state.status == 7);
    r.check_nothing_left();
  }
}

BOOST_AUTO_TEST_CASE(local_workers_join_the_ranks) {
  for (auto& mode : mpi_modes) {
    auto r = mpirun(3, "mpi_cluster", {mode, "-p", "2"});
    check_talk(r, "1 2 3 4 5", "0 1 2 none none", 25, 4);
  }
}

BOOST_AUTO_TEST_CASE(a_rank_that_is_removed_is_out_at_once_and_the_job_ends_well) {
  for (auto& mode : mpi_modes) {
    auto r = mpirun(4, "mpi_cluster", {mode, "--what", "remove"});
    const auto end = r.end(20s);
    BOOST_TEST(end.state.status == 0);
    BOOST_TEST(end.err == "");
    BOOST_TEST(r.value("removed") == "process_exited");
    BOOST_TEST(r.value("other") == "answers");
    BOOST_TEST(r.value("left") == "2");
    r.check_nothing_left();
  }
}

BOOST_AUTO_TEST_CASE(the_body_s_status_is_the_job_s) {
  for (auto& mode : mpi_modes) {
    auto plain = mpirun(3, "mpi_cluster", {mode, "--what", "none"});
    BOOST_TEST(plain.end(20s).state.status == 7);
    plain.check_nothing_left();
    auto thrown = mpirun(3, "mpi_cluster", {mode, "--what", "throw"});
    const auto end = thrown.end(20s);
    BOOST_TEST(end.state.status == 1);
    check_says(end.err, {"mpi_cluster: thrown by the body"});
    thrown.check_nothing_left();
  }
}

BOOST_AUTO_TEST_CASE(a_rank_whose_task_does_not_return_holds_up_nobody) {
  for (auto& mode : mpi_modes) {
    auto r = mpirun(3, "mpi_cluster", {mode, "--what", "hold"});
    const auto end = r.end(30s);
    BOOST_TEST(end.state.status == 7);
    BOOST_TEST(end.err == "");
    r.check_nothing_left();
  }
}

BOOST_AUTO_TEST_CASE(ctrl_c_ends_a_job) {
  for (auto& mode : mpi_modes) {
    auto r = mpirun(3, "mpi_cluster", {mode, "--what", "wait"});
    r.wait_for("ready: yes\n");
    r.signal(SIGINT);
    r.end(20s);
    r.check_nothing_left();
  }
}

// Under hydra's defaults the job goes with the rank.
BOOST_AUTO_TEST_CASE(a_rank_that_is_killed_takes_its_job_along) {
  for (auto& mode : mpi_modes) {
    auto r = mpirun(3, "mpi_cluster", {mode, "--what", "wait"});
    r.wait_for("ready: yes\n");
    for (auto pid : r.children())
      if (contains(run::command(pid), "mpi_cluster") && contains(read_file("/proc/" + std::to_string(pid) + "/environ"), "PMI_RANK=1"))
        ::kill(pid, SIGKILL);
    BOOST_TEST(r.end(20s).state.status != 0);
    r.check_nothing_left();
  }
}

// MP-16
BOOST_AUTO_TEST_CASE(what_does_not_fit_together_is_said_by_one_rank) {
  const auto check = [](run& r, std::initializer_list<std::string_view> parts) {
    const auto end = r.end(20s);
    BOOST_TEST(end.state.status != 0);
    check_says(end.err, parts);
    const auto first = end.err.find("mpi_cluster: ");
    BOOST_TEST(end.err.find("mpi_cluster: ", first + 1) == std::string::npos, "said twice: " << end.err);
    r.check_nothing_left();
  };
  auto neither = mpirun(2, "mpi_cluster", {});
  check(neither, {"mpirun", "--mpi-transport", "--tcp-transport"});
  auto both = mpirun(2, "mpi_cluster", {"--mpi-transport", "--tcp-transport"});
  check(both, {"--mpi-transport excludes --tcp-transport"});
  auto wrong = mpirun(2, "mpi_cluster", {"--mpi-transport", "--nonsense"});
  check(wrong, {"--nonsense", "--help"});
  for (auto& mode : mpi_modes) {
    run alone{program("mpi_cluster"), {mode}};
    check(alone, {mode + " makes the ranks of an MPI job a cluster", "mpirun -n 4 mpi_cluster " + mode});
  }
}

BOOST_AUTO_TEST_CASE(help_is_shown_once) {
  auto r = mpirun(3, "mpi_cluster", {"--mpi-transport", "--help"});
  const auto end = r.end(20s);
  BOOST_TEST(end.state.status == 0);
  const auto first = end.out.find("--mpi-transport");
  BOOST_TEST(first != std::string::npos);
  BOOST_TEST(end.out.find("Usage:") == end.out.rfind("Usage:"));
}

// Each rank in a network namespace of its own, whose loopback isn't even up.
BOOST_AUTO_TEST_CASE(ranks_that_no_socket_can_reach_are_a_cluster_over_mpi) {
  const auto name_of = [](int i) { return "troupe" + std::to_string(::getpid() % 100000) + "-" + std::to_string(i); };
  struct namespaces {
    std::vector<std::string> names;
    ~namespaces() {
      for (auto& name : names)
        run{"/sbin/ip", {"netns", "del", name}}.end(10s);
    }
  } made;
  std::vector<std::string> args;
  const auto ranks_of = [&](const std::string& mode) {
    args.clear();
    for (auto& name : made.names) {
      if (!args.empty())
        args.push_back(":");
      for (auto& text : {std::string{"-n"}, std::string{"1"}, std::string{"ip"}, std::string{"netns"}, std::string{"exec"}, name,
                         program("mpi_cluster"), mode, std::string{"--launch-timeout"}, std::string{"5"}})
        args.push_back(text);
    }
    return args;
  };
  for (int i = 0; i < 3; ++i) {
    run add{"/sbin/ip", {"netns", "add", name_of(i)}};
    if (add.end(10s).state.status != 0) {
      BOOST_TEST_MESSAGE("needs root and iproute2: " << add.err());
      return;
    }
    made.names.push_back(name_of(i));
  }
  run over_tcp{"/usr/bin/mpirun", ranks_of("--tcp-transport")};
  const auto end = over_tcp.end(60s);
  BOOST_TEST(end.state.status != 0);
  check_says(end.err, {"unreachable"});
  over_tcp.check_nothing_left();
  run over_mpi{"/usr/bin/mpirun", ranks_of("--mpi-transport")};
  check_talk(over_mpi, "1 2 3", "0 1 2", 9, 2);
}

// The same to the byte as with local workers.
BOOST_AUTO_TEST_CASE(an_epidemic_is_the_same_in_each_mode) {
  if (!std::filesystem::exists(program("epidemic"))) {
    BOOST_TEST_MESSAGE("the applications are not built");
    return;
  }
  const temporary_folder folder;
  const auto csv_of = [&](run& r, const std::string& name) {
    BOOST_TEST(r.end(60s).state.status == 0);
    return read_file(folder / (name + "/epidemic.csv"));
  };
  const auto args = [&](const std::string& name, std::vector<std::string> more) {
    std::filesystem::create_directory(folder / name);
    for (const std::string& text : {std::string{"--days"}, std::string{"60"}, std::string{"--out"}, std::string{folder / name}})
      more.push_back(text);
    return more;
  };
  run local{program("epidemic"), args("local", {"-p", "4"})};
  const auto expected = csv_of(local, "local");
  BOOST_TEST(expected.size() > 1000u);
  for (auto& mode : mpi_modes) {
    auto r = mpirun(5, "epidemic", args(mode.substr(2), {mode}));
    BOOST_TEST((csv_of(r, mode.substr(2)) == expected));
    r.check_nothing_left();
  }
}

// Residuals and checksum, to the last digit; the figures of the run differ.
BOOST_AUTO_TEST_CASE(a_field_of_blocks_is_the_same_in_each_mode) {
  if (!std::filesystem::exists(program("heat"))) {
    BOOST_TEST_MESSAGE("the applications are not built");
    return;
  }
  const temporary_folder folder;
  const auto numbers = [](run& r) {
    const auto end = r.end(60s);
    BOOST_TEST(end.state.status == 0);
    r.check_nothing_left();
    return end.out.substr(0, end.out.find("process ")) + r.value("checksum");
  };
  const auto args = [&](std::vector<std::string> more) {
    for (const std::string& text :
         {std::string{"--size"}, std::string{"75"}, std::string{"--steps"}, std::string{"200"}, std::string{"--out"}, folder / "."})
      more.push_back(text);
    return more;
  };
  run local{program("heat"), args({"-p", "2"})};
  const auto expected = numbers(local);
  BOOST_TEST(count(expected, "residual") == 2);
  for (auto& mode : mpi_modes) {
    auto job = mpirun(4, "heat", args({mode}));
    BOOST_TEST(numbers(job) == expected, mode);
    auto mixed = mpirun(3, "heat", args({mode, "-p", "2", "--blocks", "3x4"}));
    BOOST_TEST(numbers(mixed) == expected, mode << " with local workers");
  }
  run started{program("heat"), args({"--mpi", "3", "-p", "1"})};
  BOOST_TEST(numbers(started) == expected);
}
