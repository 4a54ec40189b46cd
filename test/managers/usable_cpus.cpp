#define BOOST_TEST_MODULE usable_cpus
#include <boost/test/unit_test.hpp>

#include "troupe/managers/usable_cpus.hpp"

#include <sched.h>

BOOST_AUTO_TEST_CASE(only_those_that_the_process_may_run_on_count) {
  cpu_set_t before;
  CPU_ZERO(&before);
  BOOST_REQUIRE(::sched_getaffinity(0, sizeof before, &before) == 0);
  BOOST_TEST(troupe::usable_cpus() == CPU_COUNT(&before));
  int first = 0;
  while (!CPU_ISSET(first, &before))
    ++first;
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(first, &one);
  BOOST_REQUIRE(::sched_setaffinity(0, sizeof one, &one) == 0);
  BOOST_TEST(troupe::usable_cpus() == 1);
  ::sched_setaffinity(0, sizeof before, &before);
}
