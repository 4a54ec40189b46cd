#define BOOST_TEST_MODULE codec
#include <boost/test/unit_test.hpp>

#include "transport/encoding.hpp"

#include <array>
#include <bit>
#include <chrono>
#include <complex>
#include <cstring>
#include <deque>
#include <limits>
#include <list>
#include <map>
#include <new>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <tuple>
#include <type_traits>
#include <unordered_map>
#include <unordered_set>
#include <variant>
#include <vector>

using namespace std::chrono_literals;
using namespace std::string_literals;
using test::bytes;
using test::contains;
using test::decoded;
using test::encoded;
using test::from_hex;
using test::to_hex;

namespace {

// Comes back equal, and into a destination that holds something already.
template <class T>
void check_equal(const T& x, std::type_identity_t<T> destination = T{}) {
  auto in = encoded(x);
  BOOST_TEST((decoded<T>(in) == x), to_hex(in));
  troupe::reader r{in};
  troupe::read(r, destination);
  BOOST_TEST((destination == x), "into a destination that was not empty: " << to_hex(in));
  BOOST_TEST(r.left() == 0u);
}

// Comes back with the same bits, which for numbers is more than equal.
template <class T>
void check_bits(const T& x) {
  auto in = encoded(x);
  auto y = decoded<T>(in);
  BOOST_TEST(in.size() == sizeof(T));
  BOOST_TEST(std::memcmp(&x, &y, sizeof x) == 0, typeid(T).name() << " " << to_hex(in));
}

template <class T>
void check_layout(const T& x, std::string_view hex) {
  BOOST_TEST(to_hex(encoded(x)) == to_hex(from_hex(hex)));
  BOOST_TEST((decoded<T>(from_hex(hex)) == x));
}

template <class T>
void check_integer_edges() {
  using limits = std::numeric_limits<T>;
  for (T x : {limits::min(), limits::max(), T{0}, static_cast<T>(-1), T{1}, static_cast<T>(limits::max() / 2 + 1)}) {
    check_bits(x);
    check_equal(std::vector<T>{x, T{7}, x}, {T{1}});
    check_equal(std::optional<T>{x}, T{5});
  }
}

// NaNs of every kind, infinities, both zeros, subnormals, the largest and the smallest.
constexpr std::uint64_t double_patterns[] = {
  0x0000000000000000, 0x8000000000000000, 0x0000000000000001, 0x8000000000000001, 0x000fffffffffffff, 0x0010000000000000,
  0x7fefffffffffffff, 0xffefffffffffffff, 0x7ff0000000000000, 0xfff0000000000000, 0x7ff8000000000000, 0xfff8000000000000,
  0x7ff8deadbeef0123, 0xfff8000000000001, 0x7ff0000000000001, 0x7ff4000000000000, 0xfff7ffffffffffff, 0x3ff0000000000001,
};

constexpr std::uint32_t float_patterns[] = {
  0x00000000, 0x80000000, 0x00000001, 0x80000001, 0x007fffff, 0x00800000, 0x7f7fffff, 0x7f800000,
  0xff800000, 0x7fc00000, 0xffc00000, 0x7fc12345, 0x7f800001, 0xffa00000, 0x3f800001,
};

} // namespace

BOOST_AUTO_TEST_CASE(integers_are_exact_at_their_limits) { // RC-09
  check_integer_edges<char>();
  check_integer_edges<signed char>();
  check_integer_edges<unsigned char>();
  check_integer_edges<short>();
  check_integer_edges<unsigned short>();
  check_integer_edges<int>();
  check_integer_edges<unsigned>();
  check_integer_edges<long>();
  check_integer_edges<unsigned long>();
  check_integer_edges<long long>();
  check_integer_edges<unsigned long long>();
  check_integer_edges<wchar_t>();
  check_integer_edges<char8_t>();
  check_integer_edges<char16_t>();
  check_integer_edges<char32_t>();
}

