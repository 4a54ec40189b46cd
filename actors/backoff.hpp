#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <iterator>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

namespace troupe {

/// @addtogroup calls
/// @{

/// Delays that grow: `n` of them, the first is `first`, each of the others its predecessor times `factor`, times a random number between
/// `1 - jitter` and `1 + jitter`; none is longer than `max`. A range of std::chrono::nanoseconds; each walk over it draws random numbers of
/// its own. Any thread.
struct exponential_backoff {
  /// What durations become.
  using seconds = std::chrono::duration<double>;

  /// How many delays there are.
  std::int64_t n = 1;
  /// The first one.
  seconds first = std::chrono::milliseconds{50};
  /// None is longer.
  seconds max = std::chrono::seconds{10};
  /// How many times longer each is than the one before, before the random number and `max`.
  double factor = 5;
  /// How far from 1 the random number may be.
  double jitter = 0.1;

  /// Where a walk over the delays is. A copy goes the same way as the original.
  class iterator {
  public:
    using value_type = std::chrono::nanoseconds; ///< A delay.
    using difference_type = std::ptrdiff_t; ///< As for any iterator.
    using reference = value_type; ///< Delays are given by value.
    using pointer = const value_type*; ///< As for any iterator.
    using iterator_category = std::input_iterator_tag; ///< Because delays are given by value.
    using iterator_concept = std::forward_iterator_tag; ///< Copies go the same way.

    /// The end.
    iterator() = default;

    /// The delay; not at the end.
    value_type operator*() const;
    /// Goes on to the next, or to the end.
    iterator& operator++();
    /// Goes on, and returns where it was.
    iterator operator++(int) {
      auto before = *this;
      ++*this;
      return before;
    }
    /// Whether both are at the same delay. They must be of the same walk, or a walk and its end.
    friend bool operator==(const iterator& a, const iterator& b) { return a.left_ == b.left_; }

  private:
    friend exponential_backoff;
    explicit iterator(const exponential_backoff& of);

    std::int64_t left_ = 0;
    double next_ = 0; // in seconds
    double max_ = 0;
    double factor_ = 0;
    double jitter_ = 0;
    std::uint64_t random_ = 0;
  };

  /// Begins a walk, with random numbers of its own. Throws usage_error if a member is negative or not a number.
  iterator begin() const;
  /// Where all walks end.
  iterator end() const { return {}; }
};

namespace detail {

template <class T>
inline constexpr bool is_duration = false;
template <class Rep, class Period>
inline constexpr bool is_duration<std::chrono::duration<Rep, Period>> = true;

template <class T>
inline constexpr bool is_list = false;
template <class T>
inline constexpr bool is_list<std::initializer_list<T>> = true;

template <class R>
concept range_of_durations = requires(R& r) {
  std::begin(r) != std::end(r);
  requires is_duration<std::remove_cvref_t<decltype(*std::begin(r))>>;
};

/// In nanoseconds, 146 years at most. Throws usage_error for what is negative or not a number.
std::chrono::nanoseconds checked_delay(std::chrono::duration<double> delay);

template <class Rep, class Period>
std::chrono::nanoseconds delay_of(std::chrono::duration<Rep, Period> delay) {
  const auto rounded = checked_delay(delay);
  if constexpr (std::is_integral_v<Rep>)
    if (rounded < std::chrono::hours{1}) // exact, and doesn't overflow
      return std::chrono::duration_cast<std::chrono::nanoseconds>(delay);
  return rounded;
}

} // namespace detail

/// How long to wait before the first, the second, … retry: made from any range of durations that can be copied, which is walked anew each
/// time, or from a list, `{50ms, 1s}`. What the range refers to, a span's elements, say, must live as long. Copies mean the same. A walk
/// belongs to one thread at a time.
class delay_sequence {
public:
  /// Gives the next delay with each call, and nothing at the end. Throws usage_error for a delay that is negative or not a number.
  using walk_function = std::function<std::optional<std::chrono::nanoseconds>()>;

  /// The delays of a range, which is copied or moved.
  template <class R>
    requires(!std::is_same_v<std::remove_cvref_t<R>, delay_sequence> && detail::range_of_durations<R>)
  delay_sequence(R&& delays) {
    using range = std::remove_cvref_t<R>;
    if constexpr (std::is_array_v<range> || detail::is_list<range>)
      assign(std::vector(std::begin(delays), std::end(delays)));
    else
      assign<range>(std::forward<R>(delays));
  }

  /// These delays.
  delay_sequence(std::initializer_list<std::chrono::nanoseconds> delays);

  /// Starts from the first delay. Throws what the range's begin() throws.
  walk_function walk() const { return start_(); }

private:
  template <class R>
  void assign(R delays) {
    start_ = [delays = std::move(delays)]() -> walk_function {
      auto own = std::make_shared<R>(delays); // the iterator's
      return [own, at = std::begin(*own)]() mutable -> std::optional<std::chrono::nanoseconds> {
        if (!(at != std::end(*own)))
          return std::nullopt;
        const auto delay = detail::delay_of(*at);
        ++at;
        return delay;
      };
    };
  }

  std::function<walk_function()> start_;
};

/// @}

} // namespace troupe
