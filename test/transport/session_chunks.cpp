#define BOOST_TEST_MODULE session_chunks
#include <boost/test/unit_test.hpp>

#include "transport/sessions.hpp"

#include <cstdint>
#include <limits>
#include <string>
#include <sys/resource.h>
#include <vector>

using namespace test;
using namespace troupe::frame_flags;
using troupe::frame_header;
using troupe::frame_kind;
using troupe::frame_view;
using troupe::lane;

namespace {

// A chunk by hand; the first has the total in front of its part.
bytes chunk(std::uint64_t number, std::uint16_t flags, std::string_view part, std::uint64_t total = 0, frame_kind kind = frame_kind::call) {
  frame_header h;
  h.number = number;
  h.kind = kind;
  h.in_lane = lane::bulk;
  h.flags = flags;
  std::string payload;
  if ((flags & first_chunk) != 0)
    payload = text_of(std::as_bytes(std::span{&total, 1}));
  payload += part;
  h.size = payload.size();
  return raw_frame(h, payload);
}

bytes whole_frame_in_bulk(std::uint64_t number, std::string_view payload) {
  frame_header h;
  h.number = number;
  h.kind = frame_kind::call;
  h.in_lane = lane::bulk;
  h.size = payload.size();
  return raw_frame(h, payload);
}

// What ends the link after these bytes. Nothing may arrive.
std::string end_after(const bytes& wrong) {
  session_and_raw x;
  x.raw.send(wrong);
  auto why = x.end.watcher.wait_for_end();
  BOOST_TEST(x.end.watcher.seen.get().violated);
  BOOST_TEST(x.end.watcher.seen.get().frames.empty());
  BOOST_TEST(split(x.raw.receive_all()).empty());
  return why;
}

} // namespace

BOOST_AUTO_TEST_CASE(a_value_may_come_in_chunks_of_any_sizes) {
  for (std::size_t at_once : {1u, 33u, 100000u}) {
    session_and_raw x{{.read = at_once}};
    x.raw.send(chunk(1, first_chunk | more_chunks | 2, "a", 6) + chunk(2, later_chunk | more_chunks, "bcd") + chunk(3, later_chunk, "ef")
               + chunk(4, first_chunk, "all in one", 10) + whole_frame_in_bulk(5, "none") + raw_frame(frame_kind::call, 1, "ordinary"));
    BOOST_REQUIRE(x.end.watcher.wait_for_frames(4));
    auto got = x.end.watcher.seen.get().frames;
    BOOST_TEST(got[0].payload == "abcdef");
    BOOST_TEST(got[0].header.size == 6u);
    BOOST_TEST(got[0].header.flags == 2u); // its flow is left
    BOOST_TEST(got[0].header.number == 1u);
    BOOST_TEST(got[1].payload == "all in one");
    BOOST_TEST(got[2].payload == "none");
    BOOST_TEST(got[3].payload == "ordinary");
    BOOST_TEST(x.end.talk->count().frames_received == 4u);
  }
}

BOOST_AUTO_TEST_CASE(other_lanes_go_on_between_chunks) {
  session_and_raw x;
  x.raw.send(chunk(1, first_chunk | more_chunks, "ab", 5) + raw_frame(frame_kind::call, 1, "between")
             + chunk(2, later_chunk | more_chunks, "cd") + raw_frame(frame_kind::members, 1, "control") + chunk(3, later_chunk, "e"));
  BOOST_REQUIRE(x.end.watcher.wait_for_frames(3));
  auto got = x.end.watcher.seen.get().frames;
  BOOST_TEST(got[0].payload == "between");
  BOOST_TEST(got[1].payload == "control");
  BOOST_TEST(got[2].payload == "abcde");
}

BOOST_AUTO_TEST_CASE(chunks_that_have_come_before_are_dropped) {
  session_and_raw x;
  auto first = chunk(1, first_chunk | more_chunks, "ab", 5), second = chunk(2, later_chunk | more_chunks, "cd"),
       third = chunk(3, later_chunk, "e");
  x.raw.send(first + first + second + first + second + third + first + second + third + whole_frame_in_bulk(4, "next"));
  BOOST_REQUIRE(x.end.watcher.wait_for_frames(2));
  auto got = x.end.watcher.seen.get().frames;
  BOOST_TEST(got[0].payload == "abcde");
  BOOST_TEST(got[1].payload == "next");
  BOOST_TEST(x.end.watcher.seen.get().ends.empty());
}

