#define BOOST_TEST_MODULE session_ends
#include <boost/test/unit_test.hpp>

#include "transport/sessions.hpp"

#include <atomic>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

using namespace test;
using troupe::frame_header;
using troupe::frame_kind;
using troupe::frame_view;
using troupe::session;
using troupe::urgency;

namespace {

// What link_ended says after two good frames and then these bytes. Nothing after them may arrive.
std::string end_after(bytes wrong) {
  session_and_raw x;
  x.raw.send(raw_frame(frame_kind::call, 1, "a") + raw_frame(frame_kind::call, 2, "b") + std::move(wrong)
             + raw_frame(frame_kind::call, 3, "never"));
  auto why = x.end.watcher.wait_for_end();
  push(*x.end.talk, frame_kind::call, "dropped");
  BOOST_TEST(split(x.raw.receive_all()).empty()); // we are told by the end of the stream, and get nothing more
  x.end.thread.settle();
  auto seen = x.end.watcher.seen.get();
  BOOST_TEST(seen.frames.size() == 2u);
  BOOST_TEST(seen.ends.size() == 1u);
  BOOST_TEST(seen.violated);
  return why;
}

bytes changed_frame(auto change) {
  auto out = raw_frame(frame_kind::call, 3, "c");
  frame_header h;
  std::memcpy(&h, out.data(), sizeof h);
  change(h);
  troupe::seal(h);
  std::memcpy(out.data(), &h, sizeof h);
  return out;
}

} // namespace

BOOST_AUTO_TEST_CASE(a_gap_ends_the_link) {
  for (std::uint64_t number : {std::uint64_t{4}, std::uint64_t{77}, ~std::uint64_t{0}})
    BOOST_TEST(end_after(raw_frame(frame_kind::call, number, "c")) == "frame " + std::to_string(number) + " of lane 1 came after frame 2");
  BOOST_TEST(end_after(raw_frame(frame_kind::members, 3, "")) == "frame 3 of lane 0 came after frame 0");
  BOOST_TEST(end_after(changed_frame([](auto& h) { h.in_lane = troupe::lane::bulk; })) == "frame 3 of lane 2 came after frame 0");
}

BOOST_AUTO_TEST_CASE(a_frame_that_has_come_before_is_dropped) {
  session_and_raw x{{.read = 11}};
  auto first = raw_frame(frame_kind::call, 1, "a"), second = raw_frame(frame_kind::call, 2, pattern(5000, 2));
  auto other = raw_frame(frame_kind::members, 1, "m");
  x.raw.send(first + first + second + first + other + second + other + raw_frame(frame_kind::call, 2, "as long as it likes")
             + raw_frame(frame_kind::call, 3, "c"));
  BOOST_REQUIRE(x.end.watcher.wait_for_frames(4));
  x.end.thread.settle();
  auto seen = x.end.watcher.seen.get();
  BOOST_REQUIRE(seen.frames.size() == 4u);
  BOOST_TEST(seen.frames[0].payload == "a");
  BOOST_TEST((seen.frames[1].payload == pattern(5000, 2)));
  BOOST_TEST(seen.frames[2].payload == "m");
  BOOST_TEST(seen.frames[3].payload == "c");
  BOOST_TEST(seen.ends.empty());
  BOOST_TEST(x.end.talk->count().frames_received == 4u);
}

BOOST_AUTO_TEST_CASE(a_header_that_is_none_ends_the_link) {
  BOOST_TEST(contains(end_after(changed_frame([](auto& h) { h.in_lane = static_cast<troupe::lane>(9); })), "lane 9"));
  BOOST_TEST(contains(end_after(changed_frame([](auto& h) { h.flags = 0x80; })), "flags 128"));
  BOOST_TEST(contains(end_after(changed_frame([](auto& h) { h.size = std::uint64_t{1} << 63; })), "claims 9223372036854775808 bytes"));
  BOOST_TEST(contains(end_after(changed_frame([](auto& h) { h.size = ~std::uint64_t{0}; })), "claims 18446744073709551615 bytes"));
  BOOST_TEST(contains(end_after(changed_frame([](auto& h) { h.number = 0; })), "without a number in lane 1"));
  std::string junk = "GET / HTTP/1.1\r\nHost: nobody.example\r\n\r\n";
  BOOST_TEST(end_after(bytes(reinterpret_cast<std::byte*>(junk.data()), reinterpret_cast<std::byte*>(junk.data()) + junk.size()))
             == "bytes that are no frame's header");
  auto unsealed = raw_frame(frame_kind::call, 3, "c");
  unsealed[8] ^= std::byte{1};
  BOOST_TEST(end_after(unsealed) == "bytes that are no frame's header");
}

BOOST_AUTO_TEST_CASE(a_peer_that_closes_ends_the_link_and_is_told_apart_by_where) {
  auto whole = many_frames(3);
  auto end_of = [&](std::size_t n) {
    session_and_raw x;
    x.raw.send(std::span{whole}.first(n));
    x.raw.close();
    auto why = x.end.watcher.wait_for_end();
    BOOST_TEST(!x.end.watcher.seen.get().violated);
    BOOST_TEST(!x.end.talk->attached());
    return why;
  };
  BOOST_TEST(end_of(0) == "the connection was closed");
  BOOST_TEST(end_of(whole.size()) == "the connection was closed");
  BOOST_TEST(end_of(1) == "the connection was closed within a frame");
  BOOST_TEST(end_of(31) == "the connection was closed within a frame");
  BOOST_TEST(end_of(32) == "the connection was closed within a frame");
  BOOST_TEST(end_of(whole.size() - 1) == "the connection was closed within a frame");
}

