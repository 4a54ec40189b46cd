#define BOOST_TEST_MODULE child_process
#include <boost/test/unit_test.hpp>

#include "troupe/managers/child_process.hpp"

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <system_error>

#include <fcntl.h>
#include <poll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

using troupe::child_options;
using troupe::child_process;
using troupe::exit_state;
using troupe::unique_fd;
using namespace std::chrono_literals;

namespace {

auto soon() { return std::chrono::steady_clock::now() + 20s; }

child_options shell(const std::string& script) {
  return {.program = "/bin/sh", .args = {"-c", script}, .dir = {}, .env = {}, .env_removed_prefixes = {}};
}

bool becomes_readable(int fd) {
  ::pollfd entry{fd, POLLIN, 0};
  return ::poll(&entry, 1, 20'000) == 1;
}

bool is_readable(int fd) {
  ::pollfd entry{fd, POLLIN, 0};
  return ::poll(&entry, 1, 0) == 1;
}

std::string read_to_end(const unique_fd& fd) {
  std::string text;
  char buffer[4096];
  for (;;) {
    BOOST_REQUIRE(becomes_readable(fd.get()));
    const auto n = ::read(fd.get(), buffer, sizeof buffer);
    BOOST_REQUIRE(n >= 0);
    if (n == 0)
      return text;
    text.append(buffer, static_cast<std::size_t>(n));
  }
}

std::string read_line(const unique_fd& fd) {
  std::string text;
  char c = 0;
  while (becomes_readable(fd.get()) && ::read(fd.get(), &c, 1) == 1 && c != '\n')
    text += c;
  return text;
}

std::string output_of(const child_options& options) {
  child_process child{options};
  return read_to_end(child.take_stdout());
}

exit_state end_of(child_process& child) {
  const auto state = child.wait_until(soon());
  BOOST_REQUIRE(state.has_value());
  return *state;
}

template <class Function>
std::string system_error_of(Function f) {
  try {
    f();
  } catch (const std::system_error& e) {
    return e.what();
  }
  return "nothing was thrown";
}

bool contains(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

bool has_children() {
  ::siginfo_t info{};
  return ::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

} // namespace

// FA-11
BOOST_AUTO_TEST_CASE(the_exit_status_is_reported) {
  child_process child{shell("exit 7")};
  BOOST_TEST((end_of(child) == exit_state{.status = 7}));
  BOOST_TEST(end_of(child).to_text() == "exited with status 7");
}

// FA-11
BOOST_AUTO_TEST_CASE(the_signal_that_killed_it_is_reported) {
  child_process child{shell("kill -9 $$")};
  const auto state = end_of(child);
  BOOST_TEST(state.signal == 9);
  BOOST_TEST(state.status == -1);
  BOOST_TEST(state.to_text() == "was killed by signal 9 (Killed)");
}

BOOST_AUTO_TEST_CASE(texts_for_core_dumps_real_time_signals_and_unknown_ends) {
  BOOST_TEST((exit_state{.signal = 11, .core = true}.to_text()) == "was killed by signal 11 (Segmentation fault), core dumped");
  BOOST_TEST((exit_state{.signal = 40}.to_text()) == "was killed by signal 40");
  BOOST_TEST(exit_state{}.to_text() == "ended in an unknown way");
}

BOOST_AUTO_TEST_CASE(a_child_whose_end_was_taken_by_another_still_counts_as_ended) {
  child_process child{shell("exit 7")};
  BOOST_TEST(::waitpid(child.pid(), nullptr, 0) == child.pid());
  BOOST_TEST((end_of(child) == exit_state{}));
}

BOOST_AUTO_TEST_CASE(the_streams_are_pipes_of_their_own) {
  child_process child{shell("cat; echo problem >&2")};
  auto in = child.take_stdin();
  BOOST_TEST(::write(in.get(), "hello", 5) == 5);
  in.reset();
  BOOST_TEST(read_to_end(child.take_stdout()) == "hello");
  BOOST_TEST(read_to_end(child.take_stderr()) == "problem\n");
  BOOST_TEST(!child.take_stdout());
}

BOOST_AUTO_TEST_CASE(arguments_arrive_as_they_are) {
  BOOST_TEST(output_of({.program = "printf", .args = {"[%s]", "a b", "", "$HOME\n'"}, .dir = {}, .env = {}, .env_removed_prefixes = {}})
             == "[a b][][$HOME\n']");
}

BOOST_AUTO_TEST_CASE(it_runs_in_the_given_directory) {
  auto options = shell("pwd -P");
  options.dir = "/proc";
  BOOST_TEST(output_of(options) == "/proc\n");
  options.dir.clear();
  BOOST_TEST(output_of(options) == std::filesystem::current_path().string() + "\n");
}

BOOST_AUTO_TEST_CASE(variables_are_added_overridden_and_removed) {
  ::setenv("PMI_RANK", "3", 1);
  ::setenv("PMI_KEPT", "old", 1);
  ::setenv("TROUPE_TEST_A", "old", 1);
  ::setenv("TROUPE_TEST_AB", "stays", 1);
  auto options = shell("echo ${PMI_RANK-none} $PMI_KEPT $TROUPE_TEST_A $TROUPE_TEST_AB $TROUPE_TEST_NEW");
  options.env = {{"TROUPE_TEST_A", "first"}, {"TROUPE_TEST_A", "new=1"}, {"PMI_KEPT", "given"}, {"TROUPE_TEST_NEW", "added"}};
  options.env_removed_prefixes = {"PMI_"};
  BOOST_TEST(output_of(options) == "none given new=1 stays added\n");

  options.program = "env"; // a shell would hide a variable that stands there twice
  options.args.clear();
  const auto all = output_of(options);
  BOOST_TEST(contains(all, "TROUPE_TEST_A=new=1\n"));
  BOOST_TEST(!contains(all, "TROUPE_TEST_A=old"));
  BOOST_TEST(!contains(all, "TROUPE_TEST_A=first"));
}

BOOST_AUTO_TEST_CASE(a_variable_without_a_proper_name_is_refused) {
  for (const char* name : {"", "A=B"}) {
    auto options = shell("true");
    options.env = {{name, "x"}};
    BOOST_CHECK_THROW(child_process{options}, std::invalid_argument);
  }
}

BOOST_AUTO_TEST_CASE(a_missing_program_and_a_missing_directory_are_told_apart) {
  auto options = shell("true");
  options.program = "no-such-program";
  options.dir = "/tmp";
  BOOST_TEST(system_error_of([&] { child_process{options}; })
             == "can't start program 'no-such-program' in directory '/tmp': No such file or directory");
  options.program = "/bin/sh";
  options.dir = "/no/such/dir";
  BOOST_TEST(system_error_of([&] { child_process{options}; })
             == "can't enter directory '/no/such/dir' to start program '/bin/sh': No such file or directory");
  options.dir = "/dev/null";
  BOOST_TEST(contains(system_error_of([&] { child_process{options}; }), "enter directory '/dev/null'"));
  options.program = "/dev/null";
  options.dir.clear();
  BOOST_TEST(system_error_of([&] { child_process{options}; })
             == "can't start program '/dev/null' in the current directory: Permission denied");
  BOOST_TEST(!has_children());
}

BOOST_AUTO_TEST_CASE(it_has_a_process_group_of_its_own) {
  child_process child{shell("read x")};
  BOOST_TEST(::getpgid(child.pid()) == child.pid());
  BOOST_TEST(::getpgrp() != child.pid());
}

BOOST_AUTO_TEST_CASE(it_starts_with_default_signals_and_none_blocked) {
  ::sigset_t usr1, before;
  sigemptyset(&usr1);
  sigaddset(&usr1, SIGUSR1);
  ::pthread_sigmask(SIG_BLOCK, &usr1, &before);
  const auto handler = std::signal(SIGPIPE, SIG_IGN);
  const auto masks = output_of(shell("exec sed -n 's/^Sig[BI][lg][kn]:.//p' /proc/self/status"));
  std::signal(SIGPIPE, handler);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  BOOST_REQUIRE(masks.size() == 34); // two lines of 16 digits
  BOOST_TEST(std::stoull(masks.substr(0, 16), nullptr, 16) == 0u, "blocked: " << masks);
  // Signals 32 and 33 are the C library's own.
  BOOST_TEST((std::stoull(masks.substr(17), nullptr, 16) & 0x7fffffff) == 0u, "ignored: " << masks);
}

BOOST_AUTO_TEST_CASE(no_descriptor_of_ours_reaches_the_child) {
  const unique_fd leaky{::fcntl(STDERR_FILENO, F_DUPFD, 100)}; // not close-on-exec
  BOOST_REQUIRE(leaky);
  child_process other{shell("read x")};
  BOOST_TEST(output_of({.program = "ls", .args = {"/proc/self/fd"}, .dir = {}, .env = {}, .env_removed_prefixes = {}})
             == "0\n1\n2\n3\n"); // 3 is what ls itself opens
}

BOOST_AUTO_TEST_CASE(it_starts_properly_when_our_own_standard_streams_are_closed) {
  const unique_fd saved_in{::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3)};
  const unique_fd saved_out{::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3)};
  ::close(STDIN_FILENO);
  ::close(STDOUT_FILENO);
  std::string out, err;
  int lowest = 0;
  {
    child_process child{shell("cat; echo problem >&2")};
    auto in = child.take_stdin();
    lowest = in.get();
    [[maybe_unused]] const auto n = ::write(in.get(), "hello", 5);
    in.reset();
    const auto from_out = child.take_stdout(), from_err = child.take_stderr();
    lowest = std::min({lowest, from_out.get(), from_err.get()});
    out = read_to_end(from_out);
    err = read_to_end(from_err);
  }
  if (saved_in)
    ::dup2(saved_in.get(), STDIN_FILENO);
  ::dup2(saved_out.get(), STDOUT_FILENO);
  BOOST_TEST(out == "hello");
  BOOST_TEST(err == "problem\n");
  BOOST_TEST(lowest > STDERR_FILENO); // else what we print would go to the child
}

BOOST_AUTO_TEST_CASE(the_pidfd_becomes_readable_when_it_ends) {
  child_process child{shell("read x")};
  BOOST_TEST(!is_readable(child.pidfd()));
  BOOST_TEST(!child.try_wait().has_value());
  BOOST_TEST(!child.wait_until(std::chrono::steady_clock::now() + 10ms).has_value());
  child.take_stdin().reset();
  BOOST_TEST(becomes_readable(child.pidfd()));
  BOOST_TEST(child.try_wait().has_value());
}

BOOST_AUTO_TEST_CASE(signals_reach_the_child) {
  child_process child{shell("trap 'exit 5' USR1; echo ready; while :; do sleep 0.05; done")};
  BOOST_TEST(read_line(child.take_stdout()) == "ready");
  child.signal(SIGUSR1);
  BOOST_TEST(end_of(child).status == 5);
  BOOST_CHECK_NO_THROW(child.signal(SIGUSR1));
  BOOST_CHECK_NO_THROW(child.signal_group(SIGUSR1));
}

BOOST_AUTO_TEST_CASE(a_signal_that_does_not_exist_is_an_error) {
  child_process child{shell("read x")};
  BOOST_CHECK_THROW(child.signal(1000), std::system_error);
  BOOST_CHECK_THROW(child.signal_group(1000), std::system_error);
}

BOOST_AUTO_TEST_CASE(signals_to_the_group_reach_what_the_child_started_even_after_its_own_end) {
  child_process child{shell("sleep 1000 & echo $!")};
  const auto out = child.take_stdout();
  const ::pid_t grandchild = std::stoi(read_line(out));
  const unique_fd watch{static_cast<int>(::syscall(SYS_pidfd_open, grandchild, 0))};
  BOOST_REQUIRE(becomes_readable(child.pidfd()));
  BOOST_TEST(!is_readable(watch.get()));
  child.signal_group(SIGTERM);
  BOOST_TEST(becomes_readable(watch.get()));
  BOOST_TEST(end_of(child).status == 0);
}

BOOST_AUTO_TEST_CASE(its_destruction_ends_the_whole_group_and_leaves_no_zombie) {
  unique_fd watch_child, watch_grandchild;
  {
    child_process child{shell("trap '' TERM INT HUP; sleep 1000 & echo $!; wait")};
    const ::pid_t grandchild = std::stoi(read_line(child.take_stdout()));
    watch_grandchild = unique_fd{static_cast<int>(::syscall(SYS_pidfd_open, grandchild, 0))};
    watch_child = unique_fd{::fcntl(child.pidfd(), F_DUPFD_CLOEXEC, 3)};
    BOOST_TEST(!is_readable(watch_child.get()));
  }
  BOOST_TEST(is_readable(watch_child.get()));
  BOOST_TEST(becomes_readable(watch_grandchild.get()));
  BOOST_TEST(!has_children());
}

BOOST_AUTO_TEST_CASE(an_ended_child_that_nobody_waited_for_leaves_no_zombie) {
  {
    child_process child{shell("exit 0")};
    BOOST_TEST(becomes_readable(child.pidfd()));
    BOOST_TEST(has_children());
  }
  BOOST_TEST(!has_children());
}

BOOST_AUTO_TEST_CASE(moving_hands_the_child_over_and_assignment_ends_the_old_one) {
  child_process first{shell("read x; exit 1")};
  const unique_fd watch_first{::fcntl(first.pidfd(), F_DUPFD_CLOEXEC, 3)};
  child_process second{shell("read x; exit 2")};
  first = std::move(second);
  BOOST_TEST(is_readable(watch_first.get()));
  child_process third{std::move(first)};
  BOOST_TEST(!third.try_wait().has_value());
  third.take_stdin().reset();
  BOOST_TEST(end_of(third).status == 2);
}

BOOST_AUTO_TEST_CASE(a_hundred_children_at_once_leave_no_descriptors_behind) {
  auto open_descriptors = [] { return std::distance(std::filesystem::directory_iterator{"/proc/self/fd"}, {}); };
  const auto before = open_descriptors();
  {
    std::vector<child_process> children;
    for (int i = 0; i < 100; ++i)
      children.emplace_back(shell("exit " + std::to_string(i)));
    for (int i = 0; i < 100; ++i)
      BOOST_TEST(end_of(children[static_cast<std::size_t>(i)]).status == i);
  }
  BOOST_TEST(open_descriptors() == before);
}
