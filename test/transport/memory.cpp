#define BOOST_TEST_MODULE memory
#include <boost/test/unit_test.hpp>

#include "troupe/transport/error.hpp"
#include "troupe/transport/frame.hpp"
#include "troupe/transport/handshake.hpp"
#include "troupe/transport/memory.hpp"

#include <cstring>
#include <optional>
#include <system_error>

using namespace std::chrono_literals;
using troupe::byte_stream;
using troupe::dial_result;
using troupe::memory_network;
using status = troupe::stream_result::status;

namespace {

// A stream's end whose user reads what comes as long as it wants to.
struct end {
  std::unique_ptr<byte_stream> stream;
  std::vector<std::byte> got;
  std::size_t reads = 0;
  std::size_t writable = 0;
  bool ended = false;
  bool reads_on = true;

  void start(troupe::loop& l) {
    stream->start(l, [this] { read(); }, [this] { ++writable; });
  }

  void read() {
    std::byte space[1 << 16];
    while (reads_on && stream) {
      auto r = stream->read(space);
      ++reads;
      if (r.what != status::moved) {
        ended = ended || r.what == status::ended;
        return;
      }
      got.insert(got.end(), space, space + r.bytes);
    }
  }

  troupe::stream_result write(std::span<const std::byte> bytes) {
    iovec piece{const_cast<std::byte*>(bytes.data()), bytes.size()};
    return stream->write({&piece, 1});
  }
};

std::vector<std::byte> numbers(std::size_t n) {
  std::vector<std::byte> out(n);
  for (std::size_t i = 0; i < n; ++i)
    out[i] = static_cast<std::byte>(i * 7);
  return out;
}

memory_network::settings seed(std::uint64_t n) {
  memory_network::settings s;
  s.seed = n;
  return s;
}

// Two hosts, "a" and "b", which listens, on one loop.
struct two_hosts {
  explicit two_hosts(memory_network::settings s = {}) : net(s) {
    a = net.make("a");
    b = net.make("b");
    where = b->listen(loop, {"b", 0}, [this](std::unique_ptr<byte_stream> x) { theirs.stream = std::move(x); });
  }

  ~two_hosts() {
    mine.stream.reset();
    theirs.stream.reset();
  }

  void run(troupe::loop::clock::duration time) {
    const auto until = now + time;
    for (auto next = loop.next_timer(); next && *next <= until; next = loop.next_timer()) {
      now = std::max(now, *next);
      while (loop.step())
        continue;
    }
    now = until;
  }

  dial_result dial(std::chrono::milliseconds limit = 10s) {
    std::optional<dial_result> out;
    const auto start = now;
    a->dial(loop, where, limit, [&](dial_result r) {
      BOOST_TEST(!out);
      out = std::move(r);
      took = now - start;
    });
    run(limit);
    BOOST_REQUIRE(out);
    return std::move(*out);
  }

  void connect() {
    mine.stream = dial().stream;
    BOOST_REQUIRE(mine.stream);
    BOOST_REQUIRE(theirs.stream);
    mine.start(loop);
    theirs.start(loop);
  }

  troupe::loop::clock::time_point now{};
  troupe::loop::clock::duration took{};
  troupe::loop loop{[this] { return now; }};
  memory_network net;
  std::shared_ptr<troupe::transport> a;
  std::shared_ptr<troupe::transport> b;
  troupe::endpoint where;
  end mine;
  end theirs;
};

} // namespace

BOOST_AUTO_TEST_CASE(bytes_arrive_in_order_later_and_in_pieces) {
  auto s = seed(1);
  s.most_piece = 100;
  two_hosts t{s};
  t.connect();
  auto bytes = numbers(5000);
  BOOST_TEST(t.mine.write(bytes).bytes == bytes.size());
  BOOST_TEST(t.theirs.got.empty());
  t.run(1s);
  BOOST_TEST((t.theirs.got == bytes));
  BOOST_TEST(t.theirs.reads > 3U);
  BOOST_TEST(!t.theirs.ended);
  BOOST_TEST(t.mine.stream->kind() == "memory");
  BOOST_TEST(t.mine.stream->peer() == "b");
}

BOOST_AUTO_TEST_CASE(a_stream_that_nobody_reads_is_full_until_somebody_does) {
  auto s = seed(1);
  s.capacity = 4096;
  two_hosts t{s};
  t.connect();
  t.theirs.reads_on = false;
  auto bytes = numbers(5000);
  BOOST_TEST(t.mine.write(bytes).bytes == 4096U);
  BOOST_TEST((t.mine.write(bytes).what == status::would_block));
  t.mine.stream->want_write(true);
  t.run(1s);
  BOOST_TEST(t.mine.writable == 0U);
  t.theirs.reads_on = true;
  t.run(1s);
  BOOST_TEST(t.mine.writable > 0U);
  BOOST_TEST(t.theirs.got.size() == 4096U);
  BOOST_TEST((t.mine.write(bytes).what == status::moved));
}

