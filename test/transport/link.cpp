#define BOOST_TEST_MODULE link
#include <boost/test/unit_test.hpp>

#include "transport/encoding.hpp"
#include "transport/loop_thread.hpp"
#include "transport/pair_stream.hpp"

#include "troupe/transport/link.hpp"

#include <array>
#include <atomic>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

using namespace std::string_literals;
using test::bytes;
using test::contains;
using test::from_hex;
using test::pair_stream;
using troupe::byte_buffer;
using troupe::frame_builder;
using troupe::frame_header;
using troupe::frame_kind;
using troupe::frame_view;
using troupe::urgency;

namespace {

struct arrived {
  frame_header header;
  std::string payload;
};

struct record {
  std::vector<arrived> frames;
  std::vector<std::string> ends;
};

// Writes down what a link tells, after having done what a test wants done with it.
class recorder : public troupe::link::observer {
public:
  test::watched<record> seen;
  std::function<void(troupe::link&, frame_view&)> on_frame;

  void frame_arrived(troupe::link& from, frame_view& f) override {
    if (on_frame)
      on_frame(from, f);
    arrived a{f.header, {reinterpret_cast<const char*>(f.payload.data()), f.payload.size()}};
    seen.change([&](auto& r) { r.frames.push_back(std::move(a)); });
  }

  void link_ended(troupe::link&, const std::string& why) override {
    seen.change([&](auto& r) { r.ends.push_back(why); });
  }

  bool wait_for_frames(std::size_t n) {
    return seen.wait([n](auto& r) { return r.frames.size() >= n; });
  }

  std::string wait_for_end() {
    seen.wait([](auto& r) { return !r.ends.empty(); });
    auto r = seen.get();
    return r.ends.size() == 1 ? r.ends.front() : std::to_string(r.ends.size()) + " ends";
  }
};

// A link on a loop of its own.
struct end_point {
  recorder watcher;
  test::loop_thread thread;
  std::shared_ptr<troupe::link> link;

  explicit end_point(troupe::unique_fd socket, pair_stream::limits limits = {}, bytes leftover = {}) {
    auto stream = std::make_unique<pair_stream>(std::move(socket), limits);
    link = std::make_shared<troupe::link>(thread.get(), std::move(stream), watcher);
    thread.run([&, leftover = std::move(leftover)] { link->start(leftover); });
  }
  ~end_point() {
    thread.run([&] { link->close(); });
  }
};

struct link_and_raw {
  test::raw_end raw;
  end_point end;

  explicit link_and_raw(pair_stream::limits limits = {}, bytes leftover = {})
    : link_and_raw(test::socket_pair(), limits, std::move(leftover)) {
  }

private:
  link_and_raw(std::pair<troupe::unique_fd, troupe::unique_fd> sockets, pair_stream::limits limits, bytes leftover)
    : raw(std::move(sockets.first)), end(std::move(sockets.second), limits, std::move(leftover)) {
  }
};

struct two_links {
  end_point a, b;

