#pragma once

#include "troupe/managers/join.hpp"
#include "troupe/managers/named_frames.hpp"
#include "troupe/transport/connection.hpp"
#include "troupe/transport/error.hpp"

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <list>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace fuzz {

struct plain {
  std::int32_t a = 0;
  float b = 0;
  std::uint64_t c = 0;
};

struct tree {
  std::string name;
  std::optional<std::vector<double>> data;
  std::int16_t grid[2][2] = {};
  bool flags[2] = {};
  std::vector<tree> children;

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, tree& x) {
    return f(x.name, x.data, x.grid, x.flags, x.children);
  }
};

/// What the codec's target decodes. Inputs name types by their position: new ones come last. None is ordered by something that
/// changes between two journeys, as unordered containers are.
using value_types =
  std::tuple<std::string, std::u32string, std::vector<bool>, std::vector<std::vector<std::string>>, std::vector<plain>,
             std::optional<std::vector<std::optional<std::int16_t>>>,
             std::variant<std::monostate, std::string, std::vector<std::variant<int, bool>>, std::optional<double>>,
             std::map<std::string, std::vector<std::uint16_t>>, std::list<std::deque<std::set<int>>>,
             std::tuple<std::int8_t, std::string, std::pair<bool, long double>, std::array<std::string, 2>, std::array<float, 3>>, tree,
             std::vector<std::pair<std::monostate, std::vector<std::nullptr_t>>>,
             std::map<std::chrono::system_clock::time_point, std::vector<std::array<plain, 2>>>, troupe::error_info, troupe::hello,
             troupe::membership_change, troupe::join_request, troupe::join_answer, troupe::named_header>;

/// Calls f(std::type_identity<T>{}) with the type of a number; it wraps around.
template <class F>
void for_type(std::size_t number, F f) {
  [&]<std::size_t... I>(std::index_sequence<I...>) {
    static_cast<void>(((I == number % sizeof...(I) && (f(std::type_identity<std::tuple_element_t<I, value_types>>{}), true)) || ...));
  }(std::make_index_sequence<std::tuple_size_v<value_types>>{});
}

/// What is done with a value that has come, beyond decoding it.
template <class T>
void use(const T&) {}

inline void use(const troupe::error_info& x) {
  static_cast<void>(troupe::make_exception(x));
  static_cast<void>(x.cause.to_text());
  static_cast<void>(to_string(x.kind));
  for (auto& failure : x.failures)
    static_cast<void>(to_string(failure.reason));
}

} // namespace fuzz
