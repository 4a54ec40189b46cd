#define BOOST_TEST_MODULE session_credit
#include <boost/test/unit_test.hpp>

#include "transport/sessions.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

using namespace test;
using troupe::cost_of;
using troupe::credit;
using troupe::flow;
using troupe::frame_kind;
using troupe::frame_view;
using troupe::lane;
using troupe::session;
using troupe::urgency;

namespace {

constexpr std::size_t mb = 1 << 20;
constexpr auto full = session::outcome::full;
constexpr auto taken = session::outcome::taken;

// Of one who may wait.
session::outcome offer(session& s, flow f, std::size_t size = 744) {
  return push(s, f == flow::calls ? frame_kind::call : frame_kind::message, pattern(size, 1), urgency::now, f, true);
}

int offer_all(session& s, flow f, std::size_t size = 744) {
  int n = 0;
  while (offer(s, f, size) == taken && n < 100000)
    ++n;
  return n;
}

// b deals with nothing that arrives until `held` is cleared. The window is that of ten frames of 744 bytes.
struct held_talk : talk {
  explicit held_talk(session::limits most = {.window = 10000}) : talk{most} {
    watch_b.on_frame = [this](auto&, frame_view& f) { held.push_back(std::move(f.credit)); };
  }
  std::vector<credit> held;
};

std::string message_to(std::uint64_t receiver, std::string text) {
  std::string out(sizeof receiver, '\0');
  std::memcpy(out.data(), &receiver, sizeof receiver);
  return out + text;
}

} // namespace

// -- credit ---------------------------------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(those_who_may_wait_send_no_more_than_the_window) {
  held_talk t;
  t.connect();
  BOOST_TEST(offer_all(*t.a, flow::calls) == 10); // cost_of(744) is 1000
  t.run();
  BOOST_TEST(t.arrived_at_b().size() == 10u);
  BOOST_TEST((offer(*t.a, flow::calls) == full)); // that it has arrived gives no credit
  BOOST_TEST(t.a->count().unconsumed == 10000u);
  BOOST_TEST(t.a->count().waits == 2u);
  BOOST_TEST(offer_all(*t.a, flow::messages) == 10); // the other flow has its own
  BOOST_TEST((offer(*t.a, flow::none) == taken));
  BOOST_TEST((push(*t.a, frame_kind::call, pattern(744, 1), urgency::now, flow::calls, false) == taken)); // who may not wait is not stopped
  BOOST_TEST(t.a->count().unconsumed == 21000u);
}

BOOST_AUTO_TEST_CASE(one_frame_may_be_larger_than_the_window) {
  talk t{{.window = 1000}};
  t.connect();
  BOOST_TEST((offer(*t.a, flow::calls, 3 * mb) == taken));
  BOOST_TEST((offer(*t.a, flow::calls, 1) == full));
  t.run();
  t.exchange_status();
  BOOST_TEST(t.a->count().unconsumed == 0u);
  BOOST_TEST((offer(*t.a, flow::calls, 1) == taken));
}

BOOST_AUTO_TEST_CASE(there_is_room_again_when_the_receiver_has_dealt_with_it) {
  held_talk t;
  t.connect();
  offer_all(*t.a, flow::calls);
  t.run();
  int ready = 0;
  t.a->when_room(flow::calls, [&] { ++ready; });
  t.a->when_room(flow::calls, [&] { ++ready; });
  t.a->when_room(flow::messages, [&] { ready += 100; });
  BOOST_TEST(ready == 100); // there it is already
  BOOST_TEST(t.a->count().waiting == 2u);
  t.run();
  t.exchange_status();
  BOOST_TEST(ready == 100);
  t.held.erase(t.held.begin() + 9, t.held.end()); // a tenth: too little to tell
  t.run();
  BOOST_TEST(ready == 100);
  t.held.erase(t.held.begin() + 7, t.held.end()); // more than a quarter
  t.run();
  BOOST_TEST(ready == 102);
  BOOST_TEST(t.a->count().waiting == 0u);
  BOOST_TEST(t.a->count().unconsumed == 7000u);
  BOOST_TEST(offer_all(*t.a, flow::calls) == 3);
  t.held.clear();
  t.run();
  BOOST_TEST(ready == 102); // once
}

