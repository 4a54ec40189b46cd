#define BOOST_TEST_MODULE session_resume
#include <boost/test/unit_test.hpp>

#include "transport/sessions.hpp"

#include <array>
#include <cstring>
#include <map>
#include <random>
#include <string>
#include <vector>

using namespace test;
using troupe::flow;
using troupe::frame_header;
using troupe::frame_kind;
using troupe::lane;
using troupe::segment;
using troupe::session;
using troupe::urgency;

namespace {

constexpr std::size_t kb = 1 << 10, mb = 1 << 20;
// What a chunk's header and part take on the wire.
constexpr std::size_t chunk_step = sizeof(frame_header) + segment::chunk_size;

// The sizes of what one side sends: mostly small, some that are handed over, some in chunks if they may be that large.
std::size_t any_size(std::mt19937& random, std::size_t largest) {
  auto up_to = [&](std::size_t n) { return std::uniform_int_distribution<std::size_t>{0, n}(random); };
  if (largest < 16 * kb)
    return up_to(largest);
  switch (up_to(largest > mb ? 29 : 19)) {
    case 0:
      return up_to(largest);
    case 1:
    case 2:
      return 16 * kb + up_to(200 * kb);
    case 3:
      return 16 * kb - 64 + up_to(128); // about where frames stop being copied
    case 4:
      return std::min(largest, segment::chunk_size - 2 + up_to(4));
    default:
      return 12 + up_to(500);
  }
}

// A payload: who gets it, its place among all that this side sends, and something to recognise it by.
std::string numbered_payload(std::uint64_t receiver, std::uint32_t place, std::size_t size) {
  auto text = pattern(std::max<std::size_t>(size, 12), place);
  std::memcpy(text.data(), &receiver, 8);
  std::memcpy(text.data() + 8, &place, 4);
  return text;
}

std::uint32_t place_of(const std::string& payload) {
  std::uint32_t n = 0;
  std::memcpy(&n, payload.data() + 8, 4);
  return n;
}

// What one side sends, and what the other is to get.
class traffic {
public:
  traffic(session& from, unsigned seed, std::size_t largest) : from_(from), random_(seed), largest_(largest) {}

  void send_some(int n) {
    for (int i = 0; i < n; ++i) {
      constexpr std::array kinds{frame_kind::call, frame_kind::message, frame_kind::message, frame_kind::reply, frame_kind::watch};
      auto kind = random_() % 20 == 0 ? frame_kind::members : kinds[random_() % kinds.size()];
      auto receiver = random_() % 4;
      auto size = kind == frame_kind::members ? random_() % 1000 : any_size(random_, largest_);
      auto place = static_cast<std::uint32_t>(sent_.size());
      sent_.push_back({kind, numbered_payload(receiver, place, size)});
      push(from_, kind, sent_.back().payload, random_() % 2 == 0 ? urgency::now : urgency::batched, flow::none);
    }
  }

  // Each once, unharmed, in order in its lane, and in the order of sending where that matters.
  void check(const std::vector<arrived>& got) const {
    BOOST_REQUIRE(got.size() == sent_.size());
    std::array<std::uint64_t, troupe::lane_count> last{};
    std::map<std::pair<frame_kind, std::uint64_t>, std::uint32_t> last_place;
    std::vector<bool> came(sent_.size());
    for (auto& f : got) {
      auto& in_lane = last[static_cast<std::size_t>(f.header.in_lane)];
      BOOST_REQUIRE(f.header.number > in_lane);
      in_lane = f.header.number;
      auto place = place_of(f.payload);
      BOOST_REQUIRE(place < sent_.size());
      BOOST_REQUIRE(!came[place]);
      came[place] = true;
      BOOST_REQUIRE((sent_[place].kind == f.header.kind && sent_[place].payload == f.payload));
      if (f.header.kind == frame_kind::reply)
        continue;                             // may pass one another
      if (f.header.kind == frame_kind::watch) // stays behind whatever was for an actor
        for (std::uint32_t i = 0; i < place; ++i)
          BOOST_REQUIRE((came[i] || sent_[i].kind == frame_kind::reply || sent_[i].kind == frame_kind::members));
      std::uint64_t receiver = 0;
      if (f.header.kind == frame_kind::message)
        std::memcpy(&receiver, f.payload.data(), 8);
      auto& before = last_place.emplace(std::pair{f.header.kind, receiver}, place).first->second;
      BOOST_REQUIRE(before <= place);
      before = place;
    }
  }

private:
  struct sent {
    frame_kind kind;
    std::string payload;
  };

