#include "troupe/actors/shared_source.hpp"

#include "troupe/actors/runtime.hpp"

#include <algorithm>

namespace troupe {

namespace {

// How many processes get the value from each that has it.
constexpr std::size_t branches = 2;

} // namespace

shared_source::shared_source(const ref_id& id) : id_(id), here_(std::make_shared<detail::future_state>()) {}

shared_source::~shared_source() = default;

// -- on each process ----------------------------------------------------------------------------------------------------------

void shared_source::bring() {
  bool first = false;
  if (!here_->ready()) {
    {
      std::lock_guard guard{mutex_};
      first = !std::exchange(asked_, true);
    }
    if (first)
      locate();
    here_->wait();
  }
  here_->throw_if_failed();
}

// From whom to get it.
void shared_source::locate() {
  auto waiting = std::make_shared<detail::reference_answer_state>();
  borrowed_builder f{nullptr};
  const auto home = detail::references_of_process();
  home->begin(*f, id_, type(), ask_op::locate);
  home->ask(id_.where, *f, waiting, true);
  waiting->when_here([self = shared_from_this(), w = std::weak_ptr{waiting}] {
    const auto answer = w.lock();
    if (const auto why = answer->failure())
      self->fail(*why);
    else
      self->fetch_from(static_cast<proc_id>(answer->number()));
  });
}

// If it isn't to be had there, from where it was shared.
void shared_source::fetch_from(proc_id who) {
  auto waiting = expect();
  borrowed_builder f{nullptr};
  const auto home = detail::references_of_process();
  home->begin(*f, id_, type(), ask_op::fetch_shared);
  home->ask(who, *f, waiting, true);
  waiting->when_here([self = shared_from_this(), w = std::weak_ptr{waiting}, who] {
    const auto arrived = w.lock();
    if (const auto why = arrived->failure())
      return who == self->id_.where ? self->fail(*why) : self->fetch_from(self->id_.where);
    runtime::get().data().submit([self, arrived] {
      try {
        self->take(*arrived);
        runtime::get().shared().keep(self);
        self->came();
      } catch (...) {
        self->fail(describe_current_exception());
      }
    });
  });
}

void shared_source::came() {
  std::vector<wish> wishes;
  {
    std::lock_guard guard{mutex_};
    here_->set_value({});
    wishes.swap(wishes_);
  }
  for (auto& w : wishes)
    send(w);
}

void shared_source::fail(const error_info& why) {
  std::vector<wish> wishes;
  {
    std::lock_guard guard{mutex_};
    here_->set_error(why);
    wishes.swap(wishes_);
  }
  for (auto& w : wishes)
    send(w);
}

void shared_source::serve(proc_id to, std::uint64_t question) {
  {
    std::lock_guard guard{mutex_};
    if (!here_->ready()) {
      wishes_.push_back({to, question});
      return;
    }
  }
  runtime::get().data().submit([self = shared_from_this(), w = wish{to, question}] { self->send(w); });
}

// On the thread for data: a user's inspect may run.
void shared_source::send(const wish& to) {
  auto& rt = runtime::get();
  try {
    if (const auto why = here_->failure())
      throw_error(*why);
    rt.send_value(to.who, to.question, [this](writer& out) { encode(out); });
  } catch (...) {
    reference_answer a;
    a.to = to.who;
    a.question = to.question;
    a.what = reference_answer::kind::error;
    a.why = std::make_shared<const error_info>(describe_current_exception());
    rt.owned().send(a);
  }
}

// -- all of them ----------------------------------------------------------------------------------------------------------------

std::shared_ptr<shared_source> shared_sources::find_or_add(const ref_id& id, const std::function<std::shared_ptr<shared_source>()>& make) {
  std::lock_guard guard{mutex_};
  auto& known = all_[id];
  if (auto there = known.lock())
    return there;
  auto made = make();
  known = made;
  if (all_.size() >= swept_at_) {
    std::erase_if(all_, [](auto& x) { return x.second.expired(); });
    swept_at_ = std::max<std::size_t>(64, 2 * all_.size());
  }
  return made;
}

bool shared_sources::serve(const ref_id& id, proc_id to, std::uint64_t question) {
  std::shared_ptr<shared_source> there;
  {
    std::lock_guard guard{mutex_};
    if (const auto i = all_.find(id); i != all_.end())
      there = i->second.lock();
  }
  if (there)
    there->serve(to, question);
  return there != nullptr;
}

namespace {

// A user's destructor isn't the loop's business.
void end_later(std::shared_ptr<shared_source> last) {
  if (last)
    detail::run_as_job([last = std::move(last)]() mutable { last = nullptr; });
}

} // namespace

void shared_sources::keep(const std::shared_ptr<shared_source>& source) {
  std::lock_guard guard{mutex_};
  kept_[source->id()] = source;
}

void shared_sources::drop(const ref_id& id) {
  std::shared_ptr<shared_source> last;
  {
    std::lock_guard guard{mutex_};
    if (const auto i = kept_.find(id); i != kept_.end()) {
      last = std::move(i->second);
      kept_.erase(i);
    }
  }
  end_later(std::move(last));
}

void shared_sources::peer_lost(proc_id id) {
  std::vector<std::shared_ptr<shared_source>> last;
  {
    std::lock_guard guard{mutex_};
    for (auto i = kept_.begin(); i != kept_.end();) {
      if (i->first.where != id) {
        ++i;
        continue;
      }
      last.push_back(std::move(i->second));
      i = kept_.erase(i);
    }
  }
  for (auto& x : last)
    end_later(std::move(x));
}

// -- where it was shared ----------------------------------------------------------------------------------------------------------

void owned_shared::ask(reference_question& q, reference_work& out) {
  check_type(q, source_->type());
  if (q.op != ask_op::locate)
    throw_wrong_op(q, "a shared value");
  auto place = static_cast<std::size_t>(std::find(asked_.begin(), asked_.end(), q.from) - asked_.begin());
  if (place == asked_.size())
    asked_.push_back(q.from);
  auto from = id().where;
  if (place >= branches && asked_[(place - branches) / branches] != 0)
    from = asked_[(place - branches) / branches];
  answer_number(out, q, static_cast<std::uint64_t>(from));
}

void owned_shared::forget(proc_id gone, const error_info&, reference_work&) {
  std::replace(asked_.begin(), asked_.end(), gone, proc_id{0});
}

void owned_shared::end(const reason&, reference_work& out) {
  out.jobs.push_back([source = std::move(source_), asked = std::move(asked_)]() mutable {
    const auto home = references::of_process();
    for (auto p : asked) {
      if (p == 0 || !home)
        continue;
      borrowed_builder f{nullptr};
      home->begin(*f, source->id(), 0, ask_op::drop_shared);
      home->ask(p, *f, nullptr, false);
    }
    end_later(std::move(source));
  });
}

namespace detail {

ref_id next_shared_id() {
  auto& rt = runtime::get();
  return rt.held()->next(rt.id());
}

held_reference_ptr own_shared(const std::shared_ptr<shared_source>& source) {
  auto& rt = runtime::get();
  auto held = rt.held()->hold(source->id(), references::origin::known);
  rt.owned().add(std::make_unique<owned_shared>(source->id(), source), rt.id());
  return held;
}

std::shared_ptr<shared_source> shared_source_of(const ref_id& id, const std::function<std::shared_ptr<shared_source>()>& make) {
  return runtime::get().shared().find_or_add(id, make);
}

void throw_empty_shared() { throw usage_error{"an empty shared value: it was moved from, or never made by c.share"}; }

} // namespace detail

} // namespace troupe
