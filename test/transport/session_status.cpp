#define BOOST_TEST_MODULE session_status
#include <boost/test/unit_test.hpp>

#include "transport/sessions.hpp"

#include <array>
#include <cstdint>
#include <string>
#include <vector>

using namespace test;
using troupe::flow;
using troupe::frame_header;
using troupe::frame_kind;
using troupe::frame_view;
using troupe::lane;
using troupe::segment;
using troupe::session;
using troupe::urgency;

namespace {

constexpr std::size_t mb = 1 << 20;
constexpr auto absurd = ~std::uint64_t{0};

// What has been received in the three lanes, and dealt with of calls and messages.
using figures = std::array<std::uint64_t, 5>;

bytes status(const figures& all) { return raw_frame(frame_kind::status, 0, text_of(std::as_bytes(std::span{all}))); }

bytes unnumbered(frame_kind kind, std::string_view payload, lane l = lane::control, std::uint16_t flags = 0) {
  frame_header h;
  h.kind = kind;
  h.in_lane = l;
  h.flags = flags;
  h.size = payload.size();
  return raw_frame(h, payload);
}

// What ends the link after two calls have been sent to the peer, and it has answered this.
std::string end_after(const bytes& wrong) {
  session_and_raw x;
  push(*x.end.talk, frame_kind::call, "1");
  push(*x.end.talk, frame_kind::call, "2");
  x.raw.receive(66);
  x.raw.send(wrong);
  auto why = x.end.watcher.wait_for_end();
  BOOST_TEST(x.end.watcher.seen.get().violated);
  return why;
}

} // namespace

BOOST_AUTO_TEST_CASE(a_status_acknowledges_what_it_names) {
  session_and_raw x;
  push(*x.end.talk, frame_kind::call, "1");
  push(*x.end.talk, frame_kind::members, "2");
  push(*x.end.talk, frame_kind::call, pattern(2 * mb, 1));
  x.raw.receive(66 + 2 * mb + 2 * 32 + 8);
  auto after = [&, mark = std::uint64_t{0}](const figures& f) mutable {
    x.raw.send(status(f) + raw_frame(frame_kind::call, ++mark, ""));
    x.end.watcher.wait_for_frames(mark);
    x.end.thread.settle();
    return x.end.talk->count().in_transit;
  };
  constexpr auto large = 2 * mb + 2 * 32 + 8;
  BOOST_TEST(after({}) == 66 + large);
  BOOST_TEST(after({0, 1, 0, 0, 0}) == 33 + large);
  BOOST_TEST(after({0, 0, 0, 0, 0}) == 33 + large); // an old one takes nothing back
  BOOST_TEST(after({0, 1, 1, 0, 0}) == 33 + large); // the first chunk of two
  BOOST_TEST(after({1, 1, 1, 0, 0}) == large);
  BOOST_TEST(after({1, 1, 2, 0, 0}) == 0u);
  BOOST_TEST(x.end.watcher.seen.get().ends.empty());
}

BOOST_AUTO_TEST_CASE(what_was_never_sent_cannot_be_acknowledged) {
  BOOST_TEST(end_after(status({0, 3, 0, 0, 0})) == "an acknowledgement of frame 3 of lane 1, the last that was sent is 2");
  BOOST_TEST(end_after(status({1, 2, 0, 0, 0})) == "an acknowledgement of frame 1 of lane 0, the last that was sent is 0");
  BOOST_TEST(end_after(status({0, 2, absurd, 0, 0}))
             == "an acknowledgement of frame 18446744073709551615 of lane 2, the last that was sent is 0");
  BOOST_TEST(end_after(raw_frame(frame_kind::reply, 1, "", 3)) == "an acknowledgement of frame 3 of lane 1, the last that was sent is 2");
  BOOST_TEST(end_after(raw_frame(frame_kind::members, 1, "", 2)) == "an acknowledgement of frame 2 of lane 0, the last that was sent is 0");
  BOOST_TEST(end_after(raw_frame(frame_kind::reply, 1, "", absurd))
             == "an acknowledgement of frame 18446744073709551615 of lane 1, the last that was sent is 2");
}

