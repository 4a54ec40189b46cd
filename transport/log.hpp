#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace troupe {

/// How much the library says on the standard error, one line each, "troupe: …". Each level has those above it.
enum class log_level : std::uint8_t {
  off,     ///< Nothing.
  error,   ///< What failed and nobody else is told of: a call that nobody waits for, a user's handler that throws.
  warning, ///< What went wrong and has been dealt with, or will be: a worker that was lost, a stranger who was refused.
  info,    ///< What happens as it should, and somebody may wait for: a worker that has joined by itself.
};

/// "off", "error", "warning" (or "warn"), "info"; nothing for any other word.
std::optional<log_level> parse_log_level(std::string_view word);

/// Of this process, from now on; info before. Any thread.
void set_log_level(log_level most);

/// Writes "troupe: ", the text and the end of a line to the standard error, in one piece, if the process says so much. Any thread.
void log(log_level level, std::string_view text);

} // namespace troupe
