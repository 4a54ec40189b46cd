#include "troupe/transport/status_line.hpp"

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <mutex>
#include <utility>

#include <sys/ioctl.h>
#include <unistd.h>

namespace troupe {

namespace {

constexpr const char* erase = "\r\033[K";
constexpr std::string_view between = "  |  ";
constexpr int least = 10; // columns for each of several

int columns_of(std::FILE* out) {
  winsize size{};
  return ::ioctl(::fileno(out), TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

struct character {
  std::size_t bytes;
  int columns;
};

// The next one of a text that isn't empty. What isn't UTF-8 counts byte by byte.
character next(std::string_view text) {
  const auto byte = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
  const auto first = byte(0);
  const std::size_t size = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : first >= 0xc0 ? 2 : 1;
  auto code = size == 1 ? first : first & (0x7fu >> size);
  for (std::size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xc0) != 0x80)
      return {1, 1};
    code = code << 6 | (byte(i) & 0x3f);
  }
  const bool combining = (code >= 0x300 && code < 0x370) || code == 0x200d || (code >= 0xfe00 && code < 0xfe10);
  const bool wide = (code >= 0x1100 && code < 0x1160) || (code >= 0x2e80 && code < 0xa4d0) || (code >= 0xac00 && code < 0xd7a4)
                    || (code >= 0xf900 && code < 0xfb00) || (code >= 0xfe30 && code < 0xfe70) || (code >= 0xff00 && code < 0xff61)
                    || code >= 0x1f300;
  return {size, combining ? 0 : wide ? 2 : 1};
}

} // namespace

/// Those there are, by age.
struct status_line::terminals {
  std::mutex mutex; // guards all of them, and what is written of them
  std::list<status_line*> lines;
  int hidden = 0;

  // Takes away what is drawn, on each terminal.
  void clear() {
    for (auto line : lines)
      if (line->shown_) {
        std::fputs(erase, line->out_);
        std::fflush(line->out_);
      }
  }

  // All that were shown on this terminal, one after the other.
  void draw(std::FILE* out) {
    const auto is_here = [&](const status_line* line) { return line->out_ == out && line->shown_; };
    const auto n = static_cast<int>(std::count_if(lines.begin(), lines.end(), is_here));
    if (n == 0)
      return;
    const int width = columns_of(out) - 1; // the cursor stays in the line
    const int shares = std::clamp((width + static_cast<int>(between.size())) / (least + static_cast<int>(between.size())), 1, n);
    const int share = (width - (shares - 1) * static_cast<int>(between.size())) / shares;
    std::string text = "\r";
    int left = shares; // those that there is room for
    for (auto line : lines)
      if (is_here(line) && left > 0) {
        text += fitting(line->text_(share), share);
        if (--left > 0)
          text += between;
      }
    text += "\033[K";
    std::fwrite(text.data(), 1, text.size(), out);
    std::fflush(out);
  }

  void draw() {
    for (auto at = lines.begin(); at != lines.end(); ++at) {
      const auto same = [&](const status_line* line) { return line->out_ == (*at)->out_; };
      if (std::none_of(lines.begin(), at, same))
        draw((*at)->out_);
    }
  }
};

// It is never destroyed: threads may print until the very end.
status_line::terminals& status_line::all() {
  static auto& all = *[] {
    std::atexit([] { abandon(); });
    return new terminals;
  }();
  return all;
}

status_line::status_line(std::FILE* out, text_function text) : out_(out), text_(std::move(text)) {
  auto& t = all();
  std::lock_guard guard{t.mutex};
  place_ = t.lines.insert(t.lines.end(), this);
}

status_line::~status_line() { end(false); }

void status_line::draw() {
  auto& t = all();
  std::unique_lock guard{t.mutex, std::try_to_lock};
  if (!guard || t.hidden > 0 || place_ == t.lines.end())
    return;
  shown_ = true;
  t.draw(out_);
}

void status_line::leave() { end(true); }

void status_line::end(bool stays) {
  auto& t = all();
  const hidden meanwhile;
  std::lock_guard guard{t.mutex};
  if (place_ == t.lines.end())
    return;
  t.lines.erase(place_);
  place_ = t.lines.end();
  if (!stays)
    return;
  std::fprintf(out_, "%s\n", text_(columns_of(out_) - 1).c_str());
  std::fflush(out_);
}

bool status_line::print(std::FILE* out, std::string_view text) {
  int problem = 0;
  {
    hidden meanwhile;
    if (std::fwrite(text.data(), 1, text.size(), out) != text.size() || std::fflush(out) != 0)
      problem = errno;
  }
  errno = problem;
  return problem == 0;
}

void status_line::abandon() {
  auto& t = all();
  std::unique_lock guard{t.mutex, std::try_to_lock};
  if (!guard || t.hidden > 0)
    return;
  t.hidden = 1; // for good
  std::list<std::FILE*> ended;
  for (auto line : t.lines)
    if (line->shown_ && std::find(ended.begin(), ended.end(), line->out_) == ended.end()) {
      std::fputc('\n', line->out_);
      std::fflush(line->out_);
      ended.push_back(line->out_);
    }
}

int status_line::width_of(std::string_view text) {
  int columns = 0;
  while (!text.empty()) {
    const auto c = next(text);
    columns += c.columns;
    text.remove_prefix(c.bytes);
  }
  return columns;
}

std::string status_line::fitting(std::string_view text, int columns) {
  std::size_t end = 0;
  while (end < text.size()) {
    const auto c = next(text.substr(end));
    columns -= c.columns;
    if (columns < 0)
      break;
    end += c.bytes;
  }
  return std::string{text.substr(0, end)};
}

status_line::hidden::hidden() {
  auto& t = all();
  std::lock_guard guard{t.mutex};
  if (t.hidden++ == 0)
    t.clear();
}

status_line::hidden::~hidden() {
  auto& t = all();
  std::lock_guard guard{t.mutex};
  if (--t.hidden == 0)
    t.draw();
}

} // namespace troupe
