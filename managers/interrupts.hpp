#pragma once

#include <functional>

namespace troupe {

class loop;

/// Takes SIGINT, SIGTERM and SIGHUP while it exists, as far as the program hasn't done so itself.
class interrupts {
public:
  /// `on_signal` gets the signal's number, on the loop's thread. Throws std::system_error.
  interrupts(loop& l, std::function<void(int)> on_signal);
  /// Gives the signals back. The loop must have stopped, or must be the caller.
  ~interrupts();
  interrupts(const interrupts&) = delete;
  interrupts& operator=(const interrupts&) = delete;
};

} // namespace troupe
