#pragma once

#include "troupe/actors/abstract_channel.hpp"
#include "troupe/actors/channel_asking.hpp"
#include "troupe/actors/channel_reading.hpp"
#include "troupe/actors/channel_store.hpp"

#include <array>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <initializer_list>
#include <iterator>
#include <memory>
#include <optional>
#include <ranges>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace troupe {

/// @addtogroup references
/// @{

namespace detail {

// Keys are sent as what their types decay to, texts as strings.
template <class K>
using key_t = typename plain_argument<K>::type;

/// The element at some places, one within the other.
template <std::size_t I, std::size_t N, class X>
auto element_at(const X& x, const std::array<std::size_t, N>& places) {
  if constexpr (I + 1 == N)
    return x[places[I]];
  else
    return element_at<I + 1>(x[places[I]], places);
}

/// What looks it up where the channel lives.
template <class T, std::size_t N>
struct channel_element {
  auto operator()(const remote_channel<T>& from, const std::array<std::size_t, N>& places) const {
    return element_at<0>(from.fetch(), places);
  }
};

template <class K>
concept channel_key = !std::same_as<std::remove_cvref_t<K>, call_options>;

} // namespace detail

/// A queue of values that lives on one process and is used from any: values come out in the order in which they were put in, each goes to
/// one taker; who waits first is served first. Copies of the handle mean the same channel; they can be arguments, results, elements of
/// containers, members of structs and of channels' values, and travel in messages of actors. The channel is freed when the last copy is
/// gone, or the processes that held them are. A handle that was default-constructed or moved from is empty: all but `valid` throw
/// usage_error.
///
/// A value is copied when it is put. All functions may be called from any thread. All but take_async block at least until the channel's
/// process has answered; they give the turn of a task or an actor's handler away meanwhile, throw `interrupted` when the user presses
/// Ctrl-C, and process_exited when the channel's process is gone. With options they throw deadline_exceeded or `cancelled`; whoever gives
/// up takes nothing with it. (A value that is on its way to a process that is lost at that moment is lost with it. Iteration doesn't lose
/// any.)
template <class T>
class remote_channel {
public:
  static_assert(std::is_default_constructible_v<T>,
                "values are decoded into a default-constructed one: give the type a default constructor");

  /// What the values are.
  using value_type = T;

  /// An empty handle.
  remote_channel() = default;

  /// A channel of this process, for one value.
  static remote_channel on(cluster& c) { return on(c, detail::references_of_process()->id()); }

  /// A channel on a process, for `capacity` values. With 0, who puts waits for who takes. Doesn't block. Throws unknown_process,
  /// process_exited.
  static remote_channel on(cluster&, proc_id where, std::size_t capacity = 1) {
    auto out = made(where, references::origin::known);
    out.link_.ask(ask_op::create, 0, nullptr, false, [&](writer& w) { w.put(static_cast<std::uint64_t>(capacity)); });
    return out;
  }

  /// A channel whose values are kept in what `factory` makes: a class derived from abstract_channel<T, Keys…>, by value or in a
  /// std::unique_ptr or shared_ptr. The factory is anything that a remote call takes, and runs on that process, once, before this returns.
  /// Throws what it throws. Where there are Keys, values go in and out by the forms that take them; `isready`, `wait`, `at`, put_many,
  /// take_many, take_async, the try_ forms and loops throw type_mismatch.
  template <class F>
    requires(!std::integral<std::remove_cvref_t<F>>)
  static remote_channel on(cluster&, proc_id where, F&& factory) {
    auto out = made(where, references::origin::known);
    detail::make_channel_store<T>(out.link_.id(), std::forward<F>(factory));
    return out;
  }

  /// The channel of this id, which somebody has told, wherever it lives. Operations throw type_mismatch if it isn't one of T, usage_error
  /// if nobody holds it any more.
  remote_channel(cluster&, const ref_id& id) {
    link_.home = detail::references_of_process();
    link_.held = link_.home->hold(id, references::origin::claimed);
    link_.type = detail::type_tag<remote_channel>();
  }

  /// Whether it stands for a channel: it is neither default-constructed nor moved from. Doesn't block.
  bool valid() const noexcept { return link_.held != nullptr; }

  /// @name Values in
  /// @{

