#include "epidemic/progress.hpp"

#include <algorithm>
#include <cmath>

#include <sys/ioctl.h>
#include <unistd.h>

namespace epidemic {

namespace {

std::string with_unit(const char* format, double value) {
  char text[64];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

std::string duration_text(double seconds) {
  if (seconds < 60)
    return with_unit(seconds < 10 ? "%.1f s" : "%.0f s", seconds);
  const auto all = static_cast<long>(std::lround(seconds));
  if (all < 3600)
    return std::to_string(all / 60) + " min " + std::to_string(all % 60) + " s";
  return std::to_string(all / 3600) + " h " + std::to_string(all / 60 % 60) + " min";
}

int columns_of(std::FILE* out) {
  winsize size{};
  return ::ioctl(::fileno(out), TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

} // namespace

std::string progress_text(std::uint32_t done, std::uint32_t days, double seconds, int width) {
  const double part = days == 0 ? 1 : static_cast<double>(done) / days;
  std::string text = with_unit("%3.0f %%", std::floor(100 * part)) + "  day " + std::to_string(done) + " of "
                     + std::to_string(days);
  if (done > 0 && seconds > 0) {
    const double rate = done / seconds;
    text += with_unit(rate < 10 ? "  %.1f days/s" : "  %.0f days/s", rate);
    text += "  " + (done < days ? duration_text((days - done) / rate) + " left" : duration_text(seconds));
  }
  const int bar = std::min(width - static_cast<int>(text.size()) - 4, 40);
  if (bar < 10)
    return width > 0 ? text.substr(0, static_cast<std::size_t>(width - 1)) : text;
  const auto full = static_cast<std::size_t>(part * bar);
  return '[' + std::string(full, '#') + std::string(static_cast<std::size_t>(bar) - full, '.') + "] " + text;
}

progress_display::progress_display(std::uint32_t days, std::FILE* out)
  : days_(days), out_(out), terminal_(::isatty(::fileno(out)) == 1) {}

progress_display::~progress_display() {
  if (open_)
    std::fputc('\n', out_);
}

void progress_display::show(std::uint32_t done) {
  const auto now = clock::now();
  if (terminal_) {
    if (done < days_ && now - drawn_ < std::chrono::milliseconds{100})
      return;
    draw(done, now);
    return;
  }
  const auto tenths = static_cast<std::uint32_t>(std::uint64_t{done} * 10 / days_);
  if (tenths > tenths_)
    draw(done, now);
  tenths_ = tenths;
}

void progress_display::draw(std::uint32_t done, clock::time_point now) {
  const double seconds = std::chrono::duration<double>(now - start_).count();
  drawn_ = now;
  open_ = terminal_;
  if (terminal_) // \033[K: what a longer text left behind goes
    std::fprintf(out_, "\r%s\033[K", progress_text(done, days_, seconds, columns_of(out_)).c_str());
  else
    std::fprintf(out_, "epidemic: %s\n", progress_text(done, days_, seconds).c_str());
  std::fflush(out_);
}

} // namespace epidemic
