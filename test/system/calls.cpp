#define BOOST_TEST_MODULE calls
#include "system/harness.hpp"

#include <array>
#include <atomic>
#include <bit>
#include <cmath>
#include <iostream>
#include <limits>
#include <memory>
#include <memory_resource>
#include <numeric>
#include <optional>
#include <random>
#include <set>
#include <span>
#include <variant>

namespace {

using ids = std::vector<proc_id>;

// -- functions that are called on other processes -----------------------------------------------------------

proc_id own_id() { return here().myid(); }
int twice(int x) { return 2 * x; }
int twice_noexcept(int x) noexcept { return 2 * x; }
std::string join(std::string_view a, const std::string& b) { return std::string{a} + "+" + b; }

struct more {
  int kw1 = 0;
  int kw2 = 0;

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, more& x) {
    return f(x.kw1, x.kw2);
  }
};

int sum4(int v1, int v2, const more& named) { return v1 + v2 + named.kw1 + named.kw2; }

template <class T>
T echo(const T& x) {
  return x;
}

// A function object with what can't be copied as bytes.
struct prefixer {
  std::string prefix;
  std::vector<int> numbers;

  std::string operator()(const std::string& text, int i) const {
    return prefix + text + std::to_string(numbers.at(static_cast<std::size_t>(i)));
  }

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, prefixer& x) {
    return f(x.prefix, x.numbers);
  }
};

struct multiply {
  int by = 1;
  int operator()(int x) const { return by * x; }
};

struct point {
  double x = 0;
  double y = 0;

  double length() const { return std::hypot(x, y); }
  bool operator==(const point&) const = default;

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, point& p) {
    return f(p.x, p.y);
  }
};

struct plain {
  int a = 0;
  double b = 0;
  char c = 0;
};

std::atomic<int> counter{0};
int counted() { return counter; }

void wait_for_counter(int value) {
  const auto until = std::chrono::steady_clock::now() + patience;
  while (counter < value && std::chrono::steady_clock::now() < until)
    troupe::this_task::sleep_for(2ms);
}

int named_sum(int a, int b) { return a + b; }
TROUPE_TASK(named_sum)

template <class T>
bool same_bytes(const T& a, const T& b) {
  static_assert(std::is_trivially_copyable_v<T>);
  return std::memcmp(&a, &b, sizeof(T)) == 0;
}

template <class T>
void check_echo(proc_id where, const T& x) {
  BOOST_TEST((here().remotecall_fetch<echo<T>>(where, x) == x));
}

ids in_order(ids x) {
  std::sort(x.begin(), x.end());
  return x;
}

std::size_t resident_bytes() {
  std::ifstream in{"/proc/self/statm"};
  std::size_t size = 0, resident = 0;
  in >> size >> resident;
  return resident * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

} // namespace

// -- the four forms -----------------------------------------------------------------------------------------

// RC-01
BOOST_AUTO_TEST_CASE(an_asynchronous_call_returns_at_once) {
  workers w{1};
  troupe::future<int> f;
  const auto took = time_of([&] {
    f = here().remotecall(w[0], [] {
      wait_for_counter(1);
      return counter.load();
    });
  });
  BOOST_TEST((took < 1s));
  BOOST_TEST(!f.isready());
  here().remotecall_fetch(w[0], [] { counter = 1; });
  BOOST_TEST(f.fetch() == 1);
}

// RC-02, RC-18
BOOST_AUTO_TEST_CASE(a_fetching_call_returns_the_result_also_without_workers) {
  BOOST_TEST(here().nprocs() == 1);
  BOOST_TEST(here().remotecall_fetch<twice>(1, 21) == 42);
  BOOST_TEST(here().remotecall_fetch<twice>(troupe::any, 21) == 42);
  BOOST_TEST(here().links().empty());
  workers w{1};
  BOOST_TEST(here().remotecall_fetch<twice>(w[0], 21) == 42);
  BOOST_TEST(here().remotecall<twice>(w[0], 21).fetch() == 42);
}

BOOST_AUTO_TEST_CASE(a_waiting_call_returns_a_future_that_is_ready_or_throws) {
  workers w{1};
  for (auto p : {proc_id{1}, w[0]}) {
    const auto f = here().remotecall_wait(p, [] {
      troupe::this_task::sleep_for(20ms);
      return here().myid();
    });
    BOOST_TEST(f.isready());
    BOOST_TEST(f.fetch() == p);
    BOOST_TEST(f.fetch() == p);
    BOOST_CHECK_THROW(here().remotecall_wait(p, [] { throw std::runtime_error{"no"}; }), troupe::remote_error);
  }
}

// RC-04
BOOST_AUTO_TEST_CASE(a_call_that_nobody_waits_for_is_done) {
  workers w{1};
  for (auto p : {proc_id{1}, w[0]}) {
    static_assert(std::is_void_v<decltype(here().remote_do<twice>(1, 2))>);
    here().remotecall_fetch(p, [] { counter = 0; });
    here().remote_do(p, [](int n) { counter += n; }, 5);
    here().remotecall_fetch<wait_for_counter>(p, 5);
    BOOST_TEST(here().remotecall_fetch<counted>(p) == 5);
  }
}

