#pragma once

/// A TCP proxy that breaks what goes through it, on command.

#include "troupe/transport/tcp.hpp"
#include "troupe/transport/unique_fd.hpp"

#include <algorithm>
#include <arpa/inet.h>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <list>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

namespace system_test {

/// How a connection is cut: with a reset, or closed as its ends would close it. What is on its way is lost in both cases.
enum class cut_kind { rst, fin };

/// Listens on 127.0.0.1 for each address that it stands in for, and forwards. A thread of its own moves the bytes;
/// all functions may be called from any thread, and what they ask for has been done when they return.
class cutting_proxy {
public:
  using clock = std::chrono::steady_clock;
  using milliseconds = std::chrono::milliseconds;

  cutting_proxy() : bell_(::eventfd(0, EFD_CLOEXEC)), thread_([this] { run(); }) {}

  ~cutting_proxy() {
    order([this] { stopping_ = true; });
    thread_.join();
  }

  cutting_proxy(const cutting_proxy&) = delete;
  cutting_proxy& operator=(const cutting_proxy&) = delete;

  /// The port at which `to`, an IPv4 address, can be reached from now on.
  std::uint16_t add(const troupe::endpoint& to) {
    auto listener = make_socket();
    auto here = address_of({"127.0.0.1", 0});
    ::socklen_t size = sizeof here;
    const auto a = reinterpret_cast<::sockaddr*>(&here);
    if (::bind(listener.get(), a, size) != 0 || ::listen(listener.get(), 64) != 0 || ::getsockname(listener.get(), a, &size) != 0)
      throw std::system_error{errno, std::generic_category(), "the proxy can't listen"};
    const auto port = ntohs(here.sin_port);
    order([&] { routes_.emplace(port, route{std::move(listener), to}); });
    return port;
  }

  /// Ends what `add` has begun, and its connections.
  void remove(std::uint16_t port) {
    order([&] {
      routes_.erase(port);
      connections_.remove_if([&](auto& c) { return c.port == port; });
    });
  }

  /// Cuts those that process `from` has dialled, or all. Returns how many.
  int cut_all(std::uint16_t port, cut_kind how, int from = 0) {
    int n = 0;
    each(port, from, [&](connection& c) {
      c.cut = how;
      ++n;
    });
    return n;
  }

  /// Cuts one, the `index`th modulo how many there are. False if there is none.
  bool cut_one(std::uint16_t port, cut_kind how, std::size_t index) {
    return one(port, index, [&](connection& c) { c.cut = how; });
  }

  /// From now on process `from` gets no connection here: each is cut as soon as it says who it is.
  void refuse(std::uint16_t port, int from) {
    order([&] {
      if (const auto r = routes_.find(port); r != routes_.end())
        r->second.refused.insert(from);
    });
  }

  /// Forwards nothing for some time, on connections that are there and on those that come meanwhile. False if nobody is there.
  bool pause_all(std::uint16_t port, milliseconds time) {
    bool found = false;
    order([&] {
      const auto r = routes_.find(port);
      found = r != routes_.end();
      if (found)
        r->second.paused_until = clock::now() + time;
    });
    return found;
  }

  /// The same on one of those that are there, the `index`th modulo how many there are. False if there is none.
  bool pause_one(std::uint16_t port, milliseconds time, std::size_t index) {
    return one(port, index, [&](connection& c) { c.paused_until = clock::now() + time; });
  }

  /// The same on those that are there and that one process has dialled. Returns how many.
  int pause_from(std::uint16_t port, milliseconds time, int from) {
    int n = 0;
    each(port, from, [&](connection& c) {
      c.paused_until = clock::now() + time;
      ++n;
    });
    return n;
  }

  /// From now on every byte arrives so much later.
  void delay(milliseconds time) {
    order([&] { delay_ = time; });
  }

  std::size_t connections() {
    std::size_t n = 0;
    order([&] { n = connections_.size(); });
    return n;
  }

private:
  static constexpr std::size_t chunk_size = 64 << 10;
  static constexpr std::size_t most_chunks = 16; // on their way in one direction

  struct route {
    troupe::unique_fd listener;
    troupe::endpoint to;
    clock::time_point paused_until{};
    std::set<int> refused{};
  };

  struct chunk {
    clock::time_point due;
    std::string bytes;
    std::size_t done = 0;
  };

