#pragma once

#include "troupe/actors/begin_call.hpp"
#include "troupe/actors/cached_call.hpp"
#include "troupe/actors/call.hpp"
#include "troupe/actors/call_options.hpp"
#include "troupe/actors/collectives.hpp"
#include "troupe/actors/future.hpp"
#include "troupe/actors/local_task.hpp"
#include "troupe/actors/loops.hpp"
#include "troupe/actors/named.hpp"
#include "troupe/actors/pmap.hpp"
#include "troupe/actors/rank_collectives.hpp"
#include "troupe/actors/reference_info.hpp"
#include "troupe/actors/remote_channel.hpp"
#include "troupe/actors/shared.hpp"
#include "troupe/actors/sync.hpp"
#include "troupe/actors/task.hpp"
#include "troupe/actors/worker_pool.hpp"
#include "troupe/managers/cluster_manager.hpp"
#include "troupe/managers/machine_spec.hpp"
#include "troupe/managers/options.hpp"
#include "troupe/managers/process_info.hpp"
#include "troupe/transport/actor_codec.hpp"
#include "troupe/transport/error.hpp"

#include <caf/actor.hpp>
#include <caf/fwd.hpp>

#include <array>
#include <chrono>
#include <concepts>
#include <exception>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace troupe {

class array_extents;
class master;
class mpi_manager;
class placement;
class process;

/// @addtogroup calls
/// @{

/// What `any` is.
struct any_t {};

/// As the place of a call: the workers that may be called from here, in turn, whatever they are busy with; the master if there are none.
inline constexpr any_t any{};

/// Where a call goes: to a process, to any worker, or to a member of a pool, which it takes when the call is made, and for which it may
/// block.
class target {
public:
  /// To this process.
  target(proc_id id) : id_(id) { // NOLINT: implicit
  }
  /// To the worker whose turn it is.
  target(any_t) : any_(true) { // NOLINT: implicit
  }
  /// To a member of the pool.
  target(const worker_pool& pool) : in_pool_(true), pool_(pool) { // NOLINT: implicit
  }

  /// Whether it was made from `any`.
  bool is_any() const { return any_; }

  /// The pool, which lives as long as this does; null if it isn't one.
  const worker_pool* pool() const { return in_pool_ ? &pool_ : nullptr; }

  /// The process; means nothing if it is `any`, or a pool.
  proc_id id() const { return id_; }

private:
  proc_id id_ = 0;
  bool any_ = false;
  bool in_pool_ = false;
  worker_pool pool_;
};

/// @}

/// The cluster as seen from one of its processes. All functions may be called from any thread but the event loop's; those that block
/// say so, give the turn of a task away meanwhile, and throw `interrupted` when the user presses Ctrl-C. Those that are for the master only
/// throw usage_error elsewhere.
///
/// Functions that are called on other processes are `F` below. It is a lambda without captures, or one whose captures are trivially
/// copyable and hold no addresses; troupe::with(values…, f); a function object that CAF can inspect; troupe::fn<f>; troupe::bytes(f);
/// and troupe::direct of these. Arguments are converted to F's parameter types here, and copied.
/// @ingroup applications
class cluster {
  template <class F>
  static constexpr bool callable_everywhere =
    !std::convertible_to<F, std::vector<proc_id>> && !std::integral<std::remove_cvref_t<F>>
    && !std::same_as<std::remove_cvref_t<F>, call_options> && !std::derived_from<std::remove_cvref_t<F>, worker_pool>;

public:
  cluster(const cluster&) = delete;
  cluster& operator=(const cluster&) = delete;

  /// @name Processes
  /// @{

  /// This process's id; 1 on the master.
  proc_id myid() const;
  /// How many processes there are, the master included.
  int nprocs() const;
  /// How many workers there are; 1 with the master alone, which then counts as one.
  int nworkers() const;
  /// All processes, in ascending order.
  std::vector<proc_id> procs() const;
  /// Those on the host of `id`. Throws unknown_process.
  std::vector<proc_id> procs(proc_id id) const;
  /// All but the master, in ascending order; the master if there's no other.
  std::vector<proc_id> workers() const;

  /// Starts workers on this host, one for each logical CPU, and blocks until they have joined and every process knows them.
  /// Returns their ids, in ascending order. Master only.
  /// Throws launch_error if some don't come (unless options.partial; those that came stay), usage_error for bad options.
  std::vector<proc_id> addprocs(local_options options = {});
  /// Starts `np` workers on this host; else as above. Throws usage_error if `np` is negative.
  std::vector<proc_id> addprocs(int np, local_options options = {});
  /// Starts workers on hosts that are reached by ssh, in parallel; see docs/ssh.md. Returns the ids in the order of the machines. Throws
  /// usage_error, before anything is started, for a machine or an option that makes no sense; launch_error names each host that failed, and
  /// why.
  std::vector<proc_id> addprocs(std::initializer_list<machine_spec> machines, ssh_options options = {});
  /// The same of a vector, such as read_hostfile gives.
  std::vector<proc_id> addprocs(const std::vector<machine_spec>& machines, ssh_options options = {});
  /// Starts workers by a manager of one's own, which is kept as long as its workers live; blocks until they have joined, or launch has
  /// reported why not. Master only. Throws as above, and what the manager's `launch` throws.
  std::vector<proc_id> addprocs(std::shared_ptr<cluster_manager> manager);
  /// The same with these options in place of the manager's default ones.
  std::vector<proc_id> addprocs(std::shared_ptr<cluster_manager> manager, launch_options options);

