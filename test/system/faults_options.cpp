#define BOOST_TEST_MODULE faults_options
#include "system/faults.hpp"

using namespace faults;

namespace {

ending with(std::vector<std::string> args, run::variables env = {}) {
  run r{program("faults_options"), std::move(args), std::move(env)};
  const auto end = r.end(5s);
  r.check_nothing_left();
  return end;
}

// Status 2, one message with these words, a hint, and no worker.
void check_refused(std::vector<std::string> args, std::initializer_list<std::string_view> words, run::variables env = {}) {
  std::string line;
  for (auto& arg : args)
    line += " " + arg;
  BOOST_TEST_CONTEXT("the command line" << line) {
    const auto end = with(std::move(args), std::move(env));
    BOOST_TEST(end.state.status == 2);
    BOOST_TEST(end.out == "");
    BOOST_TEST(end.err.starts_with("faults_options: "), end.err);
    check_says(end.err, words);
    check_says(end.err, {"--help"});
    BOOST_TEST(count(end.err, "\n") == 2, end.err);
    BOOST_TEST(end.err.size() < 300u, end.err);
  }
}

const std::string defaults = "number=7 ratio=0.500000 flag=no name=nobody list= maybe=none";

} // namespace

BOOST_AUTO_TEST_CASE(what_is_no_option_is_refused) {
  check_refused({"--nosuch", "-p", "1"}, {"--nosuch", "not expected"});
  check_refused({"word"}, {"word", "not expected"});
  check_refused({"--num", "5"}, {"--num", "not expected"}); // not an abbreviation
}

BOOST_AUTO_TEST_CASE(an_option_that_is_needed_must_be_there) {
  check_refused({"-p", "1"}, {"--needed", "required"}, {{"NEEDED", "1"}});
  BOOST_TEST(with({"--needed", "x"}, {{"NEEDED", "1"}}).state.status == 0);
}

BOOST_AUTO_TEST_CASE(wrong_values_of_the_programs_own_options_are_refused) {
  check_refused({"--number"}, {"--number"});
  check_refused({"--number", "abc"}, {"--number", "'abc'", "whole number"});
  check_refused({"--number", "1.5"}, {"--number", "'1.5'", "whole number"});
  check_refused({"--number", "99999999999"}, {"--number", "'99999999999'"});
  check_refused({"--number", "1", "--number", "2"}, {"--number", "1 required"});
  check_refused({"--ratio", "x"}, {"--ratio", "'x'", "number"});
  check_refused({"--flag=perhaps"}, {"--flag", "'perhaps'", "yes"});
  check_refused({"--list", "1", "x"}, {"--list", "'x' is no whole number\n"});
}

BOOST_AUTO_TEST_CASE(wrong_values_of_standard_options_are_refused) {
  for (auto value : {"x", "2", ""})
    check_refused({"--log-level", value}, {"--log-level", "none of off, error, warning, info"});
  for (auto value : {"x", "-1", "1.5", ""})
    check_refused({"-p", value}, {"--procs", "number of workers", "'auto'"});
  for (auto value : {"0", "-1", "x"})
    check_refused({"--threads", value, "-p", "1"}, {"--threads", value, "positive number"});
  for (auto value : {"0", "-3", "abc"})
    check_refused({"--launch-timeout", value, "-p", "1"}, {"--launch-timeout", value, "positive number"});
  check_refused({"--cookie-file", "/no/such/file", "-p", "1"}, {"--cookie-file", "/no/such/file", "No such file"});
}

BOOST_AUTO_TEST_CASE(an_address_that_no_worker_can_listen_at_is_named) {
  for (auto& [address, why] : {std::pair{"nonsense", "neither a numeric"}, {"192.0.2.1", "Cannot assign"}}) {
    const auto end = with({"--bind-addr", address, "-p", "1"});
    BOOST_TEST(end.state.status != 0);
    check_says(end.err, {address, why});
  }
}

BOOST_AUTO_TEST_CASE(help_and_version_are_shown) {
  auto end = with({"--help", "-p", "2"});
  BOOST_TEST(end.state.status == 0);
  BOOST_TEST(end.err == "");
  check_says(end.out, {"Shows its options", "--number", "a number", "--procs", "--launch-timeout", "TROUPE_PROCS"});
  end = with({"--version"});
  BOOST_TEST(end.state.status == 0);
  BOOST_TEST(end.out == "faults_options 4.5.6\n");
}

// -- files and environment -------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(a_file_that_is_wrong_is_refused) {
  const temporary_folder folder;
  check_refused({"--config", folder / "nosuch.ini"}, {folder / "nosuch.ini"});
  check_refused({"--config", folder.with("a.ini", "number = abc\n")}, {"--number", "'abc'"});
  check_refused({"--config", folder.with("b.ini", "procs = many\n")}, {"--procs", "'many'"});
  check_refused({"--config", folder.with("c.ini", "numbr = 5\n")}, {"--config", "'numbr'"});
  check_refused({"--config", folder.with("d.ini", "a line\n[of\n= garbage\n")}, {"--config"});
}

