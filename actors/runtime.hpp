#pragma once

#include "troupe/actors/alarms.hpp"
#include "troupe/actors/call_limits.hpp"
#include "troupe/actors/element_tables.hpp"
#include "troupe/actors/executor.hpp"
#include "troupe/actors/function_cache.hpp"
#include "troupe/actors/map_stops.hpp"
#include "troupe/actors/named_values.hpp"
#include "troupe/actors/node_actor.hpp"
#include "troupe/actors/owned_references.hpp"
#include "troupe/actors/references.hpp"
#include "troupe/actors/reply_table.hpp"
#include "troupe/actors/request_port.hpp"
#include "troupe/actors/shared_source.hpp"
#include "troupe/actors/side_thread.hpp"
#include "troupe/actors/stoppable_calls.hpp"
#include "troupe/actors/task.hpp"
#include "troupe/actors/task_control.hpp"
#include "troupe/transport/actor_hub.hpp"
#include "troupe/transport/mesh.hpp"

#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>

namespace troupe {

/// What a process needs to run tasks and actors once it is part of a cluster: the executor, the actor system, the open calls. There
/// is one for each process.
class runtime {
public:
  struct settings {
    /// Tasks and actors that run at a time.
    int turns = 1;
    std::string host;
    /// The process's; must outlive the runtime.
    named_values* named = nullptr;
    /// Frames of the kinds below `call`, on the loop's thread. Throwing ends the link.
    std::function<void(proc_id from, frame_view&)> control;
  };

  /// `l` and `m` must outlive it, and the mesh must know its id by now.
  runtime(loop& l, mesh& m, settings s);
  ~runtime();
  runtime(const runtime&) = delete;
  runtime& operator=(const runtime&) = delete;

  /// The process's own. Throws usage_error where there's none: outside of app::run.
  static runtime& get();
  /// The same, or null.
  static runtime* find();

  // -- what the mesh tells; loop thread ---------------------------------------------------------------------------------

  void frame_arrived(proc_id from, frame_view& f);
  /// Where the block of a large call or answer is to lie, of which only the beginning has come.
  std::unique_ptr<landing> frame_begins(const frame_header& h, std::span<const std::byte> beginning, std::uint64_t total);
  void peer_up(proc_id id, const hello& h);
  /// A process is gone: its calls, requests and proxies end with `why`.
  void peer_lost(proc_id id, const error_info& why);
  /// A process can't be reached: calls and requests that wait for it end with `why`.
  void peer_unreachable(proc_id id, const error_info& why);
  /// A process gets no new work: pools do without it.
  void peer_retires(proc_id id, const error_info& why);
  /// A process has come in the place of one that was lost: pools take it in its place.
  void peer_replaced(proc_id lost, proc_id by);
  /// Calls of other processes to this one end with `why` from now on, but for direct ones; `done` is called once those that have come before have been answered, on
  /// the loop's thread.
  void take_no_more_work(error_info why, std::function<void()> done);

  // -- for calls ----------------------------------------------------------------------------------------------------------

  /// A call frame that is finished but for the call's number, and how it is to be sent.
  struct outgoing {
    proc_id to = 0;
    frame_builder& frame;
    std::uint8_t flags = 0;
    /// Names the function.
    std::string (*label)() = nullptr;
    /// The caller is about to wait.
    bool now = false;
    /// Null for none.
    const detail::call_limits* limits = nullptr;
  };
  /// Sends a call. `waiting` gets the answer, or the error at a limit; null if there's neither.
  void send_call(const outgoing& call, std::shared_ptr<detail::future_state> waiting);

  /// Ends an open call of this process with an error, and tells the process that works on it. Nothing happens if it has been answered. Any
  /// thread; doesn't block.
  void give_up(proc_id to, std::uint64_t number, const error_info& why);

  /// Tells a process to stop a call of this one: if it is queued there, it never runs; a task that runs is told. Nothing happens if it has
  /// ended, or wasn't sent as one that can be stopped. Any thread; doesn't block.
  void stop_call(proc_id to, std::uint64_t number, const error_info& why);

  /// Tells all tasks of this process that have begun that they are interrupted. Any thread; doesn't block.
  void interrupt_tasks();