BOOST_AUTO_TEST_CASE(what_is_dealt_with_at_once_never_stops_its_sender) {
  talk t{{.window = 10000}};
  t.connect();
  for (int i = 0; i < 1000; ++i) {
    BOOST_REQUIRE((offer(*t.a, flow::messages) == taken));
    t.run();
  }
}

BOOST_AUTO_TEST_CASE(credit_survives_the_link) {
  held_talk t;
  t.connect();
  offer_all(*t.a, flow::calls);
  t.run();
  t.cut();
  int ready = 0;
  t.a->when_room(flow::calls, [&] { ++ready; });
  t.held.clear(); // nobody can be told
  t.run();
  BOOST_TEST((offer(*t.a, flow::calls) == full));
  t.connect();
  BOOST_TEST((offer(*t.a, flow::calls) == full));
  t.run();
  BOOST_TEST(ready == 1);
  BOOST_TEST(offer_all(*t.a, flow::calls) == 10);
}

BOOST_AUTO_TEST_CASE(what_is_sent_without_a_link_counts_and_what_comes_twice_counts_once) {
  held_talk t;
  BOOST_TEST(offer_all(*t.a, flow::calls) == 10);
  t.connect({}, {.delivered = status_size});
  t.run();
  t.cut();
  t.connect_as({}, {}); // b's figures of its beginning
  t.run();
  BOOST_TEST(t.held.size() == 10u);
  BOOST_TEST(t.a->count().unconsumed == 10000u);
  t.held.clear();
  t.exchange_status();
  BOOST_TEST(t.a->count().unconsumed == 0u);
}

BOOST_AUTO_TEST_CASE(a_frame_that_cannot_be_read_gives_its_credit_back) {
  talk t{{.window = 10000}};
  t.watch_b.on_frame = [](auto&, frame_view&) { throw troupe::codec_error{"no"}; };
  t.connect();
  offer(*t.a, flow::calls);
  t.run();
  BOOST_TEST(t.watch_b.seen.get().ends.size() == 1u);
  t.connect();
  t.run();
  BOOST_TEST(t.a->count().unconsumed == 0u);
}

BOOST_AUTO_TEST_CASE(who_waits_is_told_of_the_end) {
  for (bool linked : {true, false}) {
    held_talk t{{.window = 1000}};
    t.connect();
    offer_all(*t.a, flow::calls);
    t.run();
    if (!linked)
      t.cut();
    int ready = 0;
    t.a->when_room(flow::calls, [&] {
      ++ready;
      BOOST_TEST((offer(*t.a, flow::calls) == taken)); // and dropped
    });
    BOOST_TEST(ready == 0);
    t.a->close();
    BOOST_TEST(ready == 1);
    t.a->when_room(flow::calls, [&] { ++ready; });
    BOOST_TEST(ready == 2);
    t.a->close();
    BOOST_TEST(ready == 2);
    t.held.clear();
  }
}

BOOST_AUTO_TEST_CASE(who_waits_is_told_when_what_waited_for_a_first_link_is_given_up) {
  talk t{{.window = 1000}};
  offer_all(*t.a, flow::calls);
  int ready = 0;
  t.a->when_room(flow::calls, [&] { ++ready; });
  t.a->abandon();
  BOOST_TEST(ready == 1);
  BOOST_TEST((offer(*t.a, flow::calls) == taken));
}

BOOST_AUTO_TEST_CASE(who_is_told_of_room_may_send_and_wait_again_at_once) {
  talk t{{.window = 10000}};
  t.connect();
  int sent = 0;
  std::function<void()> send = [&] {
    while (sent < 500 && offer(*t.a, flow::messages) == taken)
      ++sent;
    if (sent < 500)
      t.a->when_room(flow::messages, send);
  };
  send();
  t.run();
  BOOST_TEST(sent == 500);
  BOOST_TEST(t.arrived_at_b().size() == 500u);
}

