#define BOOST_TEST_MODULE bind_address
#include <boost/test/unit_test.hpp>

#include "troupe/managers/bind_address.hpp"
#include "troupe/managers/start_line.hpp"
#include "troupe/transport/error.hpp"

#include <string>
#include <vector>

using troupe::choose_bind_address;
using troupe::interface_address;
using troupe::resolve_bind_address;

namespace {

const interface_address lo{"lo", "127.0.0.1"}, lo6{"lo", "::1"}, v4{"eth0", "192.168.1.2"}, v6{"eth0", "2001:db8::2"},
  link4{"eth1", "169.254.3.4"}, link6{"eth0", "fe80::2"}, other{"eth1", "10.77.3.4"}, other6{"eth1", "fd77::4"};

std::string why_not(const std::string& text, const std::vector<interface_address>& all) {
  try {
    return resolve_bind_address(text, all);
  } catch (const troupe::usage_error& e) {
    return e.what();
  }
}

bool says(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

} // namespace

// CK-11
BOOST_AUTO_TEST_CASE(others_reach_a_host_at_its_first_address_that_is_neither_loopback_nor_link_local) {
  BOOST_TEST(choose_bind_address({lo, lo6, link6, link4, v6, v4, other}) == v4.address);
  BOOST_TEST(choose_bind_address({lo, lo6, link6, link4, v6}) == v6.address);
  BOOST_TEST(choose_bind_address({lo, lo6, link6, link4}) == link4.address);
  BOOST_TEST(choose_bind_address({lo, lo6, link6}) == link6.address);
  BOOST_TEST(choose_bind_address({lo, lo6}) == "127.0.0.1");
  BOOST_TEST(choose_bind_address(std::vector<interface_address>{}) == "127.0.0.1");
  BOOST_TEST(!choose_bind_address().empty());
}

// CK-12
BOOST_AUTO_TEST_CASE(an_interface_or_a_subnet_stands_for_its_address) {
  const std::vector<interface_address> all{lo, lo6, link6, v6, v4, link4, other6, other};
  BOOST_TEST(resolve_bind_address("eth0", all) == v4.address);
  BOOST_TEST(resolve_bind_address("eth1", all) == other.address);
  BOOST_TEST(resolve_bind_address("lo", all) == "127.0.0.1");
  BOOST_TEST(resolve_bind_address("10.77.0.0/16", all) == other.address);
  BOOST_TEST(resolve_bind_address("10.77.3.5/31", {v4, {"x", "10.77.3.4"}}) == "10.77.3.4");
  BOOST_TEST(resolve_bind_address("fd77::/64", all) == other6.address);
  BOOST_TEST(resolve_bind_address("0.0.0.0/0", all) == v4.address);
  BOOST_TEST(resolve_bind_address("169.254.0.0/16", all) == link4.address);
  // an address stays what it is, there or not
  BOOST_TEST(resolve_bind_address("1.2.3.4", all) == "1.2.3.4");
  BOOST_TEST(resolve_bind_address("::1", all) == "::1");
  BOOST_TEST(resolve_bind_address("lo") == "127.0.0.1");
}

BOOST_AUTO_TEST_CASE(what_is_not_there_is_refused_with_what_is) {
  const std::vector<interface_address> all{lo, v4};
  for (const char* text : {"eth7", "10.0.0.0/8", "10.0.0.0/33", "10.0.0.0/", "x/8", "10.0.0.0/8x", "10.77.0.0/-1", "node1.example"})
    BOOST_TEST(says(why_not(text, all), "'" + std::string{text} + "'"), text);
  BOOST_TEST(says(why_not("eth7", all), "lo 127.0.0.1, eth0 192.168.1.2"));
  BOOST_TEST(says(why_not("10.0.0.0/8", all), "eth0 192.168.1.2"));
  BOOST_TEST(says(why_not("eth7", {}), "it has none"));
}

// CK-13
BOOST_AUTO_TEST_CASE(an_ipv6_address_may_have_a_port_in_brackets) {
  BOOST_TEST(troupe::parse_bind_address("[::1]:9100").address == "::1");
  BOOST_TEST(troupe::parse_bind_address("[::1]:9100").port == 9100);
  BOOST_TEST(troupe::parse_bind_address("::1").port == 0);
  BOOST_TEST(troupe::parse_bind_address("eth0:9100").address == "eth0");
  BOOST_TEST(troupe::parse_bind_address("fd77::/64").address == "fd77::/64");
}

// MP-34
BOOST_AUTO_TEST_CASE(what_was_said_for_one_host_may_be_of_another_too) {
  using troupe::is_own_address;
  const std::vector<troupe::interface_address> host{{"lo", "127.0.0.1"}, {"ib0", "10.77.0.3"}, {"ib0", "fd77::3"}};
  for (auto own : {"127.0.0.2", "::1", "10.77.0.3", "fd77::3", "fd77:0::3", "10.77.0.0/16", "ib0"})
    BOOST_TEST(is_own_address(own, host), own);
  for (auto other : {"10.77.0.4", "fd77::4", "10.78.0.0/16", "eth0", "node1"})
    BOOST_TEST(!is_own_address(other, host), other);
}

// A master with several addresses, of which its workers may reach one only.
BOOST_AUTO_TEST_CASE(all_addresses_of_the_chosen_family_may_be_tried) {
  using troupe::reachable_addresses;
  const std::vector<troupe::interface_address> host{
    {"lo", "127.0.0.1"}, {"eth0", "fd77::1"}, {"eth0", "169.254.1.1"}, {"eth0", "10.0.0.1"}, {"eth1", "192.168.0.1"}};
  BOOST_TEST(reachable_addresses(host) == (std::vector<std::string>{"10.0.0.1", "192.168.0.1"}));
  BOOST_TEST(reachable_addresses({{"lo", "127.0.0.1"}}) == std::vector<std::string>{"127.0.0.1"});
  BOOST_TEST(reachable_addresses({{"eth0", "fd77::1"}, {"eth1", "fd78::1"}}) == (std::vector<std::string>{"fd77::1", "fd78::1"}));
}
