#include "troupe/transport/names.hpp"

#include <cstdlib>
#include <cxxabi.h>
#include <memory>

namespace troupe::detail {

std::string demangle(const char* name) {
  std::unique_ptr<char, void (*)(void*)> text{abi::__cxa_demangle(name, nullptr, nullptr, nullptr), std::free};
  return text ? text.get() : name;
}

std::uint64_t hash_name(std::string_view name) {
  std::uint64_t h = 0xcbf29ce484222325u;
  for (unsigned char c : name)
    h = (h ^ c) * 0x100000001b3u;
  return h;
}

} // namespace troupe::detail
