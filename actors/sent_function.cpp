#include "troupe/actors/sent_function.hpp"

#include "troupe/actors/call.hpp"
#include "troupe/actors/runtime.hpp"
#include "troupe/actors/task.hpp"
#include "troupe/actors/waiter.hpp"

#include <string>

namespace troupe::detail {

namespace {

void forget_function_here(const ref_id& id) { runtime::get().functions().forget(id); }

// `behind_calls`: not before those have begun that were sent earlier.
void tell_to_forget(proc_id whom, const ref_id& id, bool behind_calls) {
  using task = task_of<fn_t<forget_function_here>, ref_id>;
  waiter::no_blocking at_once{"a function is forgotten by whoever had it last"};
  try {
    outgoing_call call{whom, task::id(), static_cast<std::uint8_t>(behind_calls ? call_no_reply : call_direct | call_no_reply),
                       &task::label};
    call.encode([&](writer& out) { task::write_call(out, nullptr, fn<forget_function_here>, id); });
    call.send(nullptr, false);
  } catch (const error&) {
    // who is gone has forgotten it
  }
}

} // namespace

void throw_no_such_form(function_form form) { throw codec_error{"a function of form " + std::to_string(static_cast<int>(form))}; }

sent_function::sent_function(function_form form) : form_(form) {
  if (form != function_form::plain) {
    auto& rt = runtime::get();
    id_ = rt.held()->next(rt.id());
  }
}

sent_function::~sent_function() {
  if (runtime::find() == nullptr)
    return;
  for (auto p : sent_)
    tell_to_forget(p, id_, called_.contains(p));
}

void sent_function::write(writer& out, proc_id to) {
  if (is_plain()) {
    out.put(form_);
    return write_itself(out);
  }
  bool known = false;
  {
    std::lock_guard guard{mutex_};
    look_at_first_call(to);
    known = known_.contains(to);
    sent_.insert(to);
  }
  out.put(known ? function_form::known : form_);
  out.put(id_);
  if (!known)
    write_itself(out);
}

void sent_function::is_known_by(proc_id to) {
  if (is_plain())
    return;
  std::lock_guard guard{mutex_};
  if (sent_.contains(to))
    known_.insert(to);
}

void sent_function::sent_with(proc_id to, std::shared_ptr<future_state> call) {
  if (is_plain())
    return;
  std::lock_guard guard{mutex_};
  called_.insert(to);
  if (call && !known_.contains(to))
    first_calls_.insert_or_assign(to, std::move(call));
}

// Needs mutex_.
void sent_function::look_at_first_call(proc_id to) {
  const auto i = first_calls_.find(to);
  if (i == first_calls_.end() || !i->second->ready())
    return;
  if (const auto why = i->second->failure(); why == nullptr || why->kind == error_kind::remote)
    known_.insert(to);
  first_calls_.erase(i);
}

void sent_function::forget(proc_id gone) {
  std::lock_guard guard{mutex_};
  first_calls_.erase(gone);
  called_.erase(gone);
  sent_.erase(gone);
  known_.erase(gone);
}

std::shared_ptr<const void> kept_function(const ref_id& id, std::uint64_t type) { return runtime::get().functions().get(id, type); }

std::shared_ptr<const void> keep_function(const ref_id& id, std::uint64_t type, const std::function<std::shared_ptr<const void>()>& make) {
  return runtime::get().functions().get_or_add(id, type, make);
}

} // namespace troupe::detail
