#pragma once

#include "epidemic/model.hpp"

#include <filesystem>
#include <string>
#include <string_view>

namespace epidemic {

/// Makes `content` the whole content of `file`. A reader finds the old content or the new one, never a part:
/// it goes to a file beside it first, which is renamed, and which is gone when that fails. What is there but
/// no regular file (/dev/stdout, a pipe) is written to directly. Throws std::system_error, with the name and
/// the system's reason.
void write_file(const std::filesystem::path& file, std::string_view content);

/// Makes `folder` if there is none. Throws std::system_error when it can't be made or files can't be made in
/// it.
void require_folder(const std::filesystem::path& folder);

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

} // namespace epidemic
