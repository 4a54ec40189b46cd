#include "troupe/actors/incoming_call.hpp"
#include "troupe/actors/runtime.hpp"

#include "troupe/actors/call.hpp"

#include <chrono>
#include <string>
#include <utility>

// How calls end before they have been answered, at their callers and where they run.

namespace troupe {

namespace {

// How long a task that was told to stop may compute until its turn is another's.
constexpr auto computing_time = std::chrono::milliseconds{200};

} // namespace

// -- the caller -----------------------------------------------------------------------------------------------------------

void runtime::give_up(proc_id to, std::uint64_t number, const error_info& why) {
  const auto waiting = replies_.take(number);
  if (!waiting)
    return;
  waiting->set_error(why);
  stop_call(to, number, why);
}

void runtime::stop_call(proc_id to, std::uint64_t number, const error_info& why) {
  if (to == id())
    return stop_here(to, number, why);
  borrowed_builder f{hub_};
  auto& out = f->start(frame_kind::cancel).out();
  out.put(number);
  write(out, why);
  mesh_.send(to, *f, urgency::batched, flow::none, nullptr); // who is gone needn't know
}

namespace detail {

void cancel_call(future_state& state) {
  const auto& c = state.open_call();
  if (auto rt = runtime::find(); rt != nullptr && c.number != 0)
    rt->give_up(c.to, c.number, cancelled_error({c.to, c.number, c.label}));
}

} // namespace detail

// -- where it runs --------------------------------------------------------------------------------------------------------

void runtime::take_cancel(proc_id from, frame_view& f) {
  reader in{f.payload};
  const auto number = in.get<std::uint64_t>();
  const auto why = read<error_info>(in);
  in.expect_end();
  stop_here(from, number, why);
}

void runtime::stop_here(proc_id from, std::uint64_t number, const error_info& why) {
  elements_->stop(from, number);
  frame_view dropped; // ends without the table's lock
  std::optional<task_control::client> unanswered;
  ref_id kept;
  auto told = stoppable_.stop(from, number, why, [&](stoppable_calls::entry& e, bool queued) {
    if (queued) {
      dropped = std::move(static_cast<incoming_call&>(e).frame);
      unanswered = e.client;
    } else {
      kept = e.client.kept;
    }
  });
  if (kept.id != 0) // others who hold the future needn't wait for the task
    owned_.set_error(kept, why);
  if (told)
    look_after(std::move(*told));
  if (unanswered)
    report(*unanswered, why);
}

void runtime::interrupt_tasks() {
  auto why = make_error_info(error_kind::interrupted, "interrupted " + where(), id());
  why.host = settings_.host;
  for (auto& told : task_control::tell_all(why))
    look_after(std::move(told));
}

// A task that computes and never looks keeps only its thread, and its client has an answer.
void runtime::look_after(task_control::run told) {
  alarms_->set(loop_.now() + computing_time, [this, told = std::move(told)]() mutable {
    auto now = task_control::look_after(told);
    if (now.unanswered)
      report(*now.unanswered, still_running_error(*now.unanswered));
    if (now.runs)
      look_after(std::move(told));
  });
}

error_info runtime::still_running_error(const task_control::client& c) const {
  auto info = make_error_info(error_kind::interrupted,
                              c.label() + " was interrupted " + where()
                                + ", but is still running there, without a turn: it neither waits nor calls "
                                  "troupe::this_task::check(). What it returns is dropped; until then, only the end of its process ends it",
                              id());
  info.host = settings_.host;
  info.task = c.label();
  return info;
}

// "on worker 2 (node1)".
std::string runtime::where() const {
  return (id() == master_id ? "on the master" : "on worker " + std::to_string(id())) + " (" + settings_.host + ")";
}

} // namespace troupe
