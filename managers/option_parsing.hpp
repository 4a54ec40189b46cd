#pragma once

#include <charconv>
#include <concepts>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

/// How the text of an option becomes a value, without a parser library in a header that every program includes.
namespace troupe::detail {

template <class T>
inline constexpr bool is_option_vector = false;
template <class T>
inline constexpr bool is_option_vector<std::vector<T>> = true;
template <class T>
inline constexpr bool is_option_optional = false;
template <class T>
inline constexpr bool is_option_optional<std::optional<T>> = true;

bool parse_bool(std::string_view text, bool& value);

/// What is expected, for messages and the help: "a whole number".
template <class T>
std::string option_type() {
  if constexpr (is_option_vector<T>)
    return option_type<typename T::value_type>() + "s";
  else if constexpr (is_option_optional<T>)
    return option_type<typename T::value_type>();
  else if constexpr (std::same_as<T, bool>)
    return "yes or no";
  else if constexpr (std::unsigned_integral<T>)
    return "whole number from 0 on";
  else if constexpr (std::integral<T>)
    return "whole number";
  else if constexpr (std::floating_point<T>)
    return "number";
  else
    return "text";
}

/// False if the text is no T; the value is unchanged then.
template <class T>
bool parse_option(std::string_view text, T& value) {
  if constexpr (std::same_as<T, bool>) {
    return parse_bool(text, value);
  } else if constexpr (std::is_arithmetic_v<T>) {
    T parsed{};
    if (text.starts_with('+'))
      text.remove_prefix(1);
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), parsed);
    if (error != std::errc{} || end != text.data() + text.size())
      return false;
    value = parsed;
    return true;
  } else if constexpr (is_option_optional<T>) {
    typename T::value_type parsed{};
    if (!parse_option(text, parsed))
      return false;
    value = std::move(parsed);
    return true;
  } else {
    static_assert(std::is_constructible_v<T, std::string>,
                  "app.option takes numbers, bool, text, and vectors and optionals of these: use app.cli() for others");
    value = T(std::string{text});
    return true;
  }
}

/// Shows a default; empty for what can't be shown.
template <class T>
std::string option_default(const T& value) {
  if constexpr (std::same_as<T, bool>)
    return value ? "yes" : "no";
  else if constexpr (std::is_arithmetic_v<T>) {
    char text[64];
    auto [end, error] = std::to_chars(text, text + sizeof text, value);
    return {text, error == std::errc{} ? end : text};
  } else if constexpr (std::is_convertible_v<T, std::string>)
    return value;
  else
    return {};
}

} // namespace troupe::detail
