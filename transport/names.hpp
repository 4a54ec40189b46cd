#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace troupe::detail {

/// "std::runtime_error" for "St13runtime_error"; the text itself if it is no mangled name. Any thread.
std::string demangle(const char* name);

/// FNV-1a with 64 bits (Fowler, Noll, Vo): what stands for a name on the wire.
std::uint64_t hash_name(std::string_view name);

} // namespace troupe::detail