BOOST_AUTO_TEST_CASE(what_was_written_before_the_end_arrives_before_it) {
  two_hosts t;
  t.connect();
  t.mine.write(numbers(100));
  t.mine.stream->close();
  t.mine.stream->close();
  BOOST_TEST((t.mine.write(numbers(1)).what == status::failed));
  t.run(1s);
  BOOST_TEST(t.theirs.got.size() == 100U);
  BOOST_TEST(t.theirs.ended);
  BOOST_TEST(!t.mine.ended);
  BOOST_TEST(t.net.streams("a", "b") == 0U);
}

BOOST_AUTO_TEST_CASE(addresses_are_the_hosts_own_names_and_free_ports) {
  two_hosts t;
  BOOST_TEST(t.where.to_text() == "b:1");
  BOOST_TEST(t.b->listen(t.loop, {"b", 0}, {}).port == 2);
  BOOST_TEST(t.b->listen(t.loop, {"b", 9}, {}).port == 9);
  BOOST_CHECK_THROW(t.b->listen(t.loop, {"b", 9}, {}), std::system_error);
  BOOST_CHECK_THROW(t.b->listen(t.loop, {"a", 0}, {}), troupe::usage_error);
  BOOST_CHECK_THROW(t.net.make("a"), troupe::usage_error);
}

BOOST_AUTO_TEST_CASE(dialling_where_nobody_listens_is_refused) {
  two_hosts t;
  t.where.port = 77;
  auto r = t.dial();
  BOOST_TEST(!r.stream);
  BOOST_TEST(r.refused);
  BOOST_TEST(r.why_not == "b:77: connection refused");
  t.where = {"nowhere", 1};
  r = t.dial(2500ms);
  BOOST_TEST(!r.refused);
  BOOST_TEST(r.why_not == "nowhere:1: no answer");
  BOOST_CHECK(t.took <= 2500ms);
}

BOOST_AUTO_TEST_CASE(a_transport_that_is_destroyed_neither_dials_nor_listens) {
  two_hosts t;
  bool done = false;
  t.a->dial(t.loop, t.where, 1s, [&](dial_result) { done = true; });
  t.a.reset();
  t.run(2s);
  BOOST_TEST(!done);
  auto c = t.net.make("c");
  t.b.reset();
  c->dial(t.loop, t.where, 1s, [&](dial_result r) { done = r.refused; });
  t.run(2s);
  BOOST_TEST(done);
}

BOOST_AUTO_TEST_CASE(both_ends_see_a_cut) {
  two_hosts t;
  t.connect();
  BOOST_TEST(t.net.streams("a", "b") == 1U);
  t.mine.write(numbers(100));
  t.net.cut("b", "a");
  t.run(1s);
  BOOST_TEST(t.mine.ended);
  BOOST_TEST(t.theirs.ended);
  BOOST_TEST(t.net.streams("a", "b") == 0U);
  BOOST_TEST((t.mine.write(numbers(10)).what == status::moved));
  t.connect();
}

BOOST_AUTO_TEST_CASE(a_silent_stream_takes_bytes_and_neither_delivers_nor_ends) {
  auto s = seed(1);
  s.capacity = 4096;
  two_hosts t{s};
  t.connect();
  t.mine.write(numbers(100));
  t.net.silence("a", "b");
  BOOST_TEST(t.mine.write(numbers(5000)).bytes == 3996U);
  t.theirs.write(numbers(10));
  t.run(100s);
  BOOST_TEST(t.theirs.got.empty());
  BOOST_TEST(t.mine.got.empty());
  t.mine.stream->close();
  t.run(100s);
  BOOST_TEST(!t.theirs.ended);
  t.theirs = {};
  t.connect(); // a new one works
}

BOOST_AUTO_TEST_CASE(what_is_sent_between_parted_hosts_arrives_once_they_are_joined) {
  two_hosts t;
  t.connect();
  t.mine.write(numbers(100));
  t.net.part("a", "b");
  t.mine.write(numbers(100));
  t.theirs.write(numbers(50));
  t.run(10s);
  BOOST_TEST(t.theirs.got.empty());
  BOOST_TEST(t.mine.got.size() == 50U); // the other direction stands
  t.net.join("a", "b");
  t.run(1s);
  BOOST_TEST(t.theirs.got.size() == 200U);
}

BOOST_AUTO_TEST_CASE(dialling_succeeds_once_the_way_is_free_both_ways) {
  two_hosts t;
  t.net.part("b", "a");
  BOOST_TEST(!t.dial(3s).stream);
  bool open = false;
  t.a->dial(t.loop, t.where, 10s, [&](dial_result r) { open = r.stream != nullptr; });
  t.run(3s);
  BOOST_TEST(!open);
  t.net.join("b", "a");
  t.run(2s);
  BOOST_TEST(open);
}

