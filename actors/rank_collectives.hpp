#pragma once

#include "troupe/actors/begin_call.hpp"
#include "troupe/actors/local_task.hpp"
#include "troupe/actors/rank_exchange.hpp"

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

/// What the ranks of one MPI job do together, for one that asks: each is called, as a task, with its place in a group; their values go from rank to rank by MPI.
/// The operators are the user's, which MPI would call in whatever thread it goes on in, the event loop's perhaps: so MPI moves bytes, and the ranks' tasks do the rest.
namespace troupe::detail {

/// Values that go from rank to rank by MPI: what their memory holds is all of them.
template <class T>
concept goes_by_rank = can_land<T>;

/// Broadcasts of less, in bytes, go over links, which are faster then.
inline constexpr std::size_t least_by_rank = std::size_t{1} << 17;

/// One rank's part in what a group does. On the stack of its task.
class rank_part {
public:
  /// A value, and what keeps it where it is while MPI moves it. Null: something has failed.
  template <goes_by_rank C>
  using held = std::shared_ptr<landing_in<C>>;

  /// Throws usage_error if this process is no rank, or there's no such place.
  rank_part(const rank_group& group, std::size_t place);
  ~rank_part();
  rank_part(const rank_part&) = delete;
  rank_part& operator=(const rank_part&) = delete;

  /// Folds the values of all places, in their order, down a tree: the first place's value is the result then, and the others' have gone. The operator mustn't throw.
  template <class C, class Op>
  void reduce(held<C>& value, Op op) {
    complete_ = false;
    for (std::size_t step = 1; step < size(); step *= 2) {
      if ((place_ & step) != 0) {
        send(place_ - step, value);
        break;
      }
      if (place_ + step < size())
        op(value, receive<C>(place_ + step));
    }
    complete_ = true;
  }

  /// Brings the first place's value to all others.
  template <class C>
  void spread(held<C>& value) {
    complete_ = false;
    std::size_t step = 1;
    while (step < size() && (place_ & step) == 0)
      step *= 2;
    if (place_ != 0)
      value = receive<C>(place_ - step, std::move(value));
    for (step /= 2; step > 0; step /= 2)
      if (place_ + step < size())
        send(place_ + step, value);
    complete_ = true;
  }

private:
  std::size_t size() const { return group_.ranks.size(); }

  template <class C>
  void send(std::size_t to, const held<C>& value) {
    if (value == nullptr)
      return links_.send_nothing(group_.number, group_.ranks[to]);
    if constexpr (plain_class<typename C::value_type>)
      if (!value->value.empty())
        refuse_pointers(value->value.front());
    links_.send(group_.number, group_.ranks[to], std::as_bytes(std::span{value->value}), value);
  }

  // `out`: one that isn't needed any more, whose memory is used again; or null.
  template <class C>
  held<C> receive(std::size_t from, held<C> out = nullptr) {
    if (out == nullptr)
      out = std::make_shared<landing_in<C>>();
    if (!links_.receive(group_.number, group_.ranks[from], out))
      return nullptr;
    const auto count = out->size / sizeof(typename C::value_type);
    if (out->value.size() > count)
      out->value.resize(count);
    if (out->value.size() * sizeof(typename C::value_type) != out->size)
      throw_no_whole_number(out->size, sizeof(typename C::value_type));
    return out;
  }

  [[noreturn]] void throw_no_whole_number(std::size_t size, std::size_t element) const;

  const rank_group& group_;
  const std::size_t place_;
  rank_exchange& links_;
  bool complete_ = false;
};

/// Throws what the first place throws when the fault is another's, whose own error the caller gets.
[[noreturn]] void throw_others_failed();

/// Stands for a function that nobody has given.
struct no_function {};

/// One rank's part in a reduction, after which all may use the result. The first place returns it.
template <class F, class Op, class Use, bool is_first>
struct rank_reduction {
  using value = std::remove_cvref_t<std::invoke_result_t<F&>>;
  using result = std::remove_cvref_t<std::invoke_result_t<Op&, value, value>>;
  using held = rank_part::held<result>;
  F f;
  Op op;
  Use use;

  std::conditional_t<is_first, result, void> operator()(const rank_group& group, std::uint64_t place) {
    rank_part part{group, static_cast<std::size_t>(place)};
    held mine;
    std::exception_ptr failed; // here; the others learn only that something has
    const auto guarded = [&](auto step) {
      try {
        step();
      } catch (...) {
        mine = nullptr;
        failed = std::current_exception();
      }
    };
    guarded([&] {
      auto made = std::make_shared<landing_in<result>>();
      made->value = static_cast<result>(std::invoke(f));
      mine = std::move(made);
    });
    part.reduce<result>(mine, [&](held& front, const held& back) {
      if (front == nullptr || back == nullptr)
        front = nullptr;
      else
        guarded([&] { front->value = static_cast<result>(std::invoke(op, std::move(front->value), std::move(back->value))); });
    });
    if constexpr (!std::is_same_v<Use, no_function>) {
      part.spread<result>(mine);
      if (mine != nullptr)
        guarded([&] { std::invoke(use, mine->value); });
    }
    if (failed)
      std::rethrow_exception(failed);
    if constexpr (is_first) {
      if (mine == nullptr)
        throw_others_failed();
      return std::move(mine->value);
    }
  }
};

template <class F, class Op, class Use, bool is_first>
struct callable_label<rank_reduction<F, Op, Use, is_first>> : callable_label<F> {};

template <class F, class Op, class Use, bool is_first>
struct callable<rank_reduction<F, Op, Use, is_first>> {
  using function = rank_reduction<F, Op, Use, is_first>;
  static void write(writer& out, const function& x) {
    callable<F>::write(out, x.f);
    callable<Op>::write(out, x.op);
    callable<Use>::write(out, x.use);
  }
  static function read(reader& in) {
    auto f = callable<F>::read(in);
    auto op = callable<Op>::read(in);
    return {std::move(f), std::move(op), callable<Use>::read(in)};
  }
};

/// One rank's part in a broadcast; the first place gets the value with its call.
template <class F, goes_by_rank V, bool is_first>
struct rank_broadcast {
  static_assert(std::is_invocable_v<F&, V&>, "broadcast: F doesn't take the value");
  F f;

