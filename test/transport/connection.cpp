#define BOOST_TEST_MODULE connection
#include <algorithm>
#include <boost/test/unit_test.hpp>

#include "transport/encoding.hpp"
#include "transport/loop_thread.hpp"
#include "transport/pair_stream.hpp"

#include "troupe/transport/connection.hpp"

#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <vector>

using namespace std::chrono_literals;
using namespace std::string_literals;
using test::bytes;
using test::contains;
using test::pair_stream;
using troupe::connection;
using troupe::frame_header;
using troupe::frame_kind;
using troupe::handshake;
using troupe::hello;

namespace {

constexpr auto dialler = handshake::role::dialler;
constexpr auto acceptor = handshake::role::acceptor;
constexpr std::chrono::milliseconds patient{60000};

// How a connection ended, and what it asked on the way.
struct outcome {
  int ends = 0;
  std::unique_ptr<troupe::established> got;
  std::string why;
  std::string asked; // "check ", "introduce ", "dismissed "
  std::string dismissed_with;
  hello offered;
};

hello example_hello(troupe::proc_id from, troupe::proc_id to) {
  hello h;
  h.cluster = 77;
  h.from = from;
  h.to = to;
  h.host = "host-" + std::to_string(from);
  h.os_pid = 1000 + from;
  h.build_id = "build";
  h.types = {1, ~std::uint64_t{0}, 3};
  h.received = {static_cast<std::uint64_t>(from), 1000, ~std::uint64_t{0}};
  return h;
}

// One side of a meeting. Its loop's thread writes the outcome, the test reads it when it has ended.
class side {
public:
  std::chrono::milliseconds limit = patient;
  std::string cookie = "right cookie";
  troupe::verdict refuse_with;
  bool hears_dismissal = true;
  hello own = example_hello(1, 2);
  std::shared_ptr<int> token = std::make_shared<int>(0); // what the connection's functions hold

  void start(test::loop_thread& l, handshake::role role, troupe::unique_fd socket, pair_stream::limits limits = {}) {
    started_ = std::chrono::steady_clock::now();
    connection::settings s;
    s.role = role;
    s.cookie = cookie;
    s.limit = limit;
    s.introduce = [this, token = token] {
      result_.change([](auto& o) { o->asked += "introduce "; });
      return own;
    };
    s.check = [this, token = token](const hello& h) {
      result_.change([&](auto& o) {
        o->asked += "check ";
        o->offered = h;
      });
      return refuse_with;
    };
    s.done = [this, token = token](std::unique_ptr<troupe::established> e, const std::string& why) {
      result_.change([&](auto& o) {
        ++o->ends;
        o->got = std::move(e);
        o->why = why;
      });
    };
    if (hears_dismissal)
      s.dismissed = [this, token = token](const std::string& why) {
        result_.change([&](auto& o) {
          o->asked += o->ends == 0 ? "dismissed " : "dismissed after its end ";
          o->dismissed_with = why;
        });
      };
    auto stream = std::make_shared<std::unique_ptr<troupe::byte_stream>>(std::make_unique<pair_stream>(std::move(socket), limits));
    l.run([&] { connection::start(l.get(), std::move(*stream), std::move(s)); });
  }

  // Waits for the end, and returns why it failed.
  std::string why() {
    BOOST_REQUIRE(result_.wait([](auto& o) { return o->ends > 0; }));
    return result_.get()->why;
  }

  outcome& result() {
    why();
    return *result_.get();
  }

  std::chrono::steady_clock::duration age() const { return std::chrono::steady_clock::now() - started_; }

private:
  test::watched<std::shared_ptr<outcome>> result_{std::make_shared<outcome>()};
  std::chrono::steady_clock::time_point started_;
};

struct meeting {
  side d, a;
  test::loop_thread loop;

  meeting() { a.own = example_hello(2, 1); }

  void start(pair_stream::limits limits = {}) {
    auto sockets = test::socket_pair();
    a.start(loop, acceptor, std::move(sockets.second), limits);
    d.start(loop, dialler, std::move(sockets.first), limits);
  }

  ~meeting() {
    loop.stop(); // streams belong to its thread
    d.result().got = nullptr;
    a.result().got = nullptr;
  }
};

// A stranger who dials an acceptor and says what the test wants.
struct visit {
  side a;
  test::loop_thread loop;
  test::raw_end raw;

