#pragma once

#include <string>
#include <vector>

namespace troupe {

/// An address that an interface of this host has.
struct interface_address {
  std::string interface;
  /// Numeric.
  std::string address;
};

/// All of those that are up, in the system's order. Empty if it doesn't tell.
std::vector<interface_address> interface_addresses();

/// The one at which other hosts are most likely to reach this one: the first that is neither loopback nor link-local, IPv4 before IPv6, then link-local ones
/// in the same order; 127.0.0.1 if there's none.
std::string choose_bind_address(const std::vector<interface_address>& all);
/// The same, of this host's addresses.
std::string choose_bind_address();

/// All at which others may reach it, the likeliest first: those of the same family as the one that is chosen, without loopback and link-local ones unless there's nothing else.
std::vector<std::string> reachable_addresses(const std::vector<interface_address>& all);

/// A numeric address from what the user has said: one such, which stays as it is; an interface ("eth0"), whose first address that isn't link-local it is, IPv4 before IPv6; or
/// a subnet ("10.77.0.0/16"), in which it is the first. Throws usage_error, which names what there is, if none of them fits.
std::string resolve_bind_address(const std::string& text, const std::vector<interface_address>& all);
/// The same, on this host.
std::string resolve_bind_address(const std::string& text);

/// Whether what resolve_bind_address understands is an address of this host, too, when it was said for another.
bool is_own_address(const std::string& text, const std::vector<interface_address>& all);

} // namespace troupe