  session& from_;
  std::mt19937 random_;
  std::size_t largest_;
  std::vector<sent> sent_;
};

// What the sender keeps is gone once both have told what they have.
void check_nothing_is_kept(talk& t) {
  t.exchange_status();
  BOOST_TEST(t.a->count().in_transit == 0u);
  BOOST_TEST(t.b->count().in_transit == 0u);
}

// Link after link, each of which loses what is written beyond a random place, in both directions, at first soon.
void talk_over_bad_links(unsigned seed, std::size_t largest, int links, std::size_t longest) {
  BOOST_TEST_INFO("seed " << seed);
  std::mt19937 random{seed};
  auto up_to = [&](std::size_t n) { return std::uniform_int_distribution<std::size_t>{0, n}(random); };
  talk t;
  traffic there{*t.a, seed + 1000, largest}, back{*t.b, seed + 2000, largest};
  auto earlier_a = t.a->received(), earlier_b = t.b->received();
  for (int i = 0; i < links; ++i) {
    auto any_limits = [&] {
      auto longest_here = random() % 3 == 0 ? std::size_t{200} : longest;
      return pair_stream::limits{1 + up_to(300 * kb), 1 + up_to(300 * kb), up_to(longest_here)};
    };
    // now and then an old figure, as it is told when frames are still on their way
    auto received_a = random() % 4 == 0 ? earlier_a : t.a->received();
    auto received_b = random() % 4 == 0 ? earlier_b : t.b->received();
    earlier_a = t.a->received();
    earlier_b = t.b->received();
    if (random() % 2 == 0)
      there.send_some(3); // without a link
    t.connect_as(received_a, received_b, any_limits(), any_limits());
    for (auto steps = random() % 6; steps > 0; --steps)
      t.loop.step();
    there.send_some(static_cast<int>(random() % 8));
    back.send_some(static_cast<int>(random() % 8));
    if (random() % 5 == 0)
      for (auto steps = random() % 20; steps > 0; --steps)
        t.loop.step(); // cut while there is more to do
    else
      t.run();
    t.cut();
  }
  t.connect();
  t.run();
  there.check(t.arrived_at_b());
  back.check(t.arrived_at_a());
  BOOST_TEST(t.watch_a.seen.get().ends.empty());
  BOOST_TEST(t.watch_b.seen.get().ends.empty());
  check_nothing_is_kept(t);
}

} // namespace

BOOST_AUTO_TEST_CASE(small_frames_survive_links_that_are_cut_anywhere) {
  for (unsigned seed = 1; seed <= 80; ++seed)
    talk_over_bad_links(seed, 2000, 30, 5000);
}

BOOST_AUTO_TEST_CASE(frames_of_all_sizes_survive_links_that_are_cut_anywhere) {
  for (unsigned seed = 1; seed <= 8; ++seed)
    talk_over_bad_links(seed, mb, 20, mb);
}

BOOST_AUTO_TEST_CASE(values_in_chunks_survive_links_that_are_cut_anywhere) {
  for (unsigned seed = 1; seed <= 4; ++seed)
    talk_over_bad_links(seed, 5 * mb, 10, 5 * mb);
}

BOOST_AUTO_TEST_CASE(a_value_in_chunks_goes_on_where_its_link_was_cut) {
  auto large = numbered_payload(1, 0, 3 * mb + 12345);
  // Within the first chunk's header, its total, its part, on its boundary, and so on into the last.
  for (std::size_t delivered : {std::size_t{1}, std::size_t{31}, std::size_t{32}, std::size_t{36}, std::size_t{40}, std::size_t{50000},
                                chunk_step + 7, chunk_step + 8, chunk_step + 9, chunk_step + 8 + 31, chunk_step + 8 + 32,
                                chunk_step + 8 + 500000, 2 * chunk_step + 8, 3 * chunk_step + 8 + 32 + 12344}) {
    talk t;
    t.connect({.delivered = status_size + delivered});
    t.run();
    push(*t.a, frame_kind::call, large);
    t.run();
    BOOST_TEST(t.arrived_at_b().empty(), delivered);
    t.cut();
    const auto whole_chunks = delivered < 8 ? 0 : (delivered - 8) / chunk_step;
    BOOST_TEST(t.b->received()[2] == whole_chunks);
    t.connect();
    t.run();
    auto got = t.arrived_at_b();
    BOOST_REQUIRE(got.size() == 1u);
    BOOST_TEST((got[0].payload == large));
    BOOST_TEST((got[0].header.kind == frame_kind::call));
    BOOST_TEST(got[0].header.size == large.size());
    BOOST_TEST(!got[0].header.chunk());
    check_nothing_is_kept(t);
  }
}

