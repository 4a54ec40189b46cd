#include "troupe/actors/runtime.hpp"

#include "troupe/actors/array_operation.hpp"
#include "troupe/actors/call.hpp"
#include "troupe/actors/driving.hpp"
#include "troupe/actors/future.hpp"
#include "troupe/actors/incoming_call.hpp"
#include "troupe/actors/loaded_module.hpp"
#include "troupe/actors/reference_actor.hpp"
#include "troupe/actors/scheduler.hpp"
#include "troupe/actors/stack_trace.hpp"
#include "troupe/actors/this_task.hpp"
#include "troupe/actors/waiter.hpp"
#include "troupe/transport/log.hpp"
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
thread_local bool answers_at_once = false;

constexpr std::size_t number_at = sizeof(frame_header); // where a call or a question has its number
constexpr std::size_t reply_head =
  sizeof(frame_header) + sizeof(std::uint64_t) + sizeof(std::uint8_t); // what a reply has in front of a value

// What a reply brings.
constexpr std::uint8_t reply_value = 0;
constexpr std::uint8_t reply_error = 1;
constexpr std::uint8_t reply_nothing = 2; // there is a result, which stays there; or nothing is to be had at once
constexpr std::uint8_t reply_taken = 3; // a place in a channel, and what was taken from there

// News for owners wait for others so long.
constexpr auto counts_wait = std::chrono::milliseconds{2};

// A result that is kept leaves for the caller at once if it is no larger: who asks for it is likely to be waiting.
constexpr std::size_t most_sent_at_once = std::size_t{16} << 10;

caf::actor_id start_ids(caf::actor_system& system) { return system.next_actor_id(); }

template <class A>
caf::strong_actor_ptr make_plain_actor(caf::actor_system& system) {
  caf::actor_config cfg;
  return caf::make_actor<A, caf::strong_actor_ptr>(start_ids(system), system.node(), &system, cfg);
}

// What is sent to the process itself, as if it had arrived.
frame_view view_for_oneself(frame_builder& f, frame_kind kind) {
  auto references = std::exchange(f.references(), {}); // they go by hand
  auto owner = std::make_shared<byte_buffer>(std::move(f.finish_whole()));
  frame_view v;
  v.header.kind = kind;
  v.references = std::move(references);
  v.payload = std::span{*owner}.subspan(sizeof(frame_header));
  v.owner = std::move(owner);
  return v;
}

} // namespace

runtime::runtime(loop& l, mesh& m, settings s)
  : loop_(l), mesh_(m), settings_(std::move(s)), executor_(settings_.turns), alarms_(std::make_shared<alarms>(l)), owned_(owning()) {
  // The error texts of CAF say what went wrong, its log files say it again at length.
  config_.set("logger.verbosity", caf::atom("quiet"));
  scheduler::load(config_, executor_);
  caf::net::middleman::load(config_, {&loop_, &mesh_, [this](std::function<void()> f) { executor_.submit(std::move(f)); },
                                      [this](proc_id to, frame_builder& f, urgency u, flow of) {
                                        // the one message that most handlers send needn't wait for company, nor for what its handler still has to compute
                                        const bool alone = u == urgency::batched && scheduler::first_message() && !executor_.backlog();
                                        return send_waiting(to, f, alone ? urgency::now : u, of);
                                      }});
  system_ = std::make_unique<caf::actor_system>(config_);
  system_->await_actors_before_shutdown(false); // shut_down does it, with a limit
  hub_ = &system_->network_manager().hub();
  elements_ = std::make_unique<element_tables>(*this);
  hub_->set_elements(elements_.get());
  port_handle_ = make_plain_actor<request_port>(*system_);
  port_ = static_cast<request_port*>(port_handle_->get());
  node_handle_ = make_plain_actor<node_actor>(*system_);
  node_id_ = node_handle_->id();
  hub_->publish(port_handle_);
  hub_->publish(node_handle_);
  held_ = std::make_shared<references>(holding());
  references::set_of_process(held_);
  the_runtime = this;
  driving::set_loop(&loop_);
  detail::set_reader_of_errors(id());
}

