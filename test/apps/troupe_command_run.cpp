#define BOOST_TEST_MODULE troupe_command_run
#include <boost/test/unit_test.hpp>

#include "apps/run_program.hpp"

#include <nlohmann/json.hpp>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

using test::program_path;
using test::run_program;
using test::run_shell;

namespace {

bool says(const std::string& text, const std::string& part) {
  if (text.find(part) != std::string::npos)
    return true;
  BOOST_TEST_MESSAGE("no '" << part << "' in: " << text);
  return false;
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> out;
  std::istringstream in{text};
  for (std::string line; std::getline(in, line);)
    out.push_back(line);
  return out;
}

// The line that tells of this, and those below that belong to it.
std::string about(const std::string& text, const std::string& subject) {
  std::string out;
  bool within = false;
  for (const auto& line : lines_of(text)) {
    const bool begins = !line.empty() && line.front() != ' ';
    within = begins ? line.substr(0, 9).find_first_of(' ') != std::string::npos && line.compare(9, subject.size(), subject) == 0 : within;
    if (within)
      out += line + "\n";
  }
  return out;
}

// A folder of programs of the test's own.
class folder {
public:
  folder() {
    auto name = (std::filesystem::temp_directory_path() / "troupe_command_XXXXXX").string();
    BOOST_REQUIRE(::mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  folder(const folder&) = delete;
  folder& operator=(const folder&) = delete;

  void add(const std::string& name, const std::string& script) const {
    std::ofstream{path_ / name} << "#!/bin/sh\n" << script;
    std::filesystem::permissions(path_ / name, std::filesystem::perms::owner_all);
  }
  std::string path() const { return path_.string(); }

private:
  std::filesystem::path path_;
};

test::program_end doctor_with(const std::string& variables) { return run_shell(variables + " " + program_path("troupe") + " doctor 2>&1"); }

} // namespace

BOOST_AUTO_TEST_CASE(without_a_subcommand_there_is_help_and_status_2) {
  const auto end = run_program("troupe", "2>&1");
  BOOST_TEST(end.status == 2);
  for (auto word : {"doctor", "hosts", "bench"})
    BOOST_TEST(says(end.text, word));
  BOOST_TEST(run_program("troupe", "--help").status == 0);
  BOOST_TEST(run_program("troupe", "--help").text == end.text);
}

BOOST_AUTO_TEST_CASE(what_it_does_not_know_is_answered_by_what_there_is) {
  for (auto word : {"doktor", "--frobnicate"}) {
    const auto end = run_program("troupe", std::string{word} + " 2>&1");
    BOOST_TEST(end.status == 2);
    BOOST_TEST(says(end.text, "'" + std::string{word} + "'"));
    BOOST_TEST(says(end.text, "doctor, hosts and bench"));
  }
  for (auto words : {"doctor --json", "hosts --hots a", "hosts", "hosts --timeout 0 --host a", "bench --frobnicate"}) {
    const auto end = run_program("troupe", std::string{words} + " 2>&1");
    BOOST_TEST(end.status == 2, words << ": " << end.text);
    BOOST_TEST(end.text.starts_with("troupe " + std::string{words}.substr(0, std::string{words}.find(' ')) + ": "), end.text);
  }
}

BOOST_AUTO_TEST_CASE(its_version_is_that_of_every_program) {
  const auto own = run_program("troupe", "--version");
  BOOST_TEST(own.status == 0);
  BOOST_TEST(says(run_program("quickstart", "--version").text, "on " + own.text));
}

// also when variables say that other clusters are wanted
BOOST_AUTO_TEST_CASE(the_doctor_finds_nothing_missing_here) {
  const auto end = doctor_with("TROUPE_PROCS=7 TROUPE_HOST=no.such.host.invalid TROUPE_MPI=3");
  BOOST_TEST(end.status == 0, end.text);
  BOOST_TEST(says(about(end.text, "workers"), "2 local workers started and called in "));
  BOOST_TEST(says(about(end.text, "MPI job"), "two ranks with MPI_THREAD_MULTIPLE"));
  for (auto subject : {"compiler", "cmake", "CAF", "loopback", "mpirun", "ssh", "host name", "address", "interfaces", "open files",
                       "processes", "memory", "/dev/shm", "CPUs", "core dumps", "clock"})
    BOOST_TEST(!about(end.text, subject).empty(), subject << " in " << end.text);
  for (auto& line : lines_of(end.text))
    BOOST_TEST(!line.starts_with("missing"), line);
  BOOST_TEST(says(end.text, "nothing is missing"));
}

BOOST_AUTO_TEST_CASE(colours_are_for_terminals_that_want_them) {
  const auto on_terminal = [](const std::string& variables) {
    return run_shell(variables + " TERM=xterm script -qec '" + program_path("troupe") + " doctor' /dev/null < /dev/null").text;
  };
  const std::string green = "\033[32mok";
  BOOST_TEST(says(on_terminal("NO_COLOR="), green));
  BOOST_TEST(on_terminal("NO_COLOR=1").find('\033') == std::string::npos);
  BOOST_TEST(doctor_with("").text.find('\033') == std::string::npos);
}

BOOST_AUTO_TEST_CASE(the_doctor_says_what_to_install) {
  const folder empty;
  const auto end = doctor_with("PATH=" + empty.path());
  BOOST_TEST(end.status == 1, end.text);
  const auto mpirun = about(end.text, "mpirun");
  BOOST_TEST(mpirun.starts_with("missing"), mpirun);
  BOOST_TEST(says(mpirun, "apt-get install mpich"));
  BOOST_TEST(says(about(end.text, "ssh"), "apt-get install openssh-client"));
  BOOST_TEST(says(about(end.text, "compiler"), "apt-get install g++"));
  BOOST_TEST(says(about(end.text, "workers"), "2 local workers started")); // they need nothing of that
  BOOST_TEST(says(end.text, "1 thing is missing"));
}

BOOST_AUTO_TEST_CASE(the_doctor_tells_one_mpi_from_another) {
  const folder other; // starts processes that know nothing of each other, as Open MPI's does with programs of MPICH
  other.add("mpirun", "case $1 in --version) echo 'mpirun (Open MPI) 4.1.4'; exit;; esac\nshift 2\n\"$@\" & \"$@\"; wait\n");
  const auto end = doctor_with("PATH=" + other.path() + ":$PATH");
  BOOST_TEST(end.status == 1, end.text);
  BOOST_TEST(says(about(end.text, "mpirun"), "is Open MPI's 4.1.4, troupe is compiled for MPICH"));
  BOOST_TEST(says(about(end.text, "MPI job"), "two processes that don't know each other"));
  BOOST_TEST(says(about(end.text, "MPI job"), "update-alternatives --set mpirun"));
}

BOOST_AUTO_TEST_CASE(what_mpi_s_libraries_print_is_no_failure) {
  folder noisy;
  noisy.add("mpirun", "echo '[1.2] [vm:28 :0] tcp_iface.c:816 UCX ERROR opendir failed'\nPATH=/usr/bin exec mpirun \"$@\"\n");
  const auto end = doctor_with("PATH=" + noisy.path() + ":$PATH");
  BOOST_TEST(about(end.text, "MPI job").starts_with("ok"), about(end.text, "MPI job"));
  const auto words = about(end.text, "MPI's words");
  BOOST_TEST(words.starts_with("warning"), words);
  BOOST_TEST(says(words, "opendir failed"), words);
}

BOOST_AUTO_TEST_CASE(a_program_that_hangs_does_not_hang_the_doctor) {
  const folder hanging;
  for (auto name : {"mpirun", "sinfo", "srun"})
    hanging.add(name, "trap '' TERM\nsleep 1000\n");
  hanging.add("ssh", "case $1 in -V) echo OpenSSH >&2;; *) sleep 1000;; esac\n");
  const auto start = std::chrono::steady_clock::now();
  const auto end = doctor_with("PATH=" + hanging.path() + ":$PATH");
  BOOST_TEST((std::chrono::steady_clock::now() - start < std::chrono::seconds{60}));
  BOOST_TEST(end.status == 1, end.text);
  BOOST_TEST(says(about(end.text, "mpirun"), "has not ended within 5 s"));
  BOOST_TEST(says(about(end.text, "clock"), "UTC")); // the last
}

BOOST_AUTO_TEST_CASE(the_limits_of_this_process_are_told) {
  const auto end = run_shell("ulimit -n 64; ulimit -c 0; taskset -c 0 " + program_path("troupe") + " doctor");
  const auto files = about(end.text, "open files");
  BOOST_TEST(files.starts_with("warning"), files);
  BOOST_TEST(says(files, " 64: "));
  BOOST_TEST(says(files, "ulimit -n"));
  BOOST_TEST(says(about(end.text, "core dumps"), "off"));
  if (std::thread::hardware_concurrency() > 1)
    BOOST_TEST(says(about(end.text, "CPUs"), "this process may use 1 "));
}

BOOST_AUTO_TEST_CASE(a_metric_that_is_named_is_measured_as_bench_does) {
  const auto end = run_program("troupe", "bench rtt_us --seconds 0.2");
  BOOST_TEST(end.status == 0);
  const auto lines = lines_of(end.text);
  BOOST_REQUIRE(lines.size() == 1U);
  const auto line = nlohmann::json::parse(lines.front());
  BOOST_TEST(line["metric"] == "rtt_us");
  BOOST_TEST(line["unit"] == "us");
  BOOST_TEST(line["transport"] == "tcp");
  BOOST_TEST(line["value"].get<double>() > 0);
  BOOST_TEST(line["raw"].get<double>() > 0);
  BOOST_TEST(run_program("troupe", "bench --list").text == run_program("bench", "--list").text);
}

BOOST_AUTO_TEST_CASE(without_names_a_few_are_measured_and_explained) {
  const auto end = run_program("troupe", "bench --seconds 0.05");
  BOOST_TEST(end.status == 0);
  const auto lines = lines_of(end.text);
  BOOST_REQUIRE(lines.size() == 8U); // a heading, and a note
  BOOST_TEST(lines.front().starts_with("metric"));
  std::vector<std::string> names;
  for (std::size_t i = 1; i < 7; ++i)
    names.push_back(lines[i].substr(0, lines[i].find(' ')));
  const std::vector<std::string> expected{"rtt_us", "call_rate", "msg_rate", "array_bw", "pmap_rate", "startup_4_s"};
  BOOST_TEST(names == expected, boost::test_tools::per_element());
  BOOST_TEST(says(lines[1], " us "));
  BOOST_TEST(says(lines[1], "an empty call to a worker and back"));
  BOOST_TEST(says(lines[4], " GB/s "));
}

BOOST_AUTO_TEST_CASE(the_ranks_of_an_mpi_job_are_measured) {
  const auto end = run_shell("mpirun -n 3 " + program_path("troupe") + " bench --mpi-transport rtt_us msg_rate --seconds 0.05");
  BOOST_TEST(end.status == 0);
  const auto lines = lines_of(end.text);
  BOOST_REQUIRE(lines.size() == 2U);
  for (const auto& text : lines) {
    const auto line = nlohmann::json::parse(text);
    BOOST_TEST(line["transport"] == "mpi");
    BOOST_TEST(line["value"].get<double>() > 0);
  }
}
