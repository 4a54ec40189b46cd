#include "troupe/actors/kept_value.hpp"

#include <cstring>

namespace troupe {

namespace {

// Larger ones stay in the buffer that they came in, if it has little else.
constexpr std::size_t worth_keeping = std::size_t{64} << 10;

} // namespace

kept_value kept_value::of(std::span<const std::byte> bytes, const std::shared_ptr<const byte_buffer>& owner,
                          std::vector<held_reference_ptr> references) {
  kept_value out;
  out.references = std::move(references);
  if (bytes.empty())
    return out;
  if (owner && bytes.size() >= worth_keeping && bytes.size() >= owner->capacity() / 2) {
    out.bytes = bytes;
    out.keeper = owner;
    return out;
  }
  auto copy = std::make_shared_for_overwrite<std::byte[]>(bytes.size());
  std::memcpy(copy.get(), bytes.data(), bytes.size());
  out.bytes = {copy.get(), bytes.size()};
  out.keeper = std::move(copy);
  return out;
}

void write_element(writer& out, const kept_value& x) {
  writer::element element{out};
  for (auto& r : x.references)
    out.carry(r);
  writer::referring scope{out, x.keeper};
  out.block(x.bytes.data(), x.bytes.size());
}

std::vector<kept_value> read_elements(reader& in, const frame_view& from) {
  const auto n = in.get<std::uint32_t>();
  if (n > in.left() / writer::element::header)
    throw codec_error{std::to_string(n) + " elements in " + std::to_string(in.left()) + " bytes"};
  std::vector<kept_value> out;
  out.reserve(n);
  std::size_t reference = 0;
  for (std::uint32_t i = 0; i < n; ++i) {
    const auto size = in.get<std::uint64_t>();
    const auto count = in.get<std::uint32_t>();
    if (count > from.references.size() - reference)
      throw codec_error{"an element with " + std::to_string(count) + " references, of which there are only " + std::to_string(from.references.size() - reference)};
    const auto first = from.references.begin() + static_cast<std::ptrdiff_t>(reference);
    reference += count;
    out.push_back(kept_value::of(in.take(static_cast<std::size_t>(size)), from.owner, {first, first + static_cast<std::ptrdiff_t>(count)}));
  }
  in.expect_end();
  return out;
}

} // namespace troupe
