#define BOOST_TEST_MODULE faults_launches
#include "system/faults.hpp"

using namespace faults;

namespace {

// Runs the program, and checks what is common: nobody came, it took so long, and a good worker came
// afterwards (AP-28).
ending launch(std::vector<std::string> args, int from_ms, int to_ms, int failures = 1) {
  run r{program("faults_launches"), std::move(args)};
  const auto end = r.end();
  BOOST_TEST(end.state.status == 0);
  BOOST_TEST(r.number("failures") == failures);
  BOOST_TEST(r.number("ms") >= from_ms);
  BOOST_TEST(r.number("ms") <= to_ms);
  BOOST_TEST(contains(end.out, "\njoined:\n"));
  BOOST_TEST(r.value("workers") == "0");
  BOOST_TEST(r.value("a good one") == "42");
  BOOST_TEST(end.err == "");
  r.check_nothing_left();
  return end;
}

} // namespace

// AP-20
BOOST_AUTO_TEST_CASE(a_program_that_does_not_exist) {
  auto end = launch({"--exename", "/no/such/program"}, 0, 1000);
  check_says(end.out, {"failure: no_address", "host", "/no/such/program", "No such file or directory"});
  end = launch({"--exename", "/dev/null"}, 0, 1000);
  check_says(end.out, {"failure: no_address", "/dev/null", "Permission denied"});
}

// AP-20, AP-24
BOOST_AUTO_TEST_CASE(programs_that_exit_at_once) {
  auto end = launch({"--exename", "/bin/false", "--count", "2"}, 0, 1000, 2);
  BOOST_TEST(count(end.out, "failure: no_address, status 1, host, ") == 2, end.out);
  check_says(end.out, {"2 workers didn't come", "OS pid", "exited with status 1"});
  end = launch({"--script", "echo what is wrong >&2; exit 5"}, 0, 1000);
  check_says(end.out, {"status 5", "exited with status 5", "what is wrong"});
}

// The cookie is written to a process that may be gone by then.
BOOST_AUTO_TEST_CASE(a_program_that_exits_at_once_never_ends_its_master) {
  for (int i = 0; i < 30; ++i) {
    run r{program("faults_launches"), {"--exename", "/bin/true", "--count", "3"}};
    const auto end = r.end();
    BOOST_REQUIRE_MESSAGE(end.state.status == 0, "the master " << end.state.to_text());
  }
}

// AP-21
BOOST_AUTO_TEST_CASE(a_program_that_is_silent) {
  const auto end = launch({"--script", "sleep 100", "--timeout", "1"}, 1000, 3000);
  check_says(end.out, {"failure: silent", "OS pid", "no address within 1000 ms"});
}

// AP-22, AP-23
BOOST_AUTO_TEST_CASE(noise_is_shown_and_a_thousand_lines_of_it_are_too_much) {
  const auto script = [](int lines) {
    return "i=0; while [ $i -lt " + std::to_string(lines) + " ]; do echo noise $i; i=$((i+1)); done; exec '" + program("faults_launches")
           + "' \"$@\"";
  };
  run r{program("faults_launches"), {"--script", script(999)}};
  BOOST_TEST(r.end().state.status == 0);
  check_says(r.out(), {"\nworkers: 1\n"});
  BOOST_TEST(count(r.out(), "      From a worker that starts:\tnoise ") == 999);
  r.check_nothing_left();

  auto end = launch({"--script", script(1000)}, 0, 3000);
  check_says(end.out, {"failure: noise", "1000 lines"});
  end = launch({"--exename", "/usr/bin/yes"}, 0, 3000);
  check_says(end.out, {"failure: "});
}

// AP-24, AP-26
BOOST_AUTO_TEST_CASE(those_who_came_stay_when_others_fail) {
  const temporary_folder folder;
  const auto script = "mkdir '" + folder / "first" + "' 2>/dev/null && exit 3; exec '" + program("faults_launches") + "' \"$@\"";
  {
    run r{program("faults_launches"), {"--script", script, "--count", "3"}};
    const auto end = r.end();
    BOOST_TEST(end.state.status == 0);
    BOOST_TEST(r.number("failures") == 1);
    BOOST_TEST(r.value("joined") == "2 answers 2 3 answers 3");
    check_says(end.out, {"launch_error: 1 worker didn't come, 2 did|", "exited with status 3"});
    BOOST_TEST(r.value("workers") == "2");
    r.check_nothing_left();
  }
  std::filesystem::remove(folder / "first");
  run r{program("faults_launches"), {"--script", script, "--count", "3", "--partial"}};
  BOOST_TEST(r.end().state.status == 0);
  BOOST_TEST(r.value("came") == "2");
  r.check_nothing_left();
}

// Before it has told its address: in a static constructor, in main.
BOOST_AUTO_TEST_CASE(a_worker_that_dies_before_it_has_told_its_address) {
  for (const std::string place : {"static", "main"}) {
    for (auto& [how, what] : {std::pair{"0", "exited with status 0"},
                              {"7", "exited with status 7"},
                              {"-11", "was killed by signal 11 (Segmentation fault)"},
                              {"-9", "was killed by signal 9 (Killed)"}}) {
      BOOST_TEST_CONTEXT(place << ", " << how) {
        const auto end = launch({"--env", "DIE_AT=" + place, "--env", std::string{"DIE_HOW="} + how}, 0, 2000);
        check_says(end.out, {"failure: no_address", what, "last words:|dying at " + place});
      }
    }
  }
}

// AP-27
BOOST_AUTO_TEST_CASE(a_worker_that_dies_while_it_joins) {
  for (auto& [how, what] : {std::pair{"0", "exited with status 0"},
                            {"7", "exited with status 7"},
                            {"-11", "was killed by signal 11 (Segmentation fault)"},
                            {"-9", "was killed by signal 9 (Killed)"}}) {
    BOOST_TEST_CONTEXT(how) {
      const auto end = launch({"--env", "DIE_AT=options", "--env", std::string{"DIE_HOW="} + how, "--poison", "x"}, 0, 2000);
      check_says(end.out, {"failure: died", "worker 2 (OS pid", what, "while it joined", "last words:|dying at options"});
    }
  }
}

BOOST_AUTO_TEST_CASE(a_worker_that_refuses_to_join_says_why) {
  const auto end = launch({"--env", "DIE_AT=options", "--env", "DIE_HOW=throw", "--poison", "x"}, 0, 2000);
  check_says(end.out, {"failure: refused", "worker 2", "this worker doesn't like its options"});
  BOOST_TEST(!contains(end.out, "on 127.0.0.1"), end.out);
}

// AP-25, AP-28
BOOST_AUTO_TEST_CASE(a_worker_that_never_finishes_joining_is_ended) {
  run r{program("faults_launches"), {"--env", "DIE_AT=options", "--env", "DIE_HOW=stop", "--poison", "x", "--timeout", "1", "--wait"}};
  r.wait_for("ms: ");
  check_says(r.out(), {"failure: silent", "worker 2 (OS pid", "didn't finish joining within 1000 ms"});
  BOOST_TEST(r.number("ms") >= 1000);
  BOOST_TEST(r.number("ms") <= 3000);
  BOOST_TEST(eventually([&] { return r.children().empty(); }, 2s), "a worker that is stopped is still there");
  r.in().reset();
  BOOST_TEST(r.end().state.status == 0);
  BOOST_TEST(r.value("a good one") == "42");
  r.check_nothing_left();
}
