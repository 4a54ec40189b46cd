#pragma once

#include "troupe/actors/abstract_channel.hpp"
#include "troupe/actors/call.hpp"
#include "troupe/actors/owned_reference.hpp"
#include "troupe/actors/task.hpp"

#include <algorithm>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace troupe {

template <class T>
class remote_channel;

namespace detail {

/// A question to a channel with a store of the user's own, or to a pool of the user's own, which is answered in a task's turn. Its bytes are the question's from behind the flags on.
struct store_question {
  reference_question q;
  kept_value arguments;
  std::uint32_t done = 0; // values of it that have been put
};

/// What runs the questions to something of the user's own, one at a time, in turns like tasks, and has those wait that can't be done now. Any thread.
/// Locking: `mutex_` guards what it holds but for the store, which belongs to the turn that is running.
///
/// A loop over such a channel gets one value at a time, on lease: if it doesn't use it, it is put into the store again.
class store_runner : public std::enable_shared_from_this<store_runner> {
public:
  explicit store_runner(const ref_id& id);
  virtual ~store_runner();
  store_runner(const store_runner&) = delete;
  store_runner& operator=(const store_runner&) = delete;

  void submit(store_question s);
  /// Returns whether it waited. If it is just being tried, and can't be done, who asked is answered then.
  bool withdraw(proc_id from, std::uint64_t number);
  virtual void forget(proc_id gone);
  /// The value of a lease was used, or not.
  void settle(proc_id from, std::uint64_t lease, bool used);
  void close(const error_info& why);
  /// Tells all who wait, and drops the store, in turn.
  void end(const error_info& why);

  virtual std::uint64_t type() const = 0;

protected:
  /// Does what is asked. Returns false if it can't be done now; throws what the store throws.
  virtual bool attempt(store_question& s, reference_answer& out) = 0;
  virtual std::size_t size() = 0;
  virtual void drop() = 0;
  /// Names it in errors.
  virtual std::string name() const { return "the store of channel " + to_string(id_); }

  const ref_id& id() const { return id_; }

private:
  struct slot {
    store_question s;
    bool over = false;
  };
  struct lease {
    proc_id who;
    std::uint64_t number;
    kept_value value;
  };

  void run();
  bool next(bool& again);
  bool try_slot(std::size_t i);
  bool answer(store_question& s);
  void note_lease(const store_question& s, const reference_answer& out);
  void put_back(const kept_value& value);
  void start();

  const ref_id id_;
  std::mutex mutex_;
  std::deque<store_question> arrived_;
  std::deque<slot> waiting_; // what can't be done now; while a turn is running, only that takes slots out
  std::optional<std::size_t> busy_; // the slot that is being tried
  bool busy_withdrawn_ = false;
  proc_id busy_gone_ = 0; // its asker, if that is gone
  bool look_again_ = false; // all who wait are to be tried
  std::vector<lease> leases_;
  std::optional<error_info> closed_;
  std::optional<error_info> ended_;
  bool running_ = false;
};

/// The part of it that its owner knows.
class owned_store final : public owned_reference {
public:
  owned_store(const ref_id& id, std::shared_ptr<store_runner> runner) : owned_reference(id), runner_(std::move(runner)) {}

  void ask(reference_question& q, reference_work& out) override;
  bool withdraw(proc_id from, std::uint64_t number, reference_work& out) override;
  void forget(proc_id gone, const error_info& why, reference_work& out) override;
  void end(const reason& why, reference_work& out) override;

private:
  const std::shared_ptr<store_runner> runner_;
};

/// Adds it to what lives on this process.
void add_store(std::shared_ptr<store_runner> runner, const ref_id& id, proc_id maker);

[[noreturn]] void throw_other_keys(const ref_id& id, std::uint64_t wanted, std::uint64_t came);

template <class T, class... Keys>
class typed_store_runner final : public store_runner {
public:
  using store = abstract_channel<T, Keys...>;

  typed_store_runner(const ref_id& id, std::shared_ptr<store> s) : store_runner(id), store_(std::move(s)) {}

