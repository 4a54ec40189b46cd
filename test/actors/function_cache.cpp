#define BOOST_TEST_MODULE function_cache
#include <boost/test/unit_test.hpp>

#include "troupe/actors/function_cache.hpp"
#include "troupe/actors/map_stops.hpp"
#include "troupe/transport/codec.hpp"

#include <memory>
#include <vector>

namespace {

using troupe::function_cache;
using troupe::map_stops;
using troupe::ref_id;

constexpr std::uint64_t type = 7;

// A function that tells when it has gone.
function_cache::function made(std::shared_ptr<int> mark) { return std::shared_ptr<const void>{std::move(mark)}; }

} // namespace

// CP-01, CP-10
BOOST_AUTO_TEST_CASE(a_function_is_made_once_and_kept_until_it_is_forgotten) {
  function_cache cache;
  const ref_id id{1, 1, 5};
  int n = 0;
  const auto mark = std::make_shared<int>(3);
  const auto make = [&] {
    ++n;
    return made(mark);
  };
  BOOST_TEST(cache.get_or_add(id, type, make).get() == mark.get());
  BOOST_TEST(cache.get_or_add(id, type, make).get() == mark.get());
  BOOST_TEST(n == 1);
  BOOST_TEST(cache.get(id, type).get() == mark.get());
  BOOST_TEST((cache.list() == std::vector<ref_id>{id}));
  cache.forget(id);
  BOOST_TEST(cache.list().empty());
  BOOST_TEST(mark.use_count() == 1);
  BOOST_CHECK_THROW(cache.get(id, type), troupe::codec_error);
}

BOOST_AUTO_TEST_CASE(one_that_is_used_as_another_type_is_refused) {
  function_cache cache;
  const ref_id id{1, 1, 5};
  cache.get_or_add(id, type, [] { return made(std::make_shared<int>(1)); });
  BOOST_CHECK_THROW(cache.get(id, type + 2), troupe::codec_error);
  BOOST_CHECK_THROW(cache.get_or_add(id, type + 2, [] { return made(std::make_shared<int>(1)); }), troupe::codec_error);
}

// what a call that was on its way brings after all is used, and not kept
BOOST_AUTO_TEST_CASE(nothing_is_kept_that_comes_behind_its_end) {
  function_cache cache;
  const ref_id forgotten{1, 1, 5}, of_the_gone{3, 3, 1}, other{1, 1, 6};
  const auto mark = std::make_shared<int>(3);
  const auto make = [&] { return made(mark); };
  cache.get_or_add(of_the_gone, type, make);
  cache.forget(forgotten);
  cache.peer_lost(3);
  BOOST_TEST(cache.list().empty());
  BOOST_TEST(cache.get_or_add(forgotten, type, make).get() == mark.get());
  BOOST_TEST(cache.get_or_add(of_the_gone, type, make).get() == mark.get());
  BOOST_TEST(cache.list().empty());
  cache.get_or_add(other, type, make);
  BOOST_TEST((cache.list() == std::vector<ref_id>{other}));
}

// PF-10
BOOST_AUTO_TEST_CASE(a_map_is_stopped_for_all_its_batches_and_leaves_nothing) {
  map_stops maps;
  const auto first = maps.begin(1, 4);
  const auto second = maps.begin(1, 4);
  const auto other = maps.begin(2, 4);
  maps.stop(1, 4);
  BOOST_TEST(first->load());
  BOOST_TEST(second->load());
  BOOST_TEST(!other->load());
  BOOST_TEST(maps.begin(1, 4)->load()); // one that waited
  maps.over(2, 4, other);
  BOOST_TEST(maps.size() == 1u);
  maps.end(1, 4);
  maps.over(1, 4, first);
  maps.over(1, 4, second);
  BOOST_TEST(maps.size() == 0u);
  const auto lost = maps.begin(3, 1);
  maps.peer_lost(3);
  BOOST_TEST(lost->load());
  maps.over(3, 1, lost);
  BOOST_TEST(maps.size() == 0u);
}
