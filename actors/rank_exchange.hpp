#pragma once

#include "troupe/transport/landing.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace troupe {

/// The ranks of an MPI job that do something together, as each of them is told.
struct rank_group {
  /// What they do: no other has this number.
  std::uint64_t number = 0;
  /// The rank at each place. Each is there once.
  std::vector<int> ranks;

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, rank_group& x) {
    return f(x.number, x.ranks);
  }
};

/// How the ranks of an MPI job hand each other values beside the links. One for each process that is a rank. Any thread.
///
/// What blocks gives the thread's turn away, and throws `interrupted`, and what the thread's task was told, as all waits do; also `interrupted` if MPI
/// fails. What one rank sends another for one number arrives in that order.
class rank_exchange {
public:
  virtual ~rank_exchange() = default;

  /// This process's; null if it is no rank.
  static rank_exchange* current();
  /// Before tasks run, and after they have.
  static void set_current(rank_exchange* x);

  /// Blocks until the bytes have left. What is more than some kilobytes leaves only when the other is there to receive it. Whatever happens, the bytes may be
  /// read as long as `keeper` lives, which is kept for as long as that takes.
  virtual void send(std::uint64_t number, int to, std::span<const std::byte> bytes, std::shared_ptr<const void> keeper) = 0;

  /// Tells that there is nothing to send, since something has failed.
  virtual void send_nothing(std::uint64_t number, int to) = 0;

  /// Blocks until a value has come to lie in `where`; false if its sender has nothing to send. Nothing is allocated for what a sender only claims but by the
  /// size that it claims. Throws std::bad_alloc.
  virtual bool receive(std::uint64_t number, int from, std::shared_ptr<landing> where) = 0;

  /// This process's part for this number was ended: what still comes for it is thrown away.
  virtual void leave(std::uint64_t number) = 0;
};

} // namespace troupe
