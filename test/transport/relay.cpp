#define BOOST_TEST_MODULE relay
#include <boost/test/unit_test.hpp>

#include "transport/encoding.hpp"
#include "transport/sessions.hpp"

#include "troupe/transport/loop.hpp"
#include "troupe/transport/relay.hpp"
#include "troupe/transport/session.hpp"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

using test::bytes;
using test::pattern;
using troupe::byte_buffer;
using troupe::byte_stream;
using troupe::frame_builder;
using troupe::frame_header;
using troupe::frame_kind;
using troupe::frame_view;
using troupe::master_id;
using troupe::proc_id;
using troupe::relays;
using status = troupe::stream_result::status;

namespace {

constexpr std::size_t mb = 1 << 20;
constexpr std::size_t window = mb; // as docs/protocol.md has it

frame_view view_of(const std::shared_ptr<const byte_buffer>& buffer, std::span<const std::byte> payload) {
  frame_view f;
  f.header.kind = frame_kind::relay;
  f.header.size = payload.size();
  f.payload = payload;
  f.owner = buffer;
  return f;
}

frame_view view_of(const bytes& payload) {
  auto buffer = std::make_shared<byte_buffer>(payload.begin(), payload.end());
  return view_of(buffer, *buffer);
}

// A relay frame by hand.
bytes relay_frame(proc_id to, proc_id from, proc_id opener, std::uint64_t number, std::uint8_t operation, const bytes& rest = {}) {
  bytes out;
  auto put = [&](auto x) {
    auto raw = std::as_bytes(std::span{&x, 1});
    out.insert(out.end(), raw.begin(), raw.end());
  };
  put(to);
  put(from);
  put(opener);
  put(number);
  put(operation);
  out.insert(out.end(), rest.begin(), rest.end());
  return out;
}

constexpr std::uint8_t open_op = 1, data_op = 2, taken_op = 3, close_op = 4;
constexpr std::size_t frame_size = 3 * sizeof(proc_id) + 9;

// Who uses a stream: sends what it has to, as the stream takes it, and reads what comes.
struct user {
  std::unique_ptr<byte_stream> stream;
  std::string to_send;
  std::size_t sent = 0;
  std::string got;
  bool reads = true;
  bool ended = false;
  int failed_with = 0;

  user() = default;
  user(user&&) = default;
  ~user() {
    if (stream)
      stream->close();
  }

  void use(troupe::loop& l, std::unique_ptr<byte_stream> s) {
    stream = std::move(s);
    stream->start(
      l, [this] { read(); },
      [this] {
        stream->want_write(false);
        write();
      });
  }

  void read() {
    std::byte space[30000];
    while (reads && stream) {
      auto r = stream->read(space);
      if (r.what == status::would_block)
        return;
      if (r.what == status::ended) {
        ended = true;
        stream->close();
        return;
      }
      BOOST_REQUIRE((r.what == status::moved));
      got += test::text_of(std::span{space}.first(r.bytes));
    }
  }

  void write() {
    while (sent < to_send.size()) {
      iovec pieces[2] = {{to_send.data() + sent, std::min<std::size_t>(100, to_send.size() - sent)}, {}};
      pieces[1] = {to_send.data() + sent + pieces[0].iov_len, to_send.size() - sent - pieces[0].iov_len};
      auto r = stream->write(pieces);
      if (r.what == status::would_block)
        return stream->want_write(true);
      if (r.what == status::failed) {
        failed_with = r.error;
        return;
      }
      sent += r.bytes;
    }
  }

  void send(std::string what) {
    to_send += what;
    write();
  }
};

// The master and three workers, whose frames the loop carries. Links can be missing.
struct cluster {
  troupe::loop loop;
  std::set<std::pair<proc_id, proc_id>> cut;
  std::map<proc_id, std::unique_ptr<relays>> processes;
  std::map<proc_id, user> accepted; // by who accepts
  std::map<proc_id, int> accepts;
  std::atomic<std::size_t> frames{0};
  std::atomic<bool> only_relay_frames{true};