  explicit two_links(pair_stream::limits limits = {}) : two_links(test::socket_pair(), limits) {
  }

private:
  two_links(std::pair<troupe::unique_fd, troupe::unique_fd> sockets, pair_stream::limits limits)
    : a(std::move(sockets.first), limits), b(std::move(sockets.second), limits) {
  }
};

// The bytes of a frame as its header and payload say, not as frame_builder makes them.
bytes raw_frame(frame_kind kind, std::uint64_t number, std::string_view payload) {
  frame_header h;
  h.size = payload.size();
  h.number = number;
  h.kind = kind;
  h.in_lane = kind < frame_kind::call ? troupe::lane::control : troupe::lane::ordinary;
  bytes out(sizeof h + payload.size());
  std::memcpy(out.data(), &h, sizeof h);
  std::memcpy(out.data() + sizeof h, payload.data(), payload.size());
  return out;
}

bytes operator+(bytes a, const bytes& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

byte_buffer frame(frame_kind kind, std::string_view payload) {
  frame_builder f;
  f.start(kind).out().raw(payload.data(), payload.size());
  return std::move(f.finish());
}

void push(troupe::link& l, frame_kind kind, std::string_view payload, urgency u = urgency::now) {
  auto f = frame(kind, payload);
  l.push(f, u);
}

std::string pattern(std::size_t size, unsigned seed) {
  std::string out(size, '\0');
  for (std::size_t i = 0; i < size; ++i)
    out[i] = static_cast<char>((i * 31 + (i >> 8) + seed) & 0xff);
  return out;
}

std::vector<arrived> split(const bytes& in) {
  std::vector<arrived> out;
  std::size_t at = 0;
  while (in.size() - at >= sizeof(frame_header)) {
    arrived a;
    std::memcpy(&a.header, in.data() + at, sizeof a.header);
    at += sizeof a.header;
    auto size = std::min<std::size_t>(a.header.size, in.size() - at);
    a.payload.assign(reinterpret_cast<const char*>(in.data()) + at, size);
    at += size;
    out.push_back(std::move(a));
  }
  return out;
}

// Frames of many sizes, some without payload, as the raw end would send them.
bytes many_frames(std::size_t n) {
  bytes out;
  for (std::size_t i = 1; i <= n; ++i) {
    auto next = raw_frame(frame_kind::call, i, pattern(i * 7 % 50, static_cast<unsigned>(i)));
    out.insert(out.end(), next.begin(), next.end());
  }
  return out;
}

void check_many_frames(const std::vector<arrived>& frames, std::size_t n) {
  BOOST_REQUIRE(frames.size() == n);
  for (std::size_t i = 1; i <= n; ++i) {
    BOOST_TEST(frames[i - 1].header.number == i);
    BOOST_TEST((frames[i - 1].payload == pattern(i * 7 % 50, static_cast<unsigned>(i))));
  }
}

} // namespace

// -- receiving ------------------------------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(frames_that_come_in_single_bytes_arrive_whole_and_in_order) {
  link_and_raw x{{.read = 1}};
  x.raw.send(many_frames(60));
  BOOST_REQUIRE(x.end.watcher.wait_for_frames(60));
  check_many_frames(x.end.watcher.seen.get().frames, 60);
  BOOST_TEST(x.end.link->frames_received() == 60u);
  BOOST_TEST(x.end.link->bytes_received() == many_frames(60).size());
}

BOOST_AUTO_TEST_CASE(frames_that_come_together_arrive_one_by_one) {
  link_and_raw x;
  x.raw.send(many_frames(500));
  BOOST_REQUIRE(x.end.watcher.wait_for_frames(500));
  check_many_frames(x.end.watcher.seen.get().frames, 500);
}

BOOST_AUTO_TEST_CASE(frames_that_come_in_odd_pieces_arrive_whole_and_in_order) {
  for (std::size_t piece : {31u, 32u, 33u, 57u, 1000u}) {
    link_and_raw x{{.read = piece}};
    x.raw.send(many_frames(300));
    BOOST_REQUIRE(x.end.watcher.wait_for_frames(300));
    check_many_frames(x.end.watcher.seen.get().frames, 300);
  }
}

BOOST_AUTO_TEST_CASE(what_came_with_the_handshake_is_received_first) {
  auto all = many_frames(10);
  for (std::size_t n : {std::size_t{0}, std::size_t{1}, std::size_t{40}, all.size() - 1, all.size()}) {
    link_and_raw x{{}, bytes(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(n))};
    x.raw.send(std::span{all}.subspan(n));
    BOOST_REQUIRE(x.end.watcher.wait_for_frames(10));
    check_many_frames(x.end.watcher.seen.get().frames, 10);
  }
}

BOOST_AUTO_TEST_CASE(more_than_a_buffer_full_can_come_with_the_handshake) {
  auto all = many_frames(20000);
  BOOST_REQUIRE(all.size() > std::size_t{1} << 20);
  link_and_raw x{{}, bytes(all.begin(), all.end() - 5)};
  x.raw.send(std::span{all}.last(5));
  BOOST_REQUIRE(x.end.watcher.wait_for_frames(20000));
  BOOST_TEST(x.end.watcher.seen.get().frames.back().header.number == 20000u);
}

