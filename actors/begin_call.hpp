#pragma once

#include "troupe/actors/call.hpp"
#include "troupe/actors/call_options.hpp"
#include "troupe/actors/callable.hpp"
#include "troupe/actors/future.hpp"
#include "troupe/actors/lent_memory.hpp"
#include "troupe/actors/task.hpp"

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

/// How functions are called on other processes, for all that do.
namespace troupe::detail {

/// The function in what a caller passes, and what that says of how it is called.
template <class F>
struct call_form {
  using function = F;
  static constexpr std::uint8_t flags = 0;
  static const F& get(const F& f) { return f; }
};

template <class F>
struct call_form<direct_t<F>> {
  using function = F;
  static constexpr std::uint8_t flags = call_direct;
  static const F& get(const direct_t<F>& f) { return f.f; }
};

struct call_manner {
  /// See call_flags.
  std::uint8_t flags = 0;
  /// The caller is going to wait, and lends what it passes. Null: it doesn't.
  lent_memory* lent = nullptr;
  /// Null for none.
  const call_options* options = nullptr;
};

class function_store;

/// Where a call goes, for good.
struct call_place {
  explicit call_place(proc_id where) : id(where) {}
  call_place(proc_id where, std::unique_ptr<until_ready> until_over, std::chrono::steady_clock::time_point begin,
             std::shared_ptr<function_store> kept)
    : id(where), turn(std::move(until_over)), since(begin), functions(std::move(kept)) {}

  proc_id id;
  /// Of a member of a pool, until the call has ended.
  std::unique_ptr<until_ready> turn;
  /// When the time of the call's options began; when it is sent, if there's nothing.
  std::optional<std::chrono::steady_clock::time_point> since;
  /// Which functions a member of a caching pool has.
  std::shared_ptr<function_store> functions;
};

/// Of a function that says `form` of itself.
inline std::uint8_t flags_of(const call_manner& m, std::uint8_t form) {
  const bool reports = (m.flags & call_no_reply) == 0 && m.lent == nullptr;
  return static_cast<std::uint8_t>(m.flags | form | (m.options != nullptr || reports ? call_stoppable : 0));
}

/// Sends what has been encoded.
template <class R>
future<R> send_call(outgoing_call& call, call_place& to, const call_manner& m) {
  const bool now = m.lent != nullptr;
  if ((m.flags & call_no_reply) == 0) {
    auto state = std::make_shared<typed_future_state<R>>();
    if (to.turn)
      state->hold_until_ready(std::move(to.turn));
    if ((m.flags & call_kept) != 0)
      state->set_call(references_of_process(), call.id());
    call.send(state, now);
    return future<R>{std::move(state)};
  }
  if (m.options == nullptr)
    call.send(nullptr, now);
  else
    call.send_unheard();
  return future<R>{};
}

/// Calls f on a process, and returns the future of its result, which is empty if nobody is to hear of it. No sync scope gets it. Throws as cluster's calls do.
template <class F, class... Args>
auto begin_call(call_place to, const call_manner& m, const F& f, Args&&... args) {
  // a function that is passed by its name comes as a pointer, and is told what to do by `callable`
  using how = call_form<std::decay_t<F>>;
  using task = task_of<typename how::function, Args...>;
  outgoing_call call{to.id, task::id(), flags_of(m, how::flags), &task::label, m.options, to.since};
  call.encode([&](writer& out) { task::write_call(out, m.lent, how::get(f), std::forward<Args>(args)...); });
  return send_call<typename task::result>(call, to, m);
}

template <class F, class... Args>
auto begin_call(proc_id to, const call_manner& m, const F& f, Args&&... args) {
  return begin_call(call_place{to}, m, f, std::forward<Args>(args)...);
}

} // namespace troupe::detail
