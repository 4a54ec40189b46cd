#pragma once

#include "troupe/managers/process_info.hpp"
#include "troupe/transport/error.hpp"
#include "troupe/transport/tcp.hpp"

#include <map>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

namespace troupe {

/// A process as the master tells others of it.
struct member {
  proc_id id = 0;
  endpoint where;
  process_info info;
  std::uint64_t node_actor = 0;

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, member& x) {
    return f(x.id, x.where, x.info, x.node_actor);
  }
};

/// What the master sends when processes have come or gone.
struct membership_change {
  /// Rises by one with each change.
  std::uint64_t version = 0;
  std::vector<member> joined;
  std::vector<std::pair<proc_id, error_info>> left;

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, membership_change& x) {
    return f(x.version, x.joined, x.left);
  }
};

/// Who belongs to the cluster, as far as this process knows. Ids are in ascending order everywhere. Any thread.
class membership {
public:
  /// All that belong, the master included.
  std::vector<proc_id> procs() const;
  /// All but the master; the master if there's no other.
  std::vector<proc_id> workers() const;
  /// The workers in turn; the master if there's none.
  proc_id next_worker();
  std::optional<member> find(proc_id id) const;
  /// Those on the host of `id`.
  std::vector<proc_id> on_host_of(proc_id id) const;
  /// Those that have left, too.
  std::optional<process_info> info(proc_id id) const;
  std::vector<member> all() const;

  void add(member m);
  /// The process no longer belongs, but is still there.
  void set_terminating(proc_id id);
  void remove(proc_id id, exit_cause cause);

private:
  mutable std::mutex mutex_;
  std::map<proc_id, member> members_;
  std::map<proc_id, process_info> gone_;
  std::uint64_t turn_ = 0;
};

} // namespace troupe
