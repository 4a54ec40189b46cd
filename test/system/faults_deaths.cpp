#define BOOST_TEST_MODULE faults_deaths
#include "system/faults.hpp"

using namespace faults;

namespace {

constexpr int soon_ms = 2000;

void check_death(const std::string& how, const std::string& cause, const std::string& numbers) {
  BOOST_TEST_CONTEXT(how) {
    run r{program("faults_deaths"), {"-p", "3", "--scene", "calls", "--how", how}};
    const auto end = r.end();
    BOOST_TEST(end.state.status == 0);
    const auto expected = "process_exited, worker 2, " + numbers + ", last words, host";
    // FA-01, FA-02: every call, on whatever thread, in whatever form
    BOOST_TEST(r.value("open") == "100");
    BOOST_TEST(r.value("calls") == "100 x " + expected);
    BOOST_TEST(r.number("ms") < soon_ms);
    // FA-04: a call that another worker has made
    BOOST_TEST(r.value("nested") == "1 x " + expected);
    // FA-03
    for (auto view : {"procs on 1", "procs on 3", "procs on 4"})
      BOOST_TEST(r.value(view) == "1 3 4");
    // FA-07, PM-14
    BOOST_TEST(r.value("later") == "4 x " + expected);
    BOOST_TEST(r.number("later ms") < 500);
    // FA-11
    check_says(r.value("text"), {"worker 2", " on ", cause});
    BOOST_TEST(r.value("info") == "terminated, " + cause);
    // FA-08
    BOOST_TEST(r.number("calls between survivors") > 100);
    // RM-09
    BOOST_TEST(count(end.err, "\n") == 1);
    check_says(end.err, {"worker 2", cause});
    // IO-06
    check_says(end.out, {"      From worker 2:\tfirst line\n      From worker 2:\tmy last words\n"});
    r.check_nothing_left();
  }
}

} // namespace

// FA-01..04, 07, 08, 11, PM-14, RM-09
BOOST_AUTO_TEST_CASE(a_worker_that_is_killed_ends_all_calls_to_it) {
  check_death("signal 9", "was killed by signal 9 (Killed)", "status -1, signal 9");
}

BOOST_AUTO_TEST_CASE(a_worker_that_crashes_ends_all_calls_to_it) {
  check_death("segfault", "was killed by signal 11 (Segmentation fault)", "status -1, signal 11");
  check_death("abort", "was killed by signal 6 (Aborted)", "status -1, signal 6");
}

BOOST_AUTO_TEST_CASE(a_worker_that_exits_ends_all_calls_to_it) {
  check_death("status 0", "exited with status 0", "status 0, signal 0");
  check_death("status 7", "exited with status 7", "status 7, signal 0");
}

BOOST_AUTO_TEST_CASE(what_a_worker_has_started_ends_with_it_and_does_not_hide_its_death) {
  check_death("leaving a child", "was killed by signal 9 (Killed)", "status -1, signal 9");
}

// FA-14
BOOST_AUTO_TEST_CASE(calls_that_are_made_while_a_worker_dies_see_its_end_and_nothing_else) {
  run r{program("faults_deaths"), {"-p", "2", "--scene", "flood"}};
  const auto end = r.end();
  BOOST_TEST(end.state.status == 0);
  BOOST_TEST(count(end.out, "flood: ") == 2, end.out);
  check_says(end.out, {"x a value", "x process_exited, worker 2, status -1, signal 9"});
  r.check_nothing_left();
}

BOOST_AUTO_TEST_CASE(requests_and_monitors_of_actors_end_with_their_process) {
  run r{program("faults_deaths"), {"-p", "2", "--scene", "actors"}};
  const auto end = r.end();
  BOOST_TEST(end.state.status == 0);
  BOOST_TEST(r.number("ms") < soon_ms);
  // one watcher on the master, one on another worker
  BOOST_TEST(count(end.out, "down: exit_reason(remote_link_unreachable") == 2, end.out);
  BOOST_TEST(count(end.out, "no answer: system_error(request_receiver_down") == 2, end.out);
  BOOST_TEST(count(end.out, "was killed by signal 9 (Killed)") == 4, end.out);
  const std::string gone = "process_exited, worker 2, status -1, signal 9, last words, host";
  BOOST_TEST(r.value("requests") == "2 x " + gone);
  BOOST_TEST(r.value("later") == "3 x " + gone);
  BOOST_TEST(count(end.err, "\n") == 1, end.err);
  r.check_nothing_left();
}

// RM-07, RM-09, FA-12, FA-16
BOOST_AUTO_TEST_CASE(removal_ends_what_a_worker_was_asked_and_says_nothing) {
  run r{program("faults_deaths"), {"-p", "3", "--scene", "removal"}};
  const auto end = r.end();
  BOOST_TEST(end.state.status == 0);
  BOOST_TEST(r.number("ms") < soon_ms);
  check_says(r.value("removed"), {"2 x process_exited, worker 2"});
  for (auto view : {"procs on 1", "procs on 3", "procs on 4"})
    BOOST_TEST(r.value(view) == "1 3 4");
  BOOST_TEST(end.err == "");
  r.check_nothing_left();
}
