#include "troupe/actors/progress.hpp"

#include "troupe/transport/error.hpp"
#include "troupe/transport/status_line.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <mutex>
#include <optional>
#include <vector>

#include <unistd.h>

namespace troupe {

namespace {

using clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr auto redraw_interval = 100ms;
constexpr auto least_for_a_log = 500ms;

std::string formatted(const char* format, double value) {
  char text[64];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

std::string duration_text(double seconds) {
  if (seconds < 59.5)
    return formatted(seconds < 9.95 ? "%.1f s" : "%.0f s", seconds);
  if (seconds >= 1e9)
    return "ages";
  const auto all = static_cast<long>(std::lround(seconds));
  if (all < 3600)
    return std::to_string(all / 60) + " min " + std::to_string(all % 60) + " s";
  if (all < 48 * 3600)
    return std::to_string(all / 3600) + " h " + std::to_string(all / 60 % 60) + " min";
  return std::to_string(all / 86400) + " d " + std::to_string(all / 3600 % 24) + " h";
}

std::string rate_text(double per_second) {
  if (per_second >= 1e6)
    return formatted("%.3gM/s", per_second / 1e6);
  if (per_second >= 1e4)
    return formatted("%.3gk/s", per_second / 1e3);
  if (per_second >= 0.1)
    return formatted(per_second < 9.95 ? "%.1f/s" : "%.0f/s", per_second);
  return per_second * 60 >= 0.1 ? formatted("%.1f/min", per_second * 60) : formatted("%.1f/h", per_second * 3600);
}

progress_style style_from_environment(progress_style otherwise) {
  const auto text = std::getenv("TROUPE_PROGRESS");
  const std::string_view word = text == nullptr ? "" : text;
  if (word.empty())
    return otherwise;
  if (word == "auto")
    return progress_style::automatic;
  if (word == "line")
    return progress_style::line;
  if (word == "log")
    return progress_style::log;
  if (word == "off")
    return progress_style::off;
  throw usage_error{"the environment variable TROUPE_PROGRESS is '" + std::string{word} + "', and must be auto, line, log or off"};
}

bool redraws(std::FILE* out) {
  const auto term = std::getenv("TERM");
  return ::isatty(::fileno(out)) == 1 && (term == nullptr || std::string_view{term} != "dumb");
}

progress_style style_on(std::FILE* out, progress_style wanted) {
  if (wanted == progress_style::automatic)
    return redraws(out) ? progress_style::line : progress_style::log;
  return wanted;
}

// A line has no room for a line's end.
std::string printable(std::string_view label) {
  std::string out{label};
  std::replace_if(out.begin(), out.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, ' ');
  return out;
}

} // namespace

std::string detail::progress_text(std::string_view label, const progress_figures& f, int columns) {
  const double part = f.total > 0 ? std::min(1.0, static_cast<double>(f.done) / static_cast<double>(f.total)) : 0;
  const bool complete = f.total == 0 || f.done >= f.total;
  const double rate = f.seconds > 0 ? static_cast<double>(f.done) / f.seconds : 0;
  std::string percent, amount = std::to_string(f.done), speed, time, failed;
  if (f.total > 0) {
    percent = formatted("%3.0f %%", std::floor(100 * part));
    amount += " of " + std::to_string(f.total);
  }
  if (rate > 0)
    speed = rate_text(rate);
  if (f.ended)
    time = (complete ? "" : "stopped after ") + duration_text(f.seconds);
  else if (f.total == 0)
    time = f.seconds >= 1 ? duration_text(f.seconds) : "";
  else if (rate > 0)
    time = duration_text(static_cast<double>(f.total - std::min(f.done, f.total)) / rate) + " left";
  if (f.failed > 0)
    failed = std::to_string(f.failed) + " failed";

  const auto joined = [&] {
    std::string out;
    for (const auto& piece : {percent, amount, speed, time, failed})
      if (!piece.empty())
        out += (out.empty() ? "" : "  ") + piece;
    return out;
  };
  const std::string head{label};
  if (columns <= 0)
    return head + "  " + joined();
  const auto room = [&] { return columns - status_line::width_of(head) - 2 - static_cast<int>(joined().size()); };
  for (auto piece : {&speed, &amount, &time}) // what can be spared, first to last
    if (room() < 0)
      piece->clear();
  const int bar = std::min({room() - 3, columns / 3, 40}); // the same for as long as there is room: texts grow
  if (f.total == 0 || bar < 10)
    return status_line::fitting(head + "  " + joined(), columns);
  const auto full = static_cast<std::size_t>(part * bar);
  return head + " [" + std::string(full, '#') + std::string(static_cast<std::size_t>(bar) - full, '.') + "]  " + joined();
}

struct progress::state {
  state(std::string_view label, std::int64_t all, const progress_options& o)
    : label(printable(label)), total(all), options(o), style(style_on(o.out, style_from_environment(o.style))) {
    if (style == progress_style::line)
      line.emplace(o.out, [this](int columns) { return text(columns); });
  }

  std::string text(int columns) const {
    detail::progress_figures f;
    f.done = done.load(std::memory_order_relaxed);
    f.failed = failed.load(std::memory_order_relaxed);
    f.total = total;
    f.seconds = std::chrono::duration<double>(clock::now() - start).count();
    f.ended = ended;
    return detail::progress_text(label, f, columns);
  }

  clock::duration interval() const { return style == progress_style::line ? redraw_interval : clock::duration{options.log_interval}; }

  void add(std::int64_t k) {
    const auto before = done.fetch_add(k, std::memory_order_relaxed);
    if (style == progress_style::off)
      return;
    if (total > 0 && before < total && before + k >= total)
      return end();
    const auto now = clock::now();
    auto due = next.load(std::memory_order_relaxed);
    if (now >= due && next.compare_exchange_strong(due, now + interval(), std::memory_order_relaxed))
      show();
  }

  void show() {
    std::unique_lock guard{mutex, std::try_to_lock};
    if (!guard || ended)
      return;
    if (line)
      line->draw();
    else
      status_line::print(options.out, text(0) + '\n');
  }

  void end() {
    std::lock_guard guard{mutex};
    if (ended)
      return;
    ended = true;
    if (line)
      line->leave();
    else if (style == progress_style::log && clock::now() - start >= least_for_a_log)
      status_line::print(options.out, text(0) + '\n');
  }

  const std::string label;
  const std::int64_t total;
  const progress_options options;
  const progress_style style;
  const clock::time_point start = clock::now();
  std::atomic<std::int64_t> done{0};
  std::atomic<std::int64_t> failed{0};
  std::atomic<clock::time_point> next{start + interval()};
  std::mutex mutex; // of what is written
  std::atomic<bool> ended{false};
  std::optional<status_line> line; // goes first: its text looks at the others
};

std::int64_t progress::count::checked(std::int64_t n) {
  if (n < 0)
    throw usage_error{"progress: a number of things is " + std::to_string(n) + ", and must be 0 or more"};
  return n;
}

progress::progress(std::string_view label, count total, const progress_options& options)
  : state_(std::make_unique<state>(label, total.number(), options)) {
  if (state_->line)
    state_->show();
}

progress::~progress() { state_->end(); }

void progress::advance(count k) { state_->add(k.number()); }

void progress::fail(count k) {
  state_->failed.fetch_add(k.number(), std::memory_order_relaxed);
  state_->add(k.number());
}

} // namespace troupe
