#define BOOST_TEST_MODULE owned_channel
#include <boost/test/unit_test.hpp>

#include "actors/asking.hpp"

#include <numeric>
#include <random>

using namespace test;
using troupe::codec_error;
using troupe::error_kind;
namespace flags = troupe::ask_flags;

namespace {

// A channel that process 2 has made here; 2, 3 and 4 use it.
struct channel : owner {
  explicit channel(std::uint64_t capacity) { ask(2, id, 0, ask_op::create, number(capacity)); }

  void put(proc_id from, std::uint64_t question, std::vector<int> xs, std::uint8_t f = 0) {
    ask(from, id, question, ask_op::put, values(std::move(xs)), f);
  }
  void take(proc_id from, std::uint64_t question, std::uint8_t f = 0) { ask(from, id, question, ask_op::take, nothing(), f); }
  int taken(proc_id by, std::uint64_t question) {
    const auto a = answer_to(by, question);
    BOOST_REQUIRE(a.what == answer_kind::value);
    return int_of(a.value);
  }
  bool done(proc_id by, std::uint64_t question) { return answered(by, question) && answer_to(by, question).what == answer_kind::nothing; }
  std::uint64_t ask_number(ask_op op) {
    ask(2, id, 999, op);
    const auto a = answer_to(2, 999);
    BOOST_REQUIRE(a.what == answer_kind::number);
    return a.number;
  }
  std::uint64_t size() { return ask_number(ask_op::size); }
  std::vector<int> lease(proc_id by, std::uint64_t question, std::uint64_t most) {
    ask(by, id, question, ask_op::lease, number(most));
    const auto a = answer_to(by, question);
    BOOST_REQUIRE(a.what == answer_kind::elements);
    return ints_of(a);
  }
  // What is in it, first to last, which empties it.
  std::vector<int> drain() {
    std::vector<int> out;
    while (true) {
      take(2, 998, flags::at_once);
      const auto a = answer_to(2, 998);
      if (a.what != answer_kind::value)
        return out;
      out.push_back(int_of(a.value));
    }
  }

  const ref_id id{me, 2, 1};
};

std::vector<int> range(int first, int last) {
  std::vector<int> out(static_cast<std::size_t>(last - first));
  std::iota(out.begin(), out.end(), first);
  return out;
}

using ints = std::vector<int>;

} // namespace

// CH-04
BOOST_AUTO_TEST_CASE(values_come_out_in_the_order_in_which_they_were_put) {
  channel c{10};
  c.put(2, 1, {1});
  c.put(3, 1, {2, 3});
  c.put(2, 2, {4});
  BOOST_TEST(c.done(2, 1));
  BOOST_TEST(c.done(3, 1));
  BOOST_TEST(c.done(2, 2));
  BOOST_TEST(c.size() == 4u);
  for (int i = 1; i <= 4; ++i) {
    c.ask(3, c.id, 10, ask_op::fetch);
    BOOST_TEST(c.taken(3, 10) == i);
    c.take(4, 11);
    BOOST_TEST(c.taken(4, 11) == i);
  }
  BOOST_TEST(c.size() == 0u);
  BOOST_TEST(c.ask_number(ask_op::isready) == 0u);
  BOOST_TEST(c.ask_number(ask_op::isopen) == 1u);
}

// CH-05
BOOST_AUTO_TEST_CASE(who_puts_into_a_full_channel_waits_for_its_turn) {
  channel c{2};
  c.put(2, 1, {1});
  c.put(2, 2, {2});
  c.put(3, 3, {3});
  c.put(4, 4, {4});
  BOOST_TEST(!c.answered(3, 3));
  BOOST_TEST(c.size() == 2u);
  c.take(2, 5);
  BOOST_TEST(c.taken(2, 5) == 1);
  BOOST_TEST(c.done(3, 3));
  BOOST_TEST(!c.answered(4, 4));
  c.take(2, 5);
  BOOST_TEST(c.taken(2, 5) == 2);
  BOOST_TEST(c.done(4, 4));
  BOOST_TEST((c.drain() == ints{3, 4}));
}

