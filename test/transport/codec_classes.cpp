#define BOOST_TEST_MODULE codec_classes
#include <boost/test/unit_test.hpp>

#include "transport/encoding.hpp"

#include "troupe/transport/error.hpp"

#include <array>
#include <atomic>
#include <caf/error.hpp>
#include <caf/meta/load_callback.hpp>
#include <caf/meta/save_callback.hpp>
#include <caf/meta/type_name.hpp>
#include <caf/sec.hpp>
#include <deque>
#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <tuple>
#include <variant>
#include <vector>

using namespace std::string_literals;
using test::contains;
using test::decoded;
using test::encoded;
using test::from_hex;
using test::to_hex;

namespace {

struct point {
  std::int16_t x = 0;
  std::string label;
  std::int16_t grid[2][2] = {};
  bool flags[2] = {};
  std::string names[2];

  friend bool operator==(const point& a, const point& b) {
    return std::tie(a.x, a.label, a.flags[0], a.flags[1], a.names[0], a.names[1], a.grid[1][0])
           == std::tie(b.x, b.label, b.flags[0], b.flags[1], b.names[0], b.names[1], b.grid[1][0]);
  }

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, point& p) {
    return f(caf::meta::type_name("point"), p.x, p.label, p.grid, p.flags, p.names);
  }
};

struct tree {
  int value = 0;
  std::vector<tree> children;

  friend bool operator==(const tree&, const tree&) = default;

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, tree& x) {
    return f(x.value, x.children);
  }
};

// Its callbacks do what they are told, and count.
struct with_callbacks {
  std::uint8_t value = 0;
  caf::error on_save;
  caf::error on_load;
  int saved = 0;
  int loaded = 0;
  std::uint8_t after = 0;

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, with_callbacks& x) {
    auto save = [&]() -> caf::error {
      ++x.saved;
      return x.on_save;
    };
    auto load = [&]() -> caf::error {
      ++x.loaded;
      return x.on_load;
    };
    return f(x.value, caf::meta::save_callback(save), caf::meta::load_callback(load), x.after);
  }
};

struct positive {
  int value = 1;

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, positive& x) {
    if (auto e = f(x.value))
      return e;
    if (x.value <= 0)
      return caf::make_error(caf::sec::invalid_argument, "must be positive");
    return {};
  }
};

struct throwing {
  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector&, throwing&) {
    throw std::out_of_range{"thrown by inspect"};
  }
};

struct plain {
  std::int32_t a = 0;
  char b = 0;
  double c = 0;
  friend bool operator==(const plain&, const plain&) = default;
};

union number_or_text {
  std::uint32_t number;
  char text[4];
};

struct with_pointer {
  long before = 0;
  const int* p = nullptr;
};

// Lies in memory as an address, travels as a number.
struct interned {
  const int* p = nullptr;

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, interned& x) {
    static constexpr int table[] = {10, 11, 12};
    auto index = x.p == nullptr ? 0 : *x.p - 10;
    auto e = f(index);
    x.p = &table[index];
    return e;
  }
};

struct with_codec {
  std::string text;
};

struct not_inspectable {
  std::string text;
};

int some_variable = 10;

std::string why_not_encoded(auto&& x) {
  try {
    static_cast<void>(encoded(x));
    return {};
  } catch (const troupe::codec_error& e) {
    return e.what();
  }
}

} // namespace

template <>
struct troupe::codec<with_codec> {
  static void write(writer& w, const with_codec& x) { troupe::write(w, "<" + x.text + ">"); }
  static void read(reader& r, with_codec& x) {
    auto text = troupe::read<std::string>(r);
    x.text = text.substr(1, text.size() - 2);
  }
};

// -- what can travel, and what can't --------------------------------------------------------------------------------------

static_assert(troupe::sendable<int> && troupe::sendable<bool> && troupe::sendable<long double>);
static_assert(troupe::sendable<std::string> && troupe::sendable<std::vector<std::vector<bool>>>);
static_assert(troupe::sendable<point> && troupe::sendable<tree> && troupe::sendable<std::map<std::string, point>>);
static_assert(troupe::sendable<plain> && troupe::sendable<number_or_text> && troupe::sendable<with_codec>);
static_assert(troupe::sendable<std::optional<std::variant<std::monostate, tree>>>);
static_assert(troupe::sendable<std::nullptr_t> && troupe::sendable<std::tuple<>> && troupe::sendable<int[3]>);
static_assert(troupe::sendable<with_pointer>, "only a look at the value can tell");