BOOST_AUTO_TEST_CASE(chunks_out_of_place_end_the_link) {
  auto first = chunk(1, first_chunk | more_chunks, "ab", 5);
  BOOST_TEST(end_after(first + chunk(2, first_chunk | more_chunks, "ab", 5)) == "the first chunk of a value within another");
  BOOST_TEST(end_after(chunk(1, later_chunk | more_chunks, "ab")) == "a chunk of a value that has not begun");
  BOOST_TEST(end_after(chunk(1, later_chunk, "ab")) == "a chunk of a value that has not begun");
  BOOST_TEST(end_after(first + whole_frame_in_bulk(2, "whole")) == "a whole frame between the chunks of a value");
  BOOST_TEST(end_after(first + chunk(2, later_chunk, "cde", 0, frame_kind::reply)) == "a chunk of a value that has not begun");
  BOOST_TEST(end_after(first + chunk(3, later_chunk, "cde")) == "frame 3 of lane 2 came after frame 1");
}

BOOST_AUTO_TEST_CASE(chunks_of_wrong_sizes_end_the_link) {
  auto first = chunk(1, first_chunk | more_chunks, "ab", 5);
  BOOST_TEST(end_after(first + chunk(2, later_chunk, "cdef")) == "a chunk of 4 bytes where 3 are missing"); // too long
  BOOST_TEST(end_after(first + chunk(2, later_chunk | more_chunks, "cdef")) == "a chunk of 4 bytes where 3 are missing");
  BOOST_TEST(end_after(first + chunk(2, later_chunk, "cd")) == "a chunk of 2 bytes where 3 are missing"); // the last, too short
  BOOST_TEST(end_after(first + chunk(2, later_chunk | more_chunks, "cde")) == "a chunk of 3 bytes where 3 are missing"); // not the last
  BOOST_TEST(end_after(first + chunk(2, later_chunk | more_chunks, "")) == "a chunk of 0 bytes where 3 are missing");
  BOOST_TEST(end_after(first + chunk(2, later_chunk, "")) == "a chunk of 0 bytes where 3 are missing");
  BOOST_TEST(end_after(chunk(1, first_chunk | more_chunks, "", 5)) == "a chunk of 0 bytes where 5 are missing");
  BOOST_TEST(end_after(chunk(1, first_chunk, "", 0)) == "a chunk of 0 bytes where 0 are missing");
  BOOST_TEST(end_after(chunk(1, first_chunk, "ab", 1)) == "a chunk of 2 bytes where 1 are missing");
  BOOST_TEST(end_after(chunk(1, first_chunk, "ab", 3)) == "a chunk of 2 bytes where 3 are missing");
  BOOST_TEST(end_after(chunk(1, first_chunk | more_chunks, "ab", 2)) == "a chunk of 2 bytes where 2 are missing");
  frame_header h;
  h.number = 1;
  h.kind = frame_kind::call;
  h.in_lane = lane::bulk;
  h.flags = first_chunk | more_chunks;
  for (std::uint64_t size : {0u, 1u, 7u}) {
    h.size = size;
    BOOST_TEST(end_after(raw_frame(h, std::string(size, 'x'))) == "a first chunk of " + std::to_string(size) + " bytes");
  }
  h.size = troupe::max_frame_size; // the part, without the total
  auto total = std::uint64_t{100};
  BOOST_TEST(end_after(raw_frame(h, text_of(std::as_bytes(std::span{&total, 1}))))
             == "a chunk of 1099511627768 bytes where 100 are missing");
}

BOOST_AUTO_TEST_CASE(a_value_that_claims_to_be_huge_ends_the_link) {
  for (std::uint64_t total : {troupe::max_frame_size + 1, std::uint64_t{1} << 63, std::numeric_limits<std::uint64_t>::max()})
    BOOST_TEST(end_after(chunk(1, first_chunk | more_chunks, "ab", total))
               == "a value that claims " + std::to_string(total) + " bytes, more than the limit of 1099511627776");
}

