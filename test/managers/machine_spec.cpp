#define BOOST_TEST_MODULE machine_spec
#include <boost/test/unit_test.hpp>

#include "troupe/managers/machine_spec.hpp"
#include "troupe/transport/error.hpp"

#include <cstdio>
#include <fstream>
#include <string>
#include <unistd.h>
#include <vector>

using troupe::auto_count;
using troupe::machine_spec;

namespace {

std::string why_not(const std::string& text) {
  try {
    machine_spec::parse(text);
  } catch (const troupe::usage_error& e) {
    return e.what();
  }
  return "";
}

bool says(const std::string& text, const std::string& part) {
  if (text.find(part) != std::string::npos)
    return true;
  BOOST_TEST_MESSAGE("no '" << part << "' in: " << text);
  return false;
}

// A file that goes with the object.
struct hostfile {
  explicit hostfile(const std::string& text) {
    char name[] = "/tmp/troupe_hostfile_XXXXXX";
    const int fd = ::mkstemp(name);
    BOOST_REQUIRE(fd >= 0);
    ::close(fd);
    path = name;
    std::ofstream{path} << text;
  }
  ~hostfile() { std::remove(path.c_str()); }
  std::string path;
};

} // namespace

// SM-01
BOOST_AUTO_TEST_CASE(a_spec_is_user_host_and_port_then_address_and_port) {
  const machine_spec all{"ann@node-1.lab:2222 10.0.0.1:9300"};
  BOOST_TEST(all.user == "ann");
  BOOST_TEST(all.host == "node-1.lab");
  BOOST_TEST(all.port == 2222);
  BOOST_TEST(all.bind_addr == "10.0.0.1");
  BOOST_TEST(all.bind_port == 9300);
  BOOST_TEST(all.count == 1);
  BOOST_TEST(all.destination() == "ann@node-1.lab");
  const machine_spec least{"  node1\t"};
  BOOST_TEST(least.text == "node1");
  BOOST_TEST(least.user.empty());
  BOOST_TEST(least.port == 0);
  BOOST_TEST(least.bind_addr.empty());
  BOOST_TEST(least.destination() == "node1");
  BOOST_TEST(machine_spec{"me@there@node1"}.user == "me@there");
  BOOST_TEST(machine_spec{"h  eth0"}.bind_addr == "eth0");
  BOOST_TEST(machine_spec{"h [fd77::1]:9300"}.bind_addr == "fd77::1");
  BOOST_TEST(machine_spec{"h fd77::1"}.bind_addr == "fd77::1");
}

// SM-05
BOOST_AUTO_TEST_CASE(a_host_has_one_port_at_most_from_1_to_65535) {
  BOOST_TEST(machine_spec{"127.0.0.1"}.port == 0);
  BOOST_TEST(machine_spec{"127.0.0.1:80"}.port == 80);
  BOOST_TEST(machine_spec{"h:65535"}.port == 65535);
  for (const char* text : {"h:0", "h:-1", "h:65536", "h:99999999999", "h:", "h:2x", "h: 22"})
    BOOST_TEST(says(why_not(text), text), text);
  BOOST_TEST(says(why_not("h:65536"), "'65536'"));
  BOOST_TEST(says(why_not("::1"), "'[::1]'"));
}

// SM-06, SM-07
BOOST_AUTO_TEST_CASE(an_ipv6_address_stands_in_brackets) {
  BOOST_TEST(machine_spec{"[2001:db8::1]"}.host == "2001:db8::1");
  BOOST_TEST(machine_spec{"[2001:db8::1]:443"}.port == 443);
  const auto m = machine_spec::parse("user@[::1]:22");
  BOOST_TEST(m.user == "user");
  BOOST_TEST(m.host == "::1");
  BOOST_TEST(m.port == 22);
  BOOST_TEST(machine_spec{"[fe80::1%eth0]"}.host == "fe80::1%eth0");
  for (const char* text : {"[2001:db8::1", "[2001:db8::1]:aaa", "[2001:db8::1]443", "[2001:db8::1]:443:1", "[]", "[node1]", "[::1]:0"})
    BOOST_TEST(says(why_not(text), text), text);
}

