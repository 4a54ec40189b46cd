#define BOOST_TEST_MODULE remote_command
#include <boost/test/unit_test.hpp>

#include "troupe/managers/child_process.hpp"
#include "troupe/managers/remote_command.hpp"
#include "troupe/transport/error.hpp"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <unistd.h>
#include <vector>

using troupe::command_line;
using troupe::remote_command;
using troupe::shell;

namespace {

using namespace std::chrono_literals;

// What must arrive as it is.
const std::string odd = "a 'b' \"c\" $HOME `x` \\ \\n * ~ !x !! #\n;&|<>(){}[] -d %PATH% ^";

struct folder {
  folder() {
    char name[] = "/tmp/troupe_command_XXXXXX";
    BOOST_REQUIRE(::mkdtemp(name) != nullptr);
    path = name;
  }
  ~folder() { std::filesystem::remove_all(path); }
  std::filesystem::path path;
};

struct result {
  troupe::exit_state end;
  std::string out;
};

// As sshd does: the user's shell gets the line as one argument.
result run(const std::string& program, const std::string& line, const std::string& dir = "/") {
  troupe::child_process child{{.program = program, .args = {"-c", line}, .dir = dir, .env = {}, .env_removed_prefixes = {}}};
  child.take_stdin().reset();
  const auto out = child.take_stdout();
  result r;
  char buffer[4096];
  for (;;) {
    const auto n = ::read(out.get(), buffer, sizeof buffer);
    if (n <= 0)
      break;
    r.out.append(buffer, static_cast<std::size_t>(n));
  }
  r.end = child.wait_until(std::chrono::steady_clock::now() + 20s).value_or(troupe::exit_state{});
  return r;
}

// The command prints where it is, a variable, and its arguments.
remote_command telling(const std::string& dir) {
  return {.dir = dir,
          .env = {{"FIRST", "1"}, {"ODD", odd}, {"EMPTY", ""}},
          .program = "sh",
          .args = {"-c", "pwd; printf '%s|' \"$ODD\" \"$EMPTY\" \"$@\"", "sh", odd, "", "-x", "last"}};
}

std::string told(const std::string& dir) { return dir + "\n" + odd + "||" + odd + "||-x|last|"; }

void check_survival(shell which, const char* program) {
  const folder f;
  for (const std::string name : {"plain", "with blank", "it's", "-dash", "$HOME", "a\"b", "a!b", "#x", "~"}) {
    const auto dir = f.path / name;
    std::filesystem::create_directory(dir);
    for (auto& given : {dir.string(), name}) {
      const auto r = run(program, command_line(telling(given), which), f.path.string());
      BOOST_TEST(r.out == told(dir.string()));
      BOOST_TEST(r.end.status == 0);
    }
  }
  const auto program_file = f.path / "my 'own' $prog";
  std::filesystem::create_symlink("/bin/echo", program_file);
  BOOST_TEST(run(program, command_line({.dir = {}, .env = {}, .program = program_file.string(), .args = {"x"}}, which)).out == "x\n");
  auto lost = telling((f.path / "nowhere").string());
  BOOST_TEST(run(program, command_line(lost, which)).end.status == troupe::no_directory_status);
  BOOST_TEST(run(program, command_line(lost, which)).out.empty());
  // a line's end in a name
  std::filesystem::create_directory(f.path / "a\nb");
  BOOST_TEST(run(program, command_line(telling((f.path / "a\nb").string()), which)).out == told((f.path / "a\nb").string()));
}

} // namespace

// SH-01, SH-06
BOOST_AUTO_TEST_CASE(everything_survives_a_posix_shell) {
  check_survival(shell::posix, "/bin/sh");
  const auto line = command_line({.dir = "/d", .env = {{"A", "b"}}, .program = "p", .args = {}}, shell::posix);
  BOOST_TEST(line.starts_with("sh -l -c "));
  BOOST_TEST(line.find("cd -- ") != std::string::npos);
  BOOST_TEST(line.find("export A=") != std::string::npos);
  BOOST_TEST(line.find("exec ") != std::string::npos);
}

