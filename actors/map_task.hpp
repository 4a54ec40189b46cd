#pragma once

#include "troupe/actors/map_run.hpp"
#include "troupe/actors/sent_function.hpp"
#include "troupe/actors/task.hpp"
#include "troupe/actors/this_task.hpp"

#include <chrono>
#include <cstdint>
#include <cstring>
#include <deque>
#include <exception>
#include <memory>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

/// What a worker does with a batch of a map.
namespace troupe::detail {

/// What an exception that left a map's function is to the caller. Inside a catch block.
error_info describe_item_failure(const std::string& label);

/// What takes so long, in nanoseconds, isn't kept waiting for others to leave with.
inline constexpr std::uint64_t long_batch = 100'000;

/// In front of a batch; its function and its arguments follow, those of each parameter side by side.
struct batch_head {
  proc_id from = 0;
  std::uint32_t count = 0;
  /// Of the map, on `from`.
  std::uint64_t map = 0;
};

/// The arguments for one parameter.
template <class T>
class batch_column {
public:
  void read(reader& in, std::size_t n) {
    for (std::size_t i = 0; i < n; ++i) {
      const auto left = in.left();
      troupe::read(in, all_.emplace_back());
      if (in.left() == left)
        in.count_empty_element(sizeof(T));
    }
  }
  T& operator[](std::size_t i) { return all_[i]; }

private:
  std::deque<T> all_;
};

template <block_element T>
class batch_column<T> {
public:
  void read(reader& in, std::size_t n) {
    const auto bytes = in.take(n * sizeof(T));
    all_ = std::make_unique_for_overwrite<T[]>(n);
    std::memcpy(static_cast<void*>(all_.get()), bytes.data(), bytes.size());
  }
  T& operator[](std::size_t i) { return all_[i]; }

private:
  std::unique_ptr<T[]> all_;
};

template <class F, class Parameters>
struct map_task;

template <class F, class... Ps>
struct map_task<F, parameters<Ps...>> {
  static_assert(std::is_invocable_v<F&, decltype(argument<Ps>::pass(std::declval<typename argument<Ps>::held&>()))...>,
                "the function can't be called with an element of each range");
  using raw_result = std::invoke_result_t<F&, decltype(argument<Ps>::pass(std::declval<typename argument<Ps>::held&>()))...>;
  /// What the caller gets for each element.
  using result = typename without_future<std::remove_cvref_t<raw_result>>::type;
  static_assert(std::is_void_v<result> || sendable<result>, "the function's result can't be sent back: give its type an inspect(f, x)");

  static constexpr bool no_result = std::is_void_v<result>;
  static constexpr bool results_are_a_block = [] {
    if constexpr (no_result)
      return false;
    else
      return block_element<result> && std::is_default_constructible_v<result>;
  }();
  // One that changes itself gets a copy for each batch.
  static constexpr bool callable_as_const =
    std::is_invocable_v<const F&, decltype(argument<Ps>::pass(std::declval<typename argument<Ps>::held&>()))...>;
  static_assert(callable_as_const || std::is_copy_constructible_v<F>, "a map's function must be callable as const, or copyable");

  static std::string label() { return callable_label<F>::text(); }

  static void run(reader& in, writer& out) {
    const auto begin = std::chrono::steady_clock::now();
    const auto head = in.get<batch_head>();
    batch_guard guard{head.from, head.map};
    std::tuple<batch_column<typename argument<Ps>::held>...> columns;
    std::shared_ptr<const F> kept;
    try {
      kept = read_sent_function<F>(in);
      std::apply([&](auto&... c) { (c.read(in, head.count), ...); }, columns);
      in.expect_end();
    } catch (const error&) {
      throw;
    } catch (const std::exception& e) {
      throw_arguments_not_decodable(label(), e);
    }
    if constexpr (callable_as_const) {
      run_with(*kept, head.count, columns, guard, out, begin);
    } else {
      F own{*kept};
      run_with(own, head.count, columns, guard, out, begin);
    }
  }

  static constexpr bool has_landing = (can_land<typename argument<Ps>::held> || ...)
                                      && ((can_land<typename argument<Ps>::held> || block_element<typename argument<Ps>::held>) && ...);

  static constexpr task_entry entry() {
    task_entry e{run, label, nullptr, type_tag<result>};
    if constexpr (has_landing)
      e.seek_landing = [](reader& in) {
        const auto head = in.get<batch_head>();
        const auto form = in.get<function_form>(); // one that has to be decoded isn't, here
        if (form == function_form::plain && std::is_trivially_copyable_v<F>)
          callable<F>::read(in);
        else if (form == function_form::known)
          in.take(sizeof(ref_id));
        else
          return;
        std::tuple<batch_column<typename argument<Ps>::held>...> columns;
        std::apply([&](auto&... c) { (c.read(in, head.count), ...); }, columns);
      };
    return e;
  }

  static inline const bool added = add_task(entry());

  static std::uint64_t id() {
    static_cast<void>(added); // being called registers it before main
    static const std::uint64_t value = task_id(run);
    return value;
  }

