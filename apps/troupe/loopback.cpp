#include "loopback.hpp"

#include "troupe/transport/unique_fd.hpp"

#include <cerrno>
#include <chrono>
#include <cstring>

#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>

namespace command {

namespace {

using clock = std::chrono::steady_clock;

constexpr int patience = 2000; // ms

struct numeric_address {
  ::sockaddr_storage value{};
  ::socklen_t size = 0;
  ::sockaddr* get() { return reinterpret_cast<::sockaddr*>(&value); }
};

bool parse(const std::string& text, const std::string& port, numeric_address& out) {
  ::addrinfo hints{};
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
  hints.ai_socktype = SOCK_STREAM;
  ::addrinfo* all = nullptr;
  if (::getaddrinfo(text.c_str(), port.c_str(), &hints, &all) != 0)
    return false;
  std::memcpy(&out.value, all->ai_addr, all->ai_addrlen);
  out.size = all->ai_addrlen;
  ::freeaddrinfo(all);
  return true;
}

troupe::unique_fd stream_socket(numeric_address& at) {
  return troupe::unique_fd{::socket(at.value.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
}

bool wait_for(int fd, short what) {
  ::pollfd entry{fd, what, 0};
  return ::poll(&entry, 1, patience) == 1;
}

// 0, or an error number.
int connect_within(int fd, numeric_address& at) {
  if (::connect(fd, at.get(), at.size) == 0)
    return 0;
  if (errno != EINPROGRESS)
    return errno;
  if (!wait_for(fd, POLLOUT))
    return ETIMEDOUT;
  int error = 0;
  ::socklen_t size = sizeof error;
  ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
  return error;
}

} // namespace

connection_time connect_to_self(const std::string& address) {
  const auto start = clock::now();
  const auto failed = [](const char* what, int error) { return connection_time{0, std::string{what} + ": " + std::strerror(error)}; };
  numeric_address at;
  if (!parse(address, "0", at))
    return {0, "'" + address + "' is no numeric address"};
  const auto listener = stream_socket(at);
  if (!listener || ::bind(listener.get(), at.get(), at.size) != 0 || ::listen(listener.get(), 1) != 0)
    return failed("listening failed", errno);
  if (::getsockname(listener.get(), at.get(), &at.size) != 0)
    return failed("listening failed", errno);
  const auto client = stream_socket(at);
  if (const int error = client ? connect_within(client.get(), at) : errno; error != 0)
    return failed("connecting failed", error);
  if (!wait_for(listener.get(), POLLIN))
    return failed("nothing arrived", ETIMEDOUT);
  const troupe::unique_fd server{::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC)};
  char byte = 1;
  if (!server || ::send(client.get(), &byte, 1, MSG_NOSIGNAL) != 1)
    return failed("sending failed", errno);
  if (!wait_for(server.get(), POLLIN) || ::recv(server.get(), &byte, 1, 0) != 1)
    return failed("nothing arrived", ETIMEDOUT);
  return {std::chrono::duration<double>(clock::now() - start).count(), {}};
}

bool listens_here(int port) {
  numeric_address at;
  if (!parse("127.0.0.1", std::to_string(port), at))
    return false;
  const auto client = stream_socket(at);
  return client && connect_within(client.get(), at) == 0;
}

} // namespace command
