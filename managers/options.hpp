#pragma once

#include <array>
#include <chrono>
#include <concepts>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace troupe {

/// @addtogroup applications
/// @{

/// Which processes of a cluster have links, and may call each other. A process may always call itself, and the master and each worker each
/// other.
enum class topology : std::uint8_t {
  /// Every pair.
  all_to_all,
  /// Master and workers, no two workers.
  master_worker,
  /// Besides, those pairs of workers that their manager names: see worker_config::connect_idents.
  custom,
};

/// The shell that runs commands on a host that is reached by ssh.
enum class shell : std::uint8_t {
  posix,  ///< sh, bash, dash, zsh
  csh,    ///< csh, tcsh
  wincmd, ///< cmd of Windows
};

/// "all-to-all", "master-worker", "custom".
std::string_view to_string(topology t);

/// "posix", "csh", "wincmd".
std::string_view to_string(shell s);

/// A topology, or its word ("master-worker", also "master_worker"): throws usage_error for any other. Made from nothing, it is that of the
/// cluster, all-to-all at first.
class topology_choice {
public:
  /// The cluster's.
  topology_choice() = default;
  /// This one.
  topology_choice(topology t) : value_(t) { // NOLINT: implicit
  }
  /// The one of this word. Throws usage_error.
  topology_choice(const char* word) : topology_choice(std::string{word}) { // NOLINT: implicit
  }
  /// The one of this word. Throws usage_error.
  topology_choice(const std::string& word); // NOLINT: implicit

  /// All-to-all if it was made from nothing.
  operator topology() const { return value_.value_or(topology::all_to_all); }
  /// Whether it was made from something.
  bool given() const { return value_.has_value(); }

private:
  std::optional<topology> value_;
};

/// Whether links between workers open on first use. Made from nothing, it is what holds in the cluster, yes at first.
class lazy_choice {
public:
  /// What holds in the cluster.
  lazy_choice() = default;
  /// On first use, or (false) when workers join.
  lazy_choice(std::same_as<bool> auto lazy) : value_(lazy) { // NOLINT: implicit
  }

  /// True if it was made from nothing.
  operator bool() const { return value_.value_or(true); }
  /// Whether it was made from something.
  bool given() const { return value_.has_value(); }

private:
  std::optional<bool> value_;
};

/// A shell, or its word: throws usage_error for any other.
class shell_choice {
public:
  /// shell::posix.
  shell_choice() = default;
  /// This one.
  shell_choice(shell s) : value_(s) { // NOLINT: implicit
  }
  /// The one of this word. Throws usage_error.
  shell_choice(const char* word) : shell_choice(std::string{word}) { // NOLINT: implicit
  }
  /// The one of this word. Throws usage_error.
  shell_choice(const std::string& word); // NOLINT: implicit

  /// What it was made from.
  operator shell() const { return value_; }

private:
  shell value_ = shell::posix;
};

/// The value of a variable of a worker's environment: a text, or a function from the worker's number on its host, from 0 on, to one, such
/// as which GPU it is to use. The function is called on the master, by the thread that adds the worker.
class env_value {
public:
  /// The empty text.
  env_value() = default;
  /// The same for all workers.
  env_value(const char* text) : text_(text) { // NOLINT: implicit
  }
  /// The same for all workers.
  env_value(std::string text) : text_(std::move(text)) { // NOLINT: implicit
  }
  /// What the function says for each worker.
  template <class F>
    requires std::convertible_to<std::invoke_result_t<const F&, int>, std::string>
  env_value(F of_index) : of_index_(std::move(of_index)) { // NOLINT: implicit
  }

  /// The value for the worker with this number on its host. Throws what the function throws.
  std::string at(int index) const { return of_index_ ? of_index_(index) : text_; }

private:
  std::string text_;
  std::function<std::string(int)> of_index_;
};

/// Variables by their names.
using env_list = std::vector<std::pair<std::string, env_value>>;

/// The variables of the worker with this number on its host, for managers of one's own. Throws what a function among the values throws.
std::vector<std::pair<std::string, std::string>> env_of(const env_list& env, int index);

