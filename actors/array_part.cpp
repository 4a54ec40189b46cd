#include "troupe/actors/array_part.hpp"

#include "troupe/actors/element_stub.hpp"
#include "troupe/actors/runtime.hpp"
#include "troupe/actors/scheduler.hpp"

#include <caf/all.hpp>

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace troupe {

// What elements run on while they begin: not in the queue behind everything else but here and now, so that all have begun when the array is there.
class array_part::birth_unit final : public caf::execution_unit {
public:
  explicit birth_unit(caf::actor_system& system) : caf::execution_unit(&system) {}

  void exec_later(caf::resumable* what) override {
    if (what == newborn_)
      ready_ = true;
    else
      system().scheduler().enqueue(what);
  }

  void begin(caf::scheduled_actor& newborn) {
    newborn_ = &newborn;
    ready_ = false;
    newborn.launch(this, false, false);
    newborn_ = nullptr;
    if (!ready_)
      return; // it has a thread of its own
    if (newborn.resume(this, 0) == caf::resumable::resume_later)
      system().scheduler().enqueue(&newborn);
    else
      intrusive_ptr_release(static_cast<caf::resumable*>(&newborn));
  }

private:
  caf::resumable* newborn_ = nullptr;
  bool ready_ = false;
};

namespace {

// To set what an actor does with an exception, and to set it back, which CAF has no way for: the member is for derived classes.
struct exception_handling : caf::scheduled_actor {
  static exception_handler& of(caf::scheduled_actor& x) { return x.*(&exception_handling::exception_handler_); }
};

struct keep_exception {
  std::exception_ptr* where;

  // With what it says, for others that asked the element.
  caf::error operator()(caf::scheduled_actor*, std::exception_ptr& x) const {
    *where = x;
    try {
      std::rethrow_exception(x);
    } catch (...) {
      return caf::make_error(caf::sec::runtime_error, describe_current_exception().message);
    }
  }
};

std::vector<proc_id> sorted(std::vector<proc_id> ids) {
  std::sort(ids.begin(), ids.end());
  return ids;
}

} // namespace

array_part::array_part(std::shared_ptr<const array_info> info, runtime& rt, proc_id creator)
  : info_(std::move(info)),
    positions_(info_->layout.positions_on(rt.id())),
    runtime_(rt),
    hosts_(sorted(info_->layout.hosts())),
    creator_(creator),
    elements_(positions_.count()) {}

array_part::~array_part() = default;

bool array_part::has_host(proc_id id) const { return std::binary_search(hosts_.begin(), hosts_.end(), id); }

void array_part::throw_ended() const { throw usage_error{info_->to_text() + " was ended while it was made"}; }

void array_part::make_all(const element_maker& make_one) {
  birth_unit unit{runtime_.system()};
  for (std::size_t own = 0; own < positions_.count(); ++own) {
    {
      std::lock_guard guard{mutex_};
      if (ended_)
        throw_ended();
    }
    try {
      make(own, make_one, unit);
    } catch (...) {
      auto why = describe_current_exception();
      info_->put_element(why, positions_[own]);
      throw_error(std::move(why));
    }
  }
}

void array_part::make(std::size_t own, const element_maker& make_one, birth_unit& unit) {
  const auto position = positions_[own];
  caf::actor_config config{&unit};
  std::exception_ptr failed;
  element_birth birth{config, element_id{info_->number, position}.actor(), position, failed};
  const scheduler::running_scope running{birth.id};
  const auto made = make_one(birth);
  if (!publish(own, made))
    throw_ended();
  auto& actor = *static_cast<caf::scheduled_actor*>(caf::actor_cast<caf::abstract_actor*>(made));
  auto& handler = exception_handling::of(actor);
  auto given = std::exchange(handler, keep_exception{&failed});
  unit.begin(actor);
  if (failed)
    std::rethrow_exception(failed);
  if (handler.target<keep_exception>() != nullptr) // it hasn't set another meanwhile
    handler = std::move(given);
  if (const auto reason = actor.fail_state(); reason && reason != caf::exit_reason::user_shutdown)
    throw std::runtime_error{"it ended while it began: " + runtime_.system().render(reason)};
}

// Returns false if it must not live any more.
bool array_part::publish(std::size_t own, const caf::strong_actor_ptr& made) {
  made->get()->attach_functor([part = shared_from_this(), own](const caf::error& reason) { part->element_ended(own, reason); });
  std::lock_guard guard{mutex_};
  if (ended_)
    return false;
  if (const auto stub = stubs_.find(own); stub != stubs_.end())
    static_cast<element_stub*>(stub->second->get())->become(made); // nothing is scheduled by that: it hasn't begun
  elements_[own] = made;
  made_ = own + 1;
  return true;
}

// Who has been given a stub gets it again: what is attached to one can be detached from it.
caf::strong_actor_ptr array_part::element(std::size_t own) {
  std::lock_guard guard{mutex_};
  if (!stubs_.empty())
    if (const auto stub = stubs_.find(own); stub != stubs_.end())
      return stub->second;
  if (own < made_)
    return elements_[own];
  if (ended_)
    return nullptr;
  return stubs_[own] = runtime_.elements().make_stub({info_->number, positions_[own]});
}

std::optional<caf::error> array_part::reason_of(std::size_t position) {
  std::lock_guard guard{mutex_};
  const auto i = reasons_.find(positions_.own(position));
  return i == reasons_.end() ? std::nullopt : std::optional{i->second};
}

void array_part::element_ended(std::size_t own, const caf::error& reason) {
  caf::strong_actor_ptr element, stub; // end without the lock
  {
    std::lock_guard guard{mutex_};
    if (!ended_)
      reasons_.try_emplace(own, reason);
    if (own < made_)
      element.swap(elements_[own]);
    if (const auto i = stubs_.find(own); i != stubs_.end()) {
      stub.swap(i->second);
      stubs_.erase(i);
    }
  }
  if (stub)
    static_cast<element_stub*>(stub->get())->kill_proxy(nullptr, reason);
  runtime_.elements().element_ended(info_->number, own, reason);
}

void array_part::submit(std::function<void()> f) {
  {
    std::lock_guard guard{mutex_};
    submitted_.push_back(std::move(f));
    if (std::exchange(running_, true))
      return;
  }
  submit_next();
}

void array_part::submit_next() {
  runtime_.jobs().submit([self = shared_from_this()] { self->run_submitted(); });
}

// A few at a time: the elements handle what comes together in one turn each, but they do get their turns in between.
void array_part::run_submitted() {
  constexpr int most_at_once = 8;
  for (int i = 0; i < most_at_once; ++i) {
    std::function<void()> next;
    {
      std::lock_guard guard{mutex_};
      if (submitted_.empty()) {
        running_ = false;
        return;
      }
      next = std::move(submitted_.front());
      submitted_.pop_front();
    }
    next();
  }
  submit_next();
}

void array_part::end(caf::exit_reason reason) {
  std::vector<caf::strong_actor_ptr> elements;
  std::unordered_map<std::size_t, caf::strong_actor_ptr> unmade;
  {
    std::lock_guard guard{mutex_};
    ended_ = true;
    elements = elements_;
    if (made_ < elements_.size())
      unmade.swap(stubs_);
  }
  for (auto& [own, stub] : unmade)
    static_cast<element_stub*>(stub->get())->kill_proxy(nullptr, reason);
  for (auto& e : elements)
    if (e)
      caf::anon_send_exit(caf::actor_cast<caf::actor>(e), reason);
}

} // namespace troupe