  /// Takes the results off an answer: calls `value` with position and result, or nothing but the position, of each element that has one, and `error` with position and error of
  /// each other, in order.
  template <class Value, class Error>
  static batch_report read_results(reader& in, Value value, Error error) {
    const auto report = in.get<batch_report>();
    if constexpr (no_result || results_are_a_block) {
      if (report.failed > report.tried)
        throw codec_error{std::to_string(report.failed) + " of " + std::to_string(report.tried) + " elements have failed"};
      std::vector<std::pair<std::uint32_t, error_info>> errors;
      for (std::uint32_t i = 0; i < report.failed; ++i) {
        const auto place = in.get<std::uint32_t>();
        if (place >= report.tried || (i > 0 && place <= errors.back().first))
          throw codec_error{"an error of element " + std::to_string(place) + " of " + std::to_string(report.tried) + ", out of order"};
        errors.emplace_back(place, troupe::read<error_info>(in));
      }
      [[maybe_unused]] std::span<const std::byte> bytes;
      if constexpr (results_are_a_block)
        bytes = in.take((report.tried - report.failed) * sizeof(raw_element));
      auto next = errors.begin();
      for (std::uint32_t i = 0, k = 0; i < report.tried; ++i) {
        if (next != errors.end() && next->first == i) {
          error(i, std::move(next->second));
          ++next;
        } else if constexpr (no_result) {
          value(i);
        } else {
          result x;
          std::memcpy(static_cast<void*>(&x), bytes.data() + k * sizeof x, sizeof x);
          ++k;
          value(i, std::move(x));
        }
      }
    } else {
      for (std::uint32_t i = 0; i < report.tried; ++i) {
        if (in.get<std::uint8_t>() == 0) {
          error(i, troupe::read<error_info>(in));
        } else {
          result x{};
          troupe::read(in, x);
          value(i, std::move(x));
        }
      }
    }
    in.expect_end();
    return report;
  }

private:
  using raw_element = std::conditional_t<no_result, char, result>;
  using columns_type = std::tuple<batch_column<typename argument<Ps>::held>...>;

  template <class G>
  static decltype(auto) call(G& f, columns_type& columns, std::size_t i) {
    return std::apply([&](auto&... c) -> decltype(auto) { return std::invoke(f, argument<Ps>::pass(c[i])...); }, columns);
  }

  template <class G>
  static decltype(auto) value_of(G& f, columns_type& columns, std::size_t i) {
    if constexpr (is_future<std::remove_cvref_t<raw_result>>)
      return call(f, columns, i).get();
    else
      return call(f, columns, i);
  }

  // Calls `one` for each element, as long as the map goes on, and `bad` where it throws. Returns how many it was called for.
  template <class One, class Bad>
  static std::uint32_t each(std::uint32_t n, const batch_guard& guard, One one, Bad bad) {
    std::uint32_t i = 0;
    while (i < n && !guard.stopped()) {
      try {
        for (; i < n && !guard.stopped(); ++i)
          one(i);
      } catch (...) {
        if (batch_guard::told_to_stop()) { // that isn't this element's
          static_cast<void>(guard.stopped());
          throw;
        }
        bad(i, describe_item_failure(label()));
        ++i;
      }
    }
    static_cast<void>(guard.stopped()); // who was told during the last element is told now
    return i;
  }

  template <class G>
  static void run_with(G& f, std::uint32_t n, columns_type& columns, const batch_guard& guard, writer& out,
                       std::chrono::steady_clock::time_point begin) {
    batch_report report;
    const auto at = out.buffer().size();
    out.put(report);
    if constexpr (no_result || results_are_a_block) {
      std::unique_ptr<raw_element[]> results;
      if constexpr (results_are_a_block)
        results = std::make_unique_for_overwrite<raw_element[]>(n);
      std::size_t k = 0;
      std::vector<std::pair<std::uint32_t, error_info>> errors;
      report.tried = each(
        n, guard,
        [&](std::uint32_t i) {
          if constexpr (no_result) {
            value_of(f, columns, i);
          } else {
            results[k] = value_of(f, columns, i);
            ++k;
          }
        },
        [&](std::uint32_t i, error_info why) { errors.emplace_back(i, std::move(why)); });
      report.failed = static_cast<std::uint32_t>(errors.size());
      for (auto& [i, why] : errors) {
        out.put(i);
        write(out, why);
      }
      if constexpr (results_are_a_block)
        write_block(out, results.get(), k);
    } else {
      std::size_t element = 0; // where the one that is being written begins
      report.tried = each(
        n, guard,
        [&](std::uint32_t i) {
          element = out.buffer().size();
          decltype(auto) x = value_of(f, columns, i);
          out.put(std::uint8_t{1});
          write_result(out, std::forward<decltype(x)>(x));
        },
        [&](std::uint32_t, error_info why) {
          out.buffer().resize(element);
          out.put(std::uint8_t{0});
          write(out, why);
          ++report.failed;
        });
    }
    report.nanoseconds = static_cast<std::uint64_t>((std::chrono::steady_clock::now() - begin).count());
    if (report.nanoseconds >= long_batch)
      answer_at_once();
    std::memcpy(out.buffer().data() + at, &report, sizeof report);
  }

  template <class X>
  static void write_result(writer& out, X&& x) {
    try {
      if constexpr (!std::is_reference_v<X> && can_land<result>)
        write_given_away(out, x);
      else
        write(out, static_cast<const result&>(x));
    } catch (const error&) {
      throw;
    } catch (const std::exception& e) {
      throw_result_not_serializable(label(), e);
    }
  }
};

} // namespace troupe::detail
