#define BOOST_TEST_MODULE huge_values
#include "system/harness.hpp"

#include <troupe/actors.hpp>

#include <cstdint>
#include <fstream>

namespace {

using numbers = std::vector<std::uint64_t>;

constexpr std::uint64_t giga = std::uint64_t{1} << 30;

std::uint64_t available_memory() {
  std::ifstream in{"/proc/meminfo"};
  std::string name, unit;
  std::uint64_t kilobytes = 0;
  while (in >> name >> kilobytes >> unit)
    if (name == "MemAvailable:")
      return kilobytes * 1024;
  return 0;
}

numbers counted(std::uint64_t bytes) {
  numbers out(bytes / sizeof(std::uint64_t));
  for (std::uint64_t i = 0; i < out.size(); ++i)
    out[i] = i;
  return out;
}

bool is_counted(const numbers& x, std::uint64_t bytes) {
  if (x.size() != bytes / sizeof(std::uint64_t))
    return false;
  for (std::uint64_t i = 0; i < x.size(); ++i)
    if (x[i] != i)
      return false;
  return true;
}

// The values take most of this long on a slow machine.
const setup allow_more_time{[](troupe::app&) { case_limit = 300s; }};

// It takes a minute and most of a machine's memory: not on every run.
bool worth_it(std::uint64_t bytes) {
  if (std::getenv("TROUPE_HUGE_VALUES") == nullptr) {
    std::puts("skipped: takes long; set TROUPE_HUGE_VALUES to run it");
    return false;
  }
  if (available_memory() > 4 * bytes + giga)
    return true;
  std::puts("skipped: there is not enough memory");
  return false;
}

caf::behavior echo(caf::event_based_actor*) {
  return {[](int x) { return x; }};
}

} // namespace

// RC-29
BOOST_AUTO_TEST_CASE(values_beyond_4_gib_arrive_whole_and_others_pass_them) {
  constexpr std::uint64_t large = 5 * giga, argument = giga * 9 / 2;
  if (!worth_it(argument))
    return;
  auto& c = here();
  const workers all{1};
  const auto w = all[0];
  auto a = c.spawn<echo>(w);
  {
    auto begin = std::chrono::steady_clock::now();
    auto f = c.remotecall(w, [](std::uint64_t bytes) { return counted(bytes); }, large);
    auto longest = 0ms;
    int answers = 0;
    for (; !f.isready(); ++answers) {
      auto asked = std::chrono::steady_clock::now();
      BOOST_TEST(c.remotecall_fetch(w, troupe::direct([](int x) { return x; }), answers) == answers);
      longest = std::max(longest, std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - asked));
    }
    auto result = std::move(f).get();
    BOOST_TEST(is_counted(result, large));
    std::printf("a result of 5 GiB: %.1f s; %d small calls meanwhile, the slowest took %d ms\n",
                std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count(), answers,
                static_cast<int>(longest.count()));
  }
  BOOST_TEST(c.remotecall_fetch(w, [](const numbers& x) { return is_counted(x, argument); }, counted(argument)));
  BOOST_TEST(c.request<int>(a, 7) == 7);
}
