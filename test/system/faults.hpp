#pragma once

/// Runs the programs of test/system/programs/ and looks at them from outside: streams, status, /proc. Each
/// wait has a deadline, and whatever a program has started is found by a variable in its environment, and
/// ended with the object.

#include "troupe/managers/child_process.hpp"

#include <boost/test/unit_test.hpp>

#include "system/read_file.hpp"

#include <algorithm>
#include <arpa/inet.h>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <iterator>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

namespace faults {

using namespace std::chrono_literals;
using system_test::read_file;
using clock = std::chrono::steady_clock;
using milliseconds = std::chrono::milliseconds;

/// For what has to happen, but not at once.
inline constexpr milliseconds patience = 20s;

/// How long after a program's end its workers may be there.
inline constexpr milliseconds to_leave = 5s;

/// Each process of a run has this variable, with a value of the run's own.
inline constexpr const char* run_variable = "TROUPE_FAULTS_RUN";

/// Asks again and again until the answer is yes, for what tells nobody when it happens. False after the
/// limit.
template <class Condition>
bool eventually(Condition condition, milliseconds limit = patience) {
  const auto until = clock::now() + limit;
  while (!condition()) {
    if (clock::now() > until)
      return false;
    std::this_thread::sleep_for(5ms);
  }
  return true;
}

inline bool contains(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

inline int count(std::string_view text, std::string_view part) {
  int n = 0;
  for (auto at = text.find(part); at != std::string_view::npos; at = text.find(part, at + part.size()))
    ++n;
  return n;
}

/// All parts are in the text, which is shown otherwise.
inline void check_says(const std::string& text, std::initializer_list<std::string_view> parts) {
  for (auto part : parts)
    BOOST_CHECK_MESSAGE(contains(text, part), "no '" << part << "' in:\n" << text);
}

/// A program of the build.
inline std::string program(const std::string& name) {
  const auto folder = std::getenv("TROUPE_BIN");
  const auto path = folder != nullptr ? std::filesystem::path{folder} : std::filesystem::read_symlink("/proc/self/exe").parent_path();
  return (path / name).string();
}

/// A folder that goes with the object.
class temporary_folder {
public:
  temporary_folder() {
    auto name = (std::filesystem::temp_directory_path() / "troupe_faults_XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr)
      throw std::system_error{errno, std::generic_category(), name};
    path_ = name;
  }
  ~temporary_folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  temporary_folder(const temporary_folder&) = delete;
  temporary_folder& operator=(const temporary_folder&) = delete;

  std::string operator/(const std::string& name) const { return (path_ / name).string(); }

  /// Makes a file and returns its path.
  std::string with(const std::string& name, const std::string& content) const {
    std::ofstream{path_ / name, std::ios::binary} << content;
    return *this / name;
  }

private:
  std::filesystem::path path_;
};

/// How a program ended, and what it had written by then.
struct ending {
  troupe::exit_state state;
  std::string out;
  std::string err;
};

/// A program that runs, with all that it has started.
class run {
public:
  using variables = std::vector<std::pair<std::string, std::string>>;

  run(const std::string& path, std::vector<std::string> args, variables env = {})
    : tag_(std::to_string(::getpid()) + "." + std::to_string(++runs())),
      child_(
        {.program = path, .args = std::move(args), .dir = {}, .env = with_tag(std::move(env), tag_), .env_removed_prefixes = {"TROUPE_"}}),
      in_(child_.take_stdin()) {
    std::signal(SIGPIPE, SIG_IGN); // it may have ended when it is written to
    streams_[0].fd = child_.take_stdout();
    streams_[1].fd = child_.take_stderr();
  }

  ~run() {
    for (auto pid : processes())
      ::kill(pid, SIGKILL);
  }

  run(const run&) = delete;
  run& operator=(const run&) = delete;

  ::pid_t pid() const { return child_.pid(); }
  void signal(int number) { child_.signal(number); }
  troupe::unique_fd& in() { return in_; }
  const std::string& out() const { return streams_[0].text; }
  const std::string& err() const { return streams_[1].text; }

  /// Reads until the program has written this.
  void wait_for(std::string_view text, milliseconds limit = patience) {
    const auto until = clock::now() + limit;
    while (!contains(out(), text) && !contains(err(), text)) {
      if (!read_some(until)) {
        BOOST_FAIL("'" << text << "' was not written; stdout:\n" << out() << "\nstderr:\n" << err());
      }
    }
  }

  /// Reads for some time, for what must not come.
  void read_for(milliseconds time) {
    const auto until = clock::now() + time;
    while (clock::now() < until && read_some(until)) {
    }
  }

  /// What follows `name` on a line of its stdout: "name: value".
  std::string value(std::string_view name) const {
    const auto head = "\n" + std::string{name} + ": ";
    const auto text = "\n" + out();
    const auto at = text.find(head);
    if (at == std::string::npos) {
      BOOST_FAIL("no '" << name << ":' on stdout:\n" << out() << "\nstderr:\n" << err());
      return {};
    }
    const auto begin = at + head.size();
    return text.substr(begin, text.find('\n', begin) - begin);
  }

  int number(std::string_view name) const { return std::atoi(value(name).c_str()); }

  /// Nobody reads what it writes from now on, and it learns of that when it writes.
  void close_stdout() { streams_[0].fd.reset(); }

  /// Nobody reads what it writes from now on, but somebody might.
  void stop_reading_stdout() { unread_ = std::move(streams_[0].fd); }

  /// How much of what nobody reads is there.
  int unread() const {
    int n = 0;
    ::ioctl(unread_.get(), FIONREAD, &n);
    return n;
  }

  /// Reads to the end of the program, which must be within the limit.
  ending end(milliseconds limit = patience) {
    const auto until = clock::now() + limit;
    while (read_some(until)) {
    }
    const auto state = child_.wait_until(until);
    if (!state) {
      for (auto p : processes())
        report_stuck(p);
      BOOST_FAIL("still there after " << limit.count() << " ms; stdout:\n" << out() << "\nstderr:\n" << err());
    }
    return {state.value_or(troupe::exit_state{}), out(), err()};
  }

  /// All processes of this run that are there now.
  std::vector<::pid_t> processes() const {
    std::vector<::pid_t> found;
    const auto mark = '\0' + std::string{run_variable} + "=" + tag_ + '\0';
    std::error_code ignored;
    for (auto& entry : std::filesystem::directory_iterator{"/proc", ignored}) {
      const auto pid = std::atoi(entry.path().filename().c_str());
      if (pid > 0 && pid != ::getpid() && contains('\0' + read_file(entry.path() / "environ"), mark))
        found.push_back(pid);
    }
    return found;
  }

  /// Its processes but for the program itself.
  std::vector<::pid_t> children() const {
    auto all = processes();
    std::erase(all, pid());
    return all;
  }

  void check_nothing_left(milliseconds limit = to_leave) const {
    if (eventually([this] { return processes().empty(); }, limit))
      return;
    for (auto pid : processes())
      BOOST_ERROR("left behind: process " << pid << ", " << command(pid));
  }

  static std::string command(::pid_t pid) {
    auto text = read_file("/proc/" + std::to_string(pid) + "/cmdline");
    std::replace(text.begin(), text.end(), '\0', ' ');
    return text;
  }

private:
  struct stream {
    troupe::unique_fd fd;
    std::string text;
  };

  static int& runs() {
    static int n = 0;
    return n;
  }

  static variables with_tag(variables env, const std::string& tag) {
    env.emplace_back(run_variable, tag);
    return env;
  }

  static void report_stuck(::pid_t p) {
    std::string waits;
    std::error_code ignored;
    for (auto& task : std::filesystem::directory_iterator{"/proc/" + std::to_string(p) + "/task", ignored})
      waits += " " + read_file(task.path() / "wchan");
    BOOST_TEST_MESSAGE("process " << p << ", " << command(p) << ", waits in:" << waits);
  }

  // False at the end of both streams, and after the deadline.
  bool read_some(clock::time_point until) {
    if (!streams_[0].fd && !streams_[1].fd)
      return false;
    ::pollfd entries[] = {{streams_[0].fd.get(), POLLIN, 0}, {streams_[1].fd.get(), POLLIN, 0}};
    const auto left = std::chrono::ceil<milliseconds>(until - clock::now());
    if (left <= 0ms || ::poll(entries, 2, static_cast<int>(left.count())) <= 0)
      return false;
    for (std::size_t i = 0; i < 2; ++i) {
      char buffer[65536];
      if (!streams_[i].fd || entries[i].revents == 0)
        continue;
      if (const auto n = ::read(streams_[i].fd.get(), buffer, sizeof buffer); n > 0)
        streams_[i].text.append(buffer, static_cast<std::size_t>(n));
      else
        streams_[i].fd.reset();
    }
    return true;
  }

  std::string tag_;
  troupe::child_process child_;
  troupe::unique_fd in_;
  troupe::unique_fd unread_;
  stream streams_[2];
};

// -- sockets ---------------------------------------------------------------------------------------

/// A process's TCP sockets as /proc has them: the local address and port in hexadecimal, "0100007F:2342", and
/// the state, 0A for one that listens.
inline std::vector<std::pair<std::string, std::string>> tcp_sockets(::pid_t pid) {
  std::set<std::string> inodes;
  std::error_code ignored;
  for (auto& fd : std::filesystem::directory_iterator{"/proc/" + std::to_string(pid) + "/fd", ignored}) {
    const auto to = std::filesystem::read_symlink(fd.path(), ignored).string();
    if (to.starts_with("socket:["))
      inodes.insert(to.substr(8, to.size() - 9));
  }
  std::vector<std::pair<std::string, std::string>> out;
  for (auto file : {"/proc/net/tcp", "/proc/net/tcp6"}) {
    std::istringstream lines{read_file(file)};
    std::string line;
    std::getline(lines, line);
    while (std::getline(lines, line)) {
      std::istringstream fields{line};
      std::string slot, local, peer, state, queues, timer, retransmits, uid, timeout, inode;
      fields >> slot >> local >> peer >> state >> queues >> timer >> retransmits >> uid >> timeout >> inode;
      if (inodes.contains(inode))
        out.emplace_back(local, state);
    }
  }
  return out;
}

/// Where a process listens for TCP connections.
inline std::vector<std::string> listening(::pid_t pid) {
  std::vector<std::string> out;
  for (auto& [local, state] : tcp_sockets(pid))
    if (state == "0A")
      out.push_back(local);
  return out;
}

/// A connection to a port of this host.
inline troupe::unique_fd dial(int port) {
  troupe::unique_fd s{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  ::sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<std::uint16_t>(port));
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  BOOST_REQUIRE_MESSAGE(::connect(s.get(), reinterpret_cast<::sockaddr*>(&to), sizeof to) == 0,
                        "no connection to port " << port << ": " << std::strerror(errno));
  return s;
}

inline void write_all(const troupe::unique_fd& to, std::string_view text) {
  while (!text.empty()) {
    const auto n = ::send(to.get(), text.data(), text.size(), MSG_NOSIGNAL);
    if (n < 0)
      return; // it has hung up, which is its right
    text.remove_prefix(static_cast<std::size_t>(n));
  }
}

/// Whether the other end hangs up within the limit.
inline bool is_hung_up(const troupe::unique_fd& s, milliseconds limit) {
  const auto until = clock::now() + limit;
  char buffer[1024];
  for (;;) {
    const auto left = std::chrono::ceil<milliseconds>(until - clock::now());
    ::pollfd entry{s.get(), POLLIN, 0};
    if (left <= 0ms || ::poll(&entry, 1, static_cast<int>(left.count())) <= 0)
      return false;
    if (::recv(s.get(), buffer, sizeof buffer, 0) <= 0)
      return true;
  }
}

} // namespace faults
