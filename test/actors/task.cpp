#define BOOST_TEST_MODULE task
#include <boost/test/unit_test.hpp>

#include "transport/encoding.hpp"

#include "troupe/actors/task.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <numeric>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

using namespace std::string_literals;
using test::contains;
namespace detail = troupe::detail;

// What other programs may call by name, and what they can't.

int named_sum(int a, int b) { return a + b; }

struct named_scaler {
  double factor = 1;
  double operator()(double x) const { return factor * x; }
};

TROUPE_TASK(named_sum)
TROUPE_TASK(named_scaler)

namespace {

int difference(int a, int b) { return a - b; }

int sum(int a, int b) { return a + b; }

std::string join(const std::vector<std::string>& texts, std::string_view separator) {
  std::string out;
  for (auto& t : texts)
    out += (out.empty() ? "" : std::string{separator}) + t;
  return out;
}

struct accumulator {
  int total = 0;
  int add(int n) { return total += n; }
  int get() const noexcept { return total; }
};

struct positive {
  int value = 1;
  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, positive& x) {
    if (x.value <= 0)
      throw std::domain_error{"must be positive"};
    return f(x.value);
  }
};

// A function object with a state of its own making.
struct polynomial {
  std::vector<double> coefficients;
  double operator()(double x) const {
    double y = 0;
    for (auto i = coefficients.rbegin(); i != coefficients.rend(); ++i)
      y = y * x + *i;
    return y;
  }
  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, polynomial& p) {
    return f(p.coefficients);
  }
};

template <class F, class... Args>
test::bytes encoded_call(const F& f, Args&&... args) {
  troupe::byte_buffer out;
  troupe::writer w{out};
  detail::task_of<F, Args...>::write_call(w, nullptr, f, std::forward<Args>(args)...);
  return {out.begin(), out.end()};
}

// Runs what find_task gives for an id, as where a call arrives.
test::bytes run(std::uint64_t id, std::span<const std::byte> call) {
  auto entry = detail::find_task(id);
  if (entry == nullptr)
    throw std::logic_error{"no such task"};
  troupe::byte_buffer out;
  troupe::writer w{out};
  troupe::reader r{call};
  entry->run(r, w);
  return {out.begin(), out.end()};
}

// Calls f as another process would.
template <class F, class... Args>
auto call(F f, Args&&... args) {
  using task = detail::task_of<F, Args...>;
  auto result = run(task::id(), encoded_call(f, std::forward<Args>(args)...));
  if constexpr (std::is_void_v<typename task::result>)
    BOOST_TEST(result.empty());
  else
    return test::decoded<typename task::result>(result);
}

std::string why_not_encoded(auto&& f) {
  try {
    f();
    return {};
  } catch (const std::exception& e) {
    return e.what();
  }
}

template <class T>
troupe::future<T> ready_future(const T& x) {
  auto owner = std::make_shared<troupe::byte_buffer>();
  troupe::writer w{*owner};
  troupe::write(w, x);
  auto s = std::make_shared<detail::typed_future_state<T>>();
  troupe::frame_view f;
  f.payload = *owner;
  f.owner = owner;
  s->set_value(std::move(f));
  return troupe::future<T>{s};
}

} // namespace

// -- what can be called -------------------------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(a_lambda_without_captures_can_be_called) {
  BOOST_TEST(call([](int a, int b) { return a * b; }, 6, 7) == 42);
  BOOST_TEST(call([] { return "nothing needed"s; }) == "nothing needed");
  BOOST_TEST(encoded_call([] {}).empty()); // nothing of it travels
}

BOOST_AUTO_TEST_CASE(captures_travel_with_the_function) { // RC-07
  int a = 3;
  double b = 0.5;
  std::array<char, 3> c{'x', 'y', 'z'};
  BOOST_TEST(call([=](int x) { return a * x + b + c[1]; }, 10) == 30.5 + 'y');
  auto three = [a](int y) { return a * y; };
  BOOST_TEST(call(three, 2) + 1 == 7);
}

BOOST_AUTO_TEST_CASE(a_lambda_that_changes_its_captures_changes_a_copy) {
  int n = 0;
  auto count = [n]() mutable { return ++n; };
  BOOST_TEST(call(count) == 1);
  BOOST_TEST(call(count) == 1);
}

