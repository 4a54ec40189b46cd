#pragma once

#include "troupe/transport/byte_stream.hpp"
#include "troupe/transport/loop.hpp"
#include "troupe/transport/transport.hpp"
#include "troupe/transport/unique_fd.hpp"

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace troupe {

/// @addtogroup managers
/// @{

/// @cond internal

/// Accepts connections and hands their streams over. Loop thread only.
class tcp_listener {
public:
  using acceptor = transport::acceptor;

  /// Listens at a numeric address. Port 0: the first free one from 9000 + (OS pid mod 1000) on. Throws usage_error for what
  /// is no address, std::system_error if it can't be listened at; both name it.
  tcp_listener(loop& l, const std::string& address, std::uint16_t port, acceptor on_accept);
  ~tcp_listener();
  tcp_listener(const tcp_listener&) = delete;
  tcp_listener& operator=(const tcp_listener&) = delete;

  const endpoint& where() const { return where_; }

private:
  void accept_some();
  void pause();

  loop& loop_;
  std::uint64_t resume_ = 0; // a timer
  acceptor on_accept_;
  unique_fd socket_;
  endpoint where_;
};

/// @endcond

/// A stream over a connected, non-blocking socket of any kind, for transports of one's own; `peer` is whom messages name, `kind` what
/// `links` shows. Its functions throw nothing but what loop::watch does.
std::unique_ptr<byte_stream> make_socket_stream(loop& l, unique_fd connected, endpoint peer, std::string kind);

/// @cond internal

/// Connects to a numeric address; `done` is called once, on the loop's thread, before `limit` has passed. Loop thread.
void tcp_dial(loop& l, const endpoint& to, std::chrono::milliseconds limit, dial_handler done);

/// TCP, without Nagle's delay.
class tcp_transport final : public transport {
public:
  endpoint listen(loop& l, const endpoint& at, acceptor on_accept) override;
  void dial(loop& l, const endpoint& to, std::chrono::milliseconds limit, dial_handler done) override;

private:
  std::unique_ptr<tcp_listener> listener_;
};

/// @endcond

/// @}

} // namespace troupe
