#include "troupe/actors/array_part.hpp"

#include "troupe/actors/array_operation.hpp"
#include "troupe/actors/element_stub.hpp"
#include "troupe/actors/runtime.hpp"

#include <caf/all.hpp>

#include <utility>

namespace troupe {

// What elements run on while they begin: not in the queue behind everything else but here and now, so that all have begun when the array is there.
class array_part::birth_unit final : public caf::execution_unit {
public:
  explicit birth_unit(caf::actor_system& system) : caf::execution_unit(&system) {
  }

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

array_part::array_part(std::shared_ptr<const array_info> info, runtime& rt)
  : info_(std::move(info)), positions_(info_->layout.positions_on(rt.id())), runtime_(rt), elements_(positions_.count()) {
}

array_part::~array_part() = default;

void array_part::make_all(const element_maker& make_one) {
  birth_unit unit{runtime_.system()};
  for (std::size_t own = 0; own < positions_.count(); ++own) {
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
  const auto made = make_one(birth);
  publish(own, made);
  const auto actor = static_cast<caf::scheduled_actor*>(caf::actor_cast<caf::abstract_actor*>(made));
  unit.begin(*actor);
  if (failed)
    std::rethrow_exception(failed);
  if (const auto reason = actor->fail_state(); reason && reason != caf::exit_reason::user_shutdown)
    throw std::runtime_error{"it ended while it began: " + runtime_.system().render(reason)};
}

void array_part::publish(std::size_t own, const caf::strong_actor_ptr& made) {
  made->get()->attach_functor([part = shared_from_this(), own](const caf::error& reason) { part->element_ended(own, reason); });
  std::lock_guard guard{mutex_};
  if (const auto stub = stubs_.find(own); stub != stubs_.end())
    static_cast<element_stub*>(stub->second->get())->become(made); // nothing is scheduled by that: it hasn't begun
  elements_[own] = made;
  made_ = own + 1;
}

caf::strong_actor_ptr array_part::element(std::size_t own) {
  std::lock_guard guard{mutex_};
  if (own < made_)
    return elements_[own];
  if (ended_)
    return nullptr;
  auto& stub = stubs_[own];
  if (!stub)
    stub = runtime_.elements().make_stub({info_->number, positions_[own]});
  return stub;
}

void array_part::element_ended(std::size_t own, const caf::error& reason) {
  runtime_.hub().element_ended({info_->number, positions_[own]}, reason);
  caf::strong_actor_ptr element, stub; // end without the lock
  {
    std::lock_guard guard{mutex_};
    if (own < made_)
      element.swap(elements_[own]);
    if (const auto i = stubs_.find(own); i != stubs_.end()) {
      stub.swap(i->second);
      stubs_.erase(i);
    }
  }
  if (stub)
    static_cast<element_stub*>(stub->get())->kill_proxy(nullptr, reason);
  for (auto& op : open_operations())
    static_cast<array_operation*>(op->get())->element_ended(own, reason);
}

std::vector<caf::strong_actor_ptr> array_part::open_operations() {
  std::vector<caf::strong_actor_ptr> out;
  std::lock_guard guard{mutex_};
  for (auto op : operations_)
    out.emplace_back(op->ctrl());
  return out;
}

void array_part::open(array_operation& op) {
  std::lock_guard guard{mutex_};
  if (operations_.insert(&op).second)
    caf::intrusive_ptr_add_ref(op.ctrl());
}

void array_part::close(array_operation& op) {
  {
    std::lock_guard guard{mutex_};
    if (operations_.erase(&op) == 0)
      return;
  }
  caf::intrusive_ptr_release(op.ctrl());
}

void array_part::peer_lost(proc_id id) {
  for (auto& p : open_operations())
    if (const auto op = static_cast<array_operation*>(p->get()); op->asked_by() == id)
      op->abandon();
}

void array_part::submit(std::function<void()> f) {
  {
    std::lock_guard guard{mutex_};
    submitted_.push_back(std::move(f));
    if (std::exchange(running_, true))
      return;
  }
  runtime_.jobs().submit([self = shared_from_this()] { self->run_submitted(); });
}

void array_part::run_submitted() {
  while (true) {
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
