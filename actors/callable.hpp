#pragma once

#include "troupe/actors/lent_memory.hpp"
#include "troupe/transport/codec.hpp"
#include "troupe/transport/error.hpp"

#include <bit>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

// What can be called on another process, and how it travels there.
namespace troupe {

/// @addtogroup calls
/// @{

/// A function that is known when the program is compiled: nothing of it travels but its name. `troupe::fn<simulate>`.
template <auto F>
struct fn_t {
  /// Calls it here.
  template <class... Args>
  decltype(auto) operator()(Args&&... args) const {
    return std::invoke(F, std::forward<Args>(args)...);
  }
};

/// As a function of a remote call: F, a function or a pointer to a member function, whose object is then the first argument.
template <auto F>
inline constexpr fn_t<F> fn{};

/// A function with values in front of its arguments; `with` makes it.
template <class F, class... Vs>
struct with_t {
  /// What it gets in front of its arguments.
  std::tuple<Vs...> values;
  /// The function.
  F f;

  /// Calls it here, with references to the values.
  template <class... Args>
  decltype(auto) operator()(Args&&... args) {
    return std::apply([&](auto&... vs) -> decltype(auto) { return std::invoke(f, vs..., std::forward<Args>(args)...); }, values);
  }

  /// The same if function and values are const.
  template <class... Args>
    requires std::is_invocable_v<const F&, const Vs&..., Args...>
  decltype(auto) operator()(Args&&... args) const {
    return std::apply([&](auto&... vs) -> decltype(auto) { return std::invoke(f, vs..., std::forward<Args>(args)...); }, values);
  }
};

/// Values that travel with a function, which gets them in front of its arguments: `with(grid, seed, f)`. They may be anything
/// that can be sent. The function is the last argument.
template <class... Xs>
auto with(Xs&&... xs) {
  static_assert(sizeof...(Xs) >= 1, "troupe::with(values…, f): the function is missing");
  // by their addresses: g++ 12 takes a lambda with captures for not trivially copyable once there is a tuple of it
  auto all = std::make_tuple(std::addressof(xs)...);
  return [&]<std::size_t... I>(std::index_sequence<I...>) {
    using types = std::tuple<Xs&&...>;
    constexpr auto last = sizeof...(Xs) - 1;
    return with_t<std::decay_t<std::tuple_element_t<last, types>>, std::decay_t<std::tuple_element_t<I, types>>...>{
      {static_cast<std::tuple_element_t<I, types>>(*std::get<I>(all))...},
      static_cast<std::tuple_element_t<last, types>>(*std::get<last>(all))};
  }(std::make_index_sequence<sizeof...(Xs) - 1>{});
}

/// A function object whose captures travel as they lie in memory; `bytes` makes it.
template <class F>
struct bytes_t {
  static_assert(std::is_trivially_copyable_v<F>, "troupe::bytes(f): only a trivially copyable function object is its bytes");
  /// The function object.
  F f;

  /// Calls it here.
  template <class... Args>
  decltype(auto) operator()(Args&&... args) {
    return std::invoke(f, std::forward<Args>(args)...);
  }

