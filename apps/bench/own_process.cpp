#include "bench/own_process.hpp"

#include <cerrno>
#include <csignal>
#include <stdexcept>
#include <string_view>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

extern char** environ;

namespace bench {

namespace {

using clock = std::chrono::steady_clock;

constexpr std::chrono::seconds longest_wait{60};

struct pipe_ends {
  int read = -1;
  int write = -1;
};

pipe_ends make_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0)
    throw std::system_error(errno, std::generic_category(), "cannot make a pipe");
  return {ends[0], ends[1]};
}

void close_fd(int& fd) {
  if (fd >= 0)
    ::close(fd);
  fd = -1;
}

std::string name_of(::pid_t pid) { return "process " + std::to_string(pid) + ", started to be measured,"; }

std::string own_path() {
  char path[4096];
  const auto n = ::readlink("/proc/self/exe", path, sizeof path);
  return {path, n > 0 ? static_cast<std::size_t>(n) : 0};
}

// Without what makes a process a rank of this one's MPI job.
std::vector<char*> environment() {
  std::vector<char*> out;
  for (auto v = environ; *v != nullptr; ++v)
    if (!std::string_view{*v}.starts_with("PMI_"))
      out.push_back(*v);
  out.push_back(nullptr);
  return out;
}

int spawn_self(::pid_t& pid, const std::vector<std::string>& launcher, const std::vector<std::string>& args, int in, int out) {
  auto words = launcher;
  words.push_back(own_path());
  words.insert(words.end(), args.begin(), args.end());
  std::vector<char*> argv;
  for (const auto& word : words)
    argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  ::posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
  const int problem = ::posix_spawnp(&pid, argv.front(), &actions, nullptr, argv.data(), environment().data());
  ::posix_spawn_file_actions_destroy(&actions);
  return problem;
}

} // namespace

own_process::own_process(const std::vector<std::string>& launcher, const std::vector<std::string>& args) {
  auto to = make_pipe();
  pipe_ends from;
  try {
    from = make_pipe();
  } catch (...) {
    close_fd(to.read);
    close_fd(to.write);
    throw;
  }
  const int problem = spawn_self(pid_, launcher, args, to.read, from.write);
  close_fd(to.read);
  close_fd(from.write);
  in_ = to.write;
  out_ = from.read;
  if (problem != 0) {
    close_pipes();
    throw std::system_error(problem, std::generic_category(),
                            "cannot start " + (launcher.empty() ? std::string{"this program once more"} : launcher.front()));
  }
}

own_process::~own_process() {
  close_pipes();
  if (pid_ < 0)
    return;
  ::kill(pid_, SIGKILL);
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

own_process::own_process(own_process&& other) noexcept
  : pid_(std::exchange(other.pid_, -1)),
    in_(std::exchange(other.in_, -1)),
    out_(std::exchange(other.out_, -1)),
    read_(std::move(other.read_)) {}

void own_process::close_pipes() {
  close_fd(in_);
  close_fd(out_);
}

std::string own_process::read_line() {
  const auto limit = clock::now() + longest_wait;
  while (true) {
    if (auto end = read_.find('\n'); end != std::string::npos) {
      auto line = read_.substr(0, end);
      read_.erase(0, end + 1);
      return line;
    }
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(limit - clock::now()).count();
    ::pollfd ready{out_, POLLIN, 0};
    const int n = left > 0 ? ::poll(&ready, 1, static_cast<int>(left)) : 0;
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      throw std::runtime_error(name_of(pid_) + " doesn't answer");
    char buffer[4096];
    const auto got = ::read(out_, buffer, sizeof buffer);
    if (got < 0 && errno == EINTR)
      continue;
    if (got <= 0)
      throw std::runtime_error(name_of(pid_) + " ended before it answered");
    read_.append(buffer, static_cast<std::size_t>(got));
  }
}

void own_process::write_line(std::string line) {
  line += '\n';
  if (::write(in_, line.data(), line.size()) != static_cast<::ssize_t>(line.size()))
    throw std::system_error(errno, std::generic_category(), "cannot write to " + name_of(pid_));
}

void own_process::finish() {
  close_fd(in_);
  wait();
}

void own_process::wait() {
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  const auto pid = std::exchange(pid_, -1);
  close_pipes();
  if (WIFSIGNALED(status))
    throw std::runtime_error(name_of(pid) + " was killed by signal " + std::to_string(WTERMSIG(status)));
  if (WEXITSTATUS(status) != 0)
    throw std::runtime_error(name_of(pid) + " exited with status " + std::to_string(WEXITSTATUS(status)));
}

} // namespace bench
