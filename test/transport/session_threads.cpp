#define BOOST_TEST_MODULE session_threads
#include <boost/test/unit_test.hpp>

#include "transport/sessions.hpp"

#include <array>
#include <atomic>
#include <cstring>
#include <future>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

using namespace test;
using troupe::flow;
using troupe::frame_kind;
using troupe::session;
using troupe::urgency;

namespace {

// A stream that lets a test in while a thread writes.
class hooked_stream final : public troupe::byte_stream {
public:
  explicit hooked_stream(troupe::unique_fd socket) : inner_(std::move(socket), {}) {}

  std::function<void(std::span<const iovec>)> before_write, after_write;

  void start(troupe::loop& l, std::function<void()> readable, std::function<void()> writable) override {
    inner_.start(l, std::move(readable), std::move(writable));
  }
  troupe::stream_result read(std::span<std::byte> into) override { return inner_.read(into); }
  troupe::stream_result write(std::span<const iovec> pieces) override {
    if (before_write)
      before_write(pieces);
    auto result = inner_.write(pieces);
    if (after_write)
      after_write(pieces);
    return result;
  }
  void want_write(bool on) override { inner_.want_write(on); }
  void close() override { inner_.close(); }
  std::string kind() const override { return "hooked"; }
  std::string peer() const override { return "other end"; }

private:
  pair_stream inner_;
};

// Two sessions on loops of their own, whose link a test cuts and opens again.
struct two_parties {
  end_point a, b;

  explicit two_parties(session::limits most = {}) : a(most), b(most) {}

  void connect(pair_stream::limits limits_a = {}, pair_stream::limits limits_b = {}) {
    auto leave = [](end_point& e) {
      return e.thread.run([&] {
        e.talk->detach();
        return e.talk->received();
      });
    };
    auto received_a = leave(a);
    auto received_b = leave(b);
    auto sockets = socket_pair();
    BOOST_REQUIRE(a.attach(std::move(sockets.first), limits_a, {}, received_b) == "");
    BOOST_REQUIRE(b.attach(std::move(sockets.second), limits_b, {}, received_a) == "");
  }

  void exchange_status() {
    for (int i = 0; i < 2; ++i)
      for (auto e : {&a, &b})
        e->thread.run([&] { e->talk->send_status(); });
  }
};

struct tag {
  std::uint64_t receiver;
  unsigned thread, place;
};

std::string tagged(unsigned thread, unsigned place, std::size_t size) {
  tag t{thread, thread, place};
  auto text = pattern(std::max(size, sizeof t), thread * 100000 + place);
  std::memcpy(text.data(), &t, sizeof t);
  return text;
}

tag tag_of(const std::string& payload) {
  tag t;
  std::memcpy(&t, payload.data(), sizeof t);
  return t;
}

std::size_t size_of(unsigned thread, unsigned place) {
  return place % 100 == 50 + thread ? (3 << 19) + place : place % 20 == 7 ? 40000 : 16 + place % 300;
}

// Each thread's messages go to an actor of its own: all come once, whole, in order.
void check_tagged(const std::vector<arrived>& got, unsigned threads, unsigned each) {
  BOOST_REQUIRE(got.size() == threads * each);
  std::vector<unsigned> next(threads);
  std::array<std::uint64_t, troupe::lane_count> last{};
  for (auto& f : got) {
    auto t = tag_of(f.payload);
    BOOST_REQUIRE(t.thread < threads);
    BOOST_REQUIRE(t.place == next[t.thread]);
    ++next[t.thread];
    BOOST_REQUIRE((f.payload == tagged(t.thread, t.place, size_of(t.thread, t.place))));
    auto& in_lane = last[static_cast<std::size_t>(f.header.in_lane)];
    BOOST_REQUIRE(f.header.number > in_lane);
    in_lane = f.header.number;
  }
}

} // namespace

