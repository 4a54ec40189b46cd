// What is told of arrays of actors. The first byte chooses: 0 where an array's elements live, 1 a frame that is for them.
#include "fuzz/round_trip.hpp"

#include "troupe/actors/array_info.hpp"
#include "troupe/actors/array_operation.hpp"

#include <memory>

namespace {

void read_layout(std::span<const std::byte> bytes) {
  const auto info = fuzz::round_trip<troupe::array_info>(bytes);
  if (!info)
    return;
  const auto& layout = info->layout;
  for (std::size_t i = 0; i < std::min<std::size_t>(layout.size(), 1000); ++i) {
    const auto own = layout.positions_on(layout.where(i));
    const auto at = own.own(i);
    fuzz::require(at < own.count() && own[at] == i, "an element is where it lives");
  }
}

void read_frame(std::span<const std::byte> bytes) {
  const auto owner = std::make_shared<troupe::byte_buffer>();
  owner->resize(bytes.size());
  std::copy(bytes.begin(), bytes.end(), owner->begin());
  troupe::frame_view f;
  f.payload = *owner;
  f.owner = owner;
  try {
    const auto r = troupe::array_operation::request::read(std::move(f));
    fuzz::require(r.before <= r.others.size(), "those in front are some of them");
    fuzz::require(r.rest.empty() || (r.rest.data() >= owner->data() && r.rest.data() + r.rest.size() == owner->data() + owner->size()), "the rest is the frame's");
  } catch (const troupe::codec_error&) {
  }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::input in{data, size};
  if (in.byte() % 2 == 0)
    read_layout(in.rest());
  else
    read_frame(in.rest());
  return 0;
}