BOOST_AUTO_TEST_CASE(numbers_are_written_as_they_lie_in_memory) {
  check_layout(std::uint16_t{0x0102}, "0201");
  check_layout(std::int32_t{-2}, "feffffff");
  check_layout(std::uint64_t{0x0102030405060708}, "0807060504030201");
  check_layout(1.0, "000000000000f03f");
  check_layout('A', "41");
  check_layout(true, "01");
  check_layout(false, "00");
}

BOOST_AUTO_TEST_CASE(doubles_are_exact_to_the_bit) { // RC-09
  std::vector<double> all;
  for (auto pattern : double_patterns) {
    auto x = std::bit_cast<double>(pattern);
    check_bits(x);
    auto y = decoded<std::optional<double>>(encoded(std::optional{x}));
    BOOST_TEST(std::memcmp(&*y, &x, sizeof x) == 0);
    all.push_back(x);
  }
  auto back = decoded<std::vector<double>>(encoded(all));
  BOOST_REQUIRE(back.size() == all.size());
  BOOST_TEST(std::memcmp(back.data(), all.data(), all.size() * sizeof(double)) == 0);
}

BOOST_AUTO_TEST_CASE(floats_are_exact_to_the_bit) { // RC-09
  for (auto pattern : float_patterns) {
    check_bits(std::bit_cast<float>(pattern));
    check_bits(std::bit_cast<std::complex<float>>(std::array{pattern, 0x7f800001u}));
  }
}

BOOST_AUTO_TEST_CASE(long_doubles_are_exact_and_their_padding_is_zero) {
  using limits = std::numeric_limits<long double>;
  for (long double x : {0.0L, -0.0L, 1.0L / 3, limits::min(), limits::max(), limits::lowest(), limits::denorm_min(), limits::epsilon(),
                        limits::infinity(), -limits::infinity(), limits::quiet_NaN()}) {
    // an object whose padding isn't zero, as on any stack
    alignas(long double) std::array<std::byte, sizeof(long double)> memory;
    memory.fill(std::byte{0xa5});
    auto object = new (memory.data()) long double;
    std::memcpy(object, &x, LDBL_MANT_DIG == 64 ? 10 : sizeof x);
    auto in = encoded(*object);
    BOOST_TEST(in.size() == sizeof(long double));
    if (LDBL_MANT_DIG == 64)
      for (std::size_t i = 10; i < in.size(); ++i)
        BOOST_TEST((in[i] == std::byte{0}), to_hex(in));
    auto y = decoded<long double>(in);
    BOOST_TEST(std::memcmp(&x, &y, LDBL_MANT_DIG == 64 ? 10 : sizeof x) == 0, to_hex(in));
    auto many = decoded<std::vector<long double>>(encoded(std::vector{*object, *object}));
    BOOST_REQUIRE(many.size() == 2u);
    BOOST_TEST(std::memcmp(&x, &many[1], LDBL_MANT_DIG == 64 ? 10 : sizeof x) == 0);
  }
}

BOOST_AUTO_TEST_CASE(a_bool_is_true_or_false_whatever_its_byte) {
  auto raw = [](bool b) { return std::bit_cast<unsigned char>(b); };
  for (auto hex : {"01", "02", "80", "ff"})
    BOOST_TEST(raw(decoded<bool>(from_hex(hex))) == 1);
  BOOST_TEST(raw(decoded<bool>(from_hex("00"))) == 0);
  auto two = decoded<std::array<bool, 2>>(from_hex("0200"));
  BOOST_TEST(raw(two[0]) == 1);
  BOOST_TEST(raw(two[1]) == 0);
  BOOST_TEST((decoded<std::vector<bool>>(from_hex("0300000000000000 020001")) == std::vector{true, false, true}));
  BOOST_TEST((decoded<std::optional<bool>>(from_hex("0702")) == std::optional{true}));
}