runtime::~runtime() {
  alarms_->close();
  detail::set_reader_of_errors(0);
  driving::set_loop(nullptr);
  the_runtime = nullptr;
  references::set_of_process(nullptr);
  held_->close();
  reference_actors_.clear();
  hub_->set_elements(nullptr);
  elements_ = nullptr; // before the actor system, whose actors they are
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

std::uint64_t runtime::tasks_begun() const { return last_task_id.load(std::memory_order_relaxed); }

runtime* runtime::find() { return the_runtime.load(std::memory_order_acquire); }

// -- frames -------------------------------------------------------------------------------------------------------------

void runtime::frame_arrived(proc_id from, frame_view& f) {
  auto kind = f.header.kind;
  if ((f.header.flags & frame_flags::references) != 0)
    adopt_references(from, f);
  if (kind == frame_kind::call)
    take_call(from, f);
  else if (kind == frame_kind::reply)
    take_reply(f);
  else if (kind == frame_kind::cancel)
    take_cancel(from, f);
  else if (kind == frame_kind::ask)
    take_question(from, f);
  else if (kind == frame_kind::counts)
    owned_.hear(from, reader{f.payload});
  else if (kind == frame_kind::array)
    array_operation::arrive(*this, from, f);
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
      const auto status = in.get<std::uint8_t>();
      if (status == reply_taken)
        in.take(sizeof(std::uint64_t));
      if (waiting && (status == reply_value || status == reply_taken))
        waiting->seek_landing(in);
    } else if (h.kind == frame_kind::call) {
      in.take(sizeof(std::uint64_t));
      const auto task = detail::find_task(in.get<std::uint64_t>());
      if ((in.get<std::uint8_t>() & detail::call_kept) != 0)
        in.take(sizeof(std::uint64_t));
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

void runtime::peer_up(proc_id id, const hello& h) { hub_->peer_up(id, h); }

void runtime::peer_lost(proc_id id, const error_info& why) {
  replies_.fail_all(id, why);
  held_->peer_lost(id);
  owned_.peer_lost(id, why);
  shared_.peer_lost(id);
  functions_.peer_lost(id);
  maps_.peer_lost(id);
  elements_->peer_lost(id, why);
  hub_->peer_lost(id, why);
}

void runtime::peer_retires(proc_id id, const error_info& why) { owned_.retire(id, why); }

void runtime::peer_replaced(proc_id lost, proc_id by) { owned_.replaced(lost, by); }

void runtime::take_no_more_work(error_info why, std::function<void()> done) {
  if (refuses_work_)
    return;
  why_refused_ = std::move(why);
  work_done_ = std::move(done);
  refuses_work_ = true;
  look_whether_work_is_done(calls_over_);
}

void runtime::call_ended() {
  const auto over = calls_over_.fetch_add(1) + 1; // in one order with refuses_work_: who is second sees that the work is done
  if (refuses_work_)
    look_whether_work_is_done(over);
}

void runtime::look_whether_work_is_done(std::uint64_t over) {
  if (over == calls_taken_ && !told_work_done_.exchange(true))
    loop_.post([this] { work_done_(); });
}

void runtime::peer_unreachable(proc_id id, const error_info& why) {
  replies_.fail_all(id, why);
  hub_->peer_unreachable(id, why);
}

// -- calls to this process ------------------------------------------------------------------------------------------------

void runtime::take_call(proc_id from, frame_view& f) {
  reader in{f.payload};
  task_control::client client;
  client.from = from;
  client.number = in.get<std::uint64_t>();
  auto id = in.get<std::uint64_t>();
  client.flags = in.get<std::uint8_t>();
  if ((client.flags & detail::call_kept) != 0) {
    client.kept = {this->id(), from, in.get<std::uint64_t>()};
    owned_.begin_call(client.kept);
  }
  auto task = detail::find_task(id);
  if (task == nullptr)
    return report(client, unknown_task_error(from));
  client.label = task->label;
  const bool counts = (client.flags & detail::call_direct) == 0;
  if (counts && refuses_work_ && from != this->id())
    return report(client, why_refused_);
  auto c = std::make_unique<incoming_call>(this, client);
  c->arguments_at = f.payload.size() - in.left();
  c->task = *task;
  c->frame = std::move(f);
  if (counts)
    c->count();
  if ((client.flags & detail::call_direct) != 0) {
    waiter::no_blocking guard{"a direct function must not block: it runs where its call is received"};
    return execute(*c);
  }
  if ((client.flags & detail::call_stoppable) != 0 && client.number != 0) {
    c->listed = true;
    stoppable_.add(*c);
  }
  if ((client.flags & detail::call_apart) != 0)
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
  if ((c.client.flags & detail::call_direct) != 0) {
    task_control::hidden outside_of_tasks;
    return run(c, nullptr);
  }
  task_control::task task{c.client};
  if (!c.listed || stoppable_.begin(c, task.control()))
    run(c, &task);
}

// `task`: null if it is none.
void runtime::run(incoming_call& c, task_control::task* task) {
  c.frame.credit = {}; // what runs no longer waits: its caller may send another
  auto outer_task = current_task_id;
  current_task_id = last_task_id.fetch_add(1, std::memory_order_relaxed) + 1;
  named_pins pins{named_pins::sees::first};
  borrowed_builder f{hub_};
  detail::throw_trace_scope trace;
  // from then on nobody can stop it; returns false if it has been answered in its place
  const auto end = [&] {
    c.forget();
    return task == nullptr || task->end();
  };
  try {
    auto& out = f->start(frame_kind::reply).out();
    out.put(c.client.number);
    out.put(reply_value);
    reader in{c.frame.payload.subspan(c.arguments_at), hub_};
    in.set_landed(c.frame.landed.get());
    in.set_references(c.frame.references);
    c.task.run(in, out);
    if (end()) {
      if ((c.client.flags & detail::call_kept) != 0)
        keep_result(c, *f);
      answer(c.client, *f);
    }
  } catch (...) {
    const auto why = describe_failure(c.task.label());
    if (end())
      report(c.client, why);
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
    auto bare = info.kind == error_kind::process_exited || info.kind == error_kind::cancelled || info.kind == error_kind::deadline_exceeded
                || info.kind == error_kind::interrupted;
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

void runtime::answer(const task_control::client& c, frame_builder& result) {
  if ((c.flags & detail::call_no_reply) == 0)
    send_reply(c.from, result);
  else
    send_nothing(c.from, c.number);
}

void runtime::report(const task_control::client& c, const error_info& why) {
  if ((c.flags & detail::call_kept) != 0 && !owned_.set_error(c.kept, why)) { // somebody else has set it: its caller gets that
    borrowed_builder f{hub_};
    auto& out = f->start(frame_kind::reply).out();
    out.put(c.number);
    out.put(reply_nothing);
    return send_reply(c.from, *f);
  }
  if ((c.flags & detail::call_no_reply) == 0)
    return send_error(c.from, c.number, why);
  log(log_level::error, std::string{"a call that nobody waits for failed: "} + error{why}.what());
  send_nothing(c.from, c.number);
}

// Nobody waits for a result, but who may want to stop the call has to know that it is over.
void runtime::send_nothing(proc_id to, std::uint64_t number) {
  if (number == 0)
    return;
  borrowed_builder f{hub_};
  auto& out = f->start(frame_kind::reply).out();
  out.put(number);
  out.put(std::uint8_t{0});
  send_reply(to, *f);
}

void runtime::send_error(proc_id to, std::uint64_t number, const error_info& why) {
  borrowed_builder f{hub_};
  auto& out = f->start(frame_kind::reply).out();
  out.put(number);
  out.put(reply_error);
  write(out, why);
  send_reply(to, *f);
}

void runtime::send_reply(proc_id to, frame_builder& f) {
  if (to != id()) {
    // With more to do, the answer leaves with the next ones. Who has left in the meantime needs none.
    send_waiting(to, f, !std::exchange(answers_at_once, false) && executor_.backlog() ? urgency::batched : urgency::now, flow::none);
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
  const auto status = in.get<std::uint8_t>();
  auto waiting = replies_.take(number);
  if (!waiting)
    return; // its caller has been told that the process is lost, or has given it up
  if (status == reply_value || status == reply_taken) {
    if (status == reply_taken)
      waiting->taken_from(in.get<std::uint64_t>());
    f.payload = f.payload.last(in.left());
    waiting->set_value(std::move(f));
    return;
  }
  if (status == reply_nothing) {
    waiting->set_elsewhere();
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

void runtime::send_call(const outgoing& call, std::shared_ptr<detail::future_state> waiting) {
  const auto to = call.to;
  std::uint64_t number = 0;
  auto state = waiting;
  if (waiting) {
    if (call.limits != nullptr)
      if (auto why = call.limits->reached({to, 0, call.label})) {
        waiting->never_sent();
        waiting->set_error(*why);
        return;
      }
    number = replies_.add(to, std::move(waiting));
    std::memcpy(call.frame.out().buffer().data() + number_at, &number, sizeof number);
    state->belongs_to(to, number, call.label);
    if (call.limits != nullptr) {
      state->keep_until_ready(call.limits->watch(alarms_, {to, number, call.label}));
      if (state->ready()) {
        state->never_sent();
        return;
      }
    }
  }
  if (to == id()) {
    auto v = view_for_oneself(call.frame, frame_kind::call);
    take_call(to, v);
  } else {
    // what is direct never waits there
    auto of = (call.flags & detail::call_direct) != 0 ? flow::none : flow::calls;
    try {
      if (auto gone =
            send_waiting(to, call.frame, call.now ? urgency::now : urgency::batched, of, call.limits != nullptr ? state : nullptr))
        if (state && replies_.take(number))
          state->set_error(*gone);
    } catch (...) { // interrupted before it was sent
      if (state)
        replies_.take(number);
      throw;
    }
  }
  // given up before it was there: it didn't hear of that
  if (call.limits != nullptr && state->ready() && state->failure() != nullptr)
    stop_call(to, number, *state->failure());
}

// Waits while the peer has as much from here as it may have, if this thread may wait. `unless`: ready if it needn't be sent any more.
std::optional<error_info> runtime::send_waiting(proc_id to, frame_builder& f, urgency u, flow of,
                                                const std::shared_ptr<detail::future_state>& unless) {
  held_->leaving(to, f.references());
  while (!unless || !unless->ready()) {
    bool full = false;
    auto gone = mesh_.send(to, f, u, of, waiter::may_block() ? &full : nullptr);
    if (gone)
      held_->not_left(to, f.references());
    if (!full)
      return gone;
    auto room = std::make_shared<detail::future_state>();
    mesh_.when_room(to, of, [room] { room->set_value({}); }, f.size());
    try {
      if (unless)
        detail::wait_for_any({room, unless});
      else
        room->wait();
    } catch (...) { // interrupted before it was sent
      held_->not_left(to, f.references());
      throw;
    }
  }
  held_->not_left(to, f.references());
  unless->never_sent();
  return std::nullopt;
}

// Without waiting: what is asked for in one message each is bounded by who asks.
std::optional<error_info> runtime::send_at_once(proc_id to, frame_builder& f, urgency u) {
  held_->leaving(to, f.references());
  auto gone = mesh_.send(to, f, u);
  if (gone)
    held_->not_left(to, f.references());
  return gone;
}

// -- references -----------------------------------------------------------------------------------------------------------

void runtime::adopt_references(proc_id from, frame_view& f) {
  for (auto& id : take_reference_list(f))
    f.references.push_back(held_->arrived(from, id));
}

references::settings runtime::holding() {
  references::settings s;
  s.id = id();
  s.send = [this](proc_id to, frame_builder& f) { send_counts(to, f); };
  s.flush_soon = [this] { loop_.post([this] { loop_.call_after(counts_wait, [held = held_] { held->flush(); }); }); };
  s.ask = [this](proc_id to, frame_builder& f, std::shared_ptr<detail::future_state> waiting, bool now) {
    return send_question(to, f, std::move(waiting), now);
  };
  s.forget = [this](std::uint64_t number) { replies_.take(number); };
  s.actors = hub_;
  return s;
}

owned_references::settings runtime::owning() {
  owned_references::settings s;
  s.id = id();
  s.gone = [this](proc_id p) { return mesh_.gone(p).has_value(); };
  s.answer = [this](reference_answer& a) { answer(a); };
  s.send = [this](proc_id to, frame_builder& f) { send_counts(to, f); };
  s.recount = [this](const ref_id& which, proc_id from) { held_->recount(which, from); };
  s.later = [this](std::chrono::milliseconds after, std::function<void()> f) {
    loop_.post([this, after, f = std::move(f)] { loop_.call_after(after, f); });
  };
  s.write_actor = [this](const ref_id& which, writer& out) { write_reference_actor(which, out); };
  s.end_actor = [this](const ref_id& which) { end_reference_actor(which); };
  return s;
}

void runtime::send_counts(proc_id to, frame_builder& f) {
  if (to != id()) {
    mesh_.send(to, f, urgency::batched);
    return;
  }
  auto v = view_for_oneself(f, frame_kind::counts);
  owned_.hear(to, reader{v.payload});
}

std::uint64_t runtime::send_question(proc_id to, frame_builder& f, std::shared_ptr<detail::future_state> waiting, bool now) {
  std::uint64_t number = 0;
  if (waiting) {
    number = replies_.add(to, waiting);
    std::memcpy(f.out().buffer().data() + number_at, &number, sizeof number);
  }
  if (to == id()) {
    auto v = view_for_oneself(f, frame_kind::ask);
    take_question(to, v);
    return number;
  }
  auto gone = waiting ? mesh_.barred(to) : std::nullopt;
  if (gone && gone->kind != error_kind::not_connected)
    gone.reset(); // what lives on a process that gets no new work is still there
  if (!gone)
    gone = send_at_once(to, f, now ? urgency::now : urgency::batched);
  if (gone && waiting && replies_.take(number))
    waiting->set_error(*gone);
  return number;
}

void runtime::send_array(proc_id to, frame_builder& f, const std::shared_ptr<detail::future_state>& waiting, const array_sending& how) {
  std::uint64_t number = 0;
  if (waiting) {
    if (how.limits != nullptr)
      if (auto why = how.limits->reached({to, 0, how.label})) {
        waiting->set_error(*why);
        return;
      }
    number = replies_.add(to, waiting);
    std::memcpy(f.out().buffer().data() + number_at, &number, sizeof number);
    waiting->belongs_to(to, number, how.label);
    if (how.limits != nullptr)
      waiting->keep_until_ready(how.limits->watch(alarms_, {to, number, how.label}));
  }
  try {
    if (to == id()) {
      auto v = view_for_oneself(f, frame_kind::array);
      array_operation::arrive(*this, to, v);
    } else if (auto gone = send_waiting(to, f, waiting ? urgency::now : urgency::batched, flow::messages, how.unless)) {
      if (waiting && replies_.take(number))
        waiting->set_error(*gone);
    }
  } catch (...) { // interrupted before it was sent
    if (waiting)
      replies_.take(number);
    throw;
  }
}

// About what lives here, or about a shared value that this process has and another wants.
void runtime::take_question(proc_id from, frame_view& f) {
  const auto [op, about] = peek_question(f.payload);
  if (op == ask_op::drop_shared)
    return shared_.drop({from, about.whence, about.id});
  if (op != ask_op::fetch_shared)
    return owned_.ask(from, f);
  const auto number = reader{f.payload}.get<std::uint64_t>();
  if (shared_.serve(about, from, number))
    return;
  send_error(
    from, number,
    make_error_info(error_kind::usage, "process " + std::to_string(id()) + " has no copy of the shared value " + to_string(about), id()));
}

void runtime::send_value(proc_id to, std::uint64_t question, const std::function<void(writer&)>& write) {
  borrowed_builder f{hub_};
  auto& out = f->start(frame_kind::reply).out();
  out.put(question);
  out.put(reply_value);
  write(out);
  send_reply(to, *f);
}

void runtime::answer(reference_answer& a) {
  using kind = reference_answer::kind;
  if (a.to == id() && a.what != kind::elements && a.what != kind::number) {
    const auto waiting = replies_.take(a.question);
    if (!waiting)
      return;
    waiting->taken_from(a.place);
    if (a.what == kind::value)
      waiting->set_kept(std::move(a.value));
    else if (a.what == kind::error)
      waiting->set_error(*a.why);
    else
      waiting->set_elsewhere();
    return;
  }
  borrowed_builder f{hub_};
  auto& out = f->start(frame_kind::reply).out();
  out.put(a.question);
  const auto of_value = a.place == 0 ? reply_value : reply_taken;
  out.put(a.what == kind::nothing ? reply_nothing : a.what == kind::error ? reply_error : of_value);
  if (a.place != 0)
    out.put(a.place);
  if (a.what == kind::error) {
    write(out, *a.why);
  } else if (a.what == kind::value) {
    for (auto& r : a.value.references)
      out.carry(r);
    writer::referring scope{out, a.value.keeper};
    out.block(a.value.bytes.data(), a.value.bytes.size());
  } else if (a.what == kind::elements) {
    out.put(static_cast<std::uint32_t>(a.elements.size()));
    for (auto& x : a.elements)
      write_element(out, x);
  } else if (a.what == kind::number) {
    out.put(a.number);
  }
  if (a.to != id()) { // who answers may be about something of its own, which must not be interrupted here with a value in its hands
    send_at_once(a.to, *f, executor_.backlog() ? urgency::batched : urgency::now);
    return;
  }
  auto v = view_for_oneself(*f, frame_kind::reply);
  take_reply(v);
}

// Leaves in `f` what the caller gets.
void runtime::keep_result(incoming_call& c, frame_builder& f) {
  const bool large = f.size() - reply_head > most_sent_at_once || !f.references().empty();
  kept_value value;
  if (large) {
    auto references = std::exchange(f.references(), {});
    const auto owner = std::make_shared<byte_buffer>(std::move(f.finish_whole()));
    value = {std::span<const std::byte>{*owner}.subspan(reply_head), owner, std::move(references)};
  } else {
    const auto bytes = std::span<const std::byte>{f.out().buffer()}.subspan(reply_head);
    if (bytes.size() <= owned_future::most_inside) {
      if (owned_.set_small_value(c.client.kept, bytes, c.task.result_type()))
        return;
      return reply_with_nothing(c, f);
    }
    value = kept_value::of(bytes, nullptr, {});
  }
  if (owned_.set_value(c.client.kept, std::move(value), c.task.result_type()) && !large)
    return;
  reply_with_nothing(c, f);
}

void runtime::reply_with_nothing(const incoming_call& c, frame_builder& f) {
  auto& out = f.start(frame_kind::reply).out();
  out.put(c.client.number);
  out.put(reply_nothing);
}

void runtime::write_reference_actor(const ref_id& which, writer& out) {
  std::lock_guard guard{reference_actors_mutex_};
  auto& handle = reference_actors_[which];
  if (!handle) {
    handle = make_plain_actor<reference_actor>(*system_);
    hub_->publish(handle);
  }
  out.set_actors(hub_);
  write(out, handle);
}

void runtime::end_reference_actor(const ref_id& which) {
  caf::strong_actor_ptr handle;
  {
    std::lock_guard guard{reference_actors_mutex_};
    if (auto i = reference_actors_.find(which); i != reference_actors_.end()) {
      handle = std::move(i->second);
      reference_actors_.erase(i);
    }
  }
  if (handle)
    static_cast<reference_actor*>(handle->get())->cleanup(caf::exit_reason::normal, nullptr);
}

// -- end ------------------------------------------------------------------------------------------------------------------

void runtime::end_actors() {
  elements_->end_all();
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
  data_.stop();
  return what_is_left();
}

// -- outgoing calls -------------------------------------------------------------------------------------------------------

namespace detail {

outgoing_call::outgoing_call(proc_id to, std::uint64_t task, std::uint8_t flags, std::string (*label)(), const call_options* options,
                             std::optional<std::chrono::steady_clock::time_point> since)
  : to_(to), flags_(flags), label_(label) {
  if (options != nullptr)
    limits_.emplace(*options, since.value_or(std::chrono::steady_clock::now()));
  auto& rt = runtime::get();
  check_process(to);
  if (const auto why = rt.net().barred(to); why && ((flags & call_direct) == 0 || why->kind == error_kind::not_connected))
    throw_error(*why);
  frame_.emplace(&rt.hub());
  auto& out = (*frame_)->start(frame_kind::call).out();
  out.put(std::uint64_t{0}); // the number comes when it is sent
  out.put(task);
  out.put(flags);
  if ((flags & call_kept) != 0) {
    id_ = rt.held()->next(to);
    out.put(id_.id);
  }
}

outgoing_call::~outgoing_call() = default;

void lent_memory::take_back() {
  if (auto rt = runtime::find())
    rt->net().take_back(to_, token_);
}

std::size_t outgoing_call::size() { return (*frame_)->size(); }

writer& outgoing_call::out() { return (*frame_)->out(); }

void outgoing_call::throw_not_serializable(const std::exception& e) {
  auto info = make_error_info(error_kind::not_serializable, "a call of " + label_() + " can't be sent: " + e.what(), runtime::get().id());
  info.task = label_();
  throw_error(std::move(info));
}

void outgoing_call::send(std::shared_ptr<future_state> waiting, bool now) {
  if (now)
    waiter::check_may_block(); // who can't wait for the answer must not have asked
  runtime::get().send_call({to_, **frame_, flags_, label_, now, limits_ ? &*limits_ : nullptr}, std::move(waiting));
}

void outgoing_call::send_unheard() {
  const auto state = std::make_shared<typed_future_state<void>>();
  send(state, false);
  if (state->ready())
    state->throw_if_failed();
}

actor_codec* process_codec() {
  auto rt = runtime::find();
  return rt == nullptr ? nullptr : &rt->hub();
}

void run_as_job(std::function<void()> f) {
  if (auto rt = runtime::find())
    rt->jobs().submit(std::move(f));
  else
    f();
}

std::shared_ptr<references> references_of_process() { return runtime::get().held(); }

void check_process(proc_id id) {
  auto& rt = runtime::get();
  if (id != rt.id())
    if (auto gone = rt.net().gone(id))
      throw_error(*gone);
  if (id <= 0 || (rt.id() == master_id && !rt.net().knows(id) && id != master_id))
    throw_error(make_error_info(error_kind::unknown_process, "there is no process " + std::to_string(id) + " in this cluster", id));
}

bool all_may_call() { return !runtime::get().net().restricted(); }

void answer_at_once() { answers_at_once = true; }

caf::actor actor_of(reference_answer_state& answer) {
  auto in = answer.content(process_codec());
  return caf::actor_cast<caf::actor>(read<caf::strong_actor_ptr>(in));
}

void throw_other_type(const ref_id& id, std::uint64_t wanted) {
  throw_error(make_error_info(error_kind::type_mismatch,
                              "reference " + to_string(id) + " is used as " + type_tag_name(wanted) + " here, and as something else before",
                              id.where));
}

void throw_empty_future() { throw usage_error{"an empty future: it was moved from, or never was the result of a call"}; }

void throw_not_decodable(const char* what_was, const std::string& why) {
  auto rt = runtime::find();
  throw_error(
    make_error_info(error_kind::not_decodable, std::string{what_was} + " can't be decoded: " + why, rt == nullptr ? 0 : rt->id()));
}

} // namespace detail

namespace this_task {

std::uint64_t id() { return current_task_id; }

void check() {
  task_control::check();
  if (waiter::may_block()) // who drives the loop meanwhile isn't the one that was interrupted
    waiter::of_this_thread().check();
}

bool stop_requested() {
  const auto c = task_control::current();
  return (c != nullptr && c->told()) || (waiter::may_block() && waiter::of_this_thread().interrupt_pending());
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
