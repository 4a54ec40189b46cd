#pragma once

#include "bench/own_process.hpp"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace bench {

/// Processes that know nothing of troupe, and answer questions over bare TCP connections: what so many processes can do on these CPUs. A question is 64 bytes, an
/// answer 48, as those of a call and its result; of each question 240 bytes are kept here and 200 there until the next round, as of a future and a result
/// that is kept. What is put together leaves every 100 µs, and when all is asked. Blocks. Not thread-safe.
class bare_crowd {
public:
  explicit bare_crowd(std::size_t processes);
  ~bare_crowd();
  bare_crowd(const bare_crowd&) = delete;
  bare_crowd& operator=(const bare_crowd&) = delete;

  /// Asks the first `n` of them in turn, `questions` in all; returns the seconds until all are answered. Throws std::runtime_error when one of them
  /// ends, or its answer is wrong.
  double ask(std::size_t n, int questions);

private:
  struct peer {
    int fd = -1;
    std::vector<std::byte> out;
    std::vector<std::byte> in; // the beginning of an answer
  };

  void send_what_is_put_together(std::size_t n);
  bool receive(peer& p);

  std::vector<own_process> processes_;
  std::vector<peer> peers_;
  std::vector<std::byte> buffer_;
  std::uint64_t sum_ = 0; // of the round's answers
  std::size_t answered_ = 0;
};

/// One of the processes: serves until the connection to 127.0.0.1:`port` is closed. Returns its exit status.
int serve_crowd(int port);

} // namespace bench