BOOST_AUTO_TEST_CASE(who_takes_from_an_empty_channel_is_served_in_the_order_of_asking) {
  channel c{2};
  c.take(3, 1);
  c.take(4, 1);
  c.ask(2, c.id, 9, ask_op::wait);
  BOOST_TEST(c.answers.empty());
  c.put(2, 2, {1});
  BOOST_TEST(c.taken(3, 1) == 1);
  BOOST_TEST(!c.answered(4, 1));
  c.put(2, 3, {2, 3});
  BOOST_TEST(c.taken(4, 1) == 2);
  BOOST_TEST(c.done(2, 9));
}

BOOST_AUTO_TEST_CASE(who_only_looks_does_not_hold_up_who_takes) {
  channel c{2};
  c.ask(3, c.id, 1, ask_op::fetch);
  c.take(4, 2);
  c.ask(3, c.id, 3, ask_op::fetch);
  c.put(2, 1, {7});
  BOOST_TEST(c.taken(3, 1) == 7);
  BOOST_TEST(c.taken(4, 2) == 7);
  BOOST_TEST(!c.answered(3, 3)); // it came behind the taker
  c.put(2, 2, {8});
  BOOST_TEST(c.taken(3, 3) == 8);
  BOOST_TEST((c.drain() == ints{8}));
}

// CH-06
BOOST_AUTO_TEST_CASE(without_capacity_who_puts_waits_for_who_takes) {
  channel c{0};
  c.put(2, 1, {1});
  c.put(3, 1, {2});
  BOOST_TEST(c.answers.empty());
  BOOST_TEST(c.ask_number(ask_op::isready) == 1u);
  BOOST_TEST(c.size() == 0u);
  c.ask(4, c.id, 5, ask_op::fetch);
  BOOST_TEST(c.taken(4, 5) == 1);
  BOOST_TEST(!c.answered(2, 1));
  c.take(4, 6);
  BOOST_TEST(c.taken(4, 6) == 1);
  BOOST_TEST(c.done(2, 1));
  BOOST_TEST(!c.answered(3, 1));
  c.take(4, 7);
  BOOST_TEST(c.taken(4, 7) == 2);
  BOOST_TEST(c.done(3, 1));
  c.take(4, 8);
  BOOST_TEST(!c.answered(4, 8));
  c.put(2, 2, {3});
  BOOST_TEST(c.taken(4, 8) == 3);
  BOOST_TEST(c.done(2, 2));
  BOOST_TEST(c.ask_number(ask_op::isready) == 0u);
}

// CH-09, CH-10, CH-11
BOOST_AUTO_TEST_CASE(closing_tells_who_waits_and_leaves_what_is_in) {
  channel c{1};
  c.put(2, 1, {1});
  c.put(3, 1, {2});
  c.ask(4, c.id, 1, ask_op::close, closing());
  BOOST_TEST(c.done(4, 1));
  BOOST_TEST((c.error_to(3, 1).kind == error_kind::channel_closed));
  c.ask(2, c.id, 2, ask_op::close, closing(failure("too late")));
  BOOST_TEST(c.done(2, 2));
  BOOST_TEST(c.ask_number(ask_op::isopen) == 0u);
  c.put(2, 3, {3});
  BOOST_TEST((c.error_to(2, 3).kind == error_kind::channel_closed));
  c.put(2, 3, {3}, flags::at_once);
  BOOST_TEST((c.error_to(2, 3).kind == error_kind::channel_closed));
  c.take(3, 2);
  BOOST_TEST(c.taken(3, 2) == 1);
  for (auto op : {ask_op::take, ask_op::fetch, ask_op::wait}) {
    c.ask(3, c.id, 3, op);
    BOOST_TEST((c.error_to(3, 3).kind == error_kind::channel_closed));
  }
}

// CH-10, CH-12
BOOST_AUTO_TEST_CASE(closing_with_an_error_gives_it_to_everyone_who_waits) {
  for (std::uint64_t capacity : {0u, 3u}) {
    channel c{capacity};
    c.take(3, 1);
    c.ask(4, c.id, 1, ask_op::take_many, number(5));
    c.ask(4, c.id, 2, ask_op::lease, number(5));
    c.ask(2, c.id, 0, ask_op::close, closing(failure("done for", error_kind::usage)));
    for (auto [p, n] : {std::pair{3, 1}, {4, 1}, {4, 2}})
      BOOST_TEST(c.error_to(p, static_cast<std::uint64_t>(n)).parts.size() == 0u);
    for (int i = 0; i < 2; ++i) {
      c.take(3, 4);
      BOOST_TEST((c.error_to(3, 4).kind == error_kind::usage));
    }
    BOOST_TEST(c.answers.empty());
  }
}

