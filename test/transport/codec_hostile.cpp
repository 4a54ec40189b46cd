#define BOOST_TEST_MODULE codec_hostile
#include <boost/test/unit_test.hpp>

#include "transport/encoding.hpp"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <deque>
#include <list>
#include <map>
#include <new>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <tuple>
#include <unordered_map>
#include <variant>
#include <vector>

using namespace std::string_literals;
using test::bytes;
using test::contains;
using test::decoded;
using test::encoded;
using test::why_not_decoded;

namespace {

std::size_t largest_allocation = 0;

} // namespace

// Sees every allocation of the test, to find one that trusts a length.
[[gnu::noinline]] void* operator new(std::size_t size) {
  largest_allocation = std::max(largest_allocation, size);
  if (auto p = std::malloc(size))
    return p;
  throw std::bad_alloc{};
}
[[gnu::noinline]] void operator delete(void* p) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, std::size_t) noexcept { std::free(p); }

namespace {

struct inner {
  std::string name;
  std::optional<std::vector<double>> data;
  friend bool operator==(const inner&, const inner&) = default;

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, inner& x) {
    return f(x.name, x.data);
  }
};

struct block {
  std::int32_t a = 0;
  float b = 0;
  friend bool operator==(const block&, const block&) = default;
};

struct composite {
  long double number = 0;
  std::array<std::int16_t, 2> pair = {};
  std::map<std::string, inner> parts;
  std::vector<block> blocks;
  std::variant<std::monostate, std::u16string, std::list<bool>> choice;
  std::tuple<char, std::vector<std::string>> rest;
  friend bool operator==(const composite&, const composite&) = default;

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, composite& x) {
    return f(x.number, x.pair, x.parts, x.blocks, x.choice, x.rest);
  }
};

struct node {
  std::vector<node> next;

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, node& x) {
    return f(x.next);
  }
};

composite example() {
  composite x;
  x.number = 1.25L;
  x.pair = {1, -1};
  x.parts = {{"a", {"first", std::vector{1.0, 2.0}}}, {"b", {"", std::nullopt}}};
  x.blocks = {{1, 2}, {3, 4}};
  x.choice = u"text";
  x.rest = {'c', {"d", "e"}};
  return x;
}

// `levels` nodes that lie in each other.
bytes nested_nodes(int levels) {
  troupe::byte_buffer out;
  troupe::writer w{out};
  for (int i = 1; i < levels; ++i)
    w.put(std::uint64_t{1});
  w.put(std::uint64_t{0});
  return {out.begin(), out.end()};
}

template <class T>
void check_length_is_not_believed(std::uint64_t claimed, std::size_t behind = 40) {
  bytes in(8 + behind, std::byte{0});
  std::memcpy(in.data(), &claimed, sizeof claimed);
  largest_allocation = 0;
  troupe::reader r{in};
  BOOST_CHECK_EXCEPTION(troupe::read<T>(r), troupe::codec_error,
                        [&](auto& e) { return contains(e.what(), "left") || contains(e.what(), "claims"); });
  BOOST_TEST(largest_allocation < 8192u, typeid(T).name() << " allocates " << largest_allocation << " for " << claimed);
}

template <class T>
void check_lengths() {
  for (auto claimed : {std::uint64_t{1} << 63, (std::uint64_t{1} << 63) + 1, ~std::uint64_t{0}, std::uint64_t{1} << 62,
                       std::uint64_t{1} << 61, (std::uint64_t{1} << 61) + 1, std::uint64_t{1} << 40, std::uint64_t{1000}})
    check_length_is_not_believed<T>(claimed);
}

template <class T>
void feed_garbage(std::mt19937_64& random, const bytes& valid, int rounds) {
  int refused = 0;
  bytes in;
  for (int i = 0; i < rounds; ++i) {
    if (i % 2 == 0) { // valid but for a few bytes
      in = valid;
      for (auto n = random() % 4; n > 0 && !in.empty(); --n)
        in[random() % in.size()] = static_cast<std::byte>(random() % 3 == 0 ? 0xff : random());
      if (random() % 4 == 0)
        in.resize(random() % (in.size() + 1));
    } else { // small numbers, so that lengths are often within bounds
      in.resize(random() % 80);
      for (auto& b : in)
        b = static_cast<std::byte>(random() % 4 == 0 ? random() % 9 : 0);
    }
    troupe::reader r{in};
    try {
      static_cast<void>(troupe::read<T>(r));
    } catch (const troupe::codec_error& e) {
      ++refused;
    }
  }
  BOOST_TEST(refused > rounds / 100);
  BOOST_TEST(refused < rounds); // else nothing of it comes far
}

} // namespace

