#pragma once

#include "troupe/actors/begin_call.hpp"
#include "troupe/actors/loop_options.hpp"
#include "troupe/actors/loop_shares.hpp"
#include "troupe/actors/ordered_fold.hpp"
#include "troupe/actors/splitting.hpp"

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

/// Loops over many processes, typed; see cluster::distributed_for and distributed_reduce.
namespace troupe::detail {

template <class Xs>
concept loop_range = std::ranges::input_range<Xs>;

// -- what is looped over ----------------------------------------------------------------------------------------------------

/// The integers from `first` on. They travel as their ends.
template <class I>
struct index_range {
  using element = I;
  I first;
  std::uint64_t size;
};

/// Elements, which travel in shares: here, or where the caller has them.
template <class T>
struct element_range {
  using element = T;
  std::shared_ptr<const std::vector<T>> kept;
  std::span<const T> all;
  std::uint64_t size = 0;
};

template <class A, class B>
auto range_of(A first, B last) {
  using I = common_index<A, B>;
  const auto begin = index_cast<I>(first);
  const auto end = index_cast<I>(last);
  return index_range<I>{begin, begin < end ? distance_between(begin, end) : 0};
}

// Of a vector<bool> there are no elements that lie in memory.
template <class Xs>
using loop_element = std::conditional_t<std::same_as<std::ranges::range_value_t<Xs>, bool>, unsigned char, std::ranges::range_value_t<Xs>>;

/// `lent`: the caller keeps them where they are until all shares have been sent.
template <class Xs>
auto range_of(Xs&& xs, bool lent) {
  using T = loop_element<Xs>;
  if constexpr (std::ranges::contiguous_range<Xs> && std::ranges::sized_range<Xs>
                && std::same_as<T, std::remove_cv_t<std::remove_reference_t<std::ranges::range_reference_t<Xs>>>>) {
    if (lent) {
      const std::span<const T> all{std::ranges::data(xs), static_cast<std::size_t>(std::ranges::size(xs))};
      return element_range<T>{nullptr, all, all.size()};
    }
  }
  const auto kept = std::make_shared<std::vector<T>>();
  if constexpr (std::ranges::sized_range<Xs>)
    kept->reserve(static_cast<std::size_t>(std::ranges::size(xs)));
  for (auto&& x : xs)
    kept->push_back(static_cast<T>(std::forward<decltype(x)>(x)));
  return element_range<T>{kept, *kept, kept->size()};
}

// -- what runs on the workers -----------------------------------------------------------------------------------------------

/// The body of a loop over one share.
template <class F, class Range>
struct for_share;

template <class F, class I>
struct for_share<F, index_range<I>> {
  F f;

  void operator()(I first, I end) {
    for (I i = first; i != end; ++i)
      std::invoke(f, i);
  }
};

template <class F, class T>
struct for_share<F, element_range<T>> {
  F f;

  void operator()(std::span<const T> xs) {
    for (auto& x : xs)
      std::invoke(f, x);
  }
};

template <class F, class Range>
struct callable_label<for_share<F, Range>> : callable_label<F> {};

template <class F, class Range>
struct callable<for_share<F, Range>> {
  static void write(writer& out, const for_share<F, Range>& x) { callable<F>::write(out, x.f); }
  static for_share<F, Range> read(reader& in) { return {callable<F>::read(in)}; }
};

/// What a body gives, and what folding such values gives.
template <class F, class Op, class T>
struct fold_types {
  using value = std::remove_cvref_t<std::invoke_result_t<F&, const T&>>;
  static_assert(!std::is_void_v<value>, "distributed_reduce: F returns nothing that could be reduced");
  static_assert(std::is_invocable_v<Op&, value, value>, "distributed_reduce: the operator doesn't take two values of F's result type");
  using folded = std::remove_cvref_t<std::invoke_result_t<Op&, value, value>>;
  static_assert(std::is_constructible_v<folded, value>, "distributed_reduce: F's result doesn't convert to the operator's");
  static_assert(std::is_invocable_r_v<folded, Op&, folded, folded>, "distributed_reduce: the operator doesn't take two of its own results");
};

/// One share of a reduction: from left to right, beginning with its first value. There is one at least. A function of its own: inlined into what encodes the result,
/// a floating-point sum would lie in memory from one round to the next, at half the speed, because no register of that kind outlives a call.
template <class F, class Op, class Range>
struct reduce_share;

template <class F, class Op, class I>
struct reduce_share<F, Op, index_range<I>> {
  using result = typename fold_types<F, Op, I>::folded;
  F f;
  Op op;

