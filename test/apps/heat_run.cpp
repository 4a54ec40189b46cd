#define BOOST_TEST_MODULE heat_run
#include <boost/test/unit_test.hpp>

#include "apps/run_program.hpp"

#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>

using test::run_program;

namespace {

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

// A folder that goes with the object.
class temporary_folder {
public:
  temporary_folder() {
    auto name = (std::filesystem::temp_directory_path() / "heat.XXXXXX").string();
    BOOST_REQUIRE(::mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~temporary_folder() { std::filesystem::remove_all(path_); }
  temporary_folder(const temporary_folder&) = delete;
  temporary_folder& operator=(const temporary_folder&) = delete;

  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }
  std::string content(const std::string& name) const {
    std::ifstream in{path_ / name, std::ios::binary};
    return {std::istreambuf_iterator<char>{in}, {}};
  }
  std::size_t files() const { return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator{path_}, {})); }

private:
  std::filesystem::path path_;
};

test::program_end run_heat(const temporary_folder& folder, const std::string& arguments) {
  return run_program("heat", "--out " + (folder / "").string() + ' ' + arguments + " 2>&1");
}

// The residuals and the checksum, which are the same wherever a problem is computed.
std::string numbers_of(const std::string& said) {
  std::string out;
  std::istringstream lines{said};
  for (std::string line; std::getline(lines, line);)
    if (line.starts_with("step ") || line.starts_with("checksum: "))
      out += line + '\n';
  return out;
}

void check_refused(const std::string& arguments, int status, const std::string& came, const std::string& expected) {
  const temporary_folder folder;
  const auto end = run_heat(folder, arguments);
  BOOST_TEST_CONTEXT(arguments << " says: " << end.text) {
    BOOST_TEST(end.status == status);
    BOOST_TEST(contains(end.text, came));
    BOOST_TEST(contains(end.text, expected));
  }
  BOOST_TEST(folder.files() == 0U);
}

} // namespace

BOOST_AUTO_TEST_CASE(the_numbers_and_the_picture_are_those_of_a_serial_run_whatever_the_blocks_and_workers) {
  const std::string problem = "--size 97 --steps 250 --frames 120 ";
  const temporary_folder serial;
  const auto alone = run_heat(serial, problem + "--blocks 1");
  BOOST_REQUIRE_MESSAGE(alone.status == 0, alone.text);
  const auto expected = numbers_of(alone.text);
  for (const std::string line : {"step 100: residual ", "step 200: residual ", "step 250: residual ", "checksum: "})
    BOOST_TEST(contains(expected, line), alone.text);
  BOOST_TEST(serial.files() == 3U);
  for (const std::string more : {"-p 1 --blocks 5", "-p 1 --blocks 97x1", "-p 2", "-p 2 --blocks 1x2", "-p 2 --blocks 3x5", "-p 3",
                                 "-p 3 --blocks 2x2", "-p 3 --blocks 20", "--blocks 8x3"}) {
    const temporary_folder folder;
    const auto end = run_heat(folder, problem + more);
    BOOST_TEST_CONTEXT(more << " says: " << end.text) {
      BOOST_TEST(end.status == 0);
      BOOST_TEST(numbers_of(end.text) == expected);
      for (const std::string name : {"heat.png", "heat-000120.png", "heat-000240.png"})
        BOOST_TEST((folder.content(name) == serial.content(name)), name);
    }
  }
}

BOOST_AUTO_TEST_CASE(another_problem_has_other_numbers) {
  const temporary_folder folder;
  const auto usual = run_heat(folder, "--size 50 --steps 100");
  BOOST_TEST(usual.status == 0);
  for (const std::string other : {"--size 51 --steps 100", "--size 50 --steps 99", "--size 50 --steps 100 --ratio 0.21"})
    BOOST_TEST(numbers_of(run_heat(folder, other).text) != numbers_of(usual.text));
}

BOOST_AUTO_TEST_CASE(it_tells_what_each_process_has_sent_and_how_fast_it_was) {
  const temporary_folder folder;
  const auto end = run_heat(folder, "-p 2 --size 64 --steps 200");
  BOOST_TEST(end.status == 0);
  std::istringstream in{end.text.substr(end.text.find("MB sent\n") + 8)};
  for (const int id : {1, 2, 3}) {
    int process = 0;
    double messages = 0, megabytes = 0;
    in >> process >> messages >> megabytes;
    BOOST_TEST(process == id);
    if (id == 1)
      continue; // only a few, to the two others
    BOOST_TEST(messages >= 200); // a row after each step
    BOOST_TEST(megabytes >= 200 * 64 * 8 / 1e6);
    BOOST_TEST(megabytes < 2 * 200 * 64 * 8 / 1e6);
  }
  BOOST_TEST(contains(end.text, " ms a step, "), end.text);
  BOOST_TEST(contains(end.text, " million cells a second, in 2 x 1 blocks"), end.text);
}

BOOST_AUTO_TEST_CASE(without_a_step_there_is_the_picture_of_the_beginning) {
  const temporary_folder folder;
  const auto end = run_heat(folder, "--steps 0 --size 30");
  BOOST_TEST(end.status == 0, end.text);
  BOOST_TEST(!contains(end.text, "residual"), end.text);
  BOOST_TEST(folder.content("heat.png").size() > 1000U);
}

BOOST_AUTO_TEST_CASE(what_makes_no_sense_is_answered_by_what_is_expected) {
  check_refused("--size 0", 1, "the size is 0", "1 to 100000");
  check_refused("--steps -5", 1, "the number of steps is -5", "0 to");
  check_refused("--ratio 0.3", 1, "the ratio is 0.3", "0.25 at most");
  check_refused("--frames -1", 1, "pictures is -1", "0 or more");
  check_refused("--blocks 0", 1, "blocks is '0'", "1 to 1000000");
  check_refused("--size 8 --blocks 9x1", 1, "9 down and 1 across", "8 each way");
  check_refused("--size many", 2, "'many'", "whole number");
}

BOOST_AUTO_TEST_CASE(a_folder_that_cannot_be_made_is_an_error_before_the_work) {
  const auto end = run_program("heat", "--out /proc/none --size 100000 2>&1");
  BOOST_TEST(end.status == 1);
  BOOST_TEST(contains(end.text, "/proc/none"), end.text);
}

BOOST_AUTO_TEST_CASE(a_full_disk_is_an_error_that_names_the_file) {
  for (const std::string name : {"heat.png", "heat-000010.png"}) {
    const temporary_folder folder;
    std::filesystem::create_symlink("/dev/full", folder / name);
    const auto end = run_heat(folder, "-p 2 --size 64 --steps 20 --frames 10");
    BOOST_TEST(end.status == 1);
    BOOST_TEST(contains(end.text, name), end.text);
    BOOST_TEST(contains(end.text, "No space left on device"), end.text);
  }
  const temporary_folder folder;
  const auto end = run_program("heat", "--size 64 --steps 20 --out " + (folder / "").string() + " 2>&1 >/dev/full");
  BOOST_TEST(end.status == 1);
  BOOST_TEST(contains(end.text, "cannot write to the standard output"), end.text);
}