BOOST_AUTO_TEST_CASE(a_value_that_is_cut_short_anywhere_is_refused) {
  auto x = example();
  auto in = encoded(x);
  BOOST_REQUIRE((decoded<composite>(in) == x));
  for (std::size_t n = 0; n < in.size(); ++n) {
    // memory of its own, so that a sanitizer sees a read past its end
    bytes cut(in.begin(), in.begin() + static_cast<std::ptrdiff_t>(n));
    troupe::reader r{cut};
    BOOST_CHECK_THROW(troupe::read<composite>(r), troupe::codec_error);
  }
}

BOOST_AUTO_TEST_CASE(single_values_that_are_cut_short_say_what_is_missing) {
  auto cut = [](auto x) {
    auto in = encoded(x);
    in.pop_back();
    return why_not_decoded<decltype(x)>(in);
  };
  BOOST_TEST(cut(1.0) == "a value needs 8 bytes, 7 are left");
  BOOST_TEST(cut(1.0L) == "a value needs 16 bytes, 15 are left");
  BOOST_TEST(cut(true) == "a value needs 1 bytes, 0 are left");
  BOOST_TEST(cut(std::array<int, 3>{}) == "a value needs 12 bytes, 11 are left");
  BOOST_TEST(cut(block{}) == "a value needs 8 bytes, 7 are left");
  BOOST_TEST(cut("abc"s) == "a block claims 3 elements of 1 bytes, 2 bytes are left");
  BOOST_TEST(cut(std::vector<int>{1, 2}) == "a block claims 2 elements of 4 bytes, 7 bytes are left");
  BOOST_TEST(cut(std::optional<bool>{true}) == "a value needs 1 bytes, 0 are left");
  BOOST_TEST(cut(std::optional<bool>{}) == "a value needs 1 bytes, 0 are left");
  BOOST_TEST(cut(std::variant<int>{1}) == "a value needs 4 bytes, 3 are left");
}

BOOST_AUTO_TEST_CASE(a_length_that_cannot_be_true_is_refused_without_memory) {
  check_lengths<std::string>();
  check_lengths<std::u32string>();
  check_lengths<std::vector<char>>();
  check_lengths<std::vector<double>>();
  check_lengths<std::vector<block>>();
  check_lengths<std::vector<std::array<double, 4>>>();
  check_lengths<std::vector<std::string>>();
  check_lengths<std::vector<bool>>();
  check_lengths<std::vector<inner>>();
  check_lengths<std::map<int, int>>();
  check_lengths<std::set<std::string>>();
  check_lengths<std::unordered_map<int, std::string>>();
  check_lengths<std::list<char>>();
  check_lengths<std::deque<long>>();
  check_length_is_not_believed<std::vector<std::monostate>>(std::uint64_t{1} << 63);
  check_length_is_not_believed<std::vector<std::monostate>>((std::uint64_t{1} << 20) + 1);
}

BOOST_AUTO_TEST_CASE(a_length_one_above_what_is_left_is_refused_and_the_exact_one_is_not) {
  for (std::uint64_t n : {4u, 5u, 6u}) {
    bytes in(8 + 5 * sizeof(int));
    std::memcpy(in.data(), &n, sizeof n);
    troupe::reader r{in};
    if (n > 5)
      BOOST_CHECK_THROW(troupe::read<std::vector<int>>(r), troupe::codec_error);
    else
      BOOST_TEST(troupe::read<std::vector<int>>(r).size() == n);
  }
}

BOOST_AUTO_TEST_CASE(a_length_deep_inside_is_not_believed_either) {
  auto in = encoded(std::vector<std::vector<std::string>>{{"abc"}});
  std::uint64_t huge = std::uint64_t{1} << 63;
  for (std::size_t at : {0u, 8u, 16u}) {
    auto wrong = in;
    std::memcpy(wrong.data() + at, &huge, sizeof huge);
    largest_allocation = 0;
    troupe::reader r{wrong};
    BOOST_CHECK_THROW(troupe::read<std::vector<std::vector<std::string>>>(r), troupe::codec_error);
    BOOST_TEST(largest_allocation < 1024u);
  }
}

