#pragma once

#include "troupe/actors/callable.hpp"
#include "troupe/actors/future.hpp"
#include "troupe/actors/type_tag.hpp"

#include <cstddef>
#include <cstdint>
#include <exception>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

/// Gives a function, or the type of a function object, its name on the wire, so that programs that are built from other sources
/// can call it. At namespace scope, once for each name; two functions of one name stop the program when it starts.
/// @ingroup calls
/// @hideinitializer
#define TROUPE_TASK(F) TROUPE_TASK_AT(F, __COUNTER__)
/// @cond internal
#define TROUPE_TASK_AT(F, N) TROUPE_TASK_NAMED(F, N)
#define TROUPE_TASK_NAMED(F, N) [[maybe_unused]] static const bool troupe_task_##N = ::troupe::detail::name_task<F>(#F);
/// @endcond

namespace troupe::detail {

/// Decodes a function and its arguments, calls it, encodes the result. Throws what the function throws, not_decodable and
/// not_serializable.
using task_function = void (*)(reader& in, writer& out);

/// What the registry knows of a function that can be called from elsewhere.
struct task_entry {
  task_function run = nullptr;
  /// For messages: the function's name or the type of the function object.
  std::string (*label)() = nullptr;
  /// Reads the beginning of a function and its arguments, so that the reader may find a landing among them; null where that would
  /// run anything of the user's.
  void (*seek_landing)(reader& in) = nullptr;
  /// Of its result.
  std::uint64_t (*result_type)() = nullptr;
};

bool add_task(task_entry entry);
bool add_named_task(task_entry entry, const char* name);

/// The number of a function on the wire: of its name if it has one, else of its place in the program's code. Throws usage_error if
/// the code can't be found, which means that it was made at run time.
std::uint64_t task_id(task_function run);

/// Null if there's none.
const task_entry* find_task(std::uint64_t id);

/// "simulate", from the text that the compiler gives for a function with F as template argument.
std::string function_label(const char* pretty);
[[noreturn]] void throw_function_not_serializable(const std::string& label, const std::exception& e);
[[noreturn]] void throw_arguments_not_decodable(const std::string& label, const std::exception& e);
[[noreturn]] void throw_result_not_serializable(const std::string& label, const std::exception& e);

/// The answer of the task that the calling thread runs leaves as soon as it is there, though others follow: it has taken long. Inside of a
/// task.
void answer_at_once();

template <class T>
inline constexpr bool is_future = false;
template <class T>
inline constexpr bool is_future<future<T>> = true;

template <auto F>
std::string label_of_function() {
  return function_label(__PRETTY_FUNCTION__);
}

template <class F>
struct callable_label {
  static std::string text() { return type_text(typeid(F)); }
};
template <auto F>
struct callable_label<fn_t<F>> {
  static std::string text() { return label_of_function<F>(); }
};
template <class F, class... Vs>
struct callable_label<with_t<F, Vs...>> : callable_label<F> {};
template <class F>
struct callable_label<bytes_t<F>> : callable_label<F> {};

/// Encodes what a function has returned. What it has returned by value is given away.
template <class Result, class R>
void encode_result(writer& out, R&& x, std::string (*label)()) {
  const auto begin = out.buffer().size();
  try {
    if constexpr (!std::is_reference_v<R> && can_land<R>)
      write_given_away(out, x);
    else
      write(out, static_cast<const Result&>(x));
  } catch (const std::exception& e) {
    out.buffer().resize(begin);
    throw_result_not_serializable(label(), e);
  }
}

/// One function with the types of its parameters, ready to be called from elsewhere.
template <class F, class Parameters>
struct task;

template <class F, class... Ps>
struct task<F, parameters<Ps...>> {
  static_assert(std::is_invocable_v<F&, decltype(argument<Ps>::pass(std::declval<typename argument<Ps>::held&>()))...>,
                "the function can't be called with these arguments");
  using raw_result = std::invoke_result_t<F&, decltype(argument<Ps>::pass(std::declval<typename argument<Ps>::held&>()))...>;
  /// What the caller gets.
  using result = typename without_future<std::remove_cvref_t<raw_result>>::type;
  static_assert(std::is_void_v<result> || sendable<result>, "the function's result can't be sent back: give its type an inspect(f, x)");

  static std::string label() { return callable_label<F>::text(); }

  static void run(reader& in, writer& out) { run_with(in, out, std::index_sequence_for<Ps...>{}); }

  /// Encodes a call of f; see write_argument.
  template <class... Args>
  static void write_call(writer& out, [[maybe_unused]] lent_memory* lent, const F& f, Args&&... args) {
    static_assert(sizeof...(Args) == sizeof...(Ps), "the function takes another number of arguments");
    callable<F>::write(out, f);
    (write_argument<Ps>(out, lent, std::forward<Args>(args)), ...);
  }

  static constexpr bool has_landing = std::is_trivially_copyable_v<F> && !has_inspect<F> && (can_land<typename argument<Ps>::held> || ...)
                                      && ((can_land<typename argument<Ps>::held> || number<typename argument<Ps>::held>) && ...);

  static constexpr task_entry entry() {
    task_entry e{run, label, nullptr, type_tag<result>};
    if constexpr (has_landing)
      e.seek_landing = [](reader& in) {
        std::tuple<typename argument<Ps>::held...> held;
        callable<F>::read(in);
        std::apply([&](auto&... xs) { (troupe::read(in, xs), ...); }, held);
      };
    return e;
  }

  static inline const bool added = add_task(entry());

  static std::uint64_t id() {
    static_cast<void>(added); // being called registers it before main
    static const std::uint64_t value = task_id(run);
    return value;
  }

private:
  // Each program has as many tasks as it calls functions: few functions for each make it compile fast.
  template <std::size_t... I>
  static void run_with(reader& in, writer& out, std::index_sequence<I...>) {
    std::tuple<typename argument<Ps>::held...> held;
    auto f = decode(in, std::get<I>(held)...);
    if constexpr (std::is_void_v<raw_result>) {
      f(argument<Ps>::pass(std::get<I>(held))...);
    } else if constexpr (is_future<std::remove_cvref_t<raw_result>>) {
      auto waiting = f(argument<Ps>::pass(std::get<I>(held))...);
      if constexpr (std::is_void_v<result>)
        std::move(waiting).get();
      else
        encode_result<result>(out, std::move(waiting).get(), label);
    } else {
      encode_result<result>(out, f(argument<Ps>::pass(std::get<I>(held))...), label);
    }
  }

  static F decode(reader& in, typename argument<Ps>::held&... xs) {
    try {
      auto f = callable<F>::read(in);
      (troupe::read(in, xs), ...);
      in.expect_end();
      return f;
    } catch (const std::exception& e) {
      throw_arguments_not_decodable(label(), e);
    }
  }
};

template <class F, class... Args>
using task_of = task<F, typename parameters_of<F, Args...>::type>;

template <auto F>
bool name_task(const char* name) {
  using named = task_of<fn_t<F>>;
  static_cast<void>(named::added);
  return add_named_task(named::entry(), name);
}

template <class F>
bool name_task(const char* name) {
  using named = task_of<F>;
  static_cast<void>(named::added);
  return add_named_task(named::entry(), name);
}

} // namespace troupe::detail
