#define BOOST_TEST_MODULE pipeline_run
#include <boost/test/unit_test.hpp>

#include "apps/run_program.hpp"

#include <sstream>

using test::run_program;

namespace {

constexpr const char* right = "the sum of the squares up to 600 is 72180100, as it should be";

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

// The depths that are shown, such as "13/16".
bool none_is_deeper_than(const std::string& text, int capacity) {
  std::istringstream in{text};
  int depths = 0;
  for (std::string word; in >> word;)
    if (const auto slash = word.find('/'); slash != std::string::npos && word.substr(slash + 1) == std::to_string(capacity)) {
      ++depths;
      if (std::stoi(word.substr(0, slash)) > capacity)
        return false;
    }
  return depths > 0;
}

} // namespace

BOOST_AUTO_TEST_CASE(the_pipeline_ends_with_the_right_sum_and_its_channels_hold_no_more_than_they_may) {
  const auto out = run_program("pipeline", "--count 600 --cost 1000 --capacity 8 2>&1");
  BOOST_TEST(out.status == 0, out.text);
  BOOST_TEST(contains(out.text, right), out.text);
  BOOST_TEST(none_is_deeper_than(out.text, 8), out.text);
}

BOOST_AUTO_TEST_CASE(a_worker_that_dies_in_the_middle_changes_nothing_about_the_sum) {
  const auto out = run_program("pipeline", "--count 600 --cost 1000 --capacity 8 --kill 2>&1");
  BOOST_TEST(out.status == 0, out.text);
  BOOST_TEST(contains(out.text, "is gone, the others do its jobs"), out.text);
  BOOST_TEST(contains(out.text, right), out.text);
}

BOOST_AUTO_TEST_CASE(channels_that_hold_nothing_hand_over) {
  const auto out = run_program("pipeline", "--count 600 --cost 100 --capacity 0 2>&1");
  BOOST_TEST(out.status == 0, out.text);
  BOOST_TEST(contains(out.text, right), out.text);
}