  /// What `addprocs` does, in the background: the future has their ids, or the error. When it is cancelled, those that haven't joined yet
  /// are given up. Master only.
  future<std::vector<proc_id>> addprocs_async(local_options options = {});
  /// What `addprocs(np, options)` does, in the background.
  future<std::vector<proc_id>> addprocs_async(int np, local_options options = {});
  /// What `addprocs(machines, options)` does, in the background.
  future<std::vector<proc_id>> addprocs_async(std::initializer_list<machine_spec> machines, ssh_options options = {});
  /// What `addprocs(machines, options)` does, in the background.
  future<std::vector<proc_id>> addprocs_async(const std::vector<machine_spec>& machines, ssh_options options = {});
  /// What `addprocs(manager)` does, in the background.
  future<std::vector<proc_id>> addprocs_async(std::shared_ptr<cluster_manager> manager);
  /// What `addprocs(manager, options)` does, in the background.
  future<std::vector<proc_id>> addprocs_async(std::shared_ptr<cluster_manager> manager, launch_options options);

  /// Asks workers to leave, and blocks until their processes are gone. They no longer count from the start, and what they were working
  /// on ends with process_exited. The master and ids that aren't workers' are warned about on stderr and skipped. Master only.
  void rmprocs(const std::vector<proc_id>& ids);
  /// The same of one worker.
  void rmprocs(proc_id id) { rmprocs(std::vector<proc_id>{id}); }
  /// The same, but throws timeout_error, with the ids that are still there, after `limit`; they go on leaving.
  template <class Rep, class Period>
  void rmprocs(const std::vector<proc_id>& ids, std::chrono::duration<Rep, Period> limit) {
    remove_within(ids, std::chrono::ceil<std::chrono::milliseconds>(detail::clamped(limit)));
  }

  /// Asks workers to leave: when this returns, they no longer count. The future is ready when their processes are gone. Master only.
  future<void> rmprocs_async(const std::vector<proc_id>& ids);
  /// The same of one worker.
  future<void> rmprocs_async(proc_id id) { return rmprocs_async(std::vector<proc_id>{id}); }

  /// Gives workers no new work: they are none of `workers` any more, pools do without them, and calls to them throw process_exited, but for
  /// direct functions; what lives there can still be used. Blocks until all that they had before has been done, or they are gone. Usually
  /// rmprocs comes next. The master and ids that aren't workers' are warned about on stderr and skipped. Master only.
  void drain(const std::vector<proc_id>& ids);
  /// The same of one worker.
  void drain(proc_id id) { drain(std::vector<proc_id>{id}); }
  /// The same, but throws timeout_error, with the ids that still have something to do, after `limit`; they go on with it, and get nothing
  /// new.
  template <class Rep, class Period>
  void drain(const std::vector<proc_id>& ids, std::chrono::duration<Rep, Period> limit) {
    drain_within(ids, std::chrono::ceil<std::chrono::milliseconds>(detail::clamped(limit)));
  }

  /// Has `handler` called with each line that a worker writes to stdout or stderr, without its end, instead of having it printed. On a
  /// thread of its own, or in tasks for ranks of the master's own MPI job, one line at a time; while it blocks, workers that write are slowed
  /// down. Null: printing again. Master only.
  void on_output(std::function<void(proc_id, std::string_view)> handler);

  /// What is known of a process, also of one that is gone. Throws unknown_process.
  process_info info(proc_id id) const;

  /// The direct links: on the master all of the cluster, each once (asks every worker and blocks, 5 s at most); on a worker its own.
  std::vector<link_info> links() const;

  /// What lives on a process and is referred to from anywhere, futures, channels, pools, and who holds them. Asks it, and blocks.
  std::vector<reference_info> references(proc_id id) const;

  /// What each process has sent, received and run, and who waits for whom, in the order of their ids: on the master of the whole
  /// cluster (asks every worker and blocks, 5 s at most; one that doesn't answer is left out); on a worker its own.
  std::vector<process_statistics> statistics() const;

  /// What a process needs to know to become one of this cluster: 1 to 16 printable characters.
  std::string cookie() const;
  /// Sets it. Master only, and only before the first worker: else throws usage_error, as for what is no cookie.
  void cookie(const std::string& value);

  /// @}

  /// @name Remote calls
  /// All throw at once: unknown_process for an id that was never given, process_exited for one that is gone, not_serializable if
  /// function or arguments can't be sent (nothing is sent then), usage_error outside of app::run.
  ///
  /// All take call_options in front of their arguments, a deadline or a token or both: past the deadline the call ends with
  /// deadline_exceeded, when the token is cancelled with `cancelled`, wherever it is: on its way, queued, or running, where its task is
  /// told. A future becomes ready with that error; what blocks, and remote_do while it sends, throws it.
  ///
  /// All take a worker_pool as the place: they take one of its members, for which they block as worker_pool::take does, within the call's
  /// deadline, and give it back when the call has ended, whichever way and whether anybody waits for that or not; remote_do does as soon as
  /// the call is sent. A call that was given up by its caller has ended then.
  /// @{

  /// Calls F on a process and returns at once.
  template <class F, class... Args>
  auto remotecall(target where, F&& f, Args&&... args) {
    return begin({.flags = detail::call_kept}, resolve(where), std::forward<F>(f), std::forward<Args>(args)...);
  }
  /// The same with a deadline or a token.
  template <class F, class... Args>
  auto remotecall(const call_options& options, target where, F&& f, Args&&... args) {
    return begin({.flags = detail::call_kept, .options = &options}, resolve(where, &options), std::forward<F>(f),
                 std::forward<Args>(args)...);
  }
  /// The same of a function that is named as template argument: `c.remotecall<simulate>(where, args…)`.
  template <auto F, class... Args>
  auto remotecall(target where, Args&&... args) {
    return begin({.flags = detail::call_kept}, resolve(where), fn<F>, std::forward<Args>(args)...);
  }
  /// The same of a function that is named as template argument, with a deadline or a token.
  template <auto F, class... Args>
  auto remotecall(const call_options& options, target where, Args&&... args) {
    return begin({.flags = detail::call_kept, .options = &options}, resolve(where, &options), fn<F>, std::forward<Args>(args)...);
  }

