#pragma once

/// A client in ssh's place: a script that logs its arguments and runs the command on this host.

#include "system/harness.hpp"

#include "troupe/managers/ssh_manager.hpp"

namespace system_test {

/// A folder that goes with the object.
class temporary_folder {
public:
  temporary_folder() {
    auto name = (std::filesystem::temp_directory_path() / "troupe_ssh_XXXXXX").string();
    BOOST_REQUIRE(::mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~temporary_folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  temporary_folder(const temporary_folder&) = delete;
  temporary_folder& operator=(const temporary_folder&) = delete;

  std::string operator/(const std::string& name) const { return (path_ / name).string(); }

  /// Makes a file and returns its path.
  std::string with(const std::string& name, const std::string& content) const {
    std::ofstream{path_ / name, std::ios::binary} << content;
    return *this / name;
  }

private:
  std::filesystem::path path_;
};

class fake_ssh {
public:
  /// `before`: what the script does when it has logged its arguments; $host is the destination, $last the command.
  explicit fake_ssh(const std::string& before = "") {
    program_ = folder_.with("ssh", R"(#!/bin/sh
line=
for last; do host=$previous; previous=$last; line="$line<$last>"; done
printf '%s\n' "$line" | tr '\n' ' ' | sed 's/$/\n/' >> ')"
                                     + (folder_ / "log") + "'\n" + before + "\nexec sh -c \"$last\"\n");
    std::filesystem::permissions(program_, std::filesystem::perms::owner_all);
  }

  troupe::ssh_options options() const {
    troupe::ssh_options o;
    o.ssh = program_;
    return o;
  }

  const std::string& program() const { return program_; }
  const temporary_folder& folder() const { return folder_; }

  /// The arguments of each run, each in <>, in one line.
  std::vector<std::string> log() const {
    std::istringstream in{read_file(folder_ / "log")};
    std::vector<std::string> out;
    for (std::string line; std::getline(in, line);)
      out.push_back(line);
    return out;
  }

private:
  temporary_folder folder_;
  std::string program_;
};

inline int count_of(std::string_view text, std::string_view part) {
  int n = 0;
  for (auto at = text.find(part); at != std::string_view::npos; at = text.find(part, at + part.size()))
    ++n;
  return n;
}

} // namespace system_test
