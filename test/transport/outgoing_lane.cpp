#define BOOST_TEST_MODULE outgoing_lane
#include <boost/test/unit_test.hpp>

#include "transport/encoding.hpp"

#include "troupe/transport/outgoing_lane.hpp"

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

using test::bytes;
using troupe::byte_buffer;
using troupe::frame_header;
using troupe::frame_kind;
using troupe::lane;
using troupe::outgoing_lane;
using troupe::segment;
using namespace troupe::frame_flags;

namespace {

constexpr std::size_t header_size = sizeof(frame_header);
constexpr std::size_t chunk_size = segment::chunk_size;
using segments = std::vector<std::unique_ptr<segment>>;

frame_header header_for(std::size_t payload, lane l = lane::ordinary) {
  frame_header h;
  h.size = payload;
  h.acknowledged = 5;
  h.kind = frame_kind::call;
  h.in_lane = l;
  return h;
}

// A frame whose payload is all of one letter.
byte_buffer frame(std::size_t payload, char letter) {
  byte_buffer out(header_size + payload, static_cast<std::byte>(letter));
  auto h = header_for(payload);
  std::memcpy(out.data(), &h, sizeof h);
  return out;
}

std::uint64_t append(outgoing_lane& l, std::size_t payload, char letter) {
  auto f = frame(payload, letter);
  return l.append(f, header_for(payload, payload > chunk_size ? lane::bulk : lane::ordinary));
}

bytes wire(const segment& s, std::size_t from, std::size_t to, std::size_t most_pieces = 100) {
  iovec pieces[100];
  bytes out;
  auto n = s.pieces(from, to, pieces, most_pieces);
  BOOST_REQUIRE(n <= most_pieces);
  for (std::size_t i = 0; i < n; ++i) {
    auto data = static_cast<const std::byte*>(pieces[i].iov_base);
    out.insert(out.end(), data, data + pieces[i].iov_len);
  }
  return out;
}

struct seen {
  std::uint64_t number;
  std::string text; // payload: its size and letter; of unnumbered ones: "-"
  bool operator==(const seen&) const = default;
};

// Takes and writes all that there is, as a session does, and tells what it was.
std::vector<seen> send_all(outgoing_lane& l) {
  std::vector<seen> out;
  while (l.has_unsent()) {
    auto& s = l.next();
    auto end = s.next_end(s.taken);
    auto part = wire(s, s.taken, end);
    BOOST_REQUIRE(part.size() == end - s.taken);
    s.taken = s.written = end;
    if (end == s.size())
      l.pass();
    for (std::size_t at = 0; at < part.size();) {
      frame_header h;
      std::memcpy(&h, part.data() + at, sizeof h);
      BOOST_REQUIRE(troupe::check(h) == "");
      BOOST_REQUIRE(h.size <= part.size() - at - sizeof h);
      auto letter = h.size == 0 ? '-' : static_cast<char>(part[at + sizeof h + h.size - 1]);
      out.push_back({h.number, h.number == 0 ? "-" : std::to_string(h.size) + letter});
      at += sizeof h + h.size;
    }
  }
  return out;
}

std::ostream& operator<<(std::ostream& out, const seen& s) { return out << s.number << ": " << s.text; }

} // namespace

// -- segments -------------------------------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(small_frames_share_a_segment_large_ones_have_their_own) {
  outgoing_lane l;
  BOOST_TEST(append(l, 10, 'a') == 1u);
  BOOST_TEST(append(l, 0, 'b') == 2u);
  auto& batch = l.next();
  BOOST_TEST(batch.first == 1u);
  BOOST_TEST(batch.last == 2u);
  BOOST_TEST(batch.size() == 2 * header_size + 10);
  BOOST_TEST(append(l, outgoing_lane::large_frame - header_size - 1, 'c') == 3u); // the largest that is copied
  BOOST_TEST(batch.last == 3u);
  auto large = frame(outgoing_lane::large_frame - header_size, 'd');
  auto memory = large.data();
  BOOST_TEST(l.append(large, header_for(large.size() - header_size)) == 4u);
  BOOST_TEST(large.empty()); // taken over
  BOOST_TEST(batch.last == 3u);
  BOOST_TEST(append(l, 1, 'e') == 5u);
  BOOST_TEST(l.last_number() == 5u);
  batch.taken = batch.size();
  l.pass();
  BOOST_TEST(static_cast<void*>(l.next().data.data()) == static_cast<void*>(memory));
  BOOST_TEST(l.next().first == 4u);
  BOOST_TEST(l.next().last == 4u);
  l.pass();
  BOOST_TEST(l.next().first == 5u);
  l.pass();
  BOOST_TEST(!l.has_unsent());
}