  explicit visit(std::chrono::milliseconds limit = patient) : visit(limit, test::socket_pair()) {}

  // Does all that a dialler who knows the cookie does before its hello.
  void shake_hands() {
    handshake h{dialler, "right cookie"};
    raw.send(h.take_output());
    h.feed(raw.receive(handshake::preamble_size));
    raw.send(h.take_output());
    h.feed(raw.receive(handshake::proof_size));
    BOOST_REQUIRE((h.state() == handshake::status::done));
  }

  ~visit() {
    loop.stop(); // streams belong to its thread
    a.result().got = nullptr;
  }

private:
  visit(std::chrono::milliseconds limit, std::pair<troupe::unique_fd, troupe::unique_fd> sockets) : raw(std::move(sockets.first)) {
    a.limit = limit;
    a.start(loop, acceptor, std::move(sockets.second));
  }
};

bytes hello_frame(const bytes& payload, frame_kind kind = frame_kind::hello, std::optional<std::uint64_t> claimed = {}) {
  frame_header h;
  h.size = claimed.value_or(payload.size());
  h.kind = kind;
  h.in_lane = troupe::lane_of(kind);
  h.number = h.in_lane == troupe::lane::control ? 0 : 1;
  troupe::seal(h);
  bytes out(sizeof h + payload.size());
  std::memcpy(out.data(), &h, sizeof h);
  std::copy(payload.begin(), payload.end(), out.begin() + sizeof h);
  return out;
}

} // namespace

BOOST_AUTO_TEST_CASE(two_that_know_the_cookie_learn_who_the_other_is) {
  meeting m;
  m.start();
  BOOST_TEST(m.d.why() == "");
  BOOST_TEST(m.a.why() == "");
  auto& got = m.d.result().got;
  BOOST_REQUIRE(got);
  BOOST_TEST(got->peer.from == 2);
  BOOST_TEST(got->peer.to == 1);
  BOOST_TEST(got->peer.cluster == 77u);
  BOOST_TEST(got->peer.host == "host-2");
  BOOST_TEST(got->peer.os_pid == 1002);
  BOOST_TEST(got->peer.build_id == "build");
  BOOST_TEST((got->peer.types == std::vector<std::uint64_t>{1, ~std::uint64_t{0}, 3}));
  BOOST_TEST((got->peer.received == std::array<std::uint64_t, 3>{2, 1000, ~std::uint64_t{0}}));
  BOOST_TEST(got->leftover.empty());
  BOOST_REQUIRE(m.a.result().got);
  BOOST_TEST(m.a.result().got->peer.from == 1);
  BOOST_TEST(m.a.result().asked == "check introduce "); // it says who it is only to who is welcome
  BOOST_TEST(m.d.result().asked == "introduce check ");
  m.loop.settle();
  BOOST_TEST(m.d.result().ends == 1);
  BOOST_TEST(m.a.result().ends == 1);
}

BOOST_AUTO_TEST_CASE(they_meet_too_when_single_bytes_pass) {
  meeting m;
  m.start({1, 1});
  BOOST_TEST(m.d.why() == "");
  BOOST_TEST(m.a.why() == "");
}

BOOST_AUTO_TEST_CASE(another_cookie_is_refused_before_anything_is_decoded) { // CK-07
  meeting m;
  m.d.cookie = "wrong cookie";
  m.start();
  BOOST_TEST(m.a.why() == "other end: the peer doesn't know this cluster's cookie");
  BOOST_TEST(contains(m.d.why(), "it may have another cookie"), m.d.why());
  BOOST_TEST(!m.a.result().got);
  BOOST_TEST(!m.d.result().got);
  BOOST_TEST(m.a.result().asked == "");
  BOOST_TEST(m.d.result().asked == "introduce "); // behind its proof; nobody has read it
}

BOOST_AUTO_TEST_CASE(who_is_not_welcome_is_told_why) {
  meeting m;
  m.a.refuse_with = {"this is process 2, not 5"};
  m.start();
  BOOST_TEST(m.d.why() == "other end: the peer refused: this is process 2, not 5");
  BOOST_TEST(m.a.why() == "other end: this is process 2, not 5");
  BOOST_TEST(m.a.result().asked == "check "); // and is not told who refuses
  BOOST_TEST(m.d.result().asked == "introduce "); // it isn't lost for that
  BOOST_TEST(!m.d.result().got);
  BOOST_TEST(!m.a.result().got);
}

