#pragma once

/// What programs need that define actors of their own: CAF's actors, messages between processes, c.spawn and c.request.

#include "troupe/actors/array_creation.hpp"
#include "troupe/managers/app.hpp"
#include "troupe/managers/cluster.hpp"
#include "troupe/transport/message_types.hpp"

#include <caf/all.hpp>

#include <string>
#include <tuple>
#include <type_traits>

namespace troupe {

namespace detail {

/// Sends a request and blocks until the answer is there. Throws as cluster::request says.
caf::message ask(const caf::strong_actor_ptr& whom, caf::message question);
[[noreturn]] void throw_answer_mismatch(const caf::message& answer, const std::string& expected);

/// Makes an actor of a class where it runs.
template <class A, class... Args>
struct class_spawner {
  auto operator()(Args... args) const { return here().system().template spawn<A>(std::move(args)...); }
};

/// Makes an actor of a function where it runs.
template <auto F, class... Args>
struct function_spawner {
  auto operator()(Args... args) const { return here().system().spawn(F, std::move(args)...); }
};

// The parameters of an actor's function without the pointer to the actor.
template <class Ps>
struct without_self {
  using type = Ps;
};
template <class Self, class... Ps>
  requires std::is_base_of_v<caf::local_actor, Self>
struct without_self<parameters<Self*, Ps...>> {
  using type = parameters<Ps...>;
};

template <auto F, class Ps>
struct function_spawner_of;
template <auto F, class... Ps>
struct function_spawner_of<F, parameters<Ps...>> {
  using type = function_spawner<F, std::remove_cvref_t<Ps>...>;
};

} // namespace detail

template <class A, class... Args>
auto cluster::spawn(target where, Args&&... args) {
  using spawner = detail::class_spawner<A, typename detail::plain_argument<Args>::type...>;
  return remotecall_fetch(where, spawner{}, std::forward<Args>(args)...);
}

template <auto F, class... Args>
auto cluster::spawn(target where, Args&&... args) {
  using parameters = typename detail::without_self<typename detail::function_parameters<std::decay_t<decltype(F)>>::type>::type;
  return remotecall_fetch(where, typename detail::function_spawner_of<F, parameters>::type{}, std::forward<Args>(args)...);
}

template <class A, class... Args>
auto cluster::spawn_array(const array_extents& n, const placement& where, Args&&... args) {
  using made = detail::class_elements<A, typename detail::plain_argument<Args>::type...>;
  return detail::make_array<A, made>(workers(), n, where, {std::forward<Args>(args)...});
}

template <auto F, class... Args>
auto cluster::spawn_array(const array_extents& n, const placement& where, Args&&... args) {
  using made = typename detail::function_elements_of<F, typename detail::function_parameters<std::decay_t<decltype(F)>>::type>::type;
  return detail::make_array<typename made::element_type, made>(workers(), n, where, {std::forward<Args>(args)...});
}

template <class A>
auto cluster::spawn_array(const array_extents& n) {
  return spawn_array<A>(n, placement::block);
}

template <auto F>
auto cluster::spawn_array(const array_extents& n) {
  return spawn_array<F>(n, placement::block);
}

template <class R, class Handle, class... Ts>
R cluster::request(const Handle& whom, Ts&&... message) {
  auto answer = detail::ask(caf::actor_cast<caf::strong_actor_ptr>(whom), caf::make_message(std::forward<Ts>(message)...));
  if constexpr (!std::is_void_v<R>) {
    if (answer.size() != 1 || !answer.template match_element<R>(0))
      detail::throw_answer_mismatch(answer, detail::demangle(typeid(R).name()));
    return std::move(answer.template get_mutable_as<R>(0));
  } else if (answer.size() != 0 && !(answer.size() == 1 && answer.template match_element<caf::unit_t>(0))) {
    detail::throw_answer_mismatch(answer, "nothing");
  }
}

template <class... Ts>
void app::message_types() {
  troupe::message_types<Ts...>();
}

} // namespace troupe
