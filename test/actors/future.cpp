#define BOOST_TEST_MODULE future
#include <boost/test/unit_test.hpp>

#include "actors/waiting.hpp"

#include "troupe/actors/future.hpp"
#include "troupe/actors/waiter.hpp"

#include <array>
#include <atomic>
#include <chrono>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using namespace std::string_literals;
using troupe::error_kind;
using troupe::future;

namespace {

template <class T>
using state_of = troupe::detail::typed_future_state<T>;

template <class T>
troupe::frame_view encoded(const T& x) {
  auto owner = std::make_shared<troupe::byte_buffer>();
  troupe::writer w{*owner};
  troupe::write(w, x);
  troupe::frame_view f;
  f.payload = *owner;
  f.owner = owner;
  return f;
}

template <class T>
future<T> ready_with(const T& x) {
  auto s = std::make_shared<state_of<T>>();
  s->set_value(encoded(x));
  return future<T>{s};
}

template <class T>
future<T> failed_with(error_kind kind) {
  auto s = std::make_shared<state_of<T>>();
  s->set_error(troupe::make_error_info(kind, "what went wrong", 4));
  return future<T>{s};
}

// Counts what is done with its values.
struct counted {
  static inline std::atomic<int> loads, copies, moves;
  static void reset() { loads = copies = moves = 0; }

  std::string text;

  counted() = default;
  explicit counted(std::string t) : text(std::move(t)) {}
  counted(const counted& other) : text(other.text) { ++copies; }
  counted(counted&& other) noexcept : text(std::move(other.text)) { ++moves; }
  counted& operator=(const counted& other) {
    text = other.text;
    ++copies;
    return *this;
  }
  counted& operator=(counted&& other) noexcept {
    text = std::move(other.text);
    ++moves;
    return *this;
  }

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, counted& x) {
    if constexpr (Inspector::writes_state)
      ++loads;
    return f(x.text);
  }
};

struct move_only {
  int value = 0;
  move_only() = default;
  explicit move_only(int v) : value(v) {}
  move_only(move_only&&) = default;
  move_only& operator=(move_only&&) = default;

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, move_only& x) {
    return f(x.value);
  }
};

template <class T>
constexpr bool fetch_gives_a_reference = std::is_same_v<decltype(std::declval<const future<T>&>().fetch()), const T&>;

template <class F>
concept has_take = requires(F& f) { f.take(); };

} // namespace

static_assert(fetch_gives_a_reference<int> && fetch_gives_a_reference<std::string>);
static_assert(std::is_same_v<decltype(std::declval<future<std::string>>().fetch()), std::string>, "nothing to refer to is left");
static_assert(std::is_void_v<decltype(std::declval<const future<void>&>().fetch())>);
static_assert(!has_take<future<int>>, "a future is not emptied by reading it"); // FU-04

// -- values -----------------------------------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(a_result_is_decoded_once_and_can_be_fetched_again_and_again) { // FU-05
  counted::reset();
  auto f = ready_with(counted{"x"});
  counted::reset();
  BOOST_TEST(f.isready());
  BOOST_TEST(counted::loads == 0); // whoever wants it pays for it
  auto& first = f.fetch();
  BOOST_TEST(first.text == "x");
  auto g = f;
  BOOST_TEST(&f.fetch() == &first);
  BOOST_TEST(&g.fetch() == &first);
  BOOST_TEST(counted::loads == 1);
  BOOST_TEST(counted::copies == 0);
}

BOOST_AUTO_TEST_CASE(many_threads_fetch_the_same_value) { // FU-06
  for (int round = 0; round < 30; ++round) {
    counted::reset();
    auto s = std::make_shared<state_of<counted>>();
    future<counted> f{s};
    std::array<const counted*, 8> got{};
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < got.size(); ++i)
      threads.emplace_back([&, i, copy = f] { got[i] = &copy.fetch(); });
    s->set_value(encoded(counted{"x"}));
    for (auto& t : threads)
      t.join();
    for (auto p : got)
      BOOST_TEST(p == &f.fetch());
    BOOST_TEST(counted::loads == 1);
  }
}

BOOST_AUTO_TEST_CASE(the_reference_stays_valid_while_a_copy_of_the_future_lives) {
  auto f = std::make_unique<future<std::vector<int>>>(ready_with(std::vector{1, 2, 3}));
  auto g = *f;
  auto& x = f->fetch();
  f.reset();
  BOOST_TEST((x == std::vector{1, 2, 3}));
}