BOOST_AUTO_TEST_CASE(a_batch_does_not_grow_without_end) {
  outgoing_lane l;
  for (int i = 0; i < 1000; ++i)
    append(l, 1000, 'a');
  std::size_t batches = 0;
  for (; l.has_unsent(); l.pass(), ++batches)
    BOOST_TEST(l.next().size() <= 64u << 10);
  BOOST_TEST(batches >= 16u);
  BOOST_TEST(batches <= 20u);
}

BOOST_AUTO_TEST_CASE(nothing_is_added_to_what_a_link_has_had_any_of) {
  outgoing_lane l;
  append(l, 10, 'a');
  auto& first = l.next();
  const auto memory = first.data.data();
  first.taken = first.size(); // a thread writes it, and goes on while the link ends and another takes its place
  l.pass();
  segments retired;
  BOOST_TEST(l.rewind(0, retired) == 0u);
  BOOST_REQUIRE(&l.next() == &first);
  append(l, 10, 'b');
  BOOST_TEST(first.size() == header_size + 10);
  BOOST_TEST((first.data.data() == memory));
  BOOST_TEST((send_all(l) == std::vector<seen>{{1, "10a"}, {2, "10b"}}));
}

BOOST_AUTO_TEST_CASE(what_no_link_has_had_may_be_added_to) {
  outgoing_lane l;
  append(l, 10, 'a');
  segments retired;
  l.rewind(0, retired);
  append(l, 10, 'b');
  BOOST_TEST(l.next().last == 2u);
}

BOOST_AUTO_TEST_CASE(frames_that_are_not_counted_stand_in_their_place_and_end_with_the_link) {
  outgoing_lane l;
  auto status = frame(40, 's');
  frame_header h = header_for(40, lane::control);
  troupe::seal(h);
  std::memcpy(status.data(), &h, sizeof h);
  append(l, 1, 'a');
  l.append_unnumbered(status);
  l.append_unnumbered(status);
  append(l, 1, 'b');
  l.append_unnumbered(status);
  BOOST_TEST((send_all(l) == std::vector<seen>{{1, "1a"}, {0, "-"}, {0, "-"}, {2, "1b"}, {0, "-"}}));
  segments retired;
  BOOST_TEST(l.acknowledge(1, retired) == header_size + 1 + 2 * (header_size + 40));
  l.append_unnumbered(status);
  BOOST_TEST(l.rewind(1, retired) == 2 * (header_size + 40));
  BOOST_TEST((send_all(l) == std::vector<seen>{{2, "1b"}}));
  l.append_unnumbered(status);
  BOOST_TEST(l.acknowledge(2, retired) == header_size + 1); // the other isn't written yet
  BOOST_TEST((send_all(l) == std::vector<seen>{{0, "-"}}));
  BOOST_TEST(l.acknowledge(2, retired) == header_size + 40);
}

// -- chunks ---------------------------------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(what_is_above_the_size_of_a_chunk_is_cut) {
  struct expected {
    std::size_t payload;
    std::vector<seen> chunks;
  };
  for (auto& [payload, chunks] : std::vector<expected>{{chunk_size, {{1, "1048576x"}}},
                                                       {chunk_size + 1, {{1, "1048584x"}, {2, "1x"}}},
                                                       {2 * chunk_size, {{1, "1048584x"}, {2, "1048576x"}}},
                                                       {2 * chunk_size + 77, {{1, "1048584x"}, {2, "1048576x"}, {3, "77x"}}}}) {
    outgoing_lane l;
    BOOST_TEST(append(l, payload, 'x') == chunks.size());
    BOOST_TEST(l.next().first == 1u);
    BOOST_TEST(l.next().last == chunks.size());
    BOOST_TEST(append(l, 3, 'y') == chunks.size() + 1);
    chunks.push_back({chunks.size() + 1, "3y"});
    BOOST_TEST((send_all(l) == chunks), payload);
  }
}