BOOST_AUTO_TEST_CASE(what_lies_between_captures_does_not_travel) {
  if (!detail::can_clear_padding)
    return;
  auto make = [](char fill) {
    [[maybe_unused]] volatile char dirt[256];
    for (auto& d : dirt)
      d = fill;
    char c = 'c';
    double d = 2;
    return encoded_call([c, d] { return c + d; });
  };
  BOOST_TEST((make('a') == make('b')));
}

BOOST_AUTO_TEST_CASE(a_capture_that_is_an_address_is_refused_with_its_place_and_what_to_do) { // RC-22
  int local = 1;
  std::uint64_t before = 5;
  auto heap = std::make_unique<int>(2);
  auto raw = heap.get();
  auto check_refused = [](const std::string& why, const std::string& offset) {
    BOOST_TEST(contains(why, "byte " + offset + " of the captures of "), why);
    BOOST_TEST(contains(why, "an address of this process (in its "), why);
    BOOST_TEST(contains(why, "troupe::with(values…, f)"), why);
    BOOST_TEST(contains(why, "troupe::bytes(f)"), why);
  };
  check_refused(why_not_encoded([&] { encoded_call([&local] { return local; }); }), "0");
  check_refused(why_not_encoded([&] { encoded_call([before, &local] { return before + static_cast<unsigned>(local); }); }), "8");
  auto on_heap = why_not_encoded([&] { encoded_call([before, raw] { return before + static_cast<unsigned>(*raw); }); });
  check_refused(on_heap, "8");
  BOOST_TEST(why_not_encoded([&] { encoded_call([before] { return before; }); }) == "");
}

BOOST_AUTO_TEST_CASE(bytes_sends_captures_unseen) {
  int local = 1;
  auto p = &local;
  BOOST_TEST(call(troupe::bytes([p] { return *p; })) == 1); // this process is the other one
  BOOST_TEST(call(troupe::bytes([x = 5](int y) { return x - y; }), 2) == 3);
  BOOST_TEST(call(troupe::bytes([] { return 9; })) == 9);
}

BOOST_AUTO_TEST_CASE(with_takes_values_of_any_kind_along) {
  std::vector<double> grid{1, 2, 3};
  auto f = troupe::with(grid, "name"s, [](const std::vector<double>& g, const std::string& name, int k) {
    return name + std::to_string(std::accumulate(g.begin(), g.end(), 0.0) * k);
  });
  BOOST_TEST(call(f, 2) == "name12.000000");
  BOOST_TEST(call(f, 3) == "name18.000000"); // it can be called again
  int captured = 7;
  BOOST_TEST(call(troupe::with(std::map<int, int>{{1, 2}}, [captured](std::map<int, int>& m) { return m[1] + captured; })) == 9);
  BOOST_TEST(call(troupe::with(std::string{"generic"}, [](const auto& s, auto n) { return s.size() + n; }), std::size_t{1}) == 8u);
  BOOST_TEST(call(troupe::with(20, troupe::fn<sum>), 22) == 42);
  auto nested = troupe::with("a"s, troupe::with("b"s, [](std::string x, std::string y, std::string z) { return x + y + z; }));
  BOOST_TEST(call(nested, "c") == "bac"); // each puts its own in front
}

BOOST_AUTO_TEST_CASE(what_a_with_takes_is_copied_or_moved_in) {
  std::vector<int> values{1, 2, 3};
  auto f = troupe::with(values, [](std::vector<int>& v) {
    v.clear();
    return v.size();
  });
  BOOST_TEST(call(f) == 0u);
  BOOST_TEST(std::get<0>(f.values).size() == 3u);
  BOOST_TEST(values.size() == 3u);
  auto g = troupe::with(std::move(values), [](std::vector<int>& v) { return v.size(); });
  BOOST_TEST(call(g) == 3u);
  BOOST_TEST(values.empty()); // NOLINT: moved from
}

BOOST_AUTO_TEST_CASE(a_function_object_with_inspect_travels_as_it_says) {
  BOOST_TEST(call(polynomial{{1, 2, 3}}, 2.0) == 17);
  BOOST_TEST(call(named_scaler{2.5}, 4) == 10);
}

BOOST_AUTO_TEST_CASE(a_function_that_is_named_at_compile_time_can_be_called) {
  BOOST_TEST(call(troupe::fn<difference>, 5, 3) == 2);
  BOOST_TEST(encoded_call(troupe::fn<difference>, 5, 3).size() == 8u); // the arguments alone
  BOOST_TEST(call(troupe::fn<join>, std::vector{"a"s, "b"s}, ", ") == "a, b");
  BOOST_TEST(call(troupe::fn<&accumulator::get>, accumulator{5}) == 5);
  BOOST_TEST(call(troupe::fn<&accumulator::add>, accumulator{5}, 2) == 7);
}

