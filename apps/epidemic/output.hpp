#pragma once

#include "epidemic/model.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace epidemic {

/// The table of a run: day,place,S,E,I,R,new_cases, one line for each place, and one for `total`, on each day
/// from 0. new_cases are those who became infectious on that day; on day 0, those it started with.
std::string to_csv(const trajectory& t, const scenario& s);

/// `n` with a blank between groups of three digits.
std::string grouped(std::int64_t n);

/// What a run comes to.
struct summary {
  std::uint32_t peak_day = 0;       ///< the first day with the most infectious people
  std::int64_t peak = 0;            ///< how many they are
  std::int64_t ever_infected = 0;
  std::int64_t people = 0;
};
summary summarize(const trajectory& t);

/// What a run took.
struct run_figures {
  std::size_t blocks = 1;
  std::uint64_t messages = 0; ///< between blocks
  std::uint64_t bytes = 0;    ///< between processes
  double seconds = 0;
};

/// What a run came to and what it took, on lines for people.
std::string to_text(const trajectory& t, const run_figures& f);

} // namespace epidemic
