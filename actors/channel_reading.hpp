#pragma once

#include "troupe/actors/channel_asking.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <deque>
#include <iterator>
#include <memory>
#include <optional>
#include <utility>

namespace troupe::detail {

/// Reads a channel ahead: values come in leases, of which it says what it has used. Not thread-safe.
class channel_reading {
public:
  explicit channel_reading(channel_link channel) : channel_(std::move(channel)) {}
  /// What hasn't been used goes back.
  ~channel_reading();
  channel_reading(const channel_reading&) = delete;
  channel_reading& operator=(const channel_reading&) = delete;

  /// Settles the lease that is there, and blocks for the next. Null when the channel is closed and empty; throws what it was closed with otherwise.
  std::shared_ptr<taking_many> next();

  /// So many values have come with the lease.
  void came(std::size_t n);

  /// Another value of the lease has been used.
  void used();

private:
  void settle(bool ends);

  // As many values as are used within it come in a lease.
  static constexpr std::chrono::microseconds span{1000};
  static constexpr std::size_t most = 4096;

  const channel_link channel_;
  std::uint64_t lease_ = 0; // its number; 0: none
  std::size_t size_ = 0;
  std::size_t used_ = 0;
  std::size_t told_ = 0;
  std::size_t wanted_ = 1;
  std::chrono::steady_clock::time_point since_;
};

/// The values of a channel, one after the other. Copies share their place.
template <class T>
class channel_iterator {
public:
  using value_type = T;
  using difference_type = std::ptrdiff_t;
  using iterator_category = std::input_iterator_tag;
  using pointer = const T*;
  using reference = const T&;

  channel_iterator() = default;

  explicit channel_iterator(channel_link channel) : state_(std::make_shared<state>(std::move(channel))) { state_->advance(); }

  const T& operator*() const {
    state_->seen = true;
    return state_->values.front();
  }
  const T* operator->() const { return &**this; }
  channel_iterator& operator++() {
    state_->use();
    state_->advance();
    return *this;
  }
  void operator++(int) { ++*this; }

  friend bool operator==(const channel_iterator& i, std::default_sentinel_t) { return !i.state_ || i.state_->values.empty(); }

private:
  struct state {
    explicit state(channel_link channel) : reading(std::move(channel)) {}
    ~state() {
      if (seen) // a loop that ends at a value has taken it
        use();
    }
    state(const state&) = delete;
    state& operator=(const state&) = delete;

    void use() {
      seen = false;
      values.pop_front();
      reading.used();
    }

    void advance() {
      if (!values.empty())
        return;
      if (const auto lease = reading.next()) {
        lease->template decode<T>(values);
        reading.came(values.size());
      }
    }

    channel_reading reading;
    std::deque<T> values;
    bool seen = false; // the first of them
  };

  std::shared_ptr<state> state_;
};

} // namespace troupe::detail