BOOST_AUTO_TEST_CASE(the_bytes_are_given_back_once_they_are_decoded) {
  auto v = encoded(std::vector<int>(1000));
  std::weak_ptr<const troupe::byte_buffer> bytes = v.owner;
  auto s = std::make_shared<state_of<std::vector<int>>>();
  s->set_value(std::move(v));
  future<std::vector<int>> f{s};
  BOOST_TEST(!bytes.expired());
  f.fetch();
  BOOST_TEST(bytes.expired());
}

BOOST_AUTO_TEST_CASE(the_last_future_moves_its_value_out) { // RC-28
  auto f = ready_with(counted{"x"});
  counted::reset();
  auto x = std::move(f).get();
  BOOST_TEST(x.text == "x");
  BOOST_TEST(counted::copies == 0);
  BOOST_TEST(!f.valid());
  counted::reset();
  BOOST_TEST(ready_with(counted{"y"}).fetch().text == "y"); // also by fetch, from a future that ends with the expression
  BOOST_TEST(counted::copies == 0);
}

BOOST_AUTO_TEST_CASE(who_delivers_a_value_does_not_keep_it_from_being_moved) { // RC-28
  auto delivers = std::make_shared<state_of<counted>>(); // holds on while the other goes on
  future<counted> f{delivers};
  delivers->set_value(encoded(counted{"x"}));
  counted::reset();
  BOOST_TEST(std::move(f).get().text == "x");
  BOOST_TEST(counted::copies == 0);
}

BOOST_AUTO_TEST_CASE(other_copies_keep_the_value) {
  auto f = ready_with(counted{"x"});
  auto g = f;
  auto h = std::move(g); // is no third copy
  future<counted> i;
  i = h;
  i = future<counted>{};
  counted::reset();
  BOOST_TEST(std::move(f).get().text == "x");
  BOOST_TEST(counted::copies == 1);
  BOOST_TEST(h.fetch().text == "x");
  counted::reset();
  BOOST_TEST(std::move(h).get().text == "x"); // is the last by now
  BOOST_TEST(counted::copies == 0);
}

BOOST_AUTO_TEST_CASE(a_value_that_cannot_be_copied_is_whose_who_comes_first) {
  auto f = ready_with(move_only{5});
  auto g = f;
  BOOST_TEST(f.fetch().value == 5);
  BOOST_TEST(std::move(f).get().value == 5);
}

BOOST_AUTO_TEST_CASE(results_that_compare_false_are_results) { // RC-25
  BOOST_TEST(ready_with(0).fetch() == 0);
  BOOST_TEST(ready_with(false).fetch() == false);
  BOOST_TEST(ready_with(""s).fetch().empty());
  BOOST_TEST(ready_with(std::vector<int>{}).fetch().empty());
  BOOST_TEST(!ready_with(std::optional<int>{}).fetch());
  BOOST_TEST((ready_with(std::map<int, int>{}).fetch() == std::map<int, int>{}));
  auto s = std::make_shared<state_of<void>>();
  future<void> f{s};
  BOOST_TEST(!f.isready());
  s->set_value({});
  BOOST_TEST(f.isready());
  BOOST_CHECK_NO_THROW(f.fetch());
  BOOST_CHECK_NO_THROW(f.wait());
  BOOST_CHECK_NO_THROW(std::move(f).get());
  BOOST_TEST(!f.valid());
}

// -- errors -----------------------------------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(an_error_is_thrown_by_each_that_asks) { // FU-07
  auto f = failed_with<int>(error_kind::process_exited);
  auto g = f;
  auto check = [](auto& e) { return e.message() == "what went wrong" && e.pid() == 4; };
  BOOST_TEST(f.isready());
  BOOST_TEST(f.wait_for(0ms)); // it has ended, and this tells no more
  for (int i = 0; i < 2; ++i) {
    BOOST_CHECK_EXCEPTION(f.fetch(), troupe::process_exited, check);
    BOOST_CHECK_EXCEPTION(f.wait(), troupe::process_exited, check);
    BOOST_CHECK_EXCEPTION(g.fetch(), troupe::process_exited, check);
  }
  BOOST_CHECK_EXCEPTION(std::move(f).get(), troupe::process_exited, check);
  BOOST_TEST(!f.valid());
  BOOST_CHECK_EXCEPTION(g.wait(), troupe::process_exited, check);
  auto v = failed_with<void>(error_kind::remote);
  BOOST_CHECK_THROW(v.fetch(), troupe::remote_error);
  BOOST_CHECK_THROW(v.wait(), troupe::remote_error);
  BOOST_CHECK_THROW(std::move(v).get(), troupe::remote_error);
}

