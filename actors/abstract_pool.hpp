#pragma once

#include "troupe/transport/proc_id.hpp"

#include <cstddef>
#include <optional>
#include <vector>

namespace troupe {

/// @addtogroup loops
/// @{

/// Who decides which worker is taken next, if it isn't the one that has been idle for longest: derive from it, and make a pool of it with
/// worker_pool{c, std::make_shared<my_pool>(…)}. It is used wherever a pool is, from any process.
///
/// Its functions run on the process where the pool was made, one at a time, in turns like tasks. They don't wait: who takes while there's
/// nobody idle is tried again, in the order of asking, after every call that may have changed something. What they throw, the asker gets.
class abstract_pool {
public:
  virtual ~abstract_pool() = default;

  /// Takes an idle member out and returns it; nothing if there's none now.
  virtual std::optional<proc_id> take() = 0;

  /// Gives a member back that was taken. An id that isn't a member, or isn't out, is to be ignored.
  virtual void put(proc_id id) = 0;

  /// A new member, or another slot of one that is there.
  virtual void push(proc_id id) = 0;

  /// All members, idle or not.
  virtual std::vector<proc_id> members() const = 0;

  /// Those that `take` may return now.
  virtual std::vector<proc_id> idle() const = 0;

  /// Whether `take` would return a member now. By default: whether any is idle.
  virtual bool isready() const { return !idle().empty(); }

  /// How many members there are.
  virtual std::size_t size() const { return members().size(); }

  /// The process of a member has gone: it should be neither taken nor listed any more. Whoever doesn't see to that here is asked again when
  /// it gives a dead one, and the pool lists live members only.
  virtual void lost(proc_id) {}
};

/// @}

} // namespace troupe