BOOST_AUTO_TEST_CASE(enums_travel_as_their_underlying_type) {
  enum class color : std::uint8_t { red = 1, blue = 255 };
  enum class offset : std::int64_t { far = std::numeric_limits<std::int64_t>::min() };
  enum plain { one = 1 };
  check_layout(color::blue, "ff");
  check_layout(offset::far, "0000000000000080");
  check_layout(std::byte{7}, "07");
  check_equal(one);
  check_equal(static_cast<color>(77)); // none of its enumerators, but a value of it
  check_equal(std::vector{color::red, color::blue}, {color::red});
}

BOOST_AUTO_TEST_CASE(strings_keep_every_character) { // RC-09
  check_layout("abc"s, "0300000000000000 616263");
  check_layout(""s, "0000000000000000");
  check_layout("a\0b"s, "0300000000000000 610062");
  check_equal("\0"s, "something longer than what comes"s);
  check_equal("grüße, 世界, 🎭"s);
  check_equal("\xff\xfe\x80 is no UTF-8"s);
  check_equal(std::string(100000, '\n'), "x"s);
  check_equal(u"grüße, \0 🎭"s);
  check_equal(U"世界 🎭"s);
  check_equal(L"wide"s);
  check_equal(u8"eight"s);
  check_layout(u"\x0102"s, "0100000000000000 0201");
}

BOOST_AUTO_TEST_CASE(a_vector_is_its_length_and_its_elements) {
  check_layout(std::vector<std::uint16_t>{1, 0x0203}, "0200000000000000 0100 0302");
  check_layout(std::vector<int>{}, "0000000000000000");
  check_layout(std::vector<bool>{true, false}, "0200000000000000 01 00");
  check_layout(std::vector{"a"s, ""s}, "0200000000000000 0100000000000000 61 0000000000000000");
  check_layout(std::vector<std::vector<std::uint8_t>>{{}, {5}}, "0200000000000000 0000000000000000 0100000000000000 05");
}

BOOST_AUTO_TEST_CASE(vectors_of_everything_come_back_equal) {
  check_equal(std::vector{1.5, -2.5}, {9, 9, 9});
  check_equal(std::vector{"one"s, std::string(1000, 'x'), ""s}, {"old"s});
  check_equal(std::vector<std::vector<std::vector<int>>>{{{1}, {}}, {}, {{2, 3}}});
  check_equal(std::vector<bool>(1001, true), {false});
  check_equal(std::vector<std::optional<int>>{std::nullopt, 3});
  check_equal(std::vector<std::variant<int, std::string>>{1, "two"s});
  check_equal(std::vector<std::pair<int, std::string>>{{1, "a"}, {2, "b"}});
  check_equal(std::vector<std::tuple<>>(7));
  check_equal(std::vector<std::array<bool, 3>>{{true, false, true}});
  check_equal(std::vector<std::array<std::string, 2>>{{"a", "b"}});
}

BOOST_AUTO_TEST_CASE(a_million_numbers_and_many_strings_come_back_equal) { // RC-10
  std::vector<std::uint64_t> numbers(1000000);
  std::uint64_t next = 1;
  for (auto& n : numbers)
    n = next *= 6364136223846793005u;
  check_equal(numbers);
  std::vector<std::string> strings(20000);
  for (std::size_t i = 0; i < strings.size(); ++i)
    strings[i].assign(numbers[i] >> 58, static_cast<char>(numbers[i]));
  check_equal(strings);
}

BOOST_AUTO_TEST_CASE(arrays_have_no_length) {
  check_layout(std::array<std::uint8_t, 3>{1, 2, 3}, "010203");
  check_layout(std::array<std::string, 2>{"a", ""}, "0100000000000000 61 0000000000000000");
  check_layout(std::array<int, 0>{}, "");
  check_layout(std::array<std::array<std::int16_t, 2>, 2>{{{1, 2}, {3, 4}}}, "0100 0200 0300 0400");
  check_equal(std::array{1.5L, -2.5L});
  check_equal(std::array<std::optional<int>, 2>{std::nullopt, 4});
}