// CH-27
BOOST_AUTO_TEST_CASE(what_is_to_be_done_at_once_is_done_or_refused) {
  channel c{2};
  c.take(3, 1, flags::at_once);
  BOOST_TEST(c.done(3, 1));
  c.put(2, 1, {1, 2, 3}, flags::at_once);
  BOOST_TEST(c.answer_to(2, 1).number == 0u);
  BOOST_TEST(c.size() == 0u);
  c.put(2, 1, {1, 2}, flags::at_once);
  BOOST_TEST(c.answer_to(2, 1).number == 1u);
  c.put(2, 1, {3}, flags::at_once);
  BOOST_TEST(c.answer_to(2, 1).number == 0u);
  c.ask(3, c.id, 2, ask_op::fetch, nothing(), flags::at_once);
  BOOST_TEST(c.taken(3, 2) == 1);
  c.take(3, 2, flags::at_once);
  BOOST_TEST(c.taken(3, 2) == 1);

  channel empty{0};
  empty.put(2, 1, {1}, flags::at_once);
  BOOST_TEST(empty.answer_to(2, 1).number == 0u);
  empty.ask(4, empty.id, 1, ask_op::fetch);
  empty.put(2, 1, {1}, flags::at_once); // who looks doesn't take it
  BOOST_TEST(empty.answer_to(2, 1).number == 0u);
  empty.take(3, 1);
  empty.put(2, 1, {1}, flags::at_once);
  BOOST_TEST(empty.answer_to(2, 1).number == 1u);
  BOOST_TEST(empty.taken(3, 1) == 1);
}

BOOST_AUTO_TEST_CASE(a_taker_that_withdraws_leaves_the_value_to_the_next) {
  channel c{2};
  c.take(3, 1);
  c.take(4, 1);
  c.ask(3, c.id, 0, ask_op::withdraw, number(1));
  BOOST_TEST(c.done(3, 1));
  c.put(2, 1, {5});
  BOOST_TEST(c.taken(4, 1) == 5);
  c.ask(3, c.id, 0, ask_op::withdraw, number(1)); // it has its answer: nothing is said
  c.ask(4, c.id, 0, ask_op::withdraw, number(1));
  BOOST_TEST(c.done(2, 1));
  BOOST_TEST(c.answers.empty());
}

BOOST_AUTO_TEST_CASE(a_putter_that_withdraws_takes_with_it_what_is_not_in) {
  channel c{2};
  c.put(2, 1, {1, 2, 3, 4});
  c.put(3, 1, {10});
  BOOST_TEST(c.answers.empty());
  c.ask(2, c.id, 0, ask_op::withdraw, number(1));
  BOOST_TEST(c.done(2, 1));
  BOOST_TEST((c.drain() == ints{1, 2, 10}));
  BOOST_TEST(c.done(3, 1));
}

BOOST_AUTO_TEST_CASE(values_of_one_put_stay_together) {
  channel c{3};
  c.put(2, 1, range(0, 10));
  c.put(3, 1, range(100, 110));
  ints all;
  for (int i = 0; i < 20; ++i) {
    c.take(4, 1);
    all.push_back(c.taken(4, 1));
  }
  auto expected = range(0, 10);
  const auto more = range(100, 110);
  expected.insert(expected.end(), more.begin(), more.end());
  BOOST_TEST((all == expected));
  BOOST_TEST(c.done(2, 1));
  BOOST_TEST(c.done(3, 1));
}

