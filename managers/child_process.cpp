#include "troupe/managers/child_process.hpp"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <stdexcept>
#include <string_view>
#include <system_error>

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace troupe {

namespace {

using std::chrono::steady_clock;

constexpr auto wait_for_killed = std::chrono::seconds{5};
constexpr auto by_pidfd = static_cast<idtype_t>(3); // P_PIDFD, which glibc names from 2.36 on

void check(int error, const char* what) {
  if (error != 0)
    throw std::system_error(error, std::generic_category(), what);
}

struct spawn_attributes {
  ::posix_spawnattr_t value;
  spawn_attributes() { check(::posix_spawnattr_init(&value), "posix_spawnattr_init"); }
  ~spawn_attributes() { ::posix_spawnattr_destroy(&value); }
  spawn_attributes(const spawn_attributes&) = delete;
  spawn_attributes& operator=(const spawn_attributes&) = delete;
};

struct file_actions {
  ::posix_spawn_file_actions_t value;
  file_actions() { check(::posix_spawn_file_actions_init(&value), "posix_spawn_file_actions_init"); }
  ~file_actions() { ::posix_spawn_file_actions_destroy(&value); }
  file_actions(const file_actions&) = delete;
  file_actions& operator=(const file_actions&) = delete;
};

struct pipe_ends {
  unique_fd read, write;
};

// A program whose own 0, 1 or 2 is closed would get these numbers for a pipe, and whatever it prints would go
// to the child.
unique_fd above_standard_streams(unique_fd fd) {
  if (fd.get() > STDERR_FILENO)
    return fd;
  unique_fd moved{::fcntl(fd.get(), F_DUPFD_CLOEXEC, STDERR_FILENO + 1)};
  if (!moved)
    check(errno, "can't duplicate a pipe");
  return moved;
}

pipe_ends make_pipe() {
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC) != 0)
    check(errno, "can't make a pipe for a child process");
  unique_fd read{fds[0]}, write{fds[1]};
  return {above_standard_streams(std::move(read)), above_standard_streams(std::move(write))};
}

std::string_view name_of(std::string_view variable) { return variable.substr(0, variable.find('=')); }

std::vector<std::string> environment_for(const child_options& options) {
  std::vector<std::string> result;
  auto unwanted = [&](std::string_view variable) {
    return std::any_of(options.env_removed_prefixes.begin(), options.env_removed_prefixes.end(),
                       [&](const std::string& prefix) { return variable.starts_with(prefix); });
  };
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    if (!unwanted(*entry))
      result.emplace_back(*entry);
  }
  for (const auto& [name, value] : options.env) {
    if (name.empty() || name.find('=') != std::string::npos)
      throw std::invalid_argument("'" + name + "' can't be the name of an environment variable");
    std::erase_if(result, [&name = name](const std::string& entry) { return name_of(entry) == name; });
    result.push_back(name + '=' + value);
  }
  return result;
}

std::vector<char*> pointers_to(std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (auto& string : strings)
    pointers.push_back(string.data());
  pointers.push_back(nullptr);
  return pointers;
}

int why_not_enterable(const std::string& dir) {
  struct ::stat info{};
  if (::stat(dir.c_str(), &info) != 0)
    return errno;
  if (!S_ISDIR(info.st_mode))
    return ENOTDIR;
  return ::access(dir.c_str(), X_OK) == 0 ? 0 : errno;
}

// posix_spawn gives one error number for whatever failed in the child.
[[noreturn]] void throw_not_started(const child_options& options, int error) {
  if (!options.dir.empty()) {
    if (const int dir_error = why_not_enterable(options.dir); dir_error != 0)
      throw std::system_error(dir_error, std::generic_category(),
                              "can't enter directory '" + options.dir + "' to start program '" + options.program + "'");
  }
  const auto where = options.dir.empty() ? "the current directory" : "directory '" + options.dir + "'";
  throw std::system_error(error, std::generic_category(), "can't start program '" + options.program + "' in " + where);
}

void set_defaults(spawn_attributes& attributes) {
  ::sigset_t all, none;
  sigfillset(&all);
  sigemptyset(&none);
  check(::posix_spawnattr_setflags(&attributes.value, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK),
        "posix_spawnattr_setflags");
  check(::posix_spawnattr_setpgroup(&attributes.value, 0), "posix_spawnattr_setpgroup");
  check(::posix_spawnattr_setsigdefault(&attributes.value, &all), "posix_spawnattr_setsigdefault");
  check(::posix_spawnattr_setsigmask(&attributes.value, &none), "posix_spawnattr_setsigmask");
}