  /// Calls F, and blocks until it has returned. Throws what it failed with. The future is ready.
  template <class F, class... Args>
  auto remotecall_wait(target where, F&& f, Args&&... args) {
    return wait_for_call(nullptr, where, std::forward<F>(f), std::forward<Args>(args)...);
  }
  /// The same with a deadline or a token.
  template <class F, class... Args>
  auto remotecall_wait(const call_options& options, target where, F&& f, Args&&... args) {
    return wait_for_call(&options, where, std::forward<F>(f), std::forward<Args>(args)...);
  }
  /// The same of a function that is named as template argument: `c.remotecall_wait<simulate>(where, args…)`.
  template <auto F, class... Args>
  auto remotecall_wait(target where, Args&&... args) {
    return wait_for_call(nullptr, where, fn<F>, std::forward<Args>(args)...);
  }
  /// The same of a function that is named as template argument, with a deadline or a token.
  template <auto F, class... Args>
  auto remotecall_wait(const call_options& options, target where, Args&&... args) {
    return wait_for_call(&options, where, fn<F>, std::forward<Args>(args)...);
  }

  /// Calls F, and blocks until its result is here. Throws what it failed with. One message each way.
  template <class F, class... Args>
  auto remotecall_fetch(target where, F&& f, Args&&... args) {
    return fetch_call(nullptr, where, std::forward<F>(f), std::forward<Args>(args)...);
  }
  /// The same with a deadline or a token.
  template <class F, class... Args>
  auto remotecall_fetch(const call_options& options, target where, F&& f, Args&&... args) {
    return fetch_call(&options, where, std::forward<F>(f), std::forward<Args>(args)...);
  }
  /// The same of a function that is named as template argument: `c.remotecall_fetch<simulate>(where, args…)`.
  template <auto F, class... Args>
  auto remotecall_fetch(target where, Args&&... args) {
    return fetch_call(nullptr, where, fn<F>, std::forward<Args>(args)...);
  }
  /// The same of a function that is named as template argument, with a deadline or a token.
  template <auto F, class... Args>
  auto remotecall_fetch(const call_options& options, target where, Args&&... args) {
    return fetch_call(&options, where, fn<F>, std::forward<Args>(args)...);
  }

  /// Calls F; nobody hears of its end. An exception is printed on stderr there.
  template <class F, class... Args>
  void remote_do(target where, F&& f, Args&&... args) {
    begin({.flags = detail::call_no_reply}, resolve(where), std::forward<F>(f), std::forward<Args>(args)...);
  }
  /// The same with a deadline or a token.
  template <class F, class... Args>
  void remote_do(const call_options& options, target where, F&& f, Args&&... args) {
    begin({.flags = detail::call_no_reply, .options = &options}, resolve(where, &options), std::forward<F>(f), std::forward<Args>(args)...);
  }
  /// The same of a function that is named as template argument: `c.remote_do<simulate>(where, args…)`.
  template <auto F, class... Args>
  void remote_do(target where, Args&&... args) {
    remote_do(where, fn<F>, std::forward<Args>(args)...);
  }
  /// The same of a function that is named as template argument, with a deadline or a token.
  template <auto F, class... Args>
  void remote_do(const call_options& options, target where, Args&&... args) {
    remote_do(options, where, fn<F>, std::forward<Args>(args)...);
  }

  /// The same as remotecall.
  template <class F, class... Args>
  auto spawnat(target where, F&& f, Args&&... args) {
    return remotecall(where, std::forward<F>(f), std::forward<Args>(args)...);
  }
  /// The same with a deadline or a token.
  template <class F, class... Args>
  auto spawnat(const call_options& options, target where, F&& f, Args&&... args) {
    return remotecall(options, where, std::forward<F>(f), std::forward<Args>(args)...);
  }
  /// The same of a function that is named as template argument: `c.spawnat<simulate>(where, args…)`.
  template <auto F, class... Args>
  auto spawnat(target where, Args&&... args) {
    return remotecall(where, fn<F>, std::forward<Args>(args)...);
  }
  /// The same of a function that is named as template argument, with a deadline or a token.
  template <auto F, class... Args>
  auto spawnat(const call_options& options, target where, Args&&... args) {
    return remotecall(options, where, fn<F>, std::forward<Args>(args)...);
  }

  /// Calls F on every process, the master too, all at once, and blocks until all have returned. Throws composite_error with the errors of
  /// those that failed, in the order of their ids.
  template <class F, class... Args>
    requires callable_everywhere<F>
  void everywhere(F&& f, Args&&... args) {
    call_all(nullptr, procs(), std::forward<F>(f), std::forward<Args>(args)...);
  }
  /// The same with a deadline or a token.
  template <class F, class... Args>
    requires callable_everywhere<F>
  void everywhere(const call_options& options, F&& f, Args&&... args) {
    call_all(&options, procs(), std::forward<F>(f), std::forward<Args>(args)...);
  }
  /// The same on these processes; on one that is listed twice it is called twice.
  template <class F, class... Args>
  void everywhere(const std::vector<proc_id>& ids, F&& f, Args&&... args) {
    call_all(nullptr, ids, std::forward<F>(f), std::forward<Args>(args)...);
  }
  /// The same with a deadline or a token.
  template <class F, class... Args>
  void everywhere(const call_options& options, const std::vector<proc_id>& ids, F&& f, Args&&... args) {
    call_all(&options, ids, std::forward<F>(f), std::forward<Args>(args)...);
  }
  /// On one process: its result, its own error.
  template <class F, class... Args>
  auto everywhere(proc_id id, F&& f, Args&&... args) {
    return remotecall_fetch(id, std::forward<F>(f), std::forward<Args>(args)...);
  }
  /// The same with a deadline or a token.
  template <class F, class... Args>
  auto everywhere(const call_options& options, proc_id id, F&& f, Args&&... args) {
    return remotecall_fetch(options, id, std::forward<F>(f), std::forward<Args>(args)...);
  }