// -- the way out of a circle ----------------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(who_waits_while_nothing_is_dealt_with_is_starved) {
  held_talk t{{.window = 10000, .transit = 100000}};
  t.connect();
  BOOST_TEST(!t.a->starved());
  offer_all(*t.a, flow::messages);
  t.run();
  BOOST_TEST(!t.a->starved()); // nobody waits
  int ready = 0;
  t.a->when_room(flow::messages, [&] { ++ready; });
  BOOST_TEST(t.a->starved());
  BOOST_TEST(t.a->starved());
  t.held.erase(t.held.begin() + 8, t.held.end());
  t.exchange_status();
  BOOST_TEST(ready == 1);
  BOOST_TEST(!t.a->starved());
  offer_all(*t.a, flow::messages);
  t.a->when_room(flow::messages, [&] { ++ready; });
  BOOST_TEST(t.a->starved());
  // a peer that deals with something, if too little for who waits
  push(*t.a, frame_kind::message, pattern(5000, 1), urgency::now, flow::messages);
  t.run();
  t.held.erase(t.held.begin());
  t.exchange_status();
  BOOST_TEST(ready == 1);
  BOOST_TEST(!t.a->starved());
  BOOST_TEST(t.a->starved());
}

BOOST_AUTO_TEST_CASE(who_waits_for_a_slow_link_is_not_starved) {
  session_and_raw x{{}, {}, {.window = 100 * mb, .transit = 10000}};
  offer_all(*x.end.talk, flow::messages);
  x.end.talk->when_room(flow::messages, [] {});
  x.end.thread.run([&] {
    BOOST_TEST(!x.end.talk->starved());
    BOOST_TEST(!x.end.talk->starved());
  });
}

BOOST_AUTO_TEST_CASE(a_receiver_may_grant_more_than_it_has_dealt_with) {
  held_talk t;
  t.connect();
  offer_all(*t.a, flow::messages);
  int ready = 0;
  t.a->when_room(flow::messages, [&] { ++ready; });
  t.run();
  BOOST_TEST(ready == 0);
  t.b->grant_more();
  t.run();
  BOOST_TEST(ready == 1);
  BOOST_TEST(offer_all(*t.a, flow::messages) == 10); // as much again
  BOOST_TEST((offer(*t.a, flow::messages) == full));
  t.b->grant_more();
  t.cut(); // and a grant that the link loses comes with the next
  t.connect();
  t.run();
  BOOST_TEST(offer_all(*t.a, flow::messages) == 10);
  t.held.clear();
  t.exchange_status();
  BOOST_TEST(t.a->count().unconsumed == 0u);
}

// -- transit --------------------------------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(a_peer_that_never_reads_leaves_memory_bounded_for_those_who_may_wait) {
  const session::limits most{.window = 100 * mb, .transit = 3 * mb};
  session_and_raw x{{}, {}, most};
  int n = 0;
  while (offer(*x.end.talk, flow::calls, 30000) == taken && n < 10000)
    ++n;
  BOOST_TEST(n < 10000);
  BOOST_TEST(x.end.talk->count().in_transit <= most.transit + 31000);
  BOOST_TEST((offer(*x.end.talk, flow::none, 1) == full)); // flow or not
  bool room = false;
  x.end.talk->when_room(flow::none, [&] { room = true; });
  // what it receives, and doesn't acknowledge, is kept
  auto got = x.raw.receive(static_cast<std::size_t>(n) * 30032);
  x.end.thread.settle();
  BOOST_TEST(!room);
  BOOST_TEST((offer(*x.end.talk, flow::none, 1) == full));
  x.raw.send(raw_frame(frame_kind::reply, 1, "", 50));
  BOOST_REQUIRE(x.end.watcher.wait_for_frames(1));
  x.end.thread.settle();
  BOOST_TEST(room);
  BOOST_TEST((offer(*x.end.talk, flow::none, 1) == taken));
  BOOST_TEST(x.end.talk->count().in_transit <= most.transit - 49 * 30032);
}