/// What every way of starting workers understands.
struct launch_options {
  /// The program that workers run; empty: this one.
  std::string exename{};
  /// Its arguments, one each, in front of those that make it a worker. A string with a space is one argument.
  std::vector<std::string> exeflags{};
  /// Its working directory; empty: this process's.
  std::string dir{};
  /// Variables that are added to its environment.
  env_list env{};
  /// The whole cluster's. It can't be changed while there are workers.
  topology_choice topology{};
  /// The whole cluster's, which can't be changed while there are workers. Only all-to-all can be lazy: other topologies open their links
  /// when workers join.
  lazy_choice lazy{};
  /// Where workers listen, a numeric address, with ":port" behind it if the port matters. Empty: loopback for local workers.
  std::string bind_addr{};
  /// How long a worker may take from its start until it has joined. Positive. The default stands for what this program was given by
  /// `--launch-timeout`.
  std::chrono::milliseconds launch_timeout{60000};
  /// Tasks that a worker runs at a time; 0: what this program was given by `--threads`.
  int threads = 0;
  /// How many times a worker that is lost is replaced by a new one, with a new id, and that one in its turn. Not one that is removed.
  int respawn = 0;
  /// Whether addprocs returns those who came when some failed; otherwise it throws, and those who came stay.
  bool partial = false;
  /// For managers of one's own. Those of troupe throw usage_error on keys they don't know.
  std::map<std::string, std::string> extra{};
};

/// For workers on this host; what it shares with launch_options means the same.
struct local_options {
  std::string exename{};                           ///< See launch_options::exename.
  std::vector<std::string> exeflags{};             ///< See launch_options::exeflags.
  std::string dir{};                               ///< See launch_options::dir.
  env_list env{};                                  ///< See launch_options::env.
  topology_choice topology{};                      ///< See launch_options::topology.
  lazy_choice lazy{};                              ///< See launch_options::lazy.
  std::string bind_addr{};                         ///< See launch_options::bind_addr.
  std::chrono::milliseconds launch_timeout{60000}; ///< See launch_options::launch_timeout.
  int threads = 0;                                 ///< See launch_options::threads.
  int respawn = 0;                                 ///< See launch_options::respawn.
  /// Whether workers listen on 127.0.0.1 only, where no other host reaches them. Ignored if `bind_addr` is given.
  bool restrict_loopback = true;
  /// How long a worker that was asked to leave may take before it gets SIGUSR1, then SIGQUIT, then SIGKILL.
  std::array<std::chrono::milliseconds, 3> kill_after{std::chrono::seconds{15}, std::chrono::seconds{6}, std::chrono::seconds{15}};
  bool partial = false;                       ///< See launch_options::partial.
  std::map<std::string, std::string> extra{}; ///< See launch_options::extra.

  /// Without what is for workers on this host only.
  operator launch_options() const;
};

/// For workers on hosts that are reached by ssh; what it shares with launch_options means the same, on those hosts.
struct ssh_options {
  std::string exename{};                           ///< See launch_options::exename; a file there.
  std::vector<std::string> exeflags{};             ///< See launch_options::exeflags.
  std::string dir{};                               ///< See launch_options::dir; a folder there.
  env_list env{};                                  ///< See launch_options::env.
  topology_choice topology{};                      ///< See launch_options::topology.
  lazy_choice lazy{};                              ///< See launch_options::lazy.
  std::string bind_addr{};                         ///< See launch_options::bind_addr.
  std::chrono::milliseconds launch_timeout{60000}; ///< See launch_options::launch_timeout.
  int threads = 0;                                 ///< See launch_options::threads.
  int respawn = 0;                                 ///< See launch_options::respawn.
  /// The client, which is used for all that is done by ssh: a name in PATH or a file.
  std::string ssh = "ssh";
  /// Its arguments, one each, behind those that are always given.
  std::vector<std::string> sshflags{};
  /// Whether workers listen on their host's loopback only. The master reaches them through the ssh client (-L), and so they do each other,
  /// by way of the master, unless they are on one host.
  bool tunnel = false;
  /// Whether there is one connection for each host that all ssh clients use (a ControlMaster); it is closed with the host's last worker.
  bool multiplex = false;
  /// How many connections may be in the making at a time, over all hosts, and tunnels for each host. sshd refuses some when there are more
  /// than ten.
  int max_parallel = 10;
  /// What runs commands there.
  shell_choice shell{};
  /// Whether the cookie stands on the worker's command line, where everyone on that host can read it, rather than go through standard
  /// input.
  bool cmdline_cookie = false;
  bool partial = false; ///< See launch_options::partial.
  std::map<std::string, std::string> extra{}; ///< See launch_options::extra.

  /// Without what is for ssh only.
  operator launch_options() const;
};

/// @}

} // namespace troupe