  mesh& net() { return mesh_; }
  executor& jobs() { return executor_; }
  reply_table& replies() { return replies_; }
  stoppable_calls& stoppable() { return stoppable_; }
  alarms& timers() { return *alarms_; }
  /// What lives here and is referred to from anywhere.
  owned_references& owned() { return owned_; }
  /// Shared values of which there are copies here.
  shared_sources& shared() { return shared_; }
  /// What other processes have sent to be called here again and again.
  function_cache& functions() { return functions_; }
  /// Maps of other processes that have batches here.
  map_stops& maps() { return maps_; }
  /// Elements of arrays that live here.
  element_tables& elements() { return *elements_; }
  /// A thread that encodes and decodes shared values.
  side_thread& data() { return data_; }
  /// Answers a question with a value.
  void send_value(proc_id to, std::uint64_t question, const std::function<void(writer&)>& write);
  /// The same with an error.
  void send_error(proc_id to, std::uint64_t question, const error_info& why);
  struct array_sending {
    /// Null for none.
    const detail::call_limits* limits = nullptr;
    /// Names the operation.
    std::string (*label)() = nullptr;
    /// Ready when it needn't be sent any more; null: it has to be.
    std::shared_ptr<detail::future_state> unless{};
  };
  /// Sends a frame about the elements of an array, perhaps to this process, once there is room for it if the calling thread may wait. `waiting` gets the answer; null for none.
  void send_array(proc_id to, frame_builder& f, const std::shared_ptr<detail::future_state>& waiting, const array_sending& how);
  /// What this process refers to.
  const std::shared_ptr<references>& held() const { return held_; }
  actor_hub& hub() { return *hub_; }
  caf::actor_system& system() { return *system_; }
  request_port& port() { return *port_; }
  /// The id of this process's node actor.
  caf::actor_id node_actor_id() const { return node_id_; }
  proc_id id() const { return mesh_.id(); }
  /// How many tasks have begun.
  std::uint64_t tasks_begun() const;
  const std::string& host() const { return settings_.host; }
  named_values& named() { return *settings_.named; }

  /// What the exception that is being handled, which left a function of the user's, is to its caller. Inside a catch block.
  error_info describe_failure(const std::string& label);

  /// Ends all actors and waits for them and for the running tasks, no longer than until `limit`. Returns what is left as a
  /// phrase ("2 actors, 1 task"), empty if nothing is. After that, only the destructor and, if something is left, _exit.
  std::string shut_down(std::chrono::steady_clock::time_point limit);

private:
  struct incoming_call;

  void take_call(proc_id from, frame_view& f);
  void take_reply(frame_view& f);
  void adopt_references(proc_id from, frame_view& f);
  references::settings holding();
  owned_references::settings owning();
  std::uint64_t send_question(proc_id to, frame_builder& f, std::shared_ptr<detail::future_state> waiting, bool now);
  void send_counts(proc_id to, frame_builder& f);
  void take_question(proc_id from, frame_view& f);
  void answer(reference_answer& a);
  void keep_result(incoming_call& c, frame_builder& f);
  static void reply_with_nothing(const incoming_call& c, frame_builder& f);
  void write_reference_actor(const ref_id& id, writer& out);
  void end_reference_actor(const ref_id& id);
  void take_cancel(proc_id from, frame_view& f);
  std::optional<error_info> send_waiting(proc_id to, frame_builder& f, urgency u, flow of,
                                         const std::shared_ptr<detail::future_state>& unless = nullptr);
  std::optional<error_info> send_at_once(proc_id to, frame_builder& f, urgency u);
  void execute(incoming_call& c);
  void run(incoming_call& c, task_control::task* task);
  void answer(const task_control::client& c, frame_builder& result);
  void report(const task_control::client& c, const error_info& why);
  void call_ended();
  void look_whether_work_is_done(std::uint64_t over);
  void stop_here(proc_id from, std::uint64_t number, const error_info& why);
  void look_after(task_control::run told);
  error_info still_running_error(const task_control::client& c) const;
  std::string where() const;
  void send_nothing(proc_id to, std::uint64_t number);
  void send_reply(proc_id to, frame_builder& f);
  error_info unknown_task_error(proc_id from) const;
  void end_actors();
  std::string what_is_left() const;

  loop& loop_;
  mesh& mesh_;
  settings settings_;
  // Calls to this process, but for direct ones: those that have come, and those of them that are over. Apart, since one thread counts the ones and another the others.
  alignas(64) std::atomic<std::uint64_t> calls_taken_{0};
  alignas(64) std::atomic<std::uint64_t> calls_over_{0};
  std::atomic<bool> told_work_done_{false};
  std::atomic<bool> refuses_work_{false};
  error_info why_refused_; // written before refuses_work_
  std::function<void()> work_done_; // the same
  executor executor_;
  reply_table replies_;
  stoppable_calls stoppable_;
  std::shared_ptr<alarms> alarms_;
  caf::actor_system_config config_;
  std::unique_ptr<caf::actor_system> system_;
  actor_hub* hub_ = nullptr;
  caf::intrusive_ptr<caf::actor_control_block> port_handle_;
  caf::intrusive_ptr<caf::actor_control_block> node_handle_;
  request_port* port_ = nullptr;
  caf::actor_id node_id_ = 0;
  owned_references owned_;
  std::shared_ptr<references> held_;
  std::mutex reference_actors_mutex_; // guards those that were asked for
  std::unordered_map<ref_id, caf::strong_actor_ptr> reference_actors_;
  shared_sources shared_;
  function_cache functions_;
  map_stops maps_;
  std::unique_ptr<element_tables> elements_;
  side_thread data_;
  side_thread apart_; // last: its thread uses the others
};

} // namespace troupe