BOOST_AUTO_TEST_CASE(pairs_and_tuples_are_their_members_without_padding) {
  check_layout(std::pair<char, std::int32_t>{'a', 1}, "61 01000000");
  check_layout(std::tuple<std::uint8_t, std::string, bool>{1, "x", true}, "01 0100000000000000 78 01");
  check_layout(std::tuple<>{}, "");
  check_equal(std::tuple{std::pair{1, "nested"s}, std::vector{2.0}, std::tuple{'c'}});
}

BOOST_AUTO_TEST_CASE(an_optional_says_whether_it_has_a_value) { // RC-09
  check_layout(std::optional<std::uint16_t>{}, "00");
  check_layout(std::optional<std::uint16_t>{5}, "01 0500");
  check_equal(std::optional<std::string>{}, "was there before"s);
  check_equal(std::optional<std::string>{""}, "was there before"s);
  check_equal(std::optional<std::optional<int>>{std::optional<int>{}}, std::optional<int>{3});
}

BOOST_AUTO_TEST_CASE(a_variant_says_which_alternative_it_has) {
  using type = std::variant<std::monostate, int, std::string, int>;
  check_layout(type{}, "00000000");
  check_layout(type{std::in_place_index<1>, 7}, "01000000 07000000");
  check_layout(type{std::in_place_index<3>, 7}, "03000000 07000000");
  check_layout(type{"s"}, "02000000 0100000000000000 73");
  check_equal(type{}, "was there before"s);
  BOOST_TEST(test::why_not_decoded<type>(from_hex("04000000")) == "alternative 4 of a variant with 4");
  BOOST_TEST(test::why_not_decoded<type>(from_hex("ffffffff")) == "alternative 4294967295 of a variant with 4");
}

BOOST_AUTO_TEST_CASE(a_variant_that_lost_its_value_is_refused) {
  std::variant<int, std::deque<int>> x = 1;
  BOOST_CHECK_THROW(x.emplace<1>(std::numeric_limits<std::size_t>::max()), std::length_error);
  BOOST_REQUIRE(x.valueless_by_exception());
  BOOST_CHECK_EXCEPTION(encoded(x), troupe::codec_error, [](auto& e) { return contains(e.what(), "variant without a value"); });
}

BOOST_AUTO_TEST_CASE(containers_of_all_kinds_come_back_equal) {
  check_equal(std::map<std::string, std::vector<int>>{{"a", {1}}, {"b", {}}}, {{"old", {9}}});
  check_equal(std::map<int, std::map<int, bool>>{{1, {{2, true}}}});
  check_equal(std::multimap<int, std::string>{{1, "first"}, {1, "second"}, {0, "zero"}});
  check_equal(std::set<std::string>{"x", "y"}, {"old"});
  check_equal(std::multiset<int>{1, 1, 2});
  check_equal(std::unordered_map<std::string, double>{{"a", 1}, {"b", -0.5}}, {{"old", 2.0}});
  check_equal(std::unordered_set<int>{1, 2, 3}, {4});
  check_equal(std::list<std::string>{"a", "b"}, {"old"});
  check_equal(std::deque<int>{1, 2, 3}, {4});
  check_equal(std::deque<bool>{true, false});
  check_layout(std::map<std::uint8_t, std::uint8_t>{{2, 3}, {1, 4}}, "0200000000000000 0104 0203");
}

BOOST_AUTO_TEST_CASE(times_and_complex_numbers_come_back_equal) {
  check_layout(std::chrono::milliseconds{258}, "0201000000000000");
  check_equal(std::chrono::duration<double>{0.25});
  check_equal(std::chrono::nanoseconds::min());
  check_equal(std::chrono::system_clock::now());
  check_equal(std::chrono::steady_clock::time_point::max());
  check_equal(std::vector{1ms, 2ms}, {3ms});
  check_layout(std::complex<double>{1, -1}, "000000000000f03f 000000000000f0bf");
  check_equal(std::vector{std::complex<float>{1, 2}});
}

