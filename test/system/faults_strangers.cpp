#define BOOST_TEST_MODULE faults_strangers
#include "system/faults.hpp"

#include "troupe/transport/handshake.hpp"

#include <cstring>
#include <random>

#include <sys/resource.h>

using namespace faults;

namespace {

std::string random_bytes(std::size_t n) {
  std::mt19937 source{12345};
  std::string out;
  while (out.size() < n)
    out += static_cast<char>(source());
  return out;
}

std::string_view text_of(const std::vector<std::byte>& bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

// A master with two workers.
struct cluster {
  run r{program("faults_strangers"), {"-p", "2"}};
  int rounds = 0;

  cluster() { r.wait_for("ready: yes\n"); }

  int port(int id) const {
    const auto address = r.value("address of " + std::to_string(id));
    return std::atoi(address.substr(address.rfind(':') + 1).c_str());
  }

  ::pid_t pid(int id) const { return r.number("pid of " + std::to_string(id)); }

  // All processes answer each other.
  void check_all_answer() {
    const auto name = std::to_string(++rounds);
    BOOST_REQUIRE(::write(r.in().get(), (name + "\n").data(), name.size() + 1) > 0);
    r.wait_for("answers to " + name + ": 4\n");
  }

  void end() {
    r.in().reset();
    const auto e = r.end(5s);
    BOOST_TEST(e.state.status == 0);
    BOOST_TEST(e.err == "");
    r.check_nothing_left();
  }
};

// Dials with the handshake that masters dial with. Returns whether the worker has shown that it knows the
// cookie; `record` gets what was sent.
bool shake_hands(const troupe::unique_fd& s, const std::string& cookie, std::string* record = nullptr) {
  troupe::handshake h{troupe::handshake::role::dialler, cookie};
  for (;;) {
    const auto said = h.take_output();
    write_all(s, text_of(said));
    if (record != nullptr)
      *record += text_of(said);
    if (h.state() != troupe::handshake::status::running)
      return h.state() == troupe::handshake::status::done;
    std::byte buffer[1024];
    ::pollfd entry{s.get(), POLLIN, 0};
    if (::poll(&entry, 1, 5000) <= 0)
      return false;
    const auto n = ::recv(s.get(), buffer, sizeof buffer, 0);
    if (n <= 0)
      return false;
    h.feed({buffer, static_cast<std::size_t>(n)});
  }
}

} // namespace

// CK-07
BOOST_AUTO_TEST_CASE(junk_is_hung_up_on_and_harms_nobody) {
  cluster c;
  for (auto& junk : {random_bytes(32), random_bytes(100'000), std::string{"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"},
                     std::string(48, '\0'), std::string(32, '\xff')}) {
    for (int id : {2, 3}) {
      const auto s = dial(c.port(id));
      write_all(s, junk);
      // too little to be a preamble: only its end tells
      ::shutdown(s.get(), SHUT_WR);
      BOOST_TEST(is_hung_up(s, 2s));
    }
    c.check_all_answer();
  }
  c.r.wait_for("From worker 2:\ttroupe: a connection was refused: ");
  c.r.wait_for("From worker 3:\ttroupe: a connection was refused: ");
  c.end();
}

// CK-07
BOOST_AUTO_TEST_CASE(a_wrong_cookie_is_refused_and_harms_nobody) {
  cluster c;
  const auto s = dial(c.port(2));
  BOOST_TEST(!shake_hands(s, "a-wrong-cookie"));
  BOOST_TEST(is_hung_up(s, 2s));
  c.r.wait_for("From worker 2:\ttroupe: a connection was refused: 127.0.0.1:");
  c.r.wait_for("the peer doesn't know this cluster's cookie\n");
  c.check_all_answer();
  c.end();
}

BOOST_AUTO_TEST_CASE(who_knows_the_cookie_and_sends_junk_is_hung_up_on_and_harms_nobody) {
  cluster c;
  for (auto& junk : {random_bytes(1000), std::string(64, '\0'), std::string(64, '\xff')}) {
    const auto s = dial(c.port(2));
    BOOST_TEST(shake_hands(s, c.r.value("cookie")));
    write_all(s, junk);
    ::shutdown(s.get(), SHUT_WR);
    BOOST_TEST(is_hung_up(s, 2s));
    c.check_all_answer();
  }
  c.end();
}

// CK-08
BOOST_AUTO_TEST_CASE(who_hangs_up_early_harms_nobody) {
  cluster c;
  for (std::size_t size : {0, 5, 16, 47, 48}) {
    troupe::handshake own{troupe::handshake::role::dialler, "whatever"};
    const auto preamble = own.take_output();
    for (int id : {2, 3})
      write_all(dial(c.port(id)), text_of(preamble).substr(0, size));
  }
  c.check_all_answer();
  c.end();
}

// CK-07, CK-10
BOOST_AUTO_TEST_CASE(what_is_wrong_with_a_stranger_is_told) {
  cluster c;
  const auto cookie = c.r.value("cookie");
  const auto preamble = [&](std::uint32_t version) {
    troupe::handshake h{troupe::handshake::role::dialler, cookie, version};
    return std::string{text_of(h.take_output())};
  };
  const auto check = [&](const std::string& said, std::string_view told) {
    const auto s = dial(c.port(2));
    write_all(s, said);
    BOOST_TEST(is_hung_up(s, 5s));
    c.r.wait_for(told);
  };
  check(preamble(0), "the peer speaks protocol version 0, this process speaks version 1\n");
  auto swapped = preamble(1);
  std::reverse(swapped.begin() + 12, swapped.begin() + 16);
  check(swapped, "the peer's machine has another byte order");

  std::string record; // of a handshake that went well
  BOOST_TEST(shake_hands(dial(c.port(2)), cookie, &record));
  BOOST_TEST(record.size() == 80u);
  check(record, "the peer doesn't know this cluster's cookie\n");

  const auto mirror = dial(c.port(2));
  write_all(mirror, preamble(1));
  char answer[48];
  BOOST_REQUIRE(::recv(mirror.get(), answer, sizeof answer, MSG_WAITALL) == 48);
  write_all(mirror, {answer, sizeof answer});
  BOOST_TEST(is_hung_up(mirror, 5s));
  c.check_all_answer();
  c.end();
}

namespace {

// A fourth each that say nothing, send junk, half a preamble, and what somebody who was let in had sent.
std::vector<troupe::unique_fd> mixed_strangers(const cluster& c, int n) {
  std::string record;
  BOOST_TEST(shake_hands(dial(c.port(2)), c.r.value("cookie"), &record));
  const std::string said[] = {"", random_bytes(64), record.substr(0, 24), record};
  std::vector<troupe::unique_fd> all;
  for (int i = 0; i < n; ++i) {
    all.push_back(dial(c.port(2 + i % 2)));
    write_all(all.back(), said[i / 2 % 4]);
  }
  return all;
}

std::size_t descriptors(::pid_t pid) {
  std::error_code ignored;
  const std::filesystem::directory_iterator all{"/proc/" + std::to_string(pid) + "/fd", ignored};
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

void limit_descriptors(::pid_t pid, std::size_t n) {
  ::rlimit limit{};
  BOOST_REQUIRE(::prlimit(pid, RLIMIT_NOFILE, nullptr, &limit) == 0);
  limit.rlim_cur = n;
  BOOST_REQUIRE(::prlimit(pid, RLIMIT_NOFILE, &limit, nullptr) == 0);
}

} // namespace

// CK-07, CK-08
BOOST_AUTO_TEST_CASE(two_hundred_strangers_at_once_harm_nobody_and_are_told_in_few_lines) {
  cluster c;
  c.check_all_answer();
  for (int i = 0; i < 5; ++i) {
    const auto strangers = mixed_strangers(c, 200);
    c.check_all_answer();
  }
  c.r.in().reset();
  const auto e = c.r.end();
  BOOST_TEST(e.state.status == 0);
  for (auto head : {"From worker 2:\ttroupe: ", "From worker 3:\ttroupe: "}) {
    BOOST_TEST(count(e.out, std::string{head} + "a connection was refused: ") == 5);
    BOOST_TEST(contains(e.out, head));
    BOOST_TEST(count(e.out, head) <= 5 + 6, e.out); // one more line for each ten seconds
  }
  check_says(e.out, {" more connections were refused: ", " sent junk", " don't know the cookie", " from 127.0.0.1"});
  BOOST_TEST(count(e.out + e.err, c.r.value("cookie")) == 1); // which the program itself prints
  c.r.check_nothing_left();
}

// CK-09
BOOST_AUTO_TEST_CASE(no_more_than_256_strangers_wait) {
  cluster c;
  c.check_all_answer();
  const auto before = descriptors(c.pid(2));
  std::vector<troupe::unique_fd> idle;
  for (int i = 0; i < 300; ++i)
    idle.push_back(dial(c.port(2)));
  const auto dropped = [&] { return std::count_if(idle.begin(), idle.end(), [](auto& s) { return is_hung_up(s, 1ms); }); };
  BOOST_TEST(eventually([&] { return dropped() >= 300 - 256; }, 5s)); // the others have 10 s
  BOOST_TEST(descriptors(c.pid(2)) <= before + 256);
  c.check_all_answer();
  c.end();
}

// CK-09
BOOST_AUTO_TEST_CASE(strangers_leave_a_worker_descriptors_to_dial_with) {
  cluster c;
  limit_descriptors(c.pid(3), 64);
  std::vector<troupe::unique_fd> idle;
  for (int i = 0; i < 100; ++i)
    idle.push_back(dial(c.port(3)));
  c.check_all_answer(); // worker 3 dials worker 2 for that
  BOOST_TEST(descriptors(c.pid(3)) < 64u);
  c.end();
}

// CK-09
BOOST_AUTO_TEST_CASE(a_worker_without_descriptors_goes_on_and_recovers) {
  cluster c;
  c.check_all_answer();
  limit_descriptors(c.pid(2), descriptors(c.pid(2)) + 2);
  std::vector<troupe::unique_fd> idle;
  for (int i = 0; i < 100; ++i)
    idle.push_back(dial(c.port(2)));
  c.check_all_answer();
  idle.clear();
  BOOST_TEST(shake_hands(dial(c.port(2)), c.r.value("cookie")));
  c.check_all_answer();
  c.end();
}

// CK-08, CK-09
BOOST_AUTO_TEST_CASE(idle_strangers_harm_nobody_and_are_hung_up_on) {
  cluster c;
  std::vector<troupe::unique_fd> idle;
  for (int i = 0; i < 100; ++i)
    idle.push_back(dial(c.port(2)));
  for (int i = 0; i < 5; ++i)
    c.check_all_answer();
  // one that sends a byte now and then gets no more time
  const auto slow = dial(c.port(2));
  troupe::handshake own{troupe::handshake::role::dialler, "whatever"};
  const auto preamble = own.take_output();
  const auto begin = clock::now();
  std::size_t sent = 0;
  do
    write_all(slow, text_of(preamble).substr(sent++, 1));
  while (sent < preamble.size() && !is_hung_up(slow, 300ms));
  BOOST_TEST(sent < preamble.size());
  BOOST_TEST((clock::now() - begin >= 9s));
  BOOST_TEST(is_hung_up(idle.front(), 15s));
  BOOST_TEST(is_hung_up(idle.back(), 2s));
  c.check_all_answer();
  c.end();
}

BOOST_AUTO_TEST_CASE(a_worker_ends_well_while_strangers_are_connected) {
  cluster c;
  std::vector<troupe::unique_fd> idle;
  for (int i = 0; i < 20; ++i)
    idle.push_back(dial(c.port(2)));
  c.check_all_answer();
  c.end();
}

// CK-05
BOOST_AUTO_TEST_CASE(the_cookie_stands_in_no_argument_and_no_variable) {
  cluster c;
  const auto cookie = c.r.value("cookie");
  BOOST_TEST(cookie.size() == 16u);
  const auto processes = c.r.processes();
  BOOST_TEST(processes.size() == 3u);
  for (auto pid : processes)
    for (auto file : {"cmdline", "environ"})
      BOOST_TEST(!contains(read_file("/proc/" + std::to_string(pid) + "/" + file), cookie));
  c.end();
}

// CK-17, LM-01
BOOST_AUTO_TEST_CASE(the_master_listens_nowhere_and_workers_on_loopback) {
  cluster c;
  BOOST_TEST(listening(c.r.pid()).empty());
  for (int id : {2, 3}) {
    const auto where = listening(c.pid(id));
    BOOST_REQUIRE(where.size() == 1u);
    BOOST_TEST(where.front().substr(0, 9) == "0100007F:", where.front());
  }
  c.end();
}

// -- workers started by hand -----------------------------------------------------------------------

namespace {

ending by_hand(const std::string& input, std::vector<std::string> args = {}) {
  args.insert(args.begin(), "--worker");
  run r{program("faults_options"), std::move(args)};
  static_cast<void>(!::write(r.in().get(), input.data(), input.size()));
  r.in().reset();
  const auto end = r.end(5s);
  r.check_nothing_left();
  return end;
}

} // namespace

// CK-15, CK-16
BOOST_AUTO_TEST_CASE(a_worker_by_hand_tells_its_address_and_ends_when_nobody_comes) {
  const auto begin = clock::now();
  run r{program("faults_options"), {"--worker", "--launch-timeout", "2"}};
  BOOST_REQUIRE(::write(r.in().get(), "abc\n", 4) == 4);
  r.wait_for("\n", 1s);
  int port = 0;
  char rest = 0;
  BOOST_TEST(std::sscanf(r.out().c_str(), "troupe_worker:%d#127.0.0.1%c", &port, &rest) == 2, r.out());
  BOOST_TEST(rest == '\n');
  BOOST_TEST(shake_hands(dial(port), "abc")); // it has that cookie; a handshake is not a master yet
  const auto end = r.end(4s);
  BOOST_TEST(end.state.status == 1);
  const auto taken = clock::now() - begin;
  BOOST_TEST((taken >= 1900ms && taken < 4s));
  check_says(end.err, {"no master", "in time"});
  r.check_nothing_left();
}

BOOST_AUTO_TEST_CASE(a_worker_by_hand_without_a_proper_cookie_says_so) {
  for (auto& [input, what] : {std::pair<std::string, std::string>{"", "it ended before"},
                              {"\n", "the cookie is empty"},
                              {"seventeen letters\n", "17 characters, expected 1 to 16"},
                              {std::string(100'000, 'x'), "too long"},
                              {"two words\n", "character 4"},
                              {"caf\xc3\xa9\n", "character 4"}}) {
    const auto end = by_hand(input);
    BOOST_TEST(end.state.status == 1);
    check_says(end.err, {"first line of", "standard input", "cookie", what});
    BOOST_TEST(count(end.err, "\n") == 1, end.err);
    BOOST_TEST(end.out == "");
  }
}

BOOST_AUTO_TEST_CASE(a_worker_by_hand_that_gets_no_cookie_in_time_says_so) {
  run r{program("faults_options"), {"--worker", "--launch-timeout", "0.5"}};
  const auto end = r.end(3s);
  BOOST_TEST(end.state.status == 1);
  check_says(end.err, {"cookie", "standard input", "in time"});
}

BOOST_AUTO_TEST_CASE(a_worker_by_hand_that_cannot_listen_says_where) {
  auto end = by_hand("abc\n", {"--bind-addr", "192.0.2.1"});
  BOOST_TEST(end.state.status == 1);
  check_says(end.err, {"192.0.2.1", "Cannot assign requested address"});
  end = by_hand("abc\n", {"--bind-addr", "[::1]:70000"});
  BOOST_TEST(end.state.status == 1);
  check_says(end.err, {"--bind-addr", "[::1]:70000"});
  end = by_hand("abc\n", {"--launch-timeout", "soon"});
  BOOST_TEST(end.state.status == 2);
  check_says(end.err, {"--launch-timeout", "soon"});
}
