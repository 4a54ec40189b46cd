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

std::vector<element_view> split_elements(reader& in, std::span<const held_reference_ptr> references) {
  const auto n = in.get<std::uint32_t>();
  if (n > in.left() / writer::element::header)
    throw codec_error{std::to_string(n) + " elements in " + std::to_string(in.left()) + " bytes"};
  std::vector<element_view> out;
  std::vector<std::uint32_t> counts;
  out.reserve(n);
  counts.reserve(n);
  std::size_t sum = 0;
  for (std::uint32_t i = 0; i < n; ++i) {
    const auto size = in.get<std::uint64_t>();
    sum += counts.emplace_back(in.get<std::uint32_t>());
    out.push_back({in.take(static_cast<std::size_t>(size)), {}});
  }
  in.expect_end();
  if (sum > references.size())
    throw codec_error{"elements with " + std::to_string(sum) + " references, of which there are only " + std::to_string(references.size())};
  auto left = references.last(sum);
  for (std::size_t i = 0; i < out.size(); ++i) {
    out[i].references = left.first(counts[i]);
    left = left.subspan(counts[i]);
  }
  return out;
}

std::vector<kept_value> read_elements(reader& in, const frame_view& from) {
  const auto elements = split_elements(in, from.references);
  std::vector<kept_value> out;
  out.reserve(elements.size());
  for (auto& x : elements)
    out.push_back(kept_value::of(x.bytes, from.owner, {x.references.begin(), x.references.end()}));
  return out;
}

} // namespace troupe
