#define BOOST_TEST_MODULE session
#include <boost/test/unit_test.hpp>

#include "transport/sessions.hpp"

#include <array>
#include <atomic>
#include <cstring>
#include <future>
#include <string>
#include <thread>
#include <vector>

using namespace test;
using troupe::frame_header;
using troupe::frame_kind;
using troupe::frame_view;
using troupe::session;
using troupe::urgency;

// -- receiving ------------------------------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(frames_that_come_in_single_bytes_arrive_whole_and_in_order) {
  session_and_raw x{{.read = 1}};
  x.raw.send(many_frames(60));
  BOOST_REQUIRE(x.end.watcher.wait_for_frames(60));
  check_many_frames(x.end.watcher.seen.get().frames, 60);
  BOOST_TEST(x.end.talk->count().frames_received == 60u);
  BOOST_TEST(x.end.talk->count().bytes_received == many_frames(60).size());
}

BOOST_AUTO_TEST_CASE(frames_that_come_together_arrive_one_by_one) {
  session_and_raw x;
  x.raw.send(many_frames(500));
  BOOST_REQUIRE(x.end.watcher.wait_for_frames(500));
  check_many_frames(x.end.watcher.seen.get().frames, 500);
}

BOOST_AUTO_TEST_CASE(frames_that_come_in_odd_pieces_arrive_whole_and_in_order) {
  for (std::size_t piece : {31u, 32u, 33u, 57u, 1000u}) {
    session_and_raw x{{.read = piece}};
    x.raw.send(many_frames(300));
    BOOST_REQUIRE(x.end.watcher.wait_for_frames(300));
    check_many_frames(x.end.watcher.seen.get().frames, 300);
  }
}

BOOST_AUTO_TEST_CASE(what_came_with_the_handshake_is_received_first) {
  auto all = many_frames(10);
  for (std::size_t n : {std::size_t{0}, std::size_t{1}, std::size_t{40}, all.size() - 1, all.size()}) {
    session_and_raw x{{}, bytes(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(n))};
    x.raw.send(std::span{all}.subspan(n));
    BOOST_REQUIRE(x.end.watcher.wait_for_frames(10));
    check_many_frames(x.end.watcher.seen.get().frames, 10);
  }
}

BOOST_AUTO_TEST_CASE(more_than_a_buffer_full_can_come_with_the_handshake) {
  auto all = many_frames(20000);
  BOOST_REQUIRE(all.size() > std::size_t{1} << 20);
  session_and_raw x{{}, bytes(all.begin(), all.end() - 5)};
  x.raw.send(std::span{all}.last(5));
  BOOST_REQUIRE(x.end.watcher.wait_for_frames(20000));
  BOOST_TEST(x.end.watcher.seen.get().frames.back().header.number == 20000u);
}

BOOST_AUTO_TEST_CASE(a_payload_stays_as_it_came_while_its_owner_is_kept) {
  session_and_raw x;
  std::vector<frame_view> kept;
  x.end.watcher.on_frame = [&](auto&, frame_view& f) {
    if (f.header.number % 50 == 1)
      kept.push_back({f.header, f.payload, f.owner, {}, {}, {}});
  };
  for (unsigned i = 1; i <= 1000; ++i)
    x.raw.send(raw_frame(frame_kind::call, i, pattern(3000, i)));
  BOOST_REQUIRE(x.end.watcher.wait_for_frames(1000));
  BOOST_REQUIRE(kept.size() == 20u);
  for (auto& f : kept)
    BOOST_TEST((std::string{reinterpret_cast<const char*>(f.payload.data()), f.payload.size()}
                == pattern(3000, static_cast<unsigned>(f.header.number))));
}

BOOST_AUTO_TEST_CASE(another_thread_may_read_a_payload_while_more_is_received) {
  session_and_raw x;
  watched<std::vector<frame_view>> handed_over;
  std::atomic<bool> all_right{true};
  x.end.watcher.on_frame = [&](auto&, frame_view& f) {
    handed_over.change([&](auto& v) { v.push_back({f.header, f.payload, f.owner, {}, {}, {}}); });
    f.owner = nullptr;
  };
  std::thread reader{[&] {
    for (unsigned done = 0; done < 2000;) {
      std::vector<frame_view> batch;
      if (!handed_over.wait([](auto& v) { return !v.empty(); }))
        return;
      handed_over.change([&](auto& v) { batch.swap(v); });
      for (auto& f : batch)
        all_right = all_right && std::memcmp(f.payload.data(), pattern(500, static_cast<unsigned>(f.header.number)).data(), 500) == 0;
      done += static_cast<unsigned>(batch.size());
    }
  }};
  for (unsigned i = 1; i <= 2000; ++i)
    x.raw.send(raw_frame(frame_kind::call, i, pattern(500, i)));
  reader.join();
  BOOST_TEST(all_right);
}

