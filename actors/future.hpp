#pragma once

#include "troupe/actors/call_options.hpp"
#include "troupe/actors/future_state.hpp"
#include "troupe/actors/type_tag.hpp"
#include "troupe/transport/codec.hpp"

#include <atomic>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <caf/actor.hpp>
#include <caf/meta/type_name.hpp>

namespace troupe {

/// @addtogroup references
/// @{

class cluster;

template <class T>
class future;

namespace detail {

/// The codec for actor handles of this process; null outside of app::run.
actor_codec* process_codec();

/// Runs a function of the user's on a thread of the executor, in its turn; here and now outside of app::run.
void run_as_job(std::function<void()> f);

/// Throws usage_error outside of app::run.
std::shared_ptr<references> references_of_process();
/// Throws unknown_process, process_exited.
void check_process(proc_id id);

caf::actor actor_of(reference_answer_state& answer);

[[noreturn]] void throw_empty_future();
[[noreturn]] void throw_not_decodable(const char* what_was, const std::string& why);
[[noreturn]] void throw_other_type(const ref_id& id, std::uint64_t wanted);

/// Adds the decoded value, which is made in the first thread that asks for it.
template <class T>
class typed_future_state : public future_state {
public:
  /// Blocks until the value is here.
  const T& value() {
    bring();
    throw_if_failed();
    std::unique_lock lock{mutex()};
    if (!value_)
      decode();
    settle(std::move(lock));
    return *value_;
  }

  /// The value itself, for its only owner.
  T take() {
    value();
    return std::move(*value_);
  }

  /// Returns false, and changes nothing, if it has been set before.
  bool set(T x) {
    return complete_here([&] { value_.emplace(std::move(x)); });
  }

  void seek_landing(reader& in) const override {
    if constexpr (can_land<T>)
      static_cast<void>(read<T>(in));
  }

  std::uint64_t type() const override { return type_tag<T>(); }

  void encode(writer& out) override {
    std::lock_guard guard{mutex()};
    if (value_) {
      if constexpr (sendable<T>) // else nobody can read it elsewhere
        write(out, *value_);
      return;
    }
    auto& encoded = payload().value;
    for (auto& r : encoded.references)
      out.carry(r);
    out.raw(encoded.bytes.data(), encoded.bytes.size());
  }

private:
  void decode() {
    auto& encoded = payload();
    if constexpr (!sendable<T>)
      throw_not_decodable("a result", "values of its type don't travel");
    reader in{encoded.value.bytes, process_codec()};
    in.set_landed(encoded.landed.get());
    in.set_references(encoded.value.references);
    try {
      if constexpr (sendable<T>)
        value_.emplace(read<T>(in));
      in.expect_end();
    } catch (const error&) {
      value_.reset();
      throw;
    } catch (const std::exception& e) {
      value_.reset();
      throw_not_decodable("a result", e.what());
    }
    encoded = {};
  }

  std::optional<T> value_;
};

template <>
class typed_future_state<void> : public future_state {
public:
  void value() {
    wait();
    throw_if_failed();
    settle();
  }
  void take() { value(); }
  bool set() {
    return complete_here([] {});
  }
  std::uint64_t type() const override { return type_tag<void>(); }
};

/// A future's hold on its state. Who sets the state holds it for a moment, too: that is no copy of the future.
template <class T>
class future_share {
public:
  future_share() = default;
  explicit future_share(std::shared_ptr<typed_future_state<T>> state) : state_(std::move(state)) {
    if (state_)
      state_->share();
  }
  future_share(const future_share& other) : future_share(other.state_) {}
  future_share(future_share&&) noexcept = default;
  future_share& operator=(future_share other) noexcept {
    state_.swap(other.state_);
    return *this;
  }
  ~future_share() {
    if (state_)
      state_->unshare();
  }

  /// Of one that has been counted.
  static future_share adopt(std::shared_ptr<typed_future_state<T>> state) {
    future_share out;
    out.state_ = std::move(state);
    return out;
  }

