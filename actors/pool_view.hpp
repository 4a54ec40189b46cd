#pragma once

#include "troupe/actors/kept_value.hpp"
#include "troupe/transport/codec.hpp"
#include "troupe/transport/proc_id.hpp"

#include <cstdint>
#include <vector>

/// What a pool of workers tells of itself.
namespace troupe {

/// A member of a pool, and how much of it is out.
struct pool_member {
  proc_id id = 0;
  /// How often it can be out at a time.
  std::int32_t slots = 1;
  std::int32_t taken = 0;

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, pool_member& x) {
    return f(x.id, x.slots, x.taken);
  }
};

/// A pool as it was at a moment.
struct pool_view {
  /// Another one whenever members have come or gone, or one has become idle or busy. From 1.
  std::uint64_t version = 0;
  /// It is one of the user's own, which says by itself who is to be taken: `taken` means nothing but whether a member is idle.
  bool custom = false;
  /// In ascending order of the ids.
  std::vector<pool_member> members;

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, pool_view& x) {
    return f(x.version, x.custom, x.members);
  }
};

namespace detail {

/// The answer to what a pool's functions ask.
struct pool_status {
  std::uint64_t size = 0;
  bool ready = false;
  std::vector<proc_id> members;
  std::vector<proc_id> idle;

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, pool_status& x) {
    return f(x.size, x.ready, x.members, x.idle);
  }
};

/// How members are added to a pool.
enum class pool_push : std::uint8_t {
  /// One that is there gets the slots in addition; one whose process has gone is an error.
  add = 0,
  /// Those that are there, or have gone, are left out.
  join = 1,
};

/// A member has no more slots than that.
inline constexpr std::int32_t most_pool_slots = 1'000'000;

template <class T>
kept_value encode_kept(const T& x) {
  byte_buffer bytes;
  writer out{bytes};
  write(out, x);
  return kept_value::of(bytes, nullptr, {});
}

} // namespace detail

} // namespace troupe