BOOST_AUTO_TEST_CASE(many_are_taken_with_one_question_also_from_those_who_wait_to_put) {
  channel c{3};
  c.put(2, 1, range(0, 8));
  c.put(3, 1, {8});
  c.ask(4, c.id, 1, ask_op::take_many, number(5));
  BOOST_TEST((ints_of(c.answer_to(4, 1)) == range(0, 5)));
  BOOST_TEST(!c.answered(2, 1) == false);
  c.ask(4, c.id, 1, ask_op::take_many, number(100));
  BOOST_TEST((ints_of(c.answer_to(4, 1)) == range(5, 9)));
  c.ask(4, c.id, 1, ask_op::take_many, number(100));
  BOOST_TEST(!c.answered(4, 1));
  c.put(2, 2, {9});
  BOOST_TEST((ints_of(c.answer_to(4, 1)) == ints{9}));

  channel meeting{0};
  meeting.put(2, 1, {1, 2, 3});
  meeting.ask(4, meeting.id, 1, ask_op::take_many, number(2));
  BOOST_TEST((ints_of(meeting.answer_to(4, 1)) == ints{1, 2}));
  BOOST_TEST(!meeting.answered(2, 1));
  meeting.take(4, 2);
  BOOST_TEST(meeting.taken(4, 2) == 3);
  BOOST_TEST(meeting.done(2, 1));
}

BOOST_AUTO_TEST_CASE(an_empty_put_is_done_at_once) {
  channel c{1};
  c.put(2, 1, {1});
  c.put(2, 2, {});
  BOOST_TEST(c.done(2, 2));
}

// -- leases -----------------------------------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(leased_values_count_against_the_capacity_until_they_are_settled) {
  channel c{4};
  c.put(2, 1, range(0, 10));
  BOOST_TEST((c.lease(3, 1, 100) == range(0, 4)));
  BOOST_TEST(c.size() == 0u);
  BOOST_TEST(!c.answered(2, 1));
  c.ask(3, c.id, 0, ask_op::settle, settlement(1, 2, false));
  BOOST_TEST(c.size() == 2u); // 4 and 5 have come in
  c.put(4, 1, {99}, flags::at_once);
  BOOST_TEST(c.answer_to(4, 1).number == 0u);
  c.ask(3, c.id, 0, ask_op::settle, settlement(1, 1, true)); // 3 goes back
  BOOST_TEST((c.drain() == range(3, 10)));
}

BOOST_AUTO_TEST_CASE(values_of_a_lease_that_ends_are_the_first_again) {
  channel c{10};
  c.put(2, 1, range(0, 8));
  BOOST_TEST((c.lease(3, 1, 3) == range(0, 3)));
  BOOST_TEST((c.lease(3, 2, 3) == range(3, 6)));
  c.take(4, 1);
  BOOST_TEST(c.taken(4, 1) == 6);
  c.ask(3, c.id, 0, ask_op::settle, settlement(2, 1, true));
  c.ask(3, c.id, 0, ask_op::settle, settlement(1, 0, true));
  BOOST_TEST((c.drain() == ints{0, 1, 2, 4, 5, 7}));
  c.ask(3, c.id, 0, ask_op::settle, settlement(1, 0, true)); // the second time nothing happens
  c.ask(4, c.id, 0, ask_op::settle, settlement(2, 1, true));
  BOOST_TEST(c.size() == 0u);
}

BOOST_AUTO_TEST_CASE(what_a_lost_process_has_leased_goes_back_in_order) {
  channel c{10};
  c.put(2, 1, range(0, 10));
  BOOST_TEST((c.lease(3, 1, 2) == range(0, 2)));
  BOOST_TEST((c.lease(3, 2, 4) == range(2, 6)));
  BOOST_TEST((c.lease(4, 1, 2) == range(6, 8)));
  c.ask(3, c.id, 0, ask_op::settle, settlement(1, 1, false));
  c.lose(3);
  BOOST_TEST((c.drain() == ints{1, 2, 3, 4, 5, 8, 9}));
  c.put(2, 3, range(20, 28), flags::at_once); // what 4 has leased still counts
  BOOST_TEST(c.answer_to(2, 3).number == 1u);
  c.put(2, 3, {30}, flags::at_once);
  BOOST_TEST(c.answer_to(2, 3).number == 0u);
}

BOOST_AUTO_TEST_CASE(what_a_lost_process_has_leased_goes_to_who_waits) {
  channel c{2};
  c.put(2, 1, {1, 2});
  BOOST_TEST((c.lease(3, 1, 2) == ints{1, 2}));
  c.take(4, 1);
  c.put(2, 2, {3});
  BOOST_TEST(!c.answered(4, 1));
  c.lose(3);
  BOOST_TEST(c.taken(4, 1) == 1);
  BOOST_TEST((c.drain() == ints{2, 3}));
}