// -- arguments ----------------------------------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(arguments_convert_to_the_parameters_types_where_the_call_is_made) {
  BOOST_TEST(encoded_call([](double x) { return x; }, 1) == test::encoded(1.0));
  BOOST_TEST(encoded_call([](std::uint8_t x) { return x; }, 'a') == test::encoded(std::uint8_t{97}));
  BOOST_TEST(call([](const std::string& s) { return s + "!"; }, "text") == "text!");
  BOOST_TEST(call([](std::optional<int> x) { return x.value_or(-1); }, 5) == 5);
  BOOST_TEST(call([](std::optional<int> x) { return x.value_or(-1); }, std::nullopt) == -1);
  BOOST_TEST(call([](bool b) { return b; }, 2) == true);
  BOOST_TEST(call([](positive p) { return p.value; }, positive{3}) == 3);
  BOOST_TEST(call([](long a, short b) { return a + b; }, std::int8_t{1}, 2LL) == 3);
}

BOOST_AUTO_TEST_CASE(parameters_may_be_values_references_and_views) {
  std::vector<int> v{1, 2, 3};
  const auto& constant = v;
  auto size = [](const std::vector<int>& x) { return x.size(); };
  BOOST_TEST(call(size, v) == 3u);
  BOOST_TEST(call(size, constant) == 3u);
  BOOST_TEST(call(size, std::vector<int>{1}) == 1u);
  BOOST_TEST(call([](std::vector<int>& x) { return x.emplace_back(9); }, v) == 9);
  BOOST_TEST(v.size() == 3u); // it was a copy: RC-19
  BOOST_TEST(call([](std::vector<int>&& x) { return std::vector<int>{std::move(x)}; }, v) == v);
  BOOST_TEST(call([](std::string_view s) { return std::string{s}; }, "a\0b"s) == "a\0b"s);
  BOOST_TEST(call([](std::string_view s) { return s.size(); }, std::string_view{"abc"}) == 3u);
  BOOST_TEST(call([](const std::string_view& s) { return s.size(); }, "abcd") == 4u);
  BOOST_TEST(call([](const char* s) { return std::string{s}; }, "abc") == "abc");
  BOOST_TEST(call([](const char* s) { return std::strlen(s); }, "abc"s) == 3u);
}

BOOST_AUTO_TEST_CASE(a_span_parameter_takes_whatever_lies_side_by_side) {
  auto total = [](std::span<const int> x) { return std::accumulate(x.begin(), x.end(), 0); };
  std::vector<int> v{1, 2, 3};
  const std::array<int, 2> a{4, 5};
  int c[] = {6};
  BOOST_TEST(call(total, v) == 6);
  BOOST_TEST(call(total, std::as_const(v)) == 6);
  BOOST_TEST(call(total, a) == 9);
  BOOST_TEST(call(total, c) == 6);
  BOOST_TEST(call(total, std::span{v}.first(2)) == 3);
  BOOST_TEST(call(total, std::vector<int>{}) == 0);
  auto change = [](std::span<int> x) { return x[0] = 77; };
  BOOST_TEST(call(change, v) == 77);
  BOOST_TEST(v[0] == 1);
  auto texts = [](std::span<const std::string> x) { return x.size(); };
  BOOST_TEST(call(texts, std::vector<std::string>{"a", "b"}) == 2u);
}

BOOST_AUTO_TEST_CASE(a_generic_lambda_takes_its_arguments_as_they_are) {
  auto twice = [](auto x) { return x + x; };
  BOOST_TEST(call(twice, 2) == 4);
  BOOST_TEST(call(twice, "ab"s) == "abab");
  BOOST_TEST(call(twice, 1.5) == 3.0);
  BOOST_TEST(call([](const auto& s) { return s.size(); }, "literal") == 7u); // arrives as a string
  BOOST_TEST(call([](auto&&... xs) { return sizeof...(xs); }, 1, "two", 3.0) == 3u);
}

BOOST_AUTO_TEST_CASE(an_argument_that_cannot_be_encoded_throws_before_anything_is_sent) { // RC-22
  auto f = [](int, positive p) { return p.value; };
  BOOST_TEST(why_not_encoded([&] { encoded_call(f, 1, positive{-1}); }) == "must be positive");
}

