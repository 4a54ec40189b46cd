#define BOOST_TEST_MODULE splitting
#include <boost/test/unit_test.hpp>

#include "troupe/actors/splitting.hpp"

#include <limits>
#include <list>
#include <numeric>

using troupe::split_batches;
using troupe::split_head;
using troupe::split_range;
using troupe::usage_error;

namespace {

using chunks = std::vector<std::pair<int, int>>;
using ints = std::vector<int>;

template <class I>
std::string text_of(const std::vector<std::pair<I, I>>& all) {
  std::string out;
  for (auto& [first, last] : all)
    out += (out.empty() ? "" : ", ") + std::to_string(first) + ':' + std::to_string(last);
  return out;
}

ints range(int first, int last) {
  ints out(static_cast<std::size_t>(last - first + 1));
  std::iota(out.begin(), out.end(), first);
  return out;
}

// They follow each other from one end to the other, and their sizes differ by one at most, larger ones first.
template <class I>
void check_chunks(I first, I last, std::uint64_t parts) {
  const auto all = split_range(first, last, parts);
  BOOST_REQUIRE(!all.empty());
  BOOST_TEST(all.size() <= parts);
  BOOST_TEST((all.front().first == first));
  BOOST_TEST((all.back().second == last));
  auto before = std::numeric_limits<std::uint64_t>::max();
  for (std::size_t k = 0; k < all.size(); ++k) {
    BOOST_TEST((all[k].first <= all[k].second));
    const auto size = troupe::detail::distance_between(all[k].first, all[k].second);
    BOOST_TEST(size <= before);
    before = size;
    if (k > 0)
      BOOST_TEST((troupe::detail::index_behind(all[k - 1].second, 1) == all[k].first));
  }
  const auto largest = troupe::detail::distance_between(all.front().first, all.front().second);
  BOOST_TEST(largest - before <= 1u);
}

} // namespace

// SR-01, SR-02
BOOST_AUTO_TEST_CASE(chunks_differ_by_one_at_most_and_the_larger_ones_come_first) {
  BOOST_TEST(text_of(split_range(1, 11, 1)) == "1:11");
  BOOST_TEST(text_of(split_range(1, 11, 2)) == "1:6, 7:11");
  BOOST_TEST(text_of(split_range(1, 11, 3)) == "1:4, 5:8, 9:11");
  BOOST_TEST(text_of(split_range(0, 10, 1)) == "0:10");
  BOOST_TEST(text_of(split_range(0, 10, 2)) == "0:5, 6:10");
  BOOST_TEST(text_of(split_range(0, 10, 3)) == "0:3, 4:7, 8:10");
  BOOST_TEST(text_of(split_range(-1, 9, 1)) == "-1:9");
  BOOST_TEST(text_of(split_range(-1, 9, 2)) == "-1:4, 5:9");
  BOOST_TEST(text_of(split_range(-1, 9, 3)) == "-1:2, 3:6, 7:9");
  for (int n = 1; n < 40; ++n)
    for (std::uint64_t p = 1; p < 45; ++p)
      check_chunks(-3, -4 + n, p);
}

// SR-03
BOOST_AUTO_TEST_CASE(with_fewer_integers_than_parts_each_is_a_chunk) {
  for (int parts : {3, 4}) {
    BOOST_TEST(text_of(split_range(1, 3, parts)) == "1:1, 2:2, 3:3");
    BOOST_TEST(text_of(split_range(0, 2, parts)) == "0:0, 1:1, 2:2");
    BOOST_TEST(text_of(split_range(-1, 1, parts)) == "-1:-1, 0:0, 1:1");
  }
  BOOST_TEST(split_range(1, 3, std::numeric_limits<std::uint64_t>::max()).size() == 3u);
}

// SR-04
BOOST_AUTO_TEST_CASE(an_empty_range_gives_no_chunk) {
  BOOST_TEST((split_range(1, 0, 4) == chunks{}));
  BOOST_TEST((split_range(5, 4, 1) == chunks{}));
  BOOST_TEST((split_range(std::numeric_limits<std::int64_t>::max(), std::numeric_limits<std::int64_t>::min(), 3).empty()));
}