BOOST_AUTO_TEST_CASE(nothing_is_read_ahead_from_a_channel_without_capacity) {
  channel c{0};
  c.put(2, 1, {1, 2});
  c.put(4, 1, {3});
  BOOST_TEST((c.lease(3, 1, 100) == ints{1}));
  c.ask(3, c.id, 0, ask_op::settle, settlement(1, 1, true));
  BOOST_TEST((c.lease(3, 2, 100) == ints{2}));
  BOOST_TEST(c.done(2, 1));
  BOOST_TEST(!c.answered(4, 1));
}

BOOST_AUTO_TEST_CASE(values_given_back_are_the_first_again) {
  channel c{2};
  c.put(2, 1, {1, 2});
  c.take(3, 1);
  BOOST_TEST(c.taken(3, 1) == 1);
  c.put(2, 2, {3});
  c.ask(3, c.id, 0, ask_op::give_back, given_back(1, 1, {1}));
  BOOST_TEST((c.drain() == ints{1, 2, 3}));
  c.take(4, 1);
  c.ask(3, c.id, 0, ask_op::give_back, given_back(1, 1, {9}));
  BOOST_TEST(c.taken(4, 1) == 9);
  c.ask(2, c.id, 0, ask_op::close, closing());
  c.ask(3, c.id, 0, ask_op::give_back, given_back(1, 1, {10}));
  BOOST_TEST((c.drain() == ints{10}));
}

BOOST_AUTO_TEST_CASE(values_given_back_late_keep_the_order_in_which_they_were_put) {
  channel c{9};
  c.put(2, 1, {1, 2, 3, 4, 5});
  for (std::uint64_t n : {1, 2, 3})
    c.take(3, n);
  c.ask(3, c.id, 4, ask_op::take_many, number(1));
  c.ask(3, c.id, 0, ask_op::give_back, given_back(2, 2, {2}));
  c.ask(3, c.id, 0, ask_op::give_back, given_back(4, 4, {4}));
  c.ask(3, c.id, 0, ask_op::give_back, given_back(1, 1, {1}));
  c.ask(3, c.id, 0, ask_op::give_back, given_back(3, 3, {3}));
  BOOST_TEST((c.drain() == ints{1, 2, 3, 4, 5}));

  c.put(2, 2, {1, 2, 3, 4});
  BOOST_TEST((c.lease(3, 5, 2) == ints{1, 2}));
  c.take(3, 6);
  c.ask(3, c.id, 0, ask_op::give_back, given_back(6, 8, {3}));
  c.ask(3, c.id, 0, ask_op::settle, settlement(5, 1, true));
  c.take(4, 1); // the lease's second
  BOOST_TEST(c.taken(4, 1) == 2);
  BOOST_TEST((c.drain() == ints{3, 4}));

  // of several processes, taken together, taken again, and put meanwhile
  c.put(2, 3, {10, 11, 12, 13, 14, 15, 16});
  c.ask(3, c.id, 7, ask_op::take_many, number(2));
  c.take(4, 2);
  c.ask(3, c.id, 8, ask_op::take_many, number(2));
  const auto first = c.answer_to(3, 7).place, second = c.answer_to(4, 2).place, third = c.answer_to(3, 8).place;
  BOOST_TEST((first < second && second < third));
  c.ask(3, c.id, 0, ask_op::give_back, given_back(8, third, {13, 14}));
  c.ask(3, c.id, 0, ask_op::give_back, given_back(7, first, {10, 11}));
  c.take(4, 3);
  BOOST_TEST(c.answer_to(4, 3).place == first);
  c.put(2, 4, {17});
  c.ask(4, c.id, 0, ask_op::give_back, given_back(2, second, {12}));
  c.ask(4, c.id, 0, ask_op::give_back, given_back(3, first, {10}));
  BOOST_TEST((c.drain() == range(10, 18)));

  // what has a gap in it is not taken at once
  c.put(2, 5, {20, 21, 22, 23});
  c.take(3, 9);
  c.take(4, 4);
  c.ask(3, c.id, 0, ask_op::give_back, given_back(9, c.answer_to(3, 9).place, {20}));
  c.ask(3, c.id, 10, ask_op::take_many, number(9));
  BOOST_TEST((ints_of(c.answer_to(3, 10)) == ints{20}));
  BOOST_TEST((c.drain() == ints{22, 23}));
}