  std::uint64_t type() const override { return type_tag<remote_channel<T>>(); }

protected:
  bool attempt(store_question& s, reference_answer& out) override {
    reader in{s.arguments.bytes, process_codec()};
    in.set_references(s.arguments.references);
    std::tuple<Keys...> keys;
    if (s.q.op == ask_op::give_back)
      in.take(2 * sizeof(std::uint64_t)); // which take it was, and from where: the store has an order of its own
    const auto came = (s.q.flags & ask_flags::keyed) != 0 ? in.get<std::uint64_t>() : type_tag<std::tuple<>>();
    if (came != type_tag<std::tuple<Keys...>>())
      throw_other_keys(id(), type_tag<std::tuple<Keys...>>(), came);
    troupe::read(in, keys);
    const auto with_keys = [&](auto f) { return std::apply(f, std::as_const(keys)); };
    switch (s.q.op) {
      case ask_op::put:
      case ask_op::give_back: {
        const auto elements = split_elements(in, s.arguments.references);
        for (; s.done < elements.size(); ++s.done) {
          reader element{elements[s.done].bytes, process_codec()};
          element.set_references(elements[s.done].references);
          auto value = troupe::read<T>(element);
          if (!with_keys([&](auto&... ks) { return store_->put(ks..., value); }))
            return false;
        }
        out.what = s.q.at_once() ? reference_answer::kind::number : reference_answer::kind::nothing;
        out.number = 1;
        return true;
      }
      case ask_op::take:
      case ask_op::fetch:
      case ask_op::wait: {
        auto value = with_keys([&](auto&... ks) { return s.q.op == ask_op::take ? store_->take(ks...) : store_->fetch(ks...); });
        if (!value)
          return false;
        if (s.q.op != ask_op::wait) {
          out.what = reference_answer::kind::value;
          out.value = keep(*value);
        }
        return true;
      }
      case ask_op::take_many:
      case ask_op::lease: {
        if constexpr (sizeof...(Keys) == 0) {
          out.what = reference_answer::kind::elements;
          const auto most = s.q.op == ask_op::lease ? 1 : in.get<std::uint64_t>();
          while (out.elements.size() < most) {
            auto value = store_->take();
            if (!value)
              break;
            out.elements.push_back(keep(*value));
          }
          return !out.elements.empty();
        }
        throw_other_keys(id(), type_tag<std::tuple<Keys...>>(), came);
      }
      case ask_op::isready:
        out.what = reference_answer::kind::number;
        out.number = with_keys([&](auto&... ks) { return store_->fetch(ks...).has_value(); });
        return true;
      default:
        throw codec_error{"operation " + std::to_string(static_cast<int>(s.q.op)) + " on a channel with a store"};
    }
  }

  std::size_t size() override { return store_->size(); }

  void drop() override { store_ = nullptr; }

private:
  static kept_value keep(const T& x) {
    byte_buffer bytes;
    std::vector<held_reference_ptr> references;
    writer out{bytes, process_codec()};
    out.set_references(&references);
    write(out, x);
    return kept_value::of(bytes, nullptr, std::move(references));
  }

  std::shared_ptr<store> store_;
};

template <class T, class... Keys>
std::shared_ptr<store_runner> run_store(const ref_id& id, std::shared_ptr<abstract_channel<T, Keys...>> s) {
  return std::make_shared<typed_store_runner<T, Keys...>>(id, std::move(s));
}

// What a factory has returned: what keeps it, and where it is.
template <class S>
auto store_pointer(S&& made) {
  using plain = std::remove_cvref_t<S>;
  if constexpr (requires {
                  *made;
                  typename plain::element_type;
                }) {
    auto* p = made.get();
    using element = typename plain::element_type;
    if (p == nullptr)
      throw usage_error{"the factory of a channel's store returned a null pointer"};
    return std::pair{std::shared_ptr<element>{std::forward<S>(made)}, p};
  } else {
    auto all = std::make_shared<plain>(std::forward<S>(made));
    auto* p = all.get();
    return std::pair{std::move(all), p};
  }
}

/// Calls the factory where the channel is to live.
template <class T, class F>
struct store_maker {
  ref_id id;
  F factory;

  template <class... Args>
  void operator()(Args&&... args) {
    auto [all, p] = store_pointer(std::invoke(factory, std::forward<Args>(args)...));
    add_store(runner_of(all, p), id, id.whence);
  }

private:
  template <class... Keys>
  std::shared_ptr<store_runner> runner_of(std::shared_ptr<void> all, abstract_channel<T, Keys...>* p) {
    return run_store<T, Keys...>(id, std::shared_ptr<abstract_channel<T, Keys...>>{std::move(all), p});
  }
};

template <class T, class F, class... Args>
struct parameters_of<store_maker<T, F>, Args...> : parameters_of<F, Args...> {};
template <class T, class F>
struct callable_label<store_maker<T, F>> : callable_label<F> {};
template <class T, class F>
struct callable<store_maker<T, F>> {
  static void write(writer& out, const store_maker<T, F>& x) {
    out.put(x.id);
    callable<F>::write(out, x.factory);
  }
  static store_maker<T, F> read(reader& in) {
    const auto id = in.get<ref_id>();
    return {id, callable<F>::read(in)};
  }
};

/// Calls a function object on a process, and blocks for its result. Throws what the call throws.
template <class F, class... Args>
auto call_on(proc_id where, const F& f, const Args&... args) {
  using task = task_of<F, Args...>;
  outgoing_call call{where, task::id(), 0, &task::label};
  call.encode([&](writer& out) { task::write_call(out, nullptr, f, args...); });
  auto state = std::make_shared<typed_future_state<typename task::result>>();
  call.send(state, true);
  return future<typename task::result>{std::move(state)}.get();
}

/// Makes a channel with a store, and blocks until it is there.
template <class T, class F>
void make_channel_store(const ref_id& id, F&& factory) {
  call_on(id.where, store_maker<T, std::decay_t<F>>{id, std::forward<F>(factory)});
}

} // namespace detail

} // namespace troupe