  /// Puts a value behind the others. Blocks while the channel is full. Throws channel_closed, or what it was closed with. Returns the
  /// channel.
  const remote_channel& put(const T& x) const { return put(call_options{}, x); }
  /// The same with a deadline or a token.
  const remote_channel& put(const call_options& options, const T& x) const {
    put_elements(options, "put", 1, [&](writer& w, detail::lent_memory& lent, std::size_t) { write_lent(w, lent, x); });
    return *this;
  }
  /// The same with a key, or several, in front of the value, for a channel whose store has keys: put(key, value). Throws type_mismatch if
  /// its keys are of other types.
  template <detail::channel_key K, class... Ks>
    requires(sizeof...(Ks) > 0)
  const remote_channel& put(const K& key, const Ks&... more) const {
    return put_keyed(call_options{}, std::forward_as_tuple(key, more...), std::make_index_sequence<sizeof...(Ks)>{});
  }
  /// The same with a deadline or a token.
  template <detail::channel_key K, class... Ks>
    requires(sizeof...(Ks) > 0)
  const remote_channel& put(const call_options& options, const K& key, const Ks&... more) const {
    return put_keyed(options, std::forward_as_tuple(key, more...), std::make_index_sequence<sizeof...(Ks)>{});
  }

  /// Puts all of them, in one message; the channel takes them as there is room, and nobody else's in between. Blocks until it has the last.
  /// Throws as `put` does.
  template <std::ranges::sized_range R>
    requires std::convertible_to<std::ranges::range_reference_t<R>, T>
  void put_many(R&& xs) const {
    put_many(call_options{}, std::forward<R>(xs));
  }
  /// The same with a deadline or a token.
  template <std::ranges::sized_range R>
    requires std::convertible_to<std::ranges::range_reference_t<R>, T>
  void put_many(const call_options& options, R&& xs) const {
    auto i = std::ranges::begin(xs);
    put_elements(options, "put_many", static_cast<std::size_t>(std::ranges::size(xs)), [&](writer& w, detail::lent_memory&, std::size_t) {
      const T& x = *i;
      troupe::write(w, x);
      ++i;
    });
  }
  /// The same of a list.
  void put_many(std::initializer_list<T> xs) const { put_many(call_options{}, xs); }

  /// Puts a value if there is room now; returns whether there was. Throws channel_closed, or what it was closed with.
  bool try_put(const T& x) const {
    auto waiting = std::make_shared<detail::channel_question>(link());
    detail::lent_memory lent{id().where};
    waiting->send(ask_op::put, ask_flags::at_once,
                  [&](writer& out) { write_elements(out, 1, [&](writer& w, std::size_t) { write_lent(w, lent, x); }); });
    detail::wait_or_give_up(waiting, {}, id(), "try_put");
    return waiting->done();
  }
  /// The same, but blocks for the room; false if there is none for so long.
  template <class Rep, class Period>
  bool try_put(const T& x, std::chrono::duration<Rep, Period> limit) const {
    return within(limit, [&](const call_options& o) { put(o, x); });
  }

  /// @}

  /// @name Values out
  /// @{

  /// The first value, which is removed. Blocks while there is none. Throws channel_closed, or what it was closed with, when the channel is
  /// closed and empty.
  T take(const call_options& options = {}) const { return get(ask_op::take, options, "take"); }
  /// The same of a key, or several, for a channel whose store has keys. Throws type_mismatch if its keys are of other types.
  template <detail::channel_key K, class... Ks>
  T take(const K& key, const Ks&... more) const {
    return get(ask_op::take, {}, "take", std::tuple<detail::key_t<K>, detail::key_t<Ks>...>{key, more...});
  }
  /// The same with a deadline or a token.
  template <detail::channel_key K, class... Ks>
  T take(const call_options& options, const K& key, const Ks&... more) const {
    return get(ask_op::take, options, "take", std::tuple<detail::key_t<K>, detail::key_t<Ks>...>{key, more...});
  }

  /// The first value, which stays. Blocks and throws as `take` does.
  T fetch(const call_options& options = {}) const { return get(ask_op::fetch, options, "fetch"); }
  /// The same of a key, or several, for a channel whose store has keys.
  template <detail::channel_key K, class... Ks>
  T fetch(const K& key, const Ks&... more) const {
    return get(ask_op::fetch, {}, "fetch", std::tuple<detail::key_t<K>, detail::key_t<Ks>...>{key, more...});
  }
  /// The same with a deadline or a token.
  template <detail::channel_key K, class... Ks>
  T fetch(const call_options& options, const K& key, const Ks&... more) const {
    return get(ask_op::fetch, options, "fetch", std::tuple<detail::key_t<K>, detail::key_t<Ks>...>{key, more...});
  }

  /// Of the first value, which stays, the element at these places: x[i], or x[i][j]…. It is looked up, in a task, where the channel lives:
  /// only it travels. Blocks while there is no value.
  template <std::integral... Is>
    requires(sizeof...(Is) > 0)
  auto at(Is... places) const {
    constexpr auto n = sizeof...(Is);
    return detail::call_on(id().where, detail::channel_element<T, n>{}, *this,
                           std::array<std::size_t, n>{static_cast<std::size_t>(places)...});
  }

