#pragma once

#include "troupe/transport/proc_id.hpp"

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iosfwd>
#include <memory>
#include <string>

namespace troupe {

/// @addtogroup references
/// @{

/// What a future or channel is known by in its cluster: `whence` and `id` name it, `where` tells who has it. Copies of a
/// reference have equal ids on every process.
struct ref_id {
  /// The process where it lives.
  proc_id where = 0;
  /// The process that made it.
  proc_id whence = 0;
  /// Of all that `whence` has made, only this has it. 0: none.
  std::uint64_t id = 0;

  /// By `whence` and `id`.
  friend bool operator==(const ref_id& a, const ref_id& b) { return a.whence == b.whence && a.id == b.id; }
  /// By `whence`, then by `id`.
  friend std::strong_ordering operator<=>(const ref_id& a, const ref_id& b) {
    const auto by_maker = a.whence <=> b.whence;
    return by_maker != 0 ? by_maker : a.id <=> b.id;
  }
};

/// "(where, whence, id)".
std::string to_string(const ref_id& x);
/// Writes what to_string gives.
std::ostream& operator<<(std::ostream& out, const ref_id& x);

/// @cond internal

/// This process's part in keeping what a reference stands for: as long as it lives, the owner keeps its target. All copies of a
/// reference on a process share it.
class held_reference {
public:
  explicit held_reference(const ref_id& id) : id_(id) {}
  virtual ~held_reference() = default;
  held_reference(const held_reference&) = delete;
  held_reference& operator=(const held_reference&) = delete;

  const ref_id& id() const { return id_; }

  /// For a writer or reader that isn't a frame's.
  [[noreturn]] static void throw_outside();
  [[noreturn]] static void throw_no_such(std::uint32_t place, std::size_t count);

private:
  const ref_id id_;
};

using held_reference_ptr = std::shared_ptr<held_reference>;

/// @endcond

/// @}

} // namespace troupe

template <>
struct std::hash<troupe::ref_id> {
  std::size_t operator()(const troupe::ref_id& x) const noexcept {
    // Consecutive numbers of one maker lie side by side in tables whose size is a prime, and are used one after the other.
    return static_cast<std::size_t>(x.id + (static_cast<std::uint64_t>(x.whence) << 40));
  }
};
