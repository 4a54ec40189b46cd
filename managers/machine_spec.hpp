#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace troupe {

/// @addtogroup applications
/// @{

/// As the number of workers of a machine: one for each logical CPU that it has.
inline constexpr int auto_count = -1;

/// A machine that is reached by ssh, and how many workers it is to have: `[user@]host[:port] [bind_addr[:bind_port]]`. An IPv6 address
/// stands in brackets, `user@[::1]:22`. The number may stand on either side, `4*node2`, `node2*auto`.
struct machine_spec {
  /// From a text with a number in it, or without: then it is 1. Throws usage_error, which says what is wrong and where, for a text that is
  /// no such spec.
  machine_spec(const char* text); // NOLINT: implicit
  /// The same.
  machine_spec(const std::string& text); // NOLINT: implicit
  /// With the number beside the text, 0 or more, or auto_count. Throws usage_error, also when the text has one as well.
  machine_spec(const std::string& text, int count);
  /// What the constructor makes of the text.
  static machine_spec parse(const std::string& text);

  /// As it was given, without the number and spaces around. What is the same text is the same machine.
  std::string text;
  /// Empty: whom ssh takes.
  std::string user;
  /// A name or an address, without brackets.
  std::string host;
  /// 0: the one that ssh takes.
  std::uint16_t port = 0;
  /// Where its workers listen, a numeric address, a subnet ("10.77.0.0/16") or the name of an interface, without brackets; empty if it
  /// isn't given.
  std::string bind_addr;
  /// The first worker's port; the next ones take the next that are free. 0: any.
  std::uint16_t bind_port = 0;
  /// How many workers it is to have; auto_count: one for each of its logical CPUs.
  int count = 1;

  /// `user@host`, as ssh takes it.
  std::string destination() const;
};

/// The machines of a file, one in a line. Empty lines, and what stands behind a "#" at the beginning of a line or behind a blank, are
/// skipped. Throws usage_error, which names file and line.
std::vector<machine_spec> read_hostfile(const std::string& path);

/// What stands for the same machine becomes one: numbers add up, auto_count replaces a number, a number behind it replaces that. The order
/// is that of the first of each.
std::vector<machine_spec> merged(const std::vector<machine_spec>& machines);

/// @}

} // namespace troupe
