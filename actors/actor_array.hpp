#pragma once

#include "troupe/actors/array_operation.hpp"
#include "troupe/actors/begin_call.hpp"
#include "troupe/actors/future.hpp"
#include "troupe/actors/sync.hpp"
#include "troupe/actors/type_tag.hpp"
#include "troupe/transport/actor_codec.hpp"
#include "troupe/transport/message_types.hpp"

#include <caf/actor.hpp>
#include <caf/message.hpp>
#include <caf/meta/type_name.hpp>

#include <concepts>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace troupe {

/// @addtogroup actors
/// @{

template <class A>
class actor_array;

namespace detail {

/// The process's own copy of what it knows of an array, if it has one.
std::shared_ptr<const array_info> shared_info(array_info info);
caf::actor element_handle(const array_info& info, std::size_t position);
void end_array(const array_info& info);
/// Of one that couldn't be made. Throws nothing.
void give_up_array(const array_info& info) noexcept;
[[noreturn]] void throw_empty_array();
[[noreturn]] void throw_other_elements(const array_info& info, const std::string& wanted);
std::optional<std::size_t> neighbour_position(const array_info& info, std::size_t of, std::span<const std::int64_t> offsets);

template <class R>
R take_answer(fold_input& in, std::size_t own) {
  auto& answer = in.own[own];
  if (answer.size() != 1 || !answer.template match_element<R>(0))
    throw_answer_mismatch(in, own, demangle(typeid(R).name()));
  return std::move(answer.template get_mutable_as<R>(0));
}

/// What a process makes of its elements' answers: all of them, in the order of their positions.
template <class R>
struct gather_answers {
  std::vector<R> operator()() const {
    auto& in = fold_input::current();
    std::vector<R> out;
    out.reserve(in.own.size());
    for (std::size_t i = 0; i < in.own.size(); ++i)
      out.push_back(take_answer<R>(in, i));
    return out;
  }
};

/// The same: one value, in the array's order as far as the placement keeps it.
template <class R, class Op>
struct fold_answers {
  static_assert(std::is_invocable_r_v<R, Op&, R, R>, "reduce<R>(op, …): op must take two Rs and return one");
  Op op;

  R operator()() {
    auto& in = fold_input::current();
    std::optional<R> out;
    const auto add = [&](R x) { out = out ? R(std::invoke(op, std::move(*out), std::move(x))) : std::move(x); };
    for (auto& r : in.before)
      add(troupe::read<R>(r));
    for (std::size_t i = 0; i < in.own.size(); ++i)
      add(take_answer<R>(in, i));
    for (auto& r : in.behind)
      add(troupe::read<R>(r));
    return std::move(*out);
  }
};

template <class R, class Op>
struct callable_label<fold_answers<R, Op>> : callable_label<Op> {};

template <class R, class Op>
struct callable<fold_answers<R, Op>> {
  static void write(writer& out, const fold_answers<R, Op>& x) { callable<Op>::write(out, x.op); }
  static fold_answers<R, Op> read(reader& in) { return {callable<Op>::read(in)}; }
};

// Types that are sent to all elements needn't be registered by hand.
template <class T>
void register_if_new() {
  if constexpr (!std::is_array_v<T> && caf::type_nr<T>::value == 0 && sendable<T> && std::is_default_constructible_v<T>)
    message_types<T>();
}

} // namespace detail

/// What an element of an array knows of itself: its constructor, or its function, gets it. May be kept and copied; any thread.
template <class A = void>
class element {
public:
  /// Of no array: all functions throw usage_error.
  element() = default;

