#define BOOST_TEST_MODULE cookie
#include <boost/test/unit_test.hpp>

#include "troupe/transport/cookie.hpp"

#include <cctype>
#include <filesystem>
#include <fstream>
#include <set>
#include <stdexcept>

#include <sys/stat.h>
#include <unistd.h>

namespace fs = std::filesystem;

namespace {

struct temporary_dir {
  fs::path path;
  temporary_dir() {
    std::string name = (fs::temp_directory_path() / "troupe-cookie-XXXXXX").string();
    BOOST_REQUIRE(::mkdtemp(name.data()) != nullptr);
    path = name;
  }
  ~temporary_dir() { fs::remove_all(path); }

  fs::path file(std::string_view content, ::mode_t mode = 0600) const {
    const auto name = path / "cookie";
    std::ofstream{name, std::ios::binary | std::ios::trunc} << content;
    ::chmod(name.c_str(), mode);
    return name;
  }
};

template <class Function>
std::string error_of(Function f) {
  try {
    f();
  } catch (const std::exception& e) {
    return e.what();
  }
  return {};
}

bool contains(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

void check_refused(const fs::path& file, std::string_view part) {
  const auto error = error_of([&] { troupe::read_cookie_file(file); });
  BOOST_TEST(contains(error, part), "expected '" << part << "' in '" << error << "'");
  BOOST_TEST(contains(error, file.string()), error);
}

} // namespace

// CK-01
BOOST_AUTO_TEST_CASE(a_made_cookie_has_16_letters_and_digits_and_is_valid) {
  std::set<char> seen;
  std::set<std::string> cookies;
  for (int i = 0; i < 500; ++i) {
    const auto cookie = troupe::make_cookie();
    BOOST_TEST(cookie.size() == 16u);
    for (char c : cookie)
      BOOST_TEST(std::isalnum(static_cast<unsigned char>(c)) != 0);
    BOOST_CHECK_NO_THROW(troupe::check_cookie(cookie));
    seen.insert(cookie.begin(), cookie.end());
    cookies.insert(cookie);
  }
  BOOST_TEST(seen.size() == 62u); // 8000 characters: one that is missing by chance has a probability of 1e-54
  BOOST_TEST(cookies.size() == 500u);
}

// CK-02
BOOST_AUTO_TEST_CASE(one_to_sixteen_printable_characters_are_a_cookie) {
  for (const char* good : {"a", "foobar", "!~#$%&'()*+,-./:", "0123456789abcdef"})
    BOOST_CHECK_NO_THROW(troupe::check_cookie(good));
}

// CK-03
BOOST_AUTO_TEST_CASE(a_bad_cookie_is_refused_without_being_repeated) {
  const std::pair<std::string, const char*> bad[] = {{"", "empty"},
                                                     {"secret6789abcdef0", "17 characters"},
                                                     {"secret\n", "character 7"},
                                                     {"secret one", "character 7"},
                                                     {"secret\tone", "character 7"},
                                                     {"secret\x7f", "character 7"},
                                                     {"secret\xc3\xa9", "character 7"},
                                                     {std::string{"secret\0x", 8}, "character 7"}};
  for (const auto& one : bad) {
    BOOST_CHECK_THROW(troupe::check_cookie(one.first), std::invalid_argument);
    const auto error = error_of([&] { troupe::check_cookie(one.first); });
    BOOST_TEST(contains(error, one.second), error);
    BOOST_TEST(!contains(error, "secret"), error);
  }
}

BOOST_AUTO_TEST_CASE(a_private_file_gives_its_cookie_without_the_line_end) {
  const temporary_dir dir;
  BOOST_TEST(troupe::read_cookie_file(dir.file("foobar")) == "foobar");
  BOOST_TEST(troupe::read_cookie_file(dir.file("foobar\n")) == "foobar");
  BOOST_TEST(troupe::read_cookie_file(dir.file("foobar\r\n")) == "foobar");
  BOOST_TEST(troupe::read_cookie_file(dir.file("0123456789abcdef\r\n")) == "0123456789abcdef");
  fs::permissions(dir.path / "cookie", fs::perms::owner_read);
  BOOST_TEST(troupe::read_cookie_file(dir.path / "cookie") == "0123456789abcdef");
}

BOOST_AUTO_TEST_CASE(a_file_that_others_may_use_is_refused_with_the_cure) {
  const temporary_dir dir;
  for (::mode_t mode : {0640u, 0604u, 0620u, 0602u, 0644u})
    check_refused(dir.file("foobar\n", mode), "chmod 600 " + (dir.path / "cookie").string());
}

BOOST_AUTO_TEST_CASE(a_file_with_anything_but_one_cookie_is_refused_without_repeating_it) {
  const temporary_dir dir;
  check_refused(dir.file(""), "empty");
  check_refused(dir.file("\n"), "empty");
  check_refused(dir.file("secret6789abcdef0\n"), "longer than 16");
  check_refused(dir.file(std::string(100000, 'x')), "longer than 16");
  check_refused(dir.file("secret\nsecret\n"), "character 7");
  const auto error = error_of([&] { troupe::read_cookie_file(dir.file("secret\nsecret\n")); });
  BOOST_TEST(!contains(error, "secret"), error);
}

BOOST_AUTO_TEST_CASE(what_is_not_a_regular_file_is_refused_without_waiting) {
  const temporary_dir dir;
  const auto fifo = dir.path / "fifo";
  BOOST_REQUIRE(::mkfifo(fifo.c_str(), 0600) == 0);
  check_refused(fifo, "not a regular file");
  check_refused(dir.path, "not a regular file");
  check_refused("/dev/null", "not a regular file");
  check_refused(dir.path / "missing", "No such file");
}

BOOST_AUTO_TEST_CASE(another_users_file_is_refused,
                     *boost::unit_test::precondition([](auto) { return boost::test_tools::assertion_result(::geteuid() == 0); })) {
  const temporary_dir dir;
  const auto file = dir.file("foobar\n");
  BOOST_REQUIRE(::chown(file.c_str(), 12345, 12345) == 0);
  check_refused(file, "belongs to user 12345");
}
