#define BOOST_TEST_MODULE cut_links
// Links that end while both processes live: what is on its way arrives all the same, once and in order.
#include "system/harness.hpp"

#include "system/load.hpp"
#include "system/test_manager.hpp"

namespace {

using load::number;

const setup messages{[](troupe::app& app) { load::register_messages(app); }};

/// Two workers whose links go through a proxy, and that talk to each other all the time.
struct talking_pair {
  std::shared_ptr<cutting_proxy> proxy = std::make_shared<cutting_proxy>();
  std::shared_ptr<test_manager> manager = std::make_shared<test_manager>(test_manager::settings{.proxy = proxy});
  std::vector<proc_id> ids = add_workers(manager, 2);
  load::generator talk{here(), 1};

  talking_pair() {
    describe_hang = [this] { return "open calls:\n" + talk.open_calls(); };
    talk.join(ids);
    settle();
  }

  ~talking_pair() {
    describe_hang = nullptr;
    const auto there = here().procs();
    std::erase_if(ids, [&](proc_id id) { return std::find(there.begin(), there.end(), id) == there.end(); });
    here().rmprocs(ids);
  }

  // The one with the higher id has dialled.
  std::uint16_t port_between() const { return manager->process(ids[0])->proxy_port; }
  std::uint16_t port_of(std::size_t i) const { return manager->process(ids[i])->proxy_port; }

  /// All that is under way comes to its right end, so does more, and nobody is missed.
  void settle(number calls = 30) {
    BOOST_REQUIRE_EQUAL(talk.catch_up(patience, calls), "");
    BOOST_TEST(talk.bury(patience) == "");
    for (auto& text : talk.complaints())
      BOOST_ERROR(text);
    BOOST_TEST(here().nworkers() == 2);
  }
};

constexpr auto for_ever = std::chrono::hours{1};

} // namespace

BOOST_AUTO_TEST_CASE(a_link_between_workers_that_is_cut_is_replaced_and_loses_nothing) {
  talking_pair pair;
  for (auto how : {cut_kind::rst, cut_kind::fin}) {
    for (int i = 0; i < 20; ++i) {
      BOOST_TEST(eventually([&] { return pair.proxy->cut_all(pair.port_between(), how, pair.ids[1]) > 0; }));
      pair.settle();
    }
  }
}

BOOST_AUTO_TEST_CASE(a_link_of_the_master_that_is_cut_is_replaced_and_loses_nothing) {
  talking_pair pair;
  for (auto how : {cut_kind::rst, cut_kind::fin}) {
    for (int i = 0; i < 20; ++i) {
      BOOST_TEST(eventually([&] { return pair.proxy->cut_all(pair.port_of(1), how, 1) > 0; }));
      pair.settle();
    }
  }
}

BOOST_AUTO_TEST_CASE(all_links_can_be_cut_at_once) {
  talking_pair pair;
  for (int i = 0; i < 20; ++i) {
    for (std::size_t j = 0; j < 2; ++j)
      BOOST_TEST(eventually([&] { return pair.proxy->cut_all(pair.port_of(j), cut_kind::rst) > 0; }));
    pair.settle();
  }
}

BOOST_AUTO_TEST_CASE(workers_without_a_direct_link_reach_each_other_through_the_master) {
  talking_pair pair;
  BOOST_TEST(eventually([&] { return pair.proxy->cut_all(pair.port_between(), cut_kind::rst, pair.ids[1]) > 0; }));
  pair.proxy->refuse(pair.port_between(), pair.ids[1]);
  pair.proxy->cut_all(pair.port_between(), cut_kind::rst, pair.ids[1]); // if it has come back already
  for (int i = 0; i < 20; ++i)
    pair.settle();
}

BOOST_AUTO_TEST_CASE(a_link_between_workers_that_is_silent_for_ever_is_replaced) {
  talking_pair pair;
  BOOST_TEST(pair.proxy->pause_from(pair.port_between(), for_ever, pair.ids[1]) > 0);
  pair.settle();
}

BOOST_AUTO_TEST_CASE(a_slow_link_is_no_silent_one) {
  talking_pair pair;
  pair.proxy->delay(300ms);
  BOOST_TEST(time_of([&] { pair.settle(2); }) > 300ms);
  pair.proxy->delay(0ms);
}

// FA-10
BOOST_AUTO_TEST_CASE(a_worker_that_nothing_comes_from_any_more_is_lost_and_ended) {
  talking_pair pair;
  const auto process = pair.manager->process(pair.ids[1]);
  pair.talk.condemn(pair.ids[1]);
  pair.proxy->pause_all(pair.port_of(1), for_ever);
  pair.proxy->pause_from(pair.port_between(), for_ever, pair.ids[1]);
  pair.proxy->refuse(pair.port_between(), pair.ids[1]);
  BOOST_TEST(eventually([] { return here().nworkers() == 1; }, 8s));
  BOOST_REQUIRE_EQUAL(pair.talk.catch_up(patience), "");
  BOOST_TEST(pair.talk.bury(patience) == "");
  for (auto& text : pair.talk.complaints())
    BOOST_ERROR(text);
  const auto cause = here().info(pair.ids[1]).cause;
  BOOST_REQUIRE(cause.has_value());
  BOOST_TEST(contains(cause->to_text(), "silent"), cause->to_text());
  BOOST_TEST(eventually([&] { return pair.manager->running() == 1; }));
}
