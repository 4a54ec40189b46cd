#include "troupe/transport/log.hpp"

#include "troupe/transport/status_line.hpp"

#include <atomic>
#include <cstdio>

namespace troupe {

namespace {

std::atomic<log_level> most_said{log_level::info};

} // namespace

std::optional<log_level> parse_log_level(std::string_view word) {
  if (word == "off")
    return log_level::off;
  if (word == "error")
    return log_level::error;
  if (word == "warning" || word == "warn")
    return log_level::warning;
  if (word == "info")
    return log_level::info;
  return std::nullopt;
}

void set_log_level(log_level most) { most_said = most; }

void log(log_level level, std::string_view text) {
  if (level > most_said.load(std::memory_order_relaxed))
    return;
  std::string line{"troupe: "};
  line += text;
  line += '\n';
  status_line::print(stderr, line);
}

} // namespace troupe
