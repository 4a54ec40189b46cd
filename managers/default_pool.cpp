#include "troupe/managers/default_pool.hpp"

#include <utility>

namespace troupe {

// Needs mutex_. Who joins in this moment is told to `joined` when it is one of the workers, which comes behind this, or finds the pool.
const worker_pool& default_pool::all() {
  if (!all_.valid()) {
    auto made = worker_pool::standing_for(master_id);
    made.join(workers_());
    all_ = std::move(made);
  }
  return all_;
}

worker_pool default_pool::get() {
  std::lock_guard guard{mutex_};
  return set_.valid() ? set_ : all();
}

void default_pool::set(worker_pool pool) {
  std::lock_guard guard{mutex_};
  std::swap(set_, pool); // the end of the other comes after the lock's
}

void default_pool::joined(const std::vector<proc_id>& ids) {
  worker_pool all;
  {
    std::lock_guard guard{mutex_};
    all = all_;
  }
  if (all.valid())
    all.join(ids);
}

} // namespace troupe