  /// The same if it is const.
  template <class... Args>
    requires std::is_invocable_v<const F&, Args...>
  decltype(auto) operator()(Args&&... args) const {
    return std::invoke(f, std::forward<Args>(args)...);
  }
};

/// A function object whose captures travel as they lie in memory, without a look at what they are.
template <class F>
bytes_t<std::decay_t<F>> bytes(F&& f) {
  return {std::forward<F>(f)};
}

/// A function that runs where its call is received; `direct` makes it.
template <class F>
struct direct_t {
  /// The function.
  F f;
};

/// A short function: it runs where its call is received, without waiting for a turn. It must not block: what would, throws usage_error.
template <class F>
direct_t<std::decay_t<F>> direct(F&& f) {
  return {std::forward<F>(f)};
}

namespace detail {

// -- parameter types --------------------------------------------------------------------------------------------------

template <class... Ps>
struct parameters {};

template <class M>
struct member_parameters;

template <class C, class R, class... Ps>
struct member_parameters<R (C::*)(Ps...)> {
  using type = parameters<Ps...>;
};
template <class C, class R, class... Ps>
struct member_parameters<R (C::*)(Ps...) const> : member_parameters<R (C::*)(Ps...)> {};
template <class C, class R, class... Ps>
struct member_parameters<R (C::*)(Ps...) noexcept> : member_parameters<R (C::*)(Ps...)> {};
template <class C, class R, class... Ps>
struct member_parameters<R (C::*)(Ps...) const noexcept> : member_parameters<R (C::*)(Ps...)> {};

template <class F>
struct function_parameters;

template <class R, class... Ps>
struct function_parameters<R (*)(Ps...)> {
  using type = parameters<Ps...>;
};
template <class R, class... Ps>
struct function_parameters<R (*)(Ps...) noexcept> : function_parameters<R (*)(Ps...)> {};

// The object of a member function is its first argument.
template <class R, class C, class... Ps>
struct function_parameters<R (C::*)(Ps...)> {
  using type = parameters<C&, Ps...>;
};
template <class R, class C, class... Ps>
struct function_parameters<R (C::*)(Ps...) const> : function_parameters<R (C::*)(Ps...)> {};
template <class R, class C, class... Ps>
struct function_parameters<R (C::*)(Ps...) noexcept> : function_parameters<R (C::*)(Ps...)> {};
template <class R, class C, class... Ps>
struct function_parameters<R (C::*)(Ps...) const noexcept> : function_parameters<R (C::*)(Ps...)> {};

template <class Ps, std::size_t N>
struct drop_front {
  using type = Ps;
};
template <class P, class... Ps, std::size_t N>
  requires(N > 0)
struct drop_front<parameters<P, Ps...>, N> : drop_front<parameters<Ps...>, N - 1> {};

// What an argument is when nothing but the argument says so: a generic lambda's.
template <class A>
struct plain_argument {
  using type = std::decay_t<A>;
};
template <class A>
  requires std::same_as<std::decay_t<A>, const char*> || std::same_as<std::decay_t<A>, char*>
struct plain_argument<A> {
  using type = std::string;
};

template <class F, class... Args>
struct parameters_of {
  using type = parameters<typename plain_argument<Args>::type...>;
};
template <class F, class... Args>
  requires requires { &F::operator(); }
struct parameters_of<F, Args...> : member_parameters<decltype(&F::operator())> {};
template <auto F, class... Args>
struct parameters_of<fn_t<F>, Args...> : function_parameters<std::decay_t<decltype(F)>> {};
template <class F, class... Args>
struct parameters_of<bytes_t<F>, Args...> : parameters_of<F, Args...> {};
template <class F, class... Vs, class... Args>
struct parameters_of<with_t<F, Vs...>, Args...> : drop_front<typename parameters_of<F, Vs..., Args...>::type, sizeof...(Vs)> {};

// -- arguments ----------------------------------------------------------------------------------------------------------

// What holds an argument while the function runs, and how it is passed.
template <class P>
struct argument {
  using held = std::remove_cvref_t<P>;
  static_assert(std::is_default_constructible_v<held>,
                "arguments are decoded into a default-constructed value: give the parameter's type a default constructor");

