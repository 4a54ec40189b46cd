// What is told of arrays of actors. The first byte chooses: 0 where an array's elements live, 1 a frame that is for them, 2 one from the process itself.
#include "fuzz/round_trip.hpp"

#include "troupe/actors/array_info.hpp"
#include "troupe/actors/array_operation.hpp"

#include <algorithm>

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

void read_frame(std::span<const std::byte> bytes, troupe::proc_id from) {
  try {
    const auto r = troupe::array_operation::request::read(bytes, from, 2);
    fuzz::require(r.before <= r.others.size(), "those in front are some of them");
    fuzz::require(from == 2 || std::find(r.others.begin(), r.others.end(), 2) == r.others.end(), "nobody sends it to itself");
    fuzz::require(r.rest.empty() || r.rest.data() + r.rest.size() == bytes.data() + bytes.size(), "the rest is the frame's");
  } catch (const troupe::codec_error&) {
  }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::input in{data, size};
  const auto choice = in.byte() % 3;
  if (choice == 0)
    read_layout(in.rest());
  else
    read_frame(in.rest(), choice == 1 ? 1 : 2);
  return 0;
}
