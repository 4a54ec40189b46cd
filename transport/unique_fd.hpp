#pragma once

#include <utility>

#include <unistd.h>

namespace troupe {

/// @addtogroup managers
/// @{

/// Owns a file descriptor and closes it. Not thread-safe.
class unique_fd {
public:
  /// Owns none.
  unique_fd() = default;
  /// Owns `fd`; none if that is negative.
  explicit unique_fd(int fd) noexcept : fd_{fd} {}
  /// Takes the other's, which then has none.
  unique_fd(unique_fd&& other) noexcept : fd_{other.release()} {}
  /// Closes its own and takes the other's, which then has none.
  unique_fd& operator=(unique_fd&& other) noexcept {
    reset(other.release());
    return *this;
  }
  /// Closes what it owns.
  ~unique_fd() { reset(); }

  /// -1 when it owns none.
  int get() const noexcept { return fd_; }
  /// Whether it owns one.
  explicit operator bool() const noexcept { return fd_ >= 0; }

  /// What it owned, which the caller closes from now on; -1 if none.
  [[nodiscard]] int release() noexcept { return std::exchange(fd_, -1); }

  /// Closes what it owns, and owns `fd` from now on. Not retried on EINTR: on Linux the descriptor is gone then too, and perhaps reused.
  void reset(int fd = -1) noexcept {
    const int old = std::exchange(fd_, fd);
    if (old >= 0)
      ::close(old);
  }

private:
  int fd_ = -1;
};

/// @}

} // namespace troupe
