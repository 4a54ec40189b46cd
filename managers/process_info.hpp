#pragma once

#include "troupe/transport/error.hpp"
#include "troupe/transport/proc_id.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace troupe {

/// @addtogroup applications
/// @{

/// Where a process is in its life.
enum class process_state : std::uint8_t {
  created,     ///< started, not yet a member
  connected,   ///< a member
  terminating, ///< has been asked to leave, or is being lost
  terminated,  ///< gone
};

/// What is known of a process.
struct process_info {
  /// What it was when this was asked.
  process_state state = process_state::created;
  /// The name of its host.
  std::string host;
  /// Where it listens, "127.0.0.1:9003"; empty for the master, which doesn't.
  std::string address;
  /// Its number in its operating system.
  std::int64_t os_pid = 0;
  /// When it joined, by the master's clock.
  std::chrono::system_clock::time_point started{};
  /// How it ended, once it has.
  std::optional<exit_cause> cause;
  /// Logical CPUs of its host.
  int cpus = 0;

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, process_info& x) {
    return f(x.state, x.host, x.address, x.os_pid, x.started, x.cause, x.cpus);
  }
};

/// A direct link between two processes.
struct link_info {
  /// Of its two ends the one with the lower id.
  proc_id a = 0;
  /// The other one.
  proc_id b = 0;
  /// What byte_stream::kind says: "tcp", "mpi", or the word of a transport of one's own.
  std::string kind;
  /// Frames in both directions, since the link was opened.
  std::uint64_t frames = 0;
  /// Bytes of these frames.
  std::uint64_t bytes = 0;

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, link_info& x) {
    return f(x.a, x.b, x.kind, x.frames, x.bytes);
  }
};

/// What a process has on its way to another.
struct peer_statistics {
  /// The other process.
  proc_id peer = 0;
  /// How many threads wait at this moment because the peer, or the way to it, takes no more for now.
  std::uint64_t waiting = 0;
  /// How often a thread had to, since the process started.
  std::uint64_t waits = 0;
  /// Bytes that have been sent, or wait to be, and that the peer hasn't acknowledged.
  std::uint64_t in_transit = 0;
  /// Of calls and messages: bytes that the peer hasn't begun to deal with, each counted with 256 bytes for itself.
  std::uint64_t unconsumed = 0;

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, peer_statistics& x) {
    return f(x.peer, x.waiting, x.waits, x.in_transit, x.unconsumed);
  }
};

/// What a process has done since it started.
struct process_statistics {
  /// The process.
  proc_id id = 0;
  /// Calls, answers, messages between actors, and the library's own.
  std::uint64_t messages_sent = 0;
  /// Of the same kinds.
  std::uint64_t messages_received = 0;
  /// Bytes on the wire.
  std::uint64_t bytes_sent = 0;
  /// Bytes from the wire.
  std::uint64_t bytes_received = 0;
  /// How many tasks have begun.
  std::uint64_t tasks = 0;
  /// How often somebody who sent had to wait for the receiver: where this grows, data comes faster than it is dealt with.
  std::uint64_t waits = 0;
  /// By peer, those that there has been something for.
  std::vector<peer_statistics> peers;

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, process_statistics& x) {
    return f(x.id, x.messages_sent, x.messages_received, x.bytes_sent, x.bytes_received, x.tasks, x.waits, x.peers);
  }
};

/// @}

} // namespace troupe
