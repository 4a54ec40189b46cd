#pragma once

#include "troupe/managers/cluster_manager.hpp"
#include "troupe/transport/transport.hpp"

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace troupe {

/// The MPI job that this process is a rank of, from MPI_Init_thread to MPI_Finalize. One for each process. Rank r is process r + 1:
/// rank 0 is the master. What is collective is called by all ranks, in the same order; it blocks.
class mpi_job {
public:
  /// Where a rank can be reached.
  struct rank_info {
    endpoint where;
    std::int64_t os_pid = 0;
  };

  /// Which rank this process is, if mpirun or the like has started it. Before MPI_Init.
  static std::optional<int> rank_from_environment();

  /// Throws std::runtime_error if MPI can't be had, or grants less than MPI_THREAD_MULTIPLE.
  mpi_job();

  /// See finish.
  ~mpi_job();
  mpi_job(const mpi_job&) = delete;
  mpi_job& operator=(const mpi_job&) = delete;

  int rank() const {
    return rank_;
  }
  int size() const {
    return size_;
  }

  /// Collective: what rank 0 says.
  std::string share(const std::string& text);

  /// Collective: what each rank says, by rank, for rank 0; nothing for the others.
  std::vector<rank_info> gather(const rank_info& mine);

  /// Collective: the transport over MPI, which reaches TCP addresses, too.
  std::shared_ptr<transport> make_transport();

  /// Collective: an address at which a rank can be reached by TCP from the others.
  std::string reachable_address();

  /// The master is about to end. Returns whether all ranks have come to their ends within the limit; if not, the job has to be aborted.
  bool wait_for_all(std::chrono::milliseconds limit);

  /// Waits for all ranks, using no CPU; then ends MPI. Once.
  void finish();

  /// Ends all ranks. mpirun says so on stderr.
  [[noreturn]] void abort(int status);

private:
  bool all_there();

  int rank_ = 0;
  int size_ = 0;
  struct handles;
  std::unique_ptr<handles> handles_;
};

/// Brings in the other ranks of the master's own job, which are there already.
class mpi_rank_manager final : public cluster_manager {
public:
  /// What mpi_job::gather gave.
  explicit mpi_rank_manager(std::vector<mpi_job::rank_info> ranks) : ranks_(std::move(ranks)) {
  }
  void launch(const launch_options& options, launch_sink& sink) override;

private:
  std::vector<mpi_job::rank_info> ranks_;
};

} // namespace troupe
