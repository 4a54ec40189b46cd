#pragma once

#include "troupe/actors/caching_pool.hpp"
#include "troupe/actors/sent_function.hpp"
#include "troupe/actors/task.hpp"

#include <functional>
#include <memory>
#include <type_traits>
#include <utility>

/// How a function is called that the members of a caching pool keep.
namespace troupe::detail {

/// Stands for the function: on its way as what sent_function writes, there as what is kept.
template <class F>
struct kept_callable {
  std::shared_ptr<sent_function> sent;
  proc_id to = 0;
  std::shared_ptr<const F> f;

  template <class... Args>
    requires std::is_invocable_v<F&, Args...>
  decltype(auto) operator()(Args&&... args) const {
    if constexpr (std::is_invocable_v<const F&, Args...>) {
      return std::invoke(*f, std::forward<Args>(args)...);
    } else {
      static_assert(std::is_copy_constructible_v<F>, "a caching pool's function must be callable as const, or copyable");
      static_assert(!std::is_reference_v<std::invoke_result_t<F&, Args...>>,
                    "a function that changes itself is copied for each call: it can't return a reference");
      F own{*f};
      return std::invoke(own, std::forward<Args>(args)...);
    }
  }
};

template <class F>
inline constexpr bool may_be_kept<kept_callable<F>> = false;
template <class F, class... Args>
struct parameters_of<kept_callable<F>, Args...> : parameters_of<F, Args...> {};
template <class F>
struct callable_label<kept_callable<F>> : callable_label<F> {};
template <class F>
struct callable<kept_callable<F>> {
  static void write(writer& out, const kept_callable<F>& x) { x.sent->write(out, x.to); }
  static kept_callable<F> read(reader& in) { return {nullptr, 0, read_sent_function<F>(in)}; }
};

} // namespace troupe::detail
