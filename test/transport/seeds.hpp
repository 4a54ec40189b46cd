#pragma once

#include <boost/test/unit_test.hpp>

#include <cstdint>
#include <cstdlib>
#include <sstream>
#include <string>
#include <vector>

namespace test {

inline std::uint64_t number_from_environment(const char* name, std::uint64_t otherwise) {
  auto text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

/// Runs the histories of the seeds 1 to `count`, or to TROUPE_HISTORIES, or the single one of TROUPE_HISTORY, which is
/// shown. `run(seed, show)` returns its problems; the error that reports them says how to run that one again.
template <class F>
void run_histories(const std::string& program, std::uint64_t count, F run) {
  constexpr int most_failures = 20;
  const auto one = number_from_environment("TROUPE_HISTORY", 0);
  const auto last = one != 0 ? one : number_from_environment("TROUPE_HISTORIES", count);
  int failed = 0;
  for (auto seed = one != 0 ? one : 1; seed <= last && failed < most_failures; ++seed) {
    const std::vector<std::string> problems = run(seed, one != 0);
    if (problems.empty())
      continue;
    ++failed;
    std::ostringstream text;
    text << "TROUPE_HISTORY=" << seed << " bin/" << program;
    for (auto& p : problems)
      text << "\n    " << p;
    BOOST_ERROR(text.str());
  }
}

} // namespace test
