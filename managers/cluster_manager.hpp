#pragma once

#include "troupe/managers/options.hpp"
#include "troupe/transport/error.hpp"
#include "troupe/transport/proc_id.hpp"

#include <any>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace troupe {

/// @addtogroup managers
/// @{

/// A worker as its manager sees it.
struct worker_config {
  /// Where it can be reached, a numeric address; of one that dials the master (`claim`), its host's name.
  std::string host;
  /// 0: it has none, because it dials the master or because of what its transport is.
  std::uint16_t port = 0;
  /// The manager's own note of the address that the worker was told to listen at; troupe doesn't look at it.
  std::string bind_addr;
  /// How many workers there shall be in its place: the others are started by this one, once it has joined, with exename (empty: the same
  /// program) and exeflags, and end with it. 0: one for each logical CPU of its host.
  int count = 1;
  /// The program of the others in its place; see `count`.
  std::string exename;
  /// Their arguments, in front of those that make them workers.
  std::vector<std::string> exeflags;
  /// Its number in its operating system; 0: unknown.
  std::int64_t os_pid = 0;
  /// In a custom topology: the number that stands for it.
  int ident = 0;
  /// The numbers of those workers that it is to have links to. A pair has a link if one of the two names the other.
  std::vector<int> connect_idents;
  /// The manager's own: found again in every call about this worker.
  std::any userdata;
  /// Not empty: the worker dials the master, instead of the other way round, and says this, which must be a secret.
  std::string claim;
  /// Whether host and port lead to it from the master only. Other workers reach it by way of the master, unless they can dial it where it
  /// listens.
  bool through_master = false;
  /// addprocs returns those whose place is lower first.
  int place = 0;
};

/// What happens to a worker, for its manager.
enum class manage_op {
  /// It has joined; comes before addprocs returns.
  registered,
  /// It has left or died; comes once for each that was registered.
  deregistered,
  /// Its tasks are to be interrupted.
  interrupt,
  /// The cluster ends.
  finalize,
};

/// Where a manager reports what it has started.
class launch_sink {
public:
  virtual ~launch_sink() = default;

  /// A worker listens at config.host:config.port and knows the cookie. It is set up at once, while launch goes on. Any thread.
  virtual void launched(worker_config config) = 0;

  /// A worker didn't come. Any thread.
  virtual void failed(launch_failure why) = 0;
};

/// Starts and ends worker processes, somewhere. Implement it to bring processes from where troupe doesn't know how to.
class cluster_manager {
public:
  virtual ~cluster_manager() = default;

  /// Starts workers and reports each to the sink. Runs on the thread that called addprocs and may block, no longer than
  /// options.launch_timeout. addprocs throws what it throws.
  virtual void launch(const launch_options& options, launch_sink& sink) = 0;

  /// Starts one worker in the place of one that was lost, as `launch` does: see launch_options::respawn. By default it throws usage_error.
  virtual void relaunch(const worker_config& lost, const launch_options& options, launch_sink& sink);

  /// Called for each of its workers, on no particular thread; must not block.
  virtual void manage(proc_id, const worker_config&, manage_op) {}

  /// Sees to it that a worker ends: it has been asked to leave this moment, and should be given the time to. By default there is
  /// nothing that can be done. Must not block.
  virtual void kill(proc_id, const worker_config&) {}

  /// Ends a worker that has been declared lost, and may live or not: it can't be asked, and nothing that it does counts any more. By
  /// default the same as kill. Must not block.
  virtual void lost(proc_id id, const worker_config& config) { kill(id, config); }

  /// Has `ended` called once when the worker's process has ended, with how, on any thread; returns whether it will be. By default it
  /// isn't, and the end of a worker is known from the end of its link alone.
  virtual bool watch(proc_id, const worker_config&, std::function<void(exit_cause)>) { return false; }

  /// What addprocs starts from.
  virtual launch_options default_options() const { return {}; }
};

/// @}

} // namespace troupe