BOOST_AUTO_TEST_CASE(a_result_that_cannot_be_decoded_is_an_error_each_time) {
  auto check = [](auto& e) { return std::string_view{e.what()}.find("a result can't be decoded") != std::string_view::npos; };
  auto s = std::make_shared<state_of<std::string>>();
  s->set_value(encoded(std::uint64_t{100})); // a length without what it promises
  future<std::string> f{s};
  for (int i = 0; i < 2; ++i)
    BOOST_CHECK_EXCEPTION(f.fetch(), troupe::not_decodable, check);
  BOOST_CHECK_NO_THROW(f.wait()); // the call itself didn't fail
  auto t = std::make_shared<state_of<char>>();
  t->set_value(encoded(7));
  BOOST_CHECK_EXCEPTION(future<char>{t}.fetch(), troupe::not_decodable, check); // bytes are left over
  future<char> g{t};
  BOOST_CHECK_EXCEPTION(g.fetch(), troupe::not_decodable, check);
  BOOST_CHECK_EXCEPTION(g.fetch(), troupe::not_decodable, check); // and no half-decoded value is given out then
}

BOOST_AUTO_TEST_CASE(an_empty_future_throws_usage_error) {
  auto check_empty = [](future<int>& f) {
    BOOST_TEST(!f.valid());
    BOOST_CHECK_THROW(f.fetch(), troupe::usage_error);
    BOOST_CHECK_THROW(f.wait(), troupe::usage_error);
    BOOST_CHECK_THROW(f.wait_for(1ms), troupe::usage_error);
    BOOST_CHECK_THROW(f.isready(), troupe::usage_error);
    BOOST_CHECK_THROW(std::move(f).get(), troupe::usage_error);
  };
  future<int> made;
  check_empty(made);
  auto moved = ready_with(1);
  auto to = std::move(moved);
  check_empty(moved);
  BOOST_TEST(to.fetch() == 1);
  static_cast<void>(std::move(to).get());
  check_empty(to);
  future<void> nothing;
  BOOST_CHECK_THROW(nothing.fetch(), troupe::usage_error);
  BOOST_CHECK_THROW(std::move(nothing).get(), troupe::usage_error);
}

// -- waiting ----------------------------------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(a_wait_with_a_limit_tells_whether_the_call_has_ended) {
  auto s = std::make_shared<state_of<int>>();
  future<int> f{s};
  BOOST_TEST(!f.isready());
  auto begin = std::chrono::steady_clock::now();
  BOOST_TEST(!f.wait_for(20ms));
  BOOST_TEST((std::chrono::steady_clock::now() - begin >= 20ms));
  BOOST_TEST(!f.wait_for(0s));
  BOOST_TEST(!f.wait_for(-1h));
  BOOST_TEST(!f.wait_for(std::chrono::duration<double>{0.001}));
  std::thread setter{[&] { s->set_value(encoded(3)); }};
  BOOST_TEST(f.wait_for(1min));
  setter.join();
  BOOST_TEST(f.fetch() == 3);
}

BOOST_AUTO_TEST_CASE(a_limit_may_be_longer_than_time_can_tell) {
  for (int i = 0; i < 2; ++i) {
    auto s = std::make_shared<state_of<int>>();
    future<int> f{s};
    test::event waits;
    std::thread setter{[&] {
      waits.wait();
      s->set_value(encoded(3));
    }};
    waits.set();
    BOOST_TEST((i == 0 ? f.wait_for(std::chrono::hours::max()) : f.wait_for(std::chrono::duration<double>{1e300})));
    setter.join();
  }
}

BOOST_AUTO_TEST_CASE(a_thread_that_waits_sees_the_value) { // FU-12
  for (int i = 0; i < 1000; ++i) {
    auto s = std::make_shared<state_of<int>>();
    future<int> f{s};
    std::thread setter{[s, i] { s->set_value(encoded(i)); }};
    BOOST_REQUIRE(f.fetch() == i);
    setter.join();
  }
}

BOOST_AUTO_TEST_CASE(where_blocking_is_forbidden_only_ready_futures_can_be_asked) {
  troupe::waiter::no_blocking guard{"not here"};
  BOOST_TEST(ready_with(1).fetch() == 1);
  future<int> f{std::make_shared<state_of<int>>()};
  BOOST_TEST(!f.isready());
  BOOST_CHECK_THROW(f.fetch(), troupe::usage_error);
  BOOST_CHECK_THROW(f.wait(), troupe::usage_error);
  BOOST_CHECK_THROW(f.wait_for(1ms), troupe::usage_error);
}
