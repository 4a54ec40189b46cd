#define BOOST_TEST_MODULE frame
#include <boost/test/unit_test.hpp>

#include "transport/encoding.hpp"

#include "troupe/transport/frame.hpp"

#include <cstring>
#include <set>
#include <string>
#include <thread>
#include <type_traits>

using test::bytes;
using test::contains;
using test::from_hex;
using test::to_hex;
using troupe::borrowed_builder;
using troupe::flow;
using troupe::frame_builder;
using troupe::frame_header;
using troupe::frame_kind;
using troupe::lane;
using namespace troupe::frame_flags;

namespace {

// By hand, from the protocol's description:  size             number           acknowledged     kind lane flags checksum
constexpr std::string_view dial_header = "0800000000000000 0100000000000000 0000000000000000 15 00 0000 2a05d583";
constexpr std::string_view call_header = "0b00000000000000 0300000000000000 0200000000000000 20 01 0100 7156205d";
constexpr std::string_view chunk_header = "0800100000000000 0500000000000000 0400000000000000 21 02 0c00 7e81d7d5";
constexpr std::string_view odd_header = "0102030405060708 1112131415161718 2122232425262728 30 02 3132 41424344";

constexpr frame_kind control_kinds[] = {frame_kind::hello,        frame_kind::refusal, frame_kind::status,    frame_kind::goodbye,
                                        frame_kind::dismissal,    frame_kind::join,    frame_kind::joined,    frame_kind::members,
                                        frame_kind::members_seen, frame_kind::leave,   frame_kind::dial,      frame_kind::doubt,
                                        frame_kind::stalled,      frame_kind::unnamed, frame_kind::named_seen};
constexpr frame_kind ordinary_kinds[] = {frame_kind::call,  frame_kind::reply, frame_kind::cancel, frame_kind::message,
                                         frame_kind::watch, frame_kind::down,  frame_kind::link,   frame_kind::unlink,
                                         frame_kind::moved, frame_kind::relay, frame_kind::named,  frame_kind::array};

frame_header header_of(std::string_view hex) {
  auto raw = from_hex(hex);
  frame_header h;
  BOOST_REQUIRE(raw.size() == sizeof h);
  std::memcpy(&h, raw.data(), sizeof h);
  return h;
}

std::string finished(frame_builder& f) { return to_hex(f.finish_sealed()); }

// What a builder makes: no number yet, but a checksum.
std::string unsent(frame_kind kind, std::size_t size) {
  frame_header h;
  h.size = size;
  h.kind = kind;
  h.in_lane = troupe::lane_of(kind);
  troupe::seal(h);
  return to_hex(std::as_bytes(std::span{&h, 1}));
}

} // namespace

BOOST_AUTO_TEST_CASE(a_header_is_32_bytes_little_endian) {
  auto h = header_of(odd_header);
  BOOST_TEST(h.size == 0x0807060504030201u);
  BOOST_TEST(h.number == 0x1817161514131211u);
  BOOST_TEST(h.acknowledged == 0x2827262524232221u);
  BOOST_TEST((h.kind == frame_kind::message));
  BOOST_TEST((h.in_lane == lane::bulk));
  BOOST_TEST(h.flags == 0x3231u);
  BOOST_TEST(h.checksum == 0x44434241u);
  static_assert(std::is_trivially_copyable_v<frame_header> && std::has_unique_object_representations_v<frame_header>,
                "no byte of it is padding");
}

BOOST_AUTO_TEST_CASE(the_checksum_is_the_protocols) {
  for (auto hex : {dial_header, call_header, chunk_header}) {
    auto h = header_of(hex);
    BOOST_TEST(troupe::check(h) == "");
    h.checksum = 0;
    troupe::seal(h);
    BOOST_TEST(to_hex(std::as_bytes(std::span{&h, 1})) == to_hex(from_hex(hex)));
  }
}

BOOST_AUTO_TEST_CASE(a_header_with_any_bit_changed_is_no_header) {
  for (auto hex : {dial_header, call_header, chunk_header})
    for (std::size_t bit = 0; bit < 8 * sizeof(frame_header); ++bit) {
      auto raw = from_hex(hex);
      raw[bit / 8] ^= std::byte{1} << bit % 8;
      frame_header h;
      std::memcpy(&h, raw.data(), sizeof h);
      BOOST_TEST(troupe::check(h) == "bytes that are no frame's header", hex << ", bit " << bit);
    }
  BOOST_TEST(troupe::check(frame_header{}) != "");
}

