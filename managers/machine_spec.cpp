#include "troupe/managers/machine_spec.hpp"

#include "troupe/managers/start_line.hpp"
#include "troupe/transport/error.hpp"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>
#include <optional>

namespace troupe {

namespace {

constexpr std::string_view blanks = " \t\r";
constexpr int most_workers = 10'000; // of a machine: a mistyped port, rather
constexpr int highest_port = 65'535;

std::string_view trimmed(std::string_view text) {
  const auto begin = text.find_first_not_of(blanks);
  return begin == std::string_view::npos ? std::string_view{} : text.substr(begin, text.find_last_not_of(blanks) + 1 - begin);
}

bool is_control(char c) { return static_cast<unsigned char>(c) < ' ' || c == '\x7f'; }

// What isn't a hostfile at all must not reach a terminal as it is.
[[noreturn]] void refuse(std::string_view spec, const std::string& why) {
  auto text = "machine '" + std::string{spec} + "': " + why;
  std::replace_if(text.begin(), text.end(), is_control, '?');
  throw usage_error{text};
}

bool is_number(std::string_view text) { return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos; }

bool is_count(std::string_view text) { return text == "auto" || is_number(text); }

int check_count(std::string_view spec, int n) {
  if (n != auto_count && (n < 0 || n > most_workers))
    refuse(spec, "a number of workers is 0 to " + std::to_string(most_workers) + " or auto, it is " + std::to_string(n));
  return n;
}

int parse_count(std::string_view spec, std::string_view text) {
  if (text == "auto")
    return auto_count;
  int n = 0;
  if (std::from_chars(text.data(), text.data() + text.size(), n).ec != std::errc{})
    refuse(spec, "a number of workers is 0 to " + std::to_string(most_workers) + " or auto, it is '" + std::string{text} + "'");
  return check_count(spec, n);
}

std::uint16_t parse_port(std::string_view spec, std::string_view text) {
  int n = 0;
  if (!is_number(text) || std::from_chars(text.data(), text.data() + text.size(), n).ec != std::errc{} || n < 1 || n > highest_port)
    refuse(spec, "'" + std::string{text} + "' behind the host is no port, which is a number from 1 to 65535");
  return static_cast<std::uint16_t>(n);
}

// What ssh itself refuses, so that it is said before anything is launched.
void check_user(std::string_view spec, std::string_view user) {
  if (user.empty())
    refuse(spec, "there is no user in front of '@'");
  if (user.front() == '-' || user.back() == '\\' || user.find_first_of("'`\";&<>|(){}") != std::string_view::npos
      || std::any_of(user.begin(), user.end(), is_control))
    refuse(spec, "'" + std::string{user} + "' in front of '@' is no user's name");
}

void check_host(std::string_view spec, std::string_view host, bool in_brackets) {
  if (host.empty())
    refuse(spec, "there is no host");
  const auto is_good = [&](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' || c == '-' || c == '_'
           || static_cast<unsigned char>(c) >= 0x80 || (in_brackets && (c == ':' || c == '%'));
  };
  if (host.front() == '-' || !std::all_of(host.begin(), host.end(), is_good))
    refuse(spec, "'" + std::string{host} + "' is no host's name or address");
  if (in_brackets && host.find(':') == std::string_view::npos)
    refuse(spec, "'" + std::string{host} + "' in brackets is no IPv6 address");
}

void parse_host(machine_spec& m, std::string_view text) {
  const auto spec = std::string_view{m.text};
  if (const auto at = text.rfind('@'); at != std::string_view::npos) {
    check_user(spec, text.substr(0, at));
    m.user = text.substr(0, at);
    text.remove_prefix(at + 1);
  }
  std::optional<std::string_view> port;
  const bool in_brackets = text.starts_with('[');
  if (in_brackets) {
    const auto end = text.find(']');
    if (end == std::string_view::npos)
      refuse(spec, "there is no ']' behind the IPv6 address");
    const auto rest = text.substr(end + 1);
    if (!rest.empty() && rest.front() != ':')
      refuse(spec, "'" + std::string{rest} + "' stands behind the address, where ':' and a port may be");
    if (!rest.empty())
      port = rest.substr(1);
    text = text.substr(1, end - 1);
  } else if (const auto colon = text.find(':'); colon != std::string_view::npos) {
    if (text.find(':', colon + 1) != std::string_view::npos)
      refuse(spec, "there is more than one ':' in the host: an IPv6 address stands in brackets, '[" + std::string{text} + "]'");
    port = text.substr(colon + 1);
    text = text.substr(0, colon);
  }
  check_host(spec, text, in_brackets);
  m.host = text;
  if (port)
    m.port = parse_port(spec, *port);
}

void parse_bind(machine_spec& m, std::string_view text) {
  try {
    const auto at = parse_bind_address(std::string{text});
    m.bind_addr = at.address;
    m.bind_port = at.port;
  } catch (const usage_error&) {
    refuse(m.text, "'" + std::string{text} + "' behind the host is not where workers could listen, ADDRESS or ADDRESS:PORT");
  }
  if (m.bind_addr.empty() || m.bind_addr.find_first_of("[] ") != std::string::npos || m.bind_addr.front() == '-'
      || std::any_of(m.bind_addr.begin(), m.bind_addr.end(), is_control))
    refuse(m.text, "'" + std::string{text} + "' behind the host is not where workers could listen, ADDRESS or ADDRESS:PORT");
}

// Takes the number off the text, if there is one.
std::optional<int> take_count(std::string& text) {
  const std::string_view whole = text;
  const auto star = whole.find('*');
  if (star == std::string_view::npos)
    return std::nullopt;
  if (whole.find('*', star + 1) != std::string_view::npos)
    refuse(whole, "there is more than one '*', with a number of workers");
  const auto left = trimmed(whole.substr(0, star));
  const auto right = trimmed(whole.substr(star + 1));
  if (is_count(left)) {
    const int n = parse_count(whole, left);
    text = std::string{right};
    return n;
  }
  const auto word = right.substr(0, right.find_first_of(blanks));
  if (!is_count(word))
    refuse(whole, "on neither side of '*' is a number of workers or 'auto'");
  const int n = parse_count(whole, word);
  text = std::string{left} + std::string{right.substr(word.size())};
  return n;
}

} // namespace

machine_spec::machine_spec(const char* spec) : machine_spec(std::string{spec}) {}

machine_spec::machine_spec(const std::string& spec) {
  text = std::string{trimmed(spec)};
  count = take_count(text).value_or(1);
  if (text.empty())
    refuse(spec, "there is no host");
  const auto word = std::string_view{text}.substr(0, text.find_first_of(blanks));
  const auto rest = trimmed(std::string_view{text}.substr(word.size()));
  parse_host(*this, word);
  if (rest.empty())
    return;
  if (const auto end = rest.find_first_of(blanks); end != std::string_view::npos)
    refuse(text, "'" + std::string{trimmed(rest.substr(end))} + "' stands behind host and address");
  parse_bind(*this, rest);
}

machine_spec::machine_spec(const std::string& spec, int n) : machine_spec(spec) {
  if (spec.find('*') != std::string::npos)
    refuse(spec, "there are two numbers of workers, one in the text and " + std::to_string(n) + " beside it");
  count = check_count(spec, n);
}

machine_spec machine_spec::parse(const std::string& text) { return machine_spec{text}; }

std::string machine_spec::destination() const { return user.empty() ? host : user + "@" + host; }

std::vector<machine_spec> read_hostfile(const std::string& path) {
  std::ifstream in{path};
  if (!in)
    throw usage_error{"hostfile '" + path + "': can't be read: " + std::strerror(errno)};
  std::vector<machine_spec> out;
  std::string line;
  for (int number = 1; std::getline(in, line); ++number) {
    for (auto at = line.find('#'); at != std::string::npos; at = line.find('#', at + 1))
      if (at == 0 || blanks.find(line[at - 1]) != std::string_view::npos) {
        line.erase(at);
        break;
      }
    if (trimmed(line).empty())
      continue;
    try {
      out.emplace_back(line);
    } catch (const usage_error& e) {
      throw usage_error{"hostfile '" + path + "', line " + std::to_string(number) + ": " + e.what()};
    }
  }
  if (in.bad() || !in.eof())
    throw usage_error{"hostfile '" + path + "': can't be read: is it a file of text?"};
  return out;
}

std::vector<machine_spec> merged(const std::vector<machine_spec>& machines) {
  std::vector<machine_spec> out;
  for (auto& m : machines) {
    const auto there = std::find_if(out.begin(), out.end(), [&](auto& x) { return x.text == m.text; });
    if (there == out.end())
      out.push_back(m);
    else if (there->count == auto_count || m.count == auto_count)
      there->count = m.count;
    else
      there->count += m.count;
  }
  return out;
}

} // namespace troupe
