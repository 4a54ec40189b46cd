#define BOOST_TEST_MODULE shared_values
#include "system/harness.hpp"

#include <troupe/actors.hpp>

#include <csignal>
#include <map>
#include <numeric>

using namespace system_test;
using troupe::future;
using troupe::shared;

namespace {

using numbers = std::vector<double>;

constexpr std::size_t many = (std::size_t{8} << 20) / sizeof(double);

numbers counted(std::size_t n) {
  numbers out(n);
  std::iota(out.begin(), out.end(), 1.0);
  return out;
}

struct mesh {
  numbers points;
  std::map<int, std::string> names;

  template <class Inspector>
  friend auto inspect(Inspector& f, mesh& x) -> typename Inspector::result_type {
    return f(x.points, x.names);
  }
};

// A member of something else.
struct job {
  shared<mesh> on;
  int number = 0;

  template <class Inspector>
  friend auto inspect(Inspector& f, job& x) -> typename Inspector::result_type {
    return f(x.on, x.number);
  }
};

double sum_of(const shared<numbers>& x) { return std::accumulate(x->begin(), x->end(), 0.0); }

bool nothing_lives_on(proc_id id) { return here().references(id).empty(); }

std::uint64_t bytes_sent() { return here().statistics().front().bytes_sent; }

} // namespace

BOOST_AUTO_TEST_CASE(a_shared_value_is_the_same_on_every_process) {
  workers w{3};
  const auto s = here().share(mesh{counted(1000), {{1, "one"}, {2, "two"}}});
  BOOST_TEST(s->points.size() == 1000u);
  for (int i = 0; i < 3; ++i) {
    const auto name =
      here().remotecall_fetch(w[i], [](const job& j) { return j.on->names.at(j.number) + std::to_string(j.on->points.back()); }, job{s, 2});
    BOOST_TEST(name == "two1000.000000");
  }
}

// SE-08
BOOST_AUTO_TEST_CASE(a_large_value_leaves_the_one_that_shares_it_at_most_three_times) {
  workers w{8};
  const auto s = here().share(counted(many));
  const auto before = bytes_sent();
  std::vector<future<double>> sums;
  for (int i = 0; i < 8; ++i)
    sums.push_back(here().remotecall<sum_of>(w[i], s));
  const auto expected = sum_of(s);
  for (auto& x : sums)
    BOOST_TEST(x.fetch() == expected);
  const auto copies = static_cast<double>(bytes_sent() - before) / (many * sizeof(double));
  BOOST_TEST(copies < 3.1);
  BOOST_TEST(copies > 1.9);
}

BOOST_AUTO_TEST_CASE(it_travels_once_to_a_process_however_many_tasks_use_it) {
  workers w{1};
  const auto s = here().share(counted(many));
  here().remotecall_fetch<sum_of>(w[0], s);
  const auto before = bytes_sent();
  for (int i = 0; i < 20; ++i)
    here().remotecall_fetch<sum_of>(w[0], s);
  BOOST_TEST(bytes_sent() - before < many);
}

BOOST_AUTO_TEST_CASE(a_value_that_a_worker_shares_reaches_the_master_and_others) {
  workers w{2};
  const auto s = here().remotecall_fetch(w[0], [] { return here().share(counted(100)); });
  BOOST_TEST(s.id().where == w[0]);
  BOOST_TEST(!s.ishere());
  BOOST_TEST(sum_of(s) == 5050.0);
  BOOST_TEST(s.ishere());
  BOOST_TEST(here().remotecall_fetch<sum_of>(w[1], s) == 5050.0);
}

BOOST_AUTO_TEST_CASE(it_is_freed_when_the_last_copy_is_gone) {
  workers w{2};
  auto s = here().share(counted(many));
  here().remotecall_fetch<sum_of>(w[0], s);
  here().remotecall_fetch<sum_of>(w[1], s);
  BOOST_TEST(eventually([] { return here().references(1).size() == 1; }));
  s = {};
  BOOST_TEST(eventually([] { return nothing_lives_on(1); }));
}

BOOST_AUTO_TEST_CASE(workers_free_it_when_it_is_freed_where_it_was_shared) {
  workers w{2};
  const auto resident = [] {
    std::ifstream in{"/proc/self/statm"};
    std::size_t all = 0, pages = 0;
    in >> all >> pages;
    return pages * 4096;
  };
  const auto before = here().remotecall_fetch(w[0], resident);
  for (int i = 0; i < 20; ++i) {
    const auto s = here().share(counted(4 * many));
    here().remotecall_fetch<sum_of>(w[0], s);
  }
  // 20 × 32 MiB were there, each for a while
  BOOST_TEST(eventually([&] { return here().remotecall_fetch(w[0], resident) < before + 4 * 4 * many * sizeof(double); }));
}

BOOST_AUTO_TEST_CASE(a_copy_elsewhere_keeps_it_where_it_was_shared) {
  workers w{2};
  auto s = here().remotecall_fetch(w[0], [] { return here().share(counted(10)); });
  auto copy = here().remotecall(w[1], [](shared<numbers> x) { return x; }, s);
  copy.wait();
  s = {};
  BOOST_TEST(
    eventually([&] { return here().references(w[0]).size() == 1 && here().references(w[0]).front().holders == std::vector{w[1]}; }));
  BOOST_TEST(here().remotecall_fetch(w[1], [](const future<shared<numbers>>& f) { return sum_of(f.fetch()); }, copy) == 55.0);
  copy = {};
  BOOST_TEST(eventually([&] { return nothing_lives_on(w[0]); }));
}

BOOST_AUTO_TEST_CASE(who_wants_it_after_its_process_has_gone_is_told) {
  workers w{2};
  const auto s = here().remotecall_fetch(w[0], [] { return here().share(counted(10)); });
  here().rmprocs(w[0]);
  BOOST_TEST(error_of<troupe::process_exited>([&] { s.get(); }).pid() == w[0]);
  error_of<troupe::process_exited>([&] { s.get(); });
}

BOOST_AUTO_TEST_CASE(what_is_here_outlives_its_process) {
  workers w{1};
  const auto s = here().remotecall_fetch(w[0], [] { return here().share(counted(10)); });
  s.get();
  here().rmprocs(w[0]);
  BOOST_TEST(sum_of(s) == 55.0);
}

// The third to ask gets it from the first.
BOOST_AUTO_TEST_CASE(if_the_process_that_would_pass_it_on_is_gone_it_comes_from_where_it_was_shared) {
  workers w{4};
  const auto s = here().share(counted(many));
  here().remotecall_fetch<sum_of>(w[0], s);
  here().remotecall_fetch<sum_of>(w[1], s);
  here().rmprocs(w[0]);
  const auto expected = sum_of(s);
  BOOST_TEST(here().remotecall_fetch<sum_of>(w[2], s) == expected);
  BOOST_TEST(here().remotecall_fetch<sum_of>(w[3], s) == expected);
}

BOOST_AUTO_TEST_CASE(an_empty_handle_says_so) {
  workers w{1};
  shared<int> none;
  error_of<troupe::usage_error>([&] { none.get(); });
  error_of<troupe::usage_error>([&] { static_cast<void>(none.id()); });
  BOOST_TEST(!here().remotecall_fetch(w[0], [](const shared<int>& x) { return x.valid(); }, none));
}