  void operator()(const rank_group& group, V v)
    requires is_first
  {
    auto mine = std::make_shared<landing_in<V>>();
    mine->value = std::move(v);
    run(group, 0, std::move(mine));
  }

  void operator()(const rank_group& group, std::uint64_t place)
    requires(!is_first)
  {
    run(group, static_cast<std::size_t>(place), nullptr);
  }

private:
  void run(const rank_group& group, std::size_t place, rank_part::held<V> mine) {
    rank_part part{group, place};
    part.spread<V>(mine);
    if (mine == nullptr)
      throw_others_failed();
    std::invoke(f, mine->value);
  }
};

template <class F, class V, bool is_first>
struct callable_label<rank_broadcast<F, V, is_first>> : callable_label<F> {};

template <class F, class V, bool is_first>
struct callable<rank_broadcast<F, V, is_first>> {
  static void write(writer& out, const rank_broadcast<F, V, is_first>& x) { callable<F>::write(out, x.f); }
  static rank_broadcast<F, V, is_first> read(reader& in) { return {callable<F>::read(in)}; }
};

/// The calls of a group's ranks. Those that are still open when this ends are cancelled.
class rank_calls {
public:
  rank_calls() = default;
  ~rank_calls();
  rank_calls(const rank_calls&) = delete;
  rank_calls& operator=(const rank_calls&) = delete;

  /// `call` returns the next place's future. A process that has gone is an error among others.
  template <class Call>
  void begin(Call call) {
    try {
      add(call().shared_state());
    } catch (const process_exited&) {
      add_failed();
    }
  }

  /// Blocks until all have ended. A rank's own exception has the others told by itself; when one ends in any other way, those are cancelled, which would wait for it.
  /// Throws the first error, in the order of the calls, that isn't another's consequence.
  void wait();

private:
  void add(std::shared_ptr<future_state> call);
  void add_failed();

  std::vector<std::shared_ptr<future_state>> calls_;
};

/// A rank's part with what it is called with, to be run by the process that asks.
template <class Part, class X>
struct part_of_this_process {
  Part part;
  rank_group group;
  X x;

  auto operator()() { return part(group, std::move(x)); }
};

template <class Part, class X>
struct callable_label<part_of_this_process<Part, X>> : callable_label<Part> {};

/// Calls a rank's part. On this process, what it gets and returns isn't encoded.
template <class Part, class X>
auto begin_part(const call_options* options, proc_id to, const rank_group& group, const Part& part, const X& x) {
  if (to == own_id())
    return begin_local_task(options, part_of_this_process<Part, X>{part, group, x});
  return begin_call(to, {.options = options}, part, group, x);
}

/// See cluster::reduce and cluster::allreduce: all of `ids` are the ranks of `group`, in its order.
template <class F, class Op, class Use = no_function>
auto reduce_on_ranks(const call_options* options, const std::vector<proc_id>& ids, const rank_group& group, const F& f, const Op& op,
                     const Use& use = {}) {
  using first = rank_reduction<F, Op, Use, true>;
  using other = rank_reduction<F, Op, Use, false>;
  future<typename first::result> out;
  std::vector<future<void>> others(ids.size());
  rank_calls calls;
  calls.begin([&] { return out = begin_part(options, ids[0], group, first{f, op, use}, std::uint64_t{0}); });
  for (std::size_t i = 1; i < ids.size(); ++i)
    calls.begin([&] { return others[i] = begin_part(options, ids[i], group, other{f, op, use}, std::uint64_t{i}); });
  calls.wait();
  return std::move(out).get();
}

/// See cluster::broadcast.
template <class V, class F>
void broadcast_on_ranks(const call_options* options, const std::vector<proc_id>& ids, const rank_group& group, const V& v, const F& f) {
  using travels = typename argument<typename plain_argument<const V&>::type>::held;
  std::vector<future<void>> all(ids.size());
  rank_calls calls;
  calls.begin([&] { return all[0] = begin_part(options, ids[0], group, rank_broadcast<F, travels, true>{f}, v); });
  for (std::size_t i = 1; i < ids.size(); ++i)
    calls.begin([&] { return all[i] = begin_part(options, ids[i], group, rank_broadcast<F, travels, false>{f}, std::uint64_t{i}); });
  calls.wait();
}

} // namespace troupe::detail
