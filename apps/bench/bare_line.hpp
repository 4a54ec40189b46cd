#pragma once

#include "bench/timing.hpp"

#include <troupe/troupe.hpp>

#include <cstddef>
#include <memory>
#include <span>

namespace bench {

/// What the machine can do between two processes without troupe, by what the cluster's links are made of: bare TCP sockets, or bare MPI between the
/// master and rank 1. All functions block. Not thread-safe.
class bare_line {
public:
  static std::unique_ptr<bare_line> as_in(troupe::cluster& c);

  virtual ~bare_line() = default;

  /// Adds the times of round trips of a few bytes, in µs, until `end`: as whoever has time waits, and as fast as can be. MPI knows one way only.
  virtual void ping(clock::time_point end, samples& us) = 0;
  virtual void ping_spinning(clock::time_point end, samples& us) = 0;

  /// The bytes there, and then as many back into the same place; into warm buffers, but for the first time. Returns the seconds.
  virtual double send_there_and_back(std::span<std::byte> bytes) = 0;
};

/// Whether the cluster's links are of MPI.
bool is_over_mpi(const troupe::cluster& c);

} // namespace bench
