#define BOOST_TEST_MODULE progress
#include <boost/test/unit_test.hpp>

#include "screen.hpp"

#include "troupe/actors/progress.hpp"
#include "troupe/transport/error.hpp"
#include "troupe/transport/status_line.hpp"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include <pty.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace std::chrono_literals;
using namespace std::string_literals;
using test::screen;
using troupe::progress;
using troupe::progress_style;
using troupe::status_line;
using troupe::detail::progress_text;
using clock_type = std::chrono::steady_clock;
using lines = std::vector<std::string>;

namespace {

struct without_environment {
  without_environment() {
    ::unsetenv("TROUPE_PROGRESS");
    ::setenv("TERM", "xterm", 1);
  }
};
BOOST_TEST_GLOBAL_FIXTURE(without_environment);

// A terminal of so many columns; a thread reads what is written to it.
class terminal {
public:
  explicit terminal(unsigned short columns = 80) : screen_(columns) {
    ::winsize size{};
    size.ws_col = columns;
    size.ws_row = 24;
    int mine = -1, theirs = -1;
    BOOST_REQUIRE(::openpty(&mine, &theirs, nullptr, nullptr, &size) == 0);
    mine_ = mine;
    out_ = ::fdopen(theirs, "w");
    reader_ = std::thread{[this] {
      char buffer[4096];
      for (;;) {
        const auto n = ::read(mine_, buffer, sizeof buffer);
        if (n <= 0) // EIO: nobody has it open any more
          return;
        screen_.take({buffer, static_cast<std::size_t>(n)});
      }
    }};
  }
  ~terminal() {
    close();
    ::close(mine_);
  }
  terminal(const terminal&) = delete;
  terminal& operator=(const terminal&) = delete;

  std::FILE* out() { return out_; }
  // All that it showed. Nothing is written any more.
  const screen& end() {
    close();
    BOOST_TEST(!screen_.wrapped());
    BOOST_TEST(!screen_.strange());
    return screen_;
  }

private:
  void close() {
    if (out_ != nullptr) {
      std::fclose(out_);
      reader_.join();
    }
    out_ = nullptr;
  }

  screen screen_; // the reader's, until it has ended
  int mine_;
  std::FILE* out_;
  std::thread reader_;
};

// A file that can be looked at while it is written.
class log_file {
public:
  log_file() : file_(std::tmpfile()) { BOOST_REQUIRE(file_ != nullptr); }
  ~log_file() { std::fclose(file_); }
  log_file(const log_file&) = delete;
  log_file& operator=(const log_file&) = delete;

