#pragma once

#include "bench/own_process.hpp"

#include <cstdint>
#include <vector>

namespace bench {

/// A process that knows nothing of troupe, and hangs up on everyone who dials it. Not thread-safe.
class bare_door {
public:
  /// Returns when it listens.
  bare_door();

  int port() const { return port_; }

private:
  own_process process_;
  int port_;
};

/// A process of strangers who dial a port of this host again and again, at an even pace: a third hangs up without a word,
/// a third sends junk, and a third half of a troupe preamble, and stays until it is hung up on or 600 younger ones have
/// done the same. Not thread-safe.
class strangers {
public:
  explicit strangers(int attempts_per_second);

  /// From now on they dial this port; 0: none. Returns how many attempts were made at the port before.
  std::uint64_t turn_to(int port);

private:
  own_process process_;
};

/// The two processes: print a line when they are ready, and serve until the end of stdin. Return their exit status.
int serve_bare_door();
int serve_strangers(int attempts_per_second);

} // namespace bench