BOOST_AUTO_TEST_CASE(a_first_chunk_may_come_as_often_as_its_link_is_cut) {
  talk t;
  auto large = numbered_payload(1, 0, 2 * mb);
  push(*t.a, frame_kind::call, large);
  for (std::size_t delivered = 10; delivered < segment::chunk_size; delivered += 130001) {
    t.connect({.delivered = status_size + delivered});
    t.run();
    t.cut();
    BOOST_TEST(t.b->received()[2] == 0u);
  }
  t.connect();
  t.run();
  BOOST_REQUIRE(t.arrived_at_b().size() == 1u);
  BOOST_TEST((t.arrived_at_b()[0].payload == large));
}

BOOST_AUTO_TEST_CASE(what_comes_twice_because_the_peer_knew_no_better_is_dropped) {
  talk t;
  t.connect({}, {.delivered = status_size}); // acknowledgements don't come through
  std::vector<std::string> sent;
  for (unsigned i = 0; i < 40; ++i)
    sent.push_back(numbered_payload(1, i, i % 10 == 9 ? 30 * kb : i % 20 == 5 ? 2 * mb + i : 100));
  for (auto& payload : sent)
    push(*t.a, frame_kind::call, payload);
  t.run();
  BOOST_REQUIRE(t.arrived_at_b().size() == 40u);
  t.cut();
  // b says of itself what was true at its beginning
  t.connect_as(t.a->received(), {});
  const auto before = t.b->count().bytes_received;
  t.run();
  BOOST_TEST(t.b->count().bytes_received - before > 2 * mb); // it all came
  BOOST_TEST(t.arrived_at_b().size() == 40u);
  push(*t.a, frame_kind::call, numbered_payload(1, 40, 10));
  t.run();
  auto got = t.arrived_at_b();
  BOOST_REQUIRE(got.size() == 41u);
  for (unsigned i = 0; i <= 40; ++i)
    BOOST_TEST(place_of(got[i].payload) == i);
  check_nothing_is_kept(t);
}

BOOST_AUTO_TEST_CASE(what_has_been_acknowledged_is_not_sent_again_whatever_is_claimed) {
  talk t;
  t.connect();
  for (unsigned i = 0; i < 10; ++i)
    push(*t.a, frame_kind::call, numbered_payload(1, i, 30 * kb));
  t.run();
  t.exchange_status();
  push(*t.a, frame_kind::call, numbered_payload(1, 10, 30 * kb));
  t.run();
  t.cut();
  const auto before = t.b->count().bytes_received;
  t.connect_as(t.a->received(), {});
  t.run();
  BOOST_TEST(t.b->count().bytes_received - before == status_size + 30 * kb + sizeof(frame_header));
  BOOST_TEST(t.arrived_at_b().size() == 11u);
}

BOOST_AUTO_TEST_CASE(who_has_received_more_than_was_sent_is_another) {
  talk t;
  t.connect();
  push(*t.a, frame_kind::call, "1");
  push(*t.a, frame_kind::call, "2");
  push(*t.a, frame_kind::call, pattern(3 * mb, 1));
  t.run();
  t.cut();
  auto attach = [&](session::numbers received) {
    auto sockets = socket_pair();
    return t.a->attach(std::make_unique<pair_stream>(std::move(sockets.first), pair_stream::limits{}), {}, received);
  };
  BOOST_TEST(attach({0, 3, 0}) == "it has received frame 3 of lane 1, the last that was sent is 2");
  BOOST_TEST(attach({1, 0, 0}) == "it has received frame 1 of lane 0, the last that was sent is 0");
  BOOST_TEST(attach({0, 2, 4}) == "it has received frame 4 of lane 2, the last that was sent is 3");
  BOOST_TEST(attach({0, 0, ~std::uint64_t{0}}) == "it has received frame 18446744073709551615 of lane 2, the last that was sent is 3");
  BOOST_TEST(!t.a->attached());
  BOOST_TEST(attach({0, 2, 3}) == "");
  BOOST_TEST(t.a->count().in_transit == 0u);
  BOOST_TEST(t.watch_a.seen.get().ends.empty());
}