BOOST_AUTO_TEST_CASE(the_numbers_of_the_kinds_are_the_protocols) {
  static_assert(std::size(control_kinds) == 15 && std::size(ordinary_kinds) == 12);
  constexpr int numbers[] = {1, 2, 3, 4, 6, 16, 17, 18, 19, 20, 21, 22, 23, 25, 26};
  for (std::size_t i = 0; i < std::size(numbers); ++i)
    BOOST_TEST(static_cast<int>(control_kinds[i]) == numbers[i]);
  constexpr int others[] = {32, 33, 34, 48, 49, 50, 51, 52, 53, 64, 24, 37};
  for (std::size_t i = 0; i < std::size(others); ++i)
    BOOST_TEST(static_cast<int>(ordinary_kinds[i]) == others[i]);
}

BOOST_AUTO_TEST_CASE(each_kind_has_a_name_of_its_own) {
  std::set<std::string> names;
  for (auto kind : control_kinds)
    names.insert(to_string(kind));
  for (auto kind : ordinary_kinds)
    names.insert(to_string(kind));
  BOOST_TEST(names.size() == std::size(control_kinds) + std::size(ordinary_kinds));
  for (auto& name : names)
    BOOST_TEST(!name.starts_with("kind"), name);
  BOOST_TEST(to_string(static_cast<frame_kind>(77)) == "kind 77");
  BOOST_TEST(to_string(static_cast<frame_kind>(255)) == "kind 255");
}

BOOST_AUTO_TEST_CASE(what_keeps_a_cluster_together_travels_in_the_control_lane) {
  for (auto kind : control_kinds)
    BOOST_TEST((troupe::lane_of(kind) == lane::control), to_string(kind));
  for (auto kind : ordinary_kinds)
    BOOST_TEST((troupe::lane_of(kind) == lane::ordinary), to_string(kind));
}

namespace {

// What is said of a call's header when it has been changed and sealed again.
std::string verdict_on(auto change) {
  auto h = header_of(call_header);
  change(h);
  troupe::seal(h);
  return troupe::check(h);
}

} // namespace

BOOST_AUTO_TEST_CASE(a_header_that_is_right_passes) {
  BOOST_TEST(verdict_on([](auto&) {}) == "");
  BOOST_TEST(verdict_on([](auto& h) { h.size = troupe::max_frame_size; }) == "");
  BOOST_TEST(verdict_on([](auto& h) { h.in_lane = lane::bulk; }) == "");
  BOOST_TEST(verdict_on([](auto& h) { h.number = h.acknowledged = ~std::uint64_t{0}; }) == "");
  BOOST_TEST(verdict_on([](auto& h) { h.kind = static_cast<frame_kind>(200); }) == ""); // kinds that aren't known are for others to judge
  BOOST_TEST(verdict_on([](auto& h) { h.flags = 2; }) == "");
  BOOST_TEST(verdict_on([](auto& h) {
               h.in_lane = lane::control;
               h.number = 0;
             })
             == "");
  for (auto flags : {first_chunk, later_chunk})
    for (auto more : {std::uint16_t{0}, more_chunks})
      for (std::uint16_t flow : {0, 1, 2})
        BOOST_TEST(verdict_on([&](auto& h) {
                     h.in_lane = lane::bulk;
                     h.flags = flags | more | flow;
                   })
                   == "");
}

BOOST_AUTO_TEST_CASE(flows_and_chunks_are_flags) {
  auto h = header_of(chunk_header);
  BOOST_TEST(h.chunk());
  BOOST_TEST((h.flow() == flow::none));
  BOOST_TEST((h.flags == (first_chunk | more_chunks)));
  h = header_of(call_header);
  BOOST_TEST(!h.chunk());
  BOOST_TEST((h.flow() == flow::calls));
  h.flags = later_chunk | 2;
  BOOST_TEST(h.chunk());
  BOOST_TEST((h.flow() == flow::messages));
}

