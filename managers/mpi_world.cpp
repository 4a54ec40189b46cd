#include "troupe/managers/mpi_world.hpp"

namespace troupe {

std::map<int, proc_id> mpi_world::ranks() const {
  std::lock_guard guard{mutex_};
  return ranks_;
}

std::optional<mpi_world::turn> mpi_world::begin(std::optional<detail::future_state::time_point> limit,
                                                const std::shared_ptr<detail::future_state>& cancelled) {
  std::unique_lock lock{mutex_};
  while (sending_ && !sending_->ready()) {
    std::vector<std::shared_ptr<detail::future_state>> ends{sending_};
    if (cancelled)
      ends.push_back(cancelled);
    lock.unlock();
    if (!detail::wait_for_any(ends, limit) || (cancelled && cancelled->ready()))
      return std::nullopt;
    lock.lock();
  }
  turn t;
  const auto mine = sending_ = std::make_shared<detail::future_state>();
  t.held = std::shared_ptr<void>{nullptr, [mine](void*) { mine->set_value({}); }};
  t.run.number = ++last_run_;
  t.run.communicator = communicator_;
  for (auto& [rank, id] : ranks_) {
    t.run.ranks.push_back(rank);
    t.procs.push_back(id);
  }
  return t;
}

std::optional<rank_group> mpi_world::group_of(const std::vector<proc_id>& procs) {
  if (!exchanging_ || survivable_ || procs.size() < 2)
    return std::nullopt;
  std::lock_guard guard{mutex_};
  std::map<proc_id, int> free;
  for (auto& [rank, id] : ranks_)
    free.emplace(id, rank);
  rank_group out;
  for (auto id : procs) {
    const auto found = free.extract(id);
    if (found.empty())
      return std::nullopt;
    out.ranks.push_back(found.mapped());
  }
  out.number = ++last_group_;
  return out;
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
