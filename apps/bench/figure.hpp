#pragma once

#include <concepts>
#include <cstdint>
#include <cstdio>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace bench {

/// What was measured: one value with its unit, and fields that explain it, in the order of their addition.
struct figure {
  using field_value = std::variant<bool, std::int64_t, double, std::string>;

  std::string metric;
  double value = 0;
  std::string unit;
  std::vector<std::pair<std::string, field_value>> fields;

  /// A field that is there already keeps its place and gets the new value.
  template <class T>
  figure& with(const std::string& name, const T& x) {
    if constexpr (std::same_as<T, bool> || std::floating_point<T>)
      return set(name, x);
    else if constexpr (std::integral<T>)
      return set(name, static_cast<std::int64_t>(x));
    else
      return set(name, std::string{x});
  }

  /// Null if there's none.
  const field_value* find(const std::string& name) const;

private:
  figure& set(const std::string& name, field_value x);
};

/// {"metric": …, "value": …, "unit": …, …}, in one line without its end. Numbers have four significant
/// digits; those that are infinite or no number are null. Text that is not UTF-8 is mended.
std::string to_json(const figure& f);

/// For people: a heading before the first row, then one row for each figure.
class table {
public:
  /// `out` must live as long as the table.
  explicit table(std::FILE* out) : out_(out) {}
  void add(const figure& f);

private:
  std::FILE* out_;
  bool begun_ = false;
};

/// "48.2 us", "1.31 M/s": three digits, and a unit that suits the size of a rate.
std::string in_words(double value, const std::string& unit);

/// For people who haven't read the source: each row says what was measured, in `out`, which must live as long as the table.
class plain_table {
public:
  explicit plain_table(std::FILE* out) : out_(out) {}
  void add(const figure& f, const std::string& meaning);
  /// Tells what the columns are. False if not all could be written.
  bool end();

private:
  std::FILE* out_;
  bool begun_ = false;
};

} // namespace bench
