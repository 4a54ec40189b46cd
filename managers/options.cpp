#include "troupe/managers/options.hpp"

#include "troupe/transport/error.hpp"

#include <algorithm>

namespace troupe {

namespace {

template <class Enum>
Enum parse_word(const std::string& word, const char* what, std::initializer_list<Enum> all) {
  auto plain = word;
  std::replace(plain.begin(), plain.end(), '_', '-');
  std::string words;
  for (auto value : all) {
    if (plain == to_string(value))
      return value;
    words += (words.empty() ? "" : ", ") + std::string{to_string(value)};
  }
  throw usage_error{std::string{what} + ": '" + word + "' is none of " + words};
}

template <class Options>
launch_options common(const Options& o) {
  launch_options out;
  out.exename = o.exename;
  out.exeflags = o.exeflags;
  out.dir = o.dir;
  out.env = o.env;
  out.topology = o.topology;
  out.lazy = o.lazy;
  out.bind_addr = o.bind_addr;
  out.launch_timeout = o.launch_timeout;
  out.threads = o.threads;
  out.respawn = o.respawn;
  out.partial = o.partial;
  out.extra = o.extra;
  return out;
}

} // namespace

std::string_view to_string(topology t) {
  switch (t) {
    case topology::all_to_all:
      return "all-to-all";
    case topology::master_worker:
      return "master-worker";
    case topology::custom:
      return "custom";
  }
  return "?";
}

std::string_view to_string(shell s) {
  switch (s) {
    case shell::posix:
      return "posix";
    case shell::csh:
      return "csh";
    case shell::wincmd:
      return "wincmd";
  }
  return "?";
}

topology_choice::topology_choice(const std::string& word)
  : value_(parse_word(word, "topology", {topology::all_to_all, topology::master_worker, topology::custom})) {}

shell_choice::shell_choice(const std::string& word) : value_(parse_word(word, "shell", {shell::posix, shell::csh, shell::wincmd})) {}

std::vector<std::pair<std::string, std::string>> env_of(const env_list& env, int index) {
  std::vector<std::pair<std::string, std::string>> out;
  for (auto& [name, value] : env)
    out.emplace_back(name, value.at(index));
  return out;
}

local_options::operator launch_options() const { return common(*this); }

ssh_options::operator launch_options() const { return common(*this); }

} // namespace troupe
