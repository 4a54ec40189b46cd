#pragma once

#include "troupe/managers/options.hpp"
#include "troupe/managers/process_info.hpp"
#include "troupe/transport/error.hpp"
#include "troupe/transport/tcp.hpp"

#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <utility>
#include <vector>

namespace troupe {

/// Which processes of a cluster have links, and when these open.
struct cluster_form {
  topology which = topology::all_to_all;
  bool lazy = true;

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, cluster_form& x) {
    return f(x.which, x.lazy);
  }
};

/// A worker's place in a custom topology, see worker_config.
struct place_in_topology {
  int ident = 0;
  std::vector<int> connect_idents;

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, place_in_topology& x) {
    return f(x.ident, x.connect_idents);
  }
};

/// A process as the master tells others of it.
struct member {
  proc_id id = 0;
  endpoint where;
  /// Within it, loopback addresses mean the same; see mesh::add.
  std::uint64_t scope = 0;
  place_in_topology place;
  process_info info;
  std::uint64_t node_actor = 0;
  /// The worker whose place it has taken, which was lost; 0: nobody's.
  proc_id replaces = 0;

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, member& x) {
    return f(x.id, x.where, x.scope, x.place, x.info, x.node_actor, x.replaces);
  }
};

/// Whether there may be a direct link between two members.
bool may_link(const cluster_form& form, const member& a, const member& b);

/// What the master sends when processes have come or gone.
struct membership_change {
  /// Rises by one with each change.
  std::uint64_t version = 0;
  std::vector<member> joined;
  /// They stay, and get no new work.
  std::vector<proc_id> draining;
  std::vector<std::pair<proc_id, error_info>> left;

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, membership_change& x) {
    return f(x.version, x.joined, x.draining, x.left);
  }
};

/// Who belongs to the cluster, as far as this process knows. Ids are in ascending order everywhere. Any thread.
class membership {
public:
  /// All that belong, the master included.
  std::vector<proc_id> procs() const;
  /// All but the master, and those that are drained; the master if there's no other.
  std::vector<proc_id> workers() const;
  /// The workers that `may` be called, in turn; the master if there's none.
  proc_id next_worker(const std::function<bool(proc_id)>& may);
  std::optional<member> find(proc_id id) const;
  /// Those that get no new work.
  std::vector<proc_id> draining() const;
  /// Those on the host of `id`.
  std::vector<proc_id> on_host_of(proc_id id) const;
  /// Those that have left, too.
  std::optional<process_info> info(proc_id id) const;
  std::vector<member> all() const;

  void add(member m);
  /// It is to get no new work.
  void set_draining(proc_id id);
  /// The process no longer belongs, but is still there.
  void set_terminating(proc_id id);
  void remove(proc_id id, exit_cause cause);

private:
  mutable std::mutex mutex_;
  std::map<proc_id, member> members_;
  std::set<proc_id> draining_;
  std::map<proc_id, process_info> gone_;
  std::uint64_t turn_ = 0;
};

} // namespace troupe
