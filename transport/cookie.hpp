#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>

namespace troupe {

/// The longest cookie, in characters.
inline constexpr std::size_t max_cookie_size = 16;

/// Prepares OpenSSL; to be called before its first use. From then on it outlives the static objects, so that a task may
/// call std::exit while the loop's thread shakes hands. Any thread, any number of times.
void init_crypto();

/// 16 random letters and digits, all equally likely (95 bits). Throws std::runtime_error without random
/// numbers.
std::string make_cookie();

/// Accepts 1 to 16 printable ASCII characters without blanks. Throws std::invalid_argument otherwise, with a
/// text that says what is wrong but doesn't repeat the cookie.
void check_cookie(std::string_view cookie);

/// Reads a cookie from a file that holds nothing else but a line end. The file must be a regular one (or a
/// link to one) that belongs to this process's effective user, and nobody else may have any right to it: who
/// can read it can run code here, who can write it can lock us out. Throws std::runtime_error naming the file
/// otherwise. Never blocks, not even on a FIFO.
std::string read_cookie_file(const std::filesystem::path& file);

/// The same; a file that isn't there is made first, with a new cookie, and so is its folder, both for this user alone. Two processes that do so at once get the same cookie.
std::string read_or_make_cookie_file(const std::filesystem::path& file);

/// The file that is used when none is named: ".troupe/cookie" in the user's home. Throws std::runtime_error for a user without one.
std::filesystem::path default_cookie_file();

} // namespace troupe