  cluster() {
    for (proc_id id : {1, 2, 3, 4}) {
      relays::settings s;
      s.self = [id] { return id; };
      s.send = [this, id](proc_id to, frame_builder& f) { return send(id, to, f); };
      s.accept = [this, id](std::unique_ptr<byte_stream> stream) {
        ++accepts[id];
        accepted[id].use(loop, std::move(stream));
      };
      s.events = &loop;
      processes[id] = std::make_unique<relays>(std::move(s));
    }
  }
  ~cluster() {
    accepted.clear();
    run();
    BOOST_TEST(only_relay_frames);
  }

  bool send(proc_id from, proc_id to, frame_builder& f) {
    if (processes.count(to) == 0 || cut.count({from, to}) != 0 || (from != master_id && to != master_id))
      return false;
    auto& frame = f.finish();
    only_relay_frames = only_relay_frames && f.kind() == frame_kind::relay;
    ++frames;
    auto buffer = std::make_shared<byte_buffer>(std::move(frame));
    loop.post([this, to, buffer] { processes[to]->handle(view_of(buffer, std::span{*buffer}.subspan(sizeof(frame_header)))); });
    return true;
  }

  void run() {
    while (loop.step()) {
      // again
    }
  }

  void open(user& u, proc_id from, proc_id to) {
    u.use(loop, processes[from]->open(to));
    run();
  }

  std::string why_not_handled(proc_id by, const bytes& payload) {
    try {
      processes[by]->handle(view_of(payload));
      run();
      return {};
    } catch (const troupe::codec_error& e) {
      return e.what();
    }
  }
};

} // namespace

BOOST_AUTO_TEST_CASE(bytes_go_both_ways_and_more_than_the_window) {
  for (auto [from, to] : {std::pair{2, 3}, std::pair{3, 2}, std::pair{1, 2}, std::pair{2, 1}}) { // the master may be an end, too
    cluster c;
    user a;
    c.open(a, from, to);
    BOOST_TEST(c.accepts[to] == 1);
    auto& b = c.accepted[to];
    auto there = pattern(5 * mb + 7, 1), back = pattern(3 * mb + 1, 2);
    a.send(there);
    b.send(back);
    c.run();
    BOOST_TEST((b.got == there));
    BOOST_TEST((a.got == back));
    a.send("more");
    c.run();
    BOOST_TEST((b.got == there + "more"));
    BOOST_TEST(a.stream->kind() == "relay");
    BOOST_TEST(a.stream->peer() == "process " + std::to_string(to) + " by way of process 1");
    BOOST_TEST(!a.ended);
    BOOST_TEST(!b.ended);
    a.stream = nullptr;
  }
}

BOOST_AUTO_TEST_CASE(streams_do_not_mix) {
  cluster c;
  user a[3], b;
  c.open(a[0], 2, 3);
  auto first = std::move(c.accepted[3]);
  c.accepted.erase(3);
  first.stream->start(c.loop, [&] { first.read(); }, [] {});
  c.open(a[1], 2, 3);
  c.open(a[2], 2, 4);
  c.open(b, 3, 2); // numbers are their opener's
  for (int i = 0; i < 3; ++i)
    a[i].send(pattern(300000, static_cast<unsigned>(i)));
  b.send("from 3");
  c.run();
  BOOST_TEST((first.got == pattern(300000, 0)));
  BOOST_TEST((c.accepted[3].got == pattern(300000, 1)));
  BOOST_TEST((c.accepted[4].got == pattern(300000, 2)));
  BOOST_TEST(c.accepted[2].got == "from 3");
  a[0].stream->close();
  c.run();
  BOOST_TEST(first.ended);
  BOOST_TEST(!c.accepted[3].ended);
  BOOST_TEST(!a[1].ended);
}