// SR-05
BOOST_AUTO_TEST_CASE(ranges_may_reach_the_limits_of_their_type) {
  const auto check_type = []<class I>(I) {
    constexpr auto least = std::numeric_limits<I>::min();
    constexpr auto most = std::numeric_limits<I>::max();
    for (std::uint64_t parts : {1, 2, 3, 7, 8, 255, 256}) {
      check_chunks<I>(least, most, parts);
      check_chunks<I>(most - 10, most, parts);
      check_chunks<I>(least, least + 10, parts);
      check_chunks<I>(most, most, parts);
    }
  };
  check_type(std::int8_t{});
  check_type(std::uint8_t{});
  check_type(std::int16_t{});
  check_type(std::uint32_t{});
  check_type(std::int64_t{});
  check_type(std::uint64_t{});
  BOOST_CHECK_THROW(split_range(1, 10, 0), usage_error);
  BOOST_CHECK_THROW(split_range(1, 10, -1), usage_error);
  BOOST_CHECK_THROW(split_range(1, 0, 0), usage_error);
}

// DF-12
BOOST_AUTO_TEST_CASE(the_ends_may_be_of_two_types_if_one_of_them_holds_both) {
  static_assert(std::is_same_v<decltype(split_range(0, std::size_t{3}, 1)), std::vector<std::pair<std::size_t, std::size_t>>>);
  BOOST_TEST(text_of(split_range(0, std::size_t{3}, 2)) == "0:1, 2:3");
  BOOST_TEST(text_of(split_range(std::int8_t{-1}, std::int64_t{2}, 2)) == "-1:0, 1:2");
  BOOST_TEST(split_range('a', 'c', 2).size() == 2u);
  BOOST_CHECK_THROW(split_range(-1, std::size_t{3}, 2), usage_error);
}

// PF-36
BOOST_AUTO_TEST_CASE(batches_are_of_a_hundred_or_as_many_as_are_asked_for) {
  using sizes = std::vector<std::size_t>;
  sizes expected(12, 83);
  expected.push_back(4);
  BOOST_TEST(split_batches(1000, 12) == expected);
  BOOST_TEST(split_batches(5, 12) == sizes(5, 1));
  BOOST_TEST(split_batches(10000, 12) == sizes(100, 100));
  BOOST_TEST(split_batches(250, 3) == (sizes{100, 100, 50}));
  BOOST_TEST(split_batches(0, 3) == sizes{});
  BOOST_CHECK_THROW(split_batches(10, 0), usage_error);
  BOOST_CHECK_THROW(split_batches(10, -1), usage_error);
  BOOST_CHECK_THROW(split_batches(-1, 1), usage_error);
}

// PF-37
BOOST_AUTO_TEST_CASE(an_input_is_split_into_its_head_and_its_tail) {
  using parts = std::pair<ints, ints>;
  BOOST_TEST((split_head(range(1, 10), 3) == parts{range(1, 3), range(4, 10)}));
  BOOST_TEST((split_head(range(1, 10), 0) == parts{{}, range(1, 10)}));
  BOOST_TEST((split_head(range(1, 10), 20) == parts{range(1, 10), {}}));
  BOOST_TEST((split_head(range(1, 10), 10) == parts{range(1, 10), {}}));
  BOOST_TEST((split_head(ints{}, 3) == parts{}));
  BOOST_TEST((split_head(std::list<int>{}, 0) == parts{}));
  BOOST_CHECK_THROW(split_head(ints{}, -1), usage_error);
}

// DF-13
BOOST_AUTO_TEST_CASE(a_product_is_in_the_order_of_nested_loops) {
  using pairs = std::vector<std::pair<int, std::string>>;
  BOOST_TEST((troupe::product(std::list<int>{1, 2}, std::vector<std::string>{"a", "b"}) == pairs{{1, "a"}, {1, "b"}, {2, "a"}, {2, "b"}}));
}