  // Bytes from one socket to the other.
  struct direction {
    std::deque<chunk> chunks;
    bool ended = false; // nothing comes any more
    bool told = false;  // and the other end knows
  };

  struct connection {
    std::uint16_t port = 0;
    troupe::unique_fd ends[2]; // the dialler's, the listener's
    direction ways[2];         // to the listener, to the dialler
    bool connected = false;
    std::string head; // the first bytes of the dialler
    clock::time_point paused_until{};
    std::optional<cut_kind> cut;

    // The hello begins behind preamble, proof, header and cluster, see docs/protocol.md.
    int from() const {
      constexpr std::size_t at = 48 + 32 + 32 + 8;
      std::int32_t id = 0;
      if (head.size() >= at + sizeof id)
        std::memcpy(&id, head.data() + at, sizeof id);
      return id;
    }
  };

  static troupe::unique_fd make_socket() {
    troupe::unique_fd s{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
    if (!s)
      throw std::system_error{errno, std::generic_category(), "the proxy has no socket"};
    return s;
  }

  static ::sockaddr_in address_of(const troupe::endpoint& e) {
    ::sockaddr_in a{};
    a.sin_family = AF_INET;
    a.sin_port = htons(e.port);
    if (::inet_pton(AF_INET, e.address.c_str(), &a.sin_addr) != 1)
      throw std::invalid_argument{"the proxy knows IPv4 addresses only, not " + e.address};
    return a;
  }

  // Changes what the thread works on, and has it look at it anew.
  template <class Change>
  void order(Change change) {
    {
      std::lock_guard guard{mutex_};
      change();
    }
    const std::uint64_t one = 1;
    static_cast<void>(!::write(bell_.get(), &one, sizeof one));
  }

  template <class Change>
  void each(std::uint16_t port, int from, Change change) {
    order([&] {
      for (auto& c : connections_)
        if (c.port == port && (from == 0 || c.from() == from))
          change(c);
      cut_marked();
    });
  }

  template <class Change>
  bool one(std::uint16_t port, std::size_t index, Change change) {
    std::vector<connection*> all;
    order([&] {
      for (auto& c : connections_)
        if (c.port == port)
          all.push_back(&c);
      if (!all.empty())
        change(*all[index % all.size()]);
      cut_marked();
    });
    return !all.empty();
  }

  void cut_marked() {
    connections_.remove_if([](connection& c) {
      if (c.cut)
        end(c, *c.cut);
      return c.cut.has_value();
    });
  }

  static void end(connection& c, cut_kind how) {
    for (auto& s : c.ends) {
      if (how == cut_kind::rst) {
        const ::linger at_once{1, 0};
        ::setsockopt(s.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
      } else { // what is left unread would make it a reset
        char rest[4096];
        while (::recv(s.get(), rest, sizeof rest, 0) > 0) {
        }
      }
      s.reset();
    }
  }

  // -- the thread ---------------------------------------------------------------------------------------------

  // A socket may be closed, and its number used again, while it is polled: that one is ready is no more than a reason to try all.
  void run() {
    std::unique_lock lock{mutex_};
    std::vector<::pollfd> entries;
    while (!stopping_) {
      const auto limit = collect(entries);
      lock.unlock();
      ::poll(entries.data(), entries.size(), limit);
      std::uint64_t n;
      if (entries[0].revents != 0)
        static_cast<void>(!::read(bell_.get(), &n, sizeof n));
      lock.lock();
      serve();
    }
  }

  void serve() {
    for (auto& [port, r] : routes_)
      accept_all(port, r);
    for (auto& c : connections_)
      if (!is_paused(c))
        forward(c);
    cut_marked();
  }

  bool is_paused(const connection& c) const {
    const auto now = clock::now();
    const auto r = routes_.find(c.port);
    return now < c.paused_until || (r != routes_.end() && now < r->second.paused_until);
  }

  bool is_refused(const connection& c) const {
    const auto r = routes_.find(c.port);
    return r != routes_.end() && r->second.refused.contains(c.from());
  }

  // What to wait for, and how many milliseconds.
  int collect(std::vector<::pollfd>& entries) const {
    entries.assign(1, {bell_.get(), POLLIN, 0});
    auto until = clock::now() + std::chrono::seconds{1};
    for (auto& [port, r] : routes_)
      entries.push_back({r.listener.get(), POLLIN, 0});
    for (auto& c : connections_) {
      if (is_paused(c)) {
        until = std::min(until, std::max(c.paused_until, routes_.at(c.port).paused_until));
        continue;
      }
      short wanted[2] = {};
      for (int i = 0; i < 2; ++i) {
        auto& way = c.ways[i];
        if (c.connected && !way.ended && way.chunks.size() < most_chunks)
          wanted[i] |= POLLIN;
        if (!c.connected)
          wanted[1] |= POLLOUT;
        else if (!way.chunks.empty() && way.chunks.front().due <= clock::now())
          wanted[1 - i] |= POLLOUT;
        else if (!way.chunks.empty())
          until = std::min(until, way.chunks.front().due);
      }
      for (int i = 0; i < 2; ++i)
        if (wanted[i] != 0)
          entries.push_back({c.ends[i].get(), wanted[i], 0});
    }
    const auto left = std::chrono::ceil<milliseconds>(until - clock::now()).count();
    return left < 0 ? 0 : static_cast<int>(left);
  }

  void accept_all(std::uint16_t port, const route& r) {
    for (;;) {
      troupe::unique_fd from{::accept4(r.listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK)};
      if (!from)
        return;
      auto& c = connections_.emplace_back();
      c.port = port;
      c.ends[0] = std::move(from);
      c.ends[1] = make_socket();
      const int on = 1;
      for (auto& s : c.ends)
        ::setsockopt(s.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      const auto to = address_of(r.to);
      if (::connect(c.ends[1].get(), reinterpret_cast<const ::sockaddr*>(&to), sizeof to) != 0 && errno != EINPROGRESS)
        c.cut = cut_kind::rst;
    }
  }

  void forward(connection& c) {
    if (!c.connected) {
      ::pollfd p{c.ends[1].get(), POLLOUT, 0};
      if (::poll(&p, 1, 0) <= 0)
        return;
      int problem = 0;
      ::socklen_t size = sizeof problem;
      ::getsockopt(p.fd, SOL_SOCKET, SO_ERROR, &problem, &size);
      if (problem != 0) {
        c.cut = cut_kind::rst;
        return;
      }
      c.connected = true;
    }
    for (int i = 0; i < 2 && !c.cut; ++i) {
      receive(c, i);
      if (i == 0 && is_refused(c))
        c.cut = cut_kind::rst;
      else
        send(c, i);
    }
    if (c.ways[0].told && c.ways[1].told)
      c.cut = cut_kind::fin;
  }

  void receive(connection& c, int i) {
    auto& way = c.ways[i];
    while (!way.ended && way.chunks.size() < most_chunks) {
      char buffer[chunk_size];
      const auto n = ::recv(c.ends[i].get(), buffer, sizeof buffer, 0);
      if (n > 0) {
        way.chunks.push_back({clock::now() + delay_, {buffer, static_cast<std::size_t>(n)}});
        if (i == 0 && c.head.size() < 256)
          c.head.append(buffer, std::min<std::size_t>(static_cast<std::size_t>(n), 256));
      } else if (n == 0) {
        way.ended = true;
      } else {
        if (errno != EAGAIN && errno != EINTR)
          c.cut = cut_kind::rst;
        return;
      }
    }
  }

  void send(connection& c, int i) {
    auto& way = c.ways[i];
    const auto to = c.ends[1 - i].get();
    while (!way.chunks.empty() && way.chunks.front().due <= clock::now()) {
      auto& first = way.chunks.front();
      const auto n = ::send(to, first.bytes.data() + first.done, first.bytes.size() - first.done, MSG_NOSIGNAL);
      if (n < 0) {
        if (errno != EAGAIN && errno != EINTR)
          c.cut = cut_kind::rst;
        return;
      }
      first.done += static_cast<std::size_t>(n);
      if (first.done < first.bytes.size())
        return;
      way.chunks.pop_front();
    }
    if (way.ended && way.chunks.empty() && !way.told) {
      ::shutdown(to, SHUT_WR);
      way.told = true;
    }
  }

  std::mutex mutex_; // guards all that follows but the bell
  troupe::unique_fd bell_;
  bool stopping_ = false;
  milliseconds delay_{0};
  std::map<std::uint16_t, route> routes_;
  std::list<connection> connections_;
  std::thread thread_; // last
};

} // namespace system_test
