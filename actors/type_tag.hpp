#pragma once

#include "troupe/transport/names.hpp"

#include <cstdint>
#include <string>
#include <typeinfo>

/// Types of what references stand for, as numbers that mean the same in every program.
namespace troupe::detail {

/// Notes the name of a type. Returns its number, never 0. Any thread.
std::uint64_t add_type_tag(const std::type_info& type);

/// The name of a number that this process has seen; "another type" else.
std::string type_tag_name(std::uint64_t tag);

// Known from the start, so that an owner can name the types that others use.
template <class T>
inline const std::uint64_t type_tag_at_start = add_type_tag(typeid(T));

template <class T>
std::uint64_t type_tag() {
  static_cast<void>(&type_tag_at_start<T>);
  static const auto tag = add_type_tag(typeid(T));
  return tag;
}

} // namespace troupe::detail
