#define BOOST_TEST_MODULE collectives
#include "system/harness.hpp"

#include "troupe/actors/runtime.hpp"

#include <atomic>

using troupe::remote_error;
using ids = std::vector<proc_id>;

namespace {

using doubles = std::vector<double>;

std::string own_name() { return "(" + std::to_string(here().myid()) + ")"; }

std::string name_of(const ids& all) {
  std::string out;
  for (auto id : all)
    out += "(" + std::to_string(id) + ")";
  return out;
}

doubles many() { return doubles(1'000'000, here().myid()); }
doubles sum_of(doubles a, const doubles& b) {
  for (std::size_t i = 0; i < a.size(); ++i)
    a[i] += b[i];
  return a;
}

std::string kept;
void keep(const std::string& x) { kept += x; }
std::string what_is_kept() { return std::exchange(kept, {}); }

std::uint64_t bytes_sent() { return here().statistics().front().bytes_sent; }
std::uint64_t bytes_received() { return here().statistics().front().bytes_received; }

void nap() { troupe::this_task::sleep_for(40s); }

std::atomic<bool> done{false};
void slow() {
  const auto until = std::chrono::steady_clock::now() + 200ms;
  while (std::chrono::steady_clock::now() < until) {
  }
  done = true;
}

} // namespace

BOOST_AUTO_TEST_CASE(a_reduction_folds_in_the_order_of_the_processes) {
  workers w{7};
  for (std::size_t n = 1; n <= 7; ++n) {
    const ids some{w.ids().begin(), w.ids().begin() + static_cast<std::ptrdiff_t>(n)};
    BOOST_TEST(here().reduce(some, troupe::fn<own_name>, std::plus<>{}) == name_of(some));
  }
  // the master among them, and some of them twice
  const ids mixed{w[3], 1, w[3], w[0], 1, w[6]};
  BOOST_TEST(here().reduce(mixed, troupe::fn<own_name>, std::plus<>{}) == name_of(mixed));
  BOOST_TEST(here().reduce({1}, [] { return 3; }, std::plus<>{}) == 3);
  // from a worker, and in a task of one of those that take part
  BOOST_TEST(here().remotecall_fetch(
               w[2], [](const ids& all) { return here().reduce(all, troupe::fn<own_name>, std::plus<>{}); }, w.ids())
             == name_of(w.ids()));
}

BOOST_AUTO_TEST_CASE(an_allreduce_gives_everybody_the_same) {
  workers w{5};
  const auto sum = here().allreduce(w.ids(), troupe::fn<own_name>, std::plus<>{}, troupe::fn<keep>);
  BOOST_TEST(sum == name_of(w.ids()));
  BOOST_TEST(here().gather(w.ids(), troupe::fn<what_is_kept>) == std::vector<std::string>(5, sum));
  const auto received = bytes_received(), sent = bytes_sent();
  double expected = 0;
  for (auto id : w.ids())
    expected += id;
  const auto use = [](const doubles& x) {
    kept = std::to_string(x.front()) + " " + std::to_string(x.back()) + " " + std::to_string(x.size());
  };
  BOOST_TEST((here().allreduce(w.ids(), troupe::fn<many>, troupe::fn<sum_of>, use) == doubles(1'000'000, expected)));
  const auto e = std::to_string(expected);
  BOOST_TEST(here().gather(w.ids(), troupe::fn<what_is_kept>) == std::vector<std::string>(5, e + " " + e + " 1000000"));
  // each way once
  BOOST_TEST(bytes_received() - received < 12'000'000u);
  BOOST_TEST(bytes_sent() - sent < 12'000'000u);
}

BOOST_AUTO_TEST_CASE(a_broadcast_reaches_all_and_leaves_once) {
  workers w{6};
  const auto before = bytes_sent();
  const doubles large(1'000'000, 0.5);
  here().broadcast(w.ids(), large, [](const doubles& x) { kept = std::to_string(x.size()); });
  BOOST_TEST(here().gather(w.ids(), troupe::fn<what_is_kept>) == std::vector<std::string>(6, "1000000"));
  BOOST_TEST(bytes_sent() - before < 12'000'000u);
  here().broadcast(w.ids(), "text", troupe::fn<keep>);
  here().broadcast({w[0], w[0]}, std::string{"!"}, troupe::fn<keep>);
  auto expected = std::vector<std::string>(6, "text");
  expected[0] += "!!";
  BOOST_TEST(here().gather(w.ids(), troupe::fn<what_is_kept>) == expected);
}

