#include "bench/raw_peer.hpp"

#include "bench/loopback.hpp"

#include <cerrno>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include <sys/socket.h>
#include <unistd.h>

namespace bench {

namespace {

enum class message_kind : std::uint32_t { sleep, spin, array };

struct message {
  message_kind kind; // how the receiver waits for the next one; or what follows
  std::uint64_t size;
  std::uint64_t padding[2];
};
static_assert(sizeof(message) == 32);

// False at the end of the stream.
bool receive_all(int fd, std::span<std::byte> bytes, raw_peer::wait how) {
  const int flags = how == raw_peer::wait::spinning ? MSG_DONTWAIT : 0;
  while (!bytes.empty()) {
    const auto n = ::recv(fd, bytes.data(), bytes.size(), flags);
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
      continue;
    if (n < 0)
      throw_errno("cannot read from the bare socket");
    if (n == 0)
      return false;
    bytes = bytes.subspan(static_cast<std::size_t>(n));
  }
  return true;
}

void receive_or_throw(int fd, std::span<std::byte> bytes, raw_peer::wait how) {
  if (!receive_all(fd, bytes, how))
    throw std::runtime_error("the process at the other end of the bare socket has ended");
}

} // namespace

struct raw_peer::listener {
  int fd = listen_on_loopback(1);

  ~listener() { ::close(fd); }
  std::string port() const { return std::to_string(port_of(fd)); }
};

raw_peer::raw_peer() : listener_(std::make_unique<listener>()), process_({"--bare", "peer", listener_->port()}) {
  process_.read_line(); // it is connected
  fd_ = accept_on_loopback(listener_->fd);
}

raw_peer::~raw_peer() { ::close(fd_); }

void raw_peer::ping(wait how) {
  message m{how == wait::spinning ? message_kind::spin : message_kind::sleep, 0, {}};
  const auto bytes = std::as_writable_bytes(std::span{&m, 1});
  send_all(fd_, bytes);
  receive_or_throw(fd_, bytes, how);
}

void raw_peer::rest() { ping(wait::sleeping); }

void raw_peer::send_there_and_back(std::span<std::byte> bytes) {
  const message m{message_kind::array, bytes.size(), {}};
  send_all(fd_, std::as_bytes(std::span{&m, 1}));
  send_all(fd_, bytes);
  receive_or_throw(fd_, bytes, wait::sleeping);
}

int serve_raw_peer(int port) {
  const int fd = connect_to_loopback(port);
  if (::write(STDOUT_FILENO, "connected\n", 10) != 10)
    return 1;
  std::vector<std::byte> buffer;
  auto how = raw_peer::wait::sleeping;
  message m;
  const auto bytes = std::as_writable_bytes(std::span{&m, 1});
  while (receive_all(fd, bytes, how)) {
    if (m.kind == message_kind::array) {
      buffer.resize(m.size);
      receive_or_throw(fd, buffer, raw_peer::wait::sleeping);
      send_all(fd, buffer);
    } else {
      how = m.kind == message_kind::spin ? raw_peer::wait::spinning : raw_peer::wait::sleeping;
      send_all(fd, bytes);
    }
  }
  ::close(fd);
  return 0;
}

} // namespace bench