BOOST_AUTO_TEST_CASE(after_a_wrong_acknowledgement_the_session_may_go_on) {
  talk t;
  auto attach = [&](const session::numbers& received) {
    auto sockets = socket_pair();
    BOOST_REQUIRE(t.a->attach(std::make_unique<pair_stream>(std::move(sockets.first), pair_stream::limits{}), {}, received) == "");
    return std::make_unique<raw_end>(std::move(sockets.second));
  };
  auto first = attach({});
  push(*t.a, frame_kind::call, "1");
  first->send(status({0, 77, 0, 0, 0}));
  t.run();
  BOOST_REQUIRE(t.watch_a.seen.get().ends.size() == 1u);
  push(*t.a, frame_kind::call, "2");
  auto second = attach({0, 1, 0});
  t.run();
  auto got = split(second->receive(status_size + 33));
  BOOST_REQUIRE(got.size() == 1u);
  BOOST_TEST(got[0].payload == "2");
  BOOST_TEST(got[0].header.number == 2u);
  second->send(status({0, 2, 0, 0, 0}));
  t.run();
  BOOST_TEST(t.a->count().in_transit == 0u);
}

BOOST_AUTO_TEST_CASE(a_status_that_is_none_ends_the_link) {
  figures none{};
  auto payload = text_of(std::as_bytes(std::span{none}));
  for (std::size_t size : {0u, 1u, 8u, 24u, 32u, 39u})
    BOOST_TEST(contains(end_after(unnumbered(frame_kind::status, payload.substr(0, size))), "a status frame that can't be read: "), size);
  BOOST_TEST(end_after(unnumbered(frame_kind::status, payload + "x")) == "a status frame that can't be read: 1 bytes are left over");
}

BOOST_AUTO_TEST_CASE(absurd_figures_of_what_was_dealt_with_give_credit_and_do_no_harm) {
  session_and_raw x{{}, {}, {.window = 1000}};
  auto& s = *x.end.talk;
  auto full = [&](flow f) { return push(s, frame_kind::call, pattern(900, 1), urgency::now, f, true) == session::outcome::full; };
  BOOST_TEST(!full(flow::calls));
  BOOST_TEST(full(flow::calls));
  x.raw.send(status({0, 0, 0, absurd, 0}) + raw_frame(frame_kind::call, 1, ""));
  BOOST_REQUIRE(x.end.watcher.wait_for_frames(1));
  BOOST_TEST(s.count().unconsumed == 0u);
  for (int i = 0; i < 100; ++i)
    BOOST_REQUIRE(!full(flow::calls));
  x.raw.send(status({0, 0, 0, 0, 0}) + raw_frame(frame_kind::call, 2, "")); // less again says nothing
  BOOST_REQUIRE(x.end.watcher.wait_for_frames(2));
  BOOST_TEST(!full(flow::calls));
  BOOST_TEST(!full(flow::messages)); // the other flow has its own
  BOOST_TEST(full(flow::messages));
  BOOST_TEST(x.end.watcher.seen.get().ends.empty());
}

BOOST_AUTO_TEST_CASE(frames_without_a_number_are_handed_on_and_not_counted_in_a_lane) {
  session_and_raw x;
  x.raw.send(raw_frame(frame_kind::members, 1, "m") + unnumbered(frame_kind::goodbye, "") + unnumbered(frame_kind::dismissal, "why")
             + unnumbered(static_cast<frame_kind>(7), std::string(64 << 10, 'x')) + raw_frame(frame_kind::members, 2, "n"));
  BOOST_REQUIRE(x.end.watcher.wait_for_frames(5));
  auto got = x.end.watcher.seen.get().frames;
  BOOST_TEST((got[1].header.kind == frame_kind::goodbye));
  BOOST_TEST(got[2].payload == "why");
  BOOST_TEST(got[3].payload == std::string(64 << 10, 'x'));
  BOOST_TEST(got[4].header.number == 2u);
  BOOST_TEST((x.end.thread.run([&] { return x.end.talk->received(); }) == session::numbers{2, 0, 0}));
}

