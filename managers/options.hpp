#pragma once

#include <array>
#include <chrono>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace troupe {

/// What every way of starting workers understands.
struct launch_options {
  /// The program that workers run; empty: this one.
  std::string exename{};
  /// Its arguments, one each, in front of those that make it a worker. A string with a space is one argument.
  std::vector<std::string> exeflags{};
  /// Its working directory; empty: this process's.
  std::string dir{};
  /// Variables that are added to its environment.
  std::vector<std::pair<std::string, std::string>> env{};
  /// Where workers listen, a numeric address, with ":port" behind it if the port matters. Empty: loopback for local workers.
  std::string bind_addr{};
  /// How long a worker may take from its start until it has joined. Positive.
  std::chrono::milliseconds launch_timeout{60000};
  /// Tasks that a worker runs at a time; 0: what this program was given by --threads.
  int threads = 0;
  /// Whether addprocs returns those who came when some failed; otherwise it throws, and those who came stay.
  bool partial = false;
  /// For managers of one's own. Those of troupe throw usage_error on keys they don't know.
  std::map<std::string, std::string> extra{};
};

/// For workers on this host; what it shares with launch_options means the same.
struct local_options {
  std::string exename{};
  std::vector<std::string> exeflags{};
  std::string dir{};
  std::vector<std::pair<std::string, std::string>> env{};
  std::string bind_addr{};
  std::chrono::milliseconds launch_timeout{60000};
  int threads = 0;
  /// Whether workers listen on 127.0.0.1 only, where no other host reaches them. Ignored if `bind_addr` is given.
  bool restrict_loopback = true;
  /// How long a worker that was asked to leave may take before it gets SIGUSR1, then SIGQUIT, then SIGKILL.
  std::array<std::chrono::milliseconds, 3> kill_after{std::chrono::seconds{15}, std::chrono::seconds{6},
                                                      std::chrono::seconds{15}};
  bool partial = false;
  std::map<std::string, std::string> extra{};

  operator launch_options() const;
};

} // namespace troupe