// -- what comes of it -----------------------------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(results_are_copied_whatever_the_function_returns) {
  static const std::string kept = "kept";
  BOOST_TEST(call([]() -> const std::string& { return kept; }) == "kept");
  BOOST_TEST(call([](std::vector<int>& v) -> int& { return v[1]; }, std::vector{1, 2}) == 2);
}

BOOST_AUTO_TEST_CASE(results_without_content_arrive_like_others) { // RC-25
  call([] {});
  BOOST_TEST(call([] { return 0; }) == 0);
  BOOST_TEST(call([] { return std::string{}; }).empty());
  BOOST_TEST(!call([] { return std::optional<int>{}; }));
  BOOST_TEST((call([] { return std::monostate{}; }) == std::monostate{}));
}

BOOST_AUTO_TEST_CASE(a_future_as_result_is_waited_for) {
  static_assert(std::is_same_v<detail::task_of<decltype([] { return troupe::future<int>{}; })>::result, int>);
  BOOST_TEST(call([](int n) { return ready_future(n + 1); }, 4) == 5);
  call([] {
    auto s = std::make_shared<detail::typed_future_state<void>>();
    s->set_value({});
    return troupe::future<void>{s};
  });
  auto failing = [] {
    auto s = std::make_shared<detail::typed_future_state<int>>();
    s->set_error(troupe::make_error_info(troupe::error_kind::process_exited, "went down", 3));
    return troupe::future<int>{s};
  };
  BOOST_CHECK_EXCEPTION(call(failing), troupe::process_exited, [](auto& e) { return e.message() == "went down"; });
}

BOOST_AUTO_TEST_CASE(what_the_function_throws_passes_through) {
  BOOST_CHECK_EXCEPTION(call([](int n) -> int { throw std::out_of_range{std::to_string(n)}; }, 5), std::out_of_range,
                        [](auto& e) { return e.what() == "5"s; });
  BOOST_CHECK_THROW(call([] { throw 7; }), int);
  BOOST_CHECK_THROW(call([]() -> int { throw troupe::codec_error{"the user's own"}; }), troupe::codec_error);
}

BOOST_AUTO_TEST_CASE(a_result_that_cannot_be_encoded_is_an_error_that_says_so) { // RC-21
  auto f = [](int n) { return std::deque{positive{1}, positive{n}}; };
  using task = detail::task_of<decltype(f), int>;
  auto in = encoded_call(f, -1);
  troupe::byte_buffer out;
  troupe::writer w{out};
  w.put(std::uint32_t{0x01020304}); // what the answer begins with
  troupe::reader r{in};
  BOOST_CHECK_EXCEPTION(task::run(r, w), troupe::not_serializable, [](auto& e) {
    return contains(e.what(), "the result of ") && contains(e.what(), "can't be encoded: must be positive") && !e.info().task.empty();
  });
  BOOST_TEST(test::to_hex(out) == "04030201"); // nothing of it is left behind
}

BOOST_AUTO_TEST_CASE(arguments_that_cannot_be_decoded_are_an_error_that_names_the_function) { // RC-20
  auto good = encoded_call(troupe::fn<join>, std::vector{"a"s}, "-");
  auto join_id = detail::task_of<troupe::fn_t<join>>::id();
  auto check = [](const troupe::not_decodable& e) {
    return contains(e.what(), "the arguments of ") && contains(e.what(), "join") && contains(e.info().task, "join");
  };
  for (std::size_t n = 0; n < good.size(); ++n)
    BOOST_CHECK_EXCEPTION(run(join_id, std::span{good}.first(n)), troupe::not_decodable, check);
  good.push_back(std::byte{0});
  BOOST_CHECK_EXCEPTION(run(join_id, good), troupe::not_decodable, check);
  int captured = 1;
  auto with_capture = [captured](int x) { return captured + x; };
  auto cut = encoded_call(with_capture, 2);
  cut.resize(3);
  BOOST_CHECK_THROW(run(detail::task_of<decltype(with_capture)>::id(), cut), troupe::not_decodable);
}

