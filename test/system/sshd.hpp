#pragma once

/// An sshd of the test's own, on a port of this host's loopback, that takes one key.

#include "system/fake_ssh.hpp"
#include "unclaimed_port.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pwd.h>
#include <sys/socket.h>
#include <sys/stat.h>

namespace system_test {

/// Runs a program to its end, 20 s at most.
inline troupe::exit_state run_program(const std::string& program, std::vector<std::string> args) {
  troupe::child_process child{{.program = program, .args = std::move(args), .dir = {}, .env = {}, .env_removed_prefixes = {}}};
  child.take_stdin().reset();
  const auto out = child.take_stdout();
  char buffer[4096];
  while (::read(out.get(), buffer, sizeof buffer) > 0) {
  }
  return child.wait_until(std::chrono::steady_clock::now() + 20s).value_or(troupe::exit_state{});
}

inline bool can_connect(int port) {
  const troupe::unique_fd s{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  ::sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_port = htons(static_cast<std::uint16_t>(port));
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return ::connect(s.get(), reinterpret_cast<::sockaddr*>(&at), sizeof at) == 0;
}

inline bool has_sshd() { return ::access("/usr/sbin/sshd", X_OK) == 0; }

inline std::string user_name() {
  const auto me = ::getpwuid(::getuid());
  return me == nullptr ? "root" : me->pw_name;
}

class own_sshd {
public:
  own_sshd() : port_(test::unclaimed_port{}.number()) { // it is free for a moment, since sshd takes no socket from others
    ::mkdir("/run/sshd", 0755); // where it locks itself in
    for (const char* key : {"host_key", "key"})
      BOOST_REQUIRE(run_program("ssh-keygen", {"-q", "-t", "ed25519", "-N", "", "-f", folder_ / key}).status == 0);
    std::filesystem::copy(folder_ / "key.pub", folder_ / "authorized_keys");
    const auto public_key = read_file(folder_ / "host_key.pub");
    folder_.with("known_hosts", "* " + public_key);
    const auto config = folder_.with(
      "sshd_config", "Port " + std::to_string(port_) + "\nListenAddress 127.0.0.1\nHostKey " + (folder_ / "host_key")
                       + "\nAuthorizedKeysFile " + (folder_ / "authorized_keys") + "\nSetEnv SHLVL=2" // lest bash reads the user's .bashrc
                       + "\nUsePAM no\nStrictModes no\nPidFile none\nPasswordAuthentication yes\nPermitRootLogin yes\n");
    start(config);
  }

  /// Starts it again, at the same place.
  void restart() {
    sshd_.reset();
    start(folder_ / "sshd_config");
  }
  void stop() { sshd_.reset(); }

  int port() const { return port_; }
  const temporary_folder& folder() const { return folder_; }
  /// "me@127.0.0.1:PORT"
  std::string spec() const { return user_name() + "@127.0.0.1:" + std::to_string(port_); }

  troupe::ssh_options options() const {
    troupe::ssh_options o;
    o.sshflags = {"-F", "none",
                  "-i", folder_ / "key",
                  "-o", "IdentitiesOnly=yes",
                  "-o", "UserKnownHostsFile=" + (folder_ / "known_hosts"),
                  "-o", "GlobalKnownHostsFile=none"};
    o.env = {{run_variable, std::getenv(run_variable)}}; // or what is left of them would not be found
    return o;
  }

private:
  void start(const std::string& config) {
    // it goes with this program, whatever ends that
    sshd_.emplace(troupe::child_options{.program = "setpriv",
                                        .args = {"--pdeathsig", "KILL", "/usr/sbin/sshd", "-D", "-e", "-f", config},
                                        .dir = "/",
                                        .env = {},
                                        .env_removed_prefixes = {}});
    errors_ = sshd_->take_stderr();
    BOOST_REQUIRE(eventually([&] { return can_connect(port_); }));
  }

  temporary_folder folder_;
  int port_;
  std::optional<troupe::child_process> sshd_;
  troupe::unique_fd errors_;
};

} // namespace system_test