  /// The first values, which are removed: one at least, for which it blocks, and at most `n`, without waiting for more. In one message.
  /// Throws as `take` does.
  std::vector<T> take_many(std::size_t n, const call_options& options = {}) const {
    std::vector<T> out;
    if (n == 0)
      return out;
    auto waiting = std::make_shared<detail::taking_many>(link(), ask_op::take_many);
    waiting->send([&](writer& w) { w.put(static_cast<std::uint64_t>(n)); });
    detail::wait_or_give_up(waiting, options, id(), "take_many");
    waiting->template decode<T>(out);
    return out;
  }

  /// What `take` returns, or nothing if there is no value now. Throws channel_closed, or what it was closed with, when the channel is
  /// closed and empty.
  std::optional<T> try_take() const { return try_get(ask_op::take); }
  /// The same, but blocks for a value; nothing if none comes for so long.
  template <class Rep, class Period>
  std::optional<T> try_take(std::chrono::duration<Rep, Period> limit) const {
    std::optional<T> out;
    within(limit, [&](const call_options& o) { out.emplace(take(o)); });
    return out;
  }
  /// What `fetch` returns, or nothing if there is no value now. Throws as try_take does.
  std::optional<T> try_fetch() const { return try_get(ask_op::fetch); }
  /// The same, but blocks for a value; nothing if none comes for so long.
  template <class Rep, class Period>
  std::optional<T> try_fetch(std::chrono::duration<Rep, Period> limit) const {
    std::optional<T> out;
    within(limit, [&](const call_options& o) { out.emplace(fetch(o)); });
    return out;
  }

  /// The next value, as a future. If that is cancelled, or its last copy goes, before anybody has looked at the value, the value is the
  /// channel's first again.
  future<T> take_async() const {
    auto waiting = std::make_shared<detail::taking<T>>(link(), std::uint8_t{0}, nullptr);
    future<T> out{std::shared_ptr<detail::typed_future_state<T>>{waiting}};
    waiting->send(ask_op::take, false);
    return out;
  }

  /// Blocks until there is a value. Throws channel_closed as `take` does.
  void wait(const call_options& options = {}) const {
    auto waiting = std::make_shared<detail::channel_question>(link());
    waiting->send(ask_op::wait, 0, {});
    detail::wait_or_give_up(waiting, options, id(), "wait");
    waiting->throw_if_failed();
  }

  /// @}

  /// @name The channel
  /// @{

  /// Whether there is a value now.
  bool isready() const { return link().number(ask_op::isready) != 0; }
  /// Whether there is none now.
  bool isempty() const { return !isready(); }
  /// Whether it hasn't been closed.
  bool isopen() const { return link().number(ask_op::isopen) != 0; }
  /// How many values are in it.
  std::size_t size() const { return static_cast<std::size_t>(link().number(ask_op::size)); }

  /// From now on nothing can be put, and who waits to is told; what is in it can still be taken. The second time nothing happens.
  void close() const {
    tell(ask_op::close, [](writer& out) { out.put(std::uint8_t{0}); });
  }
  /// The same, with an error that who puts, or takes from the empty channel, gets instead of channel_closed.
  template <std::derived_from<std::exception> E>
  void close(const E& why) const {
    error_info info;
    try {
      throw why;
    } catch (...) {
      info = describe_current_exception();
    }
    tell(ask_op::close, [&](writer& out) {
      out.put(std::uint8_t{1});
      troupe::write(out, info);
    });
  }

  /// The values are promised by a process: when that is lost, the channel is closed with process_exited.
  void tie(proc_id promised_by) const {
    tell(ask_op::tie, [&](writer& out) { out.put(promised_by); });
  }

  /// Where it lives, who made it, and its number there. Doesn't block.
  ref_id id() const { return link().id(); }

  /// The CAF actor that stands for it, to monitor or to link to: it ends when nobody holds the channel any more, or its process ends.
  caf::actor actor() const {
    auto waiting = std::make_shared<detail::reference_answer_state>();
    link().ask(ask_op::actor, 0, waiting, true);
    return detail::actor_of(*waiting);
  }

  /// Whether both stand for the same channel, or both for none. Doesn't block.
  friend bool operator==(const remote_channel& a, const remote_channel& b) {
    return a.valid() && b.valid() ? a.id() == b.id() : a.valid() == b.valid();
  }

  /// @}

  /// @name Iteration
  /// @{

  /// An input iterator that takes values until the channel is closed and empty. A loop over a channel reads ahead, more the faster it goes:
  /// several values come in a message. They count against the channel's capacity until the loop is done with them, and go back to its front
  /// if the loop ends before, or its process.
  detail::channel_iterator<T> begin() const { return detail::channel_iterator<T>{link()}; }
  /// What an iterator equals when the channel is closed and empty.
  std::default_sentinel_t end() const { return {}; }

