#define BOOST_TEST_MODULE worker_start
// Where workers listen, and what their standard streams are.
#include "system/harness.hpp"

#include <set>

#include <poll.h>
#include <sys/stat.h>

namespace {

using troupe::local_options;

std::string address_of(proc_id id) { return here().info(id).address; }

int port_of(proc_id id) {
  const auto address = address_of(id);
  return std::atoi(address.substr(address.rfind(':') + 1).c_str());
}

std::uint64_t inode_of(int fd) {
  struct ::stat s{};
  return ::fstat(fd, &s) == 0 ? s.st_ino : 0;
}

// What a task finds in its process.
struct streams {
  bool input_ends = false; // at once
  bool merged = false;
};

streams look() {
  ::pollfd p{STDIN_FILENO, POLLIN, 0};
  char c = 0;
  return {::poll(&p, 1, 0) == 1 && ::read(STDIN_FILENO, &c, 1) == 0, inode_of(STDOUT_FILENO) == inode_of(STDERR_FILENO)};
}

boost::test_tools::assertion_result with_ipv6(boost::unit_test::test_unit_id) {
  boost::test_tools::assertion_result there{contains(read_file("/proc/net/if_inet6"), "00000000000000000000000000000001")};
  there.message() << "this host has no ::1";
  return there;
}

} // namespace

// CK-20
BOOST_AUTO_TEST_CASE(input_can_read_as_empty_and_stderr_can_go_where_stdout_goes) {
  for (const bool closed : {false, true})
    for (const bool merged : {false, true}) {
      local_options o;
      if (closed)
        o.exeflags.push_back("--close-stdin");
      if (merged)
        o.exeflags.push_back("--stderr-to-stdout");
      const workers w{1, o};
      const auto [input_ends, same] = here().remotecall_fetch(w[0], [] {
        const auto s = look();
        return std::pair{s.input_ends, s.merged};
      });
      BOOST_TEST(input_ends == closed);
      BOOST_TEST(same == merged);
      worker_output output;
      here().remotecall_wait(w[0], [] { std::fprintf(stderr, "to stderr\n"); });
      BOOST_TEST(output.wait_for_line(w[0], "to stderr"));
    }
}

// CK-20: it is still tied to its master
const scenario be_killed{"be_killed", [](troupe::cluster& c) {
                           local_options o;
                           o.exeflags = {"--close-stdin"};
                           c.addprocs(2, o);
                           ::raise(SIGKILL);
                           return 0;
                         }};
BOOST_AUTO_TEST_CASE(a_worker_whose_input_reads_as_empty_goes_with_its_master) {
  BOOST_TEST(run_scenario("be_killed").end.signal == SIGKILL);
  BOOST_TEST(eventually([] { return processes_of_run().empty(); }));
}

// CK-14
BOOST_AUTO_TEST_CASE(a_worker_takes_the_first_free_port_from_one_that_its_pid_gives) {
  const workers w{3};
  std::set<int> ports;
  for (auto id : w.ids()) {
    const auto first = 9000 + static_cast<int>(here().info(id).os_pid % 1000);
    BOOST_TEST((port_of(id) >= first && port_of(id) < first + 1000));
    ports.insert(port_of(id));
  }
  BOOST_TEST(ports.size() == 3u);
}

// CK-12
BOOST_AUTO_TEST_CASE(a_worker_listens_at_an_interface_or_in_a_subnet) {
  for (const char* where : {"lo", "127.0.0.0/8"}) {
    local_options o;
    o.bind_addr = where;
    const workers w{1, o};
    BOOST_TEST(address_of(w[0]).starts_with("127.0.0.1:"));
  }
  local_options o;
  o.bind_addr = "nowhere7";
  const auto e = error_of<troupe::launch_error>([&] { here().addprocs(1, o); });
  BOOST_TEST(contains(e.what(), "'nowhere7'"));
  BOOST_TEST(contains(e.what(), "lo 127.0.0.1"));
}

// CK-13
BOOST_AUTO_TEST_CASE(a_worker_listens_at_an_ipv6_address, *boost::unit_test::precondition(with_ipv6)) {
  for (const char* where : {"::1", "[::1]:22777"}) {
    local_options o;
    o.bind_addr = where;
    const workers w{2, o};
    BOOST_TEST(address_of(w[0]).starts_with("[::1]:"));
    BOOST_TEST(
      here().remotecall_fetch(w[0], [](proc_id to) { return here().remotecall_fetch(to, [] { return here().myid(); }); }, w[1]) == w[1]);
  }
}

// SM-13
BOOST_AUTO_TEST_CASE(local_workers_with_a_fixed_port_take_successive_ones) {
  local_options o;
  o.bind_addr = "127.0.0.1:22800";
  const workers w{3, o};
  std::set<int> ports;
  for (auto id : w.ids())
    ports.insert(port_of(id));
  BOOST_TEST((ports == std::set<int>{22800, 22801, 22802}));
}

// AP-33
BOOST_AUTO_TEST_CASE(a_variable_may_depend_on_the_workers_number) {
  local_options o;
  o.env = {{"SLOT", [](int i) { return "slot " + std::to_string(i); }}};
  const workers w{2, o};
  std::set<std::string> slots;
  for (auto id : w.ids())
    slots.insert(here().remotecall_fetch(id, [] { return std::string{std::getenv("SLOT")}; }));
  BOOST_TEST((slots == std::set<std::string>{"slot 0", "slot 1"}));
}