BOOST_AUTO_TEST_CASE(a_payload_stays_as_it_came_while_its_owner_is_kept) {
  link_and_raw x;
  std::vector<frame_view> kept;
  x.end.watcher.on_frame = [&](auto&, frame_view& f) {
    if (f.header.number % 50 == 1)
      kept.push_back(f);
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
  link_and_raw x;
  test::watched<std::vector<frame_view>> handed_over;
  std::atomic<bool> all_right{true};
  x.end.watcher.on_frame = [&](auto&, frame_view& f) {
    handed_over.change([&](auto& v) { v.push_back(f); });
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
  link_and_raw x;
  push(*x.end.link, frame_kind::call, "a");
  push(*x.end.link, frame_kind::heartbeat, "");
  push(*x.end.link, frame_kind::reply, "bc");
  auto first = "0100000000000000 0100000000000000 0000000000000000 20 01 0000 00000000 61"
               "0000000000000000 0100000000000000 0000000000000000 03 00 0000 00000000"
               "0200000000000000 0200000000000000 0000000000000000 21 01 0000 00000000 6263";
  BOOST_TEST(test::to_hex(x.raw.receive(32 * 3 + 3)) == test::to_hex(from_hex(first)));
  x.raw.send(raw_frame(frame_kind::call, 1, "x") + raw_frame(frame_kind::call, 2, "y"));
  BOOST_REQUIRE(x.end.watcher.wait_for_frames(2));
  push(*x.end.link, frame_kind::call, "");
  push(*x.end.link, frame_kind::goodbye, "");
  auto second = "0000000000000000 0300000000000000 0200000000000000 20 01 0000 00000000"
                "0000000000000000 0200000000000000 0000000000000000 04 00 0000 00000000";
  BOOST_TEST(test::to_hex(x.raw.receive(64)) == test::to_hex(from_hex(second)));
  BOOST_TEST(x.end.link->frames_sent() == 5u);
  BOOST_TEST(x.end.link->bytes_sent() == 5 * 32 + 3u);
}

BOOST_AUTO_TEST_CASE(batched_frames_leave_without_being_asked_for) {
  link_and_raw x;
  for (int i = 0; i < 100; ++i)
    push(*x.end.link, frame_kind::call, std::to_string(i), urgency::batched);
  auto frames = split(x.raw.receive(100 * 32 + 10 + 90 * 2));
  BOOST_REQUIRE(frames.size() == 100u);
  for (std::size_t i = 0; i < 100; ++i)
    BOOST_TEST(frames[i].payload == std::to_string(i));
}

BOOST_AUTO_TEST_CASE(an_urgent_frame_takes_the_batched_ones_along_in_order) {
  link_and_raw x;
  std::promise<void> go_on;
  x.end.thread.get().post([future = go_on.get_future().share()] { future.wait(); }); // the loop can't help
  push(*x.end.link, frame_kind::call, "1", urgency::batched);
  push(*x.end.link, frame_kind::call, "2", urgency::batched);
  push(*x.end.link, frame_kind::call, "3", urgency::now);
  auto frames = split(x.raw.receive(99));
  go_on.set_value();
  BOOST_REQUIRE(frames.size() == 3u);
  BOOST_TEST(frames[2].payload == "3");
}

BOOST_AUTO_TEST_CASE(frames_that_leave_in_small_pieces_arrive_whole_and_in_order) {
  for (std::size_t piece : {1u, 7u, 33u}) {
    two_links x{{.read = 100, .write = piece}};
    for (unsigned i = 0; i < 40; ++i)
      push(*x.a.link, frame_kind::call, pattern(i * 10, i), i % 3 == 0 ? urgency::batched : urgency::now);
    BOOST_REQUIRE(x.b.watcher.wait_for_frames(40));
    auto frames = x.b.watcher.seen.get().frames;
    for (unsigned i = 0; i < 40; ++i)
      BOOST_TEST((frames[i].payload == pattern(i * 10, i)));
  }
}

BOOST_AUTO_TEST_CASE(frames_of_eight_threads_stay_whole_and_each_threads_in_order) { // RC-14, RC-15
  constexpr unsigned threads = 8, each = 1500;
  pair_stream::overlapping_writes = false;
  two_links x{{.read = 10000, .write = 5000}};
  std::vector<std::thread> senders;
  for (unsigned t = 0; t < threads; ++t)
    senders.emplace_back([&, t] {
      for (unsigned i = 0; i < each; ++i) {
        auto payload = pattern(8 + (i % 40) * (i % 40 == 39 ? 600 : 3), t);
        std::memcpy(payload.data(), &t, 4);
        std::memcpy(payload.data() + 4, &i, 4);
        push(*x.a.link, i % 50 == 0 ? frame_kind::members : frame_kind::call, payload, i % 3 == 0 ? urgency::now : urgency::batched);
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
  two_links x;
  auto send = [](troupe::link& l) {
    for (unsigned i = 0; i < 200; ++i)
      push(l, frame_kind::call, pattern(30000, i));
  };
  std::thread other{[&] { send(*x.b.link); }};
  send(*x.a.link);
  other.join();
  BOOST_REQUIRE(x.a.watcher.wait_for_frames(200));
  BOOST_REQUIRE(x.b.watcher.wait_for_frames(200));
  BOOST_TEST((x.a.watcher.seen.get().frames[199].payload == pattern(30000, 199)));
}

BOOST_AUTO_TEST_CASE(the_control_lane_overtakes_what_waits_behind_a_full_socket) {
  link_and_raw x;
  constexpr unsigned ordinary = 200;
  for (unsigned i = 0; i < ordinary; ++i)
    push(*x.end.link, frame_kind::call, pattern(50000, i)); // 10 MB that nobody reads yet
  x.end.thread.settle();
  push(*x.end.link, frame_kind::heartbeat, "beat");
  push(*x.end.link, frame_kind::call, "last");
  auto frames = split(x.raw.receive(ordinary * 50032 + 36 + 36));
  BOOST_REQUIRE(frames.size() == ordinary + 2);
  std::size_t beat = 0;
  unsigned next = 0;
  for (std::size_t i = 0; i < frames.size(); ++i) {
    if (frames[i].header.kind == frame_kind::heartbeat) {
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
  two_links x;
  auto large = pattern(64 << 20, 1);
  push(*x.a.link, frame_kind::call, "before");
  std::thread others{[&] {
    for (int i = 0; i < 500; ++i)
      push(*x.a.link, frame_kind::message, "small", i % 2 == 0 ? urgency::now : urgency::batched);
  }};
  push(*x.a.link, frame_kind::reply, large);
  push(*x.a.link, frame_kind::heartbeat, "beat");
  push(*x.a.link, frame_kind::call, "after");
  others.join();
  BOOST_REQUIRE(x.b.watcher.wait_for_frames(504));
  int small = 0;
  std::string order;
  for (auto& f : x.b.watcher.seen.get().frames) {
    if (f.header.kind == frame_kind::message)
      small += f.payload == "small";
    else if (f.header.kind == frame_kind::reply)
      order += f.payload == large ? " large" : " corrupt";
    else if (f.header.kind == frame_kind::call)
      order += " " + f.payload;
  }
  BOOST_TEST(small == 500);
  BOOST_TEST(order == " before large after");
}

// -- the end ------------------------------------------------------------------------------------------------------------

namespace {

// What link_ended says after two good frames and then these bytes. Nothing after them may arrive.
std::string end_after(bytes wrong) {
  link_and_raw x;
  x.raw.send(raw_frame(frame_kind::call, 1, "a") + raw_frame(frame_kind::call, 2, "b") + std::move(wrong)
             + raw_frame(frame_kind::call, 3, "never"));
  auto why = x.end.watcher.wait_for_end();
  push(*x.end.link, frame_kind::call, "dropped");
  BOOST_TEST(split(x.raw.receive_all()).empty()); // we are told by the end of the stream, and get nothing more
  x.end.thread.settle();
  auto seen = x.end.watcher.seen.get();
  BOOST_TEST(seen.frames.size() == 2u);
  BOOST_TEST(seen.ends.size() == 1u);
  return why;
}

bytes changed_frame(auto change) {
  auto out = raw_frame(frame_kind::call, 3, "c");
  frame_header h;
  std::memcpy(&h, out.data(), sizeof h);
  change(h);
  std::memcpy(out.data(), &h, sizeof h);
  return out;
}

} // namespace

BOOST_AUTO_TEST_CASE(a_frame_out_of_turn_ends_the_link) {
  for (std::uint64_t number : {0u, 1u, 2u, 4u, 77u})
    BOOST_TEST(end_after(raw_frame(frame_kind::call, number, "c"))
               == "frame " + std::to_string(number) + " of lane 1 came after frame 2");
  BOOST_TEST(end_after(raw_frame(frame_kind::heartbeat, 3, "")) == "frame 3 of lane 0 came after frame 0");
}

BOOST_AUTO_TEST_CASE(a_header_that_is_none_ends_the_link) {
  BOOST_TEST(contains(end_after(changed_frame([](auto& h) { h.in_lane = static_cast<troupe::lane>(9); })), "lane 9"));
  BOOST_TEST(contains(end_after(changed_frame([](auto& h) { h.flags = 4; })), "flags 4"));
  BOOST_TEST(contains(end_after(changed_frame([](auto& h) { h.stream = 4; })), "stream 4"));
  BOOST_TEST(contains(end_after(changed_frame([](auto& h) { h.size = std::uint64_t{1} << 63; })), "claims 9223372036854775808 bytes"));
  BOOST_TEST(contains(end_after(changed_frame([](auto& h) { h.size = ~std::uint64_t{0}; })), "claims 18446744073709551615 bytes"));
  std::string junk = "GET / HTTP/1.1\r\nHost: nobody.example\r\n\r\n";
  BOOST_TEST(end_after(bytes(reinterpret_cast<std::byte*>(junk.data()), reinterpret_cast<std::byte*>(junk.data()) + junk.size())) != "");
}

BOOST_AUTO_TEST_CASE(a_peer_that_closes_ends_the_link_and_is_told_apart_by_where) {
  auto whole = many_frames(3);
  auto end_of = [&](std::size_t n) {
    link_and_raw x;
    x.raw.send(std::span{whole}.first(n));
    x.raw.close();
    return x.end.watcher.wait_for_end();
  };
  BOOST_TEST(end_of(0) == "the connection was closed");
  BOOST_TEST(end_of(whole.size()) == "the connection was closed");
  BOOST_TEST(end_of(1) == "the connection was closed within a frame");
  BOOST_TEST(end_of(31) == "the connection was closed within a frame");
  BOOST_TEST(end_of(32) == "the connection was closed within a frame");
  BOOST_TEST(end_of(whole.size() - 1) == "the connection was closed within a frame");
}

BOOST_AUTO_TEST_CASE(a_stream_that_breaks_ends_the_link_with_the_systems_text) {
  auto sockets = test::socket_pair();
  recorder watcher;
  test::loop_thread thread;
  auto stream = std::make_unique<pair_stream>(std::move(sockets.first), pair_stream::limits{});
  stream->fail_reads_with = ECONNRESET;
  auto link = std::make_shared<troupe::link>(thread.get(), std::move(stream), watcher);
  thread.run([&] { link->start({}); });
  test::raw_end raw{std::move(sockets.second)};
  raw.send(from_hex("00"));
  BOOST_TEST(watcher.wait_for_end() == "Connection reset by peer");
  thread.run([&] { link->close(); });
}

BOOST_AUTO_TEST_CASE(sending_to_a_peer_that_has_gone_ends_the_link_once) {
  link_and_raw x;
  x.raw.close();
  for (int i = 0; i < 100; ++i)
    push(*x.end.link, frame_kind::call, "x");
  BOOST_TEST(contains(x.end.watcher.wait_for_end(), "closed"));
  x.end.thread.settle();
  BOOST_TEST(x.end.watcher.seen.get().ends.size() == 1u);
}

BOOST_AUTO_TEST_CASE(an_observer_that_throws_ends_the_link_with_its_text) {
  link_and_raw x;
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
  link_and_raw x;
  x.end.watcher.on_frame = [](troupe::link& l, frame_view& f) {
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
  link_and_raw x;
  x.end.thread.run([&] {
    push(*x.end.link, frame_kind::call, "before", urgency::batched);
    x.end.link->close();
    push(*x.end.link, frame_kind::call, "after", urgency::now);
    push(*x.end.link, frame_kind::call, "after", urgency::batched);
    x.end.link->close();
  });
  auto frames = split(x.raw.receive_all());
  BOOST_REQUIRE(frames.size() == 1u);
  BOOST_TEST(frames[0].payload == "before");
  x.end.thread.settle();
  BOOST_TEST(x.end.watcher.seen.get().ends.empty());
}

BOOST_AUTO_TEST_CASE(a_link_may_be_closed_while_threads_push) {
  for (int round = 0; round < 20; ++round) {
    auto sockets = test::socket_pair();
    end_point x{std::move(sockets.first)};
    test::raw_end raw{std::move(sockets.second)};
    std::atomic<bool> stop{false};
    std::vector<std::thread> senders;
    for (int t = 0; t < 3; ++t)
      senders.emplace_back([&] {
        while (!stop)
          push(*x.link, frame_kind::call, "some payload");
      });
    auto in = raw.receive(5000);
    x.thread.run([&] { x.link->close(); });
    auto frames = split(in + raw.receive_all());
    stop = true;
    for (auto& s : senders)
      s.join();
    for (std::size_t i = 0; i + 1 < frames.size(); ++i) // the last may be cut off
      BOOST_REQUIRE((frames[i].header.number == i + 1 && frames[i].payload == "some payload"));
  }
  BOOST_TEST(!pair_stream::overlapping_writes);
}

BOOST_AUTO_TEST_CASE(a_link_that_nobody_holds_any_more_goes_without_a_word) {
  auto sockets = test::socket_pair();
  recorder watcher;
  test::loop_thread thread;
  test::raw_end raw{std::move(sockets.second)};
  auto link = std::make_shared<troupe::link>(thread.get(), std::make_unique<pair_stream>(std::move(sockets.first), pair_stream::limits{}),
                                             watcher);
  thread.run([&] { link->start({}); });
  thread.run([&] { link.reset(); });
  raw.send(many_frames(3));
  thread.settle();
  auto seen = watcher.seen.get();
  BOOST_TEST(seen.frames.empty());
  BOOST_TEST(seen.ends.empty());
}