// RC-05
BOOST_AUTO_TEST_CASE(arguments_pass_through_every_form_to_every_kind_of_place) {
  workers w{2};
  struct row {
    int v1, v2;
    more named;
    int sum;
  };
  const row rows[] = {
    {1, 0, {}, 1}, {1, 2, {}, 3}, {1, 0, {.kw1 = 4}, 5}, {1, 0, {.kw1 = 4, .kw2 = 8}, 13}, {1, 2, {.kw1 = 4, .kw2 = 8}, 15},
  };
  for (const auto& where : {troupe::target{w[1]}, troupe::target{1}, troupe::target{troupe::any}}) {
    for (auto& r : rows) {
      BOOST_TEST(here().remotecall_fetch<sum4>(where, r.v1, r.v2, r.named) == r.sum);
      BOOST_TEST(here().remotecall<sum4>(where, r.v1, r.v2, r.named).fetch() == r.sum);
      BOOST_TEST(here().remotecall_wait<sum4>(where, r.v1, r.v2, r.named).fetch() == r.sum);
      BOOST_TEST(here().spawnat<sum4>(where, r.v1, r.v2, r.named).fetch() == r.sum);
      here().everywhere([] { counter = 0; });
      here().remote_do(where, [](int v1, int v2, more named) { counter = sum4(v1, v2, named); }, r.v1, r.v2, r.named);
      BOOST_TEST(eventually([&] {
        int all = 0;
        for (auto p : here().procs())
          all += here().remotecall_fetch<counted>(p);
        return all == r.sum;
      }));
    }
  }
}

// RC-06
BOOST_AUTO_TEST_CASE(any_process_calls_any_other_itself_included) {
  workers w{3};
  for (auto from : here().procs())
    for (auto to : here().procs())
      BOOST_TEST(here().remotecall_fetch(from, [](proc_id p) { return here().remotecall_fetch<own_id>(p); }, to) == to);
  const auto hops = here().remotecall_fetch(
    w[2],
    [](proc_id second, proc_id third) {
      return 1
             + here().remotecall_fetch(
               second,
               [](proc_id p) { return 1 + here().remotecall_fetch(p, [] { return 1 + here().remotecall_fetch(1, [] { return 1; }); }); },
               third);
    },
    w[1], w[0]);
  BOOST_TEST(hops == 4);
}

// -- what can be called -------------------------------------------------------------------------------------

// RC-07
BOOST_AUTO_TEST_CASE(every_form_of_function_can_be_called) {
  using troupe::bytes, troupe::direct, troupe::fn, troupe::with;
  workers w{1};
  const auto call = [&](const auto& f, const auto&... args) { return here().remotecall_fetch(w[0], f, args...); };
  int three = 3;
  const std::array<double, 3> weights{0.5, 1.5, 2.5};
  const std::vector<int> numbers{1, 2, 3, 4};
  const std::string text = "a text that is too long to be kept inside of its string object";

  BOOST_TEST(call([](int x) { return x + 1; }, 41) == 42);
  BOOST_TEST(call([](auto x, const auto& y) { return y + std::to_string(x); }, 4, text) == text + "4");
  BOOST_TEST(call([](int x) mutable { return ++x; }, 41) == 42);
  BOOST_TEST(call([](int x) noexcept { return ++x; }, 41) == 42);
  BOOST_TEST(call([three](int y) { return 2 * three + y; }, 1) == 7);
  BOOST_TEST(call([weights, three] { return weights[2] * three; }) == 7.5);
  BOOST_TEST(call([n = 0]() mutable { return ++n; }) == 1);

  const auto total = [](const std::vector<int>& v, const std::string& s, int x) {
    return std::accumulate(v.begin(), v.end(), x) + static_cast<int>(s.size());
  };
  BOOST_TEST(call(with(numbers, text, total), 5) == 15 + static_cast<int>(text.size()));
  const auto second = [three](std::vector<std::string>& v) { return v.at(1) + std::to_string(three); };
  BOOST_TEST(call(with(std::vector<std::string>{"a", "b"}, second)) == "b3");
  const auto begin_of = [](auto& s, std::size_t i, std::size_t j) { return s.substr(0, i + j); };
  BOOST_TEST(call(with(text, std::size_t{1}, begin_of), std::size_t{2}) == "a t");
  BOOST_TEST(call(with(std::string{"x"}, fn<join>), "y") == "x+y");

  const prefixer object{"pre", {7, 8, 9}};
  BOOST_TEST(call(object, "-", 2) == "pre-9");
  BOOST_TEST(call(multiply{6}, 7) == 42);
  BOOST_TEST(call(with(multiply{2}, [](multiply m, int x) { return m(x); }), 3) == 6);

  BOOST_TEST(call(fn<twice>, 21) == 42);
  BOOST_TEST(call(fn<twice_noexcept>, 21) == 42);
  BOOST_TEST(call(fn<join>, "x", std::string{"y"}) == "x+y");
  BOOST_TEST(call(fn<&point::length>, point{3, 4}) == 5.0);
  BOOST_TEST(call(fn<named_sum>, 20, 22) == 42);

  BOOST_TEST(call(bytes([three](int x) { return three * x; }), 2) == 6);
  BOOST_TEST(call(bytes(multiply{5}), 2) == 10);
  BOOST_TEST(call(bytes([address = &three] { return address != nullptr; })));

  BOOST_TEST(call(direct([three](int x) { return three + x; }), 4) == 7);
  BOOST_TEST(call(direct(fn<own_id>)) == w[0]);
  BOOST_TEST(call(direct(with(numbers, [](std::vector<int>& v) { return v.size(); }))) == 4u);
  BOOST_TEST(call(direct(object), "-", 0) == "pre-7");
  BOOST_TEST(call(direct(bytes(multiply{5})), 2) == 10);
}

BOOST_AUTO_TEST_CASE(a_function_is_named_as_template_argument_of_every_call) {
  workers w{1};
  auto& c = here();
  BOOST_TEST(c.remotecall<twice>(w[0], 1).fetch() == 2);
  BOOST_TEST(c.remotecall_wait<twice>(w[0], 2).fetch() == 4);
  BOOST_TEST(c.remotecall_fetch<twice>(w[0], 3) == 6);
  BOOST_TEST(c.spawnat<twice>(w[0], 4).fetch() == 8);
  c.remote_do<twice>(w[0], 5);
  const auto f = c.remotecall<&point::length>(w[0], point{6, 8});
  BOOST_TEST(f.fetch() == 10.0);
}

