#define BOOST_TEST_MODULE symbol_table
#include <boost/test/unit_test.hpp>

#include "troupe/actors/symbol_table.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <link.h>
#include <random>
#include <string>
#include <string_view>
#include <unistd.h>

using troupe::detail::symbol_table;

namespace {

[[gnu::noinline, gnu::used]] int known_to_this_file(int x) { return 5 * x; }

std::uint64_t offset_of(const void* code) {
  Dl_info info;
  link_map* map = nullptr;
  BOOST_REQUIRE(dladdr1(code, &info, reinterpret_cast<void**>(&map), RTLD_DL_LINKMAP));
  return reinterpret_cast<std::uintptr_t>(code) - map->l_addr;
}

const std::uint64_t known_offset = offset_of(reinterpret_cast<const void*>(&known_to_this_file));

struct temporary_file {
  temporary_file() {
    std::string name = (std::filesystem::temp_directory_path() / "troupe-XXXXXX").string();
    const int fd = mkstemp(name.data());
    BOOST_REQUIRE(fd >= 0);
    close(fd);
    path = name;
  }
  ~temporary_file() { std::filesystem::remove(path); }
  void write(std::string_view bytes) const {
    std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  }

  std::string path;
};

std::string own_bytes() {
  std::ifstream in("/proc/self/exe", std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// Asks for everything, so that the sanitizers see every read.
void look_around(const symbol_table& table) {
  for (std::uint64_t offset = known_offset - 200; offset < known_offset + 200; ++offset)
    BOOST_REQUIRE(table.find(offset).size() < 100'000'000);
  for (const std::uint64_t offset : {std::uint64_t{0}, ~std::uint64_t{0}, ~std::uint64_t{0} / 2})
    BOOST_REQUIRE(table.find(offset).size() < 100'000'000);
}

} // namespace

BOOST_AUTO_TEST_CASE(static_functions_are_found) {
  const symbol_table table("/proc/self/exe");
  BOOST_TEST(table.find(known_offset).find("known_to_this_file") != std::string_view::npos);
  BOOST_TEST(table.find(known_offset + 1) == table.find(known_offset));
  BOOST_TEST(table.find(0).empty());
  BOOST_TEST(table.find(~std::uint64_t{0}).empty());
}

BOOST_AUTO_TEST_CASE(what_is_no_elf_file_has_no_names) {
  BOOST_TEST(symbol_table("/nonexistent/file").empty());
  BOOST_TEST(symbol_table("/proc/self/maps").empty());
  BOOST_TEST(symbol_table("/dev/zero").empty());
  BOOST_TEST(symbol_table("/").empty());
  const temporary_file file;
  BOOST_TEST(symbol_table(file.path).empty());
  file.write(std::string(10'000, 'x'));
  BOOST_TEST(symbol_table(file.path).empty());
}

BOOST_AUTO_TEST_CASE(a_truncated_file_has_no_names) {
  const temporary_file file;
  const std::string bytes = own_bytes();
  constexpr std::size_t header = sizeof(ElfW(Ehdr));
  for (const std::size_t size : {std::size_t{4}, header - 1, header, bytes.size() / 2, bytes.size() - 1}) {
    file.write(std::string_view(bytes).substr(0, size));
    BOOST_TEST(symbol_table(file.path).empty());
  }
  file.write(bytes);
  BOOST_TEST(!symbol_table(file.path).empty());
}

BOOST_AUTO_TEST_CASE(corrupt_headers_and_tables_do_no_harm) {
  const temporary_file file;
  const std::string bytes = own_bytes();
  ElfW(Ehdr) header;
  std::memcpy(&header, bytes.data(), sizeof header);
  const std::size_t sections_size = std::size_t{header.e_shnum} * sizeof(ElfW(Shdr));
  std::mt19937_64 random(7);
  for (int round = 0; round < 300; ++round) {
    std::string bad = bytes;
    // A word in the header, in the sections' headers, or anywhere in the last part, where the symbols are.
    for (int i = 0; i <= round % 4; ++i) {
      const std::size_t at = round % 3 == 0   ? random() % (sizeof header - 8)
                             : round % 3 == 1 ? header.e_shoff + random() % (sections_size - 8)
                                              : bytes.size() / 2 + random() % (bytes.size() / 2 - 8);
      const std::uint64_t word = random() >> (random() % 64);
      std::memcpy(&bad[at], &word, sizeof word);
    }
    file.write(bad);
    look_around(symbol_table(file.path));
  }
}