BOOST_AUTO_TEST_CASE(a_gather_is_in_the_order_of_the_processes) {
  workers w{3};
  BOOST_TEST(here().gather({w[2], 1, w[2], w[0]}, [] { return here().myid(); }) == (ids{w[2], 1, w[2], w[0]}));
  here().gather(w.ids(), [] {});
}

BOOST_AUTO_TEST_CASE(a_barrier_comes_behind_what_was_given_before) {
  workers w{3};
  for (auto id : w.ids())
    here().remote_do<slow>(id);
  here().barrier(w.ids());
  for (auto id : w.ids())
    BOOST_TEST(here().remotecall_fetch(id, troupe::direct([] { return done.load(); })));
}

BOOST_AUTO_TEST_CASE(nothing_is_done_by_nobody) {
  BOOST_CHECK_THROW(here().reduce(ids{}, [] { return 1; }, std::plus<>{}), troupe::empty_range);
  BOOST_CHECK_THROW(here().allreduce(ids{}, [] { return 1; }, std::plus<>{}), troupe::empty_range);
  here().broadcast(ids{}, 1, [](int) {});
  BOOST_TEST(here().gather(ids{}, [] { return 1; }).empty());
  here().barrier(ids{});
  BOOST_CHECK_THROW(here().gather(ids{7777}, [] { return 1; }), troupe::unknown_process);
  BOOST_CHECK_THROW(here().reduce(ids{7777}, [] { return 1; }, std::plus<>{}), troupe::unknown_process);
}

BOOST_AUTO_TEST_CASE(the_first_error_in_the_order_of_the_processes_is_thrown_as_its_own) {
  workers w{7};
  for (std::size_t k : {0u, 3u, 6u}) {
    const auto body = [](proc_id bad) {
      if (here().myid() >= bad)
        throw std::out_of_range{"at " + std::to_string(here().myid())};
      return 1;
    };
    const auto check = [&](const remote_error& e) {
      BOOST_TEST(e.message() == "at " + std::to_string(w[k]));
      BOOST_TEST(e.pid() == w[k]);
      BOOST_CHECK_THROW(e.rethrow_nested(), std::out_of_range);
    };
    check(error_of<remote_error>([&] { here().reduce(w.ids(), troupe::with(w[k], body), std::plus<>{}); }));
    check(error_of<remote_error>([&] { here().gather(w.ids(), troupe::with(w[k], body)); }));
    check(error_of<remote_error>([&] { here().broadcast(w.ids(), w[k], [body](proc_id bad) { body(bad); }); }));
  }
}

BOOST_AUTO_TEST_CASE(a_death_is_thrown_as_it_is) {
  for (std::size_t k : {0u, 2u, 4u}) {
    workers w{5};
    const auto body = [](proc_id victim) {
      if (here().myid() == victim)
        ::_exit(9);
      return 1;
    };
    BOOST_TEST(error_of<troupe::process_exited>([&] { here().reduce(w.ids(), troupe::with(w[k], body), std::plus<>{}); }).pid() == w[k]);
    // it is known by now
    BOOST_TEST(error_of<troupe::process_exited>([&] { here().reduce(w.ids(), [] { return 1; }, std::plus<>{}); }).pid() == w[k]);
    BOOST_TEST(error_of<troupe::process_exited>([&] { here().gather(w.ids(), [] { return 1; }); }).pid() == w[k]);
    BOOST_TEST(error_of<troupe::process_exited>([&] { here().barrier(w.ids()); }).pid() == w[k]);
    BOOST_TEST(error_of<troupe::process_exited>([&] { here().broadcast(w.ids(), 1, [](int) {}); }).pid() == w[k]);
  }
}

BOOST_AUTO_TEST_CASE(a_deadline_ends_all_of_a_tree) {
  workers w{5};
  const troupe::call_options options{.deadline = 100ms};
  const auto body = [] {
    nap();
    return 1;
  };
  BOOST_CHECK_THROW(here().reduce(options, w.ids(), body, std::plus<>{}), troupe::deadline_exceeded);
  BOOST_CHECK_THROW(here().gather(options, w.ids(), body), troupe::deadline_exceeded);
  BOOST_CHECK_THROW(here().broadcast(options, w.ids(), 1, [](int) { nap(); }), troupe::deadline_exceeded);
  BOOST_TEST((time_of([&] { here().barrier(w.ids()); }) < patience));
  // nobody naps any more
  BOOST_TEST(eventually([&] {
    for (auto id : w.ids())
      if (here().remotecall_fetch(id, troupe::direct([] { return troupe::runtime::get().stoppable().size(); })) != 0)
        return false;
    return true;
  }));
}
