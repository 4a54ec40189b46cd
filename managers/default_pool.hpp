#pragma once

#include "troupe/actors/worker_pool.hpp"

#include <functional>
#include <mutex>
#include <vector>

namespace troupe {

/// The pool that work is spread over unless another is given: all workers, or what was set in its place. On the master; made when it is first asked for. Any thread.
class default_pool {
public:
  /// `workers`: those that there are; those of whom `joined` is told later may be among them.
  explicit default_pool(std::function<std::vector<proc_id>()> workers) : workers_(std::move(workers)) {}

  worker_pool get();
  void set(worker_pool pool);
  /// It goes on when another is set, so that it can be set again.
  void joined(const std::vector<proc_id>& ids);

private:
  const worker_pool& all();

  const std::function<std::vector<proc_id>()> workers_;
  std::mutex mutex_; // guards both
  worker_pool all_;
  worker_pool set_;
};

} // namespace troupe
