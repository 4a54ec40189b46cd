#pragma once

#include "troupe/transport/byte_stream.hpp"
#include "troupe/transport/loop.hpp"

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace troupe {

/// @addtogroup managers
/// @{

/// Where a process can be reached. What the address means is its transport's business; for TCP it is a numeric IP address. One that begins
/// with a word and "://" belongs to the transport that has been registered by that word, see transports; it needs no port.
struct endpoint {
  /// What it says is its transport's business.
  std::string address;
  /// 0: none, or, for who listens, any that is free.
  std::uint16_t port = 0;

  /// "127.0.0.1:9003", "[::1]:9003"; "unix:///tmp/w" without a port.
  std::string to_text() const;

  /// The word in front of "://", such as "unix"; empty if there's none.
  std::string scheme() const;

  /// Whether it is that of a rank whose messages go by MPI.
  bool is_in_mpi_job() const { return address.starts_with("mpi-"); }

  /// Whether there is something to dial.
  bool can_be_dialled() const { return port != 0 || !scheme().empty(); }

  /// Whether it means something on this host only, or in this network namespace.
  bool is_loopback() const;

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, endpoint& x) {
    return f(x.address, x.port);
  }

  /// Whether address and port are the same.
  friend bool operator==(const endpoint&, const endpoint&) = default;
};

/// What came of dialling.
struct dial_result {
  /// Null if it failed.
  std::unique_ptr<byte_stream> stream;
  /// Why it failed, for messages: "cannot connect to 127.0.0.1:9003: Connection refused".
  std::string why_not;
  /// Somebody is at that address, and says that nobody listens there.
  bool refused = false;
};

/// Gets what came of dialling, once, on the loop's thread. It must neither block nor throw.
using dial_handler = std::function<void(dial_result)>;

/// Opens and accepts byte streams of one kind. Loop thread only, but for construction. Destroying it stops listening, and drops
/// what is being dialled.
class transport {
public:
  /// Gets each stream that somebody has opened from outside, on the loop's thread. It must neither block nor throw.
  using acceptor = std::function<void(std::unique_ptr<byte_stream>)>;

  virtual ~transport() = default;

  /// Lets others in from now on; returns where. Throws usage_error for what is no address, std::system_error if it can't be
  /// listened at; both name it.
  virtual endpoint listen(loop& l, const endpoint& at, acceptor on_accept) = 0;

  /// Connects; `done` is called once, on the loop's thread, before `limit` has passed.
  virtual void dial(loop& l, const endpoint& to, std::chrono::milliseconds limit, dial_handler done) = 0;
};

/// @}

} // namespace troupe
