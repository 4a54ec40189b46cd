#include "troupe/managers/host_keeper.hpp"

#include "troupe/managers/bind_address.hpp"
#include "troupe/managers/child_process.hpp"
#include "troupe/managers/keeper_lines.hpp"
#include "troupe/managers/own_manager.hpp"
#include "troupe/managers/process.hpp"
#include "troupe/managers/usable_cpus.hpp"
#include "troupe/transport/error.hpp"
#include "troupe/transport/log.hpp"

#include <algorithm>
#include <arpa/inet.h>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <memory>
#include <netinet/in.h>
#include <optional>
#include <poll.h>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <unistd.h>
#include <vector>

namespace troupe {

namespace {

using namespace std::chrono_literals;
using clock = std::chrono::steady_clock;

// How long the output of a process that has ended is waited for: another process may keep its pipe open.
constexpr auto output_grace = 500ms;
// The last news leave within this time, or never.
constexpr auto farewell_time = 5s;
// Workers that write are slowed down by a master that doesn't read.
constexpr std::size_t most_unsent = 256 << 10;

// Where the master has reached this host, which others can most likely do, too; unless it came by loopback. ssh tells.
std::string reached_at() {
  if (const auto text = std::getenv("SSH_CONNECTION")) { // client, port, server, port
    const std::string_view all = text;
    const auto port = all.find(' ');
    const auto server = port == std::string_view::npos ? port : all.find(' ', port + 1);
    if (server != std::string_view::npos) {
      const std::string address{all.substr(server + 1, all.find(' ', server + 1) - server - 1)};
      in_addr v4{};
      in6_addr v6{};
      const bool is_v4 = ::inet_pton(AF_INET, address.c_str(), &v4) == 1 && (ntohl(v4.s_addr) >> 24) != 127;
      if (is_v4 || (::inet_pton(AF_INET6, address.c_str(), &v6) == 1 && !IN6_IS_ADDR_LOOPBACK(&v6) && !IN6_IS_ADDR_LINKLOCAL(&v6)))
        return address;
    }
  }
  return choose_bind_address();
}

// One of a worker's output streams.
struct output {
  unique_fd fd;
  bool is_stderr = false;
  std::string partial;
};

struct kept_worker {
  kept_worker(int number, const child_options& options)
    : index(number),
      process(options),
      input(process.take_stdin()),
      streams{{process.take_stdout(), false, {}}, {process.take_stderr(), true, {}}} {}

  bool silent() const { return !streams[0].fd && !streams[1].fd; }

  int index;
  child_process process;
  unique_fd input; // it is tied to this
  output streams[2];
  std::optional<clock::time_point> exited;
};

class keeper {
public:
  explicit keeper(clock::time_point limit) : limit_(limit) {}
  // What workers have started goes with them, also with one that has just ended by itself.
  ~keeper() {
    for (auto& w : workers_)
      if (!w->exited)
        w->process.signal_group(SIGKILL);
  }
  keeper(const keeper&) = delete;
  keeper& operator=(const keeper&) = delete;

  int run() {
    tell(keeper_hello{.cpus = usable_cpus(), .os_pid = ::getpid(), .host = host_name(), .address = reached_at()});
    while (!over()) {
      const auto timeout = time_to_wait();
      if (timeout < 0ms)
        return 1;
      wait(timeout);
      if (gone_)
        return 0; // the destructor kills
      serve_workers();
    }
    return 0;
  }

private:
  // All have ended, and the master has been told, or doesn't want to hear.
  bool over() {
    if (!complete_ || !workers_.empty())
      return false;
    if (!farewell_)
      farewell_ = clock::now() + farewell_time;
    return unsent_.empty() || clock::now() >= *farewell_;
  }

  // Negative: nothing is worth waiting for.
  std::chrono::milliseconds time_to_wait() const {
    auto until = clock::time_point::max();
    if (!complete_)
      until = limit_;
    if (farewell_)
      until = *farewell_;
    for (auto& w : workers_)
      if (w->exited)
        until = std::min(until, *w->exited + output_grace);
    if (until == clock::time_point::max())
      return 1h;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - clock::now());
    if (left <= 0ms && !complete_ && clock::now() >= limit_) {
      log(log_level::warning, "a host keeper was not told all its workers in time: ending");
      return -1ms;
    }
    return std::max(0ms, left);
  }

  void wait(std::chrono::milliseconds timeout) {
    std::vector<pollfd> all{{STDIN_FILENO, POLLIN, 0}, {unsent_.empty() ? -1 : STDOUT_FILENO, POLLOUT, 0}};
    const bool room = unsent_.size() < most_unsent;
    for (auto& w : workers_) {
      all.push_back({w->exited ? -1 : w->process.pidfd(), POLLIN, 0});
      for (auto& s : w->streams)
        all.push_back({room && s.fd ? s.fd.get() : -1, POLLIN, 0});
    }
    if (::poll(all.data(), all.size(), static_cast<int>(timeout.count())) <= 0)
      return;
    if (all[1].revents != 0)
      send_some();
    std::size_t at = 2;
    for (auto& w : workers_) { // before orders, which add to them
      if (all[at++].revents != 0)
        take_exit(*w);
      for (auto& s : w->streams)
        if (all[at++].revents != 0)
          read_some(*w, s);
    }
    if (all[0].revents != 0)
      read_orders();
  }

