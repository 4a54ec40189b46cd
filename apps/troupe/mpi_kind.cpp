#include "mpi_kind.hpp"

namespace command {

namespace {

// The word behind the first of some others that is there: "4.0.2" in "Version:   4.0.2\n".
std::string word_behind(const std::string& text, const std::string& label) {
  const auto at = text.find(label);
  if (at == std::string::npos)
    return {};
  const auto begin = text.find_first_not_of(" \t", at + label.size());
  return begin == std::string::npos ? std::string{} : text.substr(begin, text.find_first_of(" \t\r\n,", begin) - begin);
}

bool has(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

} // namespace

std::string mpi_kind::to_text() const {
  if (name.empty())
    return "one that isn't known here";
  return name + (version.empty() ? "" : " " + version) + (device.empty() ? "" : ", device " + device);
}

mpi_kind library_kind(const std::string& text) {
  if (has(text, "Open MPI"))
    return {"Open MPI", word_behind(text, "Open MPI v"), {}};
  if (has(text, "Intel(R) MPI"))
    return {"Intel MPI", word_behind(text, "Library"), {}};
  if (has(text, "MPICH Version:"))
    return {"MPICH", word_behind(text, "MPICH Version:"), word_behind(text, "MPICH Device:")};
  return {};
}

mpi_kind starter_kind(const std::string& text) {
  if (has(text, "Open MPI") || has(text, "OpenRTE") || has(text, "PRRTE"))
    return {"Open MPI", word_behind(text, "(Open MPI)"), {}};
  if (has(text, "Intel(R) MPI"))
    return {"Intel MPI", word_behind(text, "Version"), {}};
  if (has(text, "HYDRA build details"))
    return {"MPICH", word_behind(text, "Version:"), {}};
  return {};
}

} // namespace command
