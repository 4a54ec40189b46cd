#pragma once

#include <cstddef>
#include <span>

#include <netinet/in.h>
#include <sys/socket.h>

namespace bench {

/// Bare TCP sockets of this host. Throws std::system_error for what errno says.
[[noreturn]] void throw_errno(const char* what);

/// 127.0.0.1:`port`
::sockaddr_in loopback(int port);

/// A blocking socket that listens on a free port, with room for so many that aren't accepted yet. Throws std::system_error.
int listen_on_loopback(int backlog);

/// A blocking socket that is connected to 127.0.0.1:`port` and sends at once what it is given. Throws std::system_error.
int connect_to_loopback(int port);

/// The next connection of a listener, likewise. Blocks. Throws std::system_error.
int accept_on_loopback(int listener);

/// Sends all of it. Blocks. Throws std::system_error.
void send_all(int fd, std::span<const std::byte> bytes);

/// Where it listens. Throws std::system_error.
int port_of(int listener);

} // namespace bench