  /// Ends the tasks that have begun on these processes, all at once: each of their waits throws `interrupted`, the one in progress too, as
  /// this_task::check does, and blocking MPI calls of mpi_do do. Their callers get it bare. A task that neither waits nor checks goes on;
  /// after 0.2 s its caller is told so, and other tasks get its turn. What is queued, and what comes later, runs; a process that runs
  /// nothing isn't touched. Blocks until all have been told. Master only. Throws unknown_process and process_exited, before any is told;
  /// those that exit meanwhile count as told.
  void interrupt(const std::vector<proc_id>& ids);
  /// Those of one process.
  void interrupt(proc_id id) { interrupt(std::vector<proc_id>{id}); }
  /// Those of all workers.
  void interrupt();

  /// @}

  /// @name Maps
  /// @{

  /// Calls F with each element of a range, or with those of several that stand at the same place, up to the end of the shortest, on the
  /// workers of a pool, and blocks for the results: std::vector<R> in the order of the elements, nothing if F returns nothing; an F that
  /// returns future<T> gives T. Options may follow the ranges, see pmap_options; call_options stand in front.
  ///
  ///     auto ys = c.pmap(F, xs);        auto zs = c.pmap(F, xs, ys, pmap_options<R>{.retry_delays = exponential_backoff{3}});
  ///
  /// A range is anything that can be walked once; one that is random-access isn't copied, and must stay as it is until the map ends.
  /// Workers get elements in batches of about a millisecond, and the next before the last is done. F travels once to each worker, with its
  /// captures and values; there it is called as const, or, if it can't be, a copy of it for each batch.
  ///
  /// The first error that on_error and retries don't handle stops the rest: what has begun is waited for, and then it is thrown, with the
  /// position of its element, item(); pmap_results tells what was done. A worker that dies costs time only: see resubmit. Throws no_workers
  /// if there is none, or none is left; usage_error for a range that changes its size. Workers that join the pool meanwhile take part. Past
  /// a deadline, or when its token is cancelled, or the thread interrupted, it throws at once, and tasks that run are told. Any process,
  /// any thread; nests.
  template <class F, class... Xs>
    requires(sizeof...(Xs) > 0 && !std::same_as<std::remove_cvref_t<F>, call_options>)
  auto pmap(F&& f, Xs&&... xs) {
    return map(nullptr, f, xs...);
  }
  /// The same with a deadline or a token.
  template <class F, class... Xs>
  auto pmap(const call_options& options, F&& f, Xs&&... xs) {
    return map(&options, f, xs...);
  }
  /// The same of a function that is named as template argument: `c.pmap<simulate>(xs)`.
  template <auto F, class... Xs>
    requires(!detail::begins_with_options<Xs...>)
  auto pmap(Xs&&... xs) {
    return map(nullptr, fn<F>, xs...);
  }
  /// The same with a deadline or a token.
  template <auto F, class... Xs>
  auto pmap(const call_options& options, Xs&&... xs) {
    return map(&options, fn<F>, xs...);
  }

  /// As `pmap`, but results are handed over, by the calling thread: c.pmap_each(F, xs, sink[, options]). A sink that takes a result gets
  /// them in the order of the elements, and no more than 64 MiB of results, or a few for each worker, wait for one before them; one that
  /// takes position and result gets them as they come. Of an F without results, it takes the position. What it throws ends the map.
  template <class F, class... Xs>
    requires(sizeof...(Xs) > 1 && !std::same_as<std::remove_cvref_t<F>, call_options>)
  void pmap_each(F&& f, Xs&&... xs) {
    map_each(nullptr, f, xs...);
  }
  /// The same with a deadline or a token.
  template <class F, class... Xs>
  void pmap_each(const call_options& options, F&& f, Xs&&... xs) {
    map_each(&options, f, xs...);
  }
  /// The same of a function that is named as template argument: `c.pmap_each<simulate>(xs, sink)`.
  template <auto F, class... Xs>
    requires(!detail::begins_with_options<Xs...>)
  void pmap_each(Xs&&... xs) {
    map_each(nullptr, fn<F>, xs...);
  }
  /// The same with a deadline or a token.
  template <auto F, class... Xs>
  void pmap_each(const call_options& options, Xs&&... xs) {
    map_each(&options, fn<F>, xs...);
  }

  /// @}

  /// @name Pools
  /// @{

  /// The pool that work is spread over unless another is given, the same for all processes: all workers, those too that join later; while
  /// there are none it stands for the master, which can be taken any number of times. Lives on the master. Elsewhere it is asked for, and
  /// that blocks.
  worker_pool default_worker_pool() const;
  /// Puts another pool in the default one's place, for all processes; one that was the default before can be set again. Blocks until the
  /// master has it. Throws usage_error for an empty one.
  void default_worker_pool(const worker_pool& pool);

  /// @}

  /// @name Data on every process
  /// @{

  /// A value that any process can use, without change, as a troupe::shared. It is copied, or moved, and stays here until it is used
  /// elsewhere. Doesn't block.
  template <class T>
  auto share(T&& value) {
    return shared<std::decay_t<T>>{std::decay_t<T>{std::forward<T>(value)}};
  }