BOOST_AUTO_TEST_CASE(refusing_ends_on_command) {
  two_hosts t;
  t.net.refuse("a", "b", true);
  BOOST_TEST(t.dial().refused);
  t.net.refuse("a", "b", false);
  t.connect();
}

BOOST_AUTO_TEST_CASE(a_slow_way_takes_longer) {
  two_hosts t;
  t.connect();
  t.net.slow("a", "b", 2s);
  t.mine.write(numbers(10));
  t.run(1900ms);
  BOOST_TEST(t.theirs.got.empty());
  t.run(200ms);
  BOOST_TEST(t.theirs.got.size() == 10U);
}

BOOST_AUTO_TEST_CASE(corruption_changes_one_bit_of_a_handshake_or_a_header) {
  constexpr std::size_t handshake = troupe::handshake::preamble_size + troupe::handshake::proof_size;
  troupe::frame_header h;
  h.size = 1000;
  std::vector<std::byte> frame(sizeof h + h.size);
  std::memcpy(frame.data(), &h, sizeof h);
  for (std::uint64_t n = 1; n <= 50; ++n) {
    two_hosts t{seed(n)};
    t.connect();
    std::vector<std::byte> sent = numbers(handshake);
    auto where = [&](std::size_t from) {
      std::vector<std::size_t> out;
      for (auto i = from; i < t.theirs.got.size(); ++i)
        if (t.theirs.got[i] != sent[i])
          out.push_back(i);
      return out;
    };
    t.net.corrupt("a", "b");
    t.mine.write(sent);
    t.run(1s);
    BOOST_TEST(where(0).size() == 1U);
    // half a frame, then the rest of it and another: only the second header is left to be changed
    sent.insert(sent.end(), frame.begin(), frame.end());
    t.mine.write(std::span{frame}.first(200));
    t.net.corrupt("a", "b");
    std::vector<std::byte> more(frame.begin() + 200, frame.end());
    more.insert(more.end(), frame.begin(), frame.end());
    sent.insert(sent.end(), frame.begin(), frame.end());
    t.mine.write(more);
    t.run(1s);
    BOOST_TEST(t.theirs.got.size() == sent.size());
    auto changed = where(handshake);
    BOOST_REQUIRE(changed.size() == 1U);
    BOOST_TEST(changed[0] >= handshake + frame.size());
    BOOST_TEST(changed[0] < handshake + frame.size() + sizeof h);
  }
}

BOOST_AUTO_TEST_CASE(others_see_the_end_of_a_process_that_is_killed) {
  two_hosts t;
  t.connect();
  t.net.kill("b", true);
  BOOST_TEST((t.theirs.write(numbers(1)).what == status::failed));
  t.run(1s);
  BOOST_TEST(t.mine.ended);
  BOOST_TEST(t.dial().refused);
}

BOOST_AUTO_TEST_CASE(nothing_answers_for_a_host_that_is_gone) {
  two_hosts t;
  t.connect();
  t.net.kill("b", false);
  t.run(100s);
  BOOST_TEST(!t.mine.ended);
  auto r = t.dial();
  BOOST_TEST(!r.stream);
  BOOST_TEST(!r.refused);
}

BOOST_AUTO_TEST_CASE(faults_come_by_chance_as_often_as_they_are_wanted) {
  auto s = seed(3);
  s.cuts = 0.01;
  two_hosts t{s};
  int cuts = 0;
  for (int i = 0; i < 30; ++i) {
    t.mine = {};
    t.theirs = {};
    t.connect();
    for (int n = 0; n < 100 && !t.mine.ended; ++n) {
      t.mine.write(numbers(10));
      t.run(10ms);
    }
    cuts += t.mine.ended;
  }
  // 30 times 0.63
  BOOST_TEST(cuts > 10);
  BOOST_TEST(cuts < 28);
}

BOOST_AUTO_TEST_CASE(the_same_seed_makes_the_same_network) {
  auto times = [](std::uint64_t n) {
    two_hosts t{seed(n)};
    t.connect();
    std::vector<std::size_t> out;
    t.mine.write(numbers(100000));
    for (int i = 0; i < 200; ++i) {
      t.run(20us);
      out.push_back(t.theirs.got.size());
    }
    return out;
  };
  BOOST_TEST((times(1) == times(1)));
  BOOST_TEST((times(1) != times(2)));
}

BOOST_AUTO_TEST_CASE(streams_and_transports_may_outlive_their_network) {
  troupe::loop l;
  std::unique_ptr<byte_stream> stream;
  std::shared_ptr<troupe::transport> a;
  {
    two_hosts t;
    t.connect();
    a = t.a;
    t.theirs.stream.reset();
    t.mine.stream.reset();
  }
  BOOST_CHECK_NO_THROW(a->listen(l, {"a", 0}, {}));
}
