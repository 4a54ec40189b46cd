#pragma once

#include "troupe/actors/call.hpp"
#include "troupe/actors/call_options.hpp"
#include "troupe/actors/future.hpp"
#include "troupe/actors/owned_references.hpp"
#include "troupe/actors/remote_channel.hpp"
#include "troupe/actors/shared.hpp"
#include "troupe/actors/named.hpp"
#include "troupe/actors/task.hpp"
#include "troupe/managers/cluster_manager.hpp"
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
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace troupe {

class master;
class mpi_manager;
class process;

/// See `any`.
struct any_t {};

/// As the place of a call: the workers in turn, whatever they are busy with; the master if there are none.
inline constexpr any_t any{};

/// Where a call goes: to a process, or to any worker.
class target {
public:
  target(proc_id id) : id_(id) { // NOLINT: implicit
  }
  target(any_t) : any_(true) { // NOLINT: implicit
  }

  bool is_any() const {
    return any_;
  }

  /// Means nothing if it is any.
  proc_id id() const {
    return id_;
  }

private:
  proc_id id_ = 0;
  bool any_ = false;
};

/// The cluster as seen from one of its processes. All functions may be called from any thread but the event loop's; those that block
/// say so, give the turn of a task away meanwhile, and throw `interrupted` when the user presses Ctrl-C.
///
/// Functions that are called on other processes are `F` below. It is a lambda without captures, or one whose captures are trivially
/// copyable and hold no addresses; troupe::with(values…, f); a function object that CAF can inspect; troupe::fn<f>; troupe::bytes(f);
/// and troupe::direct of these. Arguments are converted to F's parameter types here, and copied.
class cluster {
  template <class F>
  static constexpr bool callable_everywhere = !std::convertible_to<F, std::vector<proc_id>> && !std::integral<std::remove_cvref_t<F>>
                                              && !std::same_as<std::remove_cvref_t<F>, call_options>;

public:
  cluster(const cluster&) = delete;
  cluster& operator=(const cluster&) = delete;

  // -- processes ------------------------------------------------------------------------------------------------------------

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

  /// Starts workers on this host, one for each logical CPU or `np`, and blocks until they have joined and every process knows them.
  /// Returns their ids, in ascending order. Master only.
  /// Throws launch_error if some don't come (unless options.partial; those that came stay), usage_error for bad options.
  std::vector<proc_id> addprocs(local_options options = {});
  std::vector<proc_id> addprocs(int np, local_options options = {});
  /// The same with a manager of one's own, which is kept as long as its workers live.
  std::vector<proc_id> addprocs(std::shared_ptr<cluster_manager> manager);
  std::vector<proc_id> addprocs(std::shared_ptr<cluster_manager> manager, launch_options options);

  /// Asks workers to leave, and blocks until their processes are gone. They no longer count from the start, and what they were working
  /// on ends with process_exited. The master and ids that aren't workers' are warned about on stderr and skipped. Master only.
  void rmprocs(const std::vector<proc_id>& ids);
  void rmprocs(proc_id id) {
    rmprocs(std::vector<proc_id>{id});
  }
  /// Throws timeout_error, with the ids that are still there, after `limit`; they go on leaving.
  template <class Rep, class Period>
  void rmprocs(const std::vector<proc_id>& ids, std::chrono::duration<Rep, Period> limit) {
    remove_within(ids, std::chrono::ceil<std::chrono::milliseconds>(limit));
  }

  /// Has `handler` called with each line that a worker writes to stdout or stderr, without its end, instead of having it printed. On a
  /// thread of its own, one line at a time; while it blocks, workers that write are slowed down. Null: printing again. Master only.
  void on_output(std::function<void(proc_id, std::string_view)> handler);

  /// What is known of a process, also of one that is gone. Throws unknown_process.
  process_info info(proc_id id) const;

  /// The direct links: on the master all of the cluster, each once (asks every worker and blocks, 5 s at most); on a worker its own.
  std::vector<link_info> links() const;

  /// What lives on a process and is referred to from anywhere, futures and channels, and who holds them. Asks it, and blocks.
  std::vector<reference_info> references(proc_id id) const;

  /// What each process has sent, received and run, and who waits for whom, in the order of their ids: on the master of the whole
  /// cluster (asks every worker and blocks, 5 s at most; one that doesn't answer is left out); on a worker its own.
  std::vector<process_statistics> statistics() const;

  /// What a process needs to know to become one of this cluster: 1 to 16 printable characters.
  std::string cookie() const;
  /// Master only, and only before the first worker: else throws usage_error.
  void cookie(const std::string& value);

  // -- remote calls -----------------------------------------------------------------------------------------------------------
  //
  // All throw at once: unknown_process for an id that was never given, process_exited for one that is gone, not_serializable if
  // function or arguments can't be sent (nothing is sent then), usage_error outside of app::run.
  //
  // All take call_options in front of their arguments, a deadline or a token or both: past the deadline the call ends with
  // deadline_exceeded, when the token is cancelled with `cancelled`, wherever it is: on its way, queued, or running, where its task is told. A future
  // becomes ready with that error; what blocks, and remote_do while it sends, throws it.

  /// Calls F on a process and returns at once.
  template <class F, class... Args>
  auto remotecall(target where, F&& f, Args&&... args) {
    return begin({.flags = detail::call_kept}, where, std::forward<F>(f), std::forward<Args>(args)...);
  }
  template <class F, class... Args>
  auto remotecall(const call_options& options, target where, F&& f, Args&&... args) {
    return begin({.flags = detail::call_kept, .options = &options}, where, std::forward<F>(f), std::forward<Args>(args)...);
  }
  template <auto F, class... Args>
  auto remotecall(target where, Args&&... args) {
    return begin({.flags = detail::call_kept}, where, fn<F>, std::forward<Args>(args)...);
  }
  template <auto F, class... Args>
  auto remotecall(const call_options& options, target where, Args&&... args) {
    return begin({.flags = detail::call_kept, .options = &options}, where, fn<F>, std::forward<Args>(args)...);
  }

  /// Calls F, and blocks until it has returned. Throws what it failed with. The future is ready.
  template <class F, class... Args>
  auto remotecall_wait(target where, F&& f, Args&&... args) {
    return wait_for_call(nullptr, where, std::forward<F>(f), std::forward<Args>(args)...);
  }
  template <class F, class... Args>
  auto remotecall_wait(const call_options& options, target where, F&& f, Args&&... args) {
    return wait_for_call(&options, where, std::forward<F>(f), std::forward<Args>(args)...);
  }
  template <auto F, class... Args>
  auto remotecall_wait(target where, Args&&... args) {
    return wait_for_call(nullptr, where, fn<F>, std::forward<Args>(args)...);
  }
  template <auto F, class... Args>
  auto remotecall_wait(const call_options& options, target where, Args&&... args) {
    return wait_for_call(&options, where, fn<F>, std::forward<Args>(args)...);
  }

  /// Calls F, and blocks until its result is here. Throws what it failed with. One message each way.
  template <class F, class... Args>
  auto remotecall_fetch(target where, F&& f, Args&&... args) {
    return fetch_call(nullptr, where, std::forward<F>(f), std::forward<Args>(args)...);
  }
  template <class F, class... Args>
  auto remotecall_fetch(const call_options& options, target where, F&& f, Args&&... args) {
    return fetch_call(&options, where, std::forward<F>(f), std::forward<Args>(args)...);
  }
  template <auto F, class... Args>
  auto remotecall_fetch(target where, Args&&... args) {
    return fetch_call(nullptr, where, fn<F>, std::forward<Args>(args)...);
  }
  template <auto F, class... Args>
  auto remotecall_fetch(const call_options& options, target where, Args&&... args) {
    return fetch_call(&options, where, fn<F>, std::forward<Args>(args)...);
  }

  /// Calls F; nobody hears of its end. An exception is printed on stderr there.
  template <class F, class... Args>
  void remote_do(target where, F&& f, Args&&... args) {
    begin({.flags = detail::call_no_reply}, where, std::forward<F>(f), std::forward<Args>(args)...);
  }
  template <class F, class... Args>
  void remote_do(const call_options& options, target where, F&& f, Args&&... args) {
    begin({.flags = detail::call_no_reply, .options = &options}, where, std::forward<F>(f), std::forward<Args>(args)...);
  }
  template <auto F, class... Args>
  void remote_do(target where, Args&&... args) {
    remote_do(where, fn<F>, std::forward<Args>(args)...);
  }
  template <auto F, class... Args>
  void remote_do(const call_options& options, target where, Args&&... args) {
    remote_do(options, where, fn<F>, std::forward<Args>(args)...);
  }

  /// The same as remotecall.
  template <class F, class... Args>
  auto spawnat(target where, F&& f, Args&&... args) {
    return remotecall(where, std::forward<F>(f), std::forward<Args>(args)...);
  }
  template <class F, class... Args>
  auto spawnat(const call_options& options, target where, F&& f, Args&&... args) {
    return remotecall(options, where, std::forward<F>(f), std::forward<Args>(args)...);
  }
  template <auto F, class... Args>
  auto spawnat(target where, Args&&... args) {
    return remotecall(where, fn<F>, std::forward<Args>(args)...);
  }
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
  template <class F, class... Args>
  void everywhere(const call_options& options, const std::vector<proc_id>& ids, F&& f, Args&&... args) {
    call_all(&options, ids, std::forward<F>(f), std::forward<Args>(args)...);
  }
  /// On one process: its result, its own error.
  template <class F, class... Args>
  auto everywhere(proc_id id, F&& f, Args&&... args) {
    return remotecall_fetch(id, std::forward<F>(f), std::forward<Args>(args)...);
  }
  template <class F, class... Args>
  auto everywhere(const call_options& options, proc_id id, F&& f, Args&&... args) {
    return remotecall_fetch(options, id, std::forward<F>(f), std::forward<Args>(args)...);
  }

  /// Ends the tasks that have begun on these processes, all at once: each of their waits throws `interrupted`, the one in progress too, as
  /// this_task::check does, and blocking MPI calls of mpi_do do. Their callers get it bare. A task that neither waits nor checks goes on; after 0.2 s its
  /// caller is told so, and other tasks get its turn. What is queued, and what comes later, runs; a process that runs nothing isn't touched. Blocks until
  /// all have been told. Master only.
  /// Throws unknown_process and process_exited, before any is told; those that exit meanwhile count as told.
  void interrupt(const std::vector<proc_id>& ids);
  void interrupt(proc_id id) {
    interrupt(std::vector<proc_id>{id});
  }
  /// All workers.
  void interrupt();

  // -- data on every process ------------------------------------------------------------------------------------------------------

  /// A value that any process can use, without change: see shared. It is copied, or moved, and stays here until it is used elsewhere. Doesn't block.
  template <class T>
  auto share(T&& value) {
    return shared<std::decay_t<T>>{std::decay_t<T>{std::forward<T>(value)}};
  }

  /// Gives every process a value of this name, in place of one that has it, which may be of another type; a process that joins later has it
  /// before it does anything. Blocks until all that live have it; read it with troupe::named<T>(name). May be called on any process, which
  /// asks the master by a task there; all processes have two values of one name in the same order. Encoded once, by the calling thread; a view
  /// (std::span, std::string_view) is defined as what owns its elements. A value of the same type that is encoded as the present one isn't sent.
  /// A large one is passed on from worker to worker; the master keeps it in encoded form. Throws not_serializable, and then nothing has changed.
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

  /// Removes names from all workers; the master keeps its values. Workers that join later don't get them. Names that aren't defined are skipped. A
  /// task that has read one keeps it until it ends. Blocks until the workers have done so. On any process, as `define`.
  void undefine(const std::vector<std::string>& names);
  /// The same on these processes, the master among them if it is listed; workers that join later get them all the same. Processes that are
  /// gone are skipped; throws unknown_process for an id that was never given.
  void undefine(const std::vector<std::string>& names, const std::vector<proc_id>& ids);
  template <std::convertible_to<std::string> Name>
  void undefine(const Name& name) {
    undefine(std::vector<std::string>{name});
  }
  template <std::convertible_to<std::string> Name>
  void undefine(const Name& name, const std::vector<proc_id>& ids) {
    undefine(std::vector<std::string>{name}, ids);
  }

  /// Has F, which takes no arguments, run on every worker that joins from now on, when it has the named values, and before anything else runs there:
  /// before other processes know of it, and before addprocs returns it. Several run in the order of registration, each as a task; all of it
  /// counts against the launch timeout. They may call the master, which knows the worker by then. When one throws, the worker hasn't joined: it is ended, and
  /// addprocs throws launch_error (reason `refused`), whose text says which function threw what. Doesn't block. Master only. Throws not_serializable.
  template <class F>
  void on_join(F&& f) {
    using how = form<std::decay_t<F>>;
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
  template <auto F>
  void on_join() {
    on_join(fn<F>);
  }

  // -- MPI (include <troupe/mpi.hpp>) ----------------------------------------------------------------------------------------------

  /// The MPI job that the master is a rank of (--mpi-transport, --tcp-transport), or that --mpi has started. Master only. Throws usage_error if there's
  /// none.
  mpi_manager mpi() const;

  /// Calls F(communicator, args…) on all ranks of an MPI job at once, the master if it is one of them, each on a thread of its own, and blocks
  /// until all have returned: their results, by rank. Tasks, calls and messages go on meanwhile. The communicator has these ranks, in their order,
  /// and is F's alone; it is the same in the next call, unless ranks have gone or a call has failed. Several calls take turns. Master only.
  ///
  /// Throws composite_error with the errors of those ranks on which F has thrown, in the order of the ranks. The others are told then, and so
  /// they are when the user presses Ctrl-C: a blocking MPI call in which they wait throws `interrupted`, as do troupe's own waits. That holds for
  /// Barrier, Bcast, Reduce, Allreduce, Reduce_scatter, Gather, Scatter, Allgather, Alltoall and their kin, Scan, Exscan, Send, Ssend, Recv, Sendrecv,
  /// Probe, Wait, Waitall, Waitany, Waitsome and Comm_dup; not for one-sided communication and files.
  /// With options, it throws deadline_exceeded or `cancelled` as soon as that is so, and the ranks are told as well.
  template <class F, class... Args>
  auto mpi_do(const mpi_manager& m, F&& f, Args&&... args);
  template <auto F, class... Args>
  auto mpi_do(const mpi_manager& m, Args&&... args);
  template <class F, class... Args>
  auto mpi_do(const call_options& options, const mpi_manager& m, F&& f, Args&&... args);
  template <auto F, class... Args>
  auto mpi_do(const call_options& options, const mpi_manager& m, Args&&... args);

  // -- actors (include <troupe/actors.hpp>) -----------------------------------------------------------------------------------------

  /// Makes a CAF actor on a process: of a class, constructed with (caf::actor_config&, args…), or of a function. Blocks until it is there.
  /// It lives until it quits, is sent an exit, or its process ends. Returns its handle, which works from every process.
  template <class A, class... Args>
  auto spawn(target where, Args&&... args);
  template <auto F, class... Args>
  auto spawn(target where, Args&&... args);

  /// Sends a request to an actor anywhere, and blocks until the answer comes: an R, or void. Throws process_exited when the actor's
  /// process goes first, remote_error when the answer is an error, type_mismatch when it is something else.
  template <class R, class Handle, class... Ts>
  R request(const Handle& whom, Ts&&... message);

  /// This process's actor system.
  caf::actor_system& system() const;

  /// The actor that stands for a process: to monitor, or to link to. Throws unknown_process, process_exited.
  caf::actor worker(proc_id id) const;

  // -- internal -------------------------------------------------------------------------------------------------------------------

  explicit cluster(troupe::process& p, troupe::master* m = nullptr);
  ~cluster();
  static void make_worker_cluster(troupe::process& p);
  static void drop_worker_cluster();
  bool is_defined(const std::string& name, const std::string& type, std::uint64_t size, const std::array<std::uint64_t, 2>& digest);
  void define_encoded(const std::string& name, const std::string& type, byte_buffer encoded);
  void undefine_on(const std::vector<std::string>& names, const std::optional<std::vector<proc_id>>& ids);

private:
  template <class F>
  struct form {
    using function = F;
    static constexpr std::uint8_t flags = 0;
    static const F& get(const F& f) {
      return f;
    }
  };

  template <class F>
  struct form<direct_t<F>> {
    using function = F;
    static constexpr std::uint8_t flags = detail::call_direct;
    static const F& get(const direct_t<F>& f) {
      return f.f;
    }
  };

  struct manner {
    std::uint8_t flags = 0;
    // The caller is going to wait, and lends what it passes.
    detail::lent_memory* lent = nullptr;
    const call_options* options = nullptr;
  };

  template <class F, class... Args>
  auto begin(const manner& m, target where, const F& f, Args&&... args) {
    // a function that is passed by its name comes as a pointer, and is told what to do by `callable`
    using how = form<std::decay_t<F>>;
    using task = detail::task_of<typename how::function, Args...>;
    using result = typename task::result;
    const bool now = m.lent != nullptr;
    const bool waits_for_result = (m.flags & detail::call_no_reply) == 0;
    const auto flags = m.flags | how::flags | (m.options != nullptr || (waits_for_result && !now) ? detail::call_stoppable : 0);
    detail::outgoing_call call{resolve(where), task::id(), static_cast<std::uint8_t>(flags), &task::label, m.options};
    call.encode([&](writer& out) {
      task::write_call(out, m.lent, how::get(f), std::forward<Args>(args)...);
    });
    if (waits_for_result) {
      auto state = std::make_shared<detail::typed_future_state<result>>();
      if ((flags & detail::call_kept) != 0)
        state->set_call(detail::references_of_process(), call.id());
      call.send(state, now);
      return future<result>{std::move(state)};
    }
    if (m.options == nullptr)
      call.send(nullptr, now);
    else
      call.send_unheard();
    return future<result>{};
  }

  template <class F, class... Args>
  auto wait_for_call(const call_options* options, target where, F&& f, Args&&... args) {
    const auto to = resolve(where);
    detail::lent_memory lent{to};
    auto out = begin({.flags = detail::call_kept, .lent = &lent, .options = options}, to, std::forward<F>(f), std::forward<Args>(args)...);
    out.wait();
    return out;
  }

  template <class F, class... Args>
  auto fetch_call(const call_options* options, target where, F&& f, Args&&... args) {
    const auto to = resolve(where);
    detail::lent_memory lent{to};
    return begin({.lent = &lent, .options = options}, to, std::forward<F>(f), std::forward<Args>(args)...).get();
  }

  template <class F, class... Args>
  void call_all(const call_options* options, const std::vector<proc_id>& ids, F&& f, Args&&... args) {
    using result = decltype(begin({}, 1, f, args...));
    std::vector<result> open(ids.size());
    std::vector<std::exception_ptr> failed(ids.size());
    for (auto local : {false, true}) { // others can begin before this process does its part
      for (std::size_t i = 0; i < ids.size(); ++i) {
        if ((ids[i] == myid()) != local)
          continue;
        try {
          open[i] = begin({.options = options}, ids[i], f, args...);
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

  proc_id resolve(target where) const;
  void add_join_function(std::uint64_t task, std::uint8_t flags, std::string label, byte_buffer encoded);
  void remove_within(const std::vector<proc_id>& ids, std::chrono::milliseconds limit);
  static void throw_composite(const std::vector<std::exception_ptr>& failed);
  troupe::master& require_master(const char* what) const;

  troupe::process& process_;
  troupe::master* master_;
};

/// The cluster of this process, master or worker. Throws usage_error outside of app::run.
cluster& here();

} // namespace troupe