  static decltype(auto) pass(held& x) {
    if constexpr (std::is_lvalue_reference_v<P>)
      return static_cast<held&>(x);
    else
      return std::move(x);
  }
};

template <class P>
  requires is_span<std::remove_cvref_t<P>>::value
struct argument<P> {
  using span = std::remove_cvref_t<P>;
  using held = std::vector<std::remove_cv_t<typename span::element_type>>;
  static span pass(held& x) { return span{x}; }
};

template <class P>
  requires std::same_as<std::remove_cvref_t<P>, std::string_view> || std::same_as<std::remove_cvref_t<P>, const char*>
struct argument<P> {
  using held = std::string;
  static auto pass(held& x) {
    if constexpr (std::same_as<std::remove_cvref_t<P>, const char*>)
      return x.c_str();
    else
      return std::string_view{x};
  }
};

/// Writes a container that is given away, and stays where it is if that is worth it.
template <class C>
void write_given_away(writer& out, C& x) {
  // another allocator may need what the caller is about to end
  if (!std::allocator_traits<typename C::allocator_type>::is_always_equal::value
      || x.size() * sizeof(typename C::value_type) < landing::least)
    return write(out, static_cast<const C&>(x));
  const auto kept = std::make_shared<const C>(std::move(x));
  writer::referring scope{out, kept};
  write(out, *kept);
}

/// Writes a container or span, which is lent if it is worth it.
template <class C>
void write_lent(writer& out, lent_memory& lent, const C& x) {
  if (x.size() * sizeof(*x.data()) < landing::least)
    return write_value(out, x);
  writer::referring scope{out, lent.token()};
  write_value(out, x);
}

/// `lent`: if the caller lends its memory, else null.
template <class P, class A>
void write_argument(writer& out, lent_memory* lent, A&& a) {
  using wanted = std::remove_cvref_t<P>;
  using held = typename argument<P>::held;
  if constexpr (std::same_as<std::remove_cvref_t<A>, held> && can_land<held>) {
    if (lent != nullptr)
      write_lent(out, *lent, static_cast<const held&>(a));
    else if constexpr (std::same_as<A, held>)
      write_given_away(out, a);
    else
      write(out, static_cast<const held&>(a));
  } else if constexpr (std::same_as<std::remove_cvref_t<A>, held>) {
    write(out, static_cast<const held&>(a));
  } else if constexpr (is_span<wanted>::value) {
    static_assert(std::is_convertible_v<A&&, wanted> || std::is_convertible_v<A&&, held>,
                  "an argument doesn't convert to the parameter's type");
    static_assert(sendable<held>, "values of this type can't be sent to another process");
    if constexpr (!std::is_convertible_v<A&&, wanted>)
      write_value(out, held(std::forward<A>(a)));
    else if (block<wanted> && lent != nullptr)
      write_lent(out, *lent, wanted(a));
    else
      write_value(out, wanted(a));
  } else {
    static_assert(std::is_convertible_v<A&&, held> || std::is_convertible_v<A&&, wanted>,
                  "an argument doesn't convert to the parameter's type");
    if constexpr (std::is_convertible_v<A&&, held>) {
      const held converted = std::forward<A>(a);
      write(out, converted);
    } else {
      const wanted converted = std::forward<A>(a);
      write(out, held(converted));
    }
  }
}

// -- the function itself ------------------------------------------------------------------------------------------------

void throw_pointer_in_capture(const found_pointer& found, const std::string& function);
std::string type_text(const std::type_info& type);

template <class F>
inline constexpr bool is_fn = false;
template <auto F>
inline constexpr bool is_fn<fn_t<F>> = true;

/// How a function object travels. The primary is for function objects that have an inspect, or are their bytes.
template <class F>
struct callable {
  static_assert(!std::is_pointer_v<F> && !std::is_function_v<F>,
                "pass a function as a template argument, c.remotecall<f>(where, ...), or as troupe::fn<f>: its address means nothing "
                "in another process");
  static_assert(!std::is_member_pointer_v<F>, "pass a member function as troupe::fn<&T::f>, with the object as first argument");
  static_assert(std::is_pointer_v<F> || has_inspect<F> || std::is_trivially_copyable_v<F>,
                "the captures of a function that is sent must be trivially copyable: send others with troupe::with(values…, f)");

  static void write(writer& out, const F& f) {
    if constexpr (has_inspect<F>) {
      troupe::write(out, f);
    } else if constexpr (!std::is_empty_v<F>) {
      if constexpr (pointer_check_possible<F>) {
        auto bytes = cleared_bytes(f);
        if (auto found = find_pointer(bytes))
          throw_pointer_in_capture(*found, type_text(typeid(F)));
        out.raw(bytes.data(), bytes.size());
      } else {
        out.put(f);
      }
    }
  }

  static F read(reader& in) {
    if constexpr (has_inspect<F>) {
      return troupe::read<F>(in);
    } else {
      std::array<std::byte, sizeof(F)> bytes{};
      if constexpr (!std::is_empty_v<F>)
        std::memcpy(bytes.data(), in.take(sizeof(F)).data(), sizeof(F));
      return std::bit_cast<F>(bytes);
    }
  }
};

template <auto F>
struct callable<fn_t<F>> {
  static void write(writer&, const fn_t<F>&) {}
  static fn_t<F> read(reader&) { return {}; }
};

template <class F>
struct callable<bytes_t<F>> {
  static void write(writer& out, const bytes_t<F>& f) {
    if constexpr (!std::is_empty_v<F>)
      out.put(f.f);
  }
  static bytes_t<F> read(reader& in) {
    std::array<std::byte, sizeof(F)> raw{};
    if constexpr (!std::is_empty_v<F>)
      std::memcpy(raw.data(), in.take(sizeof(F)).data(), sizeof(F));
    return {std::bit_cast<F>(raw)};
  }
};

template <class F, class... Vs>
struct callable<with_t<F, Vs...>> {
  static void write(writer& out, const with_t<F, Vs...>& f) {
    std::apply([&](auto&... vs) { (troupe::write(out, vs), ...); }, f.values);
    callable<F>::write(out, f.f);
  }
  static with_t<F, Vs...> read(reader& in) {
    std::tuple<Vs...> values;
    std::apply([&](auto&... vs) { (troupe::read(in, vs), ...); }, values);
    return {std::move(values), callable<F>::read(in)};
  }
};

} // namespace detail

/// @}

} // namespace troupe