  /// Gives every process a value of this name, in place of one that has it, which may be of another type; a process that joins later has it
  /// before it does anything. Blocks until all that live have it; read it with troupe::named<T>(name). May be called on any process, which
  /// asks the master by a task there; all processes have two values of one name in the same order. Encoded once, by the calling thread; a
  /// view (std::span, std::string_view) is defined as what owns its elements. A value of the same type that is encoded as the present one
  /// isn't sent. A large one is passed on from worker to worker; the master keeps it in encoded form. Throws not_serializable, and then
  /// nothing has changed.
  template <class T>
  void define(const std::string& name, const T& value) {
    using parameter = typename detail::plain_argument<const T&>::type;
    using held = typename detail::argument<parameter>::held;
    byte_buffer bytes;
    writer out{bytes, detail::process_codec()};
    try {
      detail::write_argument<parameter>(out, nullptr, value);
    } catch (const std::exception& e) {
      detail::throw_named_not_serializable(name, e);
    }
    define_encoded(name, detail::type_name<held>(), std::move(bytes));
  }

  /// Removes names from all workers; the master keeps its values. Workers that join later don't get them. Names that aren't defined are
  /// skipped. A task that has read one keeps it until it ends. Blocks until the workers have done so. On any process, as `define`.
  void undefine(const std::vector<std::string>& names);
  /// The same on these processes, the master among them if it is listed; workers that join later get them all the same. Processes that are
  /// gone are skipped; throws unknown_process for an id that was never given.
  void undefine(const std::vector<std::string>& names, const std::vector<proc_id>& ids);
  /// Removes one name from all workers.
  template <std::convertible_to<std::string> Name>
  void undefine(const Name& name) {
    undefine(std::vector<std::string>{name});
  }
  /// Removes one name from these processes.
  template <std::convertible_to<std::string> Name>
  void undefine(const Name& name, const std::vector<proc_id>& ids) {
    undefine(std::vector<std::string>{name}, ids);
  }

  /// Has F, which takes no arguments, run on every worker that joins from now on, when it has the named values, and before anything else
  /// runs there: before other processes know of it, and before addprocs returns it. Several run in the order of registration, each as a
  /// task; all of it counts against the launch timeout. They may call the master, which knows the worker by then. When one throws, the
  /// worker hasn't joined: it is ended, and addprocs throws launch_error (reason `refused`), whose text says which function threw what.
  /// Doesn't block. Master only. Throws not_serializable.
  template <class F>
  void on_join(F&& f) {
    using how = detail::call_form<std::decay_t<F>>;
    using task = detail::task_of<typename how::function>;
    require_master("on_join");
    byte_buffer bytes;
    writer out{bytes, detail::process_codec()};
    try {
      task::write_call(out, nullptr, how::get(f));
    } catch (const std::exception& e) {
      detail::throw_function_not_serializable(task::label(), e);
    }
    add_join_function(task::id(), how::flags, task::label(), std::move(bytes));
  }
  /// The same of a function that is named as template argument: `c.on_join<set_up>()`.
  template <auto F>
  void on_join() {
    on_join(fn<F>);
  }

  /// @}

  /// @name Loops
  /// All take loop_options in front of their arguments: they may be given to the workers in smaller shares, and survive the death of some.
  /// Workers run each share as one task, in which F is inlined; F and the operator travel once with each share. Loops may be nested, and
  /// run from tasks. With no workers the master does all.
  /// @{

  /// Calls F(i) for the integers from `first` on, without `last`, on the workers: contiguous shares, as many as there are workers, which
  /// get them in turn as with `any`. Returns at once. The ends are of any integer types; throws usage_error if one has no place in their
  /// common type. When F throws, its share ends; the future fails with composite_error, the errors of all shares that failed in the order
  /// of the range, as soon as the last has ended; at a limit with deadline_exceeded or `cancelled`. If the last copy of the future goes and
  /// nobody has seen its error, that is printed on stderr here. Cancelling the future stops all shares. With options.chunk, no share begins
  /// after one has failed.
  template <detail::index_type A, detail::index_type B, class F>
  future<void> distributed_for(A first, B last, F&& f) {
    return for_each_in({}, detail::range_of(first, last), std::forward<F>(f));
  }
  /// The same with options.
  template <detail::index_type A, detail::index_type B, class F>
  future<void> distributed_for(const loop_options& options, A first, B last, F&& f) {
    return for_each_in(options, detail::range_of(first, last), std::forward<F>(f));
  }
  /// The same with F(x) for the elements of any input range, which is walked once, before this returns. They are copied to the workers in
  /// shares; F gets each as const.
  template <detail::loop_range Xs, class F>
  future<void> distributed_for(Xs&& xs, F&& f) {
    return for_each_in({}, detail::range_of(std::forward<Xs>(xs), true), std::forward<F>(f));
  }
  /// The same with options. With `chunk` or `resubmit` the elements are copied here first.
  template <detail::loop_range Xs, class F>
  future<void> distributed_for(const loop_options& options, Xs&& xs, F&& f) {
    return for_each_in(options, detail::range_of(std::forward<Xs>(xs), !detail::sends_later(options)), std::forward<F>(f));
  }