static_assert(!troupe::sendable<int*> && !troupe::sendable<const char*> && !troupe::sendable<void*>);
static_assert(!troupe::sendable<void (*)()> && !troupe::sendable<int plain::*> && !troupe::sendable<void (plain::*)()>);
static_assert(!troupe::sendable<std::string_view> && !troupe::sendable<std::u16string_view>);
static_assert(!troupe::sendable<std::span<int>> && !troupe::sendable<std::span<const double, 3>>);
static_assert(!troupe::sendable<std::reference_wrapper<int>> && !troupe::sendable<std::initializer_list<int>>);
static_assert(!troupe::sendable<std::function<void()>> && !troupe::sendable<not_inspectable>);
static_assert(!troupe::sendable<std::unique_ptr<int>> && !troupe::sendable<std::shared_ptr<int>>);
static_assert(!troupe::sendable<std::mutex> && !troupe::sendable<std::atomic<int>>);
static_assert(!troupe::sendable<std::vector<int*>> && !troupe::sendable<std::vector<std::string_view>>);
static_assert(!troupe::sendable<std::vector<std::vector<not_inspectable>>>);
static_assert(!troupe::sendable<std::deque<std::function<void()>>>);
static_assert(!troupe::sendable<std::map<int, const char*>> && !troupe::sendable<std::map<std::string_view, int>>);
static_assert(!troupe::sendable<std::map<int, std::vector<std::span<int>>>>);
static_assert(!troupe::sendable<std::optional<int*>> && !troupe::sendable<std::optional<not_inspectable>>);
static_assert(!troupe::sendable<std::variant<int, int*>> && !troupe::sendable<std::variant<int, not_inspectable>>);
static_assert(!troupe::sendable<std::pair<int, std::string_view>> && !troupe::sendable<std::pair<not_inspectable, int>>);
static_assert(!troupe::sendable<std::tuple<int, int*>> && !troupe::sendable<std::tuple<std::tuple<std::string_view>>>);
static_assert(!troupe::sendable<std::array<int*, 2>> && !troupe::sendable<std::array<not_inspectable, 2>>);
static_assert(!troupe::sendable<std::array<std::optional<std::string_view>, 2>>);
static_assert(!troupe::sendable<int* [2]> && !troupe::sendable<std::string_view[2]>);

// -- classes with inspect ---------------------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(inspect_writes_its_fields_one_after_the_other) {
  point p{258, "ab", {{1, 2}, {3, 4}}, {true, false}, {"x", ""}};
  auto in = encoded(p);
  BOOST_TEST(to_hex(in)
             == to_hex(from_hex("0201 0200000000000000 6162 0100 0200 0300 0400 01 00"
                                "0100000000000000 78 0000000000000000")));
  BOOST_TEST((decoded<point>(in) == p));
  BOOST_TEST((decoded<std::vector<point>>(encoded(std::vector{p, point{}, p})) == std::vector{p, point{}, p}));
}

BOOST_AUTO_TEST_CASE(classes_that_contain_themselves_come_back_equal) {
  tree t{1, {{2, {{3, {}}}}, {4, {}}}};
  BOOST_TEST((decoded<tree>(encoded(t)) == t));
}

BOOST_AUTO_TEST_CASE(callbacks_run_on_their_side_only) {
  with_callbacks x;
  x.value = 7;
  x.after = 8;
  auto in = encoded(x);
  BOOST_TEST(to_hex(in) == "0708");
  BOOST_TEST(x.saved == 1);
  BOOST_TEST(x.loaded == 0);
  auto y = decoded<with_callbacks>(in);
  BOOST_TEST(y.saved == 0);
  BOOST_TEST(y.loaded == 1);
  BOOST_TEST(y.after == 8);
}

BOOST_AUTO_TEST_CASE(a_callback_that_fails_ends_it_with_its_text) {
  with_callbacks x;
  x.on_save = caf::make_error(caf::sec::invalid_argument, "not while it is dark");
  BOOST_TEST(contains(why_not_encoded(x), "not while it is dark"), why_not_encoded(x));

  with_callbacks y;
  y.on_load = caf::make_error(caf::sec::invalid_argument, "too early");
  y.after = 99;
  auto in = from_hex("0708");
  troupe::reader r{in};
  BOOST_CHECK_EXCEPTION(troupe::read(r, y), troupe::codec_error, [](auto& e) { return contains(e.what(), "too early"); });
  BOOST_TEST(int{y.value} == 7);
  BOOST_TEST(int{y.after} == 99); // nothing behind the failure is read
}

BOOST_AUTO_TEST_CASE(an_error_that_inspect_returns_ends_it_at_any_depth) {
  BOOST_TEST(why_not_encoded(positive{1}) == "");
  BOOST_TEST(contains(why_not_encoded(positive{0}), "must be positive"));
  BOOST_TEST(contains(why_not_encoded(std::deque{positive{1}, positive{-1}}), "must be positive"));
  BOOST_TEST(contains(why_not_encoded(std::tuple{1, std::optional{positive{-1}}}), "must be positive"));
  BOOST_TEST(contains(test::why_not_decoded<positive>(from_hex("00000000")), "must be positive"));
  BOOST_TEST(decoded<positive>(from_hex("05000000")).value == 5);
}

