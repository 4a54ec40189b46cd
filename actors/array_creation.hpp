#pragma once

#include "troupe/actors/actor_array.hpp"
#include "troupe/actors/array_part.hpp"
#include "troupe/actors/callable.hpp"
#include "troupe/actors/collectives.hpp"

#include <caf/all.hpp>

#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

/// How arrays of actors come to be: see cluster::spawn_array.
namespace troupe::detail {

/// Where and with which number a new array is to be made. Blocks for a moment on workers. Throws as cluster::spawn_array does.
array_info plan_array(const array_extents& n, const placement& where, const std::vector<proc_id>& workers, std::string label,
                      std::uint64_t type);

caf::actor_system& system_here();

/// Makes the elements of an array that are to live on this process, which must know it.
void make_elements(std::uint64_t array,
                   const std::function<caf::strong_actor_ptr(const std::shared_ptr<const array_info>&, element_birth&)>& make);

/// Has a process know an array.
struct declare_elements {
  proc_id creator = 0;
  void operator()(const array_info& info) const;
};
/// As long as an array is being made, it ends with who makes it: on the master that is so anyway.
proc_id creator_here();
/// It has been made.
void commit_array(const array_info& info);

/// Makes a process's elements of a class.
template <class A, class... Args>
struct class_elements {
  static_assert(std::is_base_of_v<caf::scheduled_actor, A>, "elements are actors: derive them from caf::event_based_actor");
  static_assert((std::is_copy_constructible_v<Args> && ...), "each element gets its own copy of the arguments");
  using arguments = std::tuple<Args...>;

  static std::string label() { return demangle(typeid(A).name()); }

  std::uint64_t array = 0;

  void operator()(const arguments& args) const {
    make_elements(array, [&](const std::shared_ptr<const array_info>& info, element_birth& b) {
      return std::apply(
        [&](const Args&... xs) {
          auto& system = system_here();
          if constexpr (std::is_constructible_v<A, caf::actor_config&, element<A>, const Args&...>) {
            return caf::make_actor<A, caf::strong_actor_ptr>(b.id, system.node(), &system, b.config, element<A>{info, b.position}, xs...);
          } else {
            static_assert(
              std::is_constructible_v<A, caf::actor_config&, const Args&...>,
              "an element's constructor takes (caf::actor_config&, troupe::element<A>, args…), with the arguments of spawn_array");
            return caf::make_actor<A, caf::strong_actor_ptr>(b.id, system.node(), &system, b.config, xs...);
          }
        },
        args);
    });
  }
};

/// The same of a function (Self*, element<A>, args…).
template <auto F, class Self, class A, class... Ps>
struct function_elements {
  static_assert(std::is_base_of_v<caf::scheduled_actor, Self>, "the function's first parameter is a pointer to an event-based actor");
  static_assert((std::is_copy_constructible_v<typename argument<Ps>::held> && ...), "each element gets its own copy of the arguments");
  using element_type = A;
  using arguments = std::tuple<typename argument<Ps>::held...>;

  static std::string label() { return label_of_function<F>(); }

  std::uint64_t array = 0;

  void operator()(const arguments& args) const {
    make_elements(array, [&](const std::shared_ptr<const array_info>& info, element_birth& b) {
      // runs before the next one is made
      auto begin = [me = element<A>{info, b.position}, &args, &failed = b.failed](Self* self) -> caf::behavior {
        try {
          return call(self, me, args);
        } catch (...) {
          failed = std::current_exception();
          self->quit(caf::sec::runtime_error);
          return {};
        }
      };
      caf::detail::init_fun_factory<Self, decltype(begin)> factory;
      b.config.init_fun = factory(std::move(begin));
      auto& system = system_here();
      return caf::make_actor<Self, caf::strong_actor_ptr>(b.id, system.node(), &system, b.config);
    });
  }

private:
  template <class P>
  static decltype(auto) pass(const typename argument<P>::held& from, typename argument<P>::held& copy) {
    if constexpr (std::is_same_v<P, const typename argument<P>::held&>)
      return from;
    else
      return argument<P>::pass(copy = from);
  }

  static caf::behavior call(Self* self, const element<A>& me, const arguments& args) {
    arguments copies;
    return [&]<std::size_t... I>(std::index_sequence<I...>) -> caf::behavior {
      if constexpr (std::is_void_v<decltype(F(self, me, pass<Ps>(std::get<I>(args), std::get<I>(copies))...))>) {
        F(self, me, pass<Ps>(std::get<I>(args), std::get<I>(copies))...);
        return {};
      } else {
        return F(self, me, pass<Ps>(std::get<I>(args), std::get<I>(copies))...);
      }
    }(std::index_sequence_for<Ps...>{});
  }
};

template <auto F, class Parameters>
struct function_elements_of {
  static_assert(
    !std::is_same_v<Parameters, Parameters>,
    "the function of an array's elements takes (caf::event_based_actor* or caf::stateful_actor<S>*, troupe::element<A>, args…)");
};
template <auto F, class Self, class E, class... Ps>
  requires is_instance_of<std::remove_cvref_t<E>, element>
struct function_elements_of<F, parameters<Self*, E, Ps...>> {
  template <class T>
  struct element_of;
  template <class A>
  struct element_of<element<A>> {
    using type = A;
  };
  using type = function_elements<F, Self, typename element_of<std::remove_cvref_t<E>>::type, Ps...>;
};

template <class A, class Made>
actor_array<A> make_array(std::vector<proc_id> workers, const array_extents& n, const placement& where,
                          const typename Made::arguments& args) {
  const auto info = std::make_shared<const array_info>(plan_array(n, where, workers, Made::label(), type_tag<A>()));
  const auto& hosts = info->layout.hosts();
  try {
    broadcast_over(nullptr, hosts, *info, declare_elements{creator_here()});
    broadcast_over(nullptr, hosts, args, Made{info->number});
  } catch (...) {
    give_up_array(*info);
    throw;
  }
  commit_array(*info);
  return actor_array<A>{info};
}

template <class A, class... Args>
struct callable_label<class_elements<A, Args...>> {
  static std::string text() { return "the constructor of " + demangle(typeid(A).name()); }
};
template <auto F, class Self, class A, class... Ps>
struct callable_label<function_elements<F, Self, A, Ps...>> {
  static std::string text() { return label_of_function<F>(); }
};

} // namespace troupe::detail
