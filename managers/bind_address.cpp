#include "troupe/managers/bind_address.hpp"

#include "troupe/transport/error.hpp"

#include <arpa/inet.h>
#include <charconv>
#include <cstring>
#include <functional>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <optional>
#include <span>

namespace troupe {

namespace {

// The bytes of an address, 4 or 16 of them.
struct parsed_address {
  unsigned char bytes[16];
  std::size_t size;

  bool is_v4() const { return size == 4; }
  bool is_loopback() const { return is_v4() ? bytes[0] == 127 : std::memcmp(bytes, &in6addr_loopback, size) == 0; }
  bool is_link_local() const { return is_v4() ? bytes[0] == 169 && bytes[1] == 254 : bytes[0] == 0xfe && (bytes[1] & 0xc0) == 0x80; }
  bool begins_as(const parsed_address& other, std::size_t bits) const {
    if (size != other.size || std::memcmp(bytes, other.bytes, bits / 8) != 0)
      return false;
    const auto mask = static_cast<unsigned char>(0xff00 >> (bits % 8));
    return bits % 8 == 0 || ((bytes[bits / 8] ^ other.bytes[bits / 8]) & mask) == 0;
  }
};

std::optional<parsed_address> parse(const std::string& text) {
  parsed_address out{};
  if (::inet_pton(AF_INET, text.c_str(), out.bytes) == 1)
    out.size = 4;
  else if (::inet_pton(AF_INET6, text.c_str(), out.bytes) == 1)
    out.size = 16;
  else
    return std::nullopt;
  return out;
}

// The first of the best; empty if none fits.
std::string best_of(const std::vector<interface_address>& all,
                    const std::function<bool(const interface_address&, const parsed_address&)>& fits) {
  std::string best;
  int best_rank = 8;
  for (auto& i : all) {
    const auto a = parse(i.address);
    if (!a || !fits(i, *a))
      continue;
    const int rank = (a->is_loopback() ? 4 : 0) + (a->is_link_local() ? 2 : 0) + (a->is_v4() ? 0 : 1);
    if (rank < best_rank) {
      best_rank = rank;
      best = i.address;
    }
  }
  return best;
}

struct subnet {
  parsed_address address;
  std::size_t bits;
};

std::optional<subnet> parse_subnet(const std::string& text) {
  const auto slash = text.find('/');
  if (slash == std::string::npos)
    return std::nullopt;
  const auto address = parse(text.substr(0, slash));
  std::size_t bits = 0;
  const auto end = text.data() + text.size();
  const auto [last, error] = std::from_chars(text.data() + slash + 1, end, bits);
  if (!address || error != std::errc{} || last != end || bits > address->size * 8)
    throw usage_error{"--bind-addr, bind_addr: '" + text + "' is no subnet, such as 10.77.0.0/16"};
  return subnet{*address, bits};
}

// The address for which an interface's name or a subnet stands; empty if there is none.
std::string address_meant(const std::string& text, const std::optional<subnet>& net, const std::vector<interface_address>& all) {
  return net ? best_of(all, [&](auto&, auto& a) { return a.begins_as(net->address, net->bits); })
             : best_of(all, [&](auto& i, auto&) { return i.interface == text; });
}

} // namespace

std::vector<interface_address> interface_addresses() {
  std::vector<interface_address> out;
  ifaddrs* all = nullptr;
  if (::getifaddrs(&all) != 0)
    return out;
  for (auto i = all; i != nullptr; i = i->ifa_next) {
    if (i->ifa_addr == nullptr || (i->ifa_flags & IFF_UP) == 0)
      continue;
    char text[INET6_ADDRSTRLEN] = {};
    const void* address = nullptr;
    if (i->ifa_addr->sa_family == AF_INET)
      address = &reinterpret_cast<sockaddr_in*>(i->ifa_addr)->sin_addr;
    else if (i->ifa_addr->sa_family == AF_INET6)
      address = &reinterpret_cast<sockaddr_in6*>(i->ifa_addr)->sin6_addr;
    if (address != nullptr && ::inet_ntop(i->ifa_addr->sa_family, address, text, sizeof text) != nullptr)
      out.push_back({i->ifa_name, text});
  }
  ::freeifaddrs(all);
  return out;
}

std::string choose_bind_address(const std::vector<interface_address>& all) {
  const auto best = best_of(all, [](auto&, auto& a) { return !a.is_loopback(); });
  return best.empty() ? "127.0.0.1" : best;
}

std::string choose_bind_address() { return choose_bind_address(interface_addresses()); }

std::string resolve_bind_address(const std::string& text, const std::vector<interface_address>& all) {
  if (parse(text))
    return text;
  const auto net = parse_subnet(text);
  const auto found = address_meant(text, net, all);
  if (!found.empty())
    return found;
  std::string there;
  for (auto& i : all)
    there += (there.empty() ? "" : ", ") + i.interface + " " + i.address;
  throw usage_error{
    "--bind-addr, bind_addr: '" + text + "' is "
    + (net ? "a subnet in which this host has no address" : "neither a numeric address nor an interface of this host that has one")
    + "; it has " + (there.empty() ? "none" : there)};
}

std::vector<std::string> reachable_addresses(const std::vector<interface_address>& all) {
  std::vector<std::string> out{choose_bind_address(all)};
  const auto first = parse(out.front());
  for (auto& i : all)
    if (const auto a = parse(i.address);
        a && first && a->size == first->size && i.address != out.front() && !a->is_loopback() && !a->is_link_local())
      out.push_back(i.address);
  return out;
}

bool is_own_address(const std::string& text, const std::vector<interface_address>& all) {
  const auto address = parse(text);
  if (!address)
    return !address_meant(text, parse_subnet(text), all).empty();
  return address->is_loopback() || std::any_of(all.begin(), all.end(), [&](auto& i) {
           const auto own = parse(i.address);
           return own && own->size == address->size && own->begins_as(*address, 8 * own->size);
         });
}

std::string resolve_bind_address(const std::string& text) { return parse(text) ? text : resolve_bind_address(text, interface_addresses()); }

} // namespace troupe