BOOST_AUTO_TEST_CASE(who_has_been_declared_lost_is_told_so) {
  for (bool hears : {true, false}) {
    meeting m;
    m.d.hears_dismissal = hears;
    m.a.refuse_with = {"process 1 has been declared lost: its host is off", true};
    m.start();
    BOOST_TEST(m.d.why() == "other end: the peer refused: process 1 has been declared lost: its host is off");
    BOOST_TEST(m.d.result().asked == (hears ? "introduce dismissed " : "introduce "));
    BOOST_TEST(m.d.result().dismissed_with == (hears ? "process 1 has been declared lost: its host is off" : ""));
    BOOST_TEST(m.a.why() == "other end: process 1 has been declared lost: its host is off");
    BOOST_TEST(m.a.result().asked == "check ");
    BOOST_TEST(!m.d.result().got);
    BOOST_TEST(!m.a.result().got);
  }
}

BOOST_AUTO_TEST_CASE(a_dialler_leaves_when_another_answers) {
  meeting m;
  m.d.refuse_with = {"process 9 answered in place of 2"};
  m.start();
  BOOST_TEST(m.d.why() == "other end: process 9 answered in place of 2");
  BOOST_TEST(!m.d.result().got);
}

BOOST_AUTO_TEST_CASE(who_says_nothing_is_dropped_after_the_limit) { // CK-08, CK-09
  visit v{100ms};
  BOOST_TEST(v.raw.receive_all().empty());
  BOOST_TEST((v.a.age() >= 100ms));
  BOOST_TEST(contains(v.a.why(), "sent nothing for 100 ms after 0 of the 48 bytes"), v.a.why());
}

BOOST_AUTO_TEST_CASE(the_limit_is_for_all_of_it_however_much_has_come) { // CK-09
  {
    visit v{100ms};
    v.shake_hands();
    BOOST_TEST(v.raw.receive_all().empty());
    BOOST_TEST(v.a.why() == "other end: the peer didn't introduce itself within 100 ms");
  }
  visit slow{150ms};
  auto preamble = handshake{dialler, "right cookie"}.take_output();
  std::size_t at = 0;
  std::function<void()> trickle = [&] { // a byte every 10 ms would take half a second
    if (at < preamble.size())
      slow.raw.send(std::span{preamble}.subspan(at++, 1));
    slow.loop.get().call_after(10ms, trickle);
  };
  slow.loop.run(trickle);
  BOOST_TEST(contains(slow.a.why(), "of the 48 bytes of its preamble"), slow.a.why());
  slow.loop.stop();
  BOOST_TEST(at < preamble.size());
}

BOOST_AUTO_TEST_CASE(a_dialler_drops_who_does_not_answer) {
  auto sockets = test::socket_pair();
  test::loop_thread loop;
  side d;
  d.limit = 50ms;
  d.start(loop, dialler, std::move(sockets.first));
  BOOST_TEST(contains(d.why(), "sent nothing for 50 ms"), d.why());
  test::raw_end raw{std::move(sockets.second)};
  BOOST_TEST(raw.receive_all().size() == handshake::preamble_size);
}

BOOST_AUTO_TEST_CASE(who_leaves_early_does_no_harm) { // CK-08
  for (std::size_t n : {0u, 5u, 16u, 48u}) {
    visit v;
    auto preamble = handshake{dialler, "right cookie"}.take_output();
    v.raw.send(std::span{preamble}.first(n));
    v.raw.finish();
    BOOST_TEST(contains(v.a.why(), "closed the connection after "), v.a.why());
    BOOST_TEST(!v.a.result().got);
  }
  visit v;
  v.shake_hands();
  auto whole = hello_frame(test::encoded(example_hello(1, 2)));
  v.raw.send(std::span{whole}.first(40));
  v.raw.close();
  BOOST_TEST(v.a.why() == "other end: the peer closed the connection before it introduced itself");
}

BOOST_AUTO_TEST_CASE(junk_is_refused_at_once) { // CK-07
  visit v;
  auto text = "GET / HTTP/1.1\r\nHost: nobody.example\r\nAccept: everything, really\r\n\r\n"s;
  v.raw.send(std::as_bytes(std::span{text}));
  BOOST_TEST(contains(v.a.why(), "expected a troupe preamble"), v.a.why());
  BOOST_TEST(v.raw.receive_all().empty());
}

