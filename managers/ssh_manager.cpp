#include "troupe/managers/ssh_manager.hpp"

#include "troupe/managers/keeper_launch.hpp"
#include "troupe/managers/remote_command.hpp"
#include "troupe/managers/ssh_control.hpp"
#include "troupe/managers/ssh_tunnel.hpp"

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <initializer_list>
#include <map>
#include <system_error>
#include <unistd.h>

namespace troupe {

namespace {

using namespace std::chrono_literals;

// What ssh exits with when it is its own failure, or the connection's.
constexpr int ssh_failed = 255;

// Workers on other hosts are given the time that local ones have.
const started_worker::delays kill_after = local_options{}.kill_after;

// The places of one machine's workers are together.
constexpr int places_of_machine = 1 << 16;

std::string program_of(const launch_options& options) { return options.exename.empty() ? own_program() : options.exename; }

std::string dir_of(const launch_options& options) {
  if (!options.dir.empty())
    return options.dir;
  std::error_code why;
  auto here = std::filesystem::current_path(why);
  if (why)
    throw usage_error{"workers start in the directory of this program, and that can't be told (" + why.message()
                      + "): has it been removed? Change to another, or set ssh_options::dir"};
  return here.string();
}

// Beside hosts that are dead, others must have the time to come.
int connect_seconds(std::chrono::milliseconds launch_timeout) {
  return std::max(1, static_cast<int>(std::chrono::ceil<std::chrono::seconds>(launch_timeout / 3).count()));
}

// Of a client that runs a command, in front of what the user has given.
std::vector<std::string> session_flags() { return {"-T", "-a", "-x", "-o", "ClearAllForwardings=yes"}; }

// A client with the user's options; `first` stand in front of these.
child_options make_client(const machine_spec& m, const ssh_options& options, std::chrono::milliseconds launch_timeout,
                          std::vector<std::string> first) {
  child_options out;
  out.program = options.ssh;
  out.args = std::move(first);
  out.args.insert(out.args.end(), options.sshflags.begin(), options.sshflags.end());
  // ssh takes the first of several: the user's flags win
  out.args.insert(out.args.end(), {"-o", "BatchMode=yes", "-o", "ConnectTimeout=" + std::to_string(connect_seconds(launch_timeout)), "-o",
                                   "ServerAliveInterval=15"});
  if (m.port != 0)
    out.args.insert(out.args.end(), {"-p", std::to_string(m.port)});
  return out;
}

// These variables, and in their place those that the user has set.
std::vector<std::pair<std::string, std::string>> with(std::vector<std::pair<std::string, std::string>> all,
                                                      const std::vector<std::pair<std::string, std::string>>& set) {
  for (auto& variable : set) {
    std::erase_if(all, [&](auto& v) { return v.first == variable.first; });
    all.push_back(variable);
  }
  return all;
}

bool has_any(const std::string& text, std::initializer_list<std::string_view> parts) {
  return std::any_of(parts.begin(), parts.end(), [&](auto part) { return text.find(part) != std::string::npos; });
}

} // namespace

launch_failure explain_ssh(const std::string& host, const keeper_session::end& end, const std::string& dir, const std::string& program) {
  launch_failure out{host, launch_reason::no_address, end.state.status, {}};
  const auto& said = end.tail;
  if (end.noisy) {
    out.reason = launch_reason::noise;
    out.text = "wrote a thousand lines and not the one by which the program says that it's there: does a login shell there print so much, "
               "or doesn't the program call troupe::app::run?";
  } else if (end.state.status == ssh_failed && has_any(said, {"HOST IDENTIFICATION HAS CHANGED"})) {
    out.reason = launch_reason::refused;
    out.text = "its host key is another than the known one: if it was installed anew, forget the old one (ssh-keygen -R HOST) and connect "
               "once by hand";
  } else if (end.state.status == ssh_failed && has_any(said, {"Host key verification failed", "host key is known for"})) {
    out.reason = launch_reason::refused;
    out.text = "its host key is unknown: connect once by hand, or add it to known_hosts (ssh-keyscan)";
  } else if (end.state.status == ssh_failed
             && has_any(said, {"Permission denied", "Too many authentication failures", "authentication methods available"})) {
    out.reason = launch_reason::refused;
    out.text = "ssh was refused: it must get in without a password, by a key that the host knows (ssh-copy-id) and that needs none, or is "
               "in an agent (ssh-add)";
  } else if (end.state.status == ssh_failed) {
    out.reason = launch_reason::unreachable;
    out.text = "ssh could not connect";
  } else if (end.state.status == no_directory_status) {
    out.text = has_any(said, {"ommand not found", "ermission denied"})
                 ? "the program " + program + " is not there, or can't be executed"
                 : "there is no directory " + dir + ", where the workers were to run (option dir)";
  } else if (end.state.status == 127 || end.state.status == 126) {
    out.text = "the program " + program + " is not there, or can't be executed (option exename)";
  } else {
    out.text = "what ssh ran there " + end.state.to_text() + " before it said that it's there: does it call troupe::app::run?";
  }
  if (!said.empty())
    out.text += "; the last lines of stderr:\n" + said;
  return out;
}

ssh_manager::ssh_manager(std::vector<machine_spec> machines, ssh_options options, manager_context context)
  : machines_(merged(machines)), options_(std::move(options)), context_(std::move(context)) {
  if (options_.ssh.empty())
    throw usage_error{"ssh_options: there is no client, ssh is empty"};
  if (options_.max_parallel < 1)
    throw usage_error{"ssh_options: max_parallel must be 1 at least, it is " + std::to_string(options_.max_parallel)};
  check_variable_names(options_.env);
  // or the tunnel's end there can't be told from that of another user's
  if (options_.tunnel && std::getenv("USER") == nullptr)
    for (auto& m : machines_)
      if (m.user.empty())
        throw usage_error{"machine '" + m.text + "': a tunnel needs the user's name, in front of the host or in the variable USER"};
}

ssh_manager::~ssh_manager() = default;

launch_options ssh_manager::default_options() const { return options_; }

std::string ssh_manager::to_text() const {
  std::string out;
  for (auto& m : machines_)
    out += (out.empty() ? "" : ", ") + m.text + (m.count == 1 ? "" : " * " + (m.count == auto_count ? "auto" : std::to_string(m.count)));
  return "ssh_manager(" + out + ")";
}

child_options ssh_client(const machine_spec& m, const ssh_options& options) {
  auto out = make_client(m, options, options.launch_timeout, session_flags());
  out.args.push_back(m.destination());
  return out;
}

child_options ssh_manager::client_with(const machine_spec& m, const launch_options& options, std::vector<std::string> first) const {
  return make_client(m, options_, options.launch_timeout, std::move(first));
}

child_options ssh_manager::client_of(const machine_spec& m, const launch_options& options, const std::string& control_path) const {
  remote_command there;
  there.dir = dir_of(options);
  there.env = with(variables_for_others(), env_of(options.env, 0));
  there.program = program_of(options);
  there.args = options.exeflags;
  there.args.insert(there.args.end(), {options_.cmdline_cookie ? "--worker=" + context_.cookie : "--worker", "--keeper",
                                       "--launch-timeout=" + std::to_string(static_cast<double>(options.launch_timeout.count()) / 1000)});
  auto first = session_flags();
  if (!control_path.empty())
    first.insert(first.end(), {"-o", "ControlMaster=yes", "-o", "ControlPersist=no", "-o", control_path_option(control_path)});
  auto out = client_with(m, options, first);
  out.args.insert(out.args.end(), {m.destination(), command_line(there, options_.shell)});
  return out;
}

std::string ssh_manager::bind_address_of(const machine_spec& m, const launch_options& options, const keeper_hello& there) const {
  if (!m.bind_addr.empty())
    return m.bind_port == 0 ? m.bind_addr : endpoint{m.bind_addr, m.bind_port}.to_text();
  if (!options.bind_addr.empty())
    return options.bind_addr;
  return options_.tunnel ? "127.0.0.1" : there.address;
}

// How one machine's workers are reached, beside the connection to their keeper, which it ends with.
struct ssh_manager::way {
  ~way() { remove_socket(); }