  std::FILE* out() { return file_; }
  lines content() const {
    std::ifstream in{"/proc/self/fd/" + std::to_string(::fileno(file_))};
    lines out;
    for (std::string line; std::getline(in, line);)
      out.push_back(line);
    return out;
  }

private:
  std::FILE* file_;
};

bool begins(const std::string& text, std::string_view with) { return text.compare(0, with.size(), with) == 0; }
bool contains(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

template <class Condition>
bool until(Condition condition) {
  const auto limit = clock_type::now() + 20s;
  while (!condition())
    if (clock_type::now() > limit)
      return false;
  return true;
}

} // namespace

BOOST_AUTO_TEST_CASE(the_text_tells_how_much_how_fast_how_long_and_what_failed) {
  BOOST_TEST(progress_text("days", {0, 365, 0, 0, false}) == "days    0 %  0 of 365");
  BOOST_TEST(progress_text("days", {73, 365, 0, 2, false}) == "days   20 %  73 of 365  36/s  8.0 s left");
  BOOST_TEST(progress_text("days", {365, 365, 2, 100, true}) == "days  100 %  365 of 365  3.6/s  1 min 40 s  2 failed");
  BOOST_TEST(progress_text("days", {364, 365, 0, 10, true}) == "days   99 %  364 of 365  36/s  stopped after 10 s");
  BOOST_TEST(progress_text("days", {400, 365, 0, 10, false}) == "days  100 %  400 of 365  40/s  0.0 s left");
  BOOST_TEST(progress_text("rows", {50, 0, 0, 10, false}) == "rows  50  5.0/s  10 s");
  BOOST_TEST(progress_text("rows", {0, 0, 0, 0, true}) == "rows  0  0.0 s");
  BOOST_TEST(progress_text("x", {3'000'000'000, 6'000'000'000, 0, 1000, false})
             == "x   50 %  3000000000 of 6000000000  3M/s  16 min 40 s left");
  BOOST_TEST(progress_text("x", {1, 1000, 0, 1000, false}) == "x    0 %  1 of 1000  3.6/h  11 d 13 h left");
  BOOST_TEST(progress_text("x", {50'000, 0, 0, 2, false}) == "x  50000  25k/s  2.0 s"s);
}

BOOST_AUTO_TEST_CASE(the_text_fits_its_columns_and_has_a_bar_where_there_is_room) {
  const auto third = "cells [" + std::string(13, '#') + std::string(13, '.') + "]   50 %  50 of 100  5.0/s  10 s left";
  BOOST_TEST(progress_text("cells", {50, 100, 0, 10, false}, 80) == third);
  const auto room_for_all = "cells [" + std::string(20, '#') + std::string(20, '.') + "]   50 %  50 of 100  5.0/s  10 s left";
  BOOST_TEST(progress_text("cells", {50, 100, 0, 10, false}, 1000) == room_for_all);
  BOOST_TEST(progress_text("cells", {50, 100, 7, 10, false}, 30) == "cells   50 %  7 failed"); // that, before all else
  for (int columns = 1; columns <= 120; ++columns)
    for (auto label : {"cells", "", "Zürich → 東京, a label that is longer than many a terminal is wide, and goes on for a while"}) {
      const auto text = progress_text(label, {50, 100, 7, 10, false}, columns);
      BOOST_TEST(status_line::width_of(text) <= columns);
    }
  BOOST_TEST(status_line::width_of("Zürich") == 6);
  BOOST_TEST(status_line::width_of("東京") == 4);
  BOOST_TEST(status_line::fitting("東京", 3) == "東");
  BOOST_TEST(status_line::fitting("\xff\xff\xff", 2) == "\xff\xff"); // not UTF-8
}

BOOST_AUTO_TEST_CASE(on_a_terminal_the_last_line_stays_with_the_time_and_nothing_else) {
  terminal t{80};
  {
    progress bar{"cells", 1000, {.out = t.out()}};
    for (int i = 0; i < 990; ++i)
      bar.advance();
    bar.fail(10);
    status_line::print(t.out(), "behind it\n");
  }
  const auto& shown = t.end().shown();
  BOOST_REQUIRE(shown.size() == 3u);
  BOOST_TEST(begins(shown[0], "cells [###"));
  BOOST_TEST(contains(shown[0], "]  100 %  1000 of 1000  "));
  BOOST_TEST(contains(shown[0], " s  10 failed"));
  BOOST_TEST(shown[1] == "behind it");
  BOOST_TEST(shown[2] == "");
}

BOOST_AUTO_TEST_CASE(a_line_is_redrawn_ten_times_a_second_at_most_and_at_least_now_and_then) {
  terminal t;
  const auto begin = clock_type::now();
  {
    progress bar{"cells", 0, {.out = t.out()}};
    while (clock_type::now() - begin < 350ms)
      bar.advance();
    bar.advance(); // this one is due if none was before
  }
  const auto tenths = std::chrono::duration<double>(clock_type::now() - begin).count() * 10;
  const auto& s = t.end();
  BOOST_TEST(s.redrawn() <= tenths + 2); // the first and the last
  BOOST_TEST(s.redrawn() >= 3);
  BOOST_TEST(s.shown().size() == 2u);
}

BOOST_AUTO_TEST_CASE(what_others_print_stands_above_the_line_and_the_line_comes_back) {
  terminal t{40};
  {
    progress bar{"cells", 100, {.out = t.out()}};
    bar.advance(3);
    for (int i = 0; i < 5; ++i)
      BOOST_TEST(status_line::print(t.out(), "line " + std::to_string(i) + "\n"));
    const status_line::hidden meanwhile;
    std::fprintf(t.out(), "by hand\n");
    std::fflush(t.out());
    bar.advance(7);
  }
  const auto& shown = t.end().shown();
  BOOST_REQUIRE(shown.size() == 8u);
  for (std::size_t i = 0; i < 5; ++i)
    BOOST_TEST(shown[i] == "line " + std::to_string(i));
  BOOST_TEST(shown[5] == "by hand");
  BOOST_TEST(contains(shown[6], "stopped after"), shown[6]);
  BOOST_TEST(contains(shown[6], " 10 %"), shown[6]);
  BOOST_TEST(shown[7] == "");
}

BOOST_AUTO_TEST_CASE(a_bar_whose_exception_passes_leaves_a_line_of_its_own) {
  terminal t;
  try {
    progress bar{"cells", 100, {.out = t.out()}};
    bar.advance(37);
    throw std::runtime_error{"Ctrl-C, say"};
  } catch (const std::runtime_error&) {
  }
  const auto& s = t.end();
  BOOST_REQUIRE(s.shown().size() == 2u);
  BOOST_TEST(contains(s.shown()[0], "37 %  37 of 100"));
  BOOST_TEST(contains(s.shown()[0], "stopped after"));
  BOOST_TEST(s.column() == 0u);
}

BOOST_AUTO_TEST_CASE(a_process_that_ends_at_once_ends_the_line) {
  terminal t;
  const auto child = ::fork(); // while there is no thread but the terminal's, which holds no lock
  if (child == 0) {
    progress bar{"cells", 100, {.out = t.out()}};
    status_line::abandon();
    ::_exit(0);
  }
  int status = -1;
  BOOST_REQUIRE(::waitpid(child, &status, 0) == child);
  BOOST_TEST(status == 0);
  const auto& s = t.end();
  BOOST_REQUIRE(s.shown().size() == 2u);
  BOOST_TEST(contains(s.shown()[0], "0 of 100"));
  BOOST_TEST(s.column() == 0u);
}

BOOST_AUTO_TEST_CASE(several_bars_share_the_line_and_each_leaves_its_own) {
  terminal t{100};
  {
    progress outer{"files", 2, {.out = t.out()}};
    progress inner{"rows", 10, {.out = t.out()}};
    outer.advance();
    inner.advance(10);
    outer.advance();
  }
  const auto& s = t.end();
  BOOST_REQUIRE(s.shown().size() == 3u);
  const auto both = std::count_if(s.before().begin(), s.before().end(),
                                  [](const std::string& text) { return begins(text, "files") && contains(text, "  |  rows"); });
  BOOST_TEST(both > 0);
  BOOST_TEST(begins(s.shown()[0], "rows [###"));
  BOOST_TEST(contains(s.shown()[0], "10 of 10"));
  BOOST_TEST(begins(s.shown()[1], "files [###"));
  BOOST_TEST(contains(s.shown()[1], "2 of 2"));
}

BOOST_AUTO_TEST_CASE(many_threads_advance_print_and_make_bars_without_garbling_the_screen) {
  terminal t{60};
  constexpr int threads = 4, each = 2000;
  {
    progress bar{"steps", threads * each, {.out = t.out()}};
    std::vector<std::thread> running;
    for (int k = 0; k < threads; ++k)
      running.emplace_back([&, k] {
        for (int i = 0; i < each; ++i) {
          bar.advance();
          if (i % 100 == 0)
            status_line::print(t.out(), "thread " + std::to_string(k) + " at " + std::to_string(i) + "\n");
          if (i % 500 == 0) {
            progress own{"own of " + std::to_string(k), 1, {.out = t.out()}};
            own.advance();
          }
        }
      });
    for (auto& r : running)
      r.join();
  }
  const auto& shown = t.end().shown();
  BOOST_TEST(shown.size() == threads * (each / 100 + each / 500) + 2u);
  int of_threads = 0, of_bars = 0, last = 0;
  for (const auto& line : shown) {
    of_threads += begins(line, "thread ") && !contains(line, "%");
    of_bars += begins(line, "own of ") && contains(line, "100 %  1 of 1");
    last += begins(line, "steps") && contains(line, "100 %  8000 of 8000");
  }
  BOOST_TEST(of_threads == threads * each / 100);
  BOOST_TEST(of_bars == threads * each / 500);
  BOOST_TEST(last == 1);
}

BOOST_AUTO_TEST_CASE(a_log_gets_plain_lines_and_one_at_the_end) {
  log_file f;
  {
    progress bar{"cells", 1'000'000'000, {.out = f.out(), .log_interval = 200ms}};
    bar.advance();
    BOOST_TEST(until([&] {
      bar.advance();
      return f.content().size() >= 3;
    }));
    bar.fail(3);
  }
  const auto all = f.content();
  BOOST_REQUIRE(all.size() >= 4u); // more if the last ones took long
  for (const auto& line : all) {
    BOOST_TEST(begins(line, "cells    0 %  "));
    BOOST_TEST(!contains(line, "\r"));
    BOOST_TEST(!contains(line, "\033"));
  }
  BOOST_TEST(contains(all[2], " left"));
  BOOST_TEST(contains(all.back(), "stopped after"));
  BOOST_TEST(contains(all.back(), "3 failed"));
}

BOOST_AUTO_TEST_CASE(a_log_says_nothing_of_what_takes_less_than_half_a_second) {
  for (int i = 0; i < 50; ++i) { // unless the machine is too slow
    log_file f;
    const auto begin = clock_type::now();
    {
      progress bar{"cells", 100, {.out = f.out()}};
      bar.advance(100);
    }
    const bool quiet = f.content().empty();
    if (clock_type::now() - begin < 450ms) {
      BOOST_TEST(quiet);
      return;
    }
  }
  BOOST_FAIL("nothing takes less than half a second here");
}

BOOST_AUTO_TEST_CASE(the_environment_and_the_options_say_how_it_is_shown) {
  const auto shown_as = [](const char* environment, progress_style style) {
    if (environment != nullptr)
      ::setenv("TROUPE_PROGRESS", environment, 1);
    terminal t;
    {
      progress bar{"cells", 10, {.style = style, .out = t.out(), .log_interval = 0ms}};
      bar.advance(5);
    }
    ::unsetenv("TROUPE_PROGRESS");
    const auto& s = t.end();
    if (s.shown().size() == 1)
      return "nothing"s;
    return contains(s.shown()[0], "[###") ? "a line"s : "a log"s;
  };
  BOOST_TEST(shown_as(nullptr, progress_style::automatic) == "a line");
  BOOST_TEST(shown_as(nullptr, progress_style::log) == "a log");
  BOOST_TEST(shown_as(nullptr, progress_style::off) == "nothing");
  BOOST_TEST(shown_as("", progress_style::off) == "nothing");
  BOOST_TEST(shown_as("off", progress_style::automatic) == "nothing");
  BOOST_TEST(shown_as("off", progress_style::line) == "nothing");
  BOOST_TEST(shown_as("log", progress_style::automatic) == "a log");
  BOOST_TEST(shown_as("line", progress_style::log) == "a line");
  BOOST_TEST(shown_as("auto", progress_style::log) == "a line");
  ::setenv("TERM", "dumb", 1);
  BOOST_TEST(shown_as(nullptr, progress_style::automatic) == "a log");
  ::setenv("TERM", "xterm", 1);
  BOOST_CHECK_EXCEPTION(shown_as("loud", progress_style::off), troupe::usage_error, [](const troupe::usage_error& e) {
    return contains(e.what(), "TROUPE_PROGRESS is 'loud'") && contains(e.what(), "off");
  });
  ::unsetenv("TROUPE_PROGRESS");
}

BOOST_AUTO_TEST_CASE(numbers_are_checked_and_of_any_integer_type) {
  log_file f;
  const std::size_t n = 10;
  const int k = 3;
  progress bar{"cells", n, {.style = progress_style::off}};
  progress other{"cells", k};
  bar.advance(n);
  bar.advance(k); // more than there are
  other.advance();
  BOOST_CHECK_THROW(bar.advance(-1), troupe::usage_error);
  BOOST_CHECK_THROW(bar.fail(-1), troupe::usage_error);
  BOOST_CHECK_THROW((progress{"cells", -1}), troupe::usage_error);
}

BOOST_AUTO_TEST_CASE(a_label_can_not_break_the_line) {
  terminal t;
  {
    progress bar{"two\nlines\033[2J", 1, {.out = t.out()}};
    bar.advance();
  }
  const auto& s = t.end();
  BOOST_REQUIRE(s.shown().size() == 2u);
  BOOST_TEST(begins(s.shown()[0], "two lines [2J [###"));
}