BOOST_AUTO_TEST_CASE(without_a_link_those_who_may_wait_fill_no_more_than_the_limit) {
  const session::limits most{.window = 100 * mb, .transit = mb};
  talk t{most};
  BOOST_TEST(offer_all(*t.a, flow::calls, 9968) == 105); // 10,000 on the wire each
  int ready = 0;
  t.a->when_room(flow::calls, [&] { ++ready; });
  t.connect();
  t.run();
  BOOST_TEST(ready == 1);
  t.exchange_status();
  BOOST_TEST(t.a->count().in_transit == 0u);
  BOOST_TEST(t.arrived_at_b().size() == 105u);
}

BOOST_AUTO_TEST_CASE(room_may_come_with_what_the_peer_says_when_a_link_begins) {
  const session::limits most{.window = 100 * mb, .transit = mb};
  talk t{most};
  t.connect({}, {.delivered = 0});
  BOOST_TEST(offer_all(*t.a, flow::calls, 9968) == 105);
  int ready = 0;
  t.a->when_room(flow::calls, [&] { ++ready; });
  t.run();
  t.cut();
  BOOST_TEST(ready == 0);
  t.connect();
  BOOST_TEST(ready == 1);
  BOOST_TEST(t.a->count().in_transit <= status_size); // its own status, at most
}

// -- what may pass what ---------------------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(small_frames_pass_a_large_value_unless_their_order_matters) {
  talk t;
  t.connect();
  push(*t.a, frame_kind::message, message_to(1, "before"), urgency::batched);
  push(*t.a, frame_kind::message, message_to(1, pattern(8 * mb, 1)), urgency::batched);
  push(*t.a, frame_kind::message, message_to(1, "after"), urgency::batched);
  push(*t.a, frame_kind::message, message_to(2, "another actor"), urgency::batched);
  push(*t.a, frame_kind::reply, "reply", urgency::batched);
  push(*t.a, frame_kind::call, "call", urgency::batched);
  push(*t.a, frame_kind::relay, "relay", urgency::batched);
  push(*t.a, frame_kind::members, "members", urgency::batched);
  push(*t.a, frame_kind::message, message_to(1, "last"), urgency::batched);
  t.run();
  std::string order;
  for (auto& f : t.arrived_at_b())
    order += f.payload.size() > mb ? "LARGE " : (f.header.kind == frame_kind::message ? f.payload.substr(8) : f.payload) + ' ';
  BOOST_TEST(order == "members before another actor reply call relay LARGE after last ");
}

BOOST_AUTO_TEST_CASE(calls_keep_their_order_behind_a_large_one) {
  talk t;
  t.connect();
  push(*t.a, frame_kind::call, pattern(2 * mb, 1), urgency::batched);
  push(*t.a, frame_kind::reply, "reply", urgency::batched);
  push(*t.a, frame_kind::message, message_to(1, "message"), urgency::batched);
  for (int i = 0; i < 5; ++i)
    push(*t.a, frame_kind::call, "call" + std::to_string(i), urgency::batched);
  push(*t.a, frame_kind::call, pattern(20000, 1), urgency::batched); // handed over, not cut
  push(*t.a, frame_kind::call, "call5", urgency::batched);
  t.run();
  std::string order;
  for (auto& f : t.arrived_at_b())
    order += f.header.kind == frame_kind::call ? (f.payload.size() > mb    ? "LARGE "
                                                  : f.payload.size() > 100 ? "medium "
                                                                           : f.payload + ' ')
                                               : to_string(f.header.kind) + ' ';
  BOOST_TEST(order == "reply message LARGE call0 call1 call2 call3 call4 medium call5 ");
}

BOOST_AUTO_TEST_CASE(what_is_for_one_array_keeps_its_order_behind_a_large_one) {
  const auto about = [](std::uint64_t question, std::uint64_t array, const std::string& text) {
    return std::string{reinterpret_cast<const char*>(&question), sizeof question}
           + std::string{reinterpret_cast<const char*>(&array), sizeof array} + text;
  };
  talk t;
  t.connect();
  push(*t.a, frame_kind::array, about(1, 7, pattern(2 * mb, 1)), urgency::batched);
  push(*t.a, frame_kind::array, about(2, 7, "same"), urgency::batched);
  push(*t.a, frame_kind::array, about(3, 8, "other"), urgency::batched);
  push(*t.a, frame_kind::message, message_to(7, "message"), urgency::batched);
  push(*t.a, frame_kind::array, about(4, 7, "last"), urgency::batched);
  t.run();
  std::string order;
  for (auto& f : t.arrived_at_b())
    order += f.payload.size() > mb ? "LARGE " : f.header.kind == frame_kind::array ? f.payload.substr(16) + ' ' : "message ";
  BOOST_TEST(order == "other message LARGE same last ");
}

