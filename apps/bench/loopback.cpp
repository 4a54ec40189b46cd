#include "bench/loopback.hpp"

#include <cerrno>
#include <cstdint>
#include <system_error>

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <unistd.h>

namespace bench {

namespace {

void no_delay(int fd) {
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

} // namespace

void throw_errno(const char* what) { throw std::system_error(errno, std::generic_category(), what); }

::sockaddr_in loopback(int port) {
  ::sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  a.sin_port = htons(static_cast<std::uint16_t>(port));
  return a;
}

int listen_on_loopback(int backlog) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const auto address = loopback(0);
  if (fd < 0 || ::bind(fd, reinterpret_cast<const ::sockaddr*>(&address), sizeof address) != 0 || ::listen(fd, backlog) != 0)
    throw_errno("cannot listen on a bare socket");
  return fd;
}

int connect_to_loopback(int port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const auto address = loopback(port);
  if (fd < 0 || ::connect(fd, reinterpret_cast<const ::sockaddr*>(&address), sizeof address) != 0)
    throw_errno("cannot connect a bare socket");
  no_delay(fd);
  return fd;
}

int accept_on_loopback(int listener) {
  const int fd = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
  if (fd < 0)
    throw_errno("cannot accept on a bare socket");
  no_delay(fd);
  return fd;
}

void send_all(int fd, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const auto n = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      throw_errno("cannot write to the bare socket");
    bytes = bytes.subspan(static_cast<std::size_t>(n));
  }
}

int port_of(int listener) {
  ::sockaddr_in a{};
  ::socklen_t size = sizeof a;
  if (::getsockname(listener, reinterpret_cast<::sockaddr*>(&a), &size) != 0)
    throw_errno("cannot tell a bare socket's port");
  return ntohs(a.sin_port);
}

} // namespace bench
