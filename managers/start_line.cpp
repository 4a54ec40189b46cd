#include "troupe/managers/start_line.hpp"

#include "troupe/transport/error.hpp"

#include <arpa/inet.h>
#include <charconv>
#include <netinet/in.h>
#include <system_error>

namespace troupe {

namespace {

constexpr std::string_view start_word = "troupe_worker:";

bool is_numeric_address(const std::string& text) {
  if (text.find('\0') != std::string::npos)
    return false; // inet_pton would not see what is behind it
  in6_addr ignored;
  return ::inet_pton(AF_INET, text.c_str(), &ignored) == 1 || ::inet_pton(AF_INET6, text.c_str(), &ignored) == 1;
}

} // namespace

std::string start_line(const endpoint& where) { return std::string{start_word} + std::to_string(where.port) + "#" + where.address; }

std::optional<endpoint> parse_start_line(std::string_view line) {
  if (!line.starts_with(start_word))
    return std::nullopt;
  line.remove_prefix(start_word.size());
  auto hash = line.find('#');
  if (hash == std::string_view::npos)
    return std::nullopt;
  endpoint out;
  auto [end, error] = std::from_chars(line.data(), line.data() + hash, out.port);
  if (error != std::errc{} || end != line.data() + hash)
    return std::nullopt;
  out.address = line.substr(hash + 1);
  if (out.scheme().empty() && (out.port == 0 || !is_numeric_address(out.address)))
    return std::nullopt;
  return out;
}

endpoint parse_bind_address(const std::string& text) {
  endpoint out{text, 0};
  if (!out.scheme().empty())
    return out;
  auto colon = text.rfind(':');
  auto bracket = text.find(']');
  if (!text.empty() && text.front() == '[' && bracket != std::string::npos) {
    out.address = text.substr(1, bracket - 1);
    colon = bracket + 1 < text.size() ? bracket + 1 : std::string::npos;
  } else if (colon != std::string::npos && text.find(':') == colon) {
    out.address = text.substr(0, colon);
  } else {
    return out;
  }
  if (colon == std::string::npos)
    return out;
  auto digits = text.substr(colon + 1);
  auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), out.port);
  if (text[colon] != ':' || error != std::errc{} || end != digits.data() + digits.size() || out.port == 0)
    throw usage_error{"--bind-addr, bind_addr: '" + text + "' is not ADDRESS or ADDRESS:PORT"};
  return out;
}

} // namespace troupe