  void take_exit(kept_worker& w) {
    // what it has started and left behind ends with it
    w.process.signal_group(SIGKILL);
    w.process.try_wait();
    w.exited = clock::now();
  }

  void serve_workers() {
    std::erase_if(workers_, [&](auto& w) {
      if (!w->exited || (!w->silent() && clock::now() < *w->exited + output_grace))
        return false;
      for (auto& s : w->streams)
        if (!s.partial.empty())
          tell(keeper_said{w->index, s.is_stderr, s.partial});
      const auto end = w->process.try_wait().value_or(exit_state{});
      tell(keeper_ended{w->index, end.status, end.signal, end.core});
      return true;
    });
  }

  void read_some(kept_worker& w, output& s) {
    char buffer[16 << 10];
    const auto n = ::read(s.fd.get(), buffer, sizeof buffer);
    if (n < 0 && errno == EINTR)
      return;
    if (n <= 0)
      return s.fd.reset();
    s.partial.append(buffer, static_cast<std::size_t>(n));
    std::string_view rest = s.partial;
    while (!rest.empty()) {
      const auto end = rest.substr(0, max_said + 1).find('\n');
      if (end == std::string_view::npos && rest.size() <= max_said)
        break;
      const auto line = rest.substr(0, std::min(end, max_said));
      tell(keeper_said{w.index, s.is_stderr, line});
      rest.remove_prefix(line.size() + (end == std::string_view::npos ? 0 : 1));
    }
    s.partial.erase(0, s.partial.size() - rest.size());
  }

  void read_orders() {
    char buffer[16 << 10];
    const auto n = ::read(STDIN_FILENO, buffer, sizeof buffer);
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
      return;
    if (n <= 0) {
      gone_ = true;
      return;
    }
    orders_.append(buffer, static_cast<std::size_t>(n));
    std::size_t begin = 0;
    for (auto end = orders_.find('\n'); end != std::string::npos; end = orders_.find('\n', begin)) {
      obey(parse_order(std::string_view{orders_}.substr(begin, end - begin)));
      begin = end + 1;
    }
    orders_.erase(0, begin);
    if (orders_.size() > max_order)
      throw usage_error{"a host keeper was told more than " + std::to_string(max_order) + " bytes without a line's end"};
  }

  void obey(const keeper_order& order) {
    if (const auto cookie = std::get_if<keeper_cookie>(&order))
      cookie_ = cookie->cookie;
    else if (const auto start = std::get_if<keeper_start>(&order))
      start_worker(*start);
    else if (const auto signal = std::get_if<keeper_signal>(&order))
      send_signal(*signal);
    else
      complete_ = true;
  }

  void start_worker(const keeper_start& start) {
    child_options o;
    o.program = start.program;
    o.args = start.args;
    o.env = start.env;
    add_thread_limits(o.env);
    o.env_removed_prefixes = launcher_variables();
    try {
      workers_.push_back(std::make_unique<kept_worker>(start.index, o));
    } catch (const std::exception& e) {
      return tell(keeper_not_started{start.index, e.what()});
    }
    auto& w = *workers_.back();
    if (!cookie_.empty())
      write_to_child(w.input.get(), cookie_ + "\n");
    tell(keeper_started{w.index, w.process.pid()});
  }

  void send_signal(const keeper_signal& order) {
    for (auto& w : workers_)
      if (w->index == order.index && !w->exited)
        order.group ? w->process.signal_group(order.number) : w->process.signal(order.number);
  }

  void tell(const keeper_news& news) {
    const bool was_empty = unsent_.empty();
    unsent_ += to_line(news) + "\n";
    if (was_empty)
      send_some();
  }

  void send_some() {
    while (!unsent_.empty()) {
      const auto n = ::write(STDOUT_FILENO, unsent_.data(), unsent_.size());
      if (n < 0 && errno == EINTR)
        continue;
      if (n < 0 && errno == EAGAIN)
        return;
      if (n < 0) {
        gone_ = true;
        return;
      }
      unsent_.erase(0, static_cast<std::size_t>(n));
    }
  }

  const clock::time_point limit_; // for all orders
  std::vector<std::unique_ptr<kept_worker>> workers_;
  std::string orders_; // what has come of the next one
  std::string unsent_;
  std::string cookie_;
  bool complete_ = false;
  bool gone_ = false; // the master, or the way to it
  std::optional<clock::time_point> farewell_;
};

} // namespace

int run_host_keeper(std::chrono::milliseconds limit) {
  std::signal(SIGPIPE, SIG_IGN);
  ::fcntl(STDOUT_FILENO, F_SETFL, ::fcntl(STDOUT_FILENO, F_GETFL) | O_NONBLOCK);
  try {
    return keeper{clock::now() + limit}.run();
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 2;
  }
}

} // namespace troupe
