#pragma once

#include "troupe/transport/proc_id.hpp"

#include <boost/container/small_vector.hpp>

#include <cstdint>
#include <vector>

namespace troupe {

/// Who holds copies of a reference, as its owner knows it: for each pair of processes, how many times the first has handed a copy to the second, less those that
/// the second has given up. Who makes a reference has handed it to itself.
///
/// The two processes of a pair tell independently of each other, so that a count may be negative for a while. But who hands a copy on tells the owner of it before it
/// gives its own up; hence as long as there is a copy anywhere, or a message about one on its way, some count isn't zero: the process that got the copy
/// in question from whom the owner has heard of it has a positive one, and so on back to the maker.
class holder_counts {
public:
  /// `from_gone`: the first process has ended. What it hadn't told by then is never told.
  void add(proc_id from, proc_id holder, std::int64_t n, bool from_gone);

  /// What `holder` says that it has left of what a process that has ended handed to it. Later tellings of that process are ignored.
  void settle(proc_id from, proc_id holder, std::int64_t left);

  /// A process has ended. Returns whether that changed anything.
  bool forget(proc_id id);

  /// Whether no copy is left.
  bool none() const;

  /// Those that hold copies, in ascending order.
  std::vector<proc_id> holders() const;

private:
  struct cell {
    proc_id from;
    proc_id holder;
    std::int64_t n : 63;
    bool settled : 1;
  };

  cell& at(proc_id from, proc_id holder);

  boost::container::small_vector<cell, 1> cells_;
};

} // namespace troupe