// Sanitizers end the process when memory can't be had.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
BOOST_AUTO_TEST_CASE(a_value_that_there_is_no_memory_for_ends_the_link) {
  rlimit before;
  BOOST_REQUIRE(::getrlimit(RLIMIT_AS, &before) == 0);
  rlimit small{rlim_t{8} << 30, before.rlim_max}; // whatever the system would promise
  BOOST_REQUIRE(::setrlimit(RLIMIT_AS, &small) == 0);
  BOOST_TEST(end_after(chunk(1, first_chunk | more_chunks, "ab", troupe::max_frame_size))
             == "no memory for a value of 1099511627776 bytes");
  frame_header h;
  h.size = troupe::max_frame_size;
  h.number = 1;
  h.kind = frame_kind::call;
  h.in_lane = lane::ordinary;
  BOOST_TEST(end_after(raw_frame(h, std::string(600000, 'x'))) == "a frame of 1099511627776 bytes, more than travels in one");
  BOOST_REQUIRE(::setrlimit(RLIMIT_AS, &before) == 0);
}
#endif

BOOST_AUTO_TEST_CASE(a_peer_that_claimed_wrongly_may_go_on_over_another_link) {
  talk t;
  auto attach = [&] {
    auto sockets = socket_pair();
    BOOST_REQUIRE(t.a->attach(std::make_unique<pair_stream>(std::move(sockets.first), pair_stream::limits{}), {}, {}) == "");
    return std::make_unique<raw_end>(std::move(sockets.second));
  };
  auto send = [&](const bytes& what) {
    auto raw = attach();
    raw->send(what);
    t.run();
    t.a->detach();
  };
  auto good = chunk(1, first_chunk | more_chunks, "abc", 5);
  send(chunk(1, first_chunk | more_chunks, "abcd", 3)); // another total
  BOOST_TEST(t.watch_a.seen.get().ends.back() == "a chunk of 4 bytes where 3 are missing");
  send(bytes(good.begin(), good.end() - 1));             // not all of it
  send(chunk(1, first_chunk | more_chunks, "xyz", 500)); // and begins anew with another total
  BOOST_TEST(t.watch_a.seen.get().ends.size() == 1u);
  send(chunk(2, later_chunk | more_chunks, std::string(498, 'u'))); // that isn't kept to
  BOOST_TEST(t.watch_a.seen.get().ends.back() == "a chunk of 498 bytes where 497 are missing");
  send(chunk(2, later_chunk, std::string(497, 'u')));
  BOOST_REQUIRE(t.arrived_at_a().size() == 1u);
  BOOST_TEST(t.arrived_at_a()[0].payload == "xyz" + std::string(497, 'u'));
  BOOST_TEST(t.watch_a.seen.get().ends.size() == 2u);
}

BOOST_AUTO_TEST_CASE(a_first_chunk_that_was_cut_within_may_come_with_another_total) {
  talk t;
  auto send = [&](const bytes& what) {
    auto sockets = socket_pair();
    BOOST_REQUIRE(t.a->attach(std::make_unique<pair_stream>(std::move(sockets.first), pair_stream::limits{}), {}, {}) == "");
    raw_end raw{std::move(sockets.second)};
    raw.send(what);
    t.run();
    t.a->detach();
  };
  auto first = chunk(1, first_chunk | more_chunks, "abc", 700);
  send(bytes(first.begin(), first.end() - 1));
  send(chunk(1, first_chunk, "only", 4, frame_kind::reply));
  BOOST_REQUIRE(t.arrived_at_a().size() == 1u);
  BOOST_TEST(t.arrived_at_a()[0].payload == "only");
  BOOST_TEST((t.arrived_at_a()[0].header.kind == frame_kind::reply));
}

BOOST_AUTO_TEST_CASE(a_value_put_together_stays_as_it_came_while_its_owner_is_kept) {
  session_and_raw x;
  std::vector<frame_view> kept;
  x.end.watcher.on_frame = [&](auto&, frame_view& f) { kept.push_back({f.header, f.payload, f.owner, {}, {}, {}}); };
  auto large = pattern(300000, 1);
  for (std::uint64_t i = 0; i < 20; ++i)
    x.raw.send(chunk(2 * i + 1, first_chunk | more_chunks, std::string_view{large}.substr(0, 100000), 300000)
               + chunk(2 * i + 2, later_chunk, std::string_view{large}.substr(100000)));
  BOOST_REQUIRE(x.end.watcher.wait_for_frames(20));
  x.end.thread.settle();
  for (auto& f : kept)
    BOOST_TEST((text_of(f.payload) == large));
}
