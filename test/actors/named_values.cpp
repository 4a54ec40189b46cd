#define BOOST_TEST_MODULE named_values
#include <boost/test/unit_test.hpp>

#include "troupe/actors/named_values.hpp"

#include <atomic>
#include <string>
#include <thread>
#include <vector>

using troupe::named_pins;
using troupe::named_values;
using troupe::detail::named_version;

namespace {

using strings = std::vector<std::string>;

named_values::version_ptr version(const std::string& name, std::uint64_t number, const std::string& value) {
  auto bytes = std::make_shared<troupe::byte_buffer>();
  troupe::writer out{*bytes};
  troupe::write(out, value);
  return std::make_shared<named_version>(name, number, "std::string", troupe::detail::shared_bytes{*bytes, bytes});
}

std::string text(named_version* v) { return v == nullptr ? "nothing" : v->value<std::string>(nullptr); }

std::string newest(const named_values& all, const std::string& name) { return text(all.newest(name).get()); }

std::string seen(const named_values& all, const std::string& name) { return text(named_pins::find(all, name)); }

// Fails to be read while it is to.
struct moody {
  static inline std::atomic<bool> fails{false};
  static inline std::atomic<int> read{0};
  int x = 0;

  template <class Inspector>
  friend auto inspect(Inspector& f, moody& m) -> typename Inspector::result_type {
    if (Inspector::writes_state && fails)
      throw std::runtime_error{"no"};
    read += Inspector::writes_state;
    return f(m.x);
  }
};

named_values::version_ptr moody_version(int x) {
  auto bytes = std::make_shared<troupe::byte_buffer>();
  troupe::writer out{*bytes};
  moody m;
  m.x = x;
  troupe::write(out, m);
  return std::make_shared<named_version>("moody", 1, "moody", troupe::detail::shared_bytes{*bytes, bytes});
}

} // namespace

BOOST_AUTO_TEST_CASE(of_two_changes_of_a_name_the_later_one_holds_whichever_comes_first) {
  named_values all;
  BOOST_TEST(newest(all, "a") == "nothing");
  all.put(version("a", 3, "three"));
  all.put(version("a", 2, "two"));
  BOOST_TEST(newest(all, "a") == "three");
  all.put(version("a", 5, "five"));
  BOOST_TEST(newest(all, "a") == "five");
  all.drop({"a"}, 4); // late
  BOOST_TEST(newest(all, "a") == "five");
  all.drop({"a", "b"}, 6);
  all.put(version("b", 5, "late"));
  BOOST_TEST(newest(all, "a") == "nothing");
  BOOST_TEST(newest(all, "b") == "nothing");
  all.put(version("b", 7, "seven"));
  BOOST_TEST(newest(all, "b") == "seven");
  BOOST_TEST(all.last_change("a") == 6);
  BOOST_TEST(all.last_change("c") == 0);
}

BOOST_AUTO_TEST_CASE(the_names_are_those_that_have_a_value) {
  named_values all;
  all.put(version("b", 1, ""));
  all.put(version("a", 2, ""));
  all.put(version("c", 3, ""));
  all.drop({"b"}, 4);
  BOOST_TEST(all.names() == (strings{"a", "c"}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_task_keeps_what_it_has_seen_first) {
  named_values all;
  all.put(version("a", 1, "one"));
  {
    named_pins task{named_pins::sees::first};
    auto first = named_pins::find(all, "a");
    all.put(version("a", 2, "two"));
    BOOST_TEST(named_pins::find(all, "a") == first);
    {
      named_pins inner{named_pins::sees::first}; // a direct function that runs while the task waits
      BOOST_TEST(seen(all, "a") == "two");
    }
    all.drop({"a"}, 3);
    BOOST_TEST(named_pins::find(all, "a") == first);
    BOOST_TEST(text(first) == "one");
    BOOST_TEST(seen(all, "b") == "nothing"); // which is no version: it may come
    all.put(version("b", 4, "four"));
    BOOST_TEST(seen(all, "b") == "four");
  }
  BOOST_TEST(seen(all, "a") == "nothing");
}

BOOST_AUTO_TEST_CASE(who_sees_the_newest_keeps_the_older_ones) {
  named_values all;
  named_pins handler{named_pins::sees::newest};
  all.put(version("a", 1, "one"));
  auto first = named_pins::find(all, "a");
  all.put(version("a", 2, "two"));
  auto second = named_pins::find(all, "a");
  BOOST_TEST(second != first);
  BOOST_TEST(named_pins::find(all, "a") == second);
  BOOST_TEST(text(first) == "one");
  BOOST_TEST(text(second) == "two");
}

BOOST_AUTO_TEST_CASE(what_nobody_has_pinned_any_more_is_freed) {
  named_values all;
  auto one = version("a", 1, "one");
  std::weak_ptr<named_version> alive = one;
  all.put(std::move(one));
  {
    named_pins task{named_pins::sees::first};
    named_pins::find(all, "a");
    all.put(version("a", 2, "two"));
    BOOST_TEST(!alive.expired());
  }
  BOOST_TEST(alive.expired());
  std::weak_ptr<named_version> of_thread = all.newest("a");
  bool kept = false;
  std::thread{[&] {
    named_pins::find(all, "a");
    all.drop({"a"}, 3);
    kept = !of_thread.expired();
  }}.join();
  BOOST_TEST(kept);
  BOOST_TEST(of_thread.expired());
}

BOOST_AUTO_TEST_CASE(a_value_is_decoded_once_by_whoever_comes_first) {
  auto v = moody_version(5);
  moody::read = 0;
  std::vector<std::thread> threads;
  std::atomic<int> sum{0};
  std::atomic<const moody*> where{nullptr};
  std::atomic<bool> moved{false};
  for (int i = 0; i < 8; ++i)
    threads.emplace_back([&] {
      auto& x = v->value<moody>(nullptr);
      sum += x.x;
      auto before = where.exchange(&x);
      if (before != nullptr && before != &x)
        moved = true;
    });
  for (auto& t : threads)
    t.join();
  BOOST_TEST(sum == 40);
  BOOST_TEST(moody::read == 1);
  BOOST_TEST(!moved);
}

BOOST_AUTO_TEST_CASE(a_value_that_could_not_be_decoded_is_tried_again) {
  auto v = moody_version(6);
  moody::fails = true;
  BOOST_CHECK_THROW(v->value<moody>(nullptr), std::runtime_error);
  BOOST_CHECK_THROW(v->value<moody>(nullptr), std::runtime_error);
  moody::fails = false;
  BOOST_TEST(v->value<moody>(nullptr).x == 6);
}

BOOST_AUTO_TEST_CASE(threads_that_change_read_and_drop_do_not_disturb_each_other) {
  named_values all;
  std::atomic<bool> stop{false};
  std::thread changes{[&] {
    for (std::uint64_t i = 1; i < 3000; ++i) {
      all.put(version("a", 2 * i, "text " + std::to_string(i)));
      all.drop({"a"}, 2 * i + 1);
    }
    stop = true;
  }};
  std::atomic<int> wrong{0};
  std::vector<std::thread> readers;
  for (int i = 0; i < 3; ++i)
    readers.emplace_back([&] {
      while (!stop) {
        named_pins task{named_pins::sees::first};
        auto x = seen(all, "a");
        if (x != "nothing" && (!x.starts_with("text ") || seen(all, "a") != x))
          ++wrong;
      }
    });
  changes.join();
  for (auto& r : readers)
    r.join();
  BOOST_TEST(wrong == 0);
}
