#pragma once

#include "bench/own_process.hpp"

#include <cstddef>
#include <memory>
#include <span>

namespace bench {

/// A process that knows nothing of troupe, at the other end of a bare TCP connection over loopback: what the
/// machine can do. All functions block, and throw std::runtime_error when the other process ends. Not
/// thread-safe.
class raw_peer {
public:
  /// How both ends wait for the next message: in the kernel, or asking it again and again.
  enum class wait { sleeping, spinning };

  raw_peer();
  ~raw_peer();
  raw_peer(const raw_peer&) = delete;
  raw_peer& operator=(const raw_peer&) = delete;

  /// 32 bytes there and back. The other end waits for the message after this one as this one says: whoever
  /// spins ends with `rest`, lest the peer takes a CPU from what is measured next.
  void ping(wait how);
  void rest();

  /// The bytes there, and then as many back into the same place. The peer keeps its buffer for the next call.
  void send_there_and_back(std::span<std::byte> bytes);

private:
  struct listener;

  std::unique_ptr<listener> listener_;
  own_process process_;
  int fd_ = -1;
};

/// The other end: serves until the connection to 127.0.0.1:`port` is closed. Returns its exit status.
int serve_raw_peer(int port);

} // namespace bench
