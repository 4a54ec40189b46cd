// Large blocks that are sent from where they lie.

#define BOOST_TEST_MODULE outside_blocks
#include <boost/test/unit_test.hpp>

#include "transport/sessions.hpp"

#include <algorithm>
#include <cstdint>
#include <random>
#include <string>
#include <thread>
#include <vector>

using namespace test;
using troupe::flow;
using troupe::frame_builder;
using troupe::frame_header;
using troupe::frame_kind;
using troupe::landing;
using troupe::lane;
using troupe::segment;
using troupe::urgency;
using troupe::writer;

namespace {

constexpr std::size_t mb = 1 << 20;
constexpr std::size_t header_size = sizeof(frame_header);

// A payload of text, in which some pieces are blocks that lie elsewhere.
struct mixed {
  std::shared_ptr<const void> keeper = std::make_shared<int>(1);
  std::vector<std::string> parts;

  // Sizes of parts: those of `landing::least` and more are referred to.
  explicit mixed(std::vector<std::size_t> sizes) {
    for (unsigned i = 0; i < sizes.size(); ++i)
      parts.push_back(pattern(sizes[i], i));
  }

  std::string whole() const {
    std::string out;
    for (auto& p : parts)
      out += p;
    return out;
  }

  void write(frame_builder& f) const {
    auto& out = f.start(frame_kind::call).out();
    writer::referring scope{out, keeper};
    for (auto& p : parts)
      out.block(p.data(), p.size());
  }
};

} // namespace

BOOST_AUTO_TEST_CASE(only_large_blocks_of_who_keeps_them_stay_outside) {
  mixed m{{100, landing::least, 0, landing::least - 1, landing::least + 3}};
  frame_builder f;
  m.write(f);
  BOOST_TEST(f.outside().size() == 2U);
  BOOST_TEST(f.size() == header_size + m.whole().size());
  BOOST_TEST(static_cast<const void*>(f.outside()[0].bytes.data()) == m.parts[1].data());
  frame_header h;
  std::memcpy(&h, f.finish().data(), sizeof h);
  BOOST_TEST(h.size == m.whole().size());
  auto& all = f.finish_whole();
  BOOST_TEST((text_of(all).substr(header_size) == m.whole()));
  BOOST_TEST(f.outside().empty());
  auto& out = f.start(frame_kind::call).out(); // nobody keeps it
  out.block(m.parts[1].data(), m.parts[1].size());
  BOOST_TEST(f.outside().empty());
  BOOST_TEST(f.size() == header_size + m.parts[1].size());
}

BOOST_AUTO_TEST_CASE(any_range_of_a_segment_is_what_it_would_be_in_one_piece) {
  mixed m{{7, 2 * mb + 5, 11, landing::least, 3 * mb - 1, 40}};
  frame_builder f, g;
  m.write(f);
  m.write(g);
  troupe::outgoing_lane scattered, in_one;
  frame_header h;
  std::memcpy(&h, f.finish().data(), sizeof h);
  h.in_lane = lane::bulk;
  scattered.append(f.finish(), h, f.outside());
  in_one.append(g.finish_whole(), h);
  auto &a = scattered.next(), &b = in_one.next();
  BOOST_REQUIRE(a.size() == b.size());
  BOOST_TEST(scattered.bytes() == in_one.bytes());
  std::mt19937 random{1};
  for (int i = 0; i < 300; ++i) {
    auto from = random() % a.size(), to = random() % (a.size() + 1);
    if (from > to)
      std::swap(from, to);
    const auto most = 1 + random() % 16;
    iovec pieces_a[16], pieces_b[64];
    std::string text_a, text_b;
    for (std::size_t k = 0, n = a.pieces(from, to, pieces_a, most); k < n; ++k)
      text_a.append(static_cast<const char*>(pieces_a[k].iov_base), pieces_a[k].iov_len);
    for (std::size_t k = 0, n = b.pieces(from, to, pieces_b, 64); k < n; ++k)
      text_b.append(static_cast<const char*>(pieces_b[k].iov_base), pieces_b[k].iov_len);
    BOOST_REQUIRE(!(text_a.empty() && from < to));
    BOOST_REQUIRE((text_b.compare(0, text_a.size(), text_a) == 0));
    BOOST_REQUIRE((most < 16 || text_a == text_b));
  }
}

BOOST_AUTO_TEST_CASE(what_lies_outside_arrives_and_is_let_go_when_it_has) {
  mixed m{{100, 3 * mb, 30, landing::least}};
  talk t;
  t.connect();
  frame_builder f;
  m.write(f);
  t.a->push(f, urgency::now, flow::calls, false);
  BOOST_TEST(f.outside().empty());
  BOOST_TEST(m.keeper.use_count() > 1);
  t.run();
  t.exchange_status();
  BOOST_REQUIRE(t.arrived_at_b().size() == 1U);
  BOOST_TEST((t.arrived_at_b()[0].payload == m.whole()));
  BOOST_TEST(m.keeper.use_count() == 1);
  BOOST_TEST(t.a->count().in_transit == 0U);
}

BOOST_AUTO_TEST_CASE(memory_that_is_taken_back_may_change_though_the_link_was_cut) {
  for (std::size_t delivered : {std::size_t{0}, std::size_t{50}, mb + 100, 2 * mb}) {
    mixed m{{100, 3 * mb, 30, landing::least}};
    const auto sent = m.whole();
    talk t;
    t.connect({.delivered = delivered});
    frame_builder f;
    m.write(f);
    t.a->push(f, urgency::now, flow::calls, false);
    t.run();
    t.cut();
    t.a->take_back(m.keeper);
    BOOST_TEST(m.keeper.use_count() == 1);
    for (auto& p : m.parts)
      std::fill(p.begin(), p.end(), '!');
    t.connect();
    t.run();
    BOOST_REQUIRE(t.arrived_at_b().size() == 1U);
    BOOST_TEST((t.arrived_at_b()[0].payload == sent));
  }
}

BOOST_AUTO_TEST_CASE(a_session_that_ends_lets_go_of_all_blocks) {
  mixed m{{100, 3 * mb}};
  {
    talk t;
    t.connect({.write = 1000});
    frame_builder f;
    m.write(f);
    t.a->push(f, urgency::now, flow::calls, false);
    BOOST_TEST(m.keeper.use_count() > 1);
    t.a->close();
    BOOST_TEST(m.keeper.use_count() == 1);
    m.write(f);
    t.a->push(f, urgency::now, flow::calls, false); // is dropped
  }
  BOOST_TEST(m.keeper.use_count() == 1);
}

// While the loop's thread writes it.
BOOST_AUTO_TEST_CASE(who_takes_memory_back_waits_for_whoever_reads_it) {
  for (int i = 0; i < 20; ++i) {
    two_ends x{{.write = 100000}};
    mixed m{{100, 8 * mb}};
    const auto sent = m.whole();
    frame_builder f;
    m.write(f);
    x.a.talk->push(f, i % 2 == 0 ? urgency::now : urgency::batched, flow::calls, false);
    std::this_thread::sleep_for(std::chrono::microseconds{100 * i});
    x.a.talk->take_back(m.keeper);
    std::fill(m.parts[1].begin(), m.parts[1].end(), '!');
    BOOST_REQUIRE(x.b.watcher.wait_for_frames(1));
    BOOST_TEST((x.b.watcher.seen.get().frames[0].payload == sent));
  }
}
