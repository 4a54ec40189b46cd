#pragma once

#include <functional>

namespace troupe {

class loop;

/// Takes SIGINT, SIGTERM and SIGHUP while it exists, as far as the program hasn't done so itself. One at a time.
///
/// Signals that come within 0.2 s of the first are one with it: timeout(1) and launchers send theirs to the process and to its group, a terminal
/// that is closed sends several, and nobody presses Ctrl-C twice as fast.
class interrupts {
public:
  /// `on_signal` gets the signal's number, on the loop's thread. Throws std::system_error.
  interrupts(loop& l, std::function<void(int)> on_signal);
  /// Gives the signals back: what comes from now on ends the process, unless it is one with what has come. The loop must have stopped, or must be the
  /// caller.
  ~interrupts();
  interrupts(const interrupts&) = delete;
  interrupts& operator=(const interrupts&) = delete;
};

} // namespace troupe
