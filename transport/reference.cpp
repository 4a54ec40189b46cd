#include "troupe/transport/reference.hpp"

#include "troupe/transport/codec.hpp"

#include <ostream>

namespace troupe {

std::string to_string(const ref_id& x) {
  return "(" + std::to_string(x.where) + ", " + std::to_string(x.whence) + ", " + std::to_string(x.id) + ")";
}

std::ostream& operator<<(std::ostream& out, const ref_id& x) { return out << to_string(x); }

void held_reference::throw_outside() {
  throw codec_error{
    "futures, channels and shared values mean nothing outside of their cluster: they can be sent to its processes, but neither be "
    "written to a file nor read from one"};
}

void held_reference::throw_no_such(std::uint32_t place, std::size_t count) {
  throw codec_error{"reference " + std::to_string(place) + " of " + std::to_string(count)};
}

} // namespace troupe
