#include "run_command.hpp"

#include "troupe/managers/own_manager.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <sstream>
#include <system_error>

#include <poll.h>
#include <unistd.h>

namespace command {

namespace {

using namespace std::chrono_literals;
using clock = std::chrono::steady_clock;

constexpr std::size_t most_kept = 1 << 20;
// What a program has started may keep its pipes open after its end.
constexpr auto output_grace = 200ms;
// Between SIGTERM and SIGKILL: mpirun ends its ranks in that time.
constexpr auto term_grace = 500ms;

int milliseconds_until(clock::time_point when) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(when - clock::now()).count();
  return static_cast<int>(std::clamp<long long>(left, 0, 60'000));
}

// Reads what is there; closes at the end.
void read_some(troupe::unique_fd& fd, std::string& text) {
  char buffer[16 << 10];
  const auto n = ::read(fd.get(), buffer, sizeof buffer);
  if (n < 0 && errno == EINTR)
    return;
  if (n <= 0)
    return fd.reset();
  if (text.size() < most_kept)
    text.append(buffer, static_cast<std::size_t>(n));
}

// The process groups that run, for the signal handler; more than these are left to end by themselves.
std::array<std::atomic<::pid_t>, 64> groups{};

void change_group(::pid_t from, ::pid_t to) {
  for (auto& group : groups)
    if (auto expected = from; group.compare_exchange_strong(expected, to))
      return;
}

void signal_all(int number) {
  for (auto& group : groups)
    if (const auto pid = group.load(); pid > 0)
      ::kill(-pid, number);
}

bool any_left() {
  for (auto& group : groups)
    if (const auto pid = group.load(); pid > 0)
      return true;
  return false;
}

// Only what a signal handler may call.
void end_all(int number) {
  signal_all(SIGTERM);
  if (any_left()) {
    ::timespec grace{0, std::chrono::nanoseconds{term_grace}.count()};
    ::nanosleep(&grace, nullptr);
    signal_all(SIGKILL);
  }
  ::signal(number, SIG_DFL);
  ::raise(number);
}

class running {
public:
  running(const troupe::child_options& what, const line_answer& answer)
    : child_(what), answer_(answer), in_(child_.take_stdin()), out_(child_.take_stdout()), err_(child_.take_stderr()) {
    change_group(0, child_.pid());
  }
  ~running() { change_group(child_.pid(), 0); }
  running(const running&) = delete;
  running& operator=(const running&) = delete;

  void write(const std::string& text) {
    if (in_ && !text.empty())
      troupe::write_to_child(in_.get(), text);
  }
  void close_input() { in_.reset(); }

  // Until it has ended, and its output has.
  bool finish(clock::time_point limit, command_end& end) {
    for (;;) {
      const auto until = exited_ ? std::min(limit, *exited_ + output_grace) : limit;
      if ((exited_ && !out_ && !err_) || clock::now() >= until)
        break;
      ::pollfd all[] = {
        {out_ ? out_.get() : -1, POLLIN, 0}, {err_ ? err_.get() : -1, POLLIN, 0}, {exited_ ? -1 : child_.pidfd(), POLLIN, 0}};
      if (::poll(all, std::size(all), milliseconds_until(until)) <= 0)
        continue;
      if (all[0].revents != 0)
        take_output(end);
      if (all[1].revents != 0)
        read_some(err_, end.err);
      if (all[2].revents != 0)
        take_exit(end);
    }
    return exited_.has_value();
  }

  void terminate(command_end& ignored) {
    child_.signal_group(SIGTERM);
    if (!finish(clock::now() + term_grace, ignored))
      child_.signal_group(SIGKILL);
  }

private:
  void take_output(command_end& end) {
    read_some(out_, end.out);
    for (auto at = end.out.find('\n', seen_); answer_ && at != std::string::npos; at = end.out.find('\n', seen_)) {
      const auto said = answer_(std::string_view{end.out}.substr(seen_, at - seen_));
      seen_ = at + 1;
      said ? write(*said) : close_input();
    }
  }

  void take_exit(command_end& end) {
    child_.signal_group(SIGKILL); // what it has left behind
    change_group(child_.pid(), 0); // the number may soon be another's
    end.state = child_.try_wait();
    exited_ = clock::now();
  }

  troupe::child_process child_;
  const line_answer& answer_;
  troupe::unique_fd in_;
  troupe::unique_fd out_;
  troupe::unique_fd err_;
  std::size_t seen_ = 0;
  std::optional<clock::time_point> exited_;
};

} // namespace

void end_commands_on_signals() {
  for (const int number : {SIGINT, SIGTERM, SIGHUP})
    ::signal(number, end_all);
}

std::string command_end::to_text() const {
  if (!not_started.empty())
    return not_started;
  if (!state) {
    char text[64];
    std::snprintf(text, sizeof text, "has not ended within %.2g s", static_cast<double>(took.count()) / 1000);
    return text;
  }
  const auto said = first_line(err.empty() ? out : err);
  return state->to_text() + (said.empty() ? "" : ": " + said);
}

command_end run_command(const troupe::child_options& what, std::chrono::milliseconds limit, const std::string& input,
                        const line_answer& answer) {
  command_end end;
  const auto start = clock::now();
  try {
    running program{what, answer};
    program.write(input);
    if (!answer)
      program.close_input();
    if (!program.finish(start + limit, end)) {
      end.took = limit;
      program.terminate(end);
      end.state.reset();
      return end;
    }
  } catch (const std::system_error& e) {
    end.not_started = e.what();
  }
  end.took = std::chrono::duration_cast<std::chrono::milliseconds>(clock::now() - start);
  return end;
}

command_end run_command(const std::string& program, std::vector<std::string> args, std::chrono::milliseconds limit,
                        const std::string& input) {
  troupe::child_options what;
  what.program = program;
  what.args = std::move(args);
  what.env_removed_prefixes = troupe::launcher_variables();
  return run_command(what, limit, input);
}

std::string find_program(const std::string& name) {
  const auto path = std::getenv("PATH");
  std::istringstream folders{path == nullptr ? "" : path};
  for (std::string folder; std::getline(folders, folder, ':');) {
    const auto file = (folder.empty() ? "." : folder) + "/" + name;
    std::error_code problem;
    if (std::filesystem::is_regular_file(file, problem) && ::access(file.c_str(), X_OK) == 0) {
      const auto real = std::filesystem::canonical(file, problem);
      return problem ? file : real.string();
    }
  }
  return {};
}

std::string first_line(std::string_view text) {
  const auto begin = text.find_first_not_of("\r\n");
  if (begin == std::string_view::npos)
    return {};
  return std::string{text.substr(begin, text.find_first_of("\r\n", begin) - begin)};
}

} // namespace command