  /// Which one it is; as a number its position in row-major order.
  array_index index() const { return array_index::at(position_, extents()); }
  /// How large the array is.
  const array_extents& extents() const { return known().layout.extents(); }
  /// The array that it is an element of.
  actor_array<A> array() const {
    known();
    return actor_array<A>{info_};
  }
  /// The element that is so far away in each dimension; an empty handle if that is beyond the array's border. Throws usage_error if the
  /// array has another number of dimensions.
  template <std::integral... Ds>
  caf::actor neighbour(Ds... offsets) const {
    static_assert(sizeof...(Ds) > 0, "how far away is the neighbour?");
    const std::int64_t all[] = {static_cast<std::int64_t>(offsets)...};
    const auto at = detail::neighbour_position(known(), position_, all);
    return at ? detail::element_handle(*info_, *at) : caf::actor{};
  }

  /// @cond internal
  element(std::shared_ptr<const array_info> info, std::size_t position) : info_(std::move(info)), position_(position) {}
  /// @endcond

private:
  const array_info& known() const {
    if (!info_)
      detail::throw_empty_array();
    return *info_;
  }

  std::shared_ptr<const array_info> info_;
  std::size_t position_ = 0;
};

/// A collection of actors with indices, spread over the cluster: see cluster::spawn_array. A handle: copies, on any process, mean the same
/// array; they can be arguments, results, members of what travels. The elements live until they quit, are sent an exit, `end` is called, or
/// their process ends. One that was default-constructed is empty: all but `valid` throw usage_error.
///
/// What is for all elements goes down a tree of processes, one message for each, and answers come up, combined on each process. When a
/// process that has elements is lost, everybody who waits for the array gets process_exited, and so does who asks later. If an element
/// answers with an error, doesn't handle the message or has ended, what waits for all of them throws remote_error, which names it (`item`
/// is its position). All take call_options in front of their arguments, but for broadcast.
///
/// Operations from one process, begun one after the other, reach each element in this order; messages that are sent to single elements have
/// an order of their own. Any thread; those that block say so, give the turn of a task or handler away, and throw would_block in a handler
/// of the array's own elements.
template <class A = void>
class actor_array {
public:
  /// An empty one.
  actor_array() = default;

  /// Whether it stands for an array: it is neither default-constructed nor moved from.
  bool valid() const noexcept { return info_ != nullptr; }

  /// @name Its elements
  /// @{

  /// An element's handle, a plain CAF actor. Asks nobody. Throws usage_error if there's no such element.
  caf::actor operator[](const array_index& i) const { return detail::element_handle(known(), i.position_in(extents())); }

  /// How many elements there are.
  std::size_t size() const { return known().layout.size(); }
  /// How large it is in each dimension.
  const array_extents& extents() const { return known().layout.extents(); }
  /// On which process an element lives. Asks nobody. Throws usage_error if there's no such element.
  proc_id where(const array_index& i) const { return known().layout.where(i.position_in(extents())); }
  /// How the elements were placed, and on which processes.
  troupe::placement placement() const { return known().layout.as_placement(); }

  /// @}

  /// @name Messages to all
  /// @{

  /// Sends all elements a message. Blocks only while their processes have too much unread.
  template <class... Ts>
  void broadcast(Ts&&... message) const {
    begin(array_ask::tell, nullptr, nullptr, std::forward<Ts>(message)...);
  }

  /// The same as a request; the future is ready when every element has handled it: when its handler has returned, or has kept a promise
  /// that it gave.
  template <class... Ts>
    requires(!detail::begins_with_options<Ts...>)
  future<void> step(Ts&&... message) const {
    return begin_step(nullptr, std::forward<Ts>(message)...);
  }
  /// The same with a deadline or a token.
  template <class... Ts>
  future<void> step(const call_options& options, Ts&&... message) const {
    return begin_step(&options, std::forward<Ts>(message)...);
  }

  /// What the elements answer, each an R, in row-major order. Blocks. Throws type_mismatch if one answers something else.
  template <class R, class... Ts>
    requires(!detail::begins_with_options<Ts...>)
  std::vector<R> collect(Ts&&... message) const {
    return collect_with<R>(nullptr, std::forward<Ts>(message)...);
  }
  /// The same with a deadline or a token.
  template <class R, class... Ts>
  std::vector<R> collect(const call_options& options, Ts&&... message) const {
    return collect_with<R>(&options, std::forward<Ts>(message)...);
  }

