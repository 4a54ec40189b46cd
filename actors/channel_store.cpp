#include "troupe/actors/channel_store.hpp"

#include "troupe/actors/runtime.hpp"

#include <utility>

namespace troupe::detail {

store_runner::store_runner(const ref_id& id) : id_(id) {}

store_runner::~store_runner() = default;

// -- the owner's part ---------------------------------------------------------------------------------------------------------

void owned_store::ask(reference_question& q, reference_work& out) {
  check_type(q, runner_->type());
  store_question s{q.to_be_kept(), {}};
  if (q.op == ask_op::settle) {
    const auto number = q.in->get<std::uint64_t>();
    const auto used = q.in->get<std::uint64_t>();
    return runner_->settle(q.from, number, used > 0);
  }
  if (q.op == ask_op::close)
    runner_->close(read_reason(q));
  const auto left = q.in->left();
  s.arguments = kept_value::of(q.frame->payload.last(left), nullptr, q.frame->references);
  out.jobs.push_back([runner = runner_, s = std::make_shared<store_question>(std::move(s))] { runner->submit(std::move(*s)); });
}

bool owned_store::withdraw(proc_id from, std::uint64_t number, reference_work&) { return runner_->withdraw(from, number); }

void owned_store::forget(proc_id gone, const error_info& why, reference_work&) {
  runner_->forget(gone);
  if (tied == gone)
    runner_->close(why);
}

void owned_store::end(const reason& make_why, reference_work& out) {
  out.jobs.push_back([runner = runner_, why = make_why()] { runner->end(why); });
}

void add_store(std::shared_ptr<store_runner> runner, const ref_id& id, proc_id maker) {
  runtime::get().owned().add(std::make_unique<owned_store>(id, std::move(runner)), maker);
}

void throw_other_keys(const ref_id& id, std::uint64_t wanted, std::uint64_t came) {
  throw_error(make_error_info(error_kind::type_mismatch,
                              "the store of channel " + to_string(id) + " looks at keys " + type_tag_name(wanted) + ", and was asked with "
                                + type_tag_name(came),
                              id.where));
}

// -- turns ----------------------------------------------------------------------------------------------------------------------

// Needs mutex_. There is something to do.
void store_runner::start() {
  if (!std::exchange(running_, true))
    run_as_job([self = shared_from_this()] { self->run(); });
}

void store_runner::submit(store_question s) {
  std::lock_guard guard{mutex_};
  arrived_.push_back(std::move(s));
  start();
}

// Everything that has arrived, each followed by what has waited for a change like it.
void store_runner::run() {
  for (bool again = false; next(again);)
    for (bool changed = again || try_slot(waiting_.size() - 1); changed;) {
      changed = false; // whoever is served may make another's wish possible, who then is before or behind it
      for (std::size_t i = 0; i < waiting_.size(); ++i)
        changed = try_slot(i) || changed;
    }
}

// Puts what arrived next at the end of what waits. Returns false if there's nothing.
bool store_runner::next(bool& again) {
  {
    std::lock_guard guard{mutex_};
    std::erase_if(waiting_, [](auto& x) { return x.over; });
    again = std::exchange(look_again_, false);
    if (again)
      return true;
    if (!arrived_.empty()) {
      waiting_.push_back({std::move(arrived_.front())});
      arrived_.pop_front();
      return true;
    }
    running_ = false;
    if (!ended_)
      return false;
  }
  drop();
  return false;
}

// Returns whether it has been served.
bool store_runner::try_slot(std::size_t i) {
  auto& x = waiting_[i];
  {
    std::lock_guard guard{mutex_};
    if (x.over)
      return false;
    busy_ = i;
    busy_withdrawn_ = false;
    busy_gone_ = 0;
  }
  const bool served = answer(x.s);
  reference_answer none;
  {
    std::lock_guard guard{mutex_};
    busy_ = std::nullopt;
    x.over = served || busy_withdrawn_ || busy_gone_ != 0;
    if (x.over)
      x.s.arguments = {};
    if (!served && busy_withdrawn_) {
      none.to = x.s.q.from;
      none.question = x.s.q.number;
    }
  }
  if (none.question != 0)
    if (auto rt = runtime::find())
      rt->owned().send(none);
  return served;
}

// Returns false if it has to wait.
bool store_runner::answer(store_question& s) {
  reference_answer out;
  out.to = s.q.from;
  out.question = s.q.number;
  std::optional<error_info> closed, ended;
  {
    std::lock_guard guard{mutex_};
    closed = closed_;
    ended = ended_;
  }
  const bool puts = s.q.op == ask_op::put;
  try {
    if (ended) {
      throw_error(*ended);
    } else if (s.q.op == ask_op::size || s.q.op == ask_op::isopen) {
      out.what = reference_answer::kind::number;
      out.number = s.q.op == ask_op::size ? size() : (closed ? 0 : 1);
    } else if (s.q.op == ask_op::close) {
      // done where it arrived
    } else if (puts && closed) {
      throw_error(*closed);
    } else if (!attempt(s, out)) {
      if (s.q.op == ask_op::give_back)
        return false;
      if (closed)
        throw_error(*closed);
      if (!s.q.at_once())
        return false;
      out.what = puts ? reference_answer::kind::number : reference_answer::kind::nothing;
      out.number = 0;
    }
  } catch (const error& e) {
    out.what = reference_answer::kind::error;
    out.why = std::make_shared<const error_info>(e.info());
  } catch (...) {
    auto why = describe_current_exception();
    why.pid = id_.where;
    why.task = name();
    out.what = reference_answer::kind::error;
    out.why = std::make_shared<const error_info>(std::move(why));
  }
  if (s.q.op == ask_op::lease && out.what == reference_answer::kind::elements)
    note_lease(s, out);
  if (out.question != 0)
    if (auto rt = runtime::find())
      rt->owned().send(out);
  return true;
}

void store_runner::note_lease(const store_question& s, const reference_answer& out) {
  std::lock_guard guard{mutex_};
  if (busy_gone_ != 0)
    put_back(out.elements.front());
  else
    leases_.push_back({s.q.from, s.q.number, out.elements.front()});
}

// Needs mutex_.
void store_runner::put_back(const kept_value& value) {
  byte_buffer bytes;
  std::vector<held_reference_ptr> references;
  writer w{bytes};
  w.set_references(&references);
  w.put(std::uint64_t{0}); // the take it was, and from where, which stores don't look at
  w.put(std::uint64_t{0});
  w.put(std::uint32_t{1});
  write_element(w, value);
  store_question s;
  s.q.op = ask_op::give_back;
  s.arguments = kept_value::of(bytes, nullptr, std::move(references));
  arrived_.push_front(std::move(s));
  start();
}

bool store_runner::withdraw(proc_id from, std::uint64_t number) {
  std::lock_guard guard{mutex_};
  const auto is = [&](auto& s) { return s.q.from == from && s.q.number == number; };
  if (std::erase_if(arrived_, is) > 0)
    return true;
  for (std::size_t i = 0; i < waiting_.size(); ++i)
    if (!waiting_[i].over && is(waiting_[i].s)) {
      if (busy_ == i) {
        busy_withdrawn_ = true;
        return false;
      }
      waiting_[i].over = true;
      return true;
    }
  return false;
}

void store_runner::forget(proc_id gone) {
  std::lock_guard guard{mutex_};
  std::erase_if(arrived_, [&](auto& s) { return s.q.from == gone; });
  for (std::size_t i = 0; i < waiting_.size(); ++i)
    if (waiting_[i].s.q.from == gone) {
      if (busy_ == i)
        busy_gone_ = gone;
      else
        waiting_[i].over = true;
    }
  for (auto l = leases_.rbegin(); l != leases_.rend(); ++l)
    if (l->who == gone)
      put_back(l->value);
  std::erase_if(leases_, [&](auto& l) { return l.who == gone; });
}

void store_runner::settle(proc_id from, std::uint64_t number, bool used) {
  std::lock_guard guard{mutex_};
  const auto l = std::find_if(leases_.begin(), leases_.end(), [&](auto& x) { return x.who == from && x.number == number; });
  if (l == leases_.end())
    return;
  if (!used)
    put_back(l->value);
  leases_.erase(l);
}

// Who waits is asked again, and told.
void store_runner::close(const error_info& why) {
  std::lock_guard guard{mutex_};
  if (closed_)
    return;
  closed_ = why;
  look_again_ = true;
  start();
}

void store_runner::end(const error_info& why) {
  std::lock_guard guard{mutex_};
  ended_ = why;
  look_again_ = true;
  start();
}

} // namespace troupe::detail
