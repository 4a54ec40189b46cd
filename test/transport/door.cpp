#define BOOST_TEST_MODULE door
#include <boost/test/unit_test.hpp>

#include "transport/encoding.hpp"
#include "transport/loop_thread.hpp"
#include "transport/pair_stream.hpp"

#include "troupe/transport/door.hpp"
#include "troupe/transport/tcp.hpp"

#include <arpa/inet.h>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <malloc.h>
#include <memory>
#include <netinet/in.h>
#include <new>
#include <string>
#include <sys/resource.h>
#include <sys/socket.h>
#include <vector>

using namespace std::chrono_literals;
using namespace std::string_literals;
using test::bytes;
using test::contains;
using troupe::door;
using troupe::frame_header;
using troupe::frame_kind;
using troupe::handshake;
using troupe::hello;
using troupe::refusal;
using troupe::refusal_reason;

// -- what the program has on its heap, malloc's own share included -------------------------------------------------------

namespace {
std::atomic<std::int64_t> on_heap{0};
}

void* operator new(std::size_t n) {
  auto p = std::malloc(n != 0 ? n : 1);
  if (p == nullptr)
    throw std::bad_alloc{};
  on_heap += static_cast<std::int64_t>(::malloc_usable_size(p) + sizeof(std::size_t));
  return p;
}

void operator delete(void* p) noexcept {
  if (p != nullptr)
    on_heap -= static_cast<std::int64_t>(::malloc_usable_size(p) + sizeof(std::size_t));
  std::free(p);
}

void operator delete(void* p, std::size_t) noexcept { operator delete(p); }

namespace {

constexpr auto cookie = "right cookie";

hello example_hello(troupe::proc_id from, troupe::proc_id to) {
  hello h;
  h.cluster = 77;
  h.from = from;
  h.to = to;
  return h;
}

bytes hello_frame(const hello& h) {
  const auto payload = test::encoded(h);
  frame_header header;
  header.size = payload.size();
  header.kind = frame_kind::hello;
  troupe::seal(header);
  bytes out(sizeof header + payload.size());
  std::memcpy(out.data(), &header, sizeof header);
  std::copy(payload.begin(), payload.end(), out.begin() + sizeof header);
  return out;
}

bytes preamble() { return handshake{handshake::role::dialler, cookie}.take_output(); }

struct happened {
  std::vector<std::pair<refusal_reason, std::string>> refused;
  int entered = 0;
  std::string asked;
};

// A door on a loop of its own, and who knocks at it.
class house {
public:
  explicit house(door::settings s = {.limit = 60s, .most = 256, .patience = 60s}) {
    door::events e;
    e.check = [this](const hello& h) {
      seen.change([](auto& x) { x.asked += "check "; });
      return h.cluster == 77 ? ""s : "this process belongs to another cluster"s;
    };
    e.introduce = [this](troupe::proc_id to) {
      seen.change([](auto& x) { x.asked += "introduce "; });
      return example_hello(2, to);
    };
    e.entered = [this](std::unique_ptr<troupe::established> got) {
      inside.push_back(std::move(got));
      seen.change([](auto& x) { ++x.entered; });
    };
    e.refused = [this](const refusal& r) { seen.change([&](auto& x) { x.refused.emplace_back(r.reason, r.text); }); };
    loop.run([&] { at = std::make_unique<door>(loop.get(), s, std::move(e)); });
  }

  ~house() {
    loop.run([&] {
      at.reset();
      inside.clear();
    });
  }

  // A stranger, who has just knocked.
  test::raw_end& visit() {
    auto sockets = test::socket_pair();
    auto theirs = std::make_shared<std::unique_ptr<troupe::byte_stream>>(
      std::make_unique<test::pair_stream>(std::move(sockets.second), test::pair_stream::limits{}));
    loop.run([&] { at->knock(std::move(*theirs), cookie); });
    return guests.emplace_back(std::move(sockets.first));
  }

  std::size_t strangers() {
    return loop.run([&] { return at->strangers(); });
  }

  refusal_reason wait_for_refused(std::size_t n = 1) {
    BOOST_REQUIRE(seen.wait([n](auto& x) { return x.refused.size() >= n; }));
    return seen.get().refused[n - 1].first;
  }

