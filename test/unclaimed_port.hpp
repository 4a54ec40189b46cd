#pragma once

#include <boost/test/unit_test.hpp>

#include "troupe/transport/unique_fd.hpp"

#include <cstdint>

#include <netinet/in.h>
#include <sys/socket.h>

namespace test {

/// A port of 127.0.0.1 that no other process gets while the object lives, and where nobody listens.
class unclaimed_port {
public:
  unclaimed_port() : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    ::sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ::socklen_t size = sizeof at;
    BOOST_REQUIRE(::bind(socket_.get(), reinterpret_cast<::sockaddr*>(&at), size) == 0);
    BOOST_REQUIRE(::getsockname(socket_.get(), reinterpret_cast<::sockaddr*>(&at), &size) == 0);
    number_ = ntohs(at.sin_port);
  }

  std::uint16_t number() const { return number_; }

private:
  troupe::unique_fd socket_;
  std::uint16_t number_ = 0;
};

} // namespace test