BOOST_AUTO_TEST_CASE(a_stream_that_breaks_ends_the_link_with_the_systems_text) {
  auto sockets = socket_pair();
  end_point x;
  auto stream = std::make_unique<pair_stream>(std::move(sockets.first), pair_stream::limits{});
  stream->fail_reads_with = ECONNRESET;
  x.thread.run([&] { x.talk->attach(std::move(stream), {}, {}); });
  raw_end raw{std::move(sockets.second)};
  raw.send(from_hex("00"));
  BOOST_TEST(x.watcher.wait_for_end() == "Connection reset by peer");
  BOOST_TEST(!x.watcher.seen.get().violated);
}

BOOST_AUTO_TEST_CASE(sending_to_a_peer_that_has_gone_ends_the_link_once) {
  session_and_raw x;
  x.raw.close();
  for (int i = 0; i < 100; ++i)
    push(*x.end.talk, frame_kind::call, "x");
  BOOST_TEST(contains(x.end.watcher.wait_for_end(), "closed"));
  x.end.thread.settle();
  BOOST_TEST(x.end.watcher.seen.get().ends.size() == 1u);
}

BOOST_AUTO_TEST_CASE(an_observer_that_throws_ends_the_link_with_its_text) {
  session_and_raw x;
  x.end.watcher.on_frame = [](auto&, frame_view& f) {
    if (f.header.number == 2)
      throw troupe::codec_error{"no such thing"};
  };
  x.raw.send(many_frames(5));
  BOOST_TEST(x.end.watcher.wait_for_end() == "a call frame that can't be read: no such thing");
  x.end.thread.settle();
  BOOST_TEST(x.end.watcher.seen.get().frames.size() == 1u);
}

BOOST_AUTO_TEST_CASE(nothing_is_received_after_close_not_even_what_came_already) {
  session_and_raw x;
  x.end.watcher.on_frame = [](session& l, frame_view& f) {
    if (f.header.number == 3)
      l.close();
  };
  x.raw.send(many_frames(10));
  BOOST_TEST(x.raw.receive_all().empty());
  x.end.thread.settle();
  auto seen = x.end.watcher.seen.get();
  BOOST_TEST(seen.frames.size() == 3u);
  BOOST_TEST(seen.ends.empty()); // who closes isn't told
}

BOOST_AUTO_TEST_CASE(what_was_pushed_before_close_is_sent_what_is_pushed_after_is_not) {
  session_and_raw x;
  x.end.thread.run([&] {
    push(*x.end.talk, frame_kind::call, "before", urgency::batched);
    x.end.talk->close();
    push(*x.end.talk, frame_kind::call, "after", urgency::now);
    push(*x.end.talk, frame_kind::call, "after", urgency::batched);
    x.end.talk->close();
  });
  auto frames = split(x.raw.receive_all());
  BOOST_REQUIRE(frames.size() == 1u);
  BOOST_TEST(frames[0].payload == "before");
  x.end.thread.settle();
  BOOST_TEST(x.end.watcher.seen.get().ends.empty());
}

BOOST_AUTO_TEST_CASE(a_link_may_be_closed_while_threads_push) {
  for (int round = 0; round < 20; ++round) {
    auto sockets = socket_pair();
    end_point x;
    BOOST_REQUIRE(x.attach(std::move(sockets.first)) == "");
    raw_end raw{std::move(sockets.second)};
    std::atomic<bool> stop{false};
    std::vector<std::thread> senders;
    for (int t = 0; t < 3; ++t)
      senders.emplace_back([&] {
        while (!stop)
          push(*x.talk, frame_kind::call, "some payload");
      });
    auto in = raw.receive(5000);
    x.thread.run([&] { x.talk->close(); });
    auto frames = split(in + raw.receive_all());
    stop = true;
    for (auto& s : senders)
      s.join();
    for (std::size_t i = 0; i + 1 < frames.size(); ++i) // the last may be cut off
      BOOST_REQUIRE((frames[i].header.number == i + 1 && frames[i].payload == "some payload"));
  }
  BOOST_TEST(!pair_stream::overlapping_writes);
}

BOOST_AUTO_TEST_CASE(a_session_that_nobody_holds_any_more_goes_without_a_word) {
  auto sockets = socket_pair();
  recorder watcher;
  loop_thread thread;
  raw_end raw{std::move(sockets.second)};
  auto talk = std::make_shared<session>(thread.get(), 2, watcher, session::limits{});
  thread.run([&] { talk->attach(std::make_unique<pair_stream>(std::move(sockets.first), pair_stream::limits{}), {}, {}); });
  thread.run([&] { talk.reset(); });
  raw.send(many_frames(3));
  thread.settle();
  auto seen = watcher.seen.get();
  BOOST_TEST(seen.frames.empty());
  BOOST_TEST(seen.ends.empty());
}