  std::string text(std::size_t n = 1) {
    wait_for_refused(n);
    return seen.get().refused[n - 1].second;
  }

  test::watched<happened> seen;
  test::loop_thread loop;
  std::unique_ptr<door> at;
  std::vector<std::unique_ptr<troupe::established>> inside;
  std::deque<test::raw_end> guests;
};

// Does all that a dialler who knows the cookie does before its hello; returns what it has sent.
bytes shake_hands(test::raw_end& raw) {
  handshake h{handshake::role::dialler, cookie};
  auto sent = h.take_output();
  raw.send(sent);
  h.feed(raw.receive(handshake::preamble_size));
  auto proof = h.take_output();
  raw.send(proof);
  h.feed(raw.receive(handshake::proof_size));
  BOOST_REQUIRE((h.state() == handshake::status::done));
  sent.insert(sent.end(), proof.begin(), proof.end());
  return sent;
}

} // namespace

// -- who comes in, and who doesn't ------------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(who_knows_the_cookie_and_says_who_it_is_comes_in) { // CK-06
  house h;
  auto& guest = h.visit();
  shake_hands(guest);
  h.loop.settle();
  BOOST_TEST(h.strangers() == 0u); // not yet in, but no stranger any more
  guest.send(hello_frame(example_hello(3, 2)));
  BOOST_REQUIRE(h.seen.wait([](auto& x) { return x.entered == 1; }));
  BOOST_TEST(h.inside.front()->peer.from == 3);
  BOOST_TEST(h.seen.get().asked == "check introduce ");
  BOOST_TEST(h.seen.get().refused.empty());
}

BOOST_AUTO_TEST_CASE(each_way_of_being_wrong_has_its_reason) { // CK-07, CK-08, CK-10
  house h;
  std::size_t n = 0;
  const auto junk = "GET / HTTP/1.1\r\n"s;
  h.visit().send(std::as_bytes(std::span{junk}));
  BOOST_TEST((h.wait_for_refused(++n) == refusal_reason::junk));
  BOOST_TEST(h.text(n) == "other end: the peer sent junk: first bytes 47 45 54 20 2f 20 48 54, expected a troupe preamble");
  h.visit().send(handshake{handshake::role::dialler, cookie, 0}.take_output());
  BOOST_TEST((h.wait_for_refused(++n) == refusal_reason::version));
  BOOST_TEST(contains(h.text(n), "version 0, this process speaks version 1"), h.text(n));
  auto swapped = preamble();
  std::reverse(swapped.begin() + 12, swapped.begin() + 16);
  h.visit().send(swapped);
  BOOST_TEST((h.wait_for_refused(++n) == refusal_reason::byte_order));
  auto proofless = preamble();
  proofless.resize(proofless.size() + handshake::proof_size);
  h.visit().send(proofless);
  BOOST_TEST((h.wait_for_refused(++n) == refusal_reason::cookie));
  auto& early = h.visit();
  early.send(std::span{proofless}.first(20));
  early.finish();
  BOOST_TEST((h.wait_for_refused(++n) == refusal_reason::left));
  BOOST_TEST(contains(h.text(n), "closed the connection after 20 of the 48 bytes"), h.text(n));
  auto other = example_hello(3, 2);
  other.cluster = 78;
  auto& member = h.visit();
  shake_hands(member);
  member.send(hello_frame(other));
  BOOST_TEST((h.wait_for_refused(++n) == refusal_reason::unwelcome));
  for (auto& guest : h.guests)
    guest.receive_all(); // all are hung up on
  BOOST_TEST(h.strangers() == 0u);
  BOOST_TEST(h.seen.get().entered == 0);
}

BOOST_AUTO_TEST_CASE(a_recorded_dialler_is_refused_when_it_is_played_again) { // CK-07
  house h;
  auto& genuine = h.visit();
  auto record = shake_hands(genuine);
  const auto own = hello_frame(example_hello(3, 2));
  genuine.send(own);
  BOOST_REQUIRE(h.seen.wait([](auto& x) { return x.entered == 1; }));
  record.insert(record.end(), own.begin(), own.end());
  h.seen.change([](auto& x) { x.asked.clear(); });
  auto& replay = h.visit();
  replay.send(record);
  BOOST_TEST((h.wait_for_refused() == refusal_reason::cookie));
  BOOST_TEST(replay.receive_all().size() == handshake::preamble_size); // and no proof
  BOOST_TEST(h.seen.get().asked == ""); // its hello was not looked at
  BOOST_TEST(h.seen.get().entered == 1);
}