BOOST_AUTO_TEST_CASE(what_inspect_throws_passes_through) {
  BOOST_CHECK_EXCEPTION(encoded(throwing{}), std::out_of_range, [](auto& e) { return e.what() == "thrown by inspect"s; });
  BOOST_CHECK_THROW(decoded<throwing>({}), std::out_of_range);
}

BOOST_AUTO_TEST_CASE(a_type_with_a_codec_of_its_own_uses_it_everywhere) {
  BOOST_TEST(to_hex(encoded(with_codec{"a"})) == to_hex(from_hex("0300000000000000 3c613e")));
  auto many = decoded<std::map<int, std::vector<with_codec>>>(encoded(std::map<int, std::vector<with_codec>>{{1, {{"a"}, {"b"}}}}));
  BOOST_TEST(many[1][1].text == "b");
}

BOOST_AUTO_TEST_CASE(errors_travel_whole) {
  auto inner = troupe::make_error_info(troupe::error_kind::remote, "inner", 3);
  inner.stack.push_back({"f(int)", "program", 0x1234, 2});
  auto outer = troupe::make_error_info(troupe::error_kind::composite, "outer");
  outer.parts = {inner, inner};
  outer.pids = {4, 5};
  outer.cause.signal = 9;
  outer.failures.push_back({"host", troupe::launch_reason::refused, 7, "no"});
  auto back = decoded<troupe::error_info>(encoded(outer));
  BOOST_TEST((back.kind == troupe::error_kind::composite));
  BOOST_REQUIRE(back.parts.size() == 2u);
  BOOST_TEST(back.parts[1].message == "inner");
  BOOST_TEST((back.parts[1].stack == inner.stack));
  BOOST_TEST((back.pids == outer.pids));
  BOOST_TEST(back.cause.signal == 9);
  BOOST_REQUIRE(back.failures.size() == 1u);
  BOOST_TEST((back.failures[0].reason == troupe::launch_reason::refused));
}

// -- classes without ----------------------------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(a_trivially_copyable_class_travels_as_its_bytes) {
  plain p{-1, 'x', 0.5};
  auto in = encoded(p);
  BOOST_TEST(in.size() == sizeof p);
  BOOST_TEST((decoded<plain>(in) == p));
  std::vector<plain> many(1000, p);
  in = encoded(many);
  BOOST_TEST(in.size() == 8 + 1000 * sizeof p);
  BOOST_TEST((decoded<std::vector<plain>>(in) == many));
  BOOST_TEST((decoded<std::array<plain, 2>>(encoded(std::array{p, plain{}})) == std::array{p, plain{}}));
  number_or_text u{.number = 0x01020304};
  BOOST_TEST(decoded<number_or_text>(encoded(u)).number == 0x01020304u);
}

BOOST_AUTO_TEST_CASE(an_address_in_a_value_is_refused_with_what_to_do) { // RC-22
  auto check_refused = [](const std::string& why, std::size_t offset) {
    BOOST_TEST(contains(why, "address of this process"), why);
    BOOST_TEST(contains(why, "at byte " + std::to_string(offset) + ","), why);
    BOOST_TEST(contains(why, "give the type an inspect(f, x)"), why);
  };
  with_pointer x{7, &some_variable};
  check_refused(why_not_encoded(x), 8);
  check_refused(why_not_encoded(std::vector{x, with_pointer{}}), 8);
  check_refused(why_not_encoded(std::array{x}), 8);
  check_refused(why_not_encoded(std::optional{x}), 8);
  check_refused(why_not_encoded(std::tuple{1, x}), 8);
  auto on_heap = std::make_unique<int>(3);
  check_refused(why_not_encoded(std::map<int, with_pointer>{{1, {0, on_heap.get()}}}), 8);
  int on_stack = 4;
  check_refused(why_not_encoded(with_pointer{0, &on_stack}), 8);
  BOOST_TEST(why_not_encoded(with_pointer{7, nullptr}) == "");
}

BOOST_AUTO_TEST_CASE(an_address_is_never_sent_for_a_class_whose_inspect_translates_it) {
  interned x{&some_variable};
  BOOST_TEST(to_hex(encoded(x)) == "00000000");
  BOOST_TEST(*decoded<interned>(from_hex("02000000")).p == 12);
  BOOST_TEST(*decoded<std::deque<interned>>(encoded(std::deque{x})).front().p == 10);
  // where many move as one block, the block is refused
  BOOST_TEST(contains(why_not_encoded(std::vector{x}), "address of this process"));
}
