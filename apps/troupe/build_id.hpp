#pragma once

#include <string>
#include <string_view>

namespace command {

/// The build id of a program, in hexadecimal as `readelf -n` prints it, from the first bytes of its file. Empty if it has none there, or is no 64-bit ELF file of this machine's byte order.
std::string build_id_in(std::string_view first_bytes);

/// The same of a file; empty also if it can't be read.
std::string build_id_of_file(const std::string& path);

/// How much of a file is looked at: linkers put the note behind the program headers.
inline constexpr std::size_t build_id_within = 8192;

/// Bytes from hexadecimal digits; empty if it is anything else.
std::string from_hex(std::string_view digits);

} // namespace command