  /// F(first) op F(first + 1) op …, without `last`, from left to right: `op` needs only be associative, and is applied once less than there
  /// are values. Share k is folded by the k-th worker in the order of ids, what that gives is folded here; if it is large (over 16 KiB), on
  /// the workers, down a tree, and only the result comes here. Blocks. A value behind the operator is put in front of all, once, and is the
  /// result of an empty range; without one, that throws empty_range. What F or `op` throws is thrown as remote_error: that of the first
  /// share that failed, when those in front of it have ended; the others are told to stop. Throws process_exited if a worker dies, unless
  /// options.resubmit has another one do its share.
  template <detail::index_type A, detail::index_type B, class F, class Op, class... Init>
  auto distributed_reduce(A first, B last, F&& f, const Op& op, Init&&... init) {
    return distributed_reduce(loop_options{}, first, last, std::forward<F>(f), op, std::forward<Init>(init)...);
  }
  /// The same with options.
  template <detail::index_type A, detail::index_type B, class F, class Op, class... Init>
  auto distributed_reduce(const loop_options& options, A first, B last, F&& f, const Op& op, Init&&... init) {
    return detail::reduce_range(options, loop_workers(options), detail::range_of(first, last), std::forward<F>(f), op,
                                std::forward<Init>(init)...);
  }
  /// The same with F(x) for the elements of any input range.
  template <detail::loop_range Xs, class F, class Op, class... Init>
  auto distributed_reduce(Xs&& xs, F&& f, const Op& op, Init&&... init) {
    return distributed_reduce(loop_options{}, std::forward<Xs>(xs), std::forward<F>(f), op, std::forward<Init>(init)...);
  }
  /// The same with options.
  template <detail::loop_range Xs, class F, class Op, class... Init>
  auto distributed_reduce(const loop_options& options, Xs&& xs, F&& f, const Op& op, Init&&... init) {
    return detail::reduce_range(options, loop_workers(options), detail::range_of(std::forward<Xs>(xs), true), std::forward<F>(f), op,
                                std::forward<Init>(init)...);
  }

  /// @}

  /// @name Collectives
  /// One process asks others, any of them and in any order, to do something together, and blocks until all have done their part; each runs
  /// its own as a task. One that is listed twice does it twice. Values and partial results go from process to process, down and up a tree.
  /// What F or an operator throws is thrown as remote_error, of several that of the first process in the list; throws process_exited if one
  /// of them dies, and then others may not have been asked; unknown_process. Take call_options in front. If the master asks ranks of one
  /// MPI job, vectors and strings go from rank to rank by MPI (see docs/loops.md).
  /// @{

  /// Folds the results of F() from `ids`, in that order: `op` needs only be associative. Throws empty_range if there are none.
  template <class F, class Op>
  auto reduce(const std::vector<proc_id>& ids, F&& f, const Op& op) {
    return reduce_with(nullptr, ids, std::forward<F>(f), op);
  }
  /// The same with a deadline or a token.
  template <class F, class Op>
  auto reduce(const call_options& options, const std::vector<proc_id>& ids, F&& f, const Op& op) {
    return reduce_with(&options, ids, std::forward<F>(f), op);
  }

  /// As `reduce`, and then calls use(result), if it is given, on each of them.
  template <class F, class Op, class... Use>
  auto allreduce(const std::vector<proc_id>& ids, F&& f, const Op& op, Use&&... use) {
    return reduce_with(nullptr, ids, std::forward<F>(f), op, std::forward<Use>(use)...);
  }
  /// The same with a deadline or a token.
  template <class F, class Op, class... Use>
  auto allreduce(const call_options& options, const std::vector<proc_id>& ids, F&& f, const Op& op, Use&&... use) {
    return reduce_with(&options, ids, std::forward<F>(f), op, std::forward<Use>(use)...);
  }

  /// Calls F(v) on each of them; v leaves this process once.
  template <class V, class F>
  void broadcast(const std::vector<proc_id>& ids, const V& v, F&& f) {
    broadcast_with(nullptr, ids, v, std::forward<F>(f));
  }
  /// The same with a deadline or a token.
  template <class V, class F>
  void broadcast(const call_options& options, const std::vector<proc_id>& ids, const V& v, F&& f) {
    broadcast_with(&options, ids, v, std::forward<F>(f));
  }

  /// The results of F() from each of them, in their order; nothing if F returns nothing. They come here directly.
  template <class F>
  auto gather(const std::vector<proc_id>& ids, F&& f) {
    return detail::gather_over(nullptr, ids, f);
  }
  /// The same with a deadline or a token.
  template <class F>
  auto gather(const call_options& options, const std::vector<proc_id>& ids, F&& f) {
    return detail::gather_over(&options, ids, f);
  }

  /// Blocks until each of them has begun all that this process gave it before.
  void barrier(const std::vector<proc_id>& ids) { detail::barrier_over(nullptr, ids); }
  /// The same with a deadline or a token.
  void barrier(const call_options& options, const std::vector<proc_id>& ids) { detail::barrier_over(&options, ids); }

  /// @}

  /// @name Waiting together
  /// @{

  /// Runs `block` here and now, and then blocks until every call has ended that this thread began in it with remotecall, spawnat, async or
  /// distributed_for; not those that tasks began elsewhere, and not remote_do. Returns what the block returns. Blocks in blocks wait each
  /// for their own calls. Throws composite_error with the errors of those that failed, in the order of the calls, also of those whose error
  /// the block has seen. When the block throws, that is thrown, after the calls have ended; `interrupted` at once. What the caller's task
  /// is told, and Ctrl-C, end the wait; the calls go on.
  template <class Block>
  decltype(auto) sync(Block&& block) {
    return detail::run_sync(std::forward<Block>(block));
  }

  /// Runs F, which takes no arguments, as a task on this process, and returns at once. F and its result stay here: it may be any function
  /// object, and refer to what lives as long as the task does; if F returns a future, the result is that one's. Otherwise as remotecall: an
  /// exception becomes remote_error, the future can be cancelled. An F whose task never begins is destroyed.
  template <class F>
  auto async(F&& f) {
    return collected(detail::begin_local_task(nullptr, std::forward<F>(f)));
  }
  /// The same with a deadline or a token.
  template <class F>
  auto async(const call_options& options, F&& f) {
    return collected(detail::begin_local_task(&options, std::forward<F>(f)));
  }

