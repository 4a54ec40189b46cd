#pragma once

#include "troupe/managers/options.hpp"

#include <string>
#include <utility>
#include <vector>

namespace troupe {

/// What is to run on another host, by the shell there.
struct remote_command {
  /// Its working directory; empty: where the shell begins.
  std::string dir;
  /// Added to its environment.
  std::vector<std::pair<std::string, std::string>> env;
  std::string program;
  std::vector<std::string> args;
};

/// The status of a posix command that can't enter its directory, and of a csh command that can't do that, or begin.
inline constexpr int no_directory_status = 125;

/// The command as one line for that shell: it enters the directory, sets the variables and becomes the program; everything arrives as it is here, byte by byte. For posix
/// it is a login shell that does so. Throws usage_error for what the shell can't be told, such as a variable without a proper name.
std::string command_line(const remote_command& command, shell which);

/// One word for a posix shell.
std::string posix_word(const std::string& word);

/// Whether it's a letter or underscore, then letters, digits and underscores.
bool is_variable_name(std::string_view name);

/// Throws usage_error if a variable has no proper name.
void check_variable_names(const env_list& env);

/// Those of this process's variables that go to workers on other hosts unless they are given another value: their names begin with TROUPE_. Those that make a cluster, or name
/// files of this host, stay here.
std::vector<std::pair<std::string, std::string>> variables_for_others();

} // namespace troupe