  [[gnu::noinline]] result operator()(I first, I end) {
    result out = static_cast<result>(std::invoke(f, first));
#ifndef __clang__ // which does so by itself
#pragma GCC unroll 4 // a body of some instructions is as fast as it can be wherever its loop comes to lie
#endif
    for (I i = index_behind(first, 1); i != end; ++i)
      out = std::invoke(op, std::move(out), std::invoke(f, i));
    return out;
  }
};

template <class F, class Op, class T>
struct reduce_share<F, Op, element_range<T>> {
  using result = typename fold_types<F, Op, T>::folded;
  F f;
  Op op;

  [[gnu::noinline]] result operator()(std::span<const T> xs) {
    result out = static_cast<result>(std::invoke(f, xs.front()));
    for (auto& x : xs.subspan(1))
      out = std::invoke(op, std::move(out), std::invoke(f, x));
    return out;
  }
};

template <class F, class Op, class Range>
struct callable_label<reduce_share<F, Op, Range>> : callable_label<F> {};

template <class F, class Op, class Range>
struct callable<reduce_share<F, Op, Range>> {
  static void write(writer& out, const reduce_share<F, Op, Range>& x) {
    callable<F>::write(out, x.f);
    callable<Op>::write(out, x.op);
  }
  static reduce_share<F, Op, Range> read(reader& in) {
    auto f = callable<F>::read(in);
    return {std::move(f), callable<Op>::read(in)};
  }
};

/// Two neighbours of a tree, on the process that has the left one.
template <class Op, class R>
struct fold_two {
  Op op;

  R operator()(future<R> left, future<R> right) {
    R l = std::move(left).get();
    return std::invoke(op, std::move(l), std::move(right).get());
  }
};

template <class Op, class R>
struct callable_label<fold_two<Op, R>> : callable_label<Op> {};

template <class Op, class R>
struct callable<fold_two<Op, R>> {
  static void write(writer& out, const fold_two<Op, R>& x) { callable<Op>::write(out, x.op); }
  static fold_two<Op, R> read(reader& in) { return {callable<Op>::read(in)}; }
};

template <class Share, class I>
auto call_share(proc_id to, const call_manner& m, const Share& f, const index_range<I>& xs, std::uint64_t begin, std::uint64_t n) {
  return begin_call(to, m, f, index_behind(xs.first, begin), index_behind(xs.first, begin + n));
}

template <class Share, class T>
auto call_share(proc_id to, const call_manner& m, const Share& f, const element_range<T>& xs, std::uint64_t begin, std::uint64_t n) {
  return begin_call(to, m, f, xs.all.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(n)));
}

// -- the caller -------------------------------------------------------------------------------------------------------------

/// Whether the elements of a loop without a result may be read after it was begun.
inline bool sends_later(const loop_options& options) { return options.chunk != 0 || options.resubmit != 0; }

/// See cluster::distributed_for. `workers` are those that get the shares in turn.
template <class Range, class F>
future<void> begin_for(const loop_options& options, const loop_division& division, std::vector<proc_id> workers, Range xs, F&& f) {
  using share = for_share<std::decay_t<F>, Range>;
  auto out = std::make_shared<loop_state>();
  future<void> result{out};
  const auto shares = std::make_shared<loop_shares>(
    options, std::move(workers), division.count(),
    [division, xs = std::move(xs), body = share{std::forward<F>(f)}](proc_id to, std::uint64_t k,
                                                                     const call_options& limits) -> std::shared_ptr<future_state> {
      return call_share(to, {.options = &limits}, body, xs, division.begin(k), division.size(k)).shared_state();
    });
  shares->send();
  finish_loop(shares, out);
  return result;
}

