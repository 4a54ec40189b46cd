#include "troupe/transport/codec.hpp"

#include <cstdint>

namespace troupe {

void reader::fail_short(std::size_t needed, std::size_t left) {
  throw codec_error{"a value needs " + std::to_string(needed) + " bytes, " + std::to_string(left) + " are left"};
}

void reader::fail_length(std::uint64_t n, std::size_t element_size, std::size_t left) {
  throw codec_error{"a block claims " + std::to_string(n) + " elements of " + std::to_string(element_size) + " bytes, "
                    + std::to_string(left) + " bytes are left"};
}

void reader::fail_empty() {
  throw codec_error{"elements that take no bytes would take more than " + std::to_string(max_empty_elements) + " bytes of memory"};
}

namespace detail {

void throw_pointer_in_value(const found_pointer& found, std::string_view what) {
  throw codec_error{std::string{what} + " holds an address of this process (in its " + found.region + ") at byte "
                    + std::to_string(found.offset) + ", which means nothing elsewhere: give the type an inspect(f, x), or "
                    "send what the address points to"};
}

} // namespace detail

} // namespace troupe