BOOST_AUTO_TEST_CASE(eight_threads_push_both_ways_while_links_are_cut) {
  constexpr unsigned threads = 4, each = 200; // each way
  pair_stream::overlapping_writes = false;
  two_parties x;
  std::atomic<unsigned> left{2 * threads};
  std::vector<std::thread> senders;
  for (auto from : {&x.a, &x.b})
    for (unsigned t = 0; t < threads; ++t)
      senders.emplace_back([&, from, t] {
        for (unsigned i = 0; i < each; ++i) {
          push(*from->talk, frame_kind::message, tagged(t, i, size_of(t, i)), i % 3 == 0 ? urgency::now : urgency::batched, flow::messages);
          static_cast<void>(from->talk->count());
          static_cast<void>(from->talk->kind());
          static_cast<void>(from->talk->attached());
        }
        --left;
      });
  std::mt19937 random{7};
  auto up_to = [&](std::size_t n) { return std::uniform_int_distribution<std::size_t>{0, n}(random); };
  do {
    x.connect({1 + up_to(100000), 1 + up_to(100000), up_to(500000)}, {1 + up_to(100000), 1 + up_to(100000), up_to(500000)});
    for (auto n = up_to(20); n > 0; --n)
      x.a.thread.settle();
  } while (left > 0);
  for (auto& s : senders)
    s.join();
  for (int i = 0; i < 5; ++i)
    x.connect({.delivered = up_to(500000)}, {.delivered = up_to(500000)});
  x.connect();
  BOOST_REQUIRE(x.b.watcher.wait_for_frames(threads * each));
  BOOST_REQUIRE(x.a.watcher.wait_for_frames(threads * each));
  check_tagged(x.b.watcher.seen.get().frames, threads, each);
  check_tagged(x.a.watcher.seen.get().frames, threads, each);
  BOOST_TEST(!pair_stream::overlapping_writes);
  BOOST_TEST(!x.a.watcher.seen.get().violated);
  BOOST_TEST(!x.b.watcher.seen.get().violated);
  // what has been told may have to be read, first by the one, then by the other
  for (int i = 0; i < 1000 && (x.a.talk->count().in_transit > 0 || x.b.talk->count().in_transit > 0); ++i)
    x.exchange_status();
  BOOST_TEST(x.a.talk->count().in_transit == 0u);
  BOOST_TEST(x.b.talk->count().in_transit == 0u);
}

BOOST_AUTO_TEST_CASE(threads_that_wait_for_room_all_get_it_while_links_are_cut) {
  constexpr unsigned threads = 8, each = 150;
  constexpr std::size_t largest = 41000;
  const session::limits most{.window = 100000, .transit = 400000};
  two_parties x{most};
  std::atomic<unsigned> left{threads};
  std::atomic<bool> too_much{false};
  std::vector<std::thread> senders;
  for (unsigned t = 0; t < threads; ++t)
    senders.emplace_back([&, t] {
      for (unsigned i = 0; i < each; ++i) {
        auto payload = tagged(t, i, size_of(7, i) % largest);
        while (push(*x.a.talk, frame_kind::message, payload, urgency::batched, flow::messages, true) == session::outcome::full) {
          auto ready = std::make_shared<std::promise<void>>();
          x.a.talk->when_room(flow::messages, [ready] { ready->set_value(); });
          if (ready->get_future().wait_for(deadline) != std::future_status::ready)
            return;
        }
        auto c = x.a.talk->count();
        // one frame is taken as long as there is any room; and what tells about links
        too_much = too_much || c.unconsumed > most.window + threads * (largest + 256) || c.in_transit > most.transit + 2 * largest;
      }
      --left;
    });
  for (int i = 0; left > 0 && i < 20; ++i) {
    x.connect({.delivered = 20000u * static_cast<unsigned>(i)}, {.delivered = 500u * static_cast<unsigned>(i)});
    x.a.thread.settle();
    x.b.thread.settle();
  }
  x.connect();
  // as a beat does: what is left below the amounts that are told at once
  auto deadline_at = std::chrono::steady_clock::now() + deadline;
  while (left > 0 && std::chrono::steady_clock::now() < deadline_at)
    x.exchange_status();
  for (auto& s : senders)
    s.join();
  BOOST_TEST(left == 0u);
  BOOST_TEST(!too_much);
  BOOST_REQUIRE(x.b.watcher.wait_for_frames(threads * each));
  std::vector<unsigned> next(threads);
  for (auto& f : x.b.watcher.seen.get().frames) {
    auto t = tag_of(f.payload);
    BOOST_REQUIRE(t.place == next[t.thread]++);
  }
  BOOST_TEST(x.b.watcher.seen.get().frames.size() == threads * each);
}