BOOST_AUTO_TEST_CASE(frames_without_a_number_are_small_and_in_the_control_lane) {
  BOOST_TEST(end_after(unnumbered(frame_kind::goodbye, std::string((64 << 10) + 1, 'x'))) == "a goodbye frame of 65537 bytes");
  BOOST_TEST(end_after(unnumbered(frame_kind::status, std::string(100000, 'x'))) == "a status frame of 100000 bytes");
  BOOST_TEST(end_after(unnumbered(frame_kind::call, "", lane::ordinary)) == "a frame without a number in lane 1");
  BOOST_TEST(end_after(unnumbered(frame_kind::call, "", lane::bulk)) == "a frame without a number in lane 2");
  BOOST_TEST(
    contains(end_after(unnumbered(frame_kind::call, "", lane::bulk, troupe::frame_flags::first_chunk)), "without a number in lane 2"));
  BOOST_TEST(
    contains(end_after(unnumbered(frame_kind::status, "", lane::control, troupe::frame_flags::first_chunk)), "a chunk with flags 4"));
}

BOOST_AUTO_TEST_CASE(an_observer_refuses_frames_that_it_does_not_know) {
  session_and_raw x;
  x.end.watcher.on_frame = [](auto&, frame_view& f) {
    if (f.header.number == 0)
      throw troupe::codec_error{"it has no number"};
  };
  x.raw.send(unnumbered(frame_kind::call, "x"));
  BOOST_TEST(x.end.watcher.wait_for_end() == "a call frame that can't be read: it has no number");
  BOOST_TEST(x.end.watcher.seen.get().violated);
}

BOOST_AUTO_TEST_CASE(a_peer_that_only_receives_acknowledges_now_and_then) {
  talk t{{.window = 1000 * mb}};
  t.connect();
  std::uint64_t most = 0;
  for (unsigned i = 0; i < 200; ++i) {
    push(*t.a, frame_kind::call, pattern(30000, i), urgency::now, flow::calls);
    t.run();
    most = std::max(most, t.a->count().in_transit);
  }
  BOOST_TEST(most <= (256u << 10) + 2 * 30032);
  BOOST_TEST(t.arrived_at_b().size() == 200u);
}

BOOST_AUTO_TEST_CASE(what_is_acknowledged_is_released) {
  talk t;
  t.connect();
  for (unsigned i = 0; i < 30; ++i)
    push(*t.a, i % 2 == 0 ? frame_kind::call : frame_kind::members, pattern(i * 40000, i), i % 3 == 0 ? urgency::now : urgency::batched);
  t.run();
  push(*t.a, frame_kind::call, "rest");
  t.run();
  BOOST_TEST(t.a->count().in_transit > 0u);
  t.b->send_status();
  t.run();
  BOOST_TEST(t.a->count().in_transit == 0u);
  BOOST_TEST(t.b->count().in_transit == 0u); // a status waits for nothing
  push(*t.a, frame_kind::call, "1");
  t.run();
  push(*t.b, frame_kind::reply, "2"); // says it, too
  t.run();
  BOOST_TEST(t.a->count().in_transit == 0u);
  BOOST_TEST(t.b->count().in_transit == 33u);
}

BOOST_AUTO_TEST_CASE(something_heard_is_a_sign_of_life) {
  auto now = troupe::loop::clock::time_point{} + std::chrono::hours{1};
  troupe::loop l{[&] { return now; }};
  recorder watcher;
  auto s = std::make_shared<session>(l, 2, watcher, session::limits{});
  auto sockets = socket_pair();
  raw_end raw{std::move(sockets.second)};
  s->attach(std::make_unique<pair_stream>(std::move(sockets.first), pair_stream::limits{}), {}, {});
  BOOST_TEST((s->last_heard() == now));
  now += std::chrono::seconds{5};
  while (l.step()) {
    // nothing comes
  }
  BOOST_TEST((s->last_heard() == now - std::chrono::seconds{5}));
  raw.send(from_hex("00"));
  while (l.step()) {
    // a byte comes
  }
  BOOST_TEST((s->last_heard() == now));
  s->close();
}
