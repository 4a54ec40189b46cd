#include "bench/bare_door.hpp"

#include "bench/loopback.hpp"

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <deque>
#include <string>
#include <string_view>
#include <utility>

#include <poll.h>
#include <unistd.h>

namespace bench {

namespace {

using clock = std::chrono::steady_clock;

constexpr std::size_t max_waiting = 600;

bool print_number(std::uint64_t n) {
  const auto line = std::to_string(n) + "\n";
  return ::write(STDOUT_FILENO, line.data(), line.size()) == static_cast<::ssize_t>(line.size());
}

// Those who dial.
class crowd {
public:
  void dial(int port) {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const auto to = loopback(port);
    if (fd < 0 || ::connect(fd, reinterpret_cast<const ::sockaddr*>(&to), sizeof to) != 0)
      throw_errno("cannot dial as a stranger");
    switch (attempts_++ % 3) {
      case 0:
        hang_up(fd);
        break;
      case 1:
        say(fd, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
        hang_up(fd);
        break;
      default:
        say(fd, {"TROUPE\r\n\1\0\0\0\4\3\2\1half", 20});
        waiting_.push_back(fd);
        if (waiting_.size() > max_waiting) {
          hang_up(waiting_.front());
          waiting_.pop_front();
        }
    }
  }

  std::uint64_t take_count() { return std::exchange(attempts_, 0); }

private:
  static void say(int fd, std::string_view text) {
    // who has been hung up on already doesn't mind
    static_cast<void>(::send(fd, text.data(), text.size(), MSG_NOSIGNAL));
  }

  // Leaves nothing behind that keeps the port's number busy for a minute.
  static void hang_up(int fd) {
    const ::linger at_once{1, 0};
    ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    ::close(fd);
  }

  std::uint64_t attempts_ = 0;
  std::deque<int> waiting_;
};

} // namespace

bare_door::bare_door() : process_({"--bare", "door"}), port_(std::atoi(process_.read_line().c_str())) {}

strangers::strangers(int attempts_per_second) : process_({"--bare", "strangers", std::to_string(attempts_per_second)}) {
  process_.read_line();
}

std::uint64_t strangers::turn_to(int port) {
  process_.write_line(std::to_string(port));
  return std::strtoull(process_.read_line().c_str(), nullptr, 10);
}

int serve_bare_door() {
  const int listener = listen_on_loopback(128);
  if (!print_number(static_cast<std::uint64_t>(port_of(listener))))
    return 1;
  ::pollfd events[2]{{STDIN_FILENO, POLLIN, 0}, {listener, POLLIN, 0}};
  while (::poll(events, 2, -1) > 0 || errno == EINTR) {
    if (events[0].revents != 0)
      return 0; // nobody writes to it: its end
    if (const int fd = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC); fd >= 0)
      ::close(fd);
  }
  return 1;
}

int serve_strangers(int attempts_per_second) {
  if (attempts_per_second <= 0 || !print_number(0))
    return 2;
  const auto pause = std::chrono::nanoseconds{1'000'000'000 / attempts_per_second};
  crowd all;
  int port = 0;
  auto next = clock::now();
  while (true) {
    const auto left = std::chrono::nanoseconds{next - clock::now()}.count();
    const ::timespec wait{0, left > 0 ? left : 0};
    ::pollfd orders{STDIN_FILENO, POLLIN, 0};
    if (::ppoll(&orders, 1, port != 0 ? &wait : nullptr, nullptr) > 0) {
      std::array<char, 64> line{};
      if (::read(STDIN_FILENO, line.data(), line.size() - 1) <= 0)
        return 0;
      if (!print_number(all.take_count()))
        return 1;
      port = std::atoi(line.data());
      next = clock::now();
    } else if (port != 0 && clock::now() >= next) {
      all.dial(port);
      next += pause;
    }
  }
}

} // namespace bench