BOOST_AUTO_TEST_CASE(who_takes_waits_for_what_is_on_its_way_back) {
  channel c{9};
  const auto abandon = [&](std::uint64_t n) { c.ask(3, c.id, 0, ask_op::withdraw, number(n), flags::comes_back); };
  c.put(2, 1, {1, 2, 3, 4, 5});
  c.take(3, 1);
  c.take(3, 2);
  abandon(2);
  abandon(1);
  c.take(4, 1);
  c.take(4, 2, flags::at_once);
  c.ask(4, c.id, 3, ask_op::fetch);
  BOOST_TEST(c.size() == 3u);
  c.ask(3, c.id, 0, ask_op::give_back, given_back(2, 2, {2}));
  BOOST_TEST(!c.answered(4, 1));
  c.ask(3, c.id, 0, ask_op::give_back, given_back(1, 1, {1}));
  BOOST_TEST(c.taken(4, 1) == 1);
  BOOST_TEST(c.taken(4, 2) == 2);
  BOOST_TEST(c.taken(4, 3) == 3);
  BOOST_TEST((c.drain() == ints{3, 4, 5}));

  // what had no answer is just withdrawn
  c.take(3, 3);
  abandon(3);
  BOOST_TEST(c.done(3, 3));
  c.take(4, 4, flags::at_once);
  BOOST_TEST(c.done(4, 4));

  // nothing has come of it; whoever wanted something at once had to wait for that
  c.take(3, 4, flags::at_once);
  abandon(4);
  c.take(4, 5, flags::at_once);
  BOOST_TEST(!c.answered(4, 5));
  c.ask(3, c.id, 0, ask_op::give_back, given_back(4, 0, {}));
  BOOST_TEST(c.done(4, 5));

  // a lease
  c.put(2, 2, {6, 7});
  BOOST_TEST((c.lease(3, 5, 1) == ints{6}));
  abandon(5);
  c.take(4, 6);
  BOOST_TEST(!c.answered(4, 6));
  c.ask(3, c.id, 0, ask_op::settle, settlement(5, 0, true));
  BOOST_TEST(c.taken(4, 6) == 6);
  c.ask(2, c.id, 3, ask_op::close, closing());
  c.take(3, 6); // 7, the last
  abandon(6);
  c.take(4, 7);
  c.ask(4, c.id, 8, ask_op::lease, number(1));
  BOOST_TEST(!c.answered(4, 7));
  c.lose(3);
  BOOST_TEST((c.answer_to(4, 7).what == answer_kind::error));
  BOOST_TEST((c.answer_to(4, 8).what == answer_kind::error));
}

BOOST_AUTO_TEST_CASE(without_room_nobody_counts_on_who_waits_for_what_is_on_its_way_back) {
  channel c{0};
  c.put(2, 1, {1});
  c.take(3, 1);
  c.ask(3, c.id, 0, ask_op::withdraw, number(1), flags::comes_back);
  c.take(4, 1);
  c.put(2, 2, {2}, flags::at_once);
  BOOST_TEST(c.answer_to(2, 2).number == 0u);
  c.ask(3, c.id, 0, ask_op::give_back, given_back(1, 1, {1}));
  BOOST_TEST(c.taken(4, 1) == 1);
}

// -- processes that go ------------------------------------------------------------------------------------------------------

// CH-25
BOOST_AUTO_TEST_CASE(a_taker_whose_process_is_lost_swallows_nothing) {
  channel c{1};
  c.take(3, 1);
  c.ask(3, c.id, 2, ask_op::take_many, number(10));
  c.take(4, 1);
  c.lose(3);
  c.put(2, 1, {7});
  BOOST_TEST(c.taken(4, 1) == 7);
  BOOST_TEST(!c.answered(3, 1));
  BOOST_TEST(!c.answered(3, 2));
}

BOOST_AUTO_TEST_CASE(a_putter_whose_process_is_lost_puts_nothing) {
  channel c{1};
  c.put(2, 1, {1});
  c.put(3, 1, {2});
  c.put(4, 1, {3});
  c.lose(3);
  BOOST_TEST((c.drain() == ints{1, 3}));
  BOOST_TEST(!c.answered(3, 1));
  BOOST_TEST(c.done(4, 1));
}