BOOST_AUTO_TEST_CASE(a_function_that_returns_a_future_gives_its_value) {
  workers w{2};
  auto f = here().remotecall(w[0], [](proc_id other) { return here().remotecall<own_id>(other); }, w[1]);
  static_assert(std::is_same_v<decltype(f), troupe::future<proc_id>>);
  BOOST_TEST(f.fetch() == w[1]);
  const proc_id fetched = here().remotecall_fetch(w[0], [](proc_id p) { return here().remotecall<own_id>(p); }, 1);
  BOOST_TEST(fetched == 1);
  here().remotecall_fetch(w[0], [] { return here().remotecall(1, [] {}); });
}

// RC-08
BOOST_AUTO_TEST_CASE(a_function_that_was_received_can_be_sent_on) {
  workers w{2};
  const auto on = [](const prefixer& f, proc_id to) { return here().remotecall_fetch(to, f, "/", 1); };
  BOOST_TEST(here().remotecall_fetch(w[0], on, prefixer{"p", {3, 4}}, w[1]) == "p/4");
}

// -- arguments and results ----------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(arguments_are_converted_to_the_parameters_types_at_the_caller) {
  workers w{1};
  const auto call = [&](const auto& f, auto&&... args) { return here().remotecall_fetch(w[0], f, std::forward<decltype(args)>(args)...); };
  BOOST_TEST(call([](double x) { return x / 2; }, 1) == 0.5);
  BOOST_TEST(call([](std::uint8_t x) { return int{x}; }, 7L) == 7);
  BOOST_TEST(call([](std::string s) { return s.size(); }, "four") == 4u);
  BOOST_TEST(call([](std::string_view s) { return s.size(); }, std::string{"four"}) == 4u);
  BOOST_TEST(call([](const char* s) { return std::string{s}; }, "four") == "four");
  BOOST_TEST(call([](auto s) { return s.size(); }, "four") == 4u); // a std::string
  const auto value = [](std::optional<int> x) { return x.value_or(-1); };
  BOOST_TEST(call(value, 3) == 3);
  BOOST_TEST(call(value, std::nullopt) == -1);
  BOOST_TEST(call([](std::variant<int, std::string> x) { return x.index(); }, std::string{"s"}) == 1u);
  BOOST_TEST(call([](std::vector<double>& v) { return v.size(); }, std::vector<double>(3)) == 3u);
  BOOST_TEST(call([](std::vector<double>&& v) { return v.size(); }, std::vector<double>(3)) == 3u);

  const double numbers[] = {1, 2, 3.5};
  const auto sum = [](std::span<const double> xs) { return std::accumulate(xs.begin(), xs.end(), 0.0); };
  BOOST_TEST(call(sum, numbers) == 6.5);
  BOOST_TEST(call(sum, std::span{numbers}.subspan(1)) == 5.5);
  BOOST_TEST(call(sum, std::vector<double>{4, 5}) == 9.0);
  const auto change = [](std::span<int> xs) {
    xs[0] = 9;
    return xs[0] + xs[1];
  };
  std::vector<int> mine{1, 2};
  BOOST_TEST(call(change, mine) == 11);
  BOOST_TEST(mine[0] == 1);
}

// RC-09
BOOST_AUTO_TEST_CASE(values_arrive_as_they_were_to_the_bit) {
  workers w{1};
  const auto p = w[0];
  check_echo(p, std::numeric_limits<std::int64_t>::min());
  check_echo(p, std::numeric_limits<std::int64_t>::max());
  check_echo(p, std::numeric_limits<std::uint64_t>::max());
  using limits = std::numeric_limits<double>;
  for (double x : {limits::quiet_NaN(), -limits::quiet_NaN(), limits::infinity(), -limits::infinity(), -0.0, 0.0, limits::denorm_min(),
                   limits::max(), 0.1, std::bit_cast<double>(0x7ff8000000000123u)})
    BOOST_TEST(same_bytes(here().remotecall_fetch<echo<double>>(p, x), x));
  check_echo(p, 1.0L / 3);
  check_echo(p, std::string{"nul \0 in the middle", 19});
  check_echo(p, std::string{"größer 非 \xff"});
  check_echo(p, std::string{});
  check_echo(p, std::vector<int>{});
  check_echo(p, std::vector<bool>{true, false, true});
  check_echo(p, std::map<std::string, std::vector<int>>{{"", {}}, {"a", {1, 2}}});
  check_echo(p, std::set<int>{});
  check_echo(p, std::tuple<int, std::string, std::pair<double, char>>{1, "x", {2.5, 'c'}});
  check_echo(p, std::variant<int, std::monostate>{std::monostate{}});
  check_echo(p, std::variant<int, std::string>{"text"});
  check_echo(p, std::optional<std::string>{});
  check_echo(p, std::optional<std::string>{""});
  check_echo(p, std::array<point, 2>{point{1, 2}, point{-0.0, 4}});
  check_echo(p, std::vector<std::optional<point>>{point{1, 2}, std::nullopt});
  check_echo(p, std::chrono::nanoseconds{-7});
  check_echo(p, nullptr);
  const auto back = here().remotecall_fetch<echo<plain>>(p, plain{1, 2.5, 'c'});
  BOOST_TEST((back.a == 1 && back.b == 2.5 && back.c == 'c'));
}

