#pragma once

#include "troupe/transport/byte_stream.hpp"
#include "troupe/transport/loop.hpp"
#include "troupe/transport/unique_fd.hpp"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <poll.h>
#include <span>
#include <string>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utility>
#include <vector>

namespace test {

/// One end of a pair of sockets of this process, which moves no more than so many bytes at a time, and may lose what is written
/// beyond some place, as a link does that is cut.
class pair_stream final : public troupe::byte_stream {
public:
  struct limits {
    std::size_t read = SIZE_MAX;
    std::size_t write = SIZE_MAX;
    /// So many bytes that are written reach the other end. Those after them seem to.
    std::size_t delivered = SIZE_MAX;
  };

  pair_stream(troupe::unique_fd socket, limits l) : socket_(std::move(socket)), limits_(l) { ::fcntl(socket_.get(), F_SETFL, O_NONBLOCK); }
  ~pair_stream() override { close(); }

  void start(troupe::loop& l, std::function<void()> readable, std::function<void()> writable) override {
    if (loop_ != nullptr)
      loop_->unwatch(socket_.get());
    loop_ = &l;
    l.watch(socket_.get(), EPOLLIN, [readable, writable](std::uint32_t events) {
      if ((events & EPOLLOUT) != 0)
        writable();
      if ((events & ~std::uint32_t{EPOLLOUT}) != 0)
        readable();
    });
  }

  troupe::stream_result read(std::span<std::byte> into) override {
    if (auto error = fail_reads_with.load())
      return {troupe::stream_result::status::failed, 0, error};
    return result_of(::recv(socket_.get(), into.data(), std::min(into.size(), limits_.read), 0));
  }

  troupe::stream_result write(std::span<const iovec> pieces) override {
    if (writers_.fetch_add(1) != 0)
      overlapping_writes = true;
    std::vector<iovec> some;
    auto left = std::min(limits_.write, limits_.delivered - delivered_);
    if (left == 0) {
      writers_.fetch_sub(1);
      return {troupe::stream_result::status::moved, size_of(pieces), 0};
    }
    for (auto& piece : pieces) {
      some.push_back({piece.iov_base, std::min(piece.iov_len, left)});
      left -= some.back().iov_len;
      if (left == 0)
        break;
    }
    msghdr m{};
    m.msg_iov = some.data();
    m.msg_iovlen = some.size();
    auto result = result_of(::sendmsg(socket_.get(), &m, MSG_NOSIGNAL));
    delivered_ += result.bytes;
    writers_.fetch_sub(1);
    return result;
  }

  void want_write(bool on) override {
    if (loop_ != nullptr)
      loop_->rewatch(socket_.get(), on ? EPOLLIN | EPOLLOUT : EPOLLIN);
  }

  void close() override {
    if (loop_ == nullptr)
      return;
    loop_->unwatch(socket_.get());
    loop_ = nullptr;
    ::shutdown(socket_.get(), SHUT_RDWR);
  }

  std::string kind() const override { return "pair"; }

  std::string peer() const override { return "other end"; }

  std::atomic<int> fail_reads_with{0};
  static inline std::atomic<bool> overlapping_writes{false};

private:
  static std::size_t size_of(std::span<const iovec> pieces) {
    std::size_t n = 0;
    for (auto& piece : pieces)
      n += piece.iov_len;
    return n;
  }

  static troupe::stream_result result_of(ssize_t n) {
    using status = troupe::stream_result::status;
    if (n > 0)
      return {status::moved, static_cast<std::size_t>(n), 0};
    if (n == 0)
      return {status::ended, 0, 0};
    if (errno == EAGAIN || errno == EINTR)
      return {status::would_block, 0, 0};
    return {status::failed, 0, errno};
  }

  troupe::unique_fd socket_;
  limits limits_;
  std::size_t delivered_ = 0;
  troupe::loop* loop_ = nullptr;
  std::atomic<int> writers_{0};
};

inline std::pair<troupe::unique_fd, troupe::unique_fd> socket_pair() {
  int fds[2];
  BOOST_REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
  return {troupe::unique_fd{fds[0]}, troupe::unique_fd{fds[1]}};
}

/// The end that a test holds itself, and reads and writes byte by byte.
class raw_end {
public:
  explicit raw_end(troupe::unique_fd socket) : socket_(std::move(socket)) {
    timeval limit{60, 0};
    ::setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    ::setsockopt(socket_.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  }

  void send(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      auto n = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0)
        return; // the other side has ended it
      bytes = bytes.subspan(static_cast<std::size_t>(n));
    }
  }

  /// Blocks until there are as many; fewer only at the end.
  std::vector<std::byte> receive(std::size_t n) {
    std::vector<std::byte> out(n);
    std::size_t got = 0;
    while (got < n) {
      auto r = ::recv(socket_.get(), out.data() + got, n - got, 0);
      if (r <= 0)
        break;
      got += static_cast<std::size_t>(r);
    }
    out.resize(got);
    return out;
  }

  /// Blocks until the other side ends it.
  std::vector<std::byte> receive_all() {
    std::vector<std::byte> out;
    while (true) {
      auto more = receive(1 << 16);
      out.insert(out.end(), more.begin(), more.end());
      if (more.size() < 1 << 16)
        return out;
    }
  }

  /// Sends no more, but still receives.
  void finish() { ::shutdown(socket_.get(), SHUT_WR); }

  void close() { socket_.reset(); }

private:
  troupe::unique_fd socket_;
};

} // namespace test
