// What programs are built with: compilers, CMake, the headers that they find.

#include "doctor.hpp"
#include "run_command.hpp"

#include <caf/config.hpp>

#include <cstdlib>
#include <map>
#include <sstream>

namespace command {

namespace {

using namespace std::chrono_literals;

constexpr auto compiler_time = 10s;
constexpr int oldest_gcc = 12;
constexpr int oldest_clang = 14;

// What a compiler makes of this tells its version, and which headers it finds. Each line: a word, then the value.
constexpr const char* questions = R"(
#ifdef __clang__
troupe_clang __clang_major__ __clang_minor__ __clang_patchlevel__
#else
troupe_gcc __GNUC__ __GNUC_MINOR__ __GNUC_PATCHLEVEL__
#endif
#if __has_include(<caf/config.hpp>)
#include <caf/config.hpp>
troupe_caf CAF_VERSION
#endif
#if __has_include(<CLI/Version.hpp>)
#include <CLI/Version.hpp>
troupe_cli CLI11_VERSION
#endif
#if __has_include(<boost/version.hpp>)
#include <boost/version.hpp>
troupe_boost BOOST_VERSION
#endif
#if __has_include(<openssl/opensslv.h>)
#include <openssl/opensslv.h>
troupe_openssl OPENSSL_VERSION_MAJOR OPENSSL_VERSION_MINOR OPENSSL_VERSION_PATCH
#endif
)";

using answers = std::map<std::string, std::string>;

// Empty if it can't preprocess C++.
answers ask(const std::string& compiler, std::string& why_not) {
  const auto end = run_command(compiler, {"-E", "-P", "-x", "c++", "-std=c++20", "-"}, compiler_time, questions);
  answers out;
  if (!end.good()) {
    why_not = end.to_text();
    return out;
  }
  std::istringstream in{end.out};
  for (std::string line; std::getline(in, line);)
    if (line.starts_with("troupe_")) {
      const auto space = line.find(' ');
      out[line.substr(0, space)] = space == std::string::npos ? "" : line.substr(space + 1);
    }
  return out;
}

std::string dotted(std::string text) {
  for (auto& c : text)
    if (c == ' ')
      c = '.';
  std::erase(text, '"');
  return text;
}

// 1706 is 0.17.6, 107400 (of Boost) is 1.74.0.
std::string caf_version(const std::string& text) {
  const int n = std::atoi(text.c_str());
  return std::to_string(n / 10000) + "." + std::to_string(n / 100 % 100) + "." + std::to_string(n % 100);
}

std::string boost_version(const std::string& text) {
  const int n = std::atoi(text.c_str());
  return std::to_string(n / 100000) + "." + std::to_string(n / 100 % 1000) + "." + std::to_string(n % 100);
}

constexpr const char* get_compiler = "apt-get install g++ (12 or later), or clang-14";

// `told` is empty if it doesn't work.
finding check_compiler(const std::string& name, const std::string& file, const answers& told, const std::string& why_not) {
  const bool is_clang = told.contains("troupe_clang");
  if (!is_clang && !told.contains("troupe_gcc"))
    return {mark::warning, "compiler",
            name + " (" + file + ") doesn't work as a C++ compiler: it " + (why_not.empty() ? "told no version" : why_not), get_compiler};
  const auto version = told.at(is_clang ? "troupe_clang" : "troupe_gcc");
  const auto text = std::string{is_clang ? "clang " : "g++ "} + dotted(version) + " (" + name + ", " + file + ")";
  const int oldest = is_clang ? oldest_clang : oldest_gcc;
  if (std::atoi(version.c_str()) < oldest)
    return {mark::warning, "compiler", text + " is too old: " + std::to_string(oldest) + " or later is needed", get_compiler};
  return {mark::ok, "compiler", text};
}

// What is to compile: what CXX names, as for CMake, or else what is in PATH; each file once.
std::vector<std::pair<std::string, std::string>> compilers() {
  std::vector<std::pair<std::string, std::string>> out;
  const auto add = [&](const std::string& name) {
    const auto file = name.find('/') == std::string::npos ? find_program(name) : name;
    for (auto& [other, its_file] : out)
      if (its_file == file)
        return;
    if (!file.empty())
      out.emplace_back(name, file);
  };
  if (const auto cxx = std::getenv("CXX"); cxx != nullptr && *cxx != '\0')
    add(std::string{cxx}.substr(0, std::string_view{cxx}.find(' ')));
  for (const char* name : {"c++", "g++", "clang++", "clang++-14"})
    add(name);
  return out;
}

finding header(const answers& told, const char* key, const std::string& name, std::string (*version)(const std::string&),
               const std::string& package, const std::string& use) {
  const auto i = told.find(key);
  if (i == told.end())
    return {mark::warning, name, "no headers: " + use, "apt-get install " + package};
  return {mark::ok, name, "headers of " + version(i->second)};
}

std::string plain(const std::string& text) { return dotted(text); }

finding caf_header(const answers& told) {
  auto out = header(told, "troupe_caf", "CAF", caf_version, "libcaf-dev", "troupe and programs on it can't be compiled");
  const auto ours = caf_version(std::to_string(CAF_VERSION));
  if (const auto i = told.find("troupe_caf"); i != told.end() && caf_version(i->second) != ours) {
    out.how = mark::warning;
    out.text += ", this command was compiled with those of " + ours;
    out.remedy = "troupe needs CAF 0.17; compile it anew with the headers that are there: cmake --build …";
  }
  return out;
}

finding check_cmake() {
  constexpr int oldest_minor = 25; // of 3
  const auto file = find_program("cmake");
  if (file.empty())
    return {mark::warning, "cmake", "not in PATH: troupe is built by it, and programs find troupe by it", "apt-get install cmake"};
  const auto end = run_command("cmake", {"--version"}, compiler_time);
  const auto said = first_line(end.out);
  int major = 0, minor = 0;
  if (!end.good() || std::sscanf(said.c_str(), "cmake version %d.%d", &major, &minor) != 2)
    return {mark::warning, "cmake", file + " doesn't work: " + end.to_text(), "apt-get install --reinstall cmake"};
  const auto text = said.substr(sizeof "cmake version" - 1 + 1) + " (" + file + ")";
  if (major < 3 || (major == 3 && minor < oldest_minor))
    return {mark::warning, "cmake", text + " is too old: 3.25 or later is needed", "apt-get install cmake (Debian 12 has 3.25)"};
  return {mark::ok, "cmake", text};
}

} // namespace

findings check_building() {
  findings out;
  answers headers; // which the first that works finds
  for (auto& [name, file] : compilers()) {
    std::string why_not;
    const auto told = ask(name, why_not);
    out.push_back(check_compiler(name, file, told, why_not));
    if (headers.empty())
      headers = told;
  }
  if (out.empty())
    out.push_back({mark::warning, "compiler", "none in PATH: programs that are built already run, others can't be built", get_compiler});
  out.push_back(check_cmake());
  if (headers.empty())
    return out; // nobody knows which there are
  out.push_back(caf_header(headers));
  out.push_back(header(headers, "troupe_cli", "CLI11", plain, "libcli11-dev", "troupe can't be compiled"));
  out.push_back(header(headers, "troupe_openssl", "OpenSSL", plain, "libssl-dev", "troupe can't be compiled"));
  out.push_back(header(headers, "troupe_boost", "Boost", boost_version, "libboost-test-dev",
                       "troupe's own tests can't be compiled; nothing else needs it"));
  return out;
}

} // namespace command