BOOST_AUTO_TEST_CASE(a_tied_channel_is_closed_when_who_promised_is_lost) {
  channel c{1};
  const auto promised = [](proc_id by) { return [by](troupe::writer& w) { w.put(by); }; };
  c.ask(2, c.id, 1, ask_op::tie, promised(3));
  BOOST_TEST(c.done(2, 1));
  c.take(4, 1);
  c.lose(3);
  BOOST_TEST((c.error_to(4, 1).kind == error_kind::process_exited));
  c.put(4, 2, {1});
  BOOST_TEST((c.error_to(4, 2).kind == error_kind::process_exited));

  channel late{1};
  late.gone.insert(3);
  late.ask(2, late.id, 1, ask_op::tie, promised(3));
  BOOST_TEST(late.ask_number(ask_op::isopen) == 0u);
}

BOOST_AUTO_TEST_CASE(who_waits_for_a_channel_that_nobody_holds_is_told) {
  channel c{1};
  c.take(3, 1);
  c.tell(2, [&](troupe::writer& w) {
    w.put(troupe::count_news::kind::give_up);
    w.put(c.id.id);
  });
  BOOST_TEST((c.error_to(3, 1).kind == error_kind::usage));
  BOOST_TEST(c.all.size() == 0u);
}

// -- what doesn't fit -------------------------------------------------------------------------------------------------------

// CH-16
BOOST_AUTO_TEST_CASE(another_type_is_refused) {
  channel c{1};
  for (auto op : {ask_op::take, ask_op::fetch, ask_op::wait, ask_op::isready, ask_op::size}) {
    c.ask(3, c.id, 1, op, nothing(), 0, text_type);
    BOOST_TEST((c.error_to(3, 1).kind == error_kind::type_mismatch));
  }
  c.ask(3, c.id, 1, ask_op::put, values({1}), 0, text_type);
  BOOST_TEST((c.error_to(3, 1).kind == error_kind::type_mismatch));
  c.ask(3, c.id, 1, ask_op::fail, nothing()); // as if it were a future
  BOOST_TEST((c.error_to(3, 1).kind == error_kind::type_mismatch));
  c.ask(3, c.id, 1, ask_op::take, nothing(), flags::keyed);
  BOOST_TEST((c.error_to(3, 1).kind == error_kind::type_mismatch));
  BOOST_TEST(c.size() == 0u);
}

BOOST_AUTO_TEST_CASE(a_question_cut_off_anywhere_is_no_question) {
  channel c{10};
  c.put(2, 1, {1, 2, 3, 4});
  static_cast<void>(c.done(2, 1));
  const auto lease = c.lease(3, 5, 2);
  const std::pair<ask_op, arguments> all[] = {
    {ask_op::put, values({7, 8})},
    {ask_op::give_back, given_back(4, 1, {7})},
    {ask_op::take_many, number(3)},
    {ask_op::lease, number(3)},
    {ask_op::settle, settlement(5, 1, true)},
    {ask_op::close, closing(failure("x"))},
    {ask_op::withdraw, number(4)},
    {ask_op::tie, [](troupe::writer& w) { w.put(proc_id{3}); }},
  };
  for (auto& [op, args] : all) {
    const auto whole = owner::question(c.id, 4, op, args);
    for (std::size_t n = 0; n < whole.payload.size(); ++n) {
      troupe::frame_view cut;
      cut.payload = whole.payload.first(n);
      cut.owner = whole.owner;
      BOOST_CHECK_THROW(c.all.ask(3, cut), codec_error);
    }
  }
  BOOST_TEST(c.answers.empty());
  BOOST_TEST(c.size() == 2u);
  BOOST_TEST(c.ask_number(ask_op::isopen) == 1u);
}

