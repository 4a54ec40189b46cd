#include "troupe/actors/future_state.hpp"

#include "troupe/actors/kept_value.hpp"
#include "troupe/actors/waiter.hpp"

#include <algorithm>
#include <utility>

namespace troupe::detail {

future_state::future_state() = default;

future_state::~future_state() {
  about_to_be_ready();
  if (registered_)
    home_->remove_state(id_);
}

// Needs mutex_, or to be called before others know the state.
future_state::rest& future_state::more() {
  if (!rest_)
    rest_ = std::make_unique<rest>();
  return *rest_;
}

void future_state::remove_waiter(waiter& w) {
  std::lock_guard guard{mutex_};
  if (rest_)
    std::erase(rest_->waiters, &w);
}

// -- the result ---------------------------------------------------------------------------------------------------------------

// Needs mutex_. Who calls it calls what it returns, without the mutex.
future_state::callbacks future_state::complete(outcome o) {
  outcome_.store(o, std::memory_order_release);
  asked_ = question::none;
  if (!rest_)
    return {};
  rest_->asked_number = 0;
  for (auto w : rest_->waiters)
    w->notify();
  rest_->waiters.clear();
  rest_->kept = nullptr;
  return o == outcome::elsewhere ? callbacks{} : std::exchange(rest_->todo, {});
}

void future_state::hold_until_ready(std::unique_ptr<until_ready> what) { until_ready_.store(what.release(), std::memory_order_release); }

void future_state::about_to_be_ready() {
  if (until_ready_.load(std::memory_order_relaxed) != nullptr)
    delete until_ready_.exchange(nullptr, std::memory_order_acq_rel);
}

bool future_state::set_value(frame_view encoded) {
  return set({{encoded.payload, std::move(encoded.owner), std::move(encoded.references)}, std::move(encoded.landed)});
}

bool future_state::set_kept(kept_value encoded) { return set({std::move(encoded), nullptr}); }

bool future_state::set(encoded value) {
  about_to_be_ready();
  callbacks todo;
  bool unwanted;
  {
    std::lock_guard guard{mutex_};
    unwanted = abandoned_;
    if (here() && !unwanted)
      return false;
    if (!unwanted) {
      value_ = std::move(value);
      todo = complete(outcome::value);
    }
  }
  if (unwanted)
    orphaned(&value);
  for (auto& f : todo)
    f();
  return true;
}

bool future_state::set_error(error_info why) {
  bool unwanted;
  {
    std::lock_guard guard{mutex_};
    unwanted = abandoned_;
  }
  if (unwanted)
    orphaned(nullptr); // the answer to one that was abandoned is no value
  return end_with(std::move(why));
}

bool future_state::end_with(error_info why) {
  about_to_be_ready();
  callbacks todo;
  {
    std::lock_guard guard{mutex_};
    if (here())
      return false;
    error_ = std::make_unique<error_info>(std::move(why));
    todo = complete(outcome::error);
  }
  for (auto& f : todo)
    f();
  return true;
}

bool future_state::set_elsewhere() {
  about_to_be_ready();
  bool wanted = false, unwanted = false, was_ready = false;
  {
    std::lock_guard guard{mutex_};
    unwanted = abandoned_;
    was_ready = ready();
    if (!was_ready) {
      complete(outcome::elsewhere);
      wanted = rest_ && !rest_->todo.empty();
    }
  }
  if (unwanted)
    orphaned(nullptr);
  if (was_ready)
    return false;
  if (wanted && !home_)
    set_error(make_error_info(error_kind::not_decodable, "an answer without a value, where there is no reference that has one"));
  else if (wanted)
    request(ask_op::fetch, false);
  return true;
}

bool future_state::complete_here(const std::function<void()>& keep) {
  about_to_be_ready();
  callbacks todo;
  {
    std::lock_guard guard{mutex_};
    if (here())
      return false;
    keep();
    todo = complete(outcome::value);
  }
  for (auto& f : todo)
    f();
  return true;
}

void future_state::keep_until_ready(std::shared_ptr<void> what) {
  std::lock_guard guard{mutex_};
  if (!ready())
    more().kept = std::move(what);
}

bool future_state::wait(std::optional<time_point> limit) {
  if (ready())
    return true;
  waiter::check_may_block();
  if (asks_)
    request(ask_op::wait, true);
  return wait_until(outcome::elsewhere, limit);
}

void future_state::bring() {
  if (here())
    return;
  waiter::check_may_block();
  if (!asks_)
    wait_until(outcome::elsewhere, std::nullopt);
  if (!here())
    request(ask_op::fetch, true);
  wait_until(outcome::value, std::nullopt);
}

bool future_state::wait_until(outcome least, std::optional<time_point> limit) {
  const auto over = [&] { return outcome_.load(std::memory_order_acquire) >= least; };
  if (over())
    return true;
  waiter::check_may_block();
  about_to_wait();
  auto& me = waiter::of_this_thread();
  // whatever way the wait ends, nobody may notify this thread's waiter for this future any more
  struct leave {
    future_state& state;
    waiter& me;
    ~leave() { state.remove_waiter(me); }
  } leaving{*this, me};
  while (true) {
    me.reset();
    {
      std::lock_guard guard{mutex_};
      if (over())
        return true;
      auto& all = more().waiters;
      if (std::find(all.begin(), all.end(), &me) == all.end())
        all.push_back(&me);
    }
    if (!me.wait(limit))
      return over();
  }
}

void future_state::when_here(std::function<void()> f) {
  bool wanted = false;
  {
    std::unique_lock lock{mutex_};
    if (here()) {
      lock.unlock();
      return f();
    }
    more().todo.push_back(std::move(f));
    wanted = asks_ || ready();
  }
  if (wanted)
    request(ask_op::fetch, false);
}

void future_state::throw_if_failed() {
  if (outcome_.load(std::memory_order_acquire) != outcome::error)
    return;
  settle();
  throw_error(*error_);
}

const error_info* future_state::failure() const {
  return outcome_.load(std::memory_order_acquire) == outcome::error ? error_.get() : nullptr;
}

bool wait_for_any(const std::vector<std::shared_ptr<future_state>>& states, std::optional<future_state::time_point> limit) {
  waiter::check_may_block();
  for (auto& s : states)
    if (s->asks_)
      s->request(ask_op::wait, true);
  auto& me = waiter::of_this_thread();
  me.reset();
  struct leave {
    const std::vector<std::shared_ptr<future_state>>& states;
    waiter& me;
    ~leave() {
      for (auto& s : states)
        s->remove_waiter(me);
    }
  } leaving{states, me};
  for (auto& s : states) {
    std::lock_guard guard{s->mutex_};
    if (s->ready())
      return true;
    s->more().waiters.push_back(&me);
  }
  const auto any = [&] { return std::any_of(states.begin(), states.end(), [](auto& s) { return s->ready(); }); };
  while (!any())
    if (!me.wait(limit))
      return any();
  return true;
}

// -- the reference ----------------------------------------------------------------------------------------------------------------

void future_state::set_call(std::shared_ptr<references> home, const ref_id& id) {
  home_ = std::move(home);
  id_ = id;
  counted_ = true;
}

void future_state::never_sent() {
  std::lock_guard guard{mutex_};
  counted_ = false;
}

void future_state::set_reference(std::shared_ptr<references> home, held_reference_ptr what) {
  home_ = std::move(home);
  id_ = what->id();
  more().held = std::move(what);
  asks_ = true;
  registered_ = true;
}

ref_id future_state::id() {
  std::lock_guard guard{mutex_};
  register_here();
  return id_;
}

held_reference_ptr future_state::held() {
  std::lock_guard guard{mutex_};
  register_here();
  if (counted_ && (!rest_ || !rest_->held)) {
    more().held = home_->hold(id_, references::origin::known);
    counted_ = false;
  }
  return rest_ ? rest_->held : nullptr;
}

bool future_state::published() {
  std::lock_guard guard{mutex_};
  return registered_;
}

// Needs mutex_. Who gets the id from elsewhere finds this state.
void future_state::register_here() {
  if (!home_)
    publish();
  if (!std::exchange(registered_, true))
    home_->add_state(id_, shared_from_this());
}

// Needs mutex_. What was this process's own gets an owner, which is this process, too.
void future_state::publish() {
  home_ = references::of_process();
  if (!home_)
    throw usage_error{"there is no cluster here: a future can be sent, and has an id, inside of troupe::app::run"};
  id_ = home_->next(home_->id());
  if (settled_ || here())
    return; // it travels with what it holds
  auto& r = more();
  r.held = home_->hold(id_, references::origin::untold);
  r.todo.push_back([state = weak_from_this(), held = r.held] { // who completes it keeps it
    if (const auto self = state.lock())
      self->hand_over(held);
  });
}

// The result of what has been published goes to the owner.
void future_state::hand_over(const held_reference_ptr& held) {
  home_->make_known(held);
  borrowed_builder f{home_->actors()};
  if (error_) {
    home_->begin(*f, id_, type(), ask_op::fail);
    write(f->out(), *error_);
  } else {
    home_->begin(*f, id_, type(), ask_op::put);
    write_elements(f->out(), 1, [&](writer& out, std::size_t) { encode(out); });
  }
  home_->ask(id_.where, *f, nullptr, false);
}

bool future_state::settled() { return settled_.load(std::memory_order_acquire); }

void future_state::settle() {
  if (!settled_.load(std::memory_order_acquire))
    settle(std::unique_lock{mutex_});
}

void future_state::settle(std::unique_lock<std::mutex> lock) {
  settled_.store(true, std::memory_order_release);
  const auto held = rest_ ? std::move(rest_->held) : nullptr; // its end comes after the lock's
  const bool counted = std::exchange(counted_, false);
  lock.unlock();
  if (counted)
    home_->give_up(id_);
}

void future_state::request(ask_op op, bool now) {
  {
    std::lock_guard guard{mutex_};
    const auto wanted = op == ask_op::fetch ? question::fetch : question::wait;
    if (here() || !home_ || asked_ >= wanted || (wanted == question::wait && ready()))
      return;
    asked_ = wanted;
  }
  const auto number = send(op, shared_from_this(), now, {});
  std::lock_guard guard{mutex_};
  if (asked_ != question::none)
    more().asked_number = number;
}

std::shared_ptr<reference_answer_state> future_state::ask(ask_op op, bool now, const std::function<void(writer&)>& arguments) {
  auto waiting = std::make_shared<reference_answer_state>();
  send(op, waiting, now, arguments);
  return waiting;
}

std::uint64_t future_state::send(ask_op op, std::shared_ptr<future_state> waiting, bool now,
                                 const std::function<void(writer&)>& arguments) {
  if (const auto h = held())
    home_->make_known(h);
  borrowed_builder f{home_->actors()};
  home_->begin(*f, id_, type(), op);
  if (arguments)
    arguments(f->out());
  return home_->ask(id_.where, *f, std::move(waiting), now);
}

bool future_state::ask_ready() {
  if (ready() || !asks_)
    return ready();
  waiter::check_may_block();
  return ask(ask_op::isready, true)->number() != 0;
}

void future_state::set_at_owner(ask_op op, const std::function<void(writer&)>& value, const std::function<bool()>& set_here) {
  const auto refuse = [&] {
    throw_error(make_error_info(error_kind::already_set, "this future has been set already: it is set only once"));
  };
  if (here())
    refuse();
  if (asks_ || counted_or_held()) {
    waiter::check_may_block();
    ask(op, true, value)->confirm();
    set_here();
    settle();
  } else if (!set_here()) {
    refuse();
  }
}

// Whether somebody else than this process's own code may set it.
bool future_state::counted_or_held() {
  std::lock_guard guard{mutex_};
  return counted_ || (rest_ && rest_->held && id_.where != home_->id());
}

void future_state::cancel() {
  auto why = make_error_info(error_kind::cancelled, "cancelled by who waited for it");
  if (ready())
    return;
  if (asks_) {
    if (const auto h = held())
      home_->make_known(h);
    borrowed_builder f{home_->actors()};
    home_->begin(*f, id_, type(), ask_op::fail);
    write(f->out(), why);
    home_->ask(id_.where, *f, nullptr, false);
  }
  set_error(std::move(why));
}

void future_state::set_known(std::shared_ptr<references> home, const ref_id& id) {
  home_ = std::move(home);
  id_ = id;
  registered_ = true;
  settled_ = true;
}

void reference_answer_state::confirm() {
  wait();
  throw_if_failed();
}

std::uint64_t reference_answer_state::number() { return content(nullptr).get<std::uint64_t>(); }

reader reference_answer_state::content(actor_codec* actors) {
  confirm();
  reader in{payload().value.bytes, actors};
  in.set_references(payload().value.references);
  return in;
}

// -- sharing -------------------------------------------------------------------------------------------------------------------

bool future_state::share_again() {
  auto n = shares_.load(std::memory_order_relaxed);
  while (n > 0)
    if (shares_.compare_exchange_weak(n, n + 1, std::memory_order_acq_rel))
      return true;
  return false;
}

void future_state::dropped() {
  if (settled_.load(std::memory_order_acquire) && here())
    return; // nothing was asked since
  std::uint64_t number = 0;
  {
    std::lock_guard guard{mutex_};
    if (rest_)
      number = std::exchange(rest_->asked_number, 0);
  }
  if (number != 0)
    home_->withdraw(id_, number, false);
  settle();
}

void future_state::abandon(references& home, const ref_id& about, std::uint64_t number, bool keeps_what_came) {
  const auto too_late = [&] { return settled_ || (keeps_what_came && ready()); };
  bool told = gives_back();
  {
    std::lock_guard guard{mutex_};
    if (too_late() || (ready() && outcome_ != outcome::value) || std::exchange(withdrawn_, true))
      return;
    told = told || !ready();
  }
  if (told)
    home.withdraw(about, number, true, gives_back() ? ask_flags::comes_back : std::uint8_t{0});
  encoded back;
  bool value = false;
  {
    // only now may `orphaned` be called: what it tells the owner must come behind the withdrawal
    std::lock_guard guard{mutex_};
    if (!too_late()) {
      abandoned_ = true;
      if (!ready())
        return;
      value = outcome_ == outcome::value;
      back = std::move(value_);
    } else if (!gives_back()) {
      return;
    }
  }
  orphaned(value ? &back : nullptr);
}

} // namespace troupe::detail
