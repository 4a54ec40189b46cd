#pragma once

#include "troupe/actors/array_layout.hpp"
#include "troupe/transport/error.hpp"

#include <cstdint>
#include <string>

namespace troupe {

/// What every process that has an array's handle knows of it.
struct array_info {
  /// Among the cluster's arrays; see element_id.
  std::uint64_t number = 0;
  /// What its elements are, for messages: "cell".
  std::string label;
  /// Of the type that its handles name: see type_tag.
  std::uint64_t type = 0;
  array_layout layout;

  /// "array 3 of cell".
  std::string to_text() const { return "array " + std::to_string(number) + " of " + label; }

  /// An error is about the element at a position.
  void put_element(error_info& why, std::size_t position) const {
    why.item = position;
    why.item_name = "element " + to_string(array_index::at(position, layout.extents())) + " of " + to_text();
  }
};

template <>
struct codec<array_info> {
  static void write(writer& w, const array_info& x) {
    w.put(x.number);
    troupe::write(w, x.label);
    w.put(x.type);
    x.layout.write(w);
  }
  static void read(reader& r, array_info& x) {
    x.number = r.get<std::uint64_t>();
    troupe::read(r, x.label);
    x.type = r.get<std::uint64_t>();
    x.layout = array_layout::read(r);
  }
};

} // namespace troupe