  void set(std::shared_ptr<ssh_tunnel> t) {
    std::unique_lock guard{mutex};
    if (!gone)
      tunnel = t;
    else
      t->end();
  }

  void end() {
    std::lock_guard guard{mutex};
    gone = true;
    if (tunnel)
      tunnel->end();
    tunnel = nullptr;
    remove_socket();
  }

  // Its client does that, unless it is killed.
  void remove_socket() const {
    if (!control_path.empty())
      ::unlink(control_path.c_str());
  }

  // Takes the worker's port from the control connection.
  void cancel(const manager_context& context, const started_worker& worker) {
    std::lock_guard guard{mutex};
    const auto f = forwarded.find(&worker);
    if (f == forwarded.end())
      return;
    cancel_forwarding(context, control_client, destination, f->second);
    forwarded.erase(f);
  }

  std::string control_path; // empty: none
  std::mutex mutex;         // guards the next ones
  std::map<const started_worker*, forwarding> forwarded; // over the control connection
  child_options control_client;
  std::string destination;
  std::shared_ptr<ssh_tunnel> tunnel;
  bool gone = false;
};

namespace {

// What was told of its tunnel's end, to all that depend on it.
void break_way(const std::vector<told_worker>& told, const std::string& why) {
  for (auto& t : told) {
    t.worker->signal_group(SIGKILL);
    t.worker->take_end({}, "was lost: its ssh tunnel broke: " + why);
  }
}

} // namespace

// The workers listen on their host's loopback, or where they were told to; they are launched when a port of this one leads there.
void ssh_manager::make_way(const std::shared_ptr<keeper_launch>& l, const std::shared_ptr<way>& w, const child_options& client,
                           const std::string& destination, const std::vector<told_worker>& told) const {
  std::vector<endpoint> there;
  for (auto& t : told)
    there.push_back(t.where);
  const auto up = [weak = std::weak_ptr{l}, told](const std::vector<forwarding>& all, const std::string& why_not) {
    for (std::size_t i = 0; i < told.size(); ++i) {
      const auto still = weak.lock();
      if (!still)
        return;
      if (all.empty()) {
        still->failed(
          told[i], told[i].worker->explain(launch_reason::unreachable, -1, "can't be reached: its ssh tunnel can't be set up: " + why_not));
        told[i].worker->signal_group(SIGKILL);
        continue;
      }
      auto config = told[i].worker->config_at({"127.0.0.1", all[i].here});
      config.through_master = true;
      still->launched(told[i], std::move(config));
    }
  };
  if (!w->control_path.empty())
    return forward_over(context_, client, destination, there,
                        [w, client, destination, told, up](const std::vector<forwarding>& all, const std::string& why_not) {
                          {
                            std::lock_guard guard{w->mutex};
                            w->control_client = client;
                            w->destination = destination;
                            for (std::size_t i = 0; i < all.size(); ++i)
                              w->forwarded[told[i].worker.get()] = all[i];
                          }
                          up(all, why_not);
                        });
  // one more connection
  l->take_slot([this, weak = std::weak_ptr{l}, w, client, destination, there, told, up] {
    ssh_tunnel::settings s;
    s.client = client;
    s.destination = destination;
    s.there = there;
    s.on_up = [weak, up](const std::vector<forwarding>& all, const std::string& why_not) {
      up(all, why_not);
      if (const auto still = weak.lock())
        still->queue()->post([l = still.get()] { l->give_slot(); });
    };
    s.on_broken = [told](const std::string& why) { break_way(told, why); };
    const auto tunnel = std::make_shared<ssh_tunnel>(context_, s);
    w->set(tunnel);
    tunnel->start();
  });
}

// Workers of one machine, from one of its numbers on.
struct ssh_manager::part {
  std::size_t machine;
  int first;
  int count;
};

void ssh_manager::launch(const launch_options& options, launch_sink& sink) {
  std::vector<part> parts;
  for (std::size_t i = 0; i < machines_.size(); ++i)
    if (machines_[i].count != 0)
      parts.push_back({i, 0, machines_[i].count});
  launch(options, sink, parts);
}

void ssh_manager::relaunch(const worker_config& lost, const launch_options& options, launch_sink& sink) {
  launch(options, sink, {{static_cast<std::size_t>(lost.place / places_of_machine), lost.place % places_of_machine, 1}});
}

void ssh_manager::launch(const launch_options& options, launch_sink& sink, const std::vector<part>& parts) {
  check_options(options, "ssh");
  check_variable_names(options.env);
  std::vector<keeper_host> hosts;
  std::vector<std::shared_ptr<way>> ways_there;
  for (auto& p : parts) {
    auto& m = machines_[p.machine];
    ways_there.push_back(std::make_shared<way>());
    if (options_.multiplex)
      ways_there.back()->control_path = new_control_path(m);
    hosts.push_back({m.host, p.count, p.first, static_cast<int>(p.machine) * places_of_machine + p.first,
                     client_of(m, options, ways_there.back()->control_path)});
  }
  keeper_launch::settings s;
  s.context = context_;
  s.kill_after = kill_after;
  s.cookie = options_.cmdline_cookie ? "" : context_.cookie;
  s.max_parallel = options_.max_parallel;
  s.launch_timeout = options.launch_timeout;
  s.client_name = options_.ssh;
  keeper_launch::ways ways;
  ways.started = remembering();
  ways.order = [&](std::size_t host, int index, int count, const keeper_hello& there) {
    keeper_start out;
    out.index = index;
    out.program = program_of(options);
    const int of_machine = machines_[parts[host].machine].count; // one that comes later finds the others' ports taken
    const int tries = std::max(count, of_machine == auto_count ? there.cpus : of_machine);
    out.args = worker_arguments(options, bind_address_of(machines_[parts[host].machine], options, there), tries,
                                options_.cmdline_cookie ? context_.cookie : "");
    out.env = env_of(options.env, index);
    return out;
  };
  ways.explain = [&](std::size_t host, const keeper_session::end& end) {
    auto out = explain_ssh(hosts[host].name, end, dir_of(options), program_of(options));
    if (const auto n = parts[host].count; n != 1)
      out.text = "none of its " + (n == auto_count ? "" : std::to_string(n) + " ") + "workers came: " + out.text;
    return out;
  };
  ways.gone = [ways_there](std::size_t host) { ways_there[host]->end(); };
  std::weak_ptr<keeper_launch> launch;
  if (options_.tunnel)
    ways.all_told = [&](std::size_t host, const std::shared_ptr<keeper_session>&, const std::vector<told_worker>& told) {
      const auto& m = machines_[parts[host].machine];
      const auto& path = ways_there[host]->control_path;
      make_way(launch.lock(), ways_there[host],
               path.empty() ? client_with(m, options, {"-T", "-a", "-x", "-o", "ClearAllForwardings=no", "-o", "ExitOnForwardFailure=yes"})
                            : client_with(m, options, {"-o", control_path_option(path)}),
               m.destination(), told);
    };
  const auto l = std::make_shared<keeper_launch>(s, hosts, ways);
  launch = l;
  {
    std::lock_guard guard{ways_mutex_};
    std::erase_if(ways_, [](auto& weak) { return weak.expired(); });
    ways_.insert(ways_.end(), ways_there.begin(), ways_there.end());
  }
  l->run(sink);
}

void ssh_manager::manage(proc_id id, const worker_config& config, manage_op op) {
  const auto w = started_worker::of(config);
  if (!w)
    return;
  keeper_manager::manage(id, config, op);
  if (op != manage_op::deregistered || !options_.tunnel || !options_.multiplex)
    return;
  std::lock_guard guard{ways_mutex_};
  for (auto& weak : ways_)
    if (const auto there = weak.lock())
      there->cancel(context_, *w);
}

} // namespace troupe
