#define BOOST_TEST_MODULE faults_endings
#include "system/faults.hpp"

using namespace faults;

namespace {

std::vector<std::string> arguments(int workers, const std::string& end, const std::string& busy) {
  return {"-p", std::to_string(workers), "--end", end, "--busy", busy};
}

// Starts the program, sends the signals when it is ready, and checks that it ends with this status within the
// limit.
ending signalled(std::vector<std::string> args, std::initializer_list<int> signals, int status, milliseconds limit,
                 run::variables env = {}) {
  run r{program("faults_endings"), std::move(args), std::move(env)};
  r.wait_for("ready: yes\n");
  for (auto number : signals)
    r.signal(number);
  const auto end = r.end(limit);
  BOOST_TEST((end.state == troupe::exit_state{.status = status}), "it " << end.state.to_text());
  r.check_nothing_left(2s);
  return end;
}

// With all its threads.
bool is_stopped(::pid_t pid) {
  std::error_code ignored;
  const std::filesystem::directory_iterator threads{"/proc/" + std::to_string(pid) + "/task", ignored};
  return std::all_of(begin(threads), end(threads), [](auto& t) { return contains(read_file(t.path() / "status"), "State:\tT"); });
}

} // namespace

// -- signals ---------------------------------------------------------------------------------------

// IN-07
BOOST_AUTO_TEST_CASE(ctrl_c_ends_a_wait) {
  for (auto busy : {"", "spin", "chatter"}) {
    BOOST_TEST_CONTEXT("workers that are busy: " << busy) {
      const auto end = signalled(arguments(3, "fetch", busy), {SIGINT}, 130, 2s);
      check_says(end.err, {"faults_endings: interrupted by the user"});
      BOOST_TEST(count(end.err, "\n") == 1, end.err);
    }
  }
}

