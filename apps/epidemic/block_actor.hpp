#pragma once

#include "epidemic/messages.hpp"

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

namespace epidemic {

/// What a block has before it ends a day: what the others sent for it so far. Another block may be ahead, but
/// by less than a day, because it needs this one's messages too.
struct day_box {
  std::vector<visit> arrivals;
  std::size_t arrivals_from = 0; // blocks
  std::vector<exposure> exposed;
  std::size_t exposed_from = 0;
};

struct block_state {
  static inline const char* name = "epidemic_block";

  enum class phase { night, day, evening };

  std::optional<block> model;
  partition parts{1, 1};
  std::size_t index = 0;
  std::vector<caf::actor> blocks;      // all, this one too
  phase now = phase::night;
  std::uint32_t day = 0;               // the last one that is over
  std::uint32_t until = 0;             // where to rest
  std::map<std::uint32_t, day_box> boxes;
  std::uint32_t first_kept = 0;        // the day of the first of `rows`
  std::vector<counts> rows;            // what the master has not collected yet
  std::uint64_t messages = 0;
  std::uint32_t asked = 0;             // the last day of the request that waits in `answer`
  std::optional<caf::typed_response_promise<results>> answer;
};

using block_self = caf::stateful_actor<block_state>;

/// An element of an array that runs `s` with the places divided among its elements. It rests where `run_until` says, and
/// keeps what it found until `collect` fetches it.
caf::behavior block_actor(block_self* self, const troupe::element<block_self>& me, const scenario& s);

} // namespace epidemic
