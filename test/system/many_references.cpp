// Very many futures, channels and waiting tasks. TROUPE_SHOW=1 prints what they cost.
#define BOOST_TEST_MODULE many_references
#include "system/harness.hpp"

#include <cstdlib>
#include <fstream>
#include <numeric>

using namespace system_test;
using troupe::future;
using troupe::remote_channel;

namespace {

struct longer_limit {
  void setup() { case_limit = 240s; }
};

double resident_mb() {
  std::ifstream in{"/proc/self/statm"};
  double all = 0, pages = 0;
  in >> all >> pages;
  return pages * 4096 / 1e6;
}

double resident_mb_of(proc_id id) { return here().remotecall_fetch(id, troupe::direct(troupe::fn<resident_mb>)); }

bool becomes_empty(proc_id id) {
  return eventually([id] { return here().references(id).empty(); }, 60s);
}

void show(const std::string& line) {
  if (std::getenv("TROUPE_SHOW") != nullptr)
    std::fprintf(stderr, "%s\n", line.c_str());
}

// Hands them on, and then looks at some and drops all.
template <class T>
std::size_t pass_on(std::vector<T> all, std::vector<proc_id> to) {
  auto n = all.size();
  if (!to.empty()) {
    const auto next = to.back();
    to.pop_back();
    n = here().remotecall_fetch<pass_on<T>>(next, all, to);
  }
  if constexpr (std::same_as<T, future<int>>)
    for (std::size_t i = 0; i < all.size(); i += 100)
      n += static_cast<std::size_t>(all[i].fetch());
  return n;
}

} // namespace

BOOST_TEST_GLOBAL_FIXTURE(longer_limit);

// GC-15
BOOST_AUTO_TEST_CASE(a_million_futures_and_100000_channels_passed_around_three_processes_leave_nothing) {
  workers w{3};
  constexpr int futures_at_once = 20'000, channels_at_once = 5'000;
  const auto round = [&] {
    std::vector<future<int>> futures;
    for (int i = 0; i < futures_at_once; ++i)
      futures.push_back(i % 2 == 0 ? here().remotecall(w[0], [] { return 0; }) : future<int>::on(here(), w[0]));
    for (std::size_t i = 1; i < futures.size(); i += 2)
      if (i % 100 == 1)
        futures[i].put(0);
    BOOST_TEST(here().remotecall_fetch<pass_on<future<int>>>(w[1], futures, std::vector{w[2], w[0]}) == futures.size());
    std::vector<remote_channel<int>> channels;
    for (int i = 0; i < channels_at_once; ++i)
      channels.push_back(remote_channel<int>::on(here(), w[0], 2));
    channels.back().put(1);
    BOOST_TEST(here().remotecall_fetch<pass_on<remote_channel<int>>>(w[1], channels, std::vector{w[2], w[0]}) == channels.size());
  };
  const auto rounds = [&](int n) {
    for (int i = 0; i < n; ++i)
      round();
    for (proc_id p : {proc_id{1}, w[0], w[1], w[2]})
      BOOST_TEST(becomes_empty(p));
  };
  const auto in_use = [&] { return static_cast<double>(bytes_in_use(w[0])) / 1e6; };
  rounds(5);
  const auto before = in_use();
  const auto time = std::chrono::duration<double>{time_of([&] { rounds(45); })}.count();
  const auto after = in_use();
  show("after " + std::to_string(time) + " s: " + std::to_string(before) + " MB, then " + std::to_string(after) + " MB");
  BOOST_TEST(after - before < 8); // 16 bytes for each would be 18 MB
}

// TH-03
BOOST_AUTO_TEST_CASE(ten_thousand_tasks_on_one_worker_wait_for_each_others_futures) {
  workers w{1};
  constexpr int n = 10'000;
  std::vector<future<int>> all;
  for (int i = 0; i <= n; ++i)
    all.push_back(future<int>::on(here(), w[0]));
  const auto before = resident_mb_of(w[0]);
  for (int i = 0; i < n; ++i)
    here().remote_do(w[0], [](const future<int>& mine, const future<int>& next) { mine.put(next.fetch() + 1); }, all[i], all[i + 1]);
  BOOST_TEST(
    eventually([&] { return here().remotecall_fetch(w[0], troupe::direct([] { return here().statistics().front().tasks; })) >= n; }, 100s));
  BOOST_TEST(here().remotecall_fetch(w[0], [] { return 7; }) == 7); // it goes on with others
  const auto waiting = resident_mb_of(w[0]);
  all.back().put(0);
  BOOST_TEST(all.front().fetch() == n);
  show(std::to_string((waiting - before) * 1000 / n) + " KB for each task that waits");
  BOOST_TEST(waiting - before < 1000);
}