BOOST_AUTO_TEST_CASE(no_more_than_a_window_is_on_its_way) {
  cluster c;
  user a;
  c.open(a, 2, 3);
  auto& b = c.accepted[3];
  b.reads = false;
  a.to_send = pattern(3 * mb, 1);
  a.write();
  BOOST_TEST(a.sent == window);
  for (int i = 0; i < 100; ++i)
    c.loop.step(); // its reader is called again and again: that isn't asleep
  BOOST_TEST(a.sent == window);
  auto take = [&](std::size_t n) {
    for (std::byte space[1000]; n > 0;) {
      auto r = b.stream->read(std::span{space}.first(std::min(n, sizeof space)));
      BOOST_REQUIRE((r.what == status::moved));
      n -= r.bytes;
    }
  };
  take(200000); // less than a quarter
  for (int i = 0; i < 100; ++i)
    c.loop.step();
  BOOST_TEST(a.sent == window);
  take(100000);
  for (int i = 0; i < 100; ++i)
    c.loop.step();
  BOOST_TEST(a.sent > window);
  BOOST_TEST(a.sent <= window + 300000);
  b.reads = true;
  c.run();
  BOOST_TEST((b.got == pattern(3 * mb, 1).substr(300000)));
}

BOOST_AUTO_TEST_CASE(what_was_sent_before_the_close_is_still_read) {
  for (bool by_opener : {true, false}) {
    cluster c;
    user a;
    c.open(a, 2, 3);
    auto& closer = by_opener ? a : c.accepted[3];
    auto& other = by_opener ? c.accepted[3] : a;
    closer.send(pattern(500000, 1));
    closer.stream->close();
    const auto frames = c.frames.load();
    c.run();
    BOOST_TEST((other.got == pattern(500000, 1)));
    BOOST_TEST(other.ended);
    BOOST_TEST(!closer.ended); // who closes isn't told
    other.stream->close();
    closer.stream->close();
    c.run();
    BOOST_TEST(c.frames - frames <= 500000 / (64 << 10) + 4 + 2); // passed on; and what was read
  }
}

BOOST_AUTO_TEST_CASE(a_stream_that_is_dropped_is_closed) {
  cluster c;
  user a;
  c.open(a, 2, 3);
  std::thread{[&] { a.stream = nullptr; }}.join(); // on any thread
  c.run();
  BOOST_TEST(c.accepted[3].ended);
}

BOOST_AUTO_TEST_CASE(what_comes_for_a_stream_that_has_been_closed_is_dropped) {
  cluster c;
  user a;
  c.open(a, 2, 3);
  auto& b = c.accepted[3];
  b.stream->close();
  a.send("too late"); // it doesn't know yet
  c.run();
  BOOST_TEST(a.ended);
  BOOST_TEST(b.got == "");
  user again;
  c.open(again, 2, 3);
  again.send("new");
  c.run();
  BOOST_TEST(c.accepted[3].got == "new");
}

BOOST_AUTO_TEST_CASE(streams_with_a_process_that_is_forgotten_end) {
  cluster c;
  user to_3, to_4;
  c.open(to_3, 2, 3);
  c.open(to_4, 2, 4);
  c.accepted[3].send("last words");
  c.run();
  c.processes[2]->forget(3);
  c.run();
  BOOST_TEST(to_3.got == "last words");
  BOOST_TEST(to_3.ended);
  BOOST_TEST(!to_4.ended);
  to_4.send("still there");
  c.run();
  BOOST_TEST(c.accepted[4].got == "still there");
  c.processes[3]->forget(2);
  c.processes[3]->forget(77);
  c.run();
  BOOST_TEST(c.accepted[3].ended);
}

BOOST_AUTO_TEST_CASE(a_stream_ends_when_the_master_has_no_link_to_the_other_end) {
  cluster c;
  c.cut.insert({1, 3});
  user a;
  c.open(a, 2, 3);
  BOOST_TEST(a.ended);
  user b;
  c.open(b, 2, 99); // nobody
  BOOST_TEST(b.ended);
  BOOST_TEST(c.accepts[3] == 0);
}

BOOST_AUTO_TEST_CASE(a_stream_ends_when_the_master_loses_the_other_end) {
  cluster c;
  user a;
  c.open(a, 2, 3);
  a.send("1");
  c.run();
  c.cut.insert({1, 3});
  a.send("2");
  c.run();
  BOOST_TEST(a.ended);
  BOOST_TEST(c.accepted[3].got == "1");
}

