#pragma once

#include "troupe/transport/proc_id.hpp"

#include <boost/container/small_vector.hpp>

#include <cstdint>
#include <vector>

namespace troupe {

/// Who holds copies of a reference, as its owner knows it: for each pair of processes, how many times the first has handed a copy to the second, less those that
/// the second has given up. Who makes a reference has handed it to itself.
///
/// The two processes of a pair tell independently of each other, so that a count may be negative for a while, and may be 0 while there are copies: of one that is told of
/// late, and one that was given up early. But not all counts are 0 while there is a copy, or a frame with one on its way. What each process tells arrives in the order in
/// which it told it, and who hands a copy on tells of that before it gives its own up. Take the earliest handing-on that the owner hasn't heard of (if it has heard of
/// all, the counts are the truth). Who did it still held a copy then, whose end the owner can't have heard of either; but of all that this process had been handed until
/// then it has heard: the count of the pair that brought that copy is positive. Hence each count has to be 0 for the end, and not their sum: that may be 0 earlier.
///
/// A process that dies leaves three things unclear.
/// - It never tells what it hasn't told. The negative counts of what it handed on (given up, never told of) are forgotten, and so are all of what it held.
/// - What it told of may never have arrived. Each holder *settles*: once nothing of the dead arrives any more, it tells what it has left of its copies, which replaces the
///   count for good. The owner asks those for it whose counts of the dead are positive, and they say when they, too, know of the death.
/// - What it handed on and hadn't told of has no count. So holders settle without being asked what they have from the dead. Until that has come there may be no count at all:
///   what the dead has held, or was handed as the owner hears later, is kept for a while even if nobody seems to hold it (owned_references::mourning). This is the one
///   place where time decides: a copy that a process has from a dead one is lost if the owner hadn't heard from the dead that it was handed on, nobody else holds a copy, and
///   the owner hears of the holder's settling later than that.
///
/// The owner may hear of a death before or after the holders. If after, it first gets what they settle, and then perhaps what the dead has still told of the same
/// copies: that is ignored. A count that was settled as 0 is kept until then, but goes with the entry if all others are 0; what the dead has told then makes an entry anew,
/// which ends when the owner hears of the death and asks the holder. Copies from a third process have counts of their own and aren't concerned.
///
/// All this needs links that lose nothing between processes that live. What a mesh drops because a process that it never had a link to can't be reached is not made good.
class holder_counts {
public:
  /// `from_gone`: the first process has ended. What it hadn't told by then is never told.
  void add(proc_id from, proc_id holder, std::int64_t n, bool from_gone);

  /// What `holder` says that it has left of what a process that has ended handed to it: the truth, whatever that process tells, or has told. `from_gone`: it is
  /// known here, too, that it has ended.
  void settle(proc_id from, proc_id holder, std::int64_t left, bool from_gone);

  /// A process has ended. Returns whether that changed anything.
  bool forget(proc_id id);

  /// Who was handed copies by a process that has ended and hasn't settled that: it may never have got them.
  std::vector<proc_id> unsettled(proc_id from) const;

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