BOOST_AUTO_TEST_CASE(a_session_that_has_ended_takes_no_link) {
  talk t;
  t.a->close();
  auto sockets = socket_pair();
  raw_end raw{std::move(sockets.second)};
  BOOST_TEST(t.a->attach(std::make_unique<pair_stream>(std::move(sockets.first), pair_stream::limits{}), {}, {})
             == "the session has ended");
  BOOST_TEST(raw.receive_all().empty());
}

BOOST_AUTO_TEST_CASE(a_new_link_takes_the_place_of_one_that_still_stands) {
  talk t;
  t.connect({.delivered = status_size + 5});
  push(*t.a, frame_kind::call, "one");
  t.run();
  t.connect();
  push(*t.a, frame_kind::call, "two");
  t.run();
  auto got = t.arrived_at_b();
  BOOST_REQUIRE(got.size() == 2u);
  BOOST_TEST(got[0].payload == "one");
  BOOST_TEST(got[1].payload == "two");
  BOOST_TEST(t.watch_a.seen.get().ends.empty()); // who changes it isn't told
}

BOOST_AUTO_TEST_CASE(a_link_may_be_opened_again_while_the_end_of_the_last_is_told) {
  talk t;
  t.connect();
  t.watch_a.on_frame = t.watch_b.on_frame = [&, again = true](auto&, auto& f) mutable {
    if (f.header.number == 3 && std::exchange(again, false)) {
      t.connect(); // in the middle of what arrives
    }
  };
  for (unsigned i = 0; i < 10; ++i)
    push(*t.a, frame_kind::call, numbered_payload(0, i, 100), urgency::batched);
  t.run();
  auto got = t.arrived_at_b();
  BOOST_REQUIRE(got.size() == 10u);
  std::vector<bool> came(10);
  for (auto& f : got)
    came[place_of(f.payload)] = true;
  BOOST_TEST((came == std::vector<bool>(10, true)));
  BOOST_TEST(t.watch_b.seen.get().ends.empty());
}

BOOST_AUTO_TEST_CASE(frames_about_the_link_are_lost_with_it) {
  talk t;
  auto farewell = frame(frame_kind::goodbye, "");
  t.a->push_unnumbered(farewell); // there is no link
  t.connect({.delivered = status_size});
  t.run();
  push(*t.a, frame_kind::members, "one");
  auto again = frame(frame_kind::goodbye, "");
  t.a->push_unnumbered(again);
  push(*t.a, frame_kind::members, "two");
  t.run();
  t.cut();
  t.connect();
  t.run();
  auto got = t.arrived_at_b();
  BOOST_REQUIRE(got.size() == 2u);
  BOOST_TEST(got[0].payload == "one");
  BOOST_TEST(got[1].payload == "two");
  check_nothing_is_kept(t);
}

BOOST_AUTO_TEST_CASE(what_waits_for_a_first_link_can_be_given_up) {
  talk t;
  for (unsigned i = 0; i < 5; ++i)
    push(*t.a, frame_kind::call, pattern(i * 500 * kb, i), urgency::now, flow::calls);
  BOOST_TEST(t.a->count().in_transit > 4 * mb);
  t.a->abandon();
  BOOST_TEST(t.a->count().in_transit == 0u);
  BOOST_TEST(t.a->count().unconsumed == 0u);
  push(*t.a, frame_kind::call, "later");
  t.connect();
  t.run();
  auto got = t.arrived_at_b();
  BOOST_REQUIRE(got.size() == 1u);
  BOOST_TEST(got[0].payload == "later");
  BOOST_TEST(got[0].header.number == 1u);
}
