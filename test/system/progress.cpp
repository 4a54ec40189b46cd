#define BOOST_TEST_MODULE progress
#include "system/harness.hpp"

#include "screen.hpp"

#include <atomic>

#include <pty.h>
#include <sys/wait.h>

namespace {

// A scenario that runs on a terminal of its own.
class on_terminal {
public:
  explicit on_terminal(const std::string& scenario) {
    auto program = std::filesystem::read_symlink("/proc/self/exe").string();
    auto argument = "--scenario=" + scenario;
    char* argv[] = {program.data(), argument.data(), nullptr};
    ::winsize size{};
    size.ws_col = 80;
    size.ws_row = 24;
    pid_ = ::forkpty(&terminal_, nullptr, nullptr, &size);
    BOOST_REQUIRE(pid_ >= 0);
    if (pid_ == 0) {
      ::execv(program.c_str(), argv);
      ::_exit(127);
    }
  }
  ~on_terminal() {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
    }
    ::close(terminal_);
  }
  on_terminal(const on_terminal&) = delete;
  on_terminal& operator=(const on_terminal&) = delete;

  // Reads until the text has come; false if it ends before.
  bool read_until(std::string_view text) {
    while (!contains(raw_, text))
      if (!read_some())
        return false;
    return true;
  }

  void press_ctrl_c() { BOOST_REQUIRE(::write(terminal_, "\003", 1) == 1); }

  // Reads until all have closed the terminal, and returns the exit status.
  int end() {
    while (read_some()) {
    }
    int status = -1;
    ::waitpid(std::exchange(pid_, -1), &status, 0);
    screen_.take(raw_);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

  const test::screen& screen() const { return screen_; }
  const std::string& raw() const { return raw_; }

private:
  // The watchdog ends the test if nothing comes.
  bool read_some() {
    char buffer[4096];
    const auto n = ::read(terminal_, buffer, sizeof buffer);
    if (n <= 0)
      return false;
    raw_.append(buffer, static_cast<std::size_t>(n));
    return true;
  }

  ::pid_t pid_ = -1;
  int terminal_ = -1;
  std::string raw_;
  test::screen screen_{80};
};

constexpr int printed = 100;

const scenario printing{"printing", [](troupe::cluster& c) {
                          std::vector<troupe::future<void>> printers;
                          for (auto id : c.addprocs(2))
                            printers.push_back(c.remotecall(id, [] {
                              for (int i = 0; i < printed; ++i) {
                                std::printf("line %d\n", i);
                                std::fflush(stdout);
                                if (i % 10 == 0)
                                  troupe::this_task::sleep_for(10ms);
                              }
                            }));
                          troupe::progress bar{"steps", 1000};
                          int steps = 0;
                          for (auto& p : printers)
                            while (!p.wait_for(1ms))
                              if (steps < 500) {
                                bar.advance();
                                ++steps;
                              }
                          bar.advance(1000 - steps);
                          return 0;
                        }};

const scenario sleeping{"sleeping", [](troupe::cluster&) {
                          troupe::progress bar{"steps", 1000};
                          bar.advance(250);
                          troupe::this_task::sleep_for(1h);
                          return 0;
                        }};

const scenario computing{"computing", [](troupe::cluster&) {
                           troupe::progress bar{"steps", 1000};
                           for (std::atomic<int> i{0};; ++i)
                             continue;
                           return 0;
                         }};

const setup a_terminal_of_our_own{[](troupe::app&) {
  ::unsetenv("TROUPE_PROGRESS");
  ::setenv("TERM", "xterm", 1);
}};

} // namespace

BOOST_AUTO_TEST_CASE(what_workers_print_and_the_line_do_not_garble_each_other) {
  on_terminal t{"printing"};
  BOOST_TEST(t.end() == 0);
  BOOST_TEST(!t.screen().wrapped());
  BOOST_TEST(!t.screen().strange());
  std::map<std::string, int> seen;
  for (auto& line : t.screen().shown())
    ++seen[line.starts_with("steps [###") && contains(line, "]  100 %  1000 of 1000  ") ? "the last line" : line];
  BOOST_TEST(seen["the last line"] == 1);
  for (int i = 0; i < printed; ++i)
    for (auto id : {"2", "3"})
      BOOST_TEST(seen["      From worker " + std::string{id} + ":\tline " + std::to_string(i)] == 1, t.raw());
  BOOST_TEST(t.screen().shown().size() == 2 * printed + 2u, t.raw());
}

BOOST_AUTO_TEST_CASE(ctrl_c_leaves_how_far_it_came_and_the_next_line_to_the_shell) {
  on_terminal t{"sleeping"};
  BOOST_REQUIRE(t.read_until("steps ["));
  t.press_ctrl_c();
  BOOST_TEST(t.end() == 130);
  const auto& shown = t.screen().shown();
  BOOST_REQUIRE(shown.size() >= 2u);
  BOOST_TEST(contains(shown[0], " 25 %  250 of 1000"), t.raw());
  BOOST_TEST(contains(shown[0], "stopped after"), t.raw());
  BOOST_TEST(t.screen().column() == 0u);
}

BOOST_AUTO_TEST_CASE(a_program_that_is_ended_while_it_computes_leaves_the_next_line_to_the_shell) {
  on_terminal t{"computing"};
  BOOST_REQUIRE(t.read_until("steps ["));
  t.press_ctrl_c();
  BOOST_TEST(t.end() == 130);
  BOOST_TEST(t.screen().column() == 0u, t.raw());
}