::pid_t spawn(const child_options& options, int in, int out, int err) {
  spawn_attributes attributes;
  set_defaults(attributes);

  file_actions actions;
  const std::pair<int, int> streams[] = {{in, STDIN_FILENO}, {out, STDOUT_FILENO}, {err, STDERR_FILENO}};
  for (auto [from, to] : streams)
    check(::posix_spawn_file_actions_adddup2(&actions.value, from, to), "posix_spawn_file_actions_adddup2");
  check(::posix_spawn_file_actions_addclosefrom_np(&actions.value, STDERR_FILENO + 1), "posix_spawn_file_actions_addclosefrom_np");
  if (!options.dir.empty())
    check(::posix_spawn_file_actions_addchdir_np(&actions.value, options.dir.c_str()), "posix_spawn_file_actions_addchdir_np");

  std::vector<std::string> arguments{options.program};
  arguments.insert(arguments.end(), options.args.begin(), options.args.end());
  auto environment = environment_for(options);
  ::pid_t pid = -1;
  const int error = ::posix_spawnp(&pid, options.program.c_str(), &actions.value, &attributes.value, pointers_to(arguments).data(),
                                   pointers_to(environment).data());
  if (error != 0)
    throw_not_started(options, error);
  return pid;
}

exit_state to_exit_state(const ::siginfo_t& info) {
  if (info.si_code == CLD_EXITED)
    return {.status = info.si_status};
  return {.signal = info.si_status, .core = info.si_code == CLD_DUMPED};
}

} // namespace

std::string exit_state::to_text() const {
  if (signal == 0)
    return status < 0 ? "ended in an unknown way" : "exited with status " + std::to_string(status);
  const char* description = ::sigdescr_np(signal); // none for real-time signals
  std::string text = "was killed by signal " + std::to_string(signal);
  if (description != nullptr)
    text += std::string{" ("} + description + ")";
  if (core)
    text += ", core dumped";
  return text;
}

child_process::child_process(const child_options& options) {
  auto in = make_pipe();
  auto out = make_pipe();
  auto err = make_pipe();
  pid_ = spawn(options, in.read.get(), out.write.get(), err.write.get());
  pidfd_ = unique_fd{static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0))}; // always close-on-exec
  if (!pidfd_) {
    const int error = errno;
    ::kill(-pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    check(error, "can't watch a child process (pidfd_open)");
  }
  stdin_ = std::move(in.write);
  stdout_ = std::move(out.read);
  stderr_ = std::move(err.read);
}

child_process::~child_process() { end(); }

child_process::child_process(child_process&& other) noexcept = default;

child_process& child_process::operator=(child_process&& other) noexcept {
  if (this != &other) {
    end();
    pid_ = other.pid_;
    pidfd_ = std::move(other.pidfd_);
    stdin_ = std::move(other.stdin_);
    stdout_ = std::move(other.stdout_);
    stderr_ = std::move(other.stderr_);
    ended_ = other.ended_;
  }
  return *this;
}

std::optional<exit_state> child_process::try_wait() {
  if (ended_)
    return ended_;
  ::siginfo_t info{};
  int result = 0;
  do {
    result = ::waitid(by_pidfd, static_cast<::id_t>(pidfd_.get()), &info, WEXITED | WNOHANG);
  } while (result != 0 && errno == EINTR);
  if (result != 0)
    ended_.emplace(); // ECHILD: somebody else waited for it
  else if (info.si_pid != 0)
    ended_ = to_exit_state(info);
  return ended_;
}

std::optional<exit_state> child_process::wait_until(steady_clock::time_point deadline) {
  for (;;) {
    if (auto state = try_wait())
      return state;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - steady_clock::now()).count();
    if (left <= 0)
      return std::nullopt;
    ::pollfd entry{pidfd_.get(), POLLIN, 0};
    ::poll(&entry, 1, static_cast<int>(std::min<long long>(left, 1'000'000)));
  }
}

void child_process::signal(int number) {
  if (ended_)
    return;
  if (::syscall(SYS_pidfd_send_signal, pidfd_.get(), number, nullptr, 0) != 0 && errno != ESRCH)
    check(errno, "can't send a signal to a child process");
}

void child_process::signal_group(int number) {
  if (ended_)
    return;
  // A child that nobody has waited for keeps its id, dead or alive.
  if (::kill(-pid_, number) != 0 && errno != ESRCH)
    check(errno, "can't send a signal to a child's process group");
}

void child_process::end() noexcept {
  if (!pidfd_ || try_wait())
    return;
  ::kill(-pid_, SIGKILL);
  wait_until(steady_clock::now() + wait_for_killed);
}

} // namespace troupe
