#pragma once

#include "troupe/actors/begin_call.hpp"

#include <array>
#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

/// What several processes do together, for one that asks; see cluster::reduce and its kin.
namespace troupe::detail {

/// What a process gives on to others: it calls the first of each half of those behind it, and they the same.
std::array<std::vector<proc_id>, 2> halves_behind_first(const std::vector<proc_id>& ids);

/// The calls that one process of a tree, or who asks, has under way. What hasn't ended when this does is cancelled.
template <class R>
class collective_calls {
public:
  collective_calls() = default;
  ~collective_calls() {
    for (auto& c : calls_)
      if (c.valid() && !c.shared_state()->ready())
        c.cancel();
  }
  collective_calls(const collective_calls&) = delete;
  collective_calls& operator=(const collective_calls&) = delete;

  /// `call` returns the future of the next one. A process that has gone is an error among others.
  template <class Call>
  void begin(Call call) {
    calls_.emplace_back();
    errors_.emplace_back();
    try {
      calls_.back() = call();
    } catch (const process_exited&) {
      errors_.back() = std::current_exception();
    }
  }

  /// Blocks until all have ended. Throws the first error, in the order of the calls; `own` comes before theirs.
  void wait(std::exception_ptr own = nullptr) {
    for (std::size_t i = 0; i < calls_.size(); ++i) {
      try {
        if (calls_[i].valid())
          calls_[i].wait();
      } catch (...) {
        errors_[i] = std::current_exception();
      }
    }
    if (own)
      std::rethrow_exception(own);
    for (auto& e : errors_)
      if (e)
        std::rethrow_exception(e);
  }

  /// The results, in the order of the calls; after `wait`.
  std::vector<future<R>>& calls() { return calls_; }

private:
  std::vector<future<R>> calls_;
  std::vector<std::exception_ptr> errors_;
};

/// One process's part in a reduction over these and all behind it, in order.
template <class F, class Op>
struct reduce_segment {
  using value = std::remove_cvref_t<std::invoke_result_t<F&>>;
  static_assert(!std::is_void_v<value>, "F returns nothing that could be reduced");
  using result = std::remove_cvref_t<std::invoke_result_t<Op&, value, value>>;
  static_assert(std::is_invocable_r_v<result, Op&, result, result>, "the operator doesn't take two of its own results");
  F f;
  Op op;

  result operator()(std::vector<proc_id> ids) {
    collective_calls<result> below;
    for (auto& half : halves_behind_first(ids))
      if (!half.empty())
        below.begin([&] { return begin_call(half.front(), {}, *this, half); });
    std::optional<result> out;
    std::exception_ptr failed;
    try {
      out.emplace(static_cast<result>(std::invoke(f)));
    } catch (...) {
      failed = std::current_exception();
    }
    below.wait(failed);
    for (auto& c : below.calls())
      out = std::invoke(op, std::move(*out), std::move(c).get());
    return std::move(*out);
  }
};

template <class F, class Op>
struct callable_label<reduce_segment<F, Op>> : callable_label<F> {};

template <class F, class Op>
struct callable<reduce_segment<F, Op>> {
  static void write(writer& out, const reduce_segment<F, Op>& x) {
    callable<F>::write(out, x.f);
    callable<Op>::write(out, x.op);
  }
  static reduce_segment<F, Op> read(reader& in) {
    auto f = callable<F>::read(in);
    return {std::move(f), callable<Op>::read(in)};
  }
};

/// One process's part in a broadcast: hands the value on, and calls F with it.
template <class F, class V>
struct broadcast_segment {
  static_assert(std::is_invocable_v<F&, V&>, "broadcast: F doesn't take the value");
  F f;

  void operator()(std::vector<proc_id> ids, V v) {
    collective_calls<void> below;
    for (auto& half : halves_behind_first(ids))
      if (!half.empty())
        below.begin([&] { return begin_call(half.front(), {}, *this, half, std::as_const(v)); });
    std::exception_ptr failed;
    try {
      std::invoke(f, v);
    } catch (...) {
      failed = std::current_exception();
    }
    below.wait(failed);
  }
};

template <class F, class V>
struct callable_label<broadcast_segment<F, V>> : callable_label<F> {};

template <class F, class V>
struct callable<broadcast_segment<F, V>> {
  static void write(writer& out, const broadcast_segment<F, V>& x) { callable<F>::write(out, x.f); }
  static broadcast_segment<F, V> read(reader& in) { return {callable<F>::read(in)}; }
};

/// Throws an error that has come up a tree of functions of this name as if its process had been called directly.
[[noreturn]] void throw_without_hops(const error_info& why);

/// Whether every process may call every other: see topology.
bool all_may_call();

/// Calls the processes of a tree one by one, from here, and blocks until all have ended.
template <class Segment, class... Args>
auto run_without_tree(const call_options* options, const std::vector<proc_id>& ids, const Segment& segment, const Args&... args) {
  using result = decltype(std::declval<Segment&>()(ids, args...));
  collective_calls<result> all;
  for (auto id : ids)
    all.begin([&] { return begin_call(id, {.options = options}, segment, std::vector<proc_id>{id}, args...); });
  try {
    all.wait();
  } catch (const remote_error& e) {
    throw_without_hops(e.info());
  }
  if constexpr (!std::is_void_v<result>) {
    auto op = segment.op;
    auto out = std::move(all.calls().front()).get();
    for (std::size_t i = 1; i < ids.size(); ++i)
      out = std::invoke(op, std::move(out), std::move(all.calls()[i]).get());
    return out;
  }
}

/// Calls the first process of a tree, and blocks until all have ended.
template <class Segment, class... Args>
auto run_tree(const call_options* options, const std::vector<proc_id>& ids, const Segment& segment, const Args&... args) {
  using result = decltype(std::declval<Segment&>()(ids, args...));
  if (!all_may_call())
    return run_without_tree(options, ids, segment, args...);
  collective_calls<result> root;
  root.begin([&] { return begin_call(ids.front(), {.options = options}, segment, ids, args...); });
  try {
    root.wait();
  } catch (const remote_error& e) {
    throw_without_hops(e.info());
  }
  return std::move(root.calls().front()).get();
}

/// See cluster::reduce. There is one process at least.
template <class F, class Op>
auto reduce_over(const call_options* options, const std::vector<proc_id>& ids, F&& f, const Op& op) {
  return run_tree(options, ids, reduce_segment<std::decay_t<F>, Op>{std::forward<F>(f), op});
}

/// See cluster::broadcast.
template <class V, class F>
void broadcast_over(const call_options* options, const std::vector<proc_id>& ids, const V& v, F&& f) {
  using travels = typename argument<typename plain_argument<const V&>::type>::held;
  if (!ids.empty())
    run_tree(options, ids, broadcast_segment<std::decay_t<F>, travels>{std::forward<F>(f)}, v);
}

/// See cluster::gather.
template <class F>
auto gather_over(const call_options* options, const std::vector<proc_id>& ids, const F& f) {
  using result = typename task_of<std::decay_t<F>>::result;
  collective_calls<result> all;
  for (auto id : ids)
    all.begin([&] { return begin_call(id, {.options = options}, f); });
  all.wait();
  if constexpr (!std::is_void_v<result>) {
    std::vector<result> out;
    out.reserve(ids.size());
    for (auto& c : all.calls())
      out.push_back(std::move(c).get());
    return out;
  }
}

/// See cluster::barrier.
void barrier_over(const call_options* options, const std::vector<proc_id>& ids);

} // namespace troupe::detail
