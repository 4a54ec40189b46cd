#define BOOST_TEST_MODULE spread_tree
#include <boost/test/unit_test.hpp>

#include "troupe/managers/spread_tree.hpp"

#include <algorithm>
#include <map>
#include <numeric>

using troupe::branches_of;
using troupe::proc_id;
using troupe::spread_branch;
using troupe::spread_tree;

namespace {

using ids = std::vector<proc_id>;

ids workers(int n) {
  ids out(static_cast<std::size_t>(n));
  std::iota(out.begin(), out.end(), 2);
  return out;
}

// What processes do with a branch: how many hops each is from the master.
void pass_on(const spread_branch& b, int hops, std::map<proc_id, int>& out) {
  BOOST_TEST(out.emplace(b.first, hops).second, b.first << " gets it twice");
  for (auto& next : branches_of(b.others))
    pass_on(next, hops + 1, out);
}

ids sorted(ids x) {
  std::sort(x.begin(), x.end());
  return x;
}

} // namespace

BOOST_AUTO_TEST_CASE(each_process_gets_it_once_by_few_hops) {
  for (int n = 0; n <= 200; ++n) {
    const auto all = workers(n);
    std::map<proc_id, int> hops;
    const auto from_master = spread_tree{}.add(all);
    BOOST_TEST(from_master.size() == static_cast<std::size_t>(std::min(n, 2)));
    for (auto& b : from_master)
      pass_on(b, 1, hops);
    BOOST_TEST(hops.size() == all.size());
    for (auto& [id, h] : hops)
      BOOST_TEST((1 << h) <= n + 2, "process " << id << " of " << n << " after " << h << " hops");
  }
}

BOOST_AUTO_TEST_CASE(it_is_known_who_gets_it_by_way_of_whom) {
  spread_tree t;
  const auto branches = t.add(workers(8));
  BOOST_TEST(sorted(t.below(branches[0].first)) == branches[0].others, boost::test_tools::per_element());
  BOOST_TEST(sorted(t.below(branches[1].first)) == branches[1].others, boost::test_tools::per_element());
  BOOST_TEST(t.sender_of(branches[0].first) == troupe::master_id);
  BOOST_TEST(t.sender_of(branches[0].others.front()) == branches[0].first);
  BOOST_TEST(t.below(troupe::master_id).empty());
  BOOST_TEST(t.below(99).empty());
}

BOOST_AUTO_TEST_CASE(who_is_orphaned_gets_it_from_the_master_and_from_others_of_them) {
  spread_tree t;
  const auto first = t.add(workers(20)).front();
  const auto orphans = t.below(first.first);
  const auto again = t.add(orphans);
  BOOST_TEST(again.size() == 2);
  BOOST_TEST(t.below(first.first).empty());
  for (auto& b : again) {
    BOOST_TEST(t.sender_of(b.first) == troupe::master_id);
    BOOST_TEST(sorted(t.below(b.first)) == sorted(b.others), boost::test_tools::per_element());
  }
}
