#include "epidemic/output.hpp"

#include <charconv>
#include <cmath>
#include <iomanip>
#include <sstream>
#include <utility>

namespace epidemic {

namespace {

void append(std::string& out, std::int64_t n) {
  char digits[24];
  out.append(digits, std::to_chars(digits, digits + sizeof digits, n).ptr);
}

void append_line(std::string& out, std::uint32_t day, std::string_view place, const counts& now, const counts& before) {
  append(out, day);
  out += ',';
  out += place;
  for (const auto n : {now.s, now.e, now.i, now.r, now.i + now.r - before.i - before.r}) {
    out += ',';
    append(out, n);
  }
  out += '\n';
}

} // namespace

std::string to_csv(const trajectory& t, const scenario& s) {
  std::string out = "day,place,S,E,I,R,new_cases\n";
  counts total_before;
  for (std::uint32_t day = 0; day <= t.days(); ++day) {
    for (std::size_t p = 0; p < t.places(); ++p)
      append_line(out, day, s.places[p].code, t.at(day, p), day == 0 ? counts{} : t.at(day - 1, p));
    const counts total = t.total(day);
    append_line(out, day, "total", total, total_before);
    total_before = total;
  }
  return out;
}

std::string grouped(std::int64_t n) {
  std::string digits = std::to_string(n);
  const std::ptrdiff_t first = n < 0 ? 1 : 0;
  for (auto at = static_cast<std::ptrdiff_t>(digits.size()) - 3; at > first; at -= 3)
    digits.insert(static_cast<std::size_t>(at), 1, ' ');
  return digits;
}

summary summarize(const trajectory& t) {
  summary result;
  for (std::uint32_t day = 0; day <= t.days(); ++day) {
    const counts total = t.total(day);
    if (total.i > result.peak) {
      result.peak = total.i;
      result.peak_day = day;
    }
    result.people = total.people();
    result.ever_infected = total.people() - total.s;
  }
  return result;
}

std::string to_text(const trajectory& t, const run_figures& f) {
  const auto result = summarize(t);
  const auto percent = [&](std::int64_t n) { return 100 * static_cast<double>(n) / static_cast<double>(result.people); };
  std::ostringstream out;
  out << std::fixed << std::setprecision(1) << "peak:        day " << result.peak_day << ", " << grouped(result.peak) << " infectious ("
      << percent(result.peak) << " %)\n"
      << "attack rate: " << percent(result.ever_infected) << " %, " << grouped(result.ever_infected) << " of " << grouped(result.people)
      << " people\n"
      << "messages:    " << grouped(static_cast<std::int64_t>(f.messages)) << " between " << f.blocks
      << (f.blocks == 1 ? " block" : " blocks") << " of " << t.places() << " places, " << static_cast<double>(f.bytes) / 1e6
      << " MB between processes\n"
      << "time:        " << std::setprecision(2) << f.seconds << " s for " << t.days() << " days, " << 1e3 * f.seconds / t.days()
      << " ms a day, " << grouped(std::llround(static_cast<double>(t.places()) * t.days() / f.seconds)) << " places a second\n";
  return std::move(out).str();
}

} // namespace epidemic