  /// @}

  /// @name MPI: include troupe/mpi.hpp
  /// @{

  /// The MPI job that the master is a rank of (`--mpi-transport`, `--tcp-transport`), or that `--mpi` has started. Master only. Throws
  /// usage_error if there's none.
  mpi_manager mpi() const;

  /// Calls F(communicator, args…) on all ranks of an MPI job at once, the master if it is one of them, each on a thread of its own, and
  /// blocks until all have returned: their results, by rank. Tasks, calls and messages go on meanwhile. The communicator has these ranks,
  /// in their order, and is F's alone; it is the same in the next call, unless ranks have gone or a call has failed. Several calls take
  /// turns. Master only.
  ///
  /// Throws composite_error with the errors of those ranks on which F has thrown, in the order of the ranks. The others are told then, and
  /// so they are when the user presses Ctrl-C: a blocking MPI call in which they wait throws `interrupted`, as do troupe's own waits. That
  /// holds for Barrier, Bcast, Reduce, Allreduce, Reduce_scatter, Gather, Scatter, Allgather, Alltoall and their kin, Scan, Exscan, Send,
  /// Ssend, Recv, Sendrecv, Probe, Wait, Waitall, Waitany, Waitsome and Comm_dup; not for one-sided communication and files. With options,
  /// it throws deadline_exceeded or `cancelled` as soon as that is so, and the ranks are told as well.
  template <class F, class... Args>
  auto mpi_do(const mpi_manager& m, F&& f, Args&&... args);
  /// The same of a function that is named as template argument: `c.mpi_do<simulate>(m, args…)`.
  template <auto F, class... Args>
  auto mpi_do(const mpi_manager& m, Args&&... args);
  /// The same with a deadline or a token.
  template <class F, class... Args>
  auto mpi_do(const call_options& options, const mpi_manager& m, F&& f, Args&&... args);
  /// The same of a function that is named as template argument, with a deadline or a token.
  template <auto F, class... Args>
  auto mpi_do(const call_options& options, const mpi_manager& m, Args&&... args);

  /// @}

  /// @name Actors: include troupe/actors.hpp
  /// @{

  /// Makes a CAF actor of a class on a process, constructed with (caf::actor_config&, args…): `c.spawn<cell>(where, args…)`. Blocks until
  /// it is there. It lives until it quits, is sent an exit, or its process ends. Returns its handle, which works from every process.
  template <class A, class... Args>
  auto spawn(target where, Args&&... args);
  /// Makes an actor of a function on a process: `c.spawn<counter>(where, args…)`; else as above.
  template <auto F, class... Args>
  auto spawn(target where, Args&&... args);

  /// Makes an array of actors: `n` elements (64, {8, 8} or {4, 4, 4}) of a class, constructed with (caf::actor_config&, element<A>, args…),
  /// or of a function that takes the element as its second argument, spread over the workers by `where`: placement::block, which is the
  /// default, cyclic or custom(f). Returns an actor_array<A>. Blocks until all elements are there and have begun. Each gets its own copy of
  /// the arguments, which travel once to each process. Throws usage_error for 0 elements, unknown_process for a placement that names none,
  /// no_workers, process_exited, and what the constructor of an element threw, as remote_error with the element's position as its item;
  /// then all elements end.
  template <class A, class... Args>
  auto spawn_array(const array_extents& n, const placement& where, Args&&... args);
  /// The same of a function: `c.spawn_array<block>(n, where, args…)`.
  template <auto F, class... Args>
  auto spawn_array(const array_extents& n, const placement& where, Args&&... args);
  /// The same by placement::block, of a class whose constructor takes no arguments behind the element.
  template <class A>
  auto spawn_array(const array_extents& n);
  /// The same by placement::block, of a function that takes no arguments behind the element.
  template <auto F>
  auto spawn_array(const array_extents& n);

  /// Sends a request to an actor anywhere, and blocks until the answer comes: an R, or void. Throws process_exited when the actor's
  /// process goes first, remote_error when the answer is an error, type_mismatch when it is something else.
  template <class R, class Handle, class... Ts>
  R request(const Handle& whom, Ts&&... message);

  /// This process's actor system.
  caf::actor_system& system() const;

  /// The actor that stands for a process: to monitor, or to link to. Throws unknown_process, process_exited.
  caf::actor worker(proc_id id) const;

  /// @}

  /// @cond internal

  explicit cluster(troupe::process& p, troupe::master* m = nullptr);
  ~cluster();
  static void make_worker_cluster(troupe::process& p);
  static void drop_worker_cluster();
  bool is_defined(const std::string& name, const std::string& type, std::uint64_t size, const std::array<std::uint64_t, 2>& digest);
  void define_encoded(const std::string& name, const std::string& type, byte_buffer encoded);
  void undefine_on(const std::vector<std::string>& names, const std::optional<std::vector<proc_id>>& ids);

  /// @endcond

private:
  using manner = detail::call_manner;

  using place = detail::call_place;

  template <class F, class... Args>
  auto begin(const manner& m, place to, const F& f, Args&&... args) {
    using how = detail::call_form<std::decay_t<F>>;
    using function = typename how::function;
    if constexpr (detail::may_be_kept<function> && how::flags == 0)
      if (const auto store = std::exchange(to.functions, nullptr)) {
        const auto id = to.id;
        const auto sent = store->get(how::get(f));
        auto out = begin(m, std::move(to), detail::kept_callable<function>{sent, id, nullptr}, std::forward<Args>(args)...);
        sent->sent_with(id, out.valid() ? out.shared_state() : nullptr);
        return out;
      }
    auto out = detail::begin_call(std::move(to), m, f, std::forward<Args>(args)...);
    if ((m.flags & detail::call_kept) != 0 && m.lent == nullptr)
      detail::sync_scope::add(out);
    return out;
  }