BOOST_AUTO_TEST_CASE(nothing_takes_no_bytes) { // RC-09
  check_layout(std::monostate{}, "");
  check_layout(nullptr, "");
  check_equal(std::optional<std::monostate>{std::monostate{}});
  check_equal(std::vector<std::monostate>(3));
}

BOOST_AUTO_TEST_CASE(a_span_is_written_as_the_vector_of_its_elements) {
  std::vector<int> numbers{1, 2, 3, 4};
  std::vector<std::string> texts{"a", "b"};
  auto write_span = [](auto span) {
    troupe::byte_buffer out;
    troupe::writer w{out};
    troupe::detail::write_value(w, span);
    return bytes{out.begin(), out.end()};
  };
  BOOST_TEST((decoded<std::vector<int>>(write_span(std::span{numbers})) == numbers));
  BOOST_TEST((decoded<std::vector<int>>(write_span(std::span<const int, 4>{numbers})) == numbers));
  BOOST_TEST((decoded<std::vector<int>>(write_span(std::span{numbers}.subspan(1, 2))) == std::vector{2, 3}));
  BOOST_TEST(decoded<std::vector<int>>(write_span(std::span<int>{})).empty());
  BOOST_TEST((decoded<std::vector<std::string>>(write_span(std::span{texts})) == texts));
}

BOOST_AUTO_TEST_CASE(values_follow_each_other_without_gaps) {
  troupe::byte_buffer out;
  troupe::writer w{out};
  troupe::write(w, std::uint8_t{1});
  troupe::write(w, "ab"s);
  troupe::write(w, 2.0);
  BOOST_TEST(out.size() == 1u + 8 + 2 + 8);
  troupe::reader r{out};
  BOOST_TEST(troupe::read<std::uint8_t>(r) == 1);
  BOOST_TEST(r.left() == 18u);
  BOOST_CHECK_EXCEPTION(r.expect_end(), troupe::codec_error, [](auto& e) { return e.what() == "18 bytes are left over"s; });
  BOOST_TEST(troupe::read<std::string>(r) == "ab");
  BOOST_TEST(troupe::read<double>(r) == 2.0);
  BOOST_CHECK_NO_THROW(r.expect_end());
}

BOOST_AUTO_TEST_CASE(random_values_come_back_equal) {
  using type = std::tuple<std::vector<std::optional<std::string>>, std::map<int, std::vector<std::uint8_t>>,
                          std::variant<bool, std::u16string, std::list<std::int64_t>>, std::array<std::int16_t, 3>>;
  std::mt19937_64 random{20240607};
  auto below = [&](std::uint64_t n) { return random() % n; };
  for (int round = 0; round < 2000; ++round) {
    type x;
    for (auto n = below(6); n > 0; --n)
      std::get<0>(x).push_back(below(2) != 0 ? std::optional{std::string(below(40), static_cast<char>(random()))} : std::nullopt);
    for (auto n = below(5); n > 0; --n)
      std::get<1>(x)[static_cast<int>(random())].resize(below(9), static_cast<std::uint8_t>(random()));
    switch (below(3)) {
      case 0:
        std::get<2>(x) = below(2) != 0;
        break;
      case 1:
        std::get<2>(x) = std::u16string(below(7), static_cast<char16_t>(random()));
        break;
      default:
        std::get<2>(x) = std::list<std::int64_t>(below(4), static_cast<std::int64_t>(random()));
    }
    for (auto& i : std::get<3>(x))
      i = static_cast<std::int16_t>(random());
    auto in = encoded(x);
    BOOST_REQUIRE((decoded<type>(in) == x));
    BOOST_REQUIRE((encoded(decoded<type>(in)) == in));
  }
}
