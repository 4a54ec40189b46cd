#define BOOST_TEST_MODULE start_line
#include <boost/test/unit_test.hpp>

#include "troupe/managers/start_line.hpp"

#include <string>
#include <string_view>

using namespace std::string_literals;
using troupe::endpoint;
using troupe::parse_start_line;
using troupe::start_line;

namespace {

void check_understood(const endpoint& where, std::string_view line) {
  BOOST_TEST(start_line(where) == line);
  auto got = parse_start_line(line);
  BOOST_REQUIRE(got);
  BOOST_TEST(got->port == where.port);
  BOOST_TEST(got->address == where.address);
}

} // namespace

BOOST_AUTO_TEST_CASE(a_worker_tells_port_and_address) {
  check_understood({"127.0.0.1", 9003}, "troupe_worker:9003#127.0.0.1");
  check_understood({"::1", 1}, "troupe_worker:1#::1");
  check_understood({"fe80::12:34ff:fe56:789a", 65535}, "troupe_worker:65535#fe80::12:34ff:fe56:789a");
}

BOOST_AUTO_TEST_CASE(any_other_line_tells_nothing) {
  for (auto line : {"",
                    "troupe_worker",
                    "troupe_worker:",
                    "troupe_worker:#",
                    "troupe_worker:9003",
                    "troupe_worker:9003#",
                    "troupe_worker:#127.0.0.1",
                    "Troupe_worker:9003#127.0.0.1",
                    " troupe_worker:9003#127.0.0.1",
                    "x troupe_worker:9003#127.0.0.1",
                    "troupe_worker:9003 #127.0.0.1",
                    "troupe_worker: 9003#127.0.0.1",
                    "troupe_worker:0#127.0.0.1",
                    "troupe_worker:65536#127.0.0.1",
                    "troupe_worker:-1#127.0.0.1",
                    "troupe_worker:+1#127.0.0.1",
                    "troupe_worker:0x10#127.0.0.1",
                    "troupe_worker:9003#localhost",
                    "troupe_worker:9003#127.0.0.1:1",
                    "troupe_worker:9003#127.0.0",
                    "troupe_worker:9003#[::1]",
                    "troupe_worker:9003#127.0.0.1 ",
                    "troupe_worker:9003#127.0.0.1\r",
                    "troupe_worker:9003##127.0.0.1"})
    BOOST_TEST(!parse_start_line(line), line);
}

BOOST_AUTO_TEST_CASE(a_line_with_a_zero_byte_in_it_tells_nothing) {
  BOOST_TEST(!parse_start_line("troupe_worker:9003#127.0.0.1\0"s));
  BOOST_TEST(!parse_start_line("troupe_worker:9003#127.0.0.1\0rest"s));
  BOOST_TEST(!parse_start_line("troupe_worker:90\0"
                               "03#127.0.0.1"s));
}
