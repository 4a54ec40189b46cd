#define BOOST_TEST_MODULE pi_run
#include <boost/test/unit_test.hpp>

#include "apps/run_program.hpp"

#include <cmath>
#include <cstdlib>

using test::run_program;

namespace {

constexpr const char* begins = "pi is about ";

// What it says of pi, without the time that it took.
std::string first_line(const std::string& arguments) {
  const auto end = run_program("pi", arguments + " 2>&1");
  BOOST_REQUIRE_MESSAGE(end.status == 0, end.text);
  BOOST_REQUIRE_MESSAGE(end.text.compare(0, std::string{begins}.size(), begins) == 0, end.text);
  return end.text.substr(0, end.text.find('\n'));
}

double after(const std::string& text, const std::string& words) {
  const auto at = text.find(words);
  return at == std::string::npos ? 0 : std::strtod(text.c_str() + at + words.size(), nullptr);
}

} // namespace

BOOST_AUTO_TEST_CASE(the_estimate_depends_on_the_seed_and_not_on_the_number_of_workers) {
  const auto alone = first_line("--samples 1000001 --seed 7");
  BOOST_TEST(first_line("--samples 1000001 --seed 7 -p 2") == alone);
  BOOST_TEST(first_line("--samples 1000001 --seed 7 -p 3") == alone);
  BOOST_TEST(first_line("--samples 1000001 --seed 8 -p 2") != alone);
}

BOOST_AUTO_TEST_CASE(the_estimate_is_within_a_few_of_its_standard_errors) {
  const auto said = first_line("--samples 1e8 -p 2");
  const auto standard_error = after(said, "with a standard error of ");
  BOOST_TEST(standard_error > 1.5e-4);
  BOOST_TEST(standard_error < 1.7e-4);
  BOOST_TEST(std::abs(after(said, begins) - 3.14159265358979) < 4 * standard_error, said); // always the same for a seed
}

BOOST_AUTO_TEST_CASE(a_number_of_points_that_makes_no_sense_is_refused) {
  for (auto n : {"0", "-1", "nan", "1e30"}) {
    const auto end = run_program("pi", "--samples " + std::string{n} + " 2>&1");
    BOOST_TEST(end.status != 0, n << end.text);
    BOOST_TEST(end.text.find("samples") != std::string::npos, n << end.text);
  }
}
