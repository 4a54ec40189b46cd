#define BOOST_TEST_MODULE bench
#include <boost/test/unit_test.hpp>

#include "bench/figure.hpp"
#include "bench/statistics.hpp"

#include <nlohmann/json.hpp>

#include <limits>
#include <stdexcept>
#include <string>

using namespace bench;

namespace {

samples make_samples(std::initializer_list<double> all) {
  samples s;
  for (const double x : all)
    s.add(x);
  return s;
}

} // namespace

BOOST_AUTO_TEST_CASE(percentiles_of_unsorted_samples_lie_between_them_in_proportion) {
  const auto s = make_samples({50, 10, 40, 20, 30});
  BOOST_TEST(s.size() == 5U);
  BOOST_TEST(s.min() == 10.0);
  BOOST_TEST(s.max() == 50.0);
  BOOST_TEST(s.median() == 30.0);
  BOOST_TEST(s.percentile(25) == 20.0);
  BOOST_TEST(s.percentile(90) == 46.0, boost::test_tools::tolerance(1e-12));
  BOOST_TEST(make_samples({2, 1}).median() == 1.5);
}

BOOST_AUTO_TEST_CASE(one_sample_is_every_percentile) {
  const auto s = make_samples({7});
  for (const double p : {0.0, 1.0, 50.0, 99.0, 100.0})
    BOOST_TEST(s.percentile(p) == 7.0);
}

BOOST_AUTO_TEST_CASE(samples_that_come_after_a_question_count_too) {
  auto s = make_samples({3, 2});
  BOOST_TEST(s.median() == 2.5);
  s.add(1);
  BOOST_TEST(s.min() == 1.0);
  BOOST_TEST(s.median() == 2.0);
}

BOOST_AUTO_TEST_CASE(nothing_has_no_median_and_there_is_no_percentile_beyond_100) {
  BOOST_CHECK_THROW(samples{}.median(), std::logic_error);
  BOOST_CHECK_THROW(make_samples({1}).percentile(100.5), std::invalid_argument);
  BOOST_CHECK_THROW(make_samples({1}).percentile(-1), std::invalid_argument);
  const double no_number = std::numeric_limits<double>::quiet_NaN();
  BOOST_CHECK_THROW(make_samples({1}).percentile(no_number), std::invalid_argument);
}

BOOST_AUTO_TEST_CASE(a_figure_is_one_line_of_json_with_its_fields_in_order) {
  figure f{"rtt_us", 17.2, "us", {}};
  f.with("p99", 30.1).with("transport", "tcp").with("n", 20000).with("spin", false);
  BOOST_TEST(to_json(f)
             == R"({"metric":"rtt_us","value":17.2,"unit":"us","p99":30.1,"transport":"tcp",)"
                R"("n":20000,"spin":false})");
}

BOOST_AUTO_TEST_CASE(a_field_that_is_set_again_keeps_its_place) {
  figure f{"x", 1, "s", {}};
  f.with("a", 1).with("b", 2).with("a", 3);
  BOOST_TEST(to_json(f) == R"({"metric":"x","value":1.0,"unit":"s","a":3,"b":2})");
}

BOOST_AUTO_TEST_CASE(numbers_are_rounded_to_four_digits_and_stay_valid_json) {
  figure f{"x", 1234567.0, "1/s", {}};
  f.with("small", 0.000123456).with("count", std::int64_t{1} << 40);
  f.with("none", std::numeric_limits<double>::infinity());
  const auto parsed = nlohmann::json::parse(to_json(f));
  BOOST_TEST(parsed["value"].get<double>() == 1235000.0);
  BOOST_TEST(parsed["small"].get<double>() == 0.0001235);
  BOOST_TEST(parsed["count"].get<std::int64_t>() == (std::int64_t{1} << 40));
  BOOST_TEST(parsed["none"].is_null());
}

BOOST_AUTO_TEST_CASE(odd_text_stays_valid_json_in_one_line) {
  figure f{"a \"quoted\"\nname", 1, "\xff", {}};
  const auto line = to_json(f);
  BOOST_TEST(line.find('\n') == std::string::npos);
  BOOST_TEST(nlohmann::json::parse(line)["metric"] == "a \"quoted\"\nname");
}