BOOST_AUTO_TEST_CASE(a_variable_that_is_wrong_is_refused_by_its_name) {
  check_refused({}, {"--procs", "'many'", "TROUPE_PROCS"}, {{"TROUPE_PROCS", "many"}});
  check_refused({}, {"--threads", "'0'", "TROUPE_THREADS"}, {{"TROUPE_THREADS", "0"}});
  check_refused({}, {"--launch-timeout", "'soon'", "TROUPE_LAUNCH_TIMEOUT"}, {{"TROUPE_LAUNCH_TIMEOUT", "soon"}});
  check_refused({}, {"/no/such/file"}, {{"TROUPE_CONFIG", "/no/such/file"}});
  // what the command line says anew doesn't matter
  BOOST_TEST(with({"--procs", "0"}, {{"TROUPE_PROCS", "many"}}).state.status == 0);
  BOOST_TEST(with({}, {{"TROUPE_PROCS", ""}}).state.status == 0);
}

BOOST_AUTO_TEST_CASE(the_command_line_wins_over_the_environment_and_that_over_the_file) {
  const temporary_folder folder;
  const auto file = folder.with("app.ini", "procs = 3\nnumber = 5\n");
  check_says(with({"--config", file}).out, {"workers: 3\n", "on 4: number=5"});
  check_says(with({}, {{"TROUPE_CONFIG", file}}).out, {"workers: 3\n"});
  check_says(with({"--config", file}, {{"TROUPE_PROCS", "2"}}).out, {"workers: 2\n", "on 3: number=5"});
  check_says(with({"--config", file, "-p", "1", "--number", "6"}, {{"TROUPE_PROCS", "2"}}).out, {"workers: 1\n", "on 2: number=6"});
}

BOOST_AUTO_TEST_CASE(options_have_the_same_value_on_workers_whatever_is_there) {
  const temporary_folder folder;
  const auto file = folder.with("worker.ini", "number = 9\nflag = true\nlist = 4 5\nprocs = 3\n");
  const std::vector<std::string> other{"--worker-env",     "TROUPE_CONFIG=" + file, "TROUPE_PROCS=many",
                                       "TROUPE_THREADS=x", "TROUPE_NUMBER=8",       "TROUPE_LAUNCH_TIMEOUT=0"};
  auto args = other;
  auto end = with(args);
  BOOST_TEST(end.state.status == 0, end.err);
  check_says(end.out, {"workers: 1\n", "on 1: " + defaults + "\n", "on 2: " + defaults + "\n"});

  args.insert(args.end(), {"--number", "-3", "--ratio", "1e-3", "--flag", "--name", "a b", "--list", "1", "2", "--maybe", "0"});
  end = with(args);
  const std::string given = "number=-3 ratio=0.001000 flag=yes name=a b list=1,2, maybe=0\n";
  check_says(end.out, {"on 1: " + given, "on 2: " + given});
}

// -- where there is no cluster ---------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(use_outside_of_run_is_an_error_that_says_so) {
  run r{program("faults_outside"), {}};
  const auto end = r.end(5s);
  BOOST_TEST(end.state.status == 0);
  for (auto what : {"here before", "call before", "here afterwards", "call afterwards"})
    check_says(r.value(what), {"usage_error, ", "app::run"});
  for (auto what : {"empty fetch", "empty wait", "empty isready", "moved"})
    check_says(r.value(what), {"usage_error, ", "empty future"});
  check_says(r.value("direct that blocks"), {"direct function must not block"});
  check_says(r.value("workers on a worker"), {"usage_error, ", "addprocs", "only process 1"});
  check_says(r.value("cookie too late"), {"usage_error, ", "before the first worker"});
  check_says(r.value("cookie too long"), {"usage_error, ", "17 characters"});
  BOOST_TEST(r.value("kept") == "42");
  BOOST_TEST(r.value("second run") == "1");
  check_says(end.err, {"faults_outside: ", "app::run", "twice"});
  r.check_nothing_left();
}

// -- a full disk -----------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(an_application_whose_disk_is_full_names_the_file) {
  if (!std::filesystem::exists(program("epidemic"))) {
    BOOST_TEST_MESSAGE("the applications are not built");
    return;
  }
  for (const std::string name : {"epidemic.csv", "epidemic.png"}) {
    const temporary_folder folder;
    std::filesystem::create_symlink("/dev/full", folder / name);
    run r{program("epidemic"), {"-p", "2", "--days", "20", "--out", folder / "."}};
    const auto end = r.end(15s);
    BOOST_TEST(end.state.status == 1);
    check_says(end.err, {"epidemic: ", name, "No space left on device"});
    r.check_nothing_left();
  }
}
