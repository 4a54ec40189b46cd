#pragma once

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

namespace system_test {

inline std::string read_file(const std::filesystem::path& path) {
  std::ifstream in{path, std::ios::binary};
  std::ostringstream out; // takes what there is, also of a process that goes meanwhile
  out << in.rdbuf();
  return out.str();
}

} // namespace system_test
