#pragma once

#include "troupe/transport/proc_id.hpp"

#include <map>
#include <vector>

namespace troupe {

/// Processes that get the same from one another: the first, and those to whom it is to pass it on.
struct spread_branch {
  proc_id first = 0;
  std::vector<proc_id> others;
};

/// Two branches with about half of the processes each; fewer if there are fewer.
std::vector<spread_branch> branches_of(const std::vector<proc_id>& ids);

/// Who gets something large from whom: from the master down a tree in which each passes it on to two, so that the master sends it twice, however
/// many there are.
class spread_tree {
public:
  /// These get it from the master now: the branches that it has to send. One that was to get it from another before doesn't any more.
  std::vector<spread_branch> add(const std::vector<proc_id>& ids);

  /// From whom a process is to get it; the master if it isn't in the tree.
  proc_id sender_of(proc_id id) const;

  /// Those that get it by way of a process, at any distance.
  std::vector<proc_id> below(proc_id id) const;

private:
  void add_branches(proc_id from, const std::vector<spread_branch>& branches);

  std::map<proc_id, proc_id> sender_;
};

} // namespace troupe
