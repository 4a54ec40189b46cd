// What has to do with other hosts: ssh, names, addresses.

#include "doctor.hpp"
#include "loopback.hpp"
#include "run_command.hpp"

#include "troupe/managers/bind_address.hpp"
#include "troupe/managers/own_manager.hpp"
#include "troupe/managers/ssh_manager.hpp"

#include <algorithm>
#include <sstream>

namespace command {

namespace {

using namespace std::chrono_literals;

constexpr auto version_time = 5s;
constexpr auto ssh_time = 10s;
constexpr auto names_time = 10s;
constexpr double slow_lookup = 0.5; // s: each ssh and each mpirun does some
constexpr int ssh_port = 22;

bool is_loopback(const std::string& address) { return address.starts_with("127.") || address == "::1"; }

bool is_link_local(const std::string& address) { return address.starts_with("169.254.") || address.starts_with("fe80"); }

// Informational: nobody needs ssh to the own machine, but as a rehearsal.
finding check_ssh_here() {
  if (!listens_here(ssh_port))
    return {mark::ok, "sshd", "none listens at port 22 here; only a machine that is to be another's host needs it (openssh-server)"};
  troupe::ssh_options options;
  options.launch_timeout = ssh_time;
  auto client = troupe::ssh_client("localhost", options);
  client.args.push_back("true");
  const auto end = run_command(client, ssh_time);
  if (end.good())
    return {mark::ok, "sshd", "ssh localhost works, in " + in_time(static_cast<double>(end.took.count()) / 1000)};
  if (end.too_slow() || !end.not_started.empty())
    return {mark::warning, "sshd", "ssh localhost " + end.to_text(), "by hand: ssh -v localhost true"};
  troupe::keeper_session::end how;
  how.state = *end.state;
  how.tail = end.err.substr(0, end.err.find_last_not_of("\r\n") + 1);
  const auto why = troupe::explain_ssh("localhost", how, {}, "true").text;
  return {mark::ok, "sshd",
          "listens at port 22, and ssh localhost doesn't get in, which only matters if this machine is to be a host:\n" + why};
}

// What the probe has told.
struct names {
  std::string host;
  bool known = false;
  std::string problem;
  double forward_time = 0;
  std::vector<std::string> addresses;
  double backward_time = 0;
  std::string looked_back; // this address
  std::string back;        // is that name; empty: it has none
};

names parse_names(const std::string& text) {
  names out;
  std::istringstream lines{text};
  for (std::string line, word; std::getline(lines, line);) {
    std::istringstream in{line};
    in >> word;
    if (word == "host") {
      in >> out.host;
    } else if (word == "unknown") {
      in >> out.forward_time >> std::ws;
      std::getline(in, out.problem);
    } else if (word == "forward") {
      out.known = true;
      in >> out.forward_time;
      for (std::string address; in >> address;)
        out.addresses.push_back(address);
    } else if (word == "backward") {
      in >> out.backward_time >> out.looked_back >> out.back;
    }
  }
  return out;
}

std::string joined(const std::vector<std::string>& all) {
  std::string out;
  for (auto& text : all)
    out += (out.empty() ? "" : ", ") + text;
  return out;
}

// "eth0 10.0.0.7 fe80::1"
std::vector<std::string> by_interface(const std::vector<troupe::interface_address>& all) {
  std::vector<std::string> out;
  for (auto& i : all) {
    const auto same = std::find_if(out.begin(), out.end(), [&](auto& text) { return text.starts_with(i.interface + " "); });
    if (same == out.end())
      out.push_back(i.interface + " " + i.address);
    else
      *same += " " + i.address;
  }
  return out;
}

finding check_forward(const names& n) {
  const auto in_hosts = "add a line to /etc/hosts: " + troupe::choose_bind_address() + " " + n.host;
  const auto took = " (" + in_time(n.forward_time) + ")";
  if (!n.known)
    return {mark::warning, "host name",
            "'" + n.host + "' does not resolve: " + n.problem + took + "; troupe doesn't need it, mpirun and ssh may", in_hosts};
  const auto text = "'" + n.host + "' is " + joined(n.addresses) + took;
  if (n.forward_time > slow_lookup)
    return {mark::warning, "host name", text + ": that is slow, for every ssh and mpirun", in_hosts + "; or look at /etc/resolv.conf"};
  if (std::all_of(n.addresses.begin(), n.addresses.end(), is_loopback))
    return {mark::ok, "host name", text + ": loopback only, which matters to others that look it up, not to troupe"};
  return {mark::ok, "host name", text};
}

finding check_backward(const names& n) {
  const auto took = " (" + in_time(n.backward_time) + ")";
  if (n.backward_time > slow_lookup)
    return {mark::warning, "name back",
            n.looked_back + " is " + (n.back.empty() ? "nobody's" : "'" + n.back + "'") + took
              + ": that is slow, for every sshd that looks it up",
            "add it to /etc/hosts, or UseDNS no in /etc/ssh/sshd_config"};
  if (n.back.empty())
    return {mark::ok, "name back", n.looked_back + " has no name" + took + "; nothing of troupe asks for it"};
  const bool same = n.back == n.host || n.back.starts_with(n.host + ".") || n.host.starts_with(n.back + ".");
  return {mark::ok, "name back", n.looked_back + " is '" + n.back + "'" + (same ? "" : ", another name") + took};
}

} // namespace

findings check_ssh() {
  const auto file = find_program("ssh");
  if (file.empty())
    return {
      {mark::warning, "ssh", "no client in PATH: no workers on other hosts by --host and --hostfile", "apt-get install openssh-client"}};
  const auto end = run_command("ssh", {"-V"}, version_time);
  if (!end.good())
    return {{mark::warning, "ssh", file + " -V " + end.to_text(), "apt-get install --reinstall openssh-client"}};
  return {{mark::ok, "ssh", first_line(end.err + end.out) + " (" + file + ")"}, check_ssh_here()};
}

findings check_names() {
  const auto end = run_command(troupe::own_program(), {"--probe", "names"}, names_time);
  const auto n = parse_names(end.out);
  if (end.too_slow()) {
    const auto what = n.known ? "the name of " + joined(n.addresses) : "'" + n.host + "'";
    return {
      {mark::warning, "host name", "looking up " + what + " takes more than " + std::to_string(names_time.count()) + " s",
       "the name servers in /etc/resolv.conf don't answer; add a line to /etc/hosts: " + troupe::choose_bind_address() + " " + n.host}};
  }
  if (!end.good())
    return {{mark::warning, "host name", "can't be looked up: it " + end.to_text(), "by hand: getent ahosts " + n.host}};
  findings out{check_forward(n)};
  if (!n.looked_back.empty())
    out.push_back(check_backward(n));
  return out;
}

findings check_addresses() {
  const auto all = troupe::interface_addresses();
  const auto chosen = troupe::choose_bind_address(all);
  const auto others = std::count_if(all.begin(), all.end(),
                                    [&](auto& i) { return i.address != chosen && !is_loopback(i.address) && !is_link_local(i.address); });
  findings out;
  if (is_loopback(chosen)) {
    out.push_back({mark::warning, "address", "no interface but loopback: other hosts can't reach this one",
                   "ip addr; ip link set dev … up; programs on this host alone work"});
  } else if (const auto r = connect_to_self(chosen); !r.problem.empty()) {
    out.push_back({mark::warning, "address",
                   chosen + ", at which other hosts are to reach this one, can't be reached from here itself: " + r.problem,
                   "is there a firewall? nft list ruleset; or another address: --bind-addr"});
  } else {
    out.push_back({mark::ok, "address",
                   chosen + ": other hosts are told this one" + (others > 0 ? "; another: --bind-addr ADDRESS, SUBNET or INTERFACE" : "")});
  }
  out.push_back({mark::ok, "interfaces", all.empty() ? "none" : joined(by_interface(all))});
  return out;
}

} // namespace command