BOOST_AUTO_TEST_CASE(what_is_acknowledged_before_its_writer_knows_that_it_is_written_is_released) {
  end_point x{{.transit = 1000}};
  auto sockets = socket_pair();
  raw_end raw{std::move(sockets.second)};
  auto stream = std::make_unique<hooked_stream>(std::move(sockets.first));
  std::promise<void> written, go_on;
  std::thread::id writer;
  stream->after_write = [&](auto) {
    if (std::this_thread::get_id() != writer)
      return;
    written.set_value();
    go_on.get_future().wait();
  };
  x.thread.run([&] { return x.talk->attach(std::move(stream), {}, {}); });
  raw.receive(status_size);
  std::thread pusher{[&] {
    writer = std::this_thread::get_id();
    push(*x.talk, frame_kind::call, pattern(2000, 1));
  }};
  written.get_future().wait();
  BOOST_TEST(raw.receive(2032).size() == 2032u);
  std::promise<void> room;
  x.talk->when_room(flow::calls, [&] { room.set_value(); });
  raw.send(raw_frame(frame_kind::reply, 1, "done", 1));
  BOOST_REQUIRE(x.watcher.wait_for_frames(1));
  x.thread.settle();
  go_on.set_value();
  pusher.join();
  BOOST_TEST((room.get_future().wait_for(deadline) == std::future_status::ready));
  BOOST_TEST(x.talk->count().in_transit == 0u);
}

BOOST_AUTO_TEST_CASE(what_was_pushed_before_close_is_sent_by_the_thread_that_is_writing) {
  end_point x{{.transit = 1}};
  auto sockets = socket_pair();
  raw_end raw{std::move(sockets.second)};
  auto stream = std::make_unique<hooked_stream>(std::move(sockets.first));
  std::promise<void> writing, go_on;
  std::atomic<std::thread::id> writer;
  stream->before_write = [&, first = true](auto) mutable {
    if (std::this_thread::get_id() == writer && std::exchange(first, false)) {
      writing.set_value();
      go_on.get_future().wait();
    }
  };
  x.thread.run([&] { return x.talk->attach(std::move(stream), {}, {}); });
  std::thread pusher{[&] {
    writer = std::this_thread::get_id();
    push(*x.talk, frame_kind::call, "first");
  }};
  writing.get_future().wait();
  x.thread.get().post([&] {
    push(*x.talk, frame_kind::call, "last");
    x.talk->close();
  });
  while (push(*x.talk, frame_kind::call, "later", urgency::now, flow::none, true) == session::outcome::full)
    std::this_thread::yield(); // until it has begun to close
  go_on.set_value();
  auto frames = split(raw.receive_all());
  pusher.join();
  BOOST_REQUIRE(frames.size() == 2u);
  BOOST_TEST(frames[0].payload == "first");
  BOOST_TEST(frames[1].payload == "last");
}

BOOST_AUTO_TEST_CASE(a_thread_may_still_be_writing_to_a_link_when_the_next_is_in_use) {
  end_point x;
  auto sockets = socket_pair();
  auto stream = std::make_unique<hooked_stream>(std::move(sockets.first));
  std::promise<void> writing, go_on;
  std::atomic<std::thread::id> writer;
  std::string seen_by_writer;
  stream->before_write = [&](std::span<const iovec> pieces) {
    if (std::this_thread::get_id() != writer)
      return;
    writing.set_value();
    go_on.get_future().wait();
    for (auto& p : pieces)
      seen_by_writer.append(static_cast<const char*>(p.iov_base), p.iov_len);
  };
  x.thread.run([&] { return x.talk->attach(std::move(stream), {}, {}); });
  std::thread pusher{[&] {
    writer = std::this_thread::get_id();
    push(*x.talk, frame_kind::call, "first");
  }};
  writing.get_future().wait();
  auto next = socket_pair();
  raw_end raw{std::move(next.second)};
  BOOST_REQUIRE(x.attach(std::move(next.first)) == "");
  for (unsigned i = 0; i < 300; ++i)
    push(*x.talk, frame_kind::call, pattern(1000, i), urgency::batched);
  x.thread.settle();
  go_on.set_value();
  pusher.join();
  BOOST_TEST(seen_by_writer == text_of(raw_frame(frame_kind::call, 1, "first")));
  auto frames = split(raw.receive(status_size + 37 + 300 * 1032));
  BOOST_REQUIRE(frames.size() == 301u);
  BOOST_TEST(frames[0].payload == "first");
  for (unsigned i = 0; i < 300; ++i)
    BOOST_TEST((frames[i + 1].payload == pattern(1000, i)));
}
