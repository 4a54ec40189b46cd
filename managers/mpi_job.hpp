#pragma once

#include "troupe/managers/mpi_world.hpp"
#include "troupe/transport/transport.hpp"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <mpi.h>

namespace troupe {

class mpi_exchange;

/// The MPI job that this process is a rank of, or the part of it that is to be a cluster: from MPI_Init_thread to MPI_Finalize, or as long as a
/// cluster's program runs if the user has initialized MPI. One for each process. What is collective is called by all ranks, in the same order;
/// it blocks.
class mpi_job {
public:
  /// Where a rank can be reached.
  struct rank_info {
    endpoint where;
    std::int64_t os_pid = 0;
    std::string host;
  };

  /// Which rank this process is, if mpirun or the like has started it. Before MPI_Init.
  static std::optional<int> rank_from_environment();

  /// Which rank of a communicator this process is; nothing if it is none. Throws usage_error if MPI hasn't been initialized.
  static std::optional<int> rank_in(MPI_Comm part);

  /// The ranks of `part`, collectively. MPI is initialized, and finalized at the end, unless the user has initialized it. Throws std::runtime_error
  /// if it can't be had, or grants less than `level`.
  explicit mpi_job(MPI_Comm part = MPI_COMM_WORLD, int level = MPI_THREAD_MULTIPLE);

  /// See finish.
  ~mpi_job();
  mpi_job(const mpi_job&) = delete;
  mpi_job& operator=(const mpi_job&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }

  /// Collective: what rank 0 says.
  std::string share(const std::string& text);

  /// Collective: what each rank says, by rank, for rank 0; nothing for the others.
  std::vector<rank_info> gather(const rank_info& mine);

  /// Collective: the transport over MPI, which reaches TCP addresses, too.
  std::shared_ptr<transport> make_transport();

  /// Collective: an address at which a rank can be reached by TCP from the others.
  std::string reachable_address();

  /// The master is about to end. Returns whether all ranks have come to their ends within the limit; if not, the job has to be aborted.
  bool wait_for_all(std::optional<std::chrono::milliseconds> limit = std::nullopt);

  /// From now on nothing waits for all ranks, and MPI isn't finalized: a rank may have died.
  void end_apart() { apart_ = true; }
  bool ends_apart() const { return apart_; }

  /// This rank's standard input ends with the master: if that happens while it waits for a run, or for the others, the process ends, and the job
  /// with it.
  void tie_to_input() { tied_ = true; }

  /// Waits for all ranks, however long that takes, using no CPU; then ends MPI. Once.
  void finish();

  /// Calls a function with a communicator of the ranks that take part in the run, which are to call this as well. On that thread, blocking MPI calls
  /// end when the run is stopped, by throwing `interrupted`; so do troupe's waits. The communicator is the user's: nothing of troupe's is sent on
  /// it. One run at a time.
  void run(const mpi_run& which, const std::function<void(MPI_Comm)>& f);

  /// Whether a function is being run, or a task waits for another rank's value. Any thread.
  bool running() const;

  /// Returns whether none is being run within the limit.
  bool wait_for_run(std::optional<std::chrono::milliseconds> limit = std::nullopt);

  /// Ends the runs up to this number. Any thread.
  void stop_runs(std::uint64_t up_to, const std::string& why);

  /// Ends what tasks wait for of other ranks, now and from now on. Any thread.
  void stop_exchange();

  /// This process's, or null.
  static mpi_job* current();

  /// Ends all ranks. mpirun says so on stderr.
  [[noreturn]] void abort(int status);

private:
  bool all_there();
  void refuse_runs();
  void wait_a_moment();
  void check_run(std::uint64_t number);
  void meet(const mpi_run& which);

  int rank_ = 0;
  int size_ = 0;
  std::atomic<bool> apart_{false};
  std::atomic<bool> tied_{false};
  struct handles;
  std::unique_ptr<handles> handles_;
  std::unique_ptr<mpi_exchange> exchange_; // null if only one thread may call MPI
};

} // namespace troupe
