#pragma once

#include "transport/encoding.hpp"
#include "transport/loop_thread.hpp"
#include "transport/pair_stream.hpp"

#include "troupe/transport/session.hpp"

#include <boost/test/unit_test.hpp>

#include <cstring>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

/// What the tests of sessions share.
namespace test {

struct arrived {
  troupe::frame_header header;
  std::string payload;
};

struct record {
  std::vector<arrived> frames;
  std::vector<std::string> ends;
  bool violated = false; // by the peer, as the last end says
};

inline std::string text_of(std::span<const std::byte> bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

/// Writes down what a session tells, after having done what a test wants done with it.
class recorder : public troupe::session::observer {
public:
  watched<record> seen;
  std::function<void(troupe::session&, troupe::frame_view&)> on_frame;
  std::function<std::unique_ptr<troupe::landing>(std::span<const std::byte> beginning, std::uint64_t total)> on_begin;

  std::unique_ptr<troupe::landing> frame_begins(troupe::session&, const troupe::frame_header&, std::span<const std::byte> beginning,
                                                std::uint64_t total) override {
    return on_begin ? on_begin(beginning, total) : nullptr;
  }

  void frame_arrived(troupe::session& from, troupe::frame_view& f) override {
    if (on_frame)
      on_frame(from, f);
    arrived a{f.header, text_of(f.payload)};
    seen.change([&](auto& r) { r.frames.push_back(std::move(a)); });
  }

  void link_ended(troupe::session&, const std::string& why, bool violated) override {
    seen.change([&](auto& r) {
      r.ends.push_back(why);
      r.violated = violated;
    });
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

/// A session with a link, on a loop of its own.
struct end_point {
  recorder watcher;
  loop_thread thread;
  std::shared_ptr<troupe::session> talk;

  explicit end_point(troupe::session::limits most = {}) : talk(std::make_shared<troupe::session>(thread.get(), 2, watcher, most)) {}
  ~end_point() {
    thread.run([&] { talk->close(); });
  }

  std::string attach(troupe::unique_fd socket, pair_stream::limits limits = {}, const bytes& leftover = {},
                     const troupe::session::numbers& received_by_peer = {}) {
    return thread.run([&] { return talk->attach(std::make_unique<pair_stream>(std::move(socket), limits), leftover, received_by_peer); });
  }
};

/// A status frame on the wire: what a session has received and dealt with.
inline constexpr std::size_t status_size = sizeof(troupe::frame_header) + 5 * sizeof(std::uint64_t);

/// A session whose peer is the test. The status that it begins with has been read.
struct session_and_raw {
  raw_end raw;
  end_point end;

  explicit session_and_raw(pair_stream::limits limits = {}, const bytes& leftover = {}, troupe::session::limits most = {})
    : session_and_raw(socket_pair(), limits, leftover, most) {}

private:
  session_and_raw(std::pair<troupe::unique_fd, troupe::unique_fd> sockets, pair_stream::limits limits, const bytes& leftover,
                  troupe::session::limits most)
    : raw(std::move(sockets.first)), end(most) {
    BOOST_REQUIRE(end.attach(std::move(sockets.second), limits, leftover) == "");
    raw.receive(status_size);
  }
};

struct two_ends {
  end_point a, b;

  explicit two_ends(pair_stream::limits limits = {}, troupe::session::limits most = {}) : a(most), b(most) {
    auto sockets = socket_pair();
    BOOST_REQUIRE(a.attach(std::move(sockets.first), limits) == "");
    BOOST_REQUIRE(b.attach(std::move(sockets.second), limits) == "");
  }
};

/// Two sessions and the links between them, on one loop that the test drives.
struct talk {
  troupe::loop loop{[] { return troupe::loop::clock::now(); }}; // driven by `step` alone
  recorder watch_a, watch_b;
  std::shared_ptr<troupe::session> a, b;

  explicit talk(troupe::session::limits most = {})
    : a(std::make_shared<troupe::session>(loop, 2, watch_a, most)), b(std::make_shared<troupe::session>(loop, 1, watch_b, most)) {}
  ~talk() {
    a->close();
    b->close();
  }

  void connect(pair_stream::limits limits_a = {}, pair_stream::limits limits_b = {}) {
    auto received_a = a->received();
    auto received_b = b->received();
    connect_as(received_a, received_b, limits_a, limits_b);
  }

  /// `received`: what each says that it has.
  void connect_as(const troupe::session::numbers& received_a, const troupe::session::numbers& received_b, pair_stream::limits limits_a = {},
                  pair_stream::limits limits_b = {}) {
    auto sockets = socket_pair();
    BOOST_REQUIRE(a->attach(std::make_unique<pair_stream>(std::move(sockets.first), limits_a), {}, received_b) == "");
    BOOST_REQUIRE(b->attach(std::make_unique<pair_stream>(std::move(sockets.second), limits_b), {}, received_a) == "");
  }

  void cut() {
    a->detach();
    b->detach();
  }

  /// Until nothing happens any more.
  void run() {
    while (loop.step()) {
      // again
    }
  }

  /// Both tell each other what they have received.
  void exchange_status() {
    a->send_status();
    b->send_status();
    run();
  }

  std::vector<arrived> arrived_at_a() { return watch_a.seen.get().frames; }
  std::vector<arrived> arrived_at_b() { return watch_b.seen.get().frames; }
};

/// The bytes of a header and a payload, not as frame_builder makes them.
inline bytes raw_frame(troupe::frame_header h, std::string_view payload) {
  troupe::seal(h);
  auto header = std::as_bytes(std::span{&h, 1});
  auto body = std::as_bytes(std::span{payload});
  bytes out(header.begin(), header.end());
  out.insert(out.end(), body.begin(), body.end());
  return out;
}

inline bytes raw_frame(troupe::frame_kind kind, std::uint64_t number, std::string_view payload, std::uint64_t acknowledged = 0) {
  troupe::frame_header h;
  h.size = payload.size();
  h.number = number;
  h.acknowledged = acknowledged;
  h.kind = kind;
  h.in_lane = kind < troupe::frame_kind::call ? troupe::lane::control : troupe::lane::ordinary;
  return raw_frame(h, payload);
}

inline bytes operator+(bytes a, const bytes& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

inline troupe::byte_buffer frame(troupe::frame_kind kind, std::string_view payload) {
  troupe::frame_builder f;
  f.start(kind).out().raw(payload.data(), payload.size());
  return std::move(f.finish());
}

inline troupe::session::outcome push(troupe::session& s, troupe::frame_kind kind, std::string_view payload,
                                     troupe::urgency u = troupe::urgency::now, troupe::flow f = troupe::flow::none, bool may_wait = false) {
  auto out = frame(kind, payload);
  return s.push(out, u, f, may_wait);
}

/// Text in which no piece looks like another.
inline std::string pattern(std::size_t size, unsigned seed) {
  std::string out(size, '\0');
  std::uint64_t word = (seed + 1) * 0x9e3779b97f4a7c15;
  for (std::size_t i = 0; i < size; i += sizeof word) {
    word = word * 6364136223846793005 + 1442695040888963407;
    std::memcpy(out.data() + i, &word, std::min(sizeof word, size - i));
  }
  return out;
}

inline std::vector<arrived> split_all(const bytes& in) {
  std::vector<arrived> out;
  std::size_t at = 0;
  while (in.size() - at >= sizeof(troupe::frame_header)) {
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

/// The numbered frames.
inline std::vector<arrived> split(const bytes& in) {
  auto out = split_all(in);
  std::erase_if(out, [](auto& a) { return a.header.number == 0; });
  return out;
}

/// Frames of many sizes, some without payload, as the raw end would send them.
inline bytes many_frames(std::size_t n) {
  bytes out;
  for (std::size_t i = 1; i <= n; ++i) {
    auto next = raw_frame(troupe::frame_kind::call, i, pattern(i * 7 % 50, static_cast<unsigned>(i)));
    out.insert(out.end(), next.begin(), next.end());
  }
  return out;
}

inline void check_many_frames(const std::vector<arrived>& frames, std::size_t n) {
  BOOST_REQUIRE(frames.size() == n);
  for (std::size_t i = 1; i <= n; ++i) {
    BOOST_TEST(frames[i - 1].header.number == i);
    BOOST_TEST((frames[i - 1].payload == pattern(i * 7 % 50, static_cast<unsigned>(i))));
  }
}

} // namespace test
