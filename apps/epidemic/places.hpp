#pragma once

#include <cstdint>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace epidemic {

/// A place where people live, for instance a state.
struct place {
  std::string code;             ///< what tables and options call it
  std::string name;
  std::int64_t population = 0;  ///< 1 to max_population
  double latitude = 0;          ///< degrees north, -90 to 90
  double longitude = 0;         ///< degrees east, -180 to 180
};

inline constexpr std::int64_t max_population = 10'000'000'000;
inline constexpr std::size_t max_places = 2'000;

/// Text that is not a table of places. what() begins with file:line and says what came and what was expected.
struct places_error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Reads a table of places: comma-separated values with the columns code, name, population, latitude and
/// longitude, in any order, named by the first line; others are ignored. Empty lines and those that begin
/// with # don't count. Fields can't hold commas. Codes are unique, 1 to 16 letters, digits, '-' or '_', and
/// not `total`. `file` is what errors call the text. Throws places_error at the first thing that is wrong.
std::vector<place> parse_places(std::string_view text, std::string_view file);

/// The same for a file of at most 16 MB. Throws std::system_error when it can't be read.
std::vector<place> read_places(const std::filesystem::path& file);

/// The table that is built in: the 50 states and D.C., from states.csv.
std::vector<place> default_places();

/// The great-circle distance between two places in kilometres, by the haversine formula on a sphere of the
/// Earth's mean radius.
double distance_km(const place& a, const place& b);

} // namespace epidemic
