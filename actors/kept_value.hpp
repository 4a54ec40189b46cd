#pragma once

#include "troupe/transport/codec.hpp"
#include "troupe/transport/frame.hpp"

#include <cstddef>
#include <memory>
#include <span>
#include <utility>
#include <vector>

namespace troupe {

/// A value in encoded form, with what it refers to, as the owner of a future or channel keeps it. Copies share the bytes.
struct kept_value {
  std::span<const std::byte> bytes;
  std::shared_ptr<const void> keeper;
  std::vector<held_reference_ptr> references;

  /// What is small is copied: it came in a buffer that it shares with others.
  static kept_value of(std::span<const std::byte> bytes, const std::shared_ptr<const byte_buffer>& owner,
                       std::vector<held_reference_ptr> references);
};

/// Appends `n` values, each with its size and the number of its references in front, so that they can be taken apart without being decoded.
template <class Write>
void write_elements(writer& out, std::size_t n, Write write) {
  out.put(static_cast<std::uint32_t>(n));
  for (std::size_t i = 0; i < n; ++i) {
    writer::element element{out};
    write(out, i);
  }
}

/// Appends a kept value as an element.
void write_element(writer& out, const kept_value& x);

/// An element as it was written, and what it refers to.
struct element_view {
  std::span<const std::byte> bytes;
  std::span<const held_reference_ptr> references;
};

/// Takes apart what write_elements has written, and what ends `in`; what it refers to ends the list. Throws codec_error.
std::vector<element_view> split_elements(reader& in, std::span<const held_reference_ptr> references);

/// The same, to be kept.
std::vector<kept_value> read_elements(reader& in, const frame_view& from);

} // namespace troupe
