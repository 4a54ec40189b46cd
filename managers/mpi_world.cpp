#include "troupe/managers/mpi_world.hpp"

namespace troupe {

std::map<int, proc_id> mpi_world::ranks() const {
  std::lock_guard guard{mutex_};
  return ranks_;
}

mpi_world::turn mpi_world::begin() {
  turn t;
  t.lock = std::unique_lock{running_};
  std::lock_guard guard{mutex_};
  t.run.number = ++last_run_;
  t.run.communicator = communicator_;
  for (auto& [rank, id] : ranks_) {
    t.run.ranks.push_back(rank);
    t.procs.push_back(id);
  }
  return t;
}

void mpi_world::in_disorder() {
  std::lock_guard guard{mutex_};
  ++communicator_;
}

void mpi_world::add(int rank, proc_id id) {
  std::lock_guard guard{mutex_};
  ranks_[rank] = id;
  ++communicator_;
}

void mpi_world::remove(proc_id id) {
  std::lock_guard guard{mutex_};
  if (std::erase_if(ranks_, [id](auto& r) { return r.second == id; }) != 0)
    ++communicator_;
}

} // namespace troupe
