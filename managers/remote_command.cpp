#include "troupe/managers/remote_command.hpp"

#include "troupe/transport/error.hpp"

#include <algorithm>
#include <string_view>
#include <unistd.h>

namespace troupe {

namespace {

// What would be taken for an option.
std::string plain_dir(const std::string& dir) { return dir.starts_with('-') ? "./" + dir : dir; }

std::string posix_line(const remote_command& c) {
  std::string script;
  if (!c.dir.empty())
    script += "cd -- " + posix_word(plain_dir(c.dir)) + " || exit " + std::to_string(no_directory_status) + "\n";
  for (auto& [name, value] : c.env)
    script += "export " + name + "=" + posix_word(value) + "\n";
  script += "exec " + posix_word(c.program);
  for (auto& arg : c.args)
    script += " " + posix_word(arg);
  return "sh -l -c " + posix_word(script);
}

// Within single quotes csh still looks for events ("!") and for the end of the line.
std::string csh_word(const std::string& word) {
  std::string out = "'";
  for (char c : word)
    if (c == '\'')
      out += "'\\''";
    else if (c == '!' || c == '\n')
      out += std::string{'\\', c};
    else
      out += c;
  return out + "'";
}

// One list: with several lines, tcsh goes on behind one that says exit.
std::string csh_line(const remote_command& c) {
  std::string out;
  if (!c.dir.empty()) {
    const auto dir = csh_word(plain_dir(c.dir));
    out += "test -d " + dir + " && cd " + dir + " && ";
  }
  for (auto& [name, value] : c.env)
    out += "setenv " + name + " " + csh_word(value) + " && ";
  out += "exec " + csh_word(c.program);
  for (auto& arg : c.args)
    out += " " + csh_word(arg);
  return out + " || exit " + std::to_string(no_directory_status);
}

// cmd.exe gives a meaning to these also between quotes; the quotes are hidden from it as well, so that it sees nothing but plain characters.
std::string hidden_from_cmd(const std::string& text) {
  std::string out;
  for (char c : text) {
    if (std::string_view{"()%!^\"<>&|"}.find(c) != std::string_view::npos)
      out += '^';
    out += c;
  }
  return out;
}

// As the C library of Windows takes a command line apart: backslashes mean themselves, but in front of a quote.
std::string windows_word(const std::string& word) {
  std::string out = "\"";
  std::size_t backslashes = 0;
  for (char c : word) {
    if (c == '"')
      out.append(backslashes + 1, '\\');
    backslashes = c == '\\' ? backslashes + 1 : 0;
    out += c;
  }
  out.append(backslashes, '\\');
  return out + "\"";
}

void check_for_cmd(const std::string& text, const char* what, std::string_view refused) {
  if (text.find_first_of(refused) != std::string::npos)
    throw usage_error{std::string{what} + " '" + text + "' can't be told to cmd.exe: it has a double quote or a line's end"};
}

std::string wincmd_line(const remote_command& c) {
  check_for_cmd(c.dir, "the directory", "\"\r\n");
  check_for_cmd(c.program, "the program", "\"\r\n");
  std::string out;
  if (!c.dir.empty())
    out += "pushd " + hidden_from_cmd("\"" + c.dir + "\"") + " && ";
  for (auto& [name, value] : c.env) {
    check_for_cmd(value, "a variable's value", "\r\n");
    out += "set " + hidden_from_cmd("\"" + name + "=" + value + "\"") + "&& "; // a blank in front of && would be part of it without quotes
  }
  out += hidden_from_cmd("\"" + c.program + "\"");
  for (auto& arg : c.args) {
    check_for_cmd(arg, "the argument", "\r\n");
    out += " " + hidden_from_cmd(windows_word(arg));
  }
  return out;
}

void check_variable_name(const std::string& name) {
  if (!is_variable_name(name))
    throw usage_error{"env: '" + name + "' is no name of a variable, which is letters, digits and underscores, no digit first"};
}

bool stays_here(std::string_view name) {
  constexpr std::string_view names[] = {"TROUPE_PROCS",       "TROUPE_HOST",   "TROUPE_HOSTFILE",  "TROUPE_SLURM",
                                        "TROUPE_COOKIE_FILE", "TROUPE_CONFIG", "TROUPE_BIND_ADDR", "TROUPE_TCP_TRANSPORT",
                                        "TROUPE_JOIN",        "TROUPE_LISTEN", "TROUPE_TOPOLOGY",  "TROUPE_LAZY"};
  return name.starts_with("TROUPE_MPI") || std::find(std::begin(names), std::end(names), name) != std::end(names);
}

} // namespace

std::string posix_word(const std::string& word) {
  std::string out = "'";
  for (char c : word)
    if (c == '\'')
      out += "'\\''";
    else
      out += c;
  return out + "'";
}

bool is_variable_name(std::string_view name) {
  const auto is_letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
  return !name.empty() && is_letter(name.front())
         && std::all_of(name.begin(), name.end(), [&](char c) { return is_letter(c) || (c >= '0' && c <= '9'); });
}

void check_variable_names(const env_list& env) {
  for (auto& [name, value] : env)
    check_variable_name(name);
}

std::string command_line(const remote_command& command, shell which) {
  for (auto& [name, value] : command.env)
    check_variable_name(name);
  switch (which) {
    case shell::posix:
      return posix_line(command);
    case shell::csh:
      return csh_line(command);
    case shell::wincmd:
      return wincmd_line(command);
  }
  throw usage_error{"there is no such shell"};
}

std::vector<std::pair<std::string, std::string>> variables_for_others() {
  std::vector<std::pair<std::string, std::string>> out;
  for (auto entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const auto equals = text.find('=');
    if (equals == std::string_view::npos || !text.starts_with("TROUPE_"))
      continue;
    const auto name = text.substr(0, equals);
    if (is_variable_name(name) && !stays_here(name))
      out.emplace_back(name, text.substr(equals + 1));
  }
  return out;
}

} // namespace troupe
