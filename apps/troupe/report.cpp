#include "report.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <sstream>

#include <unistd.h>

namespace command {

namespace {

struct style {
  const char* word;
  const char* colour;
};

constexpr int mark_width = 7;

style style_of(mark m) {
  switch (m) {
    case mark::ok:
      return {"ok", "\033[32m"};
    case mark::warning:
      return {"warning", "\033[33m"};
    case mark::missing:
      break;
  }
  return {"missing", "\033[31m"};
}

} // namespace

bool may_colour(std::FILE* out) {
  const auto no = std::getenv("NO_COLOR"); // https://no-color.org: set and not empty
  const auto terminal = std::getenv("TERM");
  return (no == nullptr || *no == '\0') && ::isatty(::fileno(out)) != 0 && (terminal == nullptr || std::string_view{terminal} != "dumb");
}

void report::heading(const std::string& text) {
  std::fprintf(out_, coloured_ ? "\n\033[1m%s\033[0m\n" : "\n%s\n", text.c_str());
  std::fflush(out_);
}

void report::add(const findings& all) {
  for (auto& f : all)
    add(f);
}

void report::add(const finding& f) {
  warnings_ += f.how == mark::warning ? 1 : 0;
  missing_ += f.how == mark::missing ? 1 : 0;
  const auto s = style_of(f.how);
  std::fprintf(out_, "%s%-*s%s  %-*s", coloured_ ? s.colour : "", mark_width, s.word, coloured_ ? "\033[0m" : "", subject_width_,
               f.subject.c_str());
  const int text_column = mark_width + subject_width_ + 4;
  const auto end = f.text.find_last_not_of('\n');
  std::istringstream lines{printable(f.text.substr(0, end == std::string::npos ? 0 : end + 1))};
  bool first = true;
  for (std::string line; std::getline(lines, line); first = false)
    std::fprintf(out_, "%*s%s\n", first ? 2 : text_column, "", line.c_str());
  if (!f.remedy.empty())
    std::fprintf(out_, "%*s-> %s\n", text_column, "", f.remedy.c_str());
  std::fflush(out_);
}

std::string printable(std::string text) {
  std::replace_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) < ' ' && c != '\n') || c == '\x7f'; }, '?');
  return text;
}

std::string in_bytes(double bytes) {
  const char* units[] = {"B", "kB", "MB", "GB", "TB", "PB"};
  std::size_t i = 0;
  for (; bytes >= 1024 && i + 1 < std::size(units); ++i)
    bytes /= 1024;
  char text[32];
  std::snprintf(text, sizeof text, i == 0 ? "%.0f %s" : "%.1f %s", bytes, units[i]);
  return text;
}

std::string in_time(double seconds) {
  char text[32];
  if (seconds < 1e-3)
    std::snprintf(text, sizeof text, "%.*f us", seconds < 1e-5 ? 1 : 0, 1e6 * seconds);
  else if (seconds < 1)
    std::snprintf(text, sizeof text, "%.*f ms", seconds < 0.01 ? 1 : 0, 1e3 * seconds);
  else
    std::snprintf(text, sizeof text, "%.2f s", seconds);
  return text;
}

} // namespace command
