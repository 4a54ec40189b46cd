#pragma once

#include "troupe/transport/unique_fd.hpp"

#include <boost/test/unit_test.hpp>

#include <fcntl.h>
#include <string_view>
#include <unistd.h>

namespace test {

/// A pipe that doesn't block.
struct pipe_ends {
  troupe::unique_fd read, write;

  pipe_ends() {
    int fds[2];
    BOOST_REQUIRE(::pipe2(fds, O_CLOEXEC | O_NONBLOCK) == 0);
    read = troupe::unique_fd{fds[0]};
    write = troupe::unique_fd{fds[1]};
  }
  void fill(std::string_view text = "x") {
    BOOST_REQUIRE(::write(write.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()));
  }
  char drain() {
    char c = 0;
    BOOST_REQUIRE(::read(read.get(), &c, 1) == 1);
    return c;
  }
};

} // namespace test
