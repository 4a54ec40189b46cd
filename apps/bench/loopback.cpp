#include "bench/loopback.hpp"

#include <cerrno>
#include <cstdint>
#include <system_error>

#include <arpa/inet.h>
#include <unistd.h>

namespace bench {

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

int port_of(int listener) {
  ::sockaddr_in a{};
  ::socklen_t size = sizeof a;
  if (::getsockname(listener, reinterpret_cast<::sockaddr*>(&a), &size) != 0)
    throw_errno("cannot tell a bare socket's port");
  return ntohs(a.sin_port);
}

} // namespace bench