// -- sending --------------------------------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(on_the_wire_each_lane_counts_from_one_and_tells_what_it_has_received) {
  session_and_raw x;
  push(*x.end.talk, frame_kind::call, "a");
  push(*x.end.talk, frame_kind::members, "");
  push(*x.end.talk, frame_kind::reply, "bc");
  auto first = raw_frame(frame_kind::call, 1, "a") + raw_frame(frame_kind::members, 1, "") + raw_frame(frame_kind::reply, 2, "bc");
  BOOST_TEST(to_hex(x.raw.receive(first.size())) == to_hex(first));
  x.raw.send(raw_frame(frame_kind::call, 1, "x") + raw_frame(frame_kind::call, 2, "y"));
  BOOST_REQUIRE(x.end.watcher.wait_for_frames(2));
  push(*x.end.talk, frame_kind::call, "");
  push(*x.end.talk, frame_kind::members, "");
  auto second = raw_frame(frame_kind::call, 3, "", 2) + raw_frame(frame_kind::members, 2, "", 0);
  BOOST_TEST(to_hex(x.raw.receive(second.size())) == to_hex(second));
  BOOST_TEST(x.end.talk->count().frames_sent == 5u); // the status is none
  BOOST_TEST(x.end.talk->count().bytes_sent == 5 * 32 + 3u);
}

BOOST_AUTO_TEST_CASE(a_link_begins_with_a_status) {
  auto sockets = socket_pair();
  end_point x;
  raw_end raw{std::move(sockets.first)};
  BOOST_TEST(x.attach(std::move(sockets.second), {}, many_frames(3)) == "");
  std::uint64_t numbers[5] = {};
  auto payload = text_of(std::as_bytes(std::span{numbers}));
  BOOST_TEST(to_hex(raw.receive(status_size)) == to_hex(raw_frame(frame_kind::status, 0, payload)));
  x.thread.run([&] { x.talk->send_status(); });
  numbers[1] = 3; // in the ordinary lane
  payload = text_of(std::as_bytes(std::span{numbers}));
  BOOST_TEST(to_hex(raw.receive(status_size)) == to_hex(raw_frame(frame_kind::status, 0, payload)));
}

BOOST_AUTO_TEST_CASE(batched_frames_leave_without_being_asked_for) {
  session_and_raw x;
  for (int i = 0; i < 100; ++i)
    push(*x.end.talk, frame_kind::call, std::to_string(i), urgency::batched);
  auto frames = split(x.raw.receive(100 * 32 + 10 + 90 * 2));
  BOOST_REQUIRE(frames.size() == 100u);
  for (std::size_t i = 0; i < 100; ++i)
    BOOST_TEST(frames[i].payload == std::to_string(i));
}

BOOST_AUTO_TEST_CASE(an_urgent_frame_takes_the_batched_ones_along_in_order) {
  session_and_raw x;
  std::promise<void> go_on;
  x.end.thread.get().post([future = go_on.get_future().share()] { future.wait(); }); // the loop can't help
  push(*x.end.talk, frame_kind::call, "1", urgency::batched);
  push(*x.end.talk, frame_kind::call, "2", urgency::batched);
  push(*x.end.talk, frame_kind::call, "3", urgency::now);
  auto frames = split(x.raw.receive(99));
  go_on.set_value();
  BOOST_REQUIRE(frames.size() == 3u);
  BOOST_TEST(frames[2].payload == "3");
}

BOOST_AUTO_TEST_CASE(frames_that_leave_in_small_pieces_arrive_whole_and_in_order) {
  for (std::size_t piece : {1u, 7u, 33u}) {
    two_ends x{{.read = 100, .write = piece}};
    for (unsigned i = 0; i < 40; ++i)
      push(*x.a.talk, frame_kind::call, pattern(i * 10, i), i % 3 == 0 ? urgency::batched : urgency::now);
    BOOST_REQUIRE(x.b.watcher.wait_for_frames(40));
    auto frames = x.b.watcher.seen.get().frames;
    for (unsigned i = 0; i < 40; ++i)
      BOOST_TEST((frames[i].payload == pattern(i * 10, i)));
  }
}

