#pragma once

#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>

#include <sys/wait.h>

namespace test {

struct program_end {
  int status = -1; // 128 and the signal's number, if one ended it
  std::string text;
};

/// Runs a command of the shell, with stdout, or both streams where it says so, as the text.
inline program_end run_shell(const std::string& command) {
  auto pipe = ::popen(command.c_str(), "r");
  if (pipe == nullptr)
    throw std::runtime_error{"can't run " + command};
  program_end out;
  char buffer[4096];
  while (const auto n = std::fread(buffer, 1, sizeof buffer, pipe))
    out.text.append(buffer, n);
  const int status = ::pclose(pipe);
  out.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return out;
}

/// The path of a program of TROUPE_BIN.
inline std::string program_path(const std::string& name) {
  const auto folder = std::getenv("TROUPE_BIN");
  if (folder == nullptr)
    throw std::runtime_error{"TROUPE_BIN must name the folder of the programs"};
  return std::string{folder} + "/" + name;
}

/// Runs a program of TROUPE_BIN in a shell.
inline program_end run_program(const std::string& name, const std::string& arguments) {
  return run_shell(program_path(name) + " " + arguments);
}

} // namespace test
