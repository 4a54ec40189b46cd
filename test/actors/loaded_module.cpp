#define BOOST_TEST_MODULE loaded_module
#include <boost/test/unit_test.hpp>

#include "troupe/actors/loaded_module.hpp"

#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <link.h>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <unistd.h>
#include <vector>

using namespace troupe::detail;

namespace {

[[gnu::noinline]] int one(int x) { return 3 * x + 1; }
[[gnu::noinline]] int two(int x) { return x / 2; }

template <class F>
const void* address(F* function) {
  return reinterpret_cast<const void*>(function);
}

// Not &getpid, which may be a stub in this executable.
const void* in_libc() { return dlsym(RTLD_NEXT, "getpid"); }

struct library {
  explicit library(const std::string& path) : handle(dlopen(path.c_str(), RTLD_NOW)) {
    BOOST_REQUIRE_MESSAGE(handle, dlerror());
    BOOST_REQUIRE(dlinfo(handle, RTLD_DI_LINKMAP, &map) == 0);
  }
  ~library() { dlclose(handle); }

  void* handle;
  link_map* map = nullptr;
};

struct temporary_directory {
  temporary_directory() {
    std::string name = (std::filesystem::temp_directory_path() / "troupe-XXXXXX").string();
    BOOST_REQUIRE(mkdtemp(name.data()));
    path = name;
  }
  ~temporary_directory() { std::filesystem::remove_all(path); }

  std::filesystem::path path;
};

// A library that is small and that every program may load.
std::string small_library() { return library("libdl.so.2").map->l_name; }

// A copy whose build id is turned into a note of another kind, and with some bytes appended.
void copy_without_build_id(const std::string& from, const std::string& to, const std::string& appended) {
  std::ifstream in(from, std::ios::binary);
  std::string bytes{std::istreambuf_iterator<char>(in), {}};
  const std::string note("\x03\0\0\0GNU\0", 8); // type and name
  const auto at = bytes.find(note);
  BOOST_REQUIRE(at != bytes.npos);
  bytes[at] = 0x7f;
  std::ofstream(to, std::ios::binary) << bytes << appended;
}

std::string build_id_by_readelf() {
  // Not /proc/self, which would be readelf's own.
  const std::string command = "readelf -n /proc/" + std::to_string(getpid()) + "/exe 2>/dev/null";
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen(command.c_str(), "r"), &pclose);
  BOOST_REQUIRE(pipe);
  std::string id;
  std::array<char, 512> line;
  while (fgets(line.data(), line.size(), pipe.get()))
    if (const char* found = std::strstr(line.data(), "Build ID: "))
      id.assign(found + 10, std::strcspn(found + 10, "\n"));
  return id;
}

} // namespace

BOOST_AUTO_TEST_CASE(functions_of_one_executable_differ_in_their_offset_only) {
  const auto a = locate(address(one)), b = locate(address(two));
  BOOST_TEST(a.module == b.module);
  BOOST_TEST(a.offset != b.offset);
  BOOST_TEST((a == locate(address(one))));
  const auto distance = reinterpret_cast<std::uintptr_t>(&two) - reinterpret_cast<std::uintptr_t>(&one);
  BOOST_TEST(b.offset - a.offset == distance);
}

BOOST_AUTO_TEST_CASE(a_function_of_a_library_has_the_librarys_id) {
  BOOST_TEST(locate(in_libc()).module != locate(address(one)).module);
  BOOST_TEST(build_id_of(in_libc()) != program_build_id());
}

BOOST_AUTO_TEST_CASE(the_programs_build_id_is_what_readelf_prints) {
  BOOST_TEST(build_id_of(address(one)) == program_build_id());
  BOOST_TEST(program_build_id().find_first_not_of("0123456789abcdef") == std::string::npos);
  if (std::system("readelf --version >/dev/null 2>&1") != 0) {
    BOOST_TEST_MESSAGE("readelf is not here");
    return;
  }
  const std::string expected = build_id_by_readelf();
  if (expected.empty()) // linked without one: a hash of 64 bits
    BOOST_TEST(program_build_id().size() == 16);
  else
    BOOST_TEST(program_build_id() == expected);
}

BOOST_AUTO_TEST_CASE(addresses_outside_of_loaded_files_are_refused) {
  const auto heap = std::make_unique<int>(1);
  const int local = 2;
  for (const void* p : {static_cast<const void*>(heap.get()), static_cast<const void*>(&local), static_cast<const void*>(nullptr),
                        reinterpret_cast<const void*>(~std::uintptr_t{0})}) {
    BOOST_CHECK_THROW(locate(p), std::invalid_argument);
    BOOST_CHECK_THROW(build_id_of(p), std::invalid_argument);
  }
}

BOOST_AUTO_TEST_CASE(a_library_opened_later_is_found_until_it_is_closed) {
  const temporary_directory directory;
  const std::string path = directory.path / "copy.so";
  std::filesystem::copy_file(small_library(), path);
  const void* inside = nullptr;
  {
    const library copy(path);
    inside = copy.map->l_ld;
    BOOST_TEST(locate(inside).module != locate(address(one)).module);
    BOOST_TEST(locate(inside).offset == reinterpret_cast<std::uintptr_t>(inside) - copy.map->l_addr);
  }
  BOOST_CHECK_THROW(locate(inside), std::invalid_argument);
}

BOOST_AUTO_TEST_CASE(without_a_build_id_the_contents_count) {
  const temporary_directory directory;
  const std::string from = small_library();
  std::vector<std::string> ids;
  std::vector<std::uint64_t> modules;
  // The third has the contents of the first, the last differs in length alone.
  for (const char* appended : {"a", "b", "a", "b\0"}) {
    const std::string path = directory.path / ("copy" + std::to_string(ids.size()) + ".so");
    copy_without_build_id(from, path, std::string(appended, ids.size() == 3 ? 2 : 1));
    const library copy(path);
    ids.push_back(build_id_of(copy.map->l_ld));
    modules.push_back(locate(copy.map->l_ld).module);
    BOOST_TEST(ids.back().size() == 16u);
    BOOST_TEST(ids.back() == build_id_of(copy.map->l_ld));
  }
  BOOST_TEST(ids[0] != ids[1]);
  BOOST_TEST(ids[0] == ids[2]);
  BOOST_TEST(ids[1] != ids[3]);
  BOOST_TEST(modules[0] != modules[1]);
  BOOST_TEST(modules[0] == modules[2]);
}

BOOST_AUTO_TEST_CASE(threads_agree) {
  const auto expected = locate(address(one));
  std::array<code_location, 4> found{};
  {
    std::vector<std::jthread> threads;
    for (auto& f : found)
      threads.emplace_back([&f] {
        for (int i = 0; i < 1000; ++i)
          f = locate(address(one));
      });
  }
  for (const auto& f : found)
    BOOST_TEST((f == expected));
}
