#pragma once

#include "troupe/transport/proc_id.hpp"

#include <caf/actor_control_block.hpp>
#include <caf/message_id.hpp>

#include <array>
#include <mutex>
#include <unordered_map>
#include <vector>

namespace troupe {

/// The requests of this process's actors that went to other processes and haven't been answered: when a process is lost,
/// these are answered with an error in its place. An entry ends with its answer, or with the actor that asked.
///
/// Any thread. Locking: one mutex for each shard; nothing else is locked while it is held.
class open_requests {
public:
  struct entry {
    caf::actor_id asker;
    caf::message_id id;
    proc_id to;
  };

  /// Returns true for the first request of an actor: the caller then sees to it that `forget` is called when it ends.
  bool add(caf::actor_id asker, caf::message_id id, proc_id to);
  /// A response has come.
  void answered(caf::actor_id asker, caf::message_id response);
  /// The request has been handed on to an actor of another process, which will answer. False if it's no longer open.
  bool moved(caf::actor_id asker, caf::message_id id, proc_id to);
  /// The actor has ended.
  void forget(caf::actor_id asker);
  /// Ends all requests to one process, and returns them.
  std::vector<entry> take_all(proc_id to);

private:
  struct request {
    caf::message_id id;
    proc_id to;
  };

  struct shard {
    std::mutex mutex;
    std::unordered_map<caf::actor_id, std::unordered_map<std::uint64_t, request>> by_asker;
  };

  shard& shard_of(caf::actor_id asker) { return shards_[asker % shards_.size()]; }

  std::array<shard, 16> shards_;
};

} // namespace troupe
