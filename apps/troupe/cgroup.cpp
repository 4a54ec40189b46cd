#include "cgroup.hpp"

#include <cstdlib>
#include <fstream>
#include <functional>
#include <sstream>
#include <vector>

namespace command {

namespace {

constexpr const char* root = "/sys/fs/cgroup";

std::string read_line(const std::string& file) {
  std::ifstream in{file};
  std::string line;
  std::getline(in, line);
  return line;
}

bool lists(const std::string& words, const std::string& word) { return ("," + words + ",").find("," + word + ",") != std::string::npos; }

// The folders of this process's group and those above it, for a controller. A line of /proc/self/cgroup is "ID:CONTROLLERS:PATH", without
// controllers for version 2.
std::vector<std::string> folders(const std::string& controller, bool version_2) {
  std::vector<std::string> out;
  std::ifstream in{"/proc/self/cgroup"};
  for (std::string line; std::getline(in, line);) {
    const auto first = line.find(':');
    const auto second = line.find(':', first + 1);
    if (second == std::string::npos)
      continue;
    const auto controllers = line.substr(first + 1, second - first - 1);
    if (version_2 ? !controllers.empty() : !lists(controllers, controller))
      continue;
    const auto tree = std::string{root} + (version_2 ? "" : "/" + controllers);
    auto path = line.substr(second + 1);
    for (;;) {
      if (path == "/")
        path.clear();
      out.push_back(tree + path);
      if (path.empty())
        break;
      path.erase(path.rfind('/'));
    }
  }
  return out;
}

std::optional<double> smallest(const std::vector<std::string>& all, const std::function<std::optional<double>(const std::string&)>& read) {
  std::optional<double> out;
  for (auto& folder : all)
    if (const auto value = read(folder); value && (!out || *value < *out))
      out = value;
  return out;
}

// A number, and not "max" or -1.
std::optional<double> number(const std::string& text) {
  char* end = nullptr;
  const double x = std::strtod(text.c_str(), &end);
  return end == text.c_str() || x < 0 ? std::nullopt : std::optional{x};
}

std::optional<double> both(std::optional<double> a, std::optional<double> b) {
  if (!a || !b)
    return a ? a : b;
  return *a < *b ? a : b;
}

} // namespace

std::optional<double> smallest_limit(const std::string& controller, const std::string& file, const std::string& old_file) {
  return both(smallest(folders(controller, true), [&](auto& folder) { return number(read_line(folder + "/" + file)); }),
              smallest(folders(controller, false), [&](auto& folder) { return number(read_line(folder + "/" + old_file)); }));
}

std::optional<double> smallest_cpu_quota() {
  const auto from_2 = smallest(folders("cpu", true), [](auto& folder) -> std::optional<double> { // "QUOTA PERIOD"
    std::istringstream in{read_line(folder + "/cpu.max")};
    std::string quota;
    double period = 0;
    in >> quota >> period;
    const auto n = number(quota);
    return n && period > 0 ? std::optional{*n / period} : std::nullopt;
  });
  const auto from_1 = smallest(folders("cpu", false), [](auto& folder) -> std::optional<double> {
    const auto quota = number(read_line(folder + "/cpu.cfs_quota_us"));
    const auto period = number(read_line(folder + "/cpu.cfs_period_us"));
    return quota && period && *period > 0 ? std::optional{*quota / *period} : std::nullopt;
  });
  return both(from_2, from_1);
}

} // namespace command
