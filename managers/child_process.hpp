#pragma once

#include "troupe/transport/unique_fd.hpp"

#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <sys/types.h>

namespace troupe {

/// @addtogroup managers
/// @{

/// How a process ended. With neither status nor signal it ended, but something else in this program took the
/// news (a handler that waits for all children, or an ignored SIGCHLD).
struct exit_state {
  int status = -1; ///< its exit status, or -1
  int signal = 0;  ///< the signal that killed it, or 0
  /// Whether the signal left a core file.
  bool core = false;

  /// Goes on after the process's name: "exited with status 7", "was killed by signal 9 (Killed)".
  std::string to_text() const;
  /// Whether all members are equal.
  bool operator==(const exit_state&) const = default;
};

/// What a child process runs, and with what around it.
struct child_options {
  /// Without a slash it's looked up in this process's PATH; a relative path is looked up from `dir`.
  std::string program;
  std::vector<std::string> args; ///< without argv[0], which is `program`
  std::string dir;               ///< empty: this process's
  /// Added to this process's environment, or in place of what has the same name there.
  std::vector<std::pair<std::string, std::string>> env;
  /// What isn't inherited, such as "PMI_"; `env` comes after.
  std::vector<std::string> env_removed_prefixes;
};

/// A process started by this one, in a process group of its own, with default signal dispositions, nothing
/// blocked, pipes for its standard streams and no other descriptor of ours. Not thread-safe.
class child_process {
public:
  /// Returns when the program runs. Throws std::system_error when it can't be started (the text names program
  /// and directory and tells which of the two is at fault), std::invalid_argument for a variable without a
  /// proper name.
  explicit child_process(const child_options& options);

  /// Ends a child that still runs: SIGKILL to its group, then waits for its end, 5 s at most (longer takes
  /// only one that is stuck in the kernel). What the child started is left alone if the child has ended
  /// before.
  ~child_process();
  /// Leaves `other` without a child: it can only be destroyed or assigned to.
  child_process(child_process&& other) noexcept;
  /// Ends the child that this one has, as its destructor does, and takes the other's.
  child_process& operator=(child_process&& other) noexcept;

  /// Also the id of its process group. Other processes may get it once the end has been seen by a wait.
  ::pid_t pid() const { return pid_; }

  /// Our end of the pipe to its standard input, blocking and close-on-exec. It can be taken once; until then it lives as
  /// long as this object.
  unique_fd take_stdin() { return std::move(stdin_); }
  /// The same of its standard output.
  unique_fd take_stdout() { return std::move(stdout_); }
  /// The same of its standard error.
  unique_fd take_stderr() { return std::move(stderr_); }

  /// Polls readable from the child's end on. Owned by this object.
  int pidfd() const { return pidfd_.get(); }

  /// Empty while it runs. The first success frees the process's id; later calls give the same again.
  std::optional<exit_state> try_wait();
  /// Blocks until the child has ended or the deadline has passed; then empty.
  std::optional<exit_state> wait_until(std::chrono::steady_clock::time_point deadline);

  /// Sends a signal to the child alone; never to another process that got its id. Nothing happens if it has ended.
  /// Throws std::system_error for a signal that doesn't exist or when permission is lacking.
  void signal(int number);
  /// Sends a signal to all in its group. Nothing happens once the child's end has been seen by a wait: from then on the
  /// group's id may be another's. To reach what a dead child left behind, call this when `pidfd()` is
  /// readable, then wait.
  void signal_group(int number);

private:
  void end() noexcept;

  ::pid_t pid_ = -1;
  unique_fd pidfd_; // empty in an object that was moved from
  unique_fd stdin_, stdout_, stderr_;
  std::optional<exit_state> ended_;
};

/// @}

} // namespace troupe
