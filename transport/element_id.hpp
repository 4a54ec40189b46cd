#pragma once

#include <caf/actor_control_block.hpp>
#include <caf/error.hpp>

#include <cstdint>
#include <optional>

namespace troupe {

/// Which element of which array an actor is. Its actor id says so on every process: who sends to an element needs to know nothing but its array's layout, and the address
/// stays the same wherever the element lives.
struct element_id {
  /// Of the cluster's arrays, from 1.
  std::uint64_t array = 0;
  /// In row-major order, from 0.
  std::uint64_t position = 0;

  static constexpr int position_bits = 31;
  static constexpr std::uint64_t most_elements = std::uint64_t{1} << position_bits;
  static constexpr std::uint64_t most_arrays = std::uint64_t{1} << 32;
  /// Set in no id that CAF gives: it counts from 1.
  static constexpr caf::actor_id mark = caf::actor_id{1} << 63;

  static constexpr bool is(caf::actor_id id) { return (id & mark) != 0; }
  static constexpr element_id of(caf::actor_id id) { return {(id & ~mark) >> position_bits, id & (most_elements - 1)}; }
  constexpr caf::actor_id actor() const { return mark | (array << position_bits) | position; }

  friend constexpr bool operator==(const element_id&, const element_id&) = default;
};

/// The elements of arrays that live on this process. Any thread.
class own_elements {
public:
  virtual ~own_elements() = default;

  /// The element's actor, or who takes its messages until there is one. Null if it has ended, or isn't here.
  virtual caf::strong_actor_ptr find(element_id which) = 0;

  /// Why it has ended, as far as that is known.
  virtual std::optional<caf::error> reason_of(element_id which) = 0;
};

} // namespace troupe
