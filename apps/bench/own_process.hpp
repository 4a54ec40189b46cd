#pragma once

#include <chrono>
#include <string>
#include <vector>

#include <sys/types.h>

namespace bench {

/// This program once more, in a process of its own, whose stdin and stdout are pipes. Not thread-safe.
class own_process {
public:
  /// Throws std::system_error if it can't be started.
  explicit own_process(const std::vector<std::string>& args) : own_process({}, args) {}
  /// By a launcher: a program that is found in PATH, with its arguments, in front of this program and its.
  own_process(const std::vector<std::string>& launcher, const std::vector<std::string>& args);
  /// Kills it if it still runs, and waits for its end.
  ~own_process();
  own_process(own_process&& other) noexcept;
  own_process& operator=(own_process&&) = delete;

  ::pid_t pid() const { return pid_; }

  /// Blocks until it has printed a line; returns it without its end. Throws std::runtime_error when it ends
  /// before, or after a minute.
  std::string read_line();

  /// Throws std::system_error when it has ended.
  void write_line(std::string line);

  /// Closes its stdin and blocks until it has ended. Throws std::runtime_error unless that was with status 0.
  void finish();
  /// The same for one that ends without being told. Its stdin stays open until it has ended: an mpirun of MPICH that sees it end while its job does
  /// ends with an error.
  void wait();

private:
  void close_pipes();

  ::pid_t pid_ = -1; // -1: its end has been seen
  int in_ = -1; // its stdin
  int out_ = -1; // its stdout
  std::string read_; // what has come after the latest line
};

} // namespace bench
