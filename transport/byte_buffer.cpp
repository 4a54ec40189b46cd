#include "troupe/transport/byte_buffer.hpp"

#include <algorithm>

namespace troupe::detail {

void make_room_for(byte_buffer& bytes, std::size_t size) {
  byte_buffer roomy;
  roomy.reserve(bytes.empty() ? size : std::max(size, 2 * bytes.capacity()));
  append(roomy, bytes);
  bytes = std::move(roomy);
}

} // namespace troupe::detail
