#include "troupe/actors/runtime.hpp"

#include "troupe/actors/call.hpp"
#include "troupe/actors/driving.hpp"
#include "troupe/actors/loaded_module.hpp"
#include "troupe/actors/scheduler.hpp"
#include "troupe/actors/stack_trace.hpp"
#include "troupe/actors/this_task.hpp"
#include "troupe/actors/waiter.hpp"
#include "troupe/transport/middleman.hpp"

#include <caf/all.hpp>

#include <atomic>
#include <cstdio>
#include <cstring>
#include <thread>

namespace troupe {

namespace {

std::atomic<runtime*> the_runtime{nullptr};
std::atomic<std::uint64_t> last_task_id{0};
thread_local std::uint64_t current_task_id = 0;

constexpr std::size_t number_at = sizeof(frame_header); // where a call frame has its number

caf::actor_id start_ids(caf::actor_system& system) {
  return system.next_actor_id();
}

template <class A>
caf::strong_actor_ptr make_plain_actor(caf::actor_system& system) {
  caf::actor_config cfg;
  return caf::make_actor<A, caf::strong_actor_ptr>(start_ids(system), system.node(), &system, cfg);
}

// What is sent to the process itself, as if it had arrived.
frame_view view_for_oneself(frame_builder& f, frame_kind kind) {
  auto owner = std::make_shared<byte_buffer>(std::move(f.finish_whole()));
  frame_view v;
  v.header.kind = kind;
  v.payload = std::span{*owner}.subspan(sizeof(frame_header));
  v.owner = std::move(owner);
  return v;
}

} // namespace

// What is known of a call until it has been answered. The frame's buffer is kept while the arguments are needed.
struct runtime::incoming_call {
  runtime* self;
  proc_id from;
  std::uint64_t number;
  std::uint8_t flags;
  detail::task_entry task;
  frame_view frame;
  std::size_t arguments_at;
};

runtime::runtime(loop& l, mesh& m, settings s) : loop_(l), mesh_(m), settings_(std::move(s)), executor_(settings_.turns) {
  // The error texts of CAF say what went wrong, its log files say it again at length.
  config_.set("logger.verbosity", caf::atom("quiet"));
  scheduler::load(config_, executor_);
  caf::net::middleman::load(config_, {&loop_, &mesh_, [this](std::function<void()> f) { executor_.submit(std::move(f)); },
                                    [this](proc_id to, frame_builder& f, urgency u, flow of) { return send_waiting(to, f, u, of); }});
  system_ = std::make_unique<caf::actor_system>(config_);
  system_->await_actors_before_shutdown(false); // shut_down does it, with a limit
  hub_ = &system_->network_manager().hub();
  port_handle_ = make_plain_actor<request_port>(*system_);
  port_ = static_cast<request_port*>(port_handle_->get());
  node_handle_ = make_plain_actor<node_actor>(*system_);
  node_id_ = node_handle_->id();
  hub_->publish(port_handle_);
  hub_->publish(node_handle_);
  the_runtime = this;
  driving::set_loop(&loop_);
  detail::set_reader_of_errors(id());
}

runtime::~runtime() {
  detail::set_reader_of_errors(0);
  driving::set_loop(nullptr);
  the_runtime = nullptr;
  port_handle_ = nullptr;
  node_handle_ = nullptr;
  system_.reset();
}

runtime& runtime::get() {
  auto p = the_runtime.load(std::memory_order_acquire);
  if (p == nullptr)
    throw usage_error{"there is no cluster here: remote calls work inside of troupe::app::run"};
  return *p;
}

std::uint64_t runtime::tasks_begun() const {
  return last_task_id.load(std::memory_order_relaxed);
}

runtime* runtime::find() {
  return the_runtime.load(std::memory_order_acquire);
}

// -- frames -------------------------------------------------------------------------------------------------------------

void runtime::frame_arrived(proc_id from, frame_view& f) {
  auto kind = f.header.kind;
  if (kind == frame_kind::call)
    take_call(from, f);
  else if (kind == frame_kind::reply)
    take_reply(f);
  else if (kind >= frame_kind::message)
    hub_->handle(from, f);
  else
    settings_.control(from, f);
}

std::unique_ptr<landing> runtime::frame_begins(const frame_header& h, std::span<const std::byte> beginning, std::uint64_t total) {
  reader in{beginning};
  in.seek_landing(static_cast<std::size_t>(total - beginning.size()));
  try {
    if (h.kind == frame_kind::reply) {
      const auto waiting = replies_.find(in.get<std::uint64_t>());
      if (waiting && in.get<std::uint8_t>() == 0)
        waiting->seek_landing(in);
    } else if (h.kind == frame_kind::call) {
      in.take(sizeof(std::uint64_t));
      const auto task = detail::find_task(in.get<std::uint64_t>());
      in.take(sizeof(std::uint8_t));
      if (task != nullptr && task->seek_landing != nullptr)
        task->seek_landing(in);
    }
  } catch (reader::landing_found& found) {
    found.where->in_front = static_cast<std::size_t>(total) - found.where->size - found.where->behind;
    return std::move(found.where);
  } catch (const std::exception&) {
    // it is read, and complained about, when it is there
  }
  return nullptr;
}

void runtime::peer_up(proc_id id, const hello& h) {
  hub_->peer_up(id, h);
}

void runtime::peer_lost(proc_id id, const error_info& why) {
  replies_.fail_all(id, why);
  hub_->peer_lost(id, why);
}

void runtime::peer_unreachable(proc_id id, const error_info& why) {
  replies_.fail_all(id, why);
  hub_->peer_unreachable(id, why);
}

// -- calls to this process ------------------------------------------------------------------------------------------------

void runtime::take_call(proc_id from, frame_view& f) {
  reader in{f.payload};
  auto c = std::make_unique<incoming_call>();
  c->self = this;
  c->from = from;
  c->number = in.get<std::uint64_t>();
  auto id = in.get<std::uint64_t>();
  c->flags = in.get<std::uint8_t>();
  c->arguments_at = f.payload.size() - in.left();
  auto task = detail::find_task(id);
  if (task == nullptr)
    return report(*c, unknown_task_error(from));
  c->task = *task;
  c->frame = std::move(f);
  if ((c->flags & detail::call_direct) != 0) {
    waiter::no_blocking guard{"a direct function must not block: it runs where its call is received"};
    return execute(*c);
  }
  if ((c->flags & detail::call_apart) != 0)
    return apart_.submit([this, c = std::shared_ptr<incoming_call>{std::move(c)}] { execute(*c); });
  executor::job j;
  j.run = [](void*, void* data) {
    std::unique_ptr<incoming_call> owned{static_cast<incoming_call*>(data)};
    owned->self->execute(*owned);
  };
  j.data = c.get();
  if (executor_.submit(j))
    static_cast<void>(c.release());
}

void runtime::execute(incoming_call& c) {
  c.frame.credit = {}; // what runs no longer waits: its caller may send another
  auto outer_task = current_task_id;
  current_task_id = last_task_id.fetch_add(1, std::memory_order_relaxed) + 1;
  borrowed_builder f{hub_};
  detail::throw_trace_scope trace;
  try {
    auto& out = f->start(frame_kind::reply).out();
    out.put(c.number);
    out.put(std::uint8_t{0});
    reader in{c.frame.payload.subspan(c.arguments_at), hub_};
    in.set_landed(c.frame.landed.get());
    c.task.run(in, out);
    if ((c.flags & detail::call_no_reply) == 0)
      send_reply(c.from, *f);
  } catch (...) {
    report(c, describe_failure(c.task.label()));
  }
  current_task_id = outer_task;
}

namespace {

// The thunk that calls a function, into which the function itself is often inlined, goes by the function's name.
std::vector<stack_frame> trace_of(const std::string& label) {
  auto frames = detail::last_throw_trace();
  for (auto& f : frames)
    if (f.function.starts_with("troupe::detail::task<"))
      f.function = label;
  return frames;
}

} // namespace

// Inside a catch block.
error_info runtime::describe_failure(const std::string& label) {
  auto info = describe_current_exception();
  if (info.kind == error_kind::remote && info.pid == 0) {
    info.stack = trace_of(label);
  } else {
    auto bare = info.kind == error_kind::process_exited || info.kind == error_kind::cancelled
                || info.kind == error_kind::deadline_exceeded || info.kind == error_kind::interrupted;
    auto codec = (info.kind == error_kind::not_decodable || info.kind == error_kind::not_serializable) && info.pid == 0;
    if (bare)
      return info;
    if (!codec) {
      error_info outer;
      outer.kind = error_kind::remote;
      outer.parts.push_back(std::move(info));
      info = std::move(outer);
      info.stack = trace_of(label);
    }
  }
  info.pid = id();
  info.host = settings_.host;
  info.task = label;
  return info;
}

void runtime::report(const incoming_call& c, const error_info& why) {
  if ((c.flags & detail::call_no_reply) == 0)
    return send_error(c.from, c.number, why);
  std::fprintf(stderr, "troupe: a call that nobody waits for failed: %s\n", error{why}.what());
}

void runtime::send_error(proc_id to, std::uint64_t number, const error_info& why) {
  borrowed_builder f{hub_};
  auto& out = f->start(frame_kind::reply).out();
  out.put(number);
  out.put(std::uint8_t{1});
  write(out, why);
  send_reply(to, *f);
}

void runtime::send_reply(proc_id to, frame_builder& f) {
  if (to != id()) {
    // With more to do, the answer leaves with the next ones. Who has left in the meantime needs none.
    send_waiting(to, f, executor_.backlog() ? urgency::batched : urgency::now, flow::none);
    return;
  }
  auto v = view_for_oneself(f, frame_kind::reply);
  take_reply(v);
}

error_info runtime::unknown_task_error(proc_id from) const {
  auto& mine = detail::program_build_id();
  auto peer = mesh_.greeting(from);
  std::string text = "process " + std::to_string(id()) + " doesn't have the function that was called";
  if (peer && peer->build_id != mine)
    text += ": the two run different programs (build " + peer->build_id + " calls build " + mine
            + "), between which only functions named by TROUPE_TASK can be called";
  auto info = make_error_info(error_kind::unknown_task, text, id());
  info.host = settings_.host;
  return info;
}

// -- answers --------------------------------------------------------------------------------------------------------------

void runtime::take_reply(frame_view& f) {
  reader in{f.payload};
  auto number = in.get<std::uint64_t>();
  auto failed = in.get<std::uint8_t>();
  auto waiting = replies_.take(number);
  if (!waiting)
    return; // its caller has been told that the process is lost
  if (failed == 0) {
    f.payload = f.payload.last(in.left());
    waiting->set_value(std::move(f));
    return;
  }
  try {
    waiting->set_error(read<error_info>(in));
  } catch (const codec_error& e) {
    waiting->set_error(make_error_info(error_kind::not_decodable, std::string{"an error can't be decoded: "} + e.what()));
    throw;
  }
}

// -- calls to others ------------------------------------------------------------------------------------------------------

void runtime::send_call(proc_id to, frame_builder& f, std::uint8_t flags, std::shared_ptr<detail::future_state> waiting,
                        bool now) {
  std::uint64_t number = 0;
  auto state = waiting;
  if (waiting) {
    number = replies_.add(to, std::move(waiting));
    std::memcpy(f.out().buffer().data() + number_at, &number, sizeof number);
  }
  if (to == id()) {
    auto v = view_for_oneself(f, frame_kind::call);
    take_call(to, v);
    return;
  }
  // what is direct never waits there
  auto of = (flags & detail::call_direct) != 0 ? flow::none : flow::calls;
  try {
    if (auto gone = send_waiting(to, f, now ? urgency::now : urgency::batched, of))
      if (state && replies_.take(number))
        state->set_error(*gone);
  } catch (...) { // interrupted before it was sent
    if (state)
      replies_.take(number);
    throw;
  }
}

// Waits while the peer has as much from here as it may have, if this thread may wait.
std::optional<error_info> runtime::send_waiting(proc_id to, frame_builder& f, urgency u, flow of) {
  while (true) {
    bool full = false;
    auto gone = mesh_.send(to, f, u, of, waiter::may_block() ? &full : nullptr);
    if (!full)
      return gone;
    auto room = std::make_shared<detail::future_state>();
    mesh_.when_room(to, of, [room] { room->set_value({}); }, f.size());
    room->wait();
  }
}

// -- end ------------------------------------------------------------------------------------------------------------------

void runtime::end_actors() {
  auto last = system_->latest_actor_id();
  for (caf::actor_id i = 1; i <= last; ++i)
    if (auto p = system_->registry().get(i); p && p != port_handle_ && p != node_handle_)
      caf::anon_send_exit(caf::actor_cast<caf::actor>(p), caf::exit_reason::kill);
}

std::string runtime::what_is_left() const {
  std::string out;
  if (auto n = system_->registry().running(); n > 0)
    out = std::to_string(n) + (n == 1 ? " actor" : " actors");
  if (!executor_.idle())
    out += (out.empty() ? "" : ", ") + std::string{"a task that doesn't return"};
  if (!apart_.idle())
    out += (out.empty() ? "" : ", ") + std::string{"a function of mpi_do that doesn't return"};
  return out;
}

std::string runtime::shut_down(std::chrono::steady_clock::time_point limit) {
  end_actors();
  // CAF tells of the last actor's end only to those who wait without a limit
  while (!what_is_left().empty() && std::chrono::steady_clock::now() < limit)
    std::this_thread::sleep_for(std::chrono::milliseconds{1});
  // what has arrived in the meantime must not begin after the last look
  executor_.stop(scheduler::drop);
  apart_.stop();
  return what_is_left();
}

// -- outgoing calls -------------------------------------------------------------------------------------------------------

namespace detail {

outgoing_call::outgoing_call(proc_id to, std::uint64_t task, std::uint8_t flags, std::string (*label)())
  : to_(to), flags_(flags), label_(label) {
  auto& rt = runtime::get();
  if (to != rt.id())
    if (auto gone = rt.net().gone(to))
      throw_error(*gone);
  if (to <= 0 || (rt.id() == master_id && !rt.net().knows(to) && to != master_id))
    throw_error(make_error_info(error_kind::unknown_process,
                                "there is no process " + std::to_string(to) + " in this cluster", to));
  frame_.emplace(&rt.hub());
  auto& out = (*frame_)->start(frame_kind::call).out();
  out.put(std::uint64_t{0}); // the number comes when it is sent
  out.put(task);
  out.put(flags);
}

outgoing_call::~outgoing_call() = default;

void lent_memory::take_back() {
  if (auto rt = runtime::find())
    rt->net().take_back(to_, token_);
}

writer& outgoing_call::out() {
  return (*frame_)->out();
}

void outgoing_call::throw_not_serializable(const std::exception& e) {
  auto info = make_error_info(error_kind::not_serializable,
                              "a call of " + label_() + " can't be sent: " + e.what(), runtime::get().id());
  info.task = label_();
  throw_error(std::move(info));
}

void outgoing_call::send(std::shared_ptr<future_state> waiting, bool now) {
  if (now)
    waiter::check_may_block(); // who can't wait for the answer must not have asked
  runtime::get().send_call(to_, **frame_, flags_, std::move(waiting), now);
}

actor_codec* process_codec() {
  auto rt = runtime::find();
  return rt == nullptr ? nullptr : &rt->hub();
}

void throw_empty_future() {
  throw usage_error{"an empty future: it was moved from, or never was the result of a call"};
}

void throw_not_decodable(const char* what_was, const std::string& why) {
  auto rt = runtime::find();
  throw_error(make_error_info(error_kind::not_decodable, std::string{what_was} + " can't be decoded: " + why,
                              rt == nullptr ? 0 : rt->id()));
}

} // namespace detail

namespace this_task {

std::uint64_t id() {
  return current_task_id;
}

void sleep_until(std::chrono::steady_clock::time_point moment) {
  auto& me = waiter::of_this_thread();
  me.reset();
  while (me.wait(moment, waiter::purpose::time)) {
    // a notification that was meant for a wait before
  }
}

} // namespace this_task

} // namespace troupe