BOOST_AUTO_TEST_CASE(what_the_acceptor_says_is_no_proof_when_it_comes_back) {
  house h;
  auto& mirror = h.visit();
  mirror.send(preamble());
  const auto answer = mirror.receive(handshake::preamble_size);
  BOOST_REQUIRE(answer.size() == handshake::preamble_size);
  mirror.send(answer);
  BOOST_TEST((h.wait_for_refused() == refusal_reason::cookie));
  // nor as the preamble of another connection, whose proof the first one would have to make
  auto& second = h.visit();
  second.send(answer);
  second.send(second.receive(handshake::preamble_size));
  BOOST_TEST((h.wait_for_refused(2) == refusal_reason::cookie));
}

BOOST_AUTO_TEST_CASE(a_hello_without_a_proof_is_not_read) { // CK-07
  house h;
  auto all = preamble();
  const auto own = hello_frame(example_hello(3, 2));
  all.insert(all.end(), own.begin(), own.end());
  h.visit().send(all);
  BOOST_TEST((h.wait_for_refused() == refusal_reason::cookie));
  BOOST_TEST(h.seen.get().asked == "");
}

// -- how long ------------------------------------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(who_is_silent_is_dropped_at_its_deadline) { // CK-08, CK-09
  house h{{.limit = 100ms, .most = 256, .patience = 60s}};
  const auto begin = troupe::loop::clock::now();
  for (int i = 0; i < 10; ++i)
    h.visit();
  for (auto& guest : h.guests)
    BOOST_TEST(guest.receive_all().empty());
  BOOST_TEST((troupe::loop::clock::now() - begin >= 100ms));
  BOOST_TEST((h.wait_for_refused(10) == refusal_reason::slow));
  BOOST_TEST(contains(h.text(10), "its 100 ms were over after 0 of the 48 bytes of its preamble"), h.text(10));
  h.visit(); // the clock goes on
  BOOST_TEST((h.wait_for_refused(11) == refusal_reason::slow));
}

BOOST_AUTO_TEST_CASE(slow_drops_do_not_put_the_deadline_off) { // CK-09
  house h{{.limit = 150ms, .most = 256, .patience = 60s}};
  auto& slow = h.visit();
  const auto all = preamble();
  std::size_t at = 0;
  std::function<void()> drip = [&] { // all of it would take half a second
    if (at < all.size())
      slow.send(std::span{all}.subspan(at++, 1));
    h.loop.get().call_after(10ms, drip);
  };
  h.loop.run(drip);
  BOOST_TEST((h.wait_for_refused() == refusal_reason::slow));
  h.loop.run([&] { drip = [] {}; });
  BOOST_TEST(at < all.size());
}

BOOST_AUTO_TEST_CASE(who_has_proved_itself_must_still_say_who_it_is_in_time) { // CK-09
  house h{{.limit = 200ms, .most = 256, .patience = 60s}};
  auto& guest = h.visit();
  shake_hands(guest);
  BOOST_TEST(guest.receive_all().empty());
  BOOST_TEST((h.wait_for_refused() == refusal_reason::slow));
}

// -- how many ------------------------------------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(a_full_door_turns_away_who_comes_while_the_others_are_new) { // CK-09
  house h{{.limit = 60s, .most = 3, .patience = 60s}};
  for (int i = 0; i < 3; ++i)
    h.visit();
  auto& late = h.visit();
  BOOST_TEST(late.receive_all().empty()); // at once
  BOOST_TEST((h.wait_for_refused() == refusal_reason::crowd));
  BOOST_TEST(h.text() == "other end: 3 others wait to introduce themselves");
  BOOST_TEST(h.strangers() == 3u);
  h.guests[1].finish(); // one leaves
  BOOST_TEST((h.wait_for_refused(2) == refusal_reason::left));
  shake_hands(h.visit());
}