BOOST_AUTO_TEST_CASE(what_is_no_hello_is_refused_with_what_came) {
  auto answer_to = [](bytes sent) {
    visit v;
    v.shake_hands();
    v.raw.send(sent);
    auto why = v.a.why();
    BOOST_TEST(!v.a.result().got);
    BOOST_TEST(v.a.result().asked == "");
    return why;
  };
  auto good = test::encoded(example_hello(1, 2));
  auto cut = bytes{good.begin(), good.end() - 1};
  auto long_one = good;
  long_one.push_back(std::byte{0});
  BOOST_TEST(contains(answer_to(hello_frame(good, frame_kind::call)), "a call frame where a hello was expected"));
  BOOST_TEST(contains(answer_to(hello_frame({}, frame_kind::hello, 300000)), "a hello of 300000 bytes, the limit is 262144"));
  BOOST_TEST(contains(answer_to(hello_frame({}, frame_kind::hello, std::uint64_t{1} << 63)), "claims 9223372036854775808 bytes"));
  BOOST_TEST(contains(answer_to(hello_frame(cut)), "a hello that can't be read: "));
  BOOST_TEST(contains(answer_to(hello_frame(long_one)), "a hello that can't be read: 1 bytes are left over"));
  BOOST_TEST(contains(answer_to(hello_frame(bytes(100, std::byte{0xff}))), "a hello that can't be read: "));
  BOOST_TEST(contains(answer_to(hello_frame({}, frame_kind::refusal)), "a hello that can't be read: "));
  BOOST_TEST(contains(answer_to(bytes(64, std::byte{0x20})), "bytes that are no frame's header"));
  auto unsealed = hello_frame(good);
  unsealed[sizeof(frame_header) - 1] ^= std::byte{1};
  BOOST_TEST(contains(answer_to(unsealed), "bytes that are no frame's header"));
  BOOST_TEST(answer_to(hello_frame(test::encoded("go away"s), frame_kind::refusal)) == "other end: the peer refused: go away");
}

BOOST_AUTO_TEST_CASE(frames_that_come_with_the_hello_are_handed_over) {
  for (std::size_t extra : {1u, 31u, 5000u}) {
    visit v;
    v.shake_hands();
    auto sent = hello_frame(test::encoded(example_hello(1, 2)));
    sent.resize(sent.size() + extra, std::byte{0x5a});
    v.raw.send(sent);
    auto answer = v.raw.receive(sizeof(frame_header) + test::encoded(v.a.own).size()); // its hello
    BOOST_TEST((answer == hello_frame(test::encoded(v.a.own))));
    BOOST_REQUIRE(v.a.why() == "");
    auto leftover = v.loop.run([&] {
      auto& got = *v.a.result().got;
      auto all = got.leftover;
      std::byte space[8192];
      for (auto r = got.stream->read(space); r.what == troupe::stream_result::status::moved; r = got.stream->read(space))
        all.insert(all.end(), space, space + r.bytes);
      return all;
    });
    BOOST_TEST((leftover == bytes(extra, std::byte{0x5a})));
  }
}

BOOST_AUTO_TEST_CASE(a_connection_that_has_ended_is_released) {
  for (bool welcome : {true, false}) {
    meeting m;
    m.a.refuse_with = {welcome ? "" : "no"};
    m.start();
    m.d.why();
    m.a.why();
    m.loop.run([&] { // what it leads to is dropped
      m.d.result().got = nullptr;
      m.a.result().got = nullptr;
    });
    m.loop.settle();
    BOOST_TEST(m.d.token.use_count() == 1);
    BOOST_TEST(m.a.token.use_count() == 1);
  }
}

BOOST_AUTO_TEST_CASE(a_connection_that_has_not_ended_goes_with_its_loop) {
  side a;
  auto sockets = test::socket_pair();
  {
    test::loop_thread loop;
    a.start(loop, acceptor, std::move(sockets.second));
  }
  BOOST_TEST(a.token.use_count() == 1);
  BOOST_TEST(test::raw_end{std::move(sockets.first)}.receive_all().empty());
}
