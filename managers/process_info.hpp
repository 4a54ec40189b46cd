#pragma once

#include "troupe/transport/error.hpp"
#include "troupe/transport/proc_id.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

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

} // namespace troupe
