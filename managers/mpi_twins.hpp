#pragma once

#include <functional>

namespace troupe::detail {

class mpi_twin;

/// While it lives, the calling thread never hangs in MPI: its blocking calls start their non-blocking twins and test these, until they are
/// over or an exception ends them. The exception leaves the MPI_ function, so no C code without unwind tables may stand between. Lives on
/// the stack of the thread that it is for; an inner one counts instead of the outer one. Other threads' calls go straight to MPI.
///
/// Covered are MPI_Send, Ssend, Rsend, Recv, Sendrecv, Sendrecv_replace, Probe, Mprobe, Mrecv, Wait, Waitall, Waitany, Waitsome, Barrier,
/// Bcast, Reduce, Allreduce, Reduce_scatter(_block), Gather(v), Scatter(v), Allgather(v), Alltoall(v, w), Scan, Exscan and Comm_dup. A
/// collective call with a scope doesn't match the same call without one (to MPI they are different operations), so either all ranks that
/// use a communicator have a scope, or none.
///
/// After an exception MPI goes on, but nobody may use or free the communicators whose calls it has ended: messages are left in them, which
/// a new communicator with the same number would get. What the user's function frees while an exception unwinds it, or after `check` has
/// thrown, isn't freed therefore. A receive that nothing has come for is cancelled, and everything else given 100 ms; what isn't over then
/// stays as it is, and MPI may still read or write its buffers if the other ranks go on with it. The user's own requests (MPI_Wait…) are
/// left alone. A call that a destructor makes meanwhile has 100 ms, too; then it returns MPI_ERR_OTHER.
class mpi_waits {
public:
  /// Both are called in the calling thread; MPI calls that they make go straight to MPI. `check` is called before each covered call begins
  /// and again and again while it waits; it throws to end it, and should take some nanoseconds. `look` is called now and then while a call
  /// waits, and may do something else for a short time. What it throws ends the call, too.
  mpi_waits(std::function<void()> check, std::function<void()> look);
  ~mpi_waits();
  mpi_waits(const mpi_waits&) = delete;
  mpi_waits& operator=(const mpi_waits&) = delete;

private:
  friend class mpi_twin;

  const std::function<void()> check_, look_;
  mpi_waits* const outer_;
  const int exceptions_; // that were on their way when it began
  unsigned rounds_ = 0; // of all calls
  bool ended_ = false;
};

/// Whether the process's blocking MPI calls come to us. Who uses mpi_waits calls it, so that a static library's object file is linked.
bool mpi_twins_are_linked();

/// From now on, UCX (which MPICH may be built on) doesn't warn at MPI_Finalize of requests and messages that are left. Each rank calls it
/// when a function has been ended in some of them, since what one has sent may be left at another.
void expect_mpi_leftovers();

} // namespace troupe::detail