  explicit operator bool() const noexcept { return state_ != nullptr; }
  typed_future_state<T>& operator*() const { return *state_; }
  typed_future_state<T>* operator->() const { return state_.get(); }
  const std::shared_ptr<typed_future_state<T>>& get() const { return state_; }

  /// Whether no other future shares the state.
  bool is_last() const { return state_->shared_once(); }

private:
  std::shared_ptr<typed_future_state<T>> state_;
};

/// What `then` calls with the value of a T.
template <class F, class T>
struct continuation {
  using result = std::remove_cvref_t<std::invoke_result_t<F&, const T&>>;
};
template <class F>
struct continuation<F, void> {
  using result = std::remove_cvref_t<std::invoke_result_t<F&>>;
};

template <class T, class I>
concept indexable = requires(const T& x, I&& i) { x[std::forward<I>(i)]; };

template <class T>
struct without_future {
  using type = T;
};
template <class T>
struct without_future<future<T>> {
  using type = T;
};

/// Gives a state what a function returns, or throws. A future that it returns is followed.
template <class R, class F>
void complete_with(const std::shared_ptr<typed_future_state<R>>& state, F&& f) {
  using raw = std::remove_cvref_t<decltype(f())>;
  try {
    if constexpr (std::is_same_v<raw, future<R>>) {
      f().follow(state);
    } else if constexpr (std::is_void_v<R>) {
      f();
      state->set();
    } else {
      state->set(f());
    }
  } catch (...) {
    state->set_error(describe_current_exception());
  }
}

} // namespace detail

/// A value that is there, or will be, somewhere in the cluster: the result of a call, or what somebody `put`s. Copies, on any process, mean
/// the same; they can be arguments, results, elements of containers, members of structs, and travel in messages of actors. What they stand
/// for is freed when the last copy is gone, or the processes that held them are. Copies on one process share the value once it was fetched.
/// A future that was default-constructed or moved from is empty: all but `valid` throw usage_error.
///
/// All functions may be called from any thread. Those that block give the turn of a task or an actor's handler away, and throw
/// `interrupted` when the user presses Ctrl-C. What the call failed with is thrown by `fetch`, `get` and `wait`, each time:
/// remote_error when the function threw, process_exited when its process is gone, and so on.
template <class T>
class future {
public:
  static_assert(std::is_void_v<T> || std::is_default_constructible_v<T>,
                "results are decoded into a default-constructed value: give the type a default constructor");

  /// What the value is.
  using value_type = T;

  /// An empty one.
  future() = default;

  /// The future of this id, which somebody has told, wherever it lives. Operations throw type_mismatch if it holds no T, usage_error if
  /// nobody holds it any more.
  future(cluster&, const ref_id& id) : future(detail::references_of_process(), id) {}

  /// One without a value that lives here, to be set by `put`. Throws usage_error outside of app::run.
  static future on(cluster& c) { return on(c, detail::references_of_process()->id()); }

  /// One without a value that lives on a process, and is made there when it is first used. Doesn't block. Throws unknown_process,
  /// process_exited.
  static future on(cluster&, proc_id where) {
    detail::check_process(where);
    auto home = detail::references_of_process();
    auto state = std::make_shared<detail::typed_future_state<T>>();
    state->set_reference(home, home->hold(home->next(where), references::origin::untold));
    home->add_state(state->id(), state);
    return future{std::move(state)};
  }

  /// @cond internal
  explicit future(std::shared_ptr<detail::typed_future_state<T>> state) : state_(std::move(state)) {}
  /// @endcond

  /// Whether it stands for a value: it is neither default-constructed nor moved from. Doesn't block.
  bool valid() const noexcept { return static_cast<bool>(state_); }

  /// @name Its value
  /// @{

  /// Blocks until there is a result, and it has been brought here; the reference is valid as long as a copy of the future on this process.
  decltype(auto) fetch() const& { return state().value(); }

  /// The same by value, for a future that ends with the expression.
  T fetch() && { return std::move(*this).get(); }