BOOST_AUTO_TEST_CASE(without_a_link_to_the_master_there_is_no_stream) {
  cluster c;
  c.cut.insert({2, 1});
  user a;
  c.open(a, 2, 3);
  BOOST_TEST(a.ended);
  BOOST_TEST(c.accepts[3] == 0);
  c.cut.clear();
  user b;
  c.open(b, 2, 3);
  c.cut.insert({2, 1});
  b.send("x");
  BOOST_TEST(b.failed_with == ENOTCONN);
}

BOOST_AUTO_TEST_CASE(a_stream_may_outlive_the_table) {
  cluster c;
  user a;
  c.open(a, 2, 3);
  c.processes[2] = nullptr;
  a.stream->close();
  a.stream = nullptr;
  c.run();
  BOOST_TEST(!c.accepted[3].ended);
  c.processes.erase(2);
}

// -- what must not come ---------------------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(a_frame_that_is_cut_off_cannot_be_read) {
  cluster c;
  user a;
  c.open(a, 2, 3);
  for (proc_id by : {1, 3})
    for (std::uint8_t operation : {open_op, data_op, taken_op, close_op}) {
      auto whole = relay_frame(3, 2, 2, 1, operation);
      BOOST_REQUIRE(whole.size() == frame_size);
      for (std::size_t n = 0; n < whole.size(); ++n)
        BOOST_TEST(c.why_not_handled(by, bytes(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(n))) != "", n);
    }
  for (std::size_t n : {0u, 1u, 7u})
    BOOST_TEST(c.why_not_handled(3, relay_frame(3, 2, 2, 1, taken_op, bytes(n))) != "");
  BOOST_TEST(c.why_not_handled(3, relay_frame(3, 2, 2, 1, taken_op, bytes(9))) != "");
  a.send("fine");
  c.run();
  BOOST_TEST(c.accepted[3].got == "fine");
}

BOOST_AUTO_TEST_CASE(operations_that_do_not_exist_are_refused_by_who_gets_them_first) {
  cluster c;
  user a;
  c.open(a, 2, 3);
  for (std::uint8_t operation : {0, 5, 255})
    for (proc_id by : {3, 1})
      for (std::uint64_t number : {1u, 2u}) // a stream that is, and one that isn't
        BOOST_TEST(c.why_not_handled(by, relay_frame(3, 2, 2, number, operation))
                   == "a relay frame with operation " + std::to_string(operation));
}

BOOST_AUTO_TEST_CASE(streams_are_opened_once_and_by_their_opener) {
  cluster c;
  BOOST_TEST(c.why_not_handled(3, relay_frame(3, 2, 4, 1, open_op)) == "a relayed stream that process 2 can't open");
  BOOST_TEST(c.why_not_handled(3, relay_frame(3, 2, 2, 1, open_op)) == "");
  BOOST_TEST(c.accepts[3] == 1);
  BOOST_TEST(c.why_not_handled(3, relay_frame(3, 2, 2, 1, open_op)) == "a relayed stream that process 2 can't open");
  BOOST_TEST(c.accepts[3] == 1);
}

BOOST_AUTO_TEST_CASE(who_sends_more_than_the_window_is_refused) {
  cluster c;
  user a;
  c.open(a, 2, 3);
  c.accepted[3].reads = false;
  const bytes piece(64 << 10);
  std::size_t held = 0;
  std::string why;
  while (why.empty() && held < 10 * mb) {
    try {
      c.processes[3]->handle(view_of(relay_frame(3, 2, 2, 1, data_op, piece)));
      held += piece.size();
    } catch (const troupe::codec_error& e) {
      why = e.what();
    }
  }
  BOOST_TEST(why == "more than a relayed stream's window of 1048576 bytes");
  BOOST_TEST(held >= window);
  BOOST_TEST(held <= 2 * window);
}

BOOST_AUTO_TEST_CASE(absurd_figures_of_what_was_taken_do_no_harm) {
  cluster c;
  user a;
  c.open(a, 2, 3);
  c.accepted[3].reads = false;
  a.to_send = pattern(3 * mb, 1);
  a.write();
  auto all = ~std::uint64_t{0};
  auto raw = std::as_bytes(std::span{&all, 1});
  c.processes[2]->handle(view_of(relay_frame(2, 3, 2, 1, taken_op, bytes(raw.begin(), raw.end()))));
  for (int i = 0; i < 20; ++i)
    c.loop.step();
  BOOST_TEST(a.sent == 2 * window);
}