BOOST_AUTO_TEST_CASE(chunks_are_headers_and_parts_on_the_wire) {
  outgoing_lane l;
  auto f = frame(2 * chunk_size + 100, 'x');
  for (std::size_t i = 0; i < 2 * chunk_size + 100; ++i)
    f[header_size + i] = static_cast<std::byte>(i * 7 + i / 256);
  auto payload = bytes(f.begin() + header_size, f.end());
  auto h = header_for(payload.size(), lane::bulk);
  h.flags = 2; // its flow
  append(l, 1, 'a');
  l.append(f, h);
  l.pass();
  auto& s = l.next();
  BOOST_TEST(s.size() == payload.size() + 3 * header_size + 8);
  bytes expected;
  auto add = [&](std::uint64_t number, std::uint16_t flags, std::size_t from, std::size_t n) {
    auto c = h;
    c.number = number;
    c.flags = static_cast<std::uint16_t>(flags | 2);
    c.size = n + (number == 2 ? 8 : 0);
    troupe::seal(c);
    auto raw = std::as_bytes(std::span{&c, 1});
    expected.insert(expected.end(), raw.begin(), raw.end());
    std::uint64_t total = payload.size();
    auto raw_total = std::as_bytes(std::span{&total, 1});
    if (number == 2)
      expected.insert(expected.end(), raw_total.begin(), raw_total.end());
    auto part = payload.begin() + static_cast<std::ptrdiff_t>(from);
    expected.insert(expected.end(), part, part + static_cast<std::ptrdiff_t>(n));
  };
  add(2, first_chunk | more_chunks, 0, chunk_size);
  add(3, later_chunk | more_chunks, chunk_size, chunk_size);
  add(4, later_chunk, 2 * chunk_size, 100);
  BOOST_TEST((wire(s, 0, s.size()) == expected));
  auto part = [&](std::size_t from, std::size_t to) {
    return bytes(expected.begin() + static_cast<std::ptrdiff_t>(from), expected.begin() + static_cast<std::ptrdiff_t>(to));
  };
  // from everywhere near a boundary to everywhere near another
  std::vector<std::size_t> places{0, 1, 31, 32, 33, 39, 40, 41, s.size() - 100, s.size() - 1, s.size()};
  for (std::size_t boundary : {chunk_size + header_size + 8, 2 * (chunk_size + header_size) + 8})
    for (std::size_t near : {-2, -1, 0, 1, 31, 32, 33})
      places.push_back(boundary + near);
  std::sort(places.begin(), places.end());
  for (std::size_t i = 0; i < places.size(); ++i)
    for (std::size_t j = i; j < places.size(); ++j) {
      if (places[j] - places[i] > 1000 && (i % 5 != 0 || j % 5 != 0))
        continue; // comparing a megabyte takes time
      BOOST_REQUIRE((wire(s, places[i], places[j]) == part(places[i], places[j])));
    }
}

BOOST_AUTO_TEST_CASE(no_more_pieces_are_given_than_there_is_room_for) {
  outgoing_lane l;
  append(l, 2 * chunk_size + 100, 'x');
  auto& s = l.next();
  auto all = wire(s, 0, s.size());
  for (std::size_t most : {1u, 2u, 3u, 5u}) {
    bytes got;
    while (got.size() < s.size()) {
      auto more = wire(s, got.size(), s.size(), most);
      BOOST_REQUIRE(!more.empty());
      got.insert(got.end(), more.begin(), more.end());
    }
    BOOST_TEST((got == all));
  }
  BOOST_TEST(wire(s, 0, s.size(), 0).empty());
  BOOST_TEST(wire(s, 7, 7).empty());
  outgoing_lane small;
  append(small, 10, 'a');
  BOOST_TEST(wire(small.next(), 0, 42, 0).empty());
  BOOST_TEST(wire(small.next(), 42, 42).empty());
  BOOST_TEST(wire(small.next(), 32, 42) == bytes(10, std::byte{'a'}));
}

BOOST_AUTO_TEST_CASE(other_lanes_get_their_turn_after_a_batch_or_a_chunk) {
  outgoing_lane l;
  append(l, 10, 'a');
  append(l, 20, 'b');
  BOOST_TEST(l.next().next_end(0) == 2 * header_size + 30);
  BOOST_TEST(l.next().next_end(50) == 2 * header_size + 30);
  l.pass();
  append(l, 2 * chunk_size + 5, 'x');
  auto& s = l.next();
  const auto one = header_size + chunk_size, two = 2 * one + 8;
  for (std::size_t offset : {std::size_t{0}, std::size_t{7}, std::size_t{8}, std::size_t{40}, one, one + 7})
    BOOST_TEST(s.next_end(offset) == one + 8, offset);
  for (std::size_t offset : {one + 8, one + 9, two - 1})
    BOOST_TEST(s.next_end(offset) == two, offset);
  for (std::size_t offset : {two, two + 1, s.size() - 1})
    BOOST_TEST(s.next_end(offset) == s.size(), offset);
}