// SM-08
BOOST_AUTO_TEST_CASE(what_is_no_machine_says_why) {
  for (const char* text : {"", "  ", "@h", "user@", "a b c", "-oProxyCommand=x", "us`er@h", "-l@h", "h h:0", "h [::1", "h -x", "a;b", "a$b",
                           "a\nb", "4*", "*4"})
    BOOST_TEST(!why_not(text).empty(), "'" << text << "'");
  BOOST_TEST(says(why_not("a b c"), "'c'"));
  BOOST_TEST(says(why_not("h 1.2.3.4:x"), "'1.2.3.4:x'"));
}

// SM-02, PM-17
BOOST_AUTO_TEST_CASE(an_error_has_nothing_that_a_terminal_would_obey) {
  const auto text = why_not("\x1b[31mred\x07:x:y");
  BOOST_TEST(says(text, "'?[31mred?:x:y'"));
  BOOST_TEST(text.find_first_of("\x1b\x07") == std::string::npos);
}

BOOST_AUTO_TEST_CASE(the_number_stands_on_either_side_or_beside) {
  for (const char* text : {"4*h", "h*4", " 4 * h ", "h * 4"}) {
    BOOST_TEST(machine_spec{text}.count == 4);
    BOOST_TEST(machine_spec{text}.text == "h");
  }
  BOOST_TEST(machine_spec{"h*auto"}.count == auto_count);
  BOOST_TEST(machine_spec{"auto*u@h:22"}.count == auto_count);
  const machine_spec m{"h:22*3 127.0.0.1:9300"};
  BOOST_TEST(m.count == 3);
  BOOST_TEST(m.text == "h:22 127.0.0.1:9300");
  BOOST_TEST(machine_spec{"0*h"}.count == 0);
  BOOST_TEST(machine_spec("h", auto_count).count == auto_count);
  const std::vector<machine_spec> several{"a", {"b", 4}, {"c", auto_count}};
  BOOST_TEST(several[1].count == 4);
  for (const char* text : {"4*h*4", "x*h", "h*x", "-1*h", "h*1.5", "10001*h", "99999999999*h"})
    BOOST_TEST(says(why_not(text), "number"), text);
  BOOST_CHECK_THROW(machine_spec("4*h", 4), troupe::usage_error);
  BOOST_CHECK_THROW(machine_spec("h", -2), troupe::usage_error);
}

// SM-04
BOOST_AUTO_TEST_CASE(the_same_text_is_the_same_machine) {
  const auto all = troupe::merged({"h", {"h", 2}, "127.0.0.1", "h", "h 127.0.0.1"});
  BOOST_REQUIRE(all.size() == 3u);
  BOOST_TEST(all[0].text == "h");
  BOOST_TEST(all[0].count == 4);
  BOOST_TEST(all[1].count == 1);
  BOOST_TEST(troupe::merged({{"h", 2}, {"h", auto_count}})[0].count == auto_count);
  BOOST_TEST(troupe::merged({{"h", auto_count}, {"h", 2}})[0].count == 2);
}

// PM-17
BOOST_AUTO_TEST_CASE(a_hostfile_has_a_machine_in_each_line) {
  const hostfile f{"# our lab\n3*host1\n\n auto * u@host2:22 \nhost3 # the slow one\nhost4*2\r\n   # none\nlast"};
  const auto all = troupe::read_hostfile(f.path);
  BOOST_REQUIRE(all.size() == 5u);
  BOOST_TEST(all[0].host == "host1");
  BOOST_TEST(all[0].count == 3);
  BOOST_TEST(all[1].text == "u@host2:22");
  BOOST_TEST(all[1].count == auto_count);
  BOOST_TEST(all[2].text == "host3");
  BOOST_TEST(all[3].count == 2);
  BOOST_TEST(all[4].text == "last");
}

BOOST_AUTO_TEST_CASE(an_error_in_a_hostfile_names_file_and_line) {
  const hostfile f{"host1\n\nhost2:0\n"};
  try {
    troupe::read_hostfile(f.path);
    BOOST_ERROR("nothing was thrown");
  } catch (const troupe::usage_error& e) {
    for (const auto& part : {f.path, std::string{"line 3"}, std::string{"host2:0"}})
      BOOST_TEST(says(e.what(), part));
  }
  BOOST_CHECK_THROW(troupe::read_hostfile(f.path + ".none"), troupe::usage_error);
  BOOST_CHECK_THROW(troupe::read_hostfile("/tmp"), troupe::usage_error);
}