BOOST_AUTO_TEST_CASE(a_full_door_drops_who_has_waited_longest_when_that_was_long) { // CK-09
  house h{{.limit = 60s, .most = 3, .patience = -1ms}};
  for (int i = 0; i < 5; ++i)
    h.visit();
  for (std::size_t i = 0; i < 2; ++i)
    BOOST_TEST(h.guests[i].receive_all().empty());
  BOOST_TEST((h.wait_for_refused(2) == refusal_reason::crowd));
  BOOST_TEST(contains(h.text(), "made room for others after 0 of the 48 bytes"), h.text());
  BOOST_TEST(h.strangers() == 3u);
  shake_hands(h.guests[4]);
}

BOOST_AUTO_TEST_CASE(who_has_proved_itself_takes_no_strangers_place) {
  house h{{.limit = 60s, .most = 2, .patience = -1ms}};
  for (int i = 0; i < 5; ++i)
    shake_hands(h.visit());
  for (int i = 0; i < 4; ++i)
    h.visit();
  BOOST_TEST(h.strangers() == 2u);
  for (std::size_t i = 0; i < 5; ++i)
    h.guests[i].send(hello_frame(example_hello(3, 2)));
  BOOST_TEST(h.seen.wait([](auto& x) { return x.entered == 5; }));
}

BOOST_AUTO_TEST_CASE(strangers_get_a_quarter_of_the_descriptors_and_no_more) {
  ::rlimit before{};
  BOOST_REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
  house h;
  auto few = before;
  few.rlim_cur = 80;
  BOOST_REQUIRE(::setrlimit(RLIMIT_NOFILE, &few) == 0);
  for (int i = 0; i < 21; ++i)
    h.visit();
  BOOST_TEST(h.strangers() == 20u);
  BOOST_TEST((h.wait_for_refused() == refusal_reason::crowd));
  BOOST_REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
}

BOOST_AUTO_TEST_CASE(a_door_that_goes_hangs_up_on_all_without_a_word) {
  house h;
  h.visit();
  shake_hands(h.visit());
  h.loop.run([&] { h.at.reset(); });
  for (auto& guest : h.guests)
    BOOST_TEST(guest.receive_all().empty());
  BOOST_TEST(h.seen.get().refused.empty());
}

// -- what it costs ----------------------------------------------------------------------------------------------------------

namespace {

// Connects to a port of this host, and sends something.
troupe::unique_fd dial(std::uint16_t port, std::span<const std::byte> text) {
  troupe::unique_fd s{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  ::sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(port);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  BOOST_REQUIRE(::connect(s.get(), reinterpret_cast<::sockaddr*>(&to), sizeof to) == 0);
  BOOST_REQUIRE(::send(s.get(), text.data(), text.size(), MSG_NOSIGNAL) == static_cast<::ssize_t>(text.size()));
  return s;
}

} // namespace

BOOST_AUTO_TEST_CASE(a_stranger_costs_less_than_two_kilobytes_however_far_it_has_come) { // CK-09
  constexpr std::size_t count = 200;
  const auto all = preamble();
  for (std::size_t sent : {std::size_t{0}, std::size_t{20}, all.size()}) {
    house h{{.limit = 600s, .most = count, .patience = 600s}};
    std::unique_ptr<troupe::tcp_listener> listener;
    const auto port = h.loop.run([&] {
      auto knock = [&](std::unique_ptr<troupe::byte_stream> s) { h.at->knock(std::move(s), "sixteen letters!"); };
      listener = std::make_unique<troupe::tcp_listener>(h.loop.get(), "127.0.0.1", 0, knock);
      return listener->where().port;
    });
    std::vector<troupe::unique_fd> strangers(count);
    const auto before = on_heap.load();
    for (auto& s : strangers) {
      s = dial(port, std::span{all}.first(sent));
      if (sent == all.size()) { // the answer shows that it was read
        char answer[handshake::preamble_size];
        BOOST_REQUIRE(::recv(s.get(), answer, sizeof answer, MSG_WAITALL) == static_cast<::ssize_t>(sizeof answer));
      }
    }
    while (h.strangers() < count) {
    }
    h.loop.settle();
    const auto each = (on_heap - before) / static_cast<std::int64_t>(count);
    BOOST_TEST_MESSAGE("after " << sent << " bytes: " << each << " bytes each");
    BOOST_TEST(each > 300); // something was counted
    BOOST_TEST(each < 2048);
    strangers.clear();
    h.loop.run([&] { listener.reset(); });
  }
}
