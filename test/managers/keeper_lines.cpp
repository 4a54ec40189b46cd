#define BOOST_TEST_MODULE keeper_lines
#include <boost/test/unit_test.hpp>

#include "troupe/managers/keeper_lines.hpp"
#include "troupe/transport/error.hpp"

#include <random>
#include <string>
#include <vector>

using namespace troupe;

namespace {

template <class T>
T ordered(const T& order) {
  const auto line = to_line(order);
  BOOST_TEST(line.find('\n') == std::string::npos);
  return std::get<T>(parse_order(line));
}

template <class T>
T told(const T& news) {
  const auto line = to_line(news);
  const auto back = parse_news(line);
  BOOST_REQUIRE(back);
  return std::get<T>(*back);
}

} // namespace

BOOST_AUTO_TEST_CASE(orders_arrive_as_they_were_given) {
  BOOST_TEST(ordered(keeper_cookie{"abc 1"}).cookie == "abc 1");
  const keeper_start start{7, "/my prog\\x", {"a b", "", "\n", "\\s", "--x=y"}, {{"A", "1 = 2\n"}, {"B", ""}}};
  const auto s = ordered(start);
  BOOST_TEST(s.index == 7);
  BOOST_TEST(s.program == start.program);
  BOOST_TEST(s.args == start.args);
  BOOST_CHECK(s.env == start.env);
  const auto g = ordered(keeper_signal{3, 9, true});
  BOOST_TEST((g.index == 3 && g.number == 9 && g.group));
  BOOST_TEST(!ordered(keeper_signal{3, 9, false}).group);
  ordered(keeper_complete{});
}

BOOST_AUTO_TEST_CASE(news_arrive_as_they_were_told) {
  const auto h = told(keeper_hello{.cpus = 8, .os_pid = 77, .host = "node one", .address = "fd77::1"});
  BOOST_TEST((h.version == keeper_version && h.cpus == 8 && h.os_pid == 77));
  BOOST_TEST(h.host == "node one");
  BOOST_TEST(h.address == "fd77::1");
  BOOST_TEST(told(keeper_started{2, 99}).os_pid == 99);
  BOOST_TEST(told(keeper_not_started{2, "no such\nfile"}).why == "no such\nfile");
  const auto e = told(keeper_ended{4, -1, 11, true});
  BOOST_TEST((e.index == 4 && e.status == -1 && e.signal == 11 && e.core));
  for (const std::string text : {"", " ", "plain \\n text ", "troupe_keeper: ended 1 0 0 0"}) {
    const auto line = to_line(keeper_said{5, true, text});
    const auto said = std::get<keeper_said>(*parse_news(line));
    BOOST_TEST(said.line == text);
    BOOST_TEST((said.index == 5 && said.is_stderr));
  }
}

BOOST_AUTO_TEST_CASE(another_version_says_which_it_is) {
  BOOST_TEST(std::get<keeper_hello>(*parse_news("troupe_keeper: hello 2 and so on")).version == 2);
}

BOOST_AUTO_TEST_CASE(what_is_no_news_is_left_alone) {
  for (const char* line : {"", "welcome", "troupe_keeper:", "troupe_keeper: ", "troupe_keeper: hello", "troupe_keeper: hello 1 x 3 h a",
                           "troupe_keeper: hello 1 0 3 h a", "troupe_keeper: hello 1 1 3 h a more", "troupe_keeper: out",
                           "troupe_keeper: out 1", "troupe_keeper: out x y", "troupe_keeper: ended 1 256 0 0", "troupe_keeper: ended 1 0 0",
                           "troupe_keeper: started -1 5", "troupe_keeper: not_started 1 a\\x", "troupe_keeper: not_started 1 a\\"})
    BOOST_TEST(!parse_news(line).has_value(), line);
  BOOST_TEST(find_news("hi troupe_keeper: hello 1 1 3 h a") == 3u);
  BOOST_TEST(find_news("hi") == std::string::npos);
}

BOOST_AUTO_TEST_CASE(what_is_no_order_is_refused_with_what_came) {
  for (const std::string line :
       {"", "start", "troupe_keeper: ", "troupe_keeper: dance", "troupe_keeper: start", "troupe_keeper: start 1",
        "troupe_keeper: start 1 p 2 a", "troupe_keeper: start 1 \\e 0", "troupe_keeper: start 1 p 0 A", "troupe_keeper: start 1 p 0 =x",
        "troupe_keeper: start -1 p 0", "troupe_keeper: start 1 p -1", "troupe_keeper: signal 1 0 process",
        "troupe_keeper: signal 1 65 process", "troupe_keeper: signal 1 9 everyone", "troupe_keeper: complete now", "troupe_keeper: cookie",
        "troupe_keeper: cookie a b"}) {
    try {
      parse_order(line);
      BOOST_ERROR("accepted: " << line);
    } catch (const usage_error& e) {
      BOOST_TEST(std::string{e.what()}.find("'" + line + "'") != std::string::npos, e.what());
    }
  }
}

BOOST_AUTO_TEST_CASE(bytes_of_any_kind_are_read_or_refused) {
  std::mt19937 random{7};
  const std::vector<std::string> words{
    "troupe_keeper: ", "start", "hello", "ended", "signal", " ", " 1", " -1", "\\", "\\e", "=", "x", " 99999999999999999999", "\xff"};
  for (int i = 0; i < 20'000; ++i) {
    std::string line = i % 2 == 0 ? "troupe_keeper: " : "";
    for (auto n = random() % 8; n > 0; --n)
      line += words[random() % words.size()];
    static_cast<void>(parse_news(line));
    try {
      static_cast<void>(parse_order(line));
    } catch (const usage_error&) {
    }
  }
}
