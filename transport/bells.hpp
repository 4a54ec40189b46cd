#pragma once

#include "troupe/transport/unique_fd.hpp"

#include <atomic>
#include <string>
#include <utility>
#include <vector>

#include <mpi.h>

namespace troupe {

/// Throws std::runtime_error with MPI's words if `result` is an error.
void check_mpi(int result, const char* what);

/// One word of memory that processes share by way of a file.
class shared_flag {
public:
  shared_flag() = default;
  /// `flags` as of open(2). Null if it can't be had.
  shared_flag(const std::string& file, int flags);
  ~shared_flag();
  shared_flag(shared_flag&& other) noexcept : word_(std::exchange(other.word_, nullptr)) {}
  shared_flag& operator=(shared_flag&& other) noexcept {
    std::swap(word_, other.word_);
    return *this;
  }
  std::atomic<int>* get() const { return word_; }

private:
  static constexpr std::size_t size = 64;
  std::atomic<int>* word_ = nullptr;
};

/// Wakes the ranks of an MPI job that sleep on the same host, and is woken by them: each has a flag in memory that they share, which says that it sleeps, and a
/// datagram socket.
class bells {
public:
  /// Collective among `all`. Throws std::system_error, and std::runtime_error for what MPI says.
  explicit bells(MPI_Comm all);
  bells(const bells&) = delete;
  bells& operator=(const bells&) = delete;

  /// Is readable when somebody has rung.
  int socket() const { return socket_.get(); }
  /// Whether all ranks can wake each other.
  bool all_here() const { return all_here_; }
  /// What comes from now on is rung for, or not any more.
  void sleeps(bool on) { mine_.get()->store(on ? 1 : 0); }
  /// Takes in what has been rung.
  void drain();
  /// Wakes the rank if it sleeps here. Any thread.
  void ring(int rank);

private:
  struct neighbour {
    shared_flag sleeps; // null: on another host
    unique_fd bell;
  };

  static void reach(neighbour& n, const std::string& path);

  unique_fd socket_;
  shared_flag mine_;
  std::vector<neighbour> neighbours_; // by rank
  bool all_here_ = true;
};

} // namespace troupe
