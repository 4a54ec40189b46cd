#pragma once

#include <string>

namespace command {

struct connection_time {
  double seconds = 0;
  /// Why there was none; empty if there was one.
  std::string problem;
};

/// Listens at a numeric address of this host, connects there, and sends a byte; gives up after 2 s.
connection_time connect_to_self(const std::string& address);

/// Whether something listens at that port of this host's loopback.
bool listens_here(int port);

} // namespace command
