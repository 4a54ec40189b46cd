#include "troupe/transport/tcp.hpp"

#include "troupe/transport/error.hpp"

#include <arpa/inet.h>
#include <cerrno>
#include <cstring>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <system_error>
#include <unistd.h>

namespace troupe {

namespace {

struct socket_address {
  sockaddr_storage data{};
  socklen_t size = sizeof data;

  sockaddr* get() { return reinterpret_cast<sockaddr*>(&data); }
};

socket_address make_address(const endpoint& where) {
  socket_address out;
  auto v4 = reinterpret_cast<sockaddr_in*>(&out.data);
  auto v6 = reinterpret_cast<sockaddr_in6*>(&out.data);
  if (inet_pton(AF_INET, where.address.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(where.port);
    out.size = sizeof *v4;
  } else if (inet_pton(AF_INET6, where.address.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(where.port);
    out.size = sizeof *v6;
  } else {
    throw usage_error{"'" + where.address + "' is not a numeric IPv4 or IPv6 address"};
  }
  return out;
}

endpoint to_endpoint(socket_address a) {
  char text[INET6_ADDRSTRLEN] = {};
  if (a.data.ss_family == AF_INET6) {
    auto v6 = reinterpret_cast<sockaddr_in6*>(&a.data);
    inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof text);
    return {text, ntohs(v6->sin6_port)};
  }
  auto v4 = reinterpret_cast<sockaddr_in*>(&a.data);
  inet_ntop(AF_INET, &v4->sin_addr, text, sizeof text);
  return {text, ntohs(v4->sin_port)};
}

void set_no_delay(int fd) {
  int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

stream_result result_of(ssize_t n) {
  using status = stream_result::status;
  if (n > 0)
    return {status::moved, static_cast<std::size_t>(n), 0};
  if (n == 0)
    return {status::ended, 0, 0};
  if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)
    return {status::would_block, 0, 0};
  return {status::failed, 0, errno};
}

class socket_stream final : public byte_stream {
public:
  socket_stream(loop& l, unique_fd socket, endpoint peer, std::string kind = "tcp")
    : loop_(&l), socket_(std::move(socket)), peer_(std::move(peer)), kind_(std::move(kind)) {}

  ~socket_stream() override { close(); }

  void start(loop& l, std::function<void()> readable, std::function<void()> writable) override {
    loop_ = &l;
    if (started_)
      l.unwatch(socket_.get());
    started_ = true;
    auto on_event = [moved = moved_, readable = std::move(readable), writable = std::move(writable)](std::uint32_t events) {
      *moved = false;
      // the first call may end this object, and with it the second function: so either, never both
      if ((events & EPOLLOUT) != 0 && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) == 0)
        writable();
      else if ((events & EPOLLOUT) != 0 && (events & EPOLLIN) != 0)
        writable(), readable();
      else
        readable();
      return *moved;
    };
    l.watch_reader(socket_.get(), EPOLLIN, std::move(on_event));
  }

  stream_result read(std::span<std::byte> into) override {
    const auto out = result_of(::recv(socket_.get(), into.data(), into.size(), 0));
    if (out.what != stream_result::status::would_block)
      *moved_ = true;
    return out;
  }

  stream_result write(std::span<const iovec> pieces) override {
    msghdr m{};
    m.msg_iov = const_cast<iovec*>(pieces.data());
    m.msg_iovlen = pieces.size();
    return result_of(::sendmsg(socket_.get(), &m, MSG_NOSIGNAL));
  }

  void want_write(bool on) override {
    if (started_)
      loop_->rewatch(socket_.get(), on ? EPOLLIN | EPOLLOUT : EPOLLIN);
  }

  void close() override {
    if (!started_)
      return;
    started_ = false;
    loop_->unwatch(socket_.get());
    // the descriptor itself stays until nobody can write to it any more: its number must not be given to another file
    ::shutdown(socket_.get(), SHUT_RDWR);
  }

  bool peer_answers() const override {
    tcp_info info{};
    socklen_t size = sizeof info;
    if (::getsockopt(socket_.get(), IPPROTO_TCP, TCP_INFO, &info, &size) != 0)
      return true;
    // not tcpi_unacked, which leaves out what couldn't even be sent, because the network is gone here
    int unacknowledged = 0;
    if (::ioctl(socket_.get(), SIOCOUTQ, &unacknowledged) != 0)
      return true;
    return unacknowledged == 0 || info.tcpi_last_ack_recv < 2000; // ms
  }

  std::string kind() const override { return kind_; }

  std::string peer() const override { return peer_.to_text(); }

private:
  loop* loop_;
  unique_fd socket_;
  endpoint peer_;
  std::string kind_;
  bool started_ = false;
  const std::shared_ptr<bool> moved_ = std::make_shared<bool>(false); // whether the last event has brought anything
};

unique_fd open_socket(int family) {
  unique_fd s{::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
  if (!s)
    throw std::system_error{errno, std::generic_category(), "troupe: cannot make a socket"};
  return s;
}

bool try_listen(int fd, const endpoint& where) {
  auto a = make_address(where);
  return ::bind(fd, a.get(), a.size) == 0 && ::listen(fd, SOMAXCONN) == 0;
}

// A connection that is being made. Owns itself through the functions that the loop holds.
struct dialling : std::enable_shared_from_this<dialling> {
  dialling(loop& l, endpoint to, dial_handler done) : loop_(l), to_(std::move(to)), done_(std::move(done)) {}

  void start(std::chrono::milliseconds limit) {
    auto a = make_address(to_);
    socket_ = open_socket(a.data.ss_family);
    set_no_delay(socket_.get());
    if (::connect(socket_.get(), a.get(), a.size) == 0)
      return finish(0);
    if (errno != EINPROGRESS)
      return finish(errno);
    loop_.watch(socket_.get(), EPOLLOUT, [self = shared_from_this()](std::uint32_t) {
      int error = 0;
      socklen_t size = sizeof error;
      getsockopt(self->socket_.get(), SOL_SOCKET, SO_ERROR, &error, &size);
      self->finish(error);
    });
    watching_ = true;
    timer_ = loop_.call_after(limit, [self = shared_from_this(), limit] {
      self->fail("no answer from " + self->to_.to_text() + " within " + std::to_string(limit.count()) + " ms");
    });
  }

  void finish(int error) {
    if (error != 0)
      return fail("cannot connect to " + to_.to_text() + ": " + std::strerror(error), error == ECONNREFUSED);
    clean_up();
    done_({std::make_unique<socket_stream>(loop_, std::move(socket_), to_), {}, false});
  }

  void fail(std::string why, bool refused = false) {
    clean_up();
    done_({nullptr, std::move(why), refused});
  }

  void clean_up() {
    if (watching_)
      loop_.unwatch(socket_.get());
    watching_ = false;
    loop_.cancel(timer_);
  }

  loop& loop_;
  endpoint to_;
  dial_handler done_;
  unique_fd socket_;
  loop::timer_id timer_ = 0;
  bool watching_ = false;
};

} // namespace

std::unique_ptr<byte_stream> make_socket_stream(loop& l, unique_fd connected, endpoint peer, std::string kind) {
  return std::make_unique<socket_stream>(l, std::move(connected), std::move(peer), std::move(kind));
}

std::string endpoint::scheme() const {
  const auto end = address.find("://");
  return end == std::string::npos ? std::string{} : address.substr(0, end);
}

bool endpoint::is_loopback() const { return address.starts_with("127.") || address == "::1"; }

std::string endpoint::to_text() const {
  if (!scheme().empty())
    return address;
  auto v6 = address.find(':') != std::string::npos;
  return (v6 ? "[" + address + "]" : address) + ":" + std::to_string(port);
}

tcp_listener::tcp_listener(loop& l, const std::string& address, std::uint16_t port, acceptor on_accept)
  : loop_(l), on_accept_(std::move(on_accept)) {
  auto family = make_address({address, port}).data.ss_family;
  socket_ = open_socket(family);
  int on = 1;
  setsockopt(socket_.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (port != 0) {
    if (!try_listen(socket_.get(), {address, port}))
      throw std::system_error{errno, std::generic_category(), "troupe: cannot listen at " + endpoint{address, port}.to_text()};
  } else {
    auto first = 9000 + static_cast<int>(::getpid() % 1000);
    bool listening = false;
    for (int p = first; p < first + 1000 && !listening; ++p) {
      listening = try_listen(socket_.get(), {address, static_cast<std::uint16_t>(p)});
      if (!listening && errno != EADDRINUSE)
        break;
      if (!listening)
        socket_ = open_socket(family); // a socket that was bound but can't listen is of no use
    }
    if (!listening)
      throw std::system_error{errno, std::generic_category(), "troupe: cannot listen at " + address};
  }
  set_no_delay(socket_.get()); // what is accepted inherits it
  socket_address bound;
  getsockname(socket_.get(), bound.get(), &bound.size);
  where_ = to_endpoint(bound);
  loop_.watch(socket_.get(), EPOLLIN, [this](std::uint32_t) { accept_some(); });
}

tcp_listener::~tcp_listener() {
  loop_.cancel(resume_);
  loop_.unwatch(socket_.get());
}

void tcp_listener::accept_some() {
  // a few for each event, so that a flood of strangers leaves time for the links
  for (int i = 0; i < 16; ++i) {
    socket_address peer;
    unique_fd s{::accept4(socket_.get(), peer.get(), &peer.size, SOCK_NONBLOCK | SOCK_CLOEXEC)};
    if (!s) {
      if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
        pause();
      return; // otherwise nobody is waiting, or the one who was has left
    }
    on_accept_(std::make_unique<socket_stream>(loop_, std::move(s), to_endpoint(peer)));
  }
}

// Without a descriptor to spare, who waits at the door would keep the loop busy: look again in a while.
void tcp_listener::pause() {
  loop_.rewatch(socket_.get(), 0);
  resume_ = loop_.call_after(std::chrono::milliseconds{200}, [this] { loop_.rewatch(socket_.get(), EPOLLIN); });
}

void tcp_dial(loop& l, const endpoint& to, std::chrono::milliseconds limit, dial_handler done) {
  auto d = std::make_shared<dialling>(l, to, std::move(done));
  try {
    d->start(limit);
  } catch (const std::exception& e) {
    d->fail(e.what());
  }
}

endpoint tcp_transport::listen(loop& l, const endpoint& at, acceptor on_accept) {
  listener_ = std::make_unique<tcp_listener>(l, at.address, at.port, std::move(on_accept));
  return listener_->where();
}

void tcp_transport::dial(loop& l, const endpoint& to, std::chrono::milliseconds limit, dial_handler done) {
  tcp_dial(l, to, limit, std::move(done));
}

} // namespace troupe