// SH-02, SH-06
BOOST_AUTO_TEST_CASE(everything_survives_a_c_shell,
                     *boost::unit_test::precondition([](boost::unit_test::test_unit_id) -> boost::test_tools::assertion_result {
                       boost::test_tools::assertion_result there{::access("/bin/tcsh", X_OK) == 0};
                       there.message() << "tcsh isn't installed";
                       return there;
                     })) {
  check_survival(shell::csh, "/bin/tcsh");
}

// SH-02
BOOST_AUTO_TEST_CASE(the_line_for_a_c_shell) {
  BOOST_TEST(command_line({.dir = "", .env = {{"A", "it's!"}}, .program = "p", .args = {"q"}}, shell::csh)
             == "setenv A 'it'\\''s\\!' && exec 'p' 'q' || exit 125");
}

// SH-03
BOOST_AUTO_TEST_CASE(the_line_for_windows) {
  BOOST_TEST(
    command_line(
      {.dir = "C:\\my dir", .env = {{"A", "x & \"y\""}}, .program = "C:\\p (1)\\p.exe", .args = {"a b", "say \"hi\"", "end\\", "50%"}},
      shell::wincmd)
    == R"(pushd ^"C:\my dir^" && set ^"A=x ^& ^"y^"^"&& ^"C:\p ^(1^)\p.exe^" ^"a b^" ^"say \^"hi\^"^" ^"end\\^" ^"50^%^")");
  BOOST_CHECK_THROW(command_line({.dir = "a\"b", .env = {}, .program = "p", .args = {}}, shell::wincmd), troupe::usage_error);
  BOOST_CHECK_THROW(command_line({.dir = "", .env = {}, .program = "a\"b", .args = {}}, shell::wincmd), troupe::usage_error);
  BOOST_CHECK_THROW(command_line({.dir = "", .env = {{"A", "x\ny"}}, .program = "p", .args = {}}, shell::wincmd), troupe::usage_error);
}

// SH-04
BOOST_AUTO_TEST_CASE(another_word_is_no_shell) {
  BOOST_CHECK(static_cast<shell>(troupe::shell_choice{"csh"}) == shell::csh);
  BOOST_CHECK_THROW(troupe::shell_choice{"fish"}, troupe::usage_error);
}

// SH-05
BOOST_AUTO_TEST_CASE(a_variable_has_a_proper_name) {
  for (const char* name : {"A-B", "1X", "A B", "", "A\n", "\xc3\xa4"})
    for (auto which : {shell::posix, shell::csh}) {
      BOOST_CHECK_THROW(command_line({.dir = "", .env = {{name, "x"}}, .program = "p", .args = {}}, which), troupe::usage_error);
      BOOST_CHECK_THROW(troupe::check_variable_names({{name, "x"}}), troupe::usage_error);
    }
  for (const char* name : {"A", "_", "_1", "aB_9"})
    BOOST_CHECK_NO_THROW(troupe::check_variable_names({{name, "x"}}));
}

// SM-19, SM-20
BOOST_AUTO_TEST_CASE(our_variables_go_to_others_but_for_those_that_make_a_cluster) {
  ::setenv("TROUPE_LAUNCH_TIMEOUT", "7", 1);
  ::setenv("TROUPE_MINE", "x y", 1);
  for (const char* name :
       {"TROUPE_PROCS", "TROUPE_HOST", "TROUPE_HOSTFILE", "TROUPE_MPI", "TROUPE_MPI_CMD", "TROUPE_COOKIE_FILE", "TROUPE_CONFIG"})
    ::setenv(name, "1", 1);
  const auto all = troupe::variables_for_others();
  const auto has = [&](const char* name, const char* value) {
    return std::count(all.begin(), all.end(), std::pair<std::string, std::string>{name, value}) == 1;
  };
  BOOST_TEST(has("TROUPE_LAUNCH_TIMEOUT", "7"));
  BOOST_TEST(has("TROUPE_MINE", "x y"));
  for (auto& [name, value] : all) {
    BOOST_TEST(name.starts_with("TROUPE_"));
    BOOST_TEST(value != "1");
  }
}