BOOST_AUTO_TEST_CASE(elements_that_take_no_bytes_are_bounded_in_all) {
  // 8 bytes each in memory, of 1 MiB
  BOOST_TEST(why_not_decoded<std::vector<std::nullptr_t>>(encoded(std::uint64_t{1 << 17})) == "");
  constexpr auto why = "elements that take no bytes would take more than 1048576 bytes of memory";
  BOOST_TEST(why_not_decoded<std::vector<std::nullptr_t>>(encoded(std::uint64_t{(1 << 17) + 1})) == why);
  std::vector<std::vector<std::monostate>> many(4, std::vector<std::monostate>(1 << 18));
  BOOST_TEST(why_not_decoded<decltype(many)>(encoded(many)) == "");
  many.resize(5);
  many.back().resize(1);
  BOOST_TEST(why_not_decoded<decltype(many)>(encoded(many)) == why);
}

BOOST_AUTO_TEST_CASE(bytes_that_are_left_over_are_noticed) {
  auto in = encoded(example());
  in.push_back(std::byte{0});
  BOOST_TEST(why_not_decoded<composite>(in) == "1 bytes are left over");
  BOOST_TEST(why_not_decoded<std::monostate>(in) == std::to_string(in.size()) + " bytes are left over");
}

BOOST_AUTO_TEST_CASE(nesting_has_a_limit_that_honest_values_keep_within) {
  // each level is a class and a sequence
  constexpr int most = troupe::reader::max_depth / 2;
  BOOST_TEST(why_not_decoded<node>(nested_nodes(most)) == "");
  BOOST_TEST(why_not_decoded<node>(nested_nodes(most + 1)) == "values lie more than 500 deep in each other");
  BOOST_TEST(why_not_decoded<node>(nested_nodes(200000)) == "values lie more than 500 deep in each other");
}

BOOST_AUTO_TEST_CASE(the_depth_counts_what_encloses_a_value_not_what_came_before) {
  std::vector<node> wide(5000);
  BOOST_TEST(why_not_decoded<std::vector<node>>(encoded(wide)) == "");
  troupe::byte_buffer out;
  for (int i = 0; i < 3; ++i) {
    auto deep = nested_nodes(troupe::reader::max_depth / 2 + (i == 1 ? 1 : 0));
    out.insert(out.end(), deep.begin(), deep.end());
  }
  troupe::reader r{out};
  BOOST_CHECK_NO_THROW(troupe::read<node>(r));
  BOOST_CHECK_THROW(troupe::read<node>(r), troupe::codec_error); // its guards have all let go
  r.take(8);
  BOOST_CHECK_NO_THROW(troupe::read<node>(r));
}

BOOST_AUTO_TEST_CASE(garbage_is_refused_or_decoded_but_never_crashes) {
  std::mt19937_64 random{42};
  constexpr int rounds = 20000; // for each of five types
  feed_garbage<composite>(random, encoded(example()), rounds);
  feed_garbage<std::vector<std::string>>(random, encoded(std::vector{"a"s, "bc"s, ""s}), rounds);
  feed_garbage<std::map<int, std::vector<bool>>>(random, encoded(std::map<int, std::vector<bool>>{{1, {true}}, {2, {}}}), rounds);
  using choice = std::variant<int, std::optional<std::deque<block>>, std::vector<std::monostate>>;
  feed_garbage<choice>(random, encoded(choice{std::deque<block>{{1, 2}}}), rounds);
  feed_garbage<node>(random, nested_nodes(4), rounds);
}

BOOST_AUTO_TEST_CASE(what_garbage_decodes_to_is_a_value_that_can_travel) {
  std::mt19937_64 random{7};
  auto valid = encoded(example());
  int whole = 0;
  for (int i = 0; i < 5000; ++i) {
    auto in = valid;
    in[random() % in.size()] = static_cast<std::byte>(random());
    troupe::reader r{in};
    try {
      auto x = troupe::read<composite>(r);
      auto again = encoded(x);
      BOOST_REQUIRE((encoded(decoded<composite>(again)) == again));
      ++whole;
    } catch (const troupe::codec_error&) {
    }
  }
  BOOST_TEST(whole > 100);
}
