#pragma once

#include "troupe/managers/cluster_manager.hpp"

#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace troupe {

/// @addtogroup mpi
/// @{

class mpi_world;

/// How an MPI job of workers is started.
struct mpi_options {
  /// How many ranks; 0: one for each logical CPU of this host.
  int np = 0;
  /// The launcher and its arguments, with {np} for the number of ranks; words in quotes are one argument. The worker's program and its
  /// arguments come behind. The launcher must hand its standard input to rank 0, as mpirun does.
  std::string mpi_cmd = "mpirun -n {np}";
  /// How long it may take from the launcher's start until all ranks have joined. Positive.
  std::chrono::milliseconds launch_timeout{60000};
  /// What MPI is asked for: MPI_THREAD_SERIALIZED or MPI_THREAD_MULTIPLE, which is what -1 means. The launch fails if MPI grants less.
  int thread_level = -1;
  /// Where the master listens for the ranks, which dial it: a numeric address, an interface or a subnet, with ":port" behind it if the
  /// port matters. Ranks on whose hosts it stands for an address, too, listen there for each other. Empty: the master listens at all
  /// addresses of this host, and ranks use the loopback if all are on one host, its first other address otherwise.
  std::string bind_addr{};
  std::string exename{};               ///< See launch_options::exename.
  std::vector<std::string> exeflags{}; ///< See launch_options::exeflags.
  std::string dir{};                   ///< See launch_options::dir.
  /// See launch_options::env; the same for all ranks: values that are functions are asked for worker 0's.
  env_list env{};
  /// See launch_options::threads.
  int threads = 0;

  /// Without what is for MPI only.
  operator launch_options() const;
};

/// The ranks of one MPI job among the processes of a cluster: a handle, whose copies mean the same job. `c.addprocs(m)` starts the job,
/// once; `c.mpi()` is the job that the master itself is a rank of. Any thread.
class mpi_manager {
public:
  /// A job that hasn't been started. Throws usage_error for options that make no sense.
  explicit mpi_manager(mpi_options options = {});

  /// Which process each rank is. Complete when addprocs has returned; a rank that has left or died isn't there any more.
  std::map<int, proc_id> mpi_to_proc() const;
  /// Which rank each process of the job is.
  std::map<proc_id, int> proc_to_mpi() const;
  /// The processes of the job, in ascending order.
  std::vector<proc_id> procs() const;
  /// Its ranks, in ascending order.
  std::vector<int> mpi_procs() const;

  /// As addprocs takes it.
  operator std::shared_ptr<cluster_manager>() const;

  /// @cond internal
  explicit mpi_manager(std::shared_ptr<mpi_world> world) : world_(std::move(world)) {}
  mpi_world& world() const { return *world_; }
  /// @endcond

private:
  std::shared_ptr<mpi_world> world_;
};

/// @}

} // namespace troupe