  /// Blocks until there is a result, and moves it out if this is the only copy of the future on this process. Leaves the future empty.
  T get() && {
    auto s = std::move(state_);
    if (!s)
      detail::throw_empty_future();
    if constexpr (std::is_void_v<T>) {
      s->value();
    } else {
      s->bring();
      if (s.is_last())
        return s->take();
      if constexpr (std::is_copy_constructible_v<T>)
        return s->value();
      else
        return s->take(); // can't be copied: whoever comes first has it
    }
  }

  /// Blocks until the call has ended; throws what it failed with. The result stays where it is.
  void wait() const {
    auto& s = state();
    s.wait();
    s.throw_if_failed();
  }

  /// Blocks no longer than `limit`. Returns whether the call has ended; throws nothing that it failed with.
  template <class Rep, class Period>
  bool wait_for(std::chrono::duration<Rep, Period> limit) const {
    auto& s = state();
    if (s.ready())
      return true;
    return s.wait(detail::moment_after(limit));
  }

  /// Whether `wait` would return, or throw, at once. Asks the process where the future lives unless that is known here, and blocks for the
  /// time of that.
  bool isready() const { return state().ask_ready(); }

  /// Sets the value: for all who wait, anywhere, and here, too. Blocks until the process where the future lives has it. Throws already_set
  /// if it was set before, or has failed.
  template <class U = T>
    requires(!std::is_void_v<T> && std::convertible_to<U &&, T>)
  void put(U&& x) const {
    auto& s = state();
    T value = std::forward<U>(x);
    s.set_at_owner(
      ask_op::put, [&](writer& out) { write_elements(out, 1, [&](writer& w, std::size_t) { write(w, value); }); },
      [&] { return s.set(std::move(value)); });
  }
  /// The same of a future<void>, which has no value: whoever waits goes on.
  void put() const
    requires std::is_void_v<T>
  {
    auto& s = state();
    s.set_at_owner(ask_op::put, [](writer& out) { write_elements(out, 1, [](writer&, std::size_t) {}); }, [&] { return s.set(); });
  }

  /// @}

  /// @name What follows
  /// @{

  /// Has f called with the value (of a future<void>: without one), on a thread of this process's tasks, in its turn. Returns the future of
  /// what it returns; an error of this future is that one's, too. Doesn't block.
  template <class F>
  auto then(F f) const {
    using raw = typename detail::continuation<F, T>::result;
    using R = typename detail::without_future<raw>::type;
    auto out = std::make_shared<detail::typed_future_state<R>>();
    auto& s = state();
    s.when_here([source = state_, out, f = std::make_shared<F>(std::move(f))] {
      detail::run_as_job([source, out, f] {
        detail::complete_with<R>(out, [&]() -> decltype(auto) {
          if constexpr (std::is_void_v<T>) {
            source->value();
            return (*f)();
          } else {
            return (*f)(source->value());
          }
        });
      });
    });
    return future<R>{std::move(out)};
  }

  /// The language's own future of the same value. Doesn't block.
  std::future<T> to_std() const {
    auto out = std::make_shared<std::promise<T>>();
    auto& s = state();
    s.when_here([source = state_, out] {
      detail::run_as_job([source, out] {
        try {
          if constexpr (std::is_void_v<T>) {
            source->value();
            out->set_value();
          } else {
            out->set_value(source->value());
          }
        } catch (...) {
          out->set_exception(std::current_exception());
        }
      });
    });
    return out->get_future();
  }

  /// Ends it with `cancelled`: the call that it is the result of is told to stop, and everybody who waits for it gets the error. Does
  /// nothing if it is ready.
  void cancel() const {
    auto& s = state();
    if (s.open_call().number != 0)
      detail::cancel_call(s);
    else
      s.cancel();
  }

  /// The value is promised by a process: if that is lost before there is one, the future fails with process_exited. Blocks until the
  /// process where the future lives knows.
  void tie(proc_id promised_by) const {
    state().ask(ask_op::tie, true, [=](writer& out) { out.put(promised_by); })->confirm();
  }

  /// @}

  /// @name The reference
  /// @{