BOOST_AUTO_TEST_CASE(frames_of_eight_threads_stay_whole_and_each_threads_in_order) { // RC-14, RC-15
  constexpr unsigned threads = 8, each = 1500;
  pair_stream::overlapping_writes = false;
  two_ends x{{.read = 10000, .write = 5000}};
  std::vector<std::thread> senders;
  for (unsigned t = 0; t < threads; ++t)
    senders.emplace_back([&, t] {
      for (unsigned i = 0; i < each; ++i) {
        auto payload = pattern(8 + (i % 40) * (i % 40 == 39 ? 600 : 3), t);
        std::memcpy(payload.data(), &t, 4);
        std::memcpy(payload.data() + 4, &i, 4);
        push(*x.a.talk, i % 50 == 0 ? frame_kind::members : frame_kind::call, payload, i % 3 == 0 ? urgency::now : urgency::batched);
      }
    });
  for (auto& s : senders)
    s.join();
  BOOST_REQUIRE(x.b.watcher.wait_for_frames(threads * each));
  std::array<std::array<unsigned, threads>, troupe::lane_count> next{};
  std::array<std::uint64_t, troupe::lane_count> last{};
  for (auto& f : x.b.watcher.seen.get().frames) {
    auto lane = static_cast<std::size_t>(f.header.in_lane);
    BOOST_REQUIRE(f.header.number == ++last[lane]);
    unsigned t = 0, i = 0;
    std::memcpy(&t, f.payload.data(), 4);
    std::memcpy(&i, f.payload.data() + 4, 4);
    BOOST_REQUIRE(t < threads);
    BOOST_REQUIRE(i >= next[lane][t]); // within a lane
    next[lane][t] = i + 1;
    BOOST_REQUIRE((f.payload.substr(8) == pattern(8 + (i % 40) * (i % 40 == 39 ? 600 : 3), t).substr(8)));
  }
  BOOST_TEST(last[1] == threads * (each - each / 50));
  BOOST_TEST(last[0] == threads * (each / 50));
  BOOST_TEST(!pair_stream::overlapping_writes);
}

BOOST_AUTO_TEST_CASE(sending_both_ways_at_once_does_not_lock_up) {
  two_ends x;
  auto send = [](session& l) {
    for (unsigned i = 0; i < 200; ++i)
      push(l, frame_kind::call, pattern(30000, i));
  };
  std::thread other{[&] { send(*x.b.talk); }};
  send(*x.a.talk);
  other.join();
  BOOST_REQUIRE(x.a.watcher.wait_for_frames(200));
  BOOST_REQUIRE(x.b.watcher.wait_for_frames(200));
  BOOST_TEST((x.a.watcher.seen.get().frames[199].payload == pattern(30000, 199)));
}

BOOST_AUTO_TEST_CASE(the_control_lane_overtakes_what_waits_behind_a_full_socket) {
  session_and_raw x;
  constexpr unsigned ordinary = 200;
  for (unsigned i = 0; i < ordinary; ++i)
    push(*x.end.talk, frame_kind::call, pattern(50000, i)); // 10 MB that nobody reads yet
  x.end.thread.settle();
  push(*x.end.talk, frame_kind::members, "beat");
  push(*x.end.talk, frame_kind::call, "last");
  auto frames = split(x.raw.receive(ordinary * 50032 + 36 + 36));
  BOOST_REQUIRE(frames.size() == ordinary + 2);
  std::size_t beat = 0;
  unsigned next = 0;
  for (std::size_t i = 0; i < frames.size(); ++i) {
    if (frames[i].header.kind == frame_kind::members) {
      beat = i;
      BOOST_TEST(frames[i].payload == "beat");
      BOOST_TEST(frames[i].header.number == 1u);
    } else {
      BOOST_TEST(frames[i].header.number == next + 1);
      if (next < ordinary)
        BOOST_TEST((frames[i].payload == pattern(50000, next)));
      ++next;
    }
  }
  // what the socket holds and one flight more may be before it
  BOOST_TEST(beat < 20u);
}

BOOST_AUTO_TEST_CASE(a_large_frame_and_small_ones_come_through_together) {
  two_ends x;
  auto large = pattern(64 << 20, 1);
  push(*x.a.talk, frame_kind::call, "before");
  std::thread others{[&] {
    for (int i = 0; i < 500; ++i)
      push(*x.a.talk, frame_kind::message, "small", i % 2 == 0 ? urgency::now : urgency::batched);
  }};
  push(*x.a.talk, frame_kind::call, large);
  push(*x.a.talk, frame_kind::members, "beat");
  push(*x.a.talk, frame_kind::call, "after");
  others.join();
  BOOST_REQUIRE(x.b.watcher.wait_for_frames(504));
  int small = 0;
  std::string order;
  for (auto& f : x.b.watcher.seen.get().frames) {
    if (f.header.kind == frame_kind::message)
      small += f.payload == "small";
    else if (f.header.kind == frame_kind::call)
      order += f.payload.size() < 10 ? " " + f.payload : f.payload == large ? " large" : " corrupt";
  }
  BOOST_TEST(small == 500);
  BOOST_TEST(order == " before large after");
}
