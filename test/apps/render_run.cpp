#define BOOST_TEST_MODULE render_run
#include <boost/test/unit_test.hpp>

#include "apps/run_program.hpp"

#include <filesystem>
#include <fstream>
#include <iterator>

using test::run_program;

namespace {

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

struct rendered {
  int status;
  std::string said;
  std::string picture;
};

rendered render(const std::string& arguments) {
  auto file = (std::filesystem::temp_directory_path() / "render.XXXXXX").string();
  const int fd = ::mkstemp(file.data());
  BOOST_REQUIRE(fd >= 0);
  ::close(fd);
  const auto end = run_program("render", "--size 256 --tile 16 --output " + file + ' ' + arguments + " 2>&1");
  std::ifstream in{file, std::ios::binary};
  rendered out{end.status, end.text, {std::istreambuf_iterator<char>{in}, {}}};
  std::filesystem::remove(file);
  return out;
}

} // namespace

BOOST_AUTO_TEST_CASE(the_picture_is_the_same_however_many_draw_it_and_whoever_dies) {
  const auto alone = render("");
  BOOST_TEST(alone.status == 0, alone.said);
  BOOST_REQUIRE(alone.picture.size() > 1000u);
  const auto two = render("-p 2");
  BOOST_TEST(two.status == 0, two.said);
  BOOST_TEST((two.picture == alone.picture));
  BOOST_TEST(contains(two.said, "seconds busy"), two.said);
  const auto one_less = render("-p 2 --kill-one");
  BOOST_TEST(one_less.status == 0, one_less.said);
  BOOST_TEST(contains(one_less.said, "killed by signal 9"), one_less.said);
  BOOST_TEST((one_less.picture == alone.picture));
  const auto quiet = render("-p 2 --kill-one --log-level error");
  BOOST_TEST(quiet.status == 0, quiet.said);
  BOOST_TEST(!contains(quiet.said, "killed by signal 9"), quiet.said);
}

BOOST_AUTO_TEST_CASE(where_it_looks_can_be_chosen) {
  const auto some = render("--center -1.25 0.03 --width 0.1 --iterations 200");
  BOOST_TEST(some.status == 0, some.said);
  const auto other = render("--center -1.25 0.04 --width 0.1 --iterations 200");
  BOOST_TEST((some.picture != other.picture));
}

BOOST_AUTO_TEST_CASE(what_makes_no_sense_is_answered_by_what_is_expected) {
  const auto wrong = render("--iterations 0");
  BOOST_TEST(wrong.status == 1);
  BOOST_TEST(contains(wrong.said, "the number of iterations is 0, and must be 1 to"), wrong.said);
  const auto center = render("--center 1");
  BOOST_TEST(center.status == 1);
  BOOST_TEST(contains(center.said, "--center takes two numbers"), center.said);
  const auto nowhere = run_program("render", "--size 16 --output /proc/none/x.png 2>&1");
  BOOST_TEST(nowhere.status == 1);
  BOOST_TEST(contains(nowhere.text, "/proc/none"), nowhere.text);
  const auto alone = render("--kill-one");
  BOOST_TEST(alone.status == 1);
  BOOST_TEST(contains(alone.said, "--kill-one needs two workers"), alone.said);
}
