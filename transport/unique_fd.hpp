#pragma once

#include <utility>

#include <unistd.h>

namespace troupe {

/// Owns a file descriptor and closes it. Not thread-safe.
class unique_fd {
public:
  unique_fd() = default;
  explicit unique_fd(int fd) noexcept : fd_{fd} {}
  unique_fd(unique_fd&& other) noexcept : fd_{other.release()} {}
  unique_fd& operator=(unique_fd&& other) noexcept {
    reset(other.release());
    return *this;
  }
  ~unique_fd() { reset(); }

  /// -1 when it owns none.
  int get() const noexcept { return fd_; }
  explicit operator bool() const noexcept { return fd_ >= 0; }

  /// The caller closes it from now on.
  [[nodiscard]] int release() noexcept { return std::exchange(fd_, -1); }

  /// Closes what it owns. Not retried on EINTR: on Linux the descriptor is gone then too, and perhaps reused.
  void reset(int fd = -1) noexcept {
    const int old = std::exchange(fd_, fd);
    if (old >= 0)
      ::close(old);
  }

private:
  int fd_ = -1;
};

} // namespace troupe
