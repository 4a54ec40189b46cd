#pragma once

#include "troupe/actors/backoff.hpp"
#include "troupe/actors/caching_pool.hpp"
#include "troupe/actors/call.hpp"
#include "troupe/actors/local_task.hpp"
#include "troupe/actors/map_run.hpp"
#include "troupe/actors/map_source.hpp"
#include "troupe/actors/map_task.hpp"
#include "troupe/actors/progress.hpp"
#include "troupe/actors/retry.hpp"
#include "troupe/actors/running_here.hpp"
#include "troupe/actors/worker_pool.hpp"
#include "troupe/transport/error.hpp"

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace troupe {

/// @addtogroup loops
/// @{

/// How a map goes about its elements; R is what its function returns. All hooks run in the thread that called the map; what they throw ends
/// it.
template <class R = void>
struct pmap_options {
  /// Who does it; null: the default pool, whose workers may come and go meanwhile. It must live as long as the call.
  const worker_pool* pool = nullptr;
  /// Elements that a worker gets at a time; 0: found, so that a batch takes about a millisecond. One that is negative throws usage_error.
  std::int64_t batch_size = 0;
  /// Batches that a worker is given beyond the one that runs; nothing: found, so that it never waits for one. One that is negative throws
  /// usage_error.
  std::optional<int> ahead{};
  /// False: by tasks of this process, `tasks` of them at a time, one element each; neither function nor elements travel.
  bool distributed = true;
  /// Called with the error of an element, whose item() is the position: what it returns is the result in its place. If it throws, that is
  /// the error: tried again, if there are retries, or thrown.
  std::function<R(const error&)> on_error{};
  /// How long to wait before an element that has failed is tried again, elsewhere if possible: as often as there are delays. None: not at
  /// all.
  std::optional<delay_sequence> retry_delays{};
  /// Called with the error and the number of tries so far: whether to try again. None: always.
  troupe::retry_check retry_check{};
  /// How often an element goes to another worker when the one that was at it has ended; a death counts for all that the worker had. Beyond
  /// that, the death, with the processes that the element has ended, is an error for on_error, or thrown. With 0 it is so at once, and
  /// tried again like others; elements are sent one by one then, unless batch_size or ahead say otherwise. Negative: usage_error.
  int resubmit = 3;
  /// Shows a progress bar of this name; empty: none.
  std::string progress{};
  /// See `distributed`. At least 1.
  int tasks = 100;
  /// Called with each answer.
  std::function<void(const map_status&)> watch{};
};

namespace detail {

template <class T>
inline constexpr bool is_pmap_options = false;
template <class R>
inline constexpr bool is_pmap_options<pmap_options<R>> = true;

/// Throws usage_error for options that can't be.
struct map_numbers {
  std::int64_t batch_size;
  std::optional<int> ahead;
  int resubmit;
  int tasks;
};
map_run::settings map_settings(const call_options* options, worker_pool pool, bool distributed, const map_numbers& n,
                               std::optional<std::size_t> total, const std::string& label);
[[noreturn]] void throw_options_of_other_result();
[[noreturn]] void throw_map_has_ended();
/// As retry's hooks see it.
error error_of(const std::exception_ptr& p);
/// Throws it again; with results, if it is one of ours.
[[noreturn]] void rethrow_with(const std::exception_ptr& why, std::shared_ptr<const void> results);

/// One element of a map that is done by a task of this process.
template <class F>
struct map_item {
  void operator()(std::uint64_t number) const { take_closure(number)->run(); }
};
template <class F>
struct callable_label<map_item<F>> : callable_label<F> {};

template <class G>
class map_closure final : public local_closure {
public:
  explicit map_closure(G g) : g_(std::move(g)) {}
  void run() override { g_(); }

private:
  G g_;
};

/// What an error of a map has left done.
struct map_remains {
  std::uint64_t type = 0; // see type_tag
};
template <class R>
struct typed_map_remains : map_remains {
  std::map<std::size_t, R> results;
};
/// Null if there's nothing. Throws type_mismatch if the results are of another type.
const map_remains* remains_of(const error& e, std::uint64_t type);

/// The answer to an element that is done by a task of this process.
template <class R>
class local_reply final : public batch_reply {
public:
  std::optional<R> value;
};
template <>
class local_reply<void> final : public batch_reply {};

/// The answer of a worker to a batch.
template <class R>
class remote_reply final : public batch_reply {
public:
  void seek_landing(reader& in) const override {
    if constexpr (can_land<R>) {
      for (auto n = in.get<batch_report>().tried; n > 0; --n) {
        if (in.get<std::uint8_t>() == 0)
          return;
        static_cast<void>(read<R>(in));
      }
    } else {
      static_cast<void>(in);
    }
  }
};

/// A map of F over the elements of a source. Results go to `sink(position, result)` as they come, of void functions `sink(position)`.
template <class F, class Parameters, class Source, class Sink>
class typed_map;

template <class F, class... Ps, class Source, class Sink>
class typed_map<F, parameters<Ps...>, Source, Sink> final : public map_run {
public:
  using task = map_task<F, parameters<Ps...>>;
  using result = typename task::result;

  typed_map(settings s, F& f, std::shared_ptr<sent_function> sent, Source& source, Sink& sink, const pmap_options<result>& options)
    : map_run(std::move(s)),
      f_(f),
      sent_(std::move(sent)),
      source_(source),
      sink_(sink),
      options_(options),
      bar_(options.progress.empty() ? nullptr : std::make_unique<progress>(options.progress, source.total().value_or(0))) {}

  // Tasks of this process use function and elements where they are.
  ~typed_map() override { here_->close_and_wait(); }

protected:
  std::size_t draw(std::size_t most) override { return source_.draw(most); }

  void send(batch& b) override {
    if (options_.distributed)
      send_away(b);
    else
      run_here(b);
  }

  batch_report take(batch& b) override {
    const auto first = b.first;
    if (!options_.distributed)
      return take_local(b);
    auto in = b.reply->content();
    result_bytes_ = std::max(0.9 * result_bytes_, static_cast<double>(b.reply->size()) / static_cast<double>(b.count));
    std::size_t run = first; // of elements without an error
    std::size_t at = first;
    const auto report = task::read_results(
      in,
      [&](std::uint32_t i, auto&&... x) {
        sink_(first + i, std::forward<decltype(x)>(x)...);
        at = first + i + 1;
      },
      [&](std::uint32_t i, error_info why) {
        done_with(run, at - run);
        run = at = first + i + 1;
        failed(first + i, std::move(why), b.to);
      });
    done_with(run, at - run);
    sent_->is_known_by(b.to);
    return report;
  }

  void release(std::size_t first, std::size_t count) override {
    source_.release(first, count);
    for (std::size_t i = 0; i < count && !walks_.empty(); ++i)
      walks_.erase(first + i);
  }

  void stopped() override { here_->close(); }

  bool handle(std::size_t item, const error_info& why, std::exception_ptr& thrown) override {
    thrown = make_exception(why);
    if (!options_.on_error)
      return false;
    try {
      if constexpr (std::is_void_v<result>) {
        options_.on_error(error{why});
        sink_(item);
      } else {
        sink_(item, options_.on_error(error{why}));
      }
      ++replaced_;
      return true;
    } catch (const interrupted&) {
      throw;
    } catch (...) {
      thrown = std::current_exception();
      return false;
    }
  }

  std::optional<std::chrono::nanoseconds> retry_after(std::size_t item, const std::exception_ptr& thrown, int tries) override {
    if (!options_.retry_delays)
      return std::nullopt;
    auto& walk = walks_[item];
    if (!walk)
      walk = options_.retry_delays->walk();
    const auto delay = walk();
    if (!delay || !options_.retry_check(error_of(thrown), tries))
      return std::nullopt;
    return delay;
  }

  std::size_t window() const override {
    if constexpr (requires { sink_.waiting(); })
      return std::max(4 * slots() + 16, static_cast<std::size_t>(most_early_bytes / std::max(1.0, result_bytes_)));
    else
      return map_run::window();
  }

  void lost(proc_id id) override {
    if (sent_)
      sent_->forget(id);
  }

  void progressed(const map_status& now) override {
    if (bar_) {
      const auto replaced = std::exchange(replaced_, 0);
      if (now.done > shown_ + replaced)
        bar_->advance(now.done - shown_ - replaced);
      if (replaced > 0)
        bar_->fail(replaced);
      shown_ = now.done;
    }
    if (options_.watch)
      options_.watch(now);
  }

private:
  void send_away(batch& b) {
    outgoing_call call{b.to, task::id(), call_stoppable, &task::label};
    call.encode([&](writer& out) {
      const auto before = out.buffer().size();
      out.put(batch_head{own_id(), static_cast<std::uint32_t>(b.count), number()});
      sent_->write(out, b.to);
      b.lent.emplace(b.to);
      source_.template write<Ps...>(out, *b.lent, b.first, b.count);
      b.bytes = call.size() - before;
    });
    auto reply = std::make_shared<remote_reply<result>>();
    expect(b, reply);
    call.send(std::move(reply), !answers_soon());
  }

  // The call is there for what belongs to a task: a number, and ways to end it.
  void run_here(batch& b) {
    auto reply = std::make_shared<local_reply<result>>();
    auto one = [this, here = here_, reply, xs = source_.element(b.first)]() mutable {
      const running_scope running{*here};
      const auto call = [&]() -> decltype(auto) { return std::apply(f_, std::move(xs)); };
      if constexpr (std::is_void_v<result>)
        call();
      else if constexpr (is_future<std::remove_cvref_t<typename task::raw_result>>)
        reply->value.emplace(call().get());
      else
        reply->value.emplace(call());
    };
    expect(b, reply);
    using called = task_of<map_item<F>, std::uint64_t>;
    const auto number = keep_closure(std::unique_ptr<local_closure>{new map_closure{std::move(one)}}, *reply);
    outgoing_call call{own_id(), called::id(), call_stoppable, &called::label};
    call.encode([&](writer& out) { called::write_call(out, nullptr, {}, number); });
    call.send(std::move(reply), false);
  }

  batch_report take_local(batch& b) {
    const auto item = b.first;
    if constexpr (std::is_void_v<result>)
      sink_(item);
    else
      sink_(item, std::move(*static_cast<local_reply<result>&>(*b.reply).value));
    done_with(item, 1);
    return {1000, 1, 0};
  }

  // Results that wait for those before them.
  static constexpr double most_early_bytes = 64 << 20;

  struct running_scope {
    running_here& all;
    explicit running_scope(running_here& of) : all(of) {
      if (!all.enter())
        throw_map_has_ended();
    }
    ~running_scope() { all.leave(); }
  };

  F& f_;
  const std::shared_ptr<running_here> here_ = std::make_shared<running_here>();
  std::shared_ptr<sent_function> sent_;
  Source& source_;
  Sink& sink_;
  const pmap_options<result>& options_;
  std::unique_ptr<progress> bar_;
  double result_bytes_ = 4096;
  std::size_t shown_ = 0; // elements
  std::size_t replaced_ = 0; // of these, those that on_error has given a value, and that weren't shown
  std::unordered_map<std::size_t, delay_sequence::walk_function> walks_;
};

/// Results in the order of the elements: what comes too early is kept, and no more than some of it.
template <class R, class Sink>
class in_order {
public:
  explicit in_order(Sink& sink) : sink_(sink) {}
  void operator()(std::size_t i, R x) {
    if (i != next_) {
      early_.emplace(i, std::move(x));
      return;
    }
    ++next_;
    sink_(std::move(x));
    for (auto e = early_.begin(); e != early_.end() && e->first == next_; e = early_.erase(e)) {
      ++next_;
      sink_(std::move(e->second));
    }
  }

  std::size_t waiting() const { return early_.size(); }

private:
  Sink& sink_;
  std::size_t next_ = 0;
  std::map<std::size_t, R> early_;
};

template <class R, class O>
pmap_options<R> options_for(pmap_options<O> o) {
  if constexpr (std::is_same_v<R, O>) {
    return o;
  } else {
    pmap_options<R> out{.pool = o.pool,
                        .batch_size = o.batch_size,
                        .ahead = o.ahead,
                        .distributed = o.distributed,
                        .retry_delays = std::move(o.retry_delays),
                        .retry_check = std::move(o.retry_check),
                        .resubmit = o.resubmit,
                        .progress = std::move(o.progress),
                        .tasks = o.tasks,
                        .watch = std::move(o.watch)};
    if (o.on_error) {
      if constexpr (!std::is_void_v<O> && std::is_convertible_v<O, R>)
        out.on_error = [f = std::move(o.on_error)](const error& e) -> R { return f(e); };
      else if constexpr (!std::is_void_v<O>)
        static_assert(std::is_convertible_v<O, R>, "pmap_options<R>: R is what the map's function returns");
      else
        throw_options_of_other_result();
    }
    return out;
  }
}

/// The types of a map.
template <class F, class... Xs>
struct map_of {
  using function = typename call_form<std::decay_t<F>>::function;
  using parameters = typename parameters_of<function, std::ranges::range_reference_t<Xs>...>::type;
  using result = typename map_task<function, parameters>::result;
  using source = map_source<Xs...>;
};

/// The results of a map, in the order of its elements.
template <class R>
class collected {
public:
  explicit collected(std::optional<std::size_t> total) : all_(total.value_or(0)) {}
  void operator()(std::size_t i, R x) {
    if (i >= all_.size())
      all_.resize(std::max(i + 1, 2 * all_.size()));
    all_[i] = std::move(x);
    end_ = std::max(end_, i + 1);
  }
  std::vector<R> take() {
    all_.resize(end_);
    return std::move(all_);
  }
  template <class Map>
  std::shared_ptr<const void> remains(const Map& of) {
    auto out = std::make_shared<typed_map_remains<R>>();
    out->type = type_tag<R>();
    for (std::size_t i = 0; i < end_; ++i)
      if (of.is_done(i))
        out->results.emplace_hint(out->results.end(), i, std::move(all_[i]));
    return std::shared_ptr<const map_remains>{std::move(out)};
  }

private:
  std::vector<R> all_;
  std::size_t end_ = 0;
};

/// A function that is to be called on the members of a pool. Throws not_serializable.
template <class F>
std::shared_ptr<sent_function> functions_for(const worker_pool& pool, const F& f) {
  try {
    if constexpr (may_be_kept<F>)
      if (const auto store = function_store_of(pool))
        return store->get(f);
    return make_sent_function(f);
  } catch (const error&) {
    throw;
  } catch (const std::exception& e) {
    throw_function_not_serializable(callable_label<F>::text(), e);
  }
}

/// Runs a map whose results go to what `make_sink` makes of the number of its elements, if that is known; returns it. `fallback` gives the
/// pool if the options have none.
template <class F, class O, class Pool, class MakeSink, class... Xs>
auto run_map(const call_options* limits, const pmap_options<O>& o, Pool fallback, MakeSink make_sink, const F& f, Xs&... xs) {
  using types = map_of<F, Xs...>;
  using function = typename types::function;
  const auto options = options_for<typename types::result>(o);
  function own = call_form<std::decay_t<F>>::get(f);
  typename types::source source{xs...};
  auto sink = make_sink(source.total());
  std::shared_ptr<sent_function> sent;
  worker_pool pool;
  if (options.distributed) {
    pool = options.pool != nullptr ? *options.pool : fallback();
    sent = functions_for(pool, own);
  }
  auto settings =
    map_settings(limits, std::move(pool), options.distributed, {options.batch_size, options.ahead, options.resubmit, options.tasks},
                 source.total(), callable_label<function>::text());
  typed_map<function, typename types::parameters, typename types::source, decltype(sink)> map{
    std::move(settings), own, std::move(sent), source, sink, options};
  if constexpr (requires { sink.remains(map); }) {
    try {
      map.go();
    } catch (...) {
      rethrow_with(std::current_exception(), sink.remains(map));
    }
  } else {
    map.go();
  }
  return sink;
}

/// See cluster::pmap.
template <class F, class O, class Pool, class... Xs>
auto pmap(const call_options* limits, const pmap_options<O>& o, Pool fallback, const F& f, Xs&... xs) {
  using R = typename map_of<F, Xs...>::result;
  if constexpr (std::is_void_v<R>)
    run_map(limits, o, fallback, [](auto) { return [](std::size_t) {}; }, f, xs...);
  else
    return run_map(limits, o, fallback, [](std::optional<std::size_t> total) { return collected<R>{total}; }, f, xs...).take();
}

/// See cluster::pmap_each.
template <class F, class O, class Pool, class Sink, class... Xs>
void pmap_each(const call_options* limits, const pmap_options<O>& o, Pool fallback, Sink& sink, const F& f, Xs&... xs) {
  using R = typename map_of<F, Xs...>::result;
  if constexpr (std::is_void_v<R>)
    run_map(limits, o, fallback, [&](auto) { return [&](std::size_t i) { static_cast<void>(std::invoke(sink, i)); }; }, f, xs...);
  else if constexpr (std::is_invocable_v<Sink&, std::size_t, R>)
    run_map(
      limits, o, fallback, [&](auto) { return [&](std::size_t i, R x) { static_cast<void>(std::invoke(sink, i, std::move(x))); }; }, f,
      xs...);
  else
    run_map(limits, o, fallback, [&](auto) { return in_order<R, Sink>{sink}; }, f, xs...);
}

/// Calls g with the last of several arguments, and then the others.
template <class G, class... Xs>
decltype(auto) with_last(G g, Xs&... xs) {
  constexpr auto last = sizeof...(Xs) - 1;
  auto all = std::tie(xs...);
  return [&]<std::size_t... I>(std::index_sequence<I...>) -> decltype(auto) {
    return g(std::get<last>(all), std::get<I>(all)...);
  }(std::make_index_sequence<last>{});
}

/// Calls g with the options that end a list of arguments, or default ones, and then the others.
template <class G, class... Xs>
decltype(auto) with_options(G g, Xs&... xs) {
  constexpr bool given = is_pmap_options<std::remove_cv_t<std::tuple_element_t<sizeof...(Xs) - 1, std::tuple<Xs...>>>>;
  if constexpr (given)
    return with_last(g, xs...);
  else
    return g(pmap_options<std::enable_if_t<!given>>{}, xs...); // depends on Xs: else every program would pay for compiling it
}

} // namespace detail

/// The results of a map that has ended with this error, by the positions of their elements: what was done by then. Empty if it isn't from a
/// map, or has been to another process since. Throws type_mismatch if they aren't of type R.
template <class R>
std::map<std::size_t, R> pmap_results(const error& e) {
  const auto found = detail::remains_of(e, detail::type_tag<R>());
  return found == nullptr ? std::map<std::size_t, R>{} : static_cast<const detail::typed_map_remains<R>*>(found)->results;
}

/// @}

} // namespace troupe