// -- numbers and names ------------------------------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(each_function_has_a_number_of_its_own) {
  auto first = [](int a, int b) { return a + b; };
  auto second = [](int a, int b) { return a + b; };
  auto generic = [](auto x) { return x; };
  std::vector<std::uint64_t> ids{
    detail::task_of<decltype(first), int, int>::id(), detail::task_of<decltype(second), int, int>::id(),
    detail::task_of<troupe::fn_t<sum>>::id(),         detail::task_of<troupe::fn_t<difference>>::id(),
    detail::task_of<decltype(generic), int>::id(),    detail::task_of<decltype(generic), long>::id(),
    detail::task_of<troupe::fn_t<named_sum>>::id(),   detail::task_of<named_scaler>::id(),
  };
  for (auto& id : ids)
    BOOST_TEST(std::count(ids.begin(), ids.end(), id) == 1);
}

BOOST_AUTO_TEST_CASE(a_function_has_one_number_however_it_is_called) {
  auto f = [](long) {};
  BOOST_TEST((detail::task_of<decltype(f), int>::id()) == (detail::task_of<decltype(f), char>::id()));
  BOOST_TEST((detail::task_of<troupe::fn_t<sum>, int, long>::id()) == (detail::task_of<troupe::fn_t<sum>>::id()));
}

BOOST_AUTO_TEST_CASE(the_number_of_a_name_is_the_same_in_every_program) {
  // FNV-1a of the name, 64 bits, mixed by MurmurHash3's finalizer, with the lowest bit set
  BOOST_TEST(detail::task_of<troupe::fn_t<named_sum>>::id() == 0x29eb8ffdb24903bu);
  BOOST_TEST(detail::task_of<named_scaler>::id() == 0xfa00d3a81d0c1d15u);
  BOOST_TEST((detail::task_of<troupe::fn_t<sum>>::id() & 1) == 0u); // those without a name can't meet them
}

BOOST_AUTO_TEST_CASE(an_unknown_number_finds_nothing) {
  for (auto id : {std::uint64_t{0}, std::uint64_t{1}, ~std::uint64_t{0}, std::uint64_t{0x29eb8ffdb24903a}})
    BOOST_TEST(detail::find_task(id) == nullptr);
}

BOOST_AUTO_TEST_CASE(what_is_found_is_the_function_and_its_label) {
  auto named = detail::find_task(0x29eb8ffdb24903bu);
  BOOST_REQUIRE(named != nullptr);
  BOOST_TEST(named->label() == "named_sum");
  BOOST_TEST(named == detail::find_task(0x29eb8ffdb24903bu)); // entries stay where they are
  BOOST_TEST(contains(detail::task_of<troupe::fn_t<sum>>::label(), "sum"));
  BOOST_TEST((detail::task_of<decltype(troupe::with(1, troupe::fn<sum>)), int>::label()) == detail::task_of<troupe::fn_t<sum>>::label());
  auto lambda = [] {};
  auto label = detail::task_of<decltype(lambda)>::label();
  BOOST_TEST(contains(label, "lambda"), label);
}

BOOST_AUTO_TEST_CASE(threads_may_look_tasks_up_at_the_same_time) {
  std::atomic<int> found{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i)
    threads.emplace_back([&] {
      for (int k = 0; k < 1000; ++k)
        found += detail::find_task(0xfa00d3a81d0c1d15u) != nullptr && detail::find_task(static_cast<std::uint64_t>(k)) == nullptr;
    });
  for (auto& t : threads)
    t.join();
  BOOST_TEST(found == 8000);
}

BOOST_AUTO_TEST_CASE(two_functions_of_one_name_stop_the_program) {
  int fds[2];
  BOOST_REQUIRE(::pipe(fds) == 0);
  auto child = ::fork();
  BOOST_REQUIRE(child >= 0);
  if (child == 0) {
    ::dup2(fds[1], 2);
    detail::name_task<named_sum>("named_sum"); // the same again is none
    detail::name_task<difference>("named_sum");
    ::_exit(42);
  }
  ::close(fds[1]);
  std::string text;
  char space[4096];
  for (ssize_t n; (n = ::read(fds[0], space, sizeof space)) > 0;)
    text.append(space, static_cast<std::size_t>(n));
  ::close(fds[0]);
  int status = 0;
  BOOST_REQUIRE(::waitpid(child, &status, 0) == child);
  BOOST_TEST(WIFEXITED(status));
  BOOST_TEST(WEXITSTATUS(status) == 1);
  BOOST_TEST(contains(text, "two functions are named 'named_sum' by TROUPE_TASK: named_sum and "), text);
  BOOST_TEST(contains(text, "difference"), text);
  BOOST_TEST(contains(text, "Give one of them another name."), text);
}
