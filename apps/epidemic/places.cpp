#include "epidemic/places.hpp"

#include "epidemic/states_csv.hpp"

#include <array>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <map>
#include <memory>
#include <numbers>
#include <system_error>

namespace epidemic {

namespace {

constexpr std::array<std::string_view, 5> columns = {"code", "name", "population", "latitude", "longitude"};
constexpr std::string_view form = "code,name,population,latitude,longitude";

bool printable(char c) { return static_cast<unsigned char>(c) >= 0x20 && c != 0x7f; }

/// `text` as a message may show it, whatever is in it.
std::string quoted(std::string_view text) {
  constexpr std::size_t most = 40;
  std::string out = "'";
  for (char c : text.substr(0, most))
    out += printable(c) ? c : '?';
  return out + (text.size() > most ? "…'" : "'");
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view blank = " \t\r";
  const auto first = text.find_first_not_of(blank);
  if (first == text.npos)
    return {};
  return text.substr(first, text.find_last_not_of(blank) - first + 1);
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (;;) {
    const auto end = text.find(separator);
    parts.push_back(text.substr(0, end));
    if (end == text.npos)
      return parts;
    text.remove_prefix(end + 1);
  }
}

class parser {
public:
  explicit parser(std::string_view file) : file_(file) {}

  std::vector<place> parse(std::string_view text) {
    if (text.substr(0, 3) == "\xEF\xBB\xBF") // a byte order mark, which spreadsheets write
      text.remove_prefix(3);
    for (auto line : split(text, '\n')) {
      ++line_;
      line = trimmed(line);
      if (line.empty() || line.front() == '#')
        continue;
      const auto fields = split(line, ',');
      if (width_ == 0)
        read_header(fields);
      else
        read_place(fields);
    }
    if (width_ == 0)
      fail("came to the end, expected a first line " + std::string{form});
    if (places_.empty())
      fail("came to the end, expected at least one place");
    return std::move(places_);
  }

private:
  [[noreturn]] void fail(const std::string& what) const {
    throw places_error(std::string{file_} + ':' + std::to_string(line_) + ": " + what);
  }

  void read_header(const std::vector<std::string_view>& fields) {
    width_ = fields.size();
    for (std::size_t column = 0; column < columns.size(); ++column) {
      std::size_t found = 0;
      for (std::size_t i = 0; i < width_; ++i) {
        if (trimmed(fields[i]) != columns[column])
          continue;
        where_[column] = i;
        ++found;
      }
      if (found != 1)
        fail((found ? "came more than one column '" : "came no column '") + std::string{columns[column]} + "', expected the columns "
             + std::string{form});
    }
  }

  void read_place(const std::vector<std::string_view>& fields) {
    if (fields.size() != width_)
      fail("came " + std::to_string(fields.size()) + " fields, expected " + std::to_string(width_)
           + " as in the first line (no field can hold a comma)");
    if (places_.size() == max_places)
      fail("came another place, expected at most " + std::to_string(max_places));
    place p;
    p.code = read_code(trimmed(fields[where_[0]]));
    p.name = read_name(trimmed(fields[where_[1]]));
    p.population = read_population(trimmed(fields[where_[2]]));
    p.latitude = read_degrees(trimmed(fields[where_[3]]), "latitude", 90);
    p.longitude = read_degrees(trimmed(fields[where_[4]]), "longitude", 180);
    places_.push_back(std::move(p));
  }

  std::string read_code(std::string_view text) {
    constexpr std::string_view allowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    if (text.empty() || text.size() > 16 || text.find_first_not_of(allowed) != text.npos || text == "total")
      fail("came " + quoted(text) + " as code, expected 1 to 16 letters, digits, '-' or '_', not the word total");
    const auto [first, fresh] = lines_.emplace(text, line_);
    if (!fresh)
      fail("came the code " + quoted(text) + " again, expected another than in line " + std::to_string(first->second));
    return std::string{text};
  }

  std::string read_name(std::string_view text) const {
    for (char c : text) {
      if (!printable(c))
        fail("came " + quoted(text) + " as name, expected no control characters");
    }
    if (text.empty())
      fail("came '' as name, expected some text");
    return std::string{text};
  }

  std::int64_t read_population(std::string_view text) const {
    std::int64_t value = 0;
    const auto end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, value);
    if (error != std::errc{} || stop != end || value < 1 || value > max_population)
      fail("came " + quoted(text) + " as population, expected a whole number from 1 to " + std::to_string(max_population));
    return value;
  }

  double read_degrees(std::string_view text, std::string_view what, int most) const {
    const bool plus = text.size() > 1 && text[0] == '+' && text[1] != '-'; // which from_chars doesn't know
    const auto digits = text.substr(plus);
    double value = 0;
    const auto end = digits.data() + digits.size();
    const auto [stop, error] = std::from_chars(digits.data(), end, value);
    if (error != std::errc{} || stop != end || !(std::abs(value) <= most))
      fail("came " + quoted(text) + " as " + std::string{what} + ", expected degrees from -" + std::to_string(most) + " to "
           + std::to_string(most));
    return value;
  }

  std::string_view file_;
  std::size_t line_ = 0;
  std::size_t width_ = 0;                 // fields in each line; 0: the first line is still to come
  std::array<std::size_t, 5> where_{};    // the position of each of `columns`
  std::map<std::string, std::size_t, std::less<>> lines_; // by code
  std::vector<place> places_;
};

std::string read_file(const std::filesystem::path& file) {
  constexpr std::size_t most = 16'000'000;
  auto fail = [&](int error) -> void { throw std::system_error(error, std::generic_category(), "cannot read " + file.string()); };
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> in{std::fopen(file.c_str(), "rb"), std::fclose};
  if (!in)
    fail(errno);
  std::string text;
  std::array<char, 65536> buffer;
  while (const auto n = std::fread(buffer.data(), 1, buffer.size(), in.get())) {
    text.append(buffer.data(), n);
    if (text.size() > most)
      fail(EFBIG);
  }
  if (std::ferror(in.get()))
    fail(errno);
  return text;
}

} // namespace

std::vector<place> parse_places(std::string_view text, std::string_view file) { return parser{file}.parse(text); }

std::vector<place> read_places(const std::filesystem::path& file) { return parse_places(read_file(file), file.string()); }

std::vector<place> default_places() { return parse_places(states_csv, "states.csv"); }

double distance_km(const place& a, const place& b) {
  constexpr double earth_radius_km = 6371.0088;
  constexpr double radians = std::numbers::pi / 180;
  const double across = std::sin((b.latitude - a.latitude) * radians / 2);
  const double along = std::sin((b.longitude - a.longitude) * radians / 2);
  const double h = across * across + std::cos(a.latitude * radians) * std::cos(b.latitude * radians) * along * along;
  return 2 * earth_radius_km * std::asin(std::sqrt(std::fmin(h, 1)));
}

} // namespace epidemic