BOOST_AUTO_TEST_CASE(a_header_that_is_wrong_is_refused_with_what_came) {
  BOOST_TEST(contains(verdict_on([](auto& h) { h.in_lane = static_cast<lane>(3); }), "lane 3, there are 3"));
  BOOST_TEST(contains(verdict_on([](auto& h) { h.in_lane = static_cast<lane>(255); }), "lane 255"));
  BOOST_TEST(contains(verdict_on([](auto& h) { h.size = std::uint64_t{1} << 63; }), "9223372036854775808 bytes"));
  BOOST_TEST(contains(verdict_on([](auto& h) { h.size = ~std::uint64_t{0}; }), "18446744073709551615 bytes"));
  BOOST_TEST(contains(verdict_on([](auto& h) { h.size = troupe::max_frame_size + 1; }), "1099511627777 bytes, more than the limit"));
  BOOST_TEST(contains(verdict_on([](auto& h) { h.flags = 3; }), "flags 3"));
  BOOST_TEST(contains(verdict_on([](auto& h) { h.flags = 64; }), "flags 64"));
  BOOST_TEST(contains(verdict_on([](auto& h) { h.flags = 0x8000; }), "flags 32768"));
  BOOST_TEST(contains(verdict_on([](auto& h) { h.flags = more_chunks; }), "flags 8 that is no chunk"));
  BOOST_TEST(contains(verdict_on([](auto& h) { h.flags = first_chunk; }), "a chunk with flags 4 in lane 1"));
  BOOST_TEST(contains(verdict_on([](auto& h) {
                        h.in_lane = lane::bulk;
                        h.flags = first_chunk | later_chunk;
                      }),
                      "a chunk with flags 20 in lane 2"));
  BOOST_TEST(contains(verdict_on([](auto& h) { h.number = 0; }), "without a number in lane 1"));
}

BOOST_AUTO_TEST_CASE(a_builder_makes_the_frame_that_is_written_by_hand) {
  frame_builder f;
  f.start(frame_kind::call);
  troupe::write(f.out(), std::string{"abc"});
  BOOST_TEST(finished(f) == unsent(frame_kind::call, 11) + "0300000000000000616263");
  BOOST_TEST((f.kind() == frame_kind::call));
}

BOOST_AUTO_TEST_CASE(a_builder_can_be_used_again) {
  frame_builder f;
  f.start(frame_kind::call);
  troupe::write(f.out(), std::string(1000, 'x'));
  f.finish();
  f.start(frame_kind::hello);
  BOOST_TEST(finished(f) == unsent(frame_kind::hello, 0)); // nothing of the first is left
  f.start(frame_kind::reply);
  f.out().put(std::uint8_t{7});
  f.start(frame_kind::call); // begun again before it was finished
  troupe::write(f.out(), std::string{"abc"});
  BOOST_TEST(finished(f) == unsent(frame_kind::call, 11) + "0300000000000000616263");
}

BOOST_AUTO_TEST_CASE(a_builder_whose_frame_was_taken_over_makes_the_next) {
  frame_builder f;
  f.start(frame_kind::call);
  auto taken = std::move(f.finish());
  f.start(frame_kind::hello);
  BOOST_TEST(finished(f) == unsent(frame_kind::hello, 0));
  BOOST_TEST(taken.size() == sizeof(frame_header));
}

BOOST_AUTO_TEST_CASE(a_builder_does_not_keep_the_memory_of_a_large_frame) {
  frame_builder f;
  f.start(frame_kind::call);
  troupe::write(f.out(), std::vector<double>(1000000));
  BOOST_TEST(f.finish().size() == sizeof(frame_header) + 8 + 8000000);
  f.start(frame_kind::call);
  BOOST_TEST(f.finish().capacity() < std::size_t{1} << 20);
}

BOOST_AUTO_TEST_CASE(a_frame_can_be_built_while_another_is) {
  borrowed_builder outer{nullptr};
  outer->start(frame_kind::call);
  outer->out().put(std::uint32_t{1});
  {
    borrowed_builder inner{nullptr};
    BOOST_TEST(&*inner != &*outer);
    inner->start(frame_kind::reply);
    inner->out().put(std::uint64_t{2});
    BOOST_TEST(inner->finish().size() == sizeof(frame_header) + 8);
  }
  outer->out().put(std::uint32_t{3});
  auto& frame = outer->finish();
  BOOST_REQUIRE(frame.size() == sizeof(frame_header) + 8);
  BOOST_TEST(to_hex(std::span{frame}.subspan(sizeof(frame_header))) == "0100000003000000");
}

BOOST_AUTO_TEST_CASE(builders_are_kept_for_the_next_frame_with_its_own_actor_codec) {
  auto codec = reinterpret_cast<troupe::actor_codec*>(0x1234); // only passed on
  frame_builder* first;
  {
    borrowed_builder b{codec};
    first = &*b;
    BOOST_TEST((b->start(frame_kind::call).out().actors() == codec));
  }
  borrowed_builder b{nullptr};
  BOOST_TEST(&*b == first);
  BOOST_TEST((b->start(frame_kind::call).out().actors() == nullptr));
  frame_builder* elsewhere = nullptr;
  std::thread{[&] {
    borrowed_builder other{nullptr};
    elsewhere = &*other;
  }}.join();
  BOOST_TEST(elsewhere != first);
}