  /// What the elements answer, each an R, combined: `op` is an F as calls take them, of two Rs, and associative; it mustn't block. It gets
  /// the answers in row-major order if the elements are placed in blocks; else they are in order on each process only, and it must be
  /// commutative, too. Blocks.
  template <class R, class Op, class... Ts>
    requires(!std::same_as<std::remove_cvref_t<Op>, call_options>)
  R reduce(Op&& op, Ts&&... message) const {
    return reduce_with<R>(nullptr, std::forward<Op>(op), std::forward<Ts>(message)...);
  }
  /// The same with a deadline or a token.
  template <class R, class Op, class... Ts>
  R reduce(const call_options& options, Op&& op, Ts&&... message) const {
    return reduce_with<R>(&options, std::forward<Op>(op), std::forward<Ts>(message)...);
  }

  /// What `collect` gives, as a future, without blocking. An element's handler may use it, with `then`.
  template <class R, class... Ts>
    requires(!detail::begins_with_options<Ts...>)
  future<std::vector<R>> collect_async(Ts&&... message) const {
    return begin_collect<R>(nullptr, std::forward<Ts>(message)...);
  }
  /// The same with a deadline or a token.
  template <class R, class... Ts>
  future<std::vector<R>> collect_async(const call_options& options, Ts&&... message) const {
    return begin_collect<R>(&options, std::forward<Ts>(message)...);
  }
  /// What `reduce` gives, as a future, without blocking. An element's handler may use it, with `then`.
  template <class R, class Op, class... Ts>
    requires(!std::same_as<std::remove_cvref_t<Op>, call_options>)
  future<R> reduce_async(Op&& op, Ts&&... message) const {
    return future<R>{begin_reduce<R>(nullptr, std::forward<Op>(op), std::forward<Ts>(message)...)};
  }
  /// The same with a deadline or a token.
  template <class R, class Op, class... Ts>
  future<R> reduce_async(const call_options& options, Op&& op, Ts&&... message) const {
    return future<R>{begin_reduce<R>(&options, std::forward<Op>(op), std::forward<Ts>(message)...)};
  }

  /// Ends all elements, in order behind the operations before: each handles what has come, and then ends with exit_reason::user_shutdown.
  /// Blocks until their processes have told them. May be called again, and when processes are gone.
  void end() const { detail::end_array(known()); }

  /// @}

  /// Whether both stand for the same array, or both for none.
  friend bool operator==(const actor_array& a, const actor_array& b) {
    return a.info_ == b.info_ || (a.info_ && b.info_ && a.info_->number == b.info_->number);
  }

  /// For CAF, outside of the cluster: nothing is written, and what is read is empty.
  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, actor_array&) {
    return f(caf::meta::type_name("troupe::actor_array"));
  }

  /// @cond internal
  explicit actor_array(std::shared_ptr<const array_info> info) : info_(std::move(info)) {}
  /// @endcond