  // `use`: see allreduce.
  template <class F, class Op, class... Use>
  auto reduce_with(const call_options* options, const std::vector<proc_id>& ids, F&& f, const Op& op, Use&&... use) {
    static_assert(sizeof...(Use) <= 1, "allreduce: behind the operator comes at most one function that uses the result");
    if (ids.empty())
      detail::throw_empty_range("a reduction over processes");
    if constexpr (detail::goes_by_rank<typename detail::reduce_segment<std::decay_t<F>, Op>::result>) {
      if (const auto group = ranks_of(ids))
        return detail::reduce_on_ranks<std::decay_t<F>, Op, std::decay_t<Use>...>(options, ids, *group, f, op, use...);
    }
    auto out = detail::reduce_over(options, ids, std::forward<F>(f), op);
    (detail::broadcast_over(options, ids, out, std::forward<Use>(use)), ...);
    return out;
  }

  template <class V, class F>
  void broadcast_with(const call_options* options, const std::vector<proc_id>& ids, const V& v, F&& f) {
    if constexpr (detail::goes_by_rank<std::remove_cvref_t<V>>) {
      if (v.size() * sizeof(*v.data()) >= detail::least_by_rank)
        if (const auto group = ranks_of(ids))
          return detail::broadcast_on_ranks<V, std::decay_t<F>>(options, ids, *group, v, f);
    }
    detail::broadcast_over(options, ids, v, std::forward<F>(f));
  }

  template <class Range, class F>
  future<void> for_each_in(const loop_options& options, Range xs, F&& f) {
    const detail::loop_division division{xs.size, loop_workers(options).size(), options.chunk};
    return collected(
      detail::begin_for(options, division, loop_workers_in_turn(options, division.count()), std::move(xs), std::forward<F>(f)));
  }

  // A future that a sync block around it waits for.
  template <class T>
  static future<T> collected(future<T> f) {
    detail::sync_scope::add(f);
    return f;
  }

  template <class F, class... Args>
  auto wait_for_call(const call_options* options, const target& where, F&& f, Args&&... args) {
    auto to = resolve(where, options);
    detail::lent_memory lent{to.id};
    auto out = begin({.flags = detail::call_kept, .lent = &lent, .options = options}, std::move(to), std::forward<F>(f),
                     std::forward<Args>(args)...);
    out.wait();
    return out;
  }

  template <class F, class... Args>
  auto fetch_call(const call_options* options, const target& where, F&& f, Args&&... args) {
    auto to = resolve(where, options);
    detail::lent_memory lent{to.id};
    return begin({.lent = &lent, .options = options}, std::move(to), std::forward<F>(f), std::forward<Args>(args)...).get();
  }

  template <class F, class... Args>
  void call_all(const call_options* options, const std::vector<proc_id>& ids, F&& f, Args&&... args) {
    using result = decltype(begin({}, place{1}, f, args...));
    std::vector<result> open(ids.size());
    std::vector<std::exception_ptr> failed(ids.size());
    for (auto local : {false, true}) { // others can begin before this process does its part
      for (std::size_t i = 0; i < ids.size(); ++i) {
        if ((ids[i] == myid()) != local)
          continue;
        try {
          open[i] = begin({.options = options}, place{ids[i]}, f, args...);
        } catch (...) {
          failed[i] = std::current_exception();
        }
      }
    }
    for (std::size_t i = 0; i < ids.size(); ++i) {
      try {
        if (open[i].valid())
          open[i].wait();
      } catch (...) {
        failed[i] = std::current_exception();
      }
    }
    throw_composite(failed);
  }

  template <class F, class... Xs>
  auto map(const call_options* limits, const F& f, Xs&... xs) {
    return detail::with_options(
      [&](const auto& options, auto&... ranges) {
        return detail::pmap(limits, options, [this] { return default_worker_pool(); }, f, ranges...);
      },
      xs...);
  }

  template <class F, class... Xs>
  void map_each(const call_options* limits, const F& f, Xs&... xs) {
    detail::with_options(
      [&](const auto& options, auto&... ranges) {
        detail::with_last(
          [&](auto& sink, auto&... others) {
            detail::pmap_each(limits, options, [this] { return default_worker_pool(); }, sink, f, others...);
          },
          ranges...);
      },
      xs...);
  }

  proc_id next_worker() const;
  place resolve(const target& where, const call_options* options = nullptr) const;
  std::optional<rank_group> ranks_of(const std::vector<proc_id>& ids) const;
  std::vector<proc_id> loop_workers(const loop_options& options) const;
  std::vector<proc_id> loop_workers_in_turn(const loop_options& options, std::uint64_t shares) const;
  void add_join_function(std::uint64_t task, std::uint8_t flags, std::string label, byte_buffer encoded);
  void drain_within(const std::vector<proc_id>& ids, std::chrono::milliseconds limit);
  void remove_within(const std::vector<proc_id>& ids, std::chrono::milliseconds limit);
  static void throw_composite(const std::vector<std::exception_ptr>& failed);
  troupe::master& require_master(const char* what) const;

  troupe::process& process_;
  troupe::master* master_;
};

/// The cluster of this process, master or worker. It lives until app::run returns. Any thread. Throws usage_error outside of app::run.
/// @ingroup applications
cluster& here();

} // namespace troupe