BOOST_AUTO_TEST_CASE(ctrl_c_ends_a_program_whose_output_nobody_reads) {
  for (auto end : {"fetch", "print to nobody"}) {
    run r{program("faults_endings"), arguments(3, end, "chatter")};
    r.wait_for("ready: yes\n");
    r.stop_reading_stdout();
    BOOST_TEST(eventually([&] { return r.unread() > 60'000; }));
    r.signal(SIGINT);
    BOOST_TEST((r.end(4s).state == troupe::exit_state{.status = 130}));
    r.check_nothing_left();
  }
}

BOOST_AUTO_TEST_CASE(a_program_that_catches_ctrl_c_goes_on) {
  const auto end = signalled(arguments(3, "fetch and catch", ""), {SIGINT}, 5, 2s);
  check_says(end.out, {"caught: interrupted by the user", "a call afterwards: 42"});
  BOOST_TEST(end.err == "");
}

BOOST_AUTO_TEST_CASE(ctrl_c_ends_the_wait_for_workers_that_do_not_come) {
  auto end = signalled({"--end", "add"}, {SIGINT}, 130, 2s);
  check_says(end.err, {"interrupted by the user"});
  const temporary_folder folder;
  end = signalled({"--end", "add mute ones"}, {SIGINT}, 130, 2s, {{"FIRST", folder / "first"}});
  check_says(end.err, {"interrupted by the user"});
}

BOOST_AUTO_TEST_CASE(ctrl_c_ends_a_body_that_does_not_wait) {
  const auto end = signalled(arguments(2, "compute", "spin"), {SIGINT}, 130, 3500ms);
  check_says(end.err, {"faults_endings: asked to end, it hasn't waited for anything of troupe for 2 s: ended"});
}

BOOST_AUTO_TEST_CASE(a_second_ctrl_c_ends_it_at_once) {
  run r{program("faults_endings"), arguments(2, "compute", "spin")};
  r.wait_for("ready: yes\n");
  r.signal(SIGINT);
  std::this_thread::sleep_for(400ms); // nobody is faster
  r.signal(SIGINT);
  const auto end = r.end(1s);
  BOOST_TEST((end.state == troupe::exit_state{.status = 130}), "it " << end.state.to_text());
  check_says(end.err, {"faults_endings: asked to end again: ended at once"});
  r.check_nothing_left(1s);
}

// As timeout(1) sends them: the second to the group, when the first may have been taken.
BOOST_AUTO_TEST_CASE(signals_that_come_together_are_one) {
  for (int i = 0; i < 30; ++i) {
    run r{program("faults_endings"), arguments(2, "fetch", "")};
    r.wait_for("ready: yes\n");
    r.signal(SIGINT);
    // signals that wait are one; the first has been taken when it is no longer pending
    BOOST_TEST(eventually([&] {
      const auto status = read_file("/proc/" + std::to_string(r.pid()) + "/status");
      return contains(status, "ShdPnd:\t0000000000000000");
    }));
    r.signal(SIGINT);
    const auto end = r.end(2s);
    BOOST_TEST((end.state == troupe::exit_state{.status = 130}), "it " << end.state.to_text());
    BOOST_TEST(end.err == "faults_endings: interrupted by the user\n");
  }
}

BOOST_AUTO_TEST_CASE(sigterm_and_sighup_end_it_in_order) {
  auto end = signalled(arguments(3, "fetch", "spin"), {SIGTERM}, 143, 2s);
  check_says(end.err, {"signal 15 (Terminated)"});
  end = signalled(arguments(2, "fetch", ""), {SIGHUP}, 129, 2s);
  check_says(end.err, {"signal 1 (Hangup)"});
  signalled({"--end", "add"}, {SIGTERM}, 143, 2s);
}

// RM-11, FA-09
BOOST_AUTO_TEST_CASE(no_worker_outlives_a_master_that_is_killed) {
  for (bool unread : {false, true}) {
    BOOST_TEST_CONTEXT((unread ? "nobody reads its output" : "its output is read")) {
      run r{program("faults_endings"), arguments(4, "fetch", "mixed")};
      r.wait_for("ready: yes\n");
      const auto stopped = r.number("pid of 5");
      ::kill(stopped, SIGSTOP);
      BOOST_TEST(eventually([&] { return is_stopped(stopped); }));
      if (unread) {
        r.stop_reading_stdout();
        BOOST_TEST(eventually([&] { return r.unread() > 60'000; })); // no more goes into a pipe than 64 KiB
      }
      r.signal(SIGKILL);
      BOOST_TEST(r.end(1s).state.signal == SIGKILL);
      r.check_nothing_left(5s);
    }
  }
}

// -- the master's own ends -------------------------------------------------------------------------

// RM-10, RM-11
BOOST_AUTO_TEST_CASE(a_master_that_ends_takes_its_workers_along) {
  struct way {
    std::string end;
    troupe::exit_state state;
    std::string says;
  };
  const way ways[] = {
    {"return", {.status = 3}, ""},
    {"throw", {.status = 1}, "faults_endings: the outer problem\n  caused by: the inner problem\n"},
    {"throw a number", {.status = 1}, "faults_endings: an exception that is not derived from std::exception\n"},
    {"exit", {.status = 9}, ""},
    {"_exit", {.status = 9}, ""},
    {"abort", {.signal = SIGABRT}, ""},
  };
  for (const std::string busy : {"", "spin", "nap", "actors", "flood"}) {
    for (auto& w : ways) {
      BOOST_TEST_CONTEXT(w.end << ", workers that are busy: " << busy) {
        run r{program("faults_endings"), arguments(3, w.end, busy)};
        auto end = r.end(3s);
        end.state.core = false;
        BOOST_TEST((end.state == w.state), "it " << end.state.to_text());
        // RM-12: no word of those who were busy
        BOOST_TEST(end.err == w.says);
        r.check_nothing_left(2s);
      }
    }
  }
}

// One that is stopped can't leave: it is ended.
BOOST_AUTO_TEST_CASE(a_master_ends_though_a_worker_is_stopped) {
  run r{program("faults_endings"), arguments(3, "fetch", "")};
  r.wait_for("ready: yes\n");
  const auto stopped = r.number("pid of 3");
  ::kill(stopped, SIGSTOP);
  BOOST_TEST(eventually([&] { return is_stopped(stopped); }));
  r.signal(SIGINT);
  const auto end = r.end(4s); // they have 2 s to leave
  BOOST_TEST((end.state == troupe::exit_state{.status = 130}), "it " << end.state.to_text());
  r.check_nothing_left(2s);
}

// Tasks and frames that arrive while a worker leaves.
BOOST_AUTO_TEST_CASE(a_worker_leaves_whatever_it_has_just_been_asked) {
  for (int i = 0; i < 15; ++i) {
    run r{program("faults_endings"), arguments(3, "return", "spin")};
    const auto end = r.end(3s);
    BOOST_REQUIRE_MESSAGE(end.state.status == 3, "it " << end.state.to_text());
    BOOST_REQUIRE(end.err == "");
  }
}

// RM-12
BOOST_AUTO_TEST_CASE(idle_workers_leave_without_a_word) {
  for (int i = 0; i < 20; ++i) {
    run r{program("faults_endings"), arguments(4, "return", "")};
    const auto end = r.end(3s);
    BOOST_REQUIRE(end.state.status == 3);
    BOOST_REQUIRE(end.err == "");
  }
}

BOOST_AUTO_TEST_CASE(an_error_of_a_call_that_nobody_catches_names_worker_and_type) {
  run r{program("faults_endings"), arguments(2, "fail remotely", "")};
  const auto end = r.end(3s);
  BOOST_TEST(end.state.status == 1);
  check_says(end.err, {"faults_endings: On worker 2:\n", "no such cell", "std::out_of_range", "fails_remotely"});
  r.check_nothing_left(2s);
}

// -- output ----------------------------------------------------------------------------------------

// IO-03, IO-08
BOOST_AUTO_TEST_CASE(ten_megabytes_without_an_end_of_line_arrive_while_calls_go_on) {
  run r{program("faults_endings"), {"-p", "2", "--end", "print one line"}};
  const auto end = r.end(10s);
  BOOST_TEST(end.state.status == 0);
  BOOST_TEST(std::count(end.out.begin(), end.out.end(), 'x') == 10'000'000);
  check_says(end.err, {"calls meanwhile: "});
  BOOST_TEST(std::atoi(end.err.c_str() + std::strlen("calls meanwhile: ")) > 10);
  r.check_nothing_left();
}

// IO-08
BOOST_AUTO_TEST_CASE(calls_go_on_while_nobody_reads_what_workers_write) {
  run r{program("faults_endings"), {"-p", "2", "--end", "print to nobody"}};
  r.wait_for("ready: yes\n");
  r.stop_reading_stdout();
  r.wait_for("calls meanwhile: ", 5s);
  BOOST_TEST(std::atoi(r.err().c_str() + std::strlen("calls meanwhile: ")) > 100);
  r.signal(SIGTERM); // it waits for somebody who reads
  r.end(3s);
  r.check_nothing_left();
}

BOOST_AUTO_TEST_CASE(a_master_whose_output_is_closed_ends_like_any_program) {
  run r{program("faults_endings"), {"-p", "2", "--end", "print to nobody"}};
  r.wait_for("ready: yes\n");
  r.close_stdout();
  BOOST_TEST(r.end(3s).state.signal == SIGPIPE);
  r.check_nothing_left(5s);
}

BOOST_AUTO_TEST_CASE(a_master_that_was_started_without_standard_streams_works) {
  run r{"/bin/sh", {"-c", "exec '" + program("faults_endings") + "' -p 2 --end 'print to nobody' <&- >&- 2>&-"}};
  const auto end = r.end(5s);
  BOOST_TEST(end.state.status == 0);
  r.check_nothing_left();
}

BOOST_AUTO_TEST_CASE(output_that_cannot_be_written_is_reported_once) {
  run r{"/bin/sh", {"-c", "exec '" + program("faults_endings") + "' -p 2 --end 'print to nobody' > /dev/full"}};
  const auto end = r.end(5s);
  BOOST_TEST(end.state.status == 0);
  BOOST_TEST(count(end.err, "No space left on device") == 1, end.err);
  check_says(end.err, {"standard output"});
  r.check_nothing_left();
}