BOOST_AUTO_TEST_CASE(each_number_has_its_place) {
  outgoing_lane l;
  for (int i = 0; i < 5; ++i)
    append(l, 10, 'a');
  auto& batch = l.next();
  for (std::size_t n = 0; n <= 7; ++n)
    BOOST_TEST(batch.offset_of(n) == (n < 1 ? 0 : std::min<std::size_t>(n - 1, 5) * (header_size + 10)), n);
  l.pass();
  append(l, 3 * chunk_size, 'x'); // 6, 7, 8
  auto& s = l.next();
  BOOST_TEST(s.offset_of(5) == 0u);
  BOOST_TEST(s.offset_of(6) == 0u);
  BOOST_TEST(s.offset_of(7) == header_size + chunk_size + 8);
  BOOST_TEST(s.offset_of(8) == 2 * (header_size + chunk_size) + 8);
  BOOST_TEST(s.offset_of(9) == s.size());
  BOOST_TEST(s.offset_of(100) == s.size());
  l.pass();
  append(l, 20000, 'y'); // 9
  BOOST_TEST(l.next().offset_of(8) == 0u);
  BOOST_TEST(l.next().offset_of(9) == 0u);
  BOOST_TEST(l.next().offset_of(10) == l.next().size());
}

// -- what is kept ---------------------------------------------------------------------------------------------------------

namespace {

// Batches, frames of their own, and chunks; with the numbers that they get.
std::vector<seen> fill(outgoing_lane& l) {
  append(l, 10, 'a');
  append(l, 20, 'b');
  append(l, 30000, 'c');
  append(l, 30, 'd');
  append(l, 2 * chunk_size + 9, 'x');
  append(l, 40, 'e');
  append(l, 50, 'f');
  return {{1, "10a"}, {2, "20b"}, {3, "30000c"}, {4, "30d"}, {5, "1048584x"}, {6, "1048576x"}, {7, "9x"}, {8, "40e"}, {9, "50f"}};
}

} // namespace

BOOST_AUTO_TEST_CASE(after_a_rewind_at_any_number_all_behind_it_is_sent_again) {
  outgoing_lane sizes;
  fill(sizes);
  std::size_t total = 0;
  for (; sizes.has_unsent(); sizes.pass())
    total += sizes.next().size();
  for (std::size_t sent_before : {0u, 1u, 2u, 9u})
    for (std::size_t received = 0; received <= 9; ++received) {
      outgoing_lane l;
      auto all = fill(l);
      for (std::size_t i = 0; i < sent_before && l.has_unsent(); ++i) {
        auto& s = l.next();
        s.taken = s.next_end(s.taken);
        s.written = s.taken - 1; // but for a byte of it
        if (s.taken == s.size())
          l.pass();
      }
      segments retired;
      auto gone = l.rewind(received, retired);
      std::size_t retired_bytes = 0;
      for (auto& s : retired) {
        BOOST_TEST(s->last <= received);
        retired_bytes += s->size();
      }
      BOOST_TEST(gone == retired_bytes);
      BOOST_TEST(l.last_number() == 9u);
      auto again = send_all(l);
      BOOST_TEST(again == std::vector<seen>(all.begin() + static_cast<std::ptrdiff_t>(received), all.end()),
                 boost::test_tools::per_element());
      BOOST_TEST(gone + l.acknowledge(9, retired) == total);
    }
}

BOOST_AUTO_TEST_CASE(what_is_acknowledged_retires_by_segments_once_it_is_written) {
  outgoing_lane l;
  fill(l);
  segments retired;
  BOOST_TEST(l.acknowledge(9, retired) == 0u); // nothing has been written
  send_all(l);
  BOOST_TEST(l.acknowledge(0, retired) == 0u);
  BOOST_TEST(l.acknowledge(1, retired) == 0u); // the other half of the batch isn't
  BOOST_TEST(l.acknowledge(2, retired) == 2 * header_size + 30);
  BOOST_TEST(l.acknowledge(3, retired) == header_size + 30000);
  BOOST_TEST(l.acknowledge(6, retired) == header_size + 30);
  BOOST_TEST(l.acknowledge(7, retired) == 2 * chunk_size + 9 + 3 * header_size + 8);
  BOOST_TEST(retired.size() == 4u);
  BOOST_TEST(!l.has_unsent());
  append(l, 1, 'g');
  BOOST_TEST((send_all(l) == std::vector<seen>{{10, "1g"}}));
  BOOST_TEST(l.acknowledge(10, retired) == 3 * header_size + 91);
}

BOOST_AUTO_TEST_CASE(a_lane_can_be_cleared) {
  outgoing_lane l;
  fill(l);
  segments retired;
  l.pass();
  l.clear(retired);
  BOOST_TEST(retired.size() == 5u);
  BOOST_TEST(!l.has_unsent());
  BOOST_TEST(append(l, 1, 'z') == 10u); // its numbers go on
}
