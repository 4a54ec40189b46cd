#pragma once

#include <cstdint>
#include <functional>
#include <iterator>
#include <map>
#include <utility>

namespace troupe::detail {

/// Folds values that come in any order as if they came in the order of their places: neighbours as soon as both are there, so that `op` needs only be associative,
/// and no more values are kept than there are gaps.
template <class R, class Op>
class ordered_fold {
public:
  explicit ordered_fold(const Op& op) : op_(op) {}

  /// Each place once. Throws what the operator throws.
  void add(std::uint64_t place, R x) {
    auto right = parts_.upper_bound(place);
    run r{place + 1, std::move(x)};
    if (right != parts_.end() && right->first == r.end) {
      r.value = std::invoke(op_, std::move(r.value), std::move(right->second.value));
      r.end = right->second.end;
      right = parts_.erase(right);
    }
    if (right != parts_.begin()) {
      auto& left = std::prev(right)->second;
      if (left.end == place) {
        left.value = std::invoke(op_, std::move(left.value), std::move(r.value));
        left.end = r.end;
        return;
      }
    }
    parts_.emplace_hint(right, place, std::move(r));
  }

  /// How many values there are that have no neighbour yet.
  std::size_t size() const { return parts_.size(); }

  /// The value of all. Needs one at least, without gaps.
  R take() { return std::move(parts_.begin()->second.value); }

private:
  // What lies from its key up to `end`, which isn't part of it.
  struct run {
    std::uint64_t end;
    R value;
  };

  Op op_;
  std::map<std::uint64_t, run> parts_;
};

} // namespace troupe::detail
