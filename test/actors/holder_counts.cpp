#define BOOST_TEST_MODULE holder_counts
#include <boost/test/unit_test.hpp>

#include "troupe/actors/holder_counts.hpp"

#include <vector>

using troupe::holder_counts;
using ids = std::vector<troupe::proc_id>;

BOOST_AUTO_TEST_CASE(who_makes_a_reference_holds_it_until_it_gives_it_up) {
  holder_counts c;
  BOOST_TEST(c.none());
  c.add(2, 2, 1, false);
  BOOST_TEST(!c.none());
  BOOST_TEST((c.holders() == ids{2}));
  c.add(2, 2, -1, false);
  BOOST_TEST(c.none());
  BOOST_TEST(c.holders().empty());
}

// GC-10
BOOST_AUTO_TEST_CASE(a_copy_given_up_before_its_giver_has_told_of_it_is_no_copy) {
  holder_counts c;
  c.add(2, 2, 1, false);
  c.add(2, 3, -1, false); // 3 was faster
  BOOST_TEST((c.holders() == ids{2}));
  c.add(2, 3, 1, false);
  c.add(2, 2, -1, false);
  BOOST_TEST(c.none());
}

BOOST_AUTO_TEST_CASE(a_copy_on_its_way_counts) {
  holder_counts c;
  c.add(2, 2, 1, false);
  c.add(2, 3, 1, false);
  c.add(2, 2, -1, false);
  BOOST_TEST((c.holders() == ids{3}));
  c.add(3, 4, -1, false); // it went on to 4, which has given it up
  BOOST_TEST(!c.none());
  c.add(3, 4, 1, false);
  c.add(2, 3, -1, false);
  BOOST_TEST(c.none());
}

// GC-09
BOOST_AUTO_TEST_CASE(a_process_that_is_lost_holds_nothing) {
  holder_counts c;
  c.add(2, 2, 1, false);
  c.add(2, 3, 2, false);
  BOOST_TEST(!c.forget(4));
  BOOST_TEST(c.forget(3));
  BOOST_TEST((c.holders() == ids{2}));
  BOOST_TEST(c.forget(2));
  BOOST_TEST(c.none());
}

BOOST_AUTO_TEST_CASE(what_a_lost_process_handed_on_stays_with_who_has_it) {
  holder_counts c;
  c.add(2, 2, 1, false);
  c.add(2, 3, 1, false);
  c.forget(2);
  BOOST_TEST((c.holders() == ids{3}));
  c.settle(2, 3, 1, true);
  BOOST_TEST((c.holders() == ids{3}));
  c.add(2, 3, -1, true);
  BOOST_TEST(c.none());
}

BOOST_AUTO_TEST_CASE(who_holds_what_a_lost_process_never_told_of_tells_in_its_place) {
  holder_counts c;
  c.add(2, 2, 1, false);
  c.forget(2);
  c.settle(2, 3, 2, true); // 2 had handed it to 3 twice, and told of neither
  BOOST_TEST((c.holders() == ids{3}));
  c.add(2, 3, 1, true); // what comes late is in it already
  c.add(2, 3, -2, true);
  BOOST_TEST(c.none());
}

BOOST_AUTO_TEST_CASE(copies_that_were_lost_with_their_giver_are_taken_off_once_their_receiver_says_so) {
  holder_counts c;
  c.add(2, 2, 1, false);
  c.add(2, 3, 1, false);
  c.add(2, 4, 1, false);
  c.forget(2);
  BOOST_TEST((c.unsettled(2) == ids{3, 4}));
  c.settle(2, 4, 1, true);
  BOOST_TEST((c.unsettled(2) == ids{3}));
  c.settle(2, 3, 0, true);
  BOOST_TEST((c.holders() == ids{4}));
  c.add(2, 4, -1, true);
  BOOST_TEST(c.none());
}

BOOST_AUTO_TEST_CASE(what_is_given_up_of_a_lost_process_that_never_told_leaves_nothing) {
  holder_counts c;
  c.add(3, 3, 1, false);
  c.forget(2);
  c.add(2, 3, -1, true);
  BOOST_TEST((c.holders() == ids{3}));
  c.add(3, 3, -1, false);
  BOOST_TEST(c.none());
}
