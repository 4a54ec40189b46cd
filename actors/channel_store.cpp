#include "troupe/actors/channel_store.hpp"

#include "troupe/actors/runtime.hpp"

namespace troupe::detail {

// -- the owner's part ---------------------------------------------------------------------------------------------------------

void owned_store::ask(reference_question& q, reference_work& out) {
  check_type(q, runner_->type());
  store_question s{q, {}};
  s.q.in = nullptr;
  s.q.frame = nullptr;
  if (q.op == ask_op::settle)
    return; // what a loop takes here is gone at once
  if (q.op == ask_op::close) {
    const auto with_error = q.in->get<std::uint8_t>() != 0;
    auto why = with_error ? read<error_info>(*q.in) : make_error_info(error_kind::channel_closed, "channel " + to_string(id()) + " is closed", id().where);
    runner_->close(why);
  }
  const auto left = q.in->left();
  s.arguments = kept_value::of(q.frame->payload.last(left), nullptr, q.frame->references);
  out.jobs.push_back([runner = runner_, s = std::make_shared<store_question>(std::move(s))] { runner->submit(std::move(*s)); });
}

bool owned_store::withdraw(proc_id from, std::uint64_t number, reference_work&) {
  return runner_->withdraw(from, number);
}

void owned_store::forget(proc_id gone, const error_info& why, reference_work&) {
  runner_->forget(gone);
  if (tied == gone)
    runner_->close(why);
}

void owned_store::end(const error_info& why, reference_work& out) {
  out.jobs.push_back([runner = runner_, why] { runner->end(why); });
}

void add_store(std::shared_ptr<store_runner> runner, const ref_id& id, proc_id maker) {
  runtime::get().owned().add(std::make_unique<owned_store>(id, std::move(runner)), maker);
}

void throw_other_keys(const ref_id& id, std::uint64_t wanted, std::uint64_t came) {
  throw_error(make_error_info(error_kind::type_mismatch,
                              "the store of channel " + to_string(id) + " looks at keys " + type_tag_name(wanted) + ", and was asked with " + type_tag_name(came),
                              id.where));
}

// -- turns ----------------------------------------------------------------------------------------------------------------------

void store_runner::submit(store_question s) {
  {
    std::lock_guard guard{mutex_};
    arrived_.push_back(std::move(s));
    if (std::exchange(running_, true))
      return;
  }
  run_as_job([self = shared_from_this()] { self->run(); });
}

// Everything that has arrived, each followed by what has waited for a change like it.
void store_runner::run() {
  while (true) {
    store_question next;
    bool ends = false;
    {
      std::lock_guard guard{mutex_};
      if (arrived_.empty()) {
        running_ = false;
        ends = ended_.has_value();
        if (!ends)
          return;
      } else {
        next = std::move(arrived_.front());
        arrived_.pop_front();
      }
    }
    if (ends)
      return drop();
    if (!answer(next)) {
      std::lock_guard guard{mutex_};
      waiting_.push_back(std::move(next));
      continue;
    }
    // one pass: whoever is served may make another's wish possible, who then is before or behind it
    for (bool changed = true; changed;) {
      changed = false;
      std::deque<store_question> retry;
      {
        std::lock_guard guard{mutex_};
        retry.swap(waiting_);
      }
      std::deque<store_question> still;
      for (auto& s : retry) {
        if (answer(s))
          changed = true;
        else
          still.push_back(std::move(s));
      }
      std::lock_guard guard{mutex_};
      for (auto s = still.rbegin(); s != still.rend(); ++s)
        waiting_.push_front(std::move(*s));
    }
  }
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
    why.task = "the store of channel " + to_string(id_);
    out.what = reference_answer::kind::error;
    out.why = std::make_shared<const error_info>(std::move(why));
  }
  if (out.question != 0)
    if (auto rt = runtime::find())
      rt->owned().send(out);
  return true;
}

bool store_runner::withdraw(proc_id from, std::uint64_t number) {
  std::lock_guard guard{mutex_};
  const auto is = [&](auto& s) { return s.q.from == from && s.q.number == number; };
  return std::erase_if(arrived_, is) + std::erase_if(waiting_, is) > 0;
}

void store_runner::forget(proc_id gone) {
  std::lock_guard guard{mutex_};
  const auto is = [&](auto& s) { return s.q.from == gone; };
  std::erase_if(arrived_, is);
  std::erase_if(waiting_, is);
}

// Who waits is asked again, and told.
void store_runner::close(const error_info& why) {
  std::lock_guard guard{mutex_};
  if (closed_)
    return;
  closed_ = why;
  for (auto& s : waiting_)
    arrived_.push_back(std::move(s));
  waiting_.clear();
  if (arrived_.empty() || std::exchange(running_, true))
    return;
  run_as_job([self = shared_from_this()] { self->run(); });
}

void store_runner::end(const error_info& why) {
  std::lock_guard guard{mutex_};
  ended_ = why;
  for (auto& s : waiting_)
    arrived_.push_back(std::move(s));
  waiting_.clear();
  if (std::exchange(running_, true))
    return;
  run_as_job([self = shared_from_this()] { self->run(); });
}

} // namespace troupe::detail
