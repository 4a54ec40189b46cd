#define BOOST_TEST_MODULE log
#include <boost/test/unit_test.hpp>

#include "troupe/transport/log.hpp"

#include <cstdio>
#include <string>
#include <unistd.h>

using troupe::log_level;

namespace {

// What `f` writes to the standard error.
template <class F>
std::string said(F f) {
  std::FILE* file = std::tmpfile();
  BOOST_REQUIRE(file != nullptr);
  const int before = ::dup(STDERR_FILENO);
  ::dup2(::fileno(file), STDERR_FILENO);
  f();
  ::dup2(before, STDERR_FILENO);
  ::close(before);
  std::rewind(file);
  char text[1000];
  const auto n = std::fread(text, 1, sizeof text, file);
  std::fclose(file);
  return {text, n};
}

void one_of_each() {
  troupe::log(log_level::error, "failed");
  troupe::log(log_level::warning, "lost");
  troupe::log(log_level::info, "joined");
}

} // namespace

BOOST_AUTO_TEST_CASE(each_level_has_those_above_it) {
  BOOST_TEST(said(one_of_each) == "troupe: failed\ntroupe: lost\ntroupe: joined\n");
  troupe::set_log_level(log_level::warning);
  BOOST_TEST(said(one_of_each) == "troupe: failed\ntroupe: lost\n");
  troupe::set_log_level(log_level::error);
  BOOST_TEST(said(one_of_each) == "troupe: failed\n");
  troupe::set_log_level(log_level::off);
  BOOST_TEST(said(one_of_each) == "");
  troupe::set_log_level(log_level::info);
}

BOOST_AUTO_TEST_CASE(words_name_levels_and_others_none) {
  BOOST_TEST((troupe::parse_log_level("off") == log_level::off));
  BOOST_TEST((troupe::parse_log_level("warn") == log_level::warning));
  BOOST_TEST((troupe::parse_log_level("warning") == log_level::warning));
  BOOST_TEST((troupe::parse_log_level("info") == log_level::info));
  for (auto word : {"", "Info", "debug", "2"})
    BOOST_TEST(!troupe::parse_log_level(word), word);
}