  /// Where it lives, who made it, and its number there. Doesn't block. Throws usage_error outside of app::run.
  ref_id id() const { return state().id(); }

  /// The CAF actor that stands for it, to monitor or to link to: it ends when nobody holds the future any more, or its process ends.
  /// Blocks.
  caf::actor actor() const { return detail::actor_of(*state().ask(ask_op::actor, true)); }

  /// @}

  /// An element of the value, as its operator[] gives it. Blocks as `fetch` does.
  template <class I>
    requires detail::indexable<T, I>
  decltype(auto) operator[](I&& i) const {
    return fetch()[std::forward<I>(i)];
  }

  /// Whether both stand for the same value, or both for none; values aren't compared.
  friend bool operator==(const future& a, const future& b) {
    if (!a.valid() || !b.valid() || a.state_.get() == b.state_.get())
      return a.state_.get() == b.state_.get();
    return a.id() == b.id();
  }

  /// @cond internal

  /// What its copies share.
  const std::shared_ptr<detail::typed_future_state<T>>& shared_state() const { return state_.get(); }

  /// Has f called, on any thread, once value or error are here. It must neither block nor throw.
  void when_here(std::function<void()> f) const { state().when_here(std::move(f)); }

  /// Gives `to` what this one gets.
  void follow(const std::shared_ptr<detail::typed_future_state<T>>& to) const {
    auto& s = state();
    s.when_here([source = state_, to] {
      detail::run_as_job([source, to] { detail::complete_with<T>(to, [&]() -> decltype(auto) { return source->value(); }); });
    });
  }

  /// For CAF, outside of the cluster: nothing is written, and what is read is empty.
  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, future&) {
    return f(caf::meta::type_name("troupe::future"));
  }

  /// @endcond

private:
  friend struct codec<future<T>>;

  future(std::shared_ptr<references> home, const ref_id& id) : future(from_hold(home, home->hold(id, references::origin::claimed))) {}

  static future from_hold(const std::shared_ptr<references>& home, const held_reference_ptr& what) {
    auto state = home->share_state(what->id(), [&] {
      auto made = std::make_shared<detail::typed_future_state<T>>();
      made->set_reference(home, what);
      made->share();
      return made;
    });
    return from_shared(state, what->id(), nullptr);
  }

  // The copies that are here already get what has come.
  static future from_known(references& home, const std::shared_ptr<detail::typed_future_state<T>>& came) {
    const auto state = home.share_state(came->id(), [&] {
      came->share();
      return came;
    });
    if (state != came) {
      if (const auto why = came->failure())
        state->set_error(*why);
    }
    return from_shared(state, came->id(), came.get());
  }

  static future from_shared(const std::shared_ptr<detail::future_state>& state, const ref_id& id, detail::typed_future_state<T>* came) {
    auto typed = std::dynamic_pointer_cast<detail::typed_future_state<T>>(state);
    if (!typed) {
      state->unshare();
      detail::throw_other_type(id, detail::type_tag<T>());
    }
    if (came != nullptr && came != typed.get() && !came->failure()) {
      if constexpr (std::is_void_v<T>)
        typed->set();
      else
        typed->set(came->take());
    }
    future out;
    out.state_ = detail::future_share<T>::adopt(std::move(typed));
    return out;
  }

  detail::typed_future_state<T>& state() const {
    if (!state_)
      detail::throw_empty_future();
    return *state_;
  }

  detail::future_share<T> state_;
};

/// How a future travels: one whose value was fetched carries it, any other is a reference to what its owner has.
template <class T>
struct codec<future<T>> {
  enum class form : std::uint8_t { empty, reference, value, error };

  static void write(writer& w, const future<T>& x) {
    if (!x.valid())
      return w.put(form::empty);
    auto& s = *x.state_;
    const auto id = s.id();
    if (auto held = s.settled() ? nullptr : s.held()) {
      w.put(form::reference);
      w.refer(std::move(held));
    } else if (const auto why = s.failure()) {
      w.put(form::error);
      w.put(id);
      troupe::write(w, *why);
    } else {
      w.put(form::value);
      w.put(id);
      if constexpr (!std::is_void_v<T>)
        troupe::write(w, s.value());
    }
  }