BOOST_AUTO_TEST_CASE(wrong_counts_are_refused) {
  channel c{10};
  const auto put_of = [&](std::uint32_t n, std::uint64_t size, std::uint32_t references) {
    c.ask(3, c.id, 1, ask_op::put, [=](troupe::writer& w) {
      w.put(n);
      w.put(size);
      w.put(references);
      w.put(7);
    });
  };
  BOOST_CHECK_THROW(put_of(2, 4, 0), codec_error);
  BOOST_CHECK_THROW(put_of(0, 4, 0), codec_error);
  BOOST_CHECK_THROW(put_of(0xffffffff, 4, 0), codec_error);
  BOOST_CHECK_THROW(put_of(1, 5, 0), codec_error);
  BOOST_CHECK_THROW(put_of(1, ~std::uint64_t{0}, 0), codec_error);
  BOOST_CHECK_THROW(put_of(1, 4, 1), codec_error);
  put_of(1, 4, 0);
  BOOST_TEST(c.done(3, 1));
  BOOST_TEST((c.lease(4, 2, 1) == ints{7}));
  BOOST_CHECK_THROW(c.ask(4, c.id, 0, ask_op::settle, settlement(2, 2, true)), codec_error);
  BOOST_CHECK_THROW(c.ask(4, c.id, 0, ask_op::settle, settlement(2, ~std::uint64_t{0}, true)), codec_error);
}

BOOST_AUTO_TEST_CASE(an_unknown_operation_is_refused) {
  channel c{1};
  c.ask(3, c.id, 1, static_cast<ask_op>(200));
  BOOST_TEST((c.error_to(3, 1).kind == error_kind::type_mismatch));
}

BOOST_AUTO_TEST_CASE(random_bytes_do_no_harm) {
  std::mt19937 random{4711};
  channel c{3};
  const auto whole = owner::question(c.id, 4, ask_op::put, values({7, 8}));
  for (int i = 0; i < 50'000; ++i) {
    auto bytes = std::make_shared<troupe::byte_buffer>(whole.payload.begin(), whole.payload.end());
    for (auto n = random() % 4; n > 0; --n)
      (*bytes)[20 + random() % (bytes->size() - 20)] = static_cast<std::byte>(random());
    if (i % 3 != 0)
      (*bytes)[28] = static_cast<std::byte>(random() % 18); // the operation
    if (i % 2 == 0)
      bytes->resize(bytes->size() - random() % bytes->size());
    troupe::frame_view f;
    f.payload = *bytes;
    f.owner = bytes;
    try {
      c.all.ask(static_cast<proc_id>(2 + random() % 3), f);
    } catch (const codec_error&) {
    } catch (const troupe::error&) {
    }
    c.answers.clear();
  }
  c.lose(3);
  c.lose(4);
  BOOST_TEST(true);
}

// -- what values refer to ---------------------------------------------------------------------------------------------------

// GC-05
BOOST_AUTO_TEST_CASE(a_value_keeps_what_it_refers_to_until_it_is_gone) {
  channel c{3};
  std::vector<troupe::held_reference_ptr> held;
  for (std::uint64_t i = 1; i <= 3; ++i)
    held.push_back(std::make_shared<troupe::held_reference>(ref_id{5, 5, i}));
  c.ask(2, c.id, 1, ask_op::put, [&](troupe::writer& w) {
    troupe::write_elements(w, 2, [&](troupe::writer& out, std::size_t i) {
      out.refer(held[i]);
      if (i == 1)
        out.refer(held[2]);
    });
  });
  std::vector<std::weak_ptr<troupe::held_reference>> seen{held.begin(), held.end()};
  held.clear();
  BOOST_TEST(!seen[0].expired());
  c.take(3, 1);
  {
    const auto first = c.answer_to(3, 1);
    BOOST_TEST((first.value.references.size() == 1u && first.value.references[0]->id() == ref_id{5, 5, 1}));
  }
  BOOST_TEST(seen[0].expired());
  c.ask(3, c.id, 2, ask_op::lease, number(1));
  {
    const auto second = c.answer_to(3, 2);
    BOOST_TEST(second.elements.front().references.size() == 2u);
  }
  BOOST_TEST(!seen[2].expired()); // it may come back
  c.ask(2, c.id, 1, ask_op::put, [&](troupe::writer& w) {
    troupe::write_elements(w, 1,
                           [&](troupe::writer& out, std::size_t) { out.refer(std::make_shared<troupe::held_reference>(ref_id{5, 5, 9})); });
  });
  c.ask(3, c.id, 0, ask_op::settle, settlement(2, 1, true));
  BOOST_TEST(seen[1].expired());
  BOOST_TEST(seen[2].expired());
  c.take(3, 3);
  BOOST_TEST(c.answer_to(3, 3).value.references.size() == 1u); // what stayed is as it was
}
