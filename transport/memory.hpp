#pragma once

#include "troupe/transport/transport.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace troupe {

/// A network within one process, for tests: bytes are late, come in pieces of any size, and wait when there is no room for more;
/// and what goes wrong in networks goes wrong here on command, or by chance. All that is random comes from one generator, so that
/// the same calls at the same times have the same outcome.
///
/// Its hosts are names, one for each transport that it makes. Each may have a loop of its own; all loops are driven by one
/// thread, which makes all calls, and tell the same time. A host whose loop isn't driven is a process that is stopped: what it is
/// sent waits, as far as there is room.
///
/// Transports and streams may outlive the network; its faults end with it.
class memory_network {
public:
  using duration = loop::clock::duration;

  struct settings {
    std::uint64_t seed = 1;
    /// How long a piece of what is written is on its way, at least and at most.
    duration least_delay = std::chrono::microseconds{20};
    duration most_delay = std::chrono::milliseconds{2};
    /// Bytes that one direction of a stream holds until they are read. Below 2 KiB there is no room for a handshake.
    std::size_t capacity = 256 << 10;
    /// No piece is larger.
    std::size_t most_piece = 64 << 10;
    /// How likely each write is to end its stream, to silence it, and to change a bit of what it sends: see cut, silence and
    /// corrupt. 0 to 1.
    double cuts = 0;
    double silences = 0;
    double corruptions = 0;
  };

  explicit memory_network(settings s);
  ~memory_network();
  memory_network(const memory_network&) = delete;
  memory_network& operator=(const memory_network&) = delete;

  /// A host's way into the network. It listens at the host's name, and at any port: 0 is the first free one. Throws usage_error
  /// if there is such a host already.
  std::shared_ptr<transport> make(const std::string& host);

  /// Ends all streams between two hosts. What was on its way may or may not arrive; each end sees it a moment later.
  void cut(const std::string& a, const std::string& b);

  /// All streams that there are between two hosts fall silent for good: they take what is written as far as there is room,
  /// nothing arrives, and neither end sees an end. New ones work.
  void silence(const std::string& a, const std::string& b);

  /// Until `join` nothing gets from one host to another: it waits on its way. The other direction stands. Dialling needs both; an
  /// attempt is repeated each second of its limit.
  void part(const std::string& from, const std::string& to);
  void join(const std::string& from, const std::string& to);

  /// While `on`, a host's dialling another is refused, as if nobody listened there.
  void refuse(const std::string& from, const std::string& to, bool on);

  /// What one host sends to another is on its way for as much longer.
  void slow(const std::string& from, const std::string& to, duration more);

  /// Flips a bit in what one host sends to another next, of the handshake or a frame's header: what the protocol protects.
  void corrupt(const std::string& from, const std::string& to);

  /// The host's process ends: what it writes from now on goes nowhere. If `seen`, the other ends of its streams see their end,
  /// and who dials it is refused; otherwise the whole host is gone, and there is no answer. Call it before what the process has
  /// is destroyed.
  void kill(const std::string& host, bool seen);

  /// How many streams there are between two hosts whose ends both think so.
  std::size_t streams(const std::string& a, const std::string& b) const;

private:
  friend class memory_transport;
  friend class memory_stream;
  struct core;
  struct end;

  std::shared_ptr<core> core_;
};

} // namespace troupe