BOOST_AUTO_TEST_CASE(what_stops_a_call_stays_behind_it) {
  talk t;
  t.connect();
  push(*t.a, frame_kind::call, pattern(2 * mb, 1), urgency::batched);
  push(*t.a, frame_kind::cancel, "stop", urgency::batched);
  push(*t.a, frame_kind::reply, "reply", urgency::batched);
  t.run();
  auto got = t.arrived_at_b();
  BOOST_REQUIRE(got.size() == 3u);
  BOOST_TEST(got[0].payload == "reply");
  BOOST_TEST(got[1].payload.size() == 2 * mb);
  BOOST_TEST(got[2].payload == "stop");
}

BOOST_AUTO_TEST_CASE(what_is_about_actors_or_references_stays_behind_every_large_value_but_replies) {
  for (auto kind : {frame_kind::watch, frame_kind::down, frame_kind::link, frame_kind::unlink, frame_kind::moved, frame_kind::ask,
                    frame_kind::counts}) {
    talk t;
    t.connect();
    push(*t.a, frame_kind::message, message_to(1, pattern(2 * mb, 1)), urgency::batched);
    push(*t.a, kind, "1", urgency::batched);
    push(*t.a, kind, "2", urgency::batched);
    push(*t.a, frame_kind::reply, "reply", urgency::batched);
    t.run();
    auto got = t.arrived_at_b();
    BOOST_REQUIRE(got.size() == 4u);
    BOOST_TEST(got[0].payload == "reply");
    BOOST_TEST(got[1].payload.size() > 2 * mb);
    BOOST_TEST(got[2].payload == "1");
    BOOST_TEST(got[3].payload == "2");
  }
  talk t;
  t.connect();
  push(*t.a, frame_kind::reply, pattern(2 * mb, 1), urgency::batched);
  push(*t.a, frame_kind::down, "1", urgency::batched);
  t.run();
  BOOST_TEST(t.arrived_at_b()[0].payload == "1"); // a reply is no actor's
}

BOOST_AUTO_TEST_CASE(once_a_large_value_has_been_acknowledged_the_ordinary_lane_is_used_again) {
  talk t;
  t.connect();
  push(*t.a, frame_kind::message, message_to(1, pattern(2 * mb, 1)));
  push(*t.a, frame_kind::message, message_to(1, "behind"));
  t.run();
  t.exchange_status();
  push(*t.a, frame_kind::message, message_to(1, "free"));
  t.run();
  auto got = t.arrived_at_b();
  BOOST_REQUIRE(got.size() == 3u);
  BOOST_TEST((got[1].header.in_lane == lane::bulk));
  BOOST_TEST((got[2].header.in_lane == lane::ordinary));
}

BOOST_AUTO_TEST_CASE(control_frames_pass_a_value_of_64_mb) {
  session_and_raw x;
  push(*x.end.talk, frame_kind::call, std::string(64 * mb, 'x'));
  x.end.thread.settle();
  push(*x.end.talk, frame_kind::members, "members");
  x.end.thread.run([&] { x.end.talk->send_status(); });
  // What the socket holds, and the chunk that had been begun, come first.
  auto in = split_all(x.raw.receive(4 * mb));
  auto found = std::find_if(in.begin(), in.end(), [](auto& f) { return f.header.kind == frame_kind::members; });
  BOOST_REQUIRE((found != in.end()));
  BOOST_TEST((found - in.begin() <= 3));
  BOOST_TEST(found->payload == "members");
  BOOST_TEST((found[1].header.kind == frame_kind::status));
}