  static void read(reader& r, future<T>& x) {
    const auto what = r.get<form>();
    x = {};
    if (what == form::empty)
      return;
    const auto home = detail::references_of_process();
    if (what == form::reference) {
      x = future<T>::from_hold(home, r.referred());
      return;
    }
    if (what != form::value && what != form::error)
      throw codec_error{"a future of form " + std::to_string(static_cast<int>(what))};
    const auto id = r.get<ref_id>();
    auto state = std::make_shared<detail::typed_future_state<T>>();
    if (what == form::error) {
      state->set_error(troupe::read<error_info>(r));
    } else if constexpr (std::is_void_v<T>) {
      state->set();
    } else {
      state->set(troupe::read<T>(r));
    }
    state->set_known(home, id);
    x = future<T>::from_known(*home, state);
  }
};

/// A future of the values of all, once they are there, in their order; of futures of nothing, nothing. It waits for all of them even if one
/// fails; the first error, in that order, is the future's. Brings all values here. Throws usage_error if one is empty. Doesn't block.
template <class T>
auto when_all(const std::vector<future<T>>& all) {
  using R = std::conditional_t<std::is_void_v<T>, void, std::vector<std::conditional_t<std::is_void_v<T>, char, T>>>;
  auto out = std::make_shared<detail::typed_future_state<R>>();
  const auto finish = [all, out] {
    detail::run_as_job([all, out] {
      detail::complete_with<R>(out, [&]() -> R {
        if constexpr (std::is_void_v<T>) {
          for (auto& x : all)
            x.fetch();
        } else {
          R values;
          values.reserve(all.size());
          for (auto& x : all)
            values.push_back(x.fetch());
          return values;
        }
      });
    });
  };
  if (all.empty()) {
    finish();
    return future<R>{std::move(out)};
  }
  const auto left = std::make_shared<std::atomic<std::size_t>>(all.size());
  for (auto& x : all)
    x.when_here([left, finish] {
      if (left->fetch_sub(1) == 1)
        finish();
    });
  return future<R>{std::move(out)};
}

/// A future of the place, from 0, of the first of them whose value, or error, is here; all values are brought here. Throws usage_error if
/// there are none, or one is empty. Doesn't block.
template <class T>
future<std::size_t> when_any(const std::vector<future<T>>& all) {
  if (all.empty())
    throw usage_error{"when_any of no futures would never be ready"};
  auto out = std::make_shared<detail::typed_future_state<std::size_t>>();
  for (std::size_t i = 0; i < all.size(); ++i)
    all[i].when_here([out, i] { out->set(i); });
  return future<std::size_t>{std::move(out)};
}

/// The same for futures of several types: a future of a tuple of their values, std::monostate for nothing.
template <class... Ts>
  requires(sizeof...(Ts) > 0)
auto when_all(const future<Ts>&... xs) {
  using R = std::tuple<std::conditional_t<std::is_void_v<Ts>, std::monostate, Ts>...>;
  auto out = std::make_shared<detail::typed_future_state<R>>();
  const auto left = std::make_shared<std::atomic<std::size_t>>(sizeof...(Ts));
  const auto value = [](auto& x) {
    if constexpr (std::is_void_v<decltype(x.fetch())>) {
      x.fetch();
      return std::monostate{};
    } else {
      return x.fetch();
    }
  };
  const auto one_is_here = [left, out, value, xs...] {
    if (left->fetch_sub(1) == 1)
      detail::run_as_job([=] { detail::complete_with<R>(out, [&] { return R{value(xs)...}; }); });
  };
  (xs.when_here(one_is_here), ...);
  return future<R>{std::move(out)};
}

/// @}

} // namespace troupe

template <class T>
struct std::hash<troupe::future<T>> {
  std::size_t operator()(const troupe::future<T>& x) const { return std::hash<troupe::ref_id>{}(x.id()); }
};