private:
  friend struct codec<actor_array<A>>;

  const array_info& known() const {
    if (!info_)
      detail::throw_empty_array();
    return *info_;
  }

  template <class... Ts>
  void begin(array_ask ask, const call_options* options, std::shared_ptr<detail::future_state> waiting, Ts&&... message) const {
    begin_fold(ask, options, std::move(waiting), 0, [](writer&) {}, std::forward<Ts>(message)...);
  }

  template <class... Ts>
  void begin_fold(array_ask ask, const call_options* options, std::shared_ptr<detail::future_state> waiting, std::uint64_t fold,
                  const std::function<void(writer&)>& write_fold, Ts&&... message) const {
    static_assert(sizeof...(Ts) > 0, "what shall the elements be told? Pass the message behind the other arguments");
    (detail::register_if_new<std::remove_cvref_t<Ts>>(), ...);
    detail::begin_array_operation(known(), ask, options, std::move(waiting), fold, write_fold,
                                  caf::make_message(std::forward<Ts>(message)...));
  }

  template <class... Ts>
  future<void> begin_step(const call_options* options, Ts&&... message) const {
    std::shared_ptr<detail::typed_future_state<void>> state = std::make_shared<detail::step_state>(known().number);
    begin(array_ask::handle, options, state, std::forward<Ts>(message)...);
    future<void> out{std::move(state)};
    detail::sync_scope::add(out);
    return out;
  }

  template <class R, class... Ts>
  std::shared_ptr<detail::reference_answer_state> ask_all(const call_options* options, Ts&&... message) const {
    using fold = detail::task_of<detail::gather_answers<R>>;
    auto state = std::make_shared<detail::reference_answer_state>();
    begin_fold(
      array_ask::collect, options, state, fold::id(), [](writer& out) { detail::callable<detail::gather_answers<R>>::write(out, {}); },
      std::forward<Ts>(message)...);
    return state;
  }

  // Blocks until they are there.
  template <class R>
  static std::vector<R> answers_of(const array_info& info, detail::reference_answer_state& state) {
    std::vector<R> out(info.layout.size());
    for (auto& part : detail::collected_parts(info, state)) {
      auto values = read<std::vector<R>>(part.content);
      const auto positions = info.layout.positions_on(part.from);
      if (values.size() != positions.count())
        detail::throw_not_decodable("what elements answered",
                                    std::to_string(values.size()) + " answers of " + std::to_string(positions.count()) + " elements");
      for (std::size_t i = 0; i < values.size(); ++i)
        out[positions[i]] = std::move(values[i]);
    }
    return out;
  }

  template <class R, class... Ts>
  std::vector<R> collect_with(const call_options* options, Ts&&... message) const {
    detail::check_may_wait_for(known().number, "to collect");
    return answers_of<R>(known(), *ask_all<R>(options, std::forward<Ts>(message)...));
  }

  template <class R, class... Ts>
  future<std::vector<R>> begin_collect(const call_options* options, Ts&&... message) const {
    const auto all = ask_all<R>(options, std::forward<Ts>(message)...);
    const auto out = std::make_shared<detail::typed_future_state<std::vector<R>>>();
    all->when_here([all, out, info = info_] {
      detail::run_as_job([=] { detail::complete_with<std::vector<R>>(out, [&] { return answers_of<R>(*info, *all); }); });
    });
    return future<std::vector<R>>{out};
  }

  template <class R, class Op, class... Ts>
  std::shared_ptr<detail::typed_future_state<R>> begin_reduce(const call_options* options, Op&& op, Ts&&... message) const {
    using function = detail::fold_answers<R, std::decay_t<Op>>;
    using fold = detail::task_of<function>;
    const function f{std::forward<Op>(op)};
    auto state = std::make_shared<detail::typed_future_state<R>>();
    begin_fold(
      array_ask::reduce, options, state, fold::id(), [&](writer& out) { detail::callable<function>::write(out, f); },
      std::forward<Ts>(message)...);
    return state;
  }

  template <class R, class Op, class... Ts>
  R reduce_with(const call_options* options, Op&& op, Ts&&... message) const {
    detail::check_may_wait_for(known().number, "to reduce");
    return begin_reduce<R>(options, std::forward<Op>(op), std::forward<Ts>(message)...)->take();
  }

  std::shared_ptr<const array_info> info_;
};

template <class A>
struct codec<actor_array<A>> {
  static void write(writer& w, const actor_array<A>& x) {
    w.put(static_cast<std::uint8_t>(x.valid() ? 1 : 0));
    if (x.valid())
      troupe::write(w, *x.info_);
  }

  static void read(reader& r, actor_array<A>& x) {
    x = {};
    if (r.get<std::uint8_t>() == 0)
      return;
    auto info = troupe::read<array_info>(r);
    if (info.type != detail::type_tag<A>())
      detail::throw_other_elements(info, detail::demangle(typeid(A).name()));
    x.info_ = detail::shared_info(std::move(info));
  }
};

/// @}

} // namespace troupe