BOOST_AUTO_TEST_CASE(empty_data_is_nothing) {
  cluster c;
  user a;
  c.open(a, 2, 3);
  for (int i = 0; i < 3; ++i)
    BOOST_TEST(c.why_not_handled(3, relay_frame(3, 2, 2, 1, data_op)) == "");
  a.send("x");
  c.run();
  BOOST_TEST(c.accepted[3].got == "x");
}

BOOST_AUTO_TEST_CASE(a_worker_passes_nothing_on) {
  cluster c;
  BOOST_TEST(c.why_not_handled(2, relay_frame(3, 4, 4, 1, open_op)) == "");
  BOOST_TEST(c.accepts[3] == 0);
  BOOST_TEST(c.accepts[4] == 0);
}

// -- with sessions over it ------------------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(a_session_goes_on_over_relayed_links) {
  cluster c;
  test::recorder watch_a, watch_b;
  auto a = std::make_shared<troupe::session>(c.loop, 3, watch_a, troupe::session::limits{});
  auto b = std::make_shared<troupe::session>(c.loop, 2, watch_b, troupe::session::limits{});
  auto connect = [&] {
    auto received_a = a->received(), received_b = b->received();
    c.accepted.erase(3);
    auto at_a = c.processes[2]->open(3);
    c.run();
    BOOST_REQUIRE(a->attach(std::move(at_a), {}, received_b) == "");
    BOOST_REQUIRE(b->attach(std::move(c.accepted[3].stream), {}, received_a) == "");
  };
  connect();
  for (unsigned i = 0; i < 20; ++i) {
    test::push(*a, frame_kind::call, pattern(i * 60000, i));
    test::push(*b, frame_kind::call, pattern(i * 60000, i + 50));
    if (i % 5 == 4) { // cut anywhere
      for (unsigned n = 0; n < i * 3; ++n)
        c.loop.step();
      a->detach();
      b->detach();
      c.run();
      connect();
    }
  }
  c.run();
  auto got_b = watch_b.seen.get().frames, got_a = watch_a.seen.get().frames;
  BOOST_REQUIRE(got_b.size() == 20u);
  BOOST_REQUIRE(got_a.size() == 20u);
  for (unsigned i = 0; i < 20; ++i) {
    BOOST_TEST((got_b[i].payload == pattern(i * 60000, i)));
    BOOST_TEST((got_a[i].payload == pattern(i * 60000, i + 50)));
  }
  b->close();
  c.run();
  BOOST_TEST(watch_a.seen.get().ends.size() == 1u);
  a->close();
  c.run();
}

BOOST_AUTO_TEST_CASE(threads_write_to_a_stream_while_the_loop_reads_it) {
  cluster c;
  test::recorder watch_a, watch_b;
  auto a = std::make_shared<troupe::session>(c.loop, 3, watch_a, troupe::session::limits{});
  auto b = std::make_shared<troupe::session>(c.loop, 2, watch_b, troupe::session::limits{});
  auto at_a = c.processes[2]->open(3);
  c.run();
  BOOST_REQUIRE(a->attach(std::move(at_a), {}, {}) == "");
  BOOST_REQUIRE(b->attach(std::move(c.accepted[3].stream), {}, {}) == "");
  std::atomic<int> left{4};
  std::vector<std::thread> senders;
  for (unsigned t = 0; t < 4; ++t)
    senders.emplace_back([&, t] {
      for (unsigned i = 0; i < 200; ++i)
        test::push(t % 2 == 0 ? *a : *b, frame_kind::call, pattern(i * 100, i));
      --left;
    });
  while (left > 0)
    c.loop.step();
  for (auto& s : senders)
    s.join();
  c.run();
  BOOST_TEST(watch_b.seen.get().frames.size() == 400u);
  BOOST_TEST(watch_a.seen.get().frames.size() == 400u);
  a->close();
  b->close();
  c.run();
}
