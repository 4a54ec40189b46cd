#include "troupe/managers/mpi_manager.hpp"

#include "troupe/managers/mpirun_manager.hpp"

#include <algorithm>

namespace troupe {

mpi_options::operator launch_options() const {
  launch_options out;
  out.exename = exename;
  out.exeflags = exeflags;
  out.dir = dir;
  out.env = env;
  out.bind_addr = bind_addr;
  out.launch_timeout = launch_timeout;
  out.threads = threads;
  return out;
}

mpi_manager::mpi_manager(mpi_options options) : world_(std::make_shared<mpirun_manager>(std::move(options))) {}

std::map<int, proc_id> mpi_manager::mpi_to_proc() const { return world_->ranks(); }

std::map<proc_id, int> mpi_manager::proc_to_mpi() const {
  std::map<proc_id, int> out;
  for (auto& [rank, id] : world_->ranks())
    out[id] = rank;
  return out;
}

std::vector<proc_id> mpi_manager::procs() const {
  std::vector<proc_id> out;
  for (auto& [id, rank] : proc_to_mpi())
    out.push_back(id);
  return out;
}

std::vector<int> mpi_manager::mpi_procs() const {
  std::vector<int> out;
  for (auto& [rank, id] : world_->ranks())
    out.push_back(rank);
  return out;
}

mpi_manager::operator std::shared_ptr<cluster_manager>() const { return world_; }

} // namespace troupe
