#pragma once

#include "troupe/transport/transport.hpp"

#include <memory>
#include <mpi.h>

namespace troupe {

/// Byte streams between the ranks of an MPI job, in messages over a communicator of their own. An address is the text of `listen`'s
/// endpoint, the same for all ranks; the port is the rank.
///
/// MPI tells of messages by no descriptor: while somebody listens or dials, the loop asks it in each round (loop::source). A rank
/// that sleeps is woken by a datagram where sender and sleeper share memory; elsewhere it asks every millisecond, at most. A stream's end
/// that a rank doesn't close is not seen: MPI doesn't tell of ranks that die.
class mpi_transport final : public transport {
public:
  /// Collective among `of`, which is duplicated. Needs MPI_THREAD_MULTIPLE. Throws std::runtime_error with MPI's words if that fails.
  explicit mpi_transport(MPI_Comm of);

  /// MPI must not have been finalized. What has been sent and not received is given up after a moment.
  ~mpi_transport() override;

  int rank() const;
  int size() const;

  /// The communicator of the messages. It lives as long as MPI.
  MPI_Comm communicator() const;

  /// Receives what was on its way when its transport was destroyed, of which MPI would complain at its end. When no rank sends any more.
  static void drain(MPI_Comm communicator);

  /// Lets others in. `at` is not used. One loop for listening and dialling.
  endpoint listen(loop& l, const endpoint& at, acceptor on_accept) override;
  void dial(loop& l, const endpoint& to, std::chrono::milliseconds limit, dial_handler done) override;

private:
  class network;
  std::shared_ptr<network> network_;
};

} // namespace troupe