// RC-10
BOOST_AUTO_TEST_CASE(large_and_odd_values_arrive_whole) {
  workers w{1};
  std::vector<std::int64_t> numbers(1'000'000);
  std::iota(numbers.begin(), numbers.end(), -500'000);
  check_echo(w[0], numbers);
  std::mt19937 random{1};
  std::vector<std::string> texts(100'000);
  for (auto& t : texts) {
    t.resize(random() % 40);
    for (auto& c : t)
      c = static_cast<char>(random());
  }
  check_echo(w[0], texts);
}

BOOST_AUTO_TEST_CASE(vectors_of_64_megabytes_and_spans_of_them_arrive_whole) {
  workers w{2};
  std::vector<double> big(8 << 20);
  std::iota(big.begin(), big.end(), 0.5);
  check_echo(w[0], big);
  const auto sum = std::accumulate(big.begin(), big.end(), 0.0);
  const auto add_up = [](std::span<const double> xs) { return std::accumulate(xs.begin(), xs.end(), 0.0); };
  BOOST_TEST(here().remotecall_fetch(w[0], add_up, std::span<const double>{big}) == sum);
  BOOST_TEST(here().remotecall_fetch(w[1], troupe::with(big,
                                                        [](const std::vector<double>& v) {
                                                          return here().remotecall_fetch(
                                                            1, [](const std::vector<double>& x) { return x.back(); }, v);
                                                        }))
             == big.back());
  std::vector<troupe::future<std::vector<double>>> both;
  for (auto p : w.ids())
    both.push_back(here().remotecall<echo<std::vector<double>>>(p, big));
  for (auto& f : both)
    BOOST_TEST((f.fetch() == big));
}

// SE-02
BOOST_AUTO_TEST_CASE(a_captured_value_travels_once_however_often_a_function_names_it) {
  workers w{1};
  const auto bytes = [&] {
    for (auto& l : here().links())
      if (l.a == 1 && l.b == w[0])
        return l.bytes;
    return std::uint64_t{0};
  };
  const std::vector<int> large(1 << 20, 1); // 4 MiB
  here().remotecall_fetch(w[0], [] {});
  const auto before = bytes();
  const auto sum =
    here().remotecall_fetch(w[0], troupe::with(large, [](const std::vector<int>& v) { return v.front() + v[v.size() / 2] + v.back(); }));
  BOOST_TEST(sum == 3);
  BOOST_TEST(bytes() - before >= 4U << 20);
  BOOST_TEST(bytes() - before < 5U << 20);
}

// RC-19, SE-01
BOOST_AUTO_TEST_CASE(a_function_works_on_copies_of_its_arguments) {
  workers w{1};
  const auto change = [](std::vector<int>& v) {
    v[0] = 9;
    v.push_back(9);
    return v.size();
  };
  for (auto p : {proc_id{1}, w[0]}) {
    std::vector<int> mine{1, 2};
    BOOST_TEST(here().remotecall_fetch(p, change, mine) == 3u);
    BOOST_TEST(here().remotecall_fetch(p, change, std::ref(mine).get()) == 3u);
    BOOST_TEST(mine == (std::vector<int>{1, 2}));
    auto object = troupe::with(mine, change);
    BOOST_TEST(here().remotecall_fetch(p, object) == 3u);
    BOOST_TEST(here().remotecall_fetch(p, object) == 3u);
  }
}

BOOST_AUTO_TEST_CASE(the_future_of_a_waiting_call_can_be_fetched_and_its_value_sent_on) {
  workers w{2};
  const auto f = here().remotecall_wait(w[0], [] { return std::string{"value"}; });
  BOOST_TEST(f.fetch() == "value");
  BOOST_TEST(here().remotecall_fetch<echo<std::string>>(w[1], f.fetch()) == "value");
}

// RC-25
BOOST_AUTO_TEST_CASE(no_value_and_values_that_look_like_none_are_delivered) {
  workers w{1};
  for (auto p : {proc_id{1}, w[0]}) {
    static_assert(std::is_same_v<decltype(here().remotecall(p, [] {})), troupe::future<void>>);
    here().remotecall_fetch(p, [] {});
    here().remotecall(p, [] {}).wait();
    const auto f = here().remotecall_wait(p, [] {});
    BOOST_TEST(f.isready());
    f.fetch();
    f.fetch();
    BOOST_TEST(here().remotecall_fetch(p, [] { return 0; }) == 0);
    BOOST_TEST(here().remotecall_fetch(p, [] { return false; }) == false);
    BOOST_TEST(here().remotecall_fetch(p, [] { return std::string{}; }) == "");
    BOOST_TEST(here().remotecall_fetch(p, [] { return std::vector<int>{}; }).empty());
    BOOST_TEST(!here().remotecall_fetch(p, [] { return std::optional<int>{}; }).has_value());
    here().remotecall_fetch(p, [] { return std::monostate{}; });
  }
}

// -- many calls ---------------------------------------------------------------------------------------------

// RC-11
BOOST_AUTO_TEST_CASE(ten_thousand_small_calls_in_a_row_all_answer) {
  workers w{1};
  int right = 0;
  for (int i = 0; i < 10'000; ++i)
    right += here().remotecall_fetch<own_id>(w[0]) == w[0];
  BOOST_TEST(right == 10'000);
}

// RC-12, RC-15
BOOST_AUTO_TEST_CASE(ten_threads_that_call_one_worker_never_get_each_others_answers) {
  workers w{1};
  std::atomic<int> right{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 10; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 10; ++i) {
        const std::vector<double> mine(200'000, t + i / 16.0);
        right += here().remotecall_fetch<echo<std::vector<double>>>(w[0], mine) == mine;
      }
    });
  for (auto& t : threads)
    t.join();
  BOOST_TEST(right == 100);
}

// RC-13
BOOST_AUTO_TEST_CASE(a_hundred_thousand_calls_to_oneself_neither_hang_nor_leak) {
  const auto round = [](int n) {
    std::int64_t sum = 0;
    for (int i = 0; i < n; ++i)
      sum += here().remotecall<twice>(1, i).fetch();
    return sum;
  };
  round(20'000);
  const auto before = resident_bytes();
  BOOST_TEST(round(100'000) == 100'000LL * 99'999);
  BOOST_TEST(resident_bytes() < before + (8u << 20)); // 80 bytes for each call
}

BOOST_AUTO_TEST_CASE(many_calls_can_be_open_at_once) {
  workers w{2};
  std::vector<troupe::future<int>> open;
  for (int i = 0; i < 20'000; ++i)
    open.push_back(here().remotecall<twice>(w[static_cast<std::size_t>(i % 2)], i));
  int right = 0;
  for (int i = 0; i < 20'000; ++i)
    right += open[static_cast<std::size_t>(i)].fetch() == 2 * i;
  BOOST_TEST(right == 20'000);
}

std::mutex order_mutex;
std::vector<int> order;

// RC-14
BOOST_AUTO_TEST_CASE(requests_of_one_process_to_another_arrive_in_order) {
  workers w{1};
  for (int i = 0; i < 1000; ++i)
    here().remote_do(w[0], troupe::direct([](int n) {
                       std::lock_guard guard{order_mutex};
                       order.push_back(n);
                     }),
                     i);
  const auto seen = here().remotecall_fetch(w[0], troupe::direct([] {
                                              std::lock_guard guard{order_mutex};
                                              return order;
                                            }));
  std::vector<int> expected(1000);
  std::iota(expected.begin(), expected.end(), 0);
  BOOST_TEST(seen == expected);
}

// -- turns --------------------------------------------------------------------------------------------------

std::atomic<int> inside{0};
std::atomic<int> most_inside{0};

// Whether two tasks were between these lines at the same time.
bool meet_while_waiting() {
  ++inside;
  const auto until = std::chrono::steady_clock::now() + patience;
  while (inside < 2 && std::chrono::steady_clock::now() < until)
    troupe::this_task::sleep_for(1ms);
  return inside >= 2;
}

void compute(std::chrono::milliseconds time) {
  most_inside = std::max(most_inside.load(), ++inside);
  const auto until = std::chrono::steady_clock::now() + time;
  while (std::chrono::steady_clock::now() < until)
    most_inside = std::max(most_inside.load(), inside.load());
  --inside;
}

bool meet_while_computing() {
  ++inside;
  const auto until = std::chrono::steady_clock::now() + patience;
  while (inside < 2 && std::chrono::steady_clock::now() < until)
    std::this_thread::yield();
  return inside >= 2;
}

BOOST_AUTO_TEST_CASE(tasks_that_wait_overlap) {
  workers w{1};
  auto one = here().remotecall<meet_while_waiting>(w[0]);
  auto two = here().remotecall<meet_while_waiting>(w[0]);
  BOOST_TEST(one.fetch());
  BOOST_TEST(two.fetch());
}

BOOST_AUTO_TEST_CASE(of_tasks_that_compute_one_runs_at_a_time) {
  workers w{1};
  std::vector<troupe::future<void>> open;
  for (int i = 0; i < 4; ++i)
    open.push_back(here().remotecall<compute>(w[0], 30ms));
  for (auto& f : open)
    f.fetch();
  BOOST_TEST(here().remotecall_fetch(w[0], [] { return most_inside.load(); }) == 1);
}

BOOST_AUTO_TEST_CASE(a_task_that_has_waited_goes_on_only_when_it_is_its_turn) {
  workers w{1};
  std::vector<troupe::future<void>> open;
  for (int i = 0; i < 4; ++i)
    open.push_back(here().remotecall(w[0], [] {
      for (int k = 0; k < 5; ++k) {
        troupe::this_task::sleep_for(1ms);
        compute(5ms);
        here().remotecall_fetch<own_id>(1);
        compute(5ms);
      }
    }));
  for (auto& f : open)
    f.fetch();
  BOOST_TEST(here().remotecall_fetch(w[0], [] { return most_inside.load(); }) == 1);
}

// RC-17
BOOST_AUTO_TEST_CASE(with_two_threads_two_tasks_compute_at_a_time) {
  troupe::local_options options;
  options.threads = 2;
  workers w{1, options};
  auto one = here().remotecall<meet_while_computing>(w[0]);
  auto two = here().remotecall<meet_while_computing>(w[0]);
  BOOST_TEST(one.fetch());
  BOOST_TEST(two.fetch());
  here().remotecall_fetch(w[0], [] { inside = 0; });
  std::vector<troupe::future<void>> open;
  for (int i = 0; i < 5; ++i)
    open.push_back(here().remotecall<compute>(w[0], 30ms));
  for (auto& f : open)
    f.fetch();
  BOOST_TEST(here().remotecall_fetch(w[0], [] { return most_inside.load(); }) <= 2);
}

std::atomic<bool> stop_computing{false};

// RC-17
BOOST_AUTO_TEST_CASE(a_direct_function_runs_while_a_task_computes) {
  workers w{1};
  auto busy = here().remotecall(w[0], [] {
    const auto until = std::chrono::steady_clock::now() + patience;
    while (!stop_computing && std::chrono::steady_clock::now() < until)
      std::this_thread::yield();
    return stop_computing.load();
  });
  BOOST_TEST(here().remotecall_fetch(w[0], troupe::direct(troupe::fn<own_id>)) == w[0]);
  BOOST_TEST(!busy.isready());
  here().remotecall_fetch(w[0], troupe::direct([] { stop_computing = true; }));
  BOOST_TEST(busy.fetch());
}

// RC-16, TH-02
BOOST_AUTO_TEST_CASE(a_hundred_tasks_that_wait_do_not_hold_up_others) {
  workers w{1};
  counter = 0;
  std::vector<troupe::future<void>> open;
  for (int i = 0; i < 100; ++i)
    open.push_back(here().remotecall(w[0], [] { here().remotecall_fetch<wait_for_counter>(1, 1); }));
  const auto took = time_of([&] { BOOST_TEST(here().remotecall_fetch<own_id>(w[0]) == w[0]); });
  BOOST_TEST((took < 5s));
  BOOST_TEST(std::none_of(open.begin(), open.end(), [](auto& f) { return f.isready(); }));
  counter = 1;
  for (auto& f : open)
    f.fetch();
}

int around(std::vector<proc_id> way) {
  if (way.empty())
    return 0;
  const auto next = way.back();
  way.pop_back();
  return 1 + here().remotecall_fetch<around>(next, way);
}

BOOST_AUTO_TEST_CASE(tasks_that_call_their_caller_back_and_each_other_in_a_ring_do_not_lock_up) {
  workers w{3};
  ids way;
  for (int round = 0; round < 5; ++round)
    way.insert(way.end(), {w[0], w[1], 1, w[2], w[2], w[0]});
  std::vector<troupe::future<int>> open;
  for (int i = 0; i < 10; ++i)
    for (auto p : here().procs())
      open.push_back(here().remotecall<around>(p, way));
  for (auto& f : open)
    BOOST_TEST(f.fetch() == 30);
}

BOOST_AUTO_TEST_CASE(what_would_block_throws_in_a_direct_function) {
  workers w{1};
  const auto refused = [](auto f) {
    const auto e = error_of<troupe::remote_error>(f);
    BOOST_TEST(contains(e.message(), "direct"));
    BOOST_CHECK_THROW(e.rethrow_nested(), troupe::usage_error);
  };
  for (auto p : {proc_id{1}, w[0]}) {
    refused([&] { here().remotecall_fetch(p, troupe::direct([] { troupe::this_task::sleep_for(1ms); })); });
    refused([&] { here().remotecall_fetch(p, troupe::direct([] { here().remotecall_fetch<own_id>(1); })); });
    refused([&] {
      here().remotecall_fetch(
        p, troupe::direct([](proc_id q) { here().remotecall(q, [] { troupe::this_task::sleep_for(100ms); }).wait(); }), w[0]);
    });
    BOOST_TEST(here().remotecall_fetch<own_id>(p) == p);
  }
}

BOOST_AUTO_TEST_CASE(each_task_has_a_number_of_its_own) {
  workers w{1};
  std::set<std::uint64_t> numbers;
  for (int i = 0; i < 10; ++i)
    numbers.insert(here().remotecall_fetch(w[0], [] { return troupe::this_task::id(); }));
  BOOST_TEST(numbers.size() == 10u);
  BOOST_TEST(!numbers.contains(0));
  BOOST_TEST(troupe::this_task::id() == 0u);
}

// -- any ----------------------------------------------------------------------------------------------------

// SP-01, SP-02, SP-03
BOOST_AUTO_TEST_CASE(any_picks_the_workers_in_turn) {
  workers w{4};
  BOOST_TEST(here().spawnat(w[1], [] { return here().myid(); }).fetch() == w[1]);
  ids seen;
  for (int i = 0; i < 8; ++i)
    seen.push_back(here().spawnat<own_id>(troupe::any).fetch());
  BOOST_TEST(in_order({seen.begin(), seen.begin() + 4}) == w.ids());
  BOOST_TEST(std::equal(seen.begin(), seen.begin() + 4, seen.begin() + 4));
  ids fetched;
  for (int i = 0; i < 4; ++i)
    fetched.push_back(here().remotecall_fetch<own_id>(troupe::any));
  BOOST_TEST(in_order(fetched) == w.ids());
}

// SP-04
BOOST_AUTO_TEST_CASE(any_can_be_used_by_many_threads_while_workers_come_and_go) {
  workers w{3};
  std::atomic<int> wrong{0};
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      while (!stop) {
        try {
          here().remotecall_fetch<own_id>(troupe::any);
        } catch (const troupe::process_exited&) {
          // it was its turn, and it was removed
        } catch (...) {
          ++wrong;
        }
      }
    });
  here().rmprocs(w[1]);
  workers more{1};
  here().rmprocs(w[0]);
  stop = true;
  for (auto& t : threads)
    t.join();
  BOOST_TEST(wrong == 0);
}

// -- everywhere ---------------------------------------------------------------------------------------------

// EV-01, EV-02, EV-06
BOOST_AUTO_TEST_CASE(everywhere_runs_on_every_process_on_a_list_or_on_one) {
  workers w{2};
  here().everywhere([] { counter = 0; });
  here().everywhere([](int n) { counter += n; }, 3);
  for (auto p : here().procs())
    BOOST_TEST(here().remotecall_fetch<counted>(p) == 3);
  static_assert(std::is_void_v<decltype(here().everywhere(w.ids(), troupe::fn<own_id>))>);
  here().everywhere(ids{w[1]}, [] { ++counter; });
  BOOST_TEST(here().remotecall_fetch<counted>(w[1]) == 4);
  BOOST_TEST(here().remotecall_fetch<counted>(w[0]) == 3);
  for (auto p : here().procs())
    BOOST_TEST(here().everywhere(p, [] { return 2 * here().myid(); }) == 2 * p);
  here().everywhere(ids{}, [] { ++counter; });
  workers late{1};
  BOOST_TEST(here().remotecall_fetch<counted>(late[0]) == 0);
  const auto from_worker = here().remotecall_fetch(w[0], [] {
    here().everywhere([] { counter = 77; });
    return here().nprocs();
  });
  BOOST_TEST(from_worker == 4);
  for (auto p : here().procs())
    BOOST_TEST(here().remotecall_fetch<counted>(p) == 77);
}

// EV-03
BOOST_AUTO_TEST_CASE(everywhere_runs_once_for_each_time_an_id_is_listed) {
  workers w{1};
  here().everywhere([] { counter = 1; });
  here().everywhere(ids{w[0], w[0]}, [] { ++counter; });
  BOOST_TEST(here().remotecall_fetch<counted>(w[0]) == 3);
  here().everywhere(ids{1, w[0], 1, 1, w[0]}, [] { ++counter; });
  BOOST_TEST(here().remotecall_fetch<counted>(1) == 4);
  BOOST_TEST(here().remotecall_fetch<counted>(w[0]) == 5);
}

std::atomic<int> remote_starts{0};

// EV-04
BOOST_AUTO_TEST_CASE(everywhere_starts_other_processes_first_and_this_one_last) {
  workers w{2};
  remote_starts = 0;
  here().everywhere(troupe::direct([] {
    if (here().myid() != 1)
      return here().remote_do(1, troupe::direct([] { ++remote_starts; }));
    const auto until = std::chrono::steady_clock::now() + 5s;
    while (remote_starts < 2) {
      std::this_thread::yield();
      if (std::chrono::steady_clock::now() > until)
        throw std::runtime_error{"this process was started before others"};
    }
  }));
  BOOST_TEST(remote_starts == 2);
}

// EV-05
BOOST_AUTO_TEST_CASE(everywhere_collects_the_errors_in_the_order_of_the_list) {
  workers w{3};
  const auto fail_on = [](proc_id lucky) {
    if (here().myid() != lucky)
      throw std::runtime_error{"from " + std::to_string(here().myid())};
  };
  const auto e = error_of<troupe::composite_error>([&] { here().everywhere(ids{w[2], w[0], 1, w[1]}, fail_on, w[0]); });
  const auto parts = e.errors();
  BOOST_TEST_REQUIRE(parts.size() == 3u);
  const ids expected{w[2], 1, w[1]};
  for (std::size_t i = 0; i < 3; ++i) {
    BOOST_TEST(parts[i].pid() == expected[i]);
    BOOST_TEST((parts[i].kind() == troupe::error_kind::remote));
    BOOST_TEST(parts[i].message() == "from " + std::to_string(expected[i]));
    BOOST_CHECK_THROW(std::rethrow_exception(e.exceptions()[i]), troupe::remote_error);
  }
  BOOST_TEST(error_of<troupe::remote_error>([&] { here().everywhere(w[1], fail_on, w[0]); }).pid() == w[1]);
  const auto gone = error_of<troupe::composite_error>([&] { here().everywhere(ids{99'999, w[0]}, fail_on, w[0]); });
  BOOST_TEST((gone.errors().at(0).kind() == troupe::error_kind::unknown_process));
}

// EV-07
BOOST_AUTO_TEST_CASE(everywhere_asks_all_before_it_waits_for_any) {
  workers w{8};
  const auto took = time_of([&] { here().everywhere(w.ids(), [] { troupe::this_task::sleep_for(200ms); }); });
  BOOST_TEST((took < 800ms));
}

// -- large arrays: sent from where they lie, received where they end up ------------------------------------------------------------

namespace {

std::vector<double> numbers(std::size_t n) {
  std::vector<double> out(n);
  std::iota(out.begin(), out.end(), 0.5);
  return out;
}

double last_of(const std::vector<double>& x) { return x.back(); }

} // namespace

BOOST_AUTO_TEST_CASE(large_arrays_arrive_whole_however_they_are_passed) {
  const workers all{1};
  auto& c = here();
  const auto w = all[0];
  const auto large = numbers(500000);
  auto mine = large;
  // lent, given away, copied
  BOOST_TEST((c.remotecall_fetch(w, [](std::vector<double> x) { return x; }, mine) == large));
  BOOST_TEST((c.remotecall_fetch(w, [](const std::vector<double>& x) { return x; }, numbers(500000)) == large));
  BOOST_TEST((c.remotecall(w, [](std::vector<double> x) { return x; }, numbers(500000)).get() == large));
  auto copied = c.remotecall(w, [](std::vector<double> x) { return x; }, mine);
  std::fill(mine.begin(), mine.end(), 0);
  BOOST_TEST((std::move(copied).get() == large));
  mine = large;
  // as a span, beside others, in a struct's place
  const auto sum = c.remotecall_fetch(
    w, [](int n, std::span<const double> x, std::string tail) { return n + x.back() + static_cast<double>(tail.size()); }, 3, large,
    "tail");
  BOOST_TEST(sum == 3 + large.back() + 4);
  const auto both = c.remotecall_fetch(
    w,
    [](const std::vector<double>& a, std::vector<double> b, const std::string& text) {
      return std::tuple{a == b, a.size() + b.size(), text.size()};
    },
    mine, mine, std::string(2000000, 'x'));
  BOOST_TEST((both == std::tuple{true, 2 * large.size(), std::size_t{2000000}}));
  BOOST_TEST((c.remotecall_fetch(w, [](std::string x) { return x + "!"; }, std::string(3000000, 'y')) == std::string(3000000, 'y') + "!"));
  BOOST_TEST(c.remotecall_fetch<last_of>(w, mine) == large.back());
  // to oneself
  BOOST_TEST((c.remotecall_fetch(c.myid(), [](std::vector<double> x) { return x; }, mine) == large));
  BOOST_TEST((mine == large)); // what was lent is as it was
}

namespace {

// A container with an inspect of its own, which writes what lives no longer than the call of inspect.
struct matrix {
  using value_type = double;
  std::vector<double> cells;

  double* data() { return cells.data(); }
  const double* data() const { return cells.data(); }
  std::size_t size() const { return cells.size(); }
  void reserve(std::size_t n) { cells.reserve(n); }
  void resize(std::size_t n) { cells.resize(n); }

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, matrix& x) {
    if constexpr (Inspector::reads_state) {
      auto doubled = x.cells;
      for (auto& c : doubled)
        c *= 2;
      return f(doubled);
    } else {
      return f(x.cells);
    }
  }
};

static_assert(troupe::detail::can_land<std::vector<double>> && troupe::detail::can_land<std::string>);
static_assert(!troupe::detail::can_land<matrix> && !troupe::detail::can_land<std::vector<bool>>
              && !troupe::detail::can_land<std::vector<std::string>>);

} // namespace

BOOST_AUTO_TEST_CASE(only_memory_that_is_kept_is_sent_from_where_it_lies) {
  const workers all{1};
  auto& c = here();
  const auto w = all[0];
  const matrix m{numbers(400000)};
  BOOST_TEST(c.remotecall_fetch(w, [](const matrix& x) { return x.cells.back(); }, m) == 2 * m.cells.back());
  const std::vector<matrix> three{m, m, m};
  BOOST_TEST(c.remotecall_fetch(
               w, [](std::span<const matrix> x) { return x[2].cells.back(); }, std::span<const matrix>{three})
             == 2 * m.cells.back());
  troupe::future<double> last;
  {
    std::vector<std::byte> memory(8 << 20);
    std::pmr::monotonic_buffer_resource pool{memory.data(), memory.size(), std::pmr::null_memory_resource()};
    std::pmr::vector<double> pooled(500000, 1.5, &pool);
    last = c.remotecall(w, [](const std::pmr::vector<double>& x) { return x.back(); }, std::move(pooled));
  }
  BOOST_TEST(std::move(last).get() == 1.5);
}

BOOST_AUTO_TEST_CASE(a_large_result_that_is_a_reference_stays_where_it_is) {
  const workers all{1};
  const auto kept = []() -> std::vector<double>& {
    static auto x = numbers(300000);
    return x;
  };
  for (int i = 0; i < 2; ++i)
    BOOST_TEST((here().remotecall_fetch(all[0], kept) == numbers(300000)));
}

BOOST_AUTO_TEST_CASE(a_large_result_can_be_had_more_than_once) {
  const workers all{1};
  auto f = here().remotecall(all[0], [] { return numbers(400000); });
  auto g = f;
  BOOST_TEST((f.fetch() == numbers(400000)));
  BOOST_TEST((std::move(f).get() == numbers(400000)));
  BOOST_TEST((std::move(g).get() == numbers(400000)));
}

BOOST_AUTO_TEST_CASE(what_was_lent_to_a_call_that_fails_is_the_callers_again) {
  const workers all{2};
  auto& c = here();
  for (int i = 0; i < 5; ++i) {
    auto mine = std::make_unique<std::vector<double>>(numbers(1000000));
    BOOST_CHECK_THROW(
      c.remotecall_fetch(all[0], [](const std::vector<double>&) { throw std::runtime_error("no"); }, *mine), troupe::remote_error);
    mine.reset();
  }
  auto mine = std::make_unique<std::vector<double>>(numbers(4000000));
  std::thread killer{[pid = c.info(all[1]).os_pid] { ::kill(pid, SIGKILL); }};
  BOOST_CHECK_THROW(c.remotecall_fetch(
                      all[1], [](const std::vector<double>&) { std::this_thread::sleep_for(std::chrono::seconds{20}); }, *mine),
                    troupe::process_exited);
  mine.reset();
  killer.join();
  BOOST_TEST(c.remotecall_fetch(all[0], [](int x) { return x; }, 1) == 1);
}

// RC-03, RC-24, MS-03: the result stays where it is until somebody asks
BOOST_AUTO_TEST_CASE(a_call_that_was_waited_for_has_its_result_there_until_it_is_fetched) {
  const workers w{2};
  const auto received = [] {
    const auto all = here().statistics();
    return std::find_if(all.begin(), all.end(), [](auto& s) { return s.id == 1; })->bytes_received;
  };
  const auto before = received();
  auto f = here().remotecall_wait(w[0], [] { return std::vector<double>(1000000, 0.5); });
  BOOST_TEST(f.isready());
  BOOST_TEST(received() - before < 100000u);
  BOOST_TEST(here().remotecall_fetch(w[1], [](troupe::future<std::vector<double>> g) { return g.fetch().back(); }, f) == 0.5);
  BOOST_TEST(f.fetch().size() == 1000000u);
  BOOST_TEST(received() - before > 8000000u);
  BOOST_CHECK_THROW(here().remotecall_wait(w[0], [] { throw std::runtime_error{"on purpose"}; }), troupe::remote_error);
}

// It would take the loop from the threads that run tasks, and each batch of calls would wake two threads.
BOOST_AUTO_TEST_CASE(the_main_thread_of_a_worker_sleeps_while_calls_come) {
  const workers w{1};
  const auto sleeps = [pid = std::to_string(here().info(w[0]).os_pid)] {
    const auto text = system_test::read_file("/proc/" + pid + "/task/" + pid + "/status");
    const std::string name = "\nvoluntary_ctxt_switches:";
    return std::stoi(text.substr(text.find(name) + name.size()));
  };
  const auto before = sleeps();
  for (int i = 0; i < 100; ++i) {
    BOOST_TEST(here().remotecall_fetch(w[0], [](int x) { return x + 1; }, i) == i + 1);
    std::this_thread::sleep_for(std::chrono::milliseconds{3}); // the worker sleeps until the next call
  }
  BOOST_TEST(sleeps() - before < 20); // some, perhaps, until it had come to wait for its end
}