/// Folds what processes have, all ready, down a tree, so that only the result comes here.
template <class R, class Op>
R fold_on_workers(const std::function<call_options()>& limits, std::vector<future<R>> parts, const Op& op) {
  struct stop {
    std::vector<std::shared_ptr<future_state>> all;
    ~stop() {
      for (auto& s : all)
        if (!s->ready())
          cancel_call(*s);
    }
  } under_way;
  while (parts.size() > 1) {
    std::vector<future<R>> next;
    for (std::size_t i = 0; i < parts.size(); i += 2) {
      if (i + 1 == parts.size()) {
        next.push_back(std::move(parts[i]));
        break;
      }
      const auto options = limits();
      next.push_back(
        begin_call(parts[i].id().where, {.flags = call_kept, .options = &options}, fold_two<Op, R>{op}, parts[i], parts[i + 1]));
      under_way.all.push_back(next.back().shared_state());
    }
    parts = std::move(next);
  }
  return std::move(parts.front()).get();
}

/// See cluster::distributed_reduce. There is one element at least.
template <class Range, class F, class Op>
auto run_reduce(const loop_options& options, std::vector<proc_id> workers, Range xs, F&& f, const Op& op) {
  using share = reduce_share<std::decay_t<F>, Op, Range>;
  using R = typename share::result;
  // what may be large stays on the workers, unless it could be lost with one or there were too much of it
  constexpr bool may_be_large = !std::is_trivially_copyable_v<R> || sizeof(R) > 1024;
  const bool stays = may_be_large && !sends_later(options);
  const loop_division division{xs.size, workers.size(), options.chunk};
  std::vector<future<R>> kept(stays ? static_cast<std::size_t>(division.count()) : 0);
  const share body{std::forward<F>(f), op};
  loop_shares shares{options, std::move(workers), division.count(),
                     [&](proc_id to, std::uint64_t k, const call_options& limits) -> std::shared_ptr<future_state> {
                       const bool limited = limits.deadline || limits.token;
                       auto one =
                         call_share(to, {.flags = static_cast<std::uint8_t>(stays ? call_kept : 0), .options = limited ? &limits : nullptr},
                                    body, xs, division.begin(k), division.size(k));
                       auto state = one.shared_state();
                       if (stays)
                         kept[static_cast<std::size_t>(k)] = std::move(one);
                       return state;
                     }};
  ordered_fold<R, Op> all{op};
  std::optional<std::pair<std::uint64_t, error_info>> first_error;
  const auto fold = [&](std::uint64_t k, R x) {
    try {
      all.add(k, std::move(x));
    } catch (...) {
      rethrow_as_task(callable_label<Op>::text());
    }
  };
  for (auto some = shares.next(); !some.empty(); some = shares.next())
    for (auto& s : some) {
      if (s.why) {
        if (!first_error || s.share < first_error->first)
          first_error.emplace(s.share, std::move(*s.why));
        shares.cut(first_error->first); // what comes behind it can't be the first any more
      } else if (!stays && !first_error) {
        fold(s.share, std::static_pointer_cast<typed_future_state<R>>(s.state)->take());
      }
    }
  if (first_error)
    throw_error(std::move(first_error->second));
  if constexpr (may_be_large) {
    if (stays) {
      bool here = true;
      for (auto& x : kept)
        here = here && x.shared_state()->here();
      if (!here)
        return fold_on_workers<R, Op>([&] { return shares.limits(); }, std::move(kept), op);
      for (std::uint64_t k = 0; k < kept.size(); ++k)
        fold(k, std::move(kept[static_cast<std::size_t>(k)]).get());
    }
  }
  return all.take();
}

template <class Range, class F, class Op, class... Init>
auto reduce_range(const loop_options& options, std::vector<proc_id> workers, Range xs, F&& f, const Op& op, Init&&... init) {
  static_assert(sizeof...(Init) <= 1, "distributed_reduce: behind the operator comes one initial value at most");
  using R = typename fold_types<std::decay_t<F>, Op, typename Range::element>::folded;
  if constexpr (sizeof...(Init) == 0) {
    if (xs.size == 0)
      throw_empty_range("a distributed_reduce without an initial value");
    return run_reduce(options, std::move(workers), std::move(xs), std::forward<F>(f), op);
  } else {
    using result = std::remove_cvref_t<std::invoke_result_t<const Op&, std::decay_t<Init>..., R>>;
    if (xs.size == 0)
      return static_cast<result>((std::forward<Init>(init), ...));
    R sum = run_reduce(options, std::move(workers), std::move(xs), std::forward<F>(f), op);
    try {
      return static_cast<result>(std::invoke(op, std::decay_t<Init>(std::forward<Init>(init))..., std::move(sum)));
    } catch (...) {
      rethrow_as_task(callable_label<Op>::text());
    }
  }
}

} // namespace troupe::detail
