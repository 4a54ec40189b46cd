#pragma once

#include "troupe/transport/error.hpp"
#include "troupe/transport/proc_id.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace troupe {

/// created: started, not yet a member. connected: a member. terminating: has been asked to leave, or is being lost. terminated: gone.
enum class process_state : std::uint8_t { created, connected, terminating, terminated };

/// What is known of a process.
struct process_info {
  process_state state = process_state::created;
  /// The name of its host.
  std::string host;
  /// Where it listens, "127.0.0.1:9003"; empty for the master, which doesn't.
  std::string address;
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
  proc_id a = 0;
  proc_id b = 0;
  /// "tcp", "mpi", "memory"
  std::string kind;
  /// Frames and bytes in both directions, since the link was opened.
  std::uint64_t frames = 0;
  std::uint64_t bytes = 0;

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, link_info& x) {
    return f(x.a, x.b, x.kind, x.frames, x.bytes);
  }
};

/// What a process has on its way to another.
struct peer_statistics {
  proc_id peer = 0;
  /// How many threads wait at this moment because the peer, or the way to it, takes no more for now.
  std::uint64_t waiting = 0;
  /// How often one had to.
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
  proc_id id = 0;
  /// Calls, answers, messages between actors, and the library's own.
  std::uint64_t messages_sent = 0;
  std::uint64_t messages_received = 0;
  /// On the wire.
  std::uint64_t bytes_sent = 0;
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

} // namespace troupe