  /// @}

  /// For CAF, outside of the cluster: nothing is written, and what is read is empty.
  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, remote_channel&) {
    return f(caf::meta::type_name("troupe::remote_channel"));
  }

private:
  friend struct codec<remote_channel<T>>;

  static remote_channel made(proc_id where, references::origin how) {
    detail::check_process(where);
    remote_channel out;
    out.link_.home = detail::references_of_process();
    out.link_.held = out.link_.home->hold(out.link_.home->next(where), how);
    out.link_.type = detail::type_tag<remote_channel>();
    return out;
  }

  const detail::channel_link& link() const {
    if (!link_.held)
      detail::throw_empty_channel();
    return link_;
  }

  static void write_lent(writer& out, [[maybe_unused]] detail::lent_memory& lent, const T& x) {
    if constexpr (detail::can_land<T>)
      detail::write_lent(out, lent, x);
    else
      troupe::write(out, x);
  }

  template <class Write>
  void put_elements(const call_options& options, const char* what, std::size_t n, Write write) const {
    auto waiting = std::make_shared<detail::channel_question>(link());
    detail::lent_memory lent{id().where};
    waiting->send(ask_op::put, 0, [&](writer& out) { write_elements(out, n, [&](writer& w, std::size_t i) { write(w, lent, i); }); });
    detail::wait_or_give_up(waiting, options, id(), what);
    waiting->throw_if_failed();
  }

  template <class Tuple, std::size_t... I>
  const remote_channel& put_keyed(const call_options& options, const Tuple& all, std::index_sequence<I...>) const {
    const std::tuple<detail::key_t<std::tuple_element_t<I, Tuple>>...> keys{std::get<I>(all)...};
    const T value = std::get<sizeof...(I)>(all);
    auto waiting = std::make_shared<detail::channel_question>(link());
    waiting->send(ask_op::put, ask_flags::keyed, [&](writer& out) {
      write_keys(out, keys);
      write_elements(out, 1, [&](writer& w, std::size_t) { troupe::write(w, value); });
    });
    detail::wait_or_give_up(waiting, options, id(), "put");
    waiting->throw_if_failed();
    return *this;
  }

  template <class Keys>
  static void write_keys(writer& out, const Keys& keys) {
    out.put(detail::type_tag<Keys>());
    troupe::write(out, keys);
  }

  template <class Keys = std::tuple<>>
  T get(ask_op op, const call_options& options, const char* what, const Keys& keys = {}) const {
    constexpr bool keyed = std::tuple_size_v<Keys> > 0;
    std::function<void(writer&)> write;
    if constexpr (keyed)
      write = [keys](writer& out) { write_keys(out, keys); };
    auto waiting = std::make_shared<detail::taking<T>>(link(), keyed ? ask_flags::keyed : std::uint8_t{0}, std::move(write));
    waiting->send(op, true);
    detail::wait_or_give_up(waiting, options, id(), what);
    return waiting->take();
  }

  std::optional<T> try_get(ask_op op) const {
    auto waiting = std::make_shared<detail::taking<T>>(link(), ask_flags::at_once, nullptr);
    waiting->send(op, true);
    detail::wait_or_give_up(waiting, {}, id(), op == ask_op::take ? "try_take" : "try_fetch");
    if (!waiting->here())
      return std::nullopt;
    return waiting->take();
  }

  template <class Rep, class Period, class F>
  static bool within(std::chrono::duration<Rep, Period> limit, F f) {
    try {
      f(call_options{.deadline = detail::clamped(limit)});
      return true;
    } catch (const deadline_exceeded&) {
      return false;
    }
  }

  void tell(ask_op op, const std::function<void(writer&)>& arguments) const {
    auto waiting = std::make_shared<detail::reference_answer_state>();
    link().ask(op, 0, waiting, true, arguments);
    waiting->confirm();
  }

  detail::channel_link link_;
};

/// A channel travels as a reference.
template <class T>
struct codec<remote_channel<T>> {
  static void write(writer& w, const remote_channel<T>& x) {
    w.put(std::uint8_t{x.valid()});
    if (x.valid())
      w.refer(x.link_.held);
  }

  static void read(reader& r, remote_channel<T>& x) {
    x = {};
    if (r.get<std::uint8_t>() == 0)
      return;
    x.link_.held = r.referred();
    x.link_.home = detail::references_of_process();
    x.link_.type = detail::type_tag<remote_channel<T>>();
  }
};

/// @}

} // namespace troupe

template <class T>
struct std::hash<troupe::remote_channel<T>> {
  std::size_t operator()(const troupe::remote_channel<T>& x) const { return std::hash<troupe::ref_id>{}(x.id()); }
};
