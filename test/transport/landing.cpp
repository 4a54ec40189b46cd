// Large blocks that are received into the container that their receiver gets.

#define BOOST_TEST_MODULE landing
#include <boost/test/unit_test.hpp>

#include "transport/sessions.hpp"

#include <cstdint>
#include <numeric>
#include <optional>
#include <string>
#include <vector>

using namespace test;
using troupe::frame_kind;
using troupe::frame_view;
using troupe::landing;
using troupe::reader;
using troupe::urgency;

namespace {

using numbers = std::vector<std::uint64_t>;

struct value {
  std::uint8_t tag = 0; // so that the block doesn't lie at an even place
  numbers block;
  std::string tail;

  bool operator==(const value&) const = default;
};

value make_value(std::size_t n) {
  value x{7, numbers(n), "the end"};
  std::iota(x.block.begin(), x.block.end(), n);
  return x;
}

void write_to(troupe::writer& out, const value& x) {
  write(out, x.tag);
  write(out, x.block);
  write(out, x.tail);
}

template <class Block = numbers>
void read_from(reader& in, value& x) {
  x.tag = troupe::read<std::uint8_t>(in);
  if constexpr (std::is_same_v<Block, numbers>)
    read(in, x.block);
  else
    static_cast<void>(troupe::read<Block>(in));
  read(in, x.tail);
}

std::unique_ptr<landing> seek(std::span<const std::byte> beginning, std::uint64_t total) {
  reader in{beginning};
  in.seek_landing(total - beginning.size());
  value x;
  try {
    read_from(in, x);
  } catch (reader::landing_found& found) {
    found.where->in_front = total - found.where->size - found.where->behind;
    return std::move(found.where);
  } catch (const troupe::codec_error&) {
  }
  return nullptr;
}

// A talk whose end b has blocks land, and decodes what it gets.
struct landing_talk : talk {
  landing_talk() {
    watch_b.on_begin = [this](auto beginning, auto total) {
      ++begun;
      return seek(beginning, total);
    };
    watch_b.on_frame = [this](auto&, frame_view& f) {
      if (f.landed)
        landed_at = static_cast<troupe::landing_in<numbers>&>(*f.landed).value.data();
      reader in{f.payload};
      in.set_landed(f.landed.get());
      value x;
      read_from(in, x);
      in.expect_end();
      got.push_back(std::move(x));
    };
  }

  void send(const value& x) {
    troupe::frame_builder f;
    write_to(f.start(frame_kind::call).out(), x);
    a->push(f.finish(), urgency::now, troupe::flow::calls, false);
  }

  int begun = 0;
  const std::uint64_t* landed_at = nullptr;
  std::vector<value> got;
};

troupe::byte_buffer encoded(const value& x) {
  troupe::byte_buffer out;
  troupe::writer w{out};
  write_to(w, x);
  return out;
}

} // namespace

BOOST_AUTO_TEST_CASE(a_large_block_comes_to_lie_in_its_receivers_container) {
  landing_talk t;
  t.connect();
  const auto x = make_value(1 << 19);
  t.send(x);
  t.send(make_value(10));
  t.run();
  BOOST_REQUIRE(t.got.size() == 2U);
  BOOST_TEST((t.got[0] == x || t.got[1] == x));
  const auto& large = t.got[0].block.size() > 10 ? t.got[0] : t.got[1];
  BOOST_TEST(large.block.data() == t.landed_at); // moved, not copied
  BOOST_TEST(t.begun == 1);
  BOOST_TEST(t.b->count().unconsumed == 0U);
}

BOOST_AUTO_TEST_CASE(what_has_landed_survives_cuts_at_any_place) {
  const auto x = make_value(400000);
  const auto size = encoded(x).size();
  for (std::size_t cut : {std::size_t{33}, std::size_t{100}, std::size_t{5000}, std::size_t{1} << 20, (std::size_t{1} << 20) + 41,
                          std::size_t{2000001}, size - 3, size + 100}) {
    landing_talk t;
    t.connect({.delivered = cut});
    t.send(x);
    t.run();
    BOOST_TEST(t.got.empty());
    t.cut();
    t.connect();
    t.run();
    BOOST_REQUIRE(t.got.size() == 1U);
    BOOST_TEST((t.got[0] == x));
  }
}

BOOST_AUTO_TEST_CASE(it_arrives_whole_in_reads_of_any_size) {
  const auto x = make_value(1 << 18);
  for (std::size_t at_once : {std::size_t{4099}, std::size_t{65536}, std::size_t{1000001}}) {
    landing_talk t;
    t.connect({}, {.read = at_once});
    t.send(x);
    t.run();
    BOOST_REQUIRE(t.got.size() == 1U);
    BOOST_TEST((t.got[0] == x));
    BOOST_TEST(t.got[0].block.data() == t.landed_at);
  }
}

BOOST_AUTO_TEST_CASE(a_landing_is_found_where_a_block_goes_on_beyond_the_beginning) {
  const auto x = make_value(1 << 18);
  const auto all = encoded(x);
  const auto span = std::span<const std::byte>{all};
  const auto found = seek(span.first(4096), all.size());
  BOOST_REQUIRE(found);
  BOOST_TEST(found->in_front == 9U);
  BOOST_TEST(found->size == x.block.size() * 8);
  BOOST_TEST(found->behind == all.size() - 9 - found->size);
  BOOST_TEST(!seek(span.first(8), all.size()));    // not even its length is there
  BOOST_TEST(!seek(span, all.size()));             // all is there
  BOOST_TEST(!seek(span.first(4096), 2000000));    // claims more than comes
  const auto small = encoded(make_value(1000));
  BOOST_TEST(!seek(std::span{small}.first(100), small.size()));
}

BOOST_AUTO_TEST_CASE(what_has_landed_is_taken_once_and_as_what_it_is) {
  const auto x = make_value(1 << 18);
  const auto all = encoded(x);
  auto found = seek(std::span<const std::byte>{all}.first(4096), all.size());
  BOOST_REQUIRE(found);
  std::memcpy(found->memory(0, found->size), all.data() + 9, found->size);
  troupe::byte_buffer rest(all.begin(), all.begin() + 9);
  rest.insert(rest.end(), all.begin() + static_cast<std::ptrdiff_t>(9 + found->size), all.end());
  value y;
  {
    reader in{rest};
    in.set_landed(found.get());
    BOOST_CHECK_THROW(read_from<std::vector<double>>(in, y), troupe::codec_error); // of another type
  }
  {
    reader in{rest};
    in.set_landed(found.get());
    in.take(rest.size());
    BOOST_CHECK_THROW(in.expect_end(), troupe::codec_error); // forgotten
  }
  reader in{rest};
  in.set_landed(found.get());
  read_from(in, y);
  in.expect_end();
  BOOST_TEST((x == y));
}
