#include "bench/bare_crowd.hpp"

#include "bench/loopback.hpp"
#include "bench/timing.hpp"

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace bench {

namespace {

struct question {
  std::uint64_t number; // 0: what was kept is dropped, and nothing is answered
  std::array<std::uint64_t, 7> rest;
};
static_assert(sizeof(question) == 64);

struct answer {
  std::uint64_t value;
  std::array<std::uint64_t, 5> rest;
};
static_assert(sizeof(answer) == 48);

using asked = std::array<std::uint64_t, 30>;
using kept = std::array<std::uint64_t, 25>;

constexpr std::size_t buffer_size = 256 << 10;
constexpr seconds interval{100e-6};

template <class T>
void append(std::vector<std::byte>& out, const T& x) {
  const auto bytes = std::as_bytes(std::span{&x, 1});
  out.insert(out.end(), bytes.begin(), bytes.end());
}

// Takes what is whole away from the front.
template <class T, class F>
void take_all(std::vector<std::byte>& in, F f) {
  std::size_t at = 0;
  for (; in.size() - at >= sizeof(T); at += sizeof(T)) {
    T x;
    std::memcpy(&x, in.data() + at, sizeof x);
    f(x);
  }
  in.erase(in.begin(), in.begin() + static_cast<std::ptrdiff_t>(at));
}

enum class received { some, nothing_yet, end };

// What comes, at the end of `in`.
received receive_some(int fd, std::span<std::byte> buffer, std::vector<std::byte>& in, int flags) {
  while (true) {
    const auto n = ::recv(fd, buffer.data(), buffer.size(), flags);
    if (n > 0) {
      in.insert(in.end(), buffer.begin(), buffer.begin() + n);
      return received::some;
    }
    if (n == 0)
      return received::end;
    if (errno == EAGAIN)
      return received::nothing_yet;
    if (errno != EINTR)
      throw_errno("cannot read from the bare socket");
  }
}

} // namespace

bare_crowd::bare_crowd(std::size_t processes) : buffer_(buffer_size) {
  const int listener = listen_on_loopback(static_cast<int>(processes));
  const auto port = std::to_string(port_of(listener));
  for (std::size_t i = 0; i < processes; ++i)
    processes_.emplace_back(std::vector<std::string>{"--bare", "crowd", port});
  for (auto& p : processes_)
    p.read_line(); // it is connected
  for (std::size_t i = 0; i < processes; ++i)
    peers_.emplace_back().fd = accept_on_loopback(listener);
  ::close(listener);
}

bare_crowd::~bare_crowd() {
  for (auto& p : peers_)
    ::close(p.fd);
}

double bare_crowd::ask(std::size_t n, int questions) {
  std::vector<std::unique_ptr<asked>> open;
  open.reserve(static_cast<std::size_t>(questions));
  sum_ = 0;
  answered_ = 0;
  const auto start = clock::now();
  for (std::size_t i = 0; i < n; ++i)
    append(peers_[i].out, question{});
  auto due = start;
  for (int i = 0; i < questions; ++i) {
    const auto number = static_cast<std::uint64_t>(i) + 1;
    open.push_back(std::make_unique<asked>());
    open.back()->fill(number);
    append(peers_[static_cast<std::size_t>(i) % n].out, question{number, {}});
    if (i % 16 == 0 && clock::now() >= due) {
      send_what_is_put_together(n);
      due = after(interval);
    }
  }
  send_what_is_put_together(n);
  std::vector<::pollfd> wanted;
  for (std::size_t i = 0; i < n; ++i)
    wanted.push_back({peers_[i].fd, POLLIN, 0});
  while (answered_ < open.size()) {
    if (::poll(wanted.data(), wanted.size(), -1) < 0 && errno != EINTR)
      throw_errno("cannot wait for bare sockets");
    for (std::size_t i = 0; i < n; ++i)
      if (wanted[i].revents != 0)
        receive(peers_[i]);
  }
  std::uint64_t expected = 0;
  for (const auto& q : open)
    expected += q->back() + 1;
  if (sum_ != expected)
    throw std::runtime_error("bare processes have answered wrong");
  return seconds_since(start);
}

void bare_crowd::send_what_is_put_together(std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) {
    auto& p = peers_[i];
    while (receive(p)) { // else both could wait for each other to read
    }
    send_all(p.fd, p.out);
    p.out.clear();
  }
}

bool bare_crowd::receive(peer& p) {
  const auto what = receive_some(p.fd, buffer_, p.in, MSG_DONTWAIT);
  if (what == received::end)
    throw std::runtime_error("the process at the other end of the bare socket has ended");
  take_all<answer>(p.in, [this](const answer& a) {
    sum_ += a.value;
    ++answered_;
  });
  return what == received::some;
}

int serve_crowd(int port) {
  const int fd = connect_to_loopback(port);
  if (::write(STDOUT_FILENO, "connected\n", 10) != 10)
    return 1;
  std::vector<std::byte> buffer(buffer_size), in, out;
  std::vector<std::unique_ptr<kept>> results;
  while (receive_some(fd, buffer, in, 0) != received::end) {
    take_all<question>(in, [&](const question& q) {
      if (q.number == 0)
        return results.clear();
      results.push_back(std::make_unique<kept>());
      results.back()->fill(q.number + 1);
      append(out, answer{results.back()->back(), {}});
    });
    send_all(fd, out);
    out.clear();
  }
  ::close(fd);
  return 0;
}

} // namespace bench
