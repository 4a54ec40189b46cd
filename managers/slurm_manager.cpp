#include "troupe/managers/slurm_manager.hpp"

#include "troupe/managers/keeper_launch.hpp"
#include "troupe/managers/option_parsing.hpp"
#include "troupe/managers/remote_command.hpp"

#include <algorithm>
#include <cstdlib>
#include <numeric>
#include <poll.h>
#include <stdexcept>
#include <unistd.h>

namespace troupe {

namespace {

using namespace std::chrono_literals;

constexpr auto scontrol_time = 20s;
constexpr int places_of_node = 1 << 16;
constexpr int most_counts = 1 << 20; // of nodes, so that a wrong text can't take all memory

std::string variable(const char* name) {
  const auto value = std::getenv(name);
  return value == nullptr ? std::string{} : value;
}

// "host[1-2,5]" has a line for each.
std::vector<std::string> expand(const std::string& list) {
  const auto until = std::chrono::steady_clock::now() + scontrol_time;
  child_process scontrol{{.program = "scontrol", .args = {"show", "hostnames", list}, .dir = {}, .env = {}, .env_removed_prefixes = {}}};
  const auto out = scontrol.take_stdout();
  std::string text;
  for (char buffer[4096];;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
    pollfd p{out.get(), POLLIN, 0};
    const auto n = left > 0ms && ::poll(&p, 1, static_cast<int>(left.count())) > 0 ? ::read(out.get(), buffer, sizeof buffer) : 0;
    if (n <= 0)
      break;
    text.append(buffer, static_cast<std::size_t>(n));
  }
  const auto end = scontrol.wait_until(until);
  if (!end || end->status != 0)
    throw std::runtime_error{"troupe: the nodes of this Slurm allocation can't be found out: scontrol show hostnames " + list + " "
                             + (end ? end->to_text() : "took more than " + std::to_string(scontrol_time.count()) + " s")};
  std::vector<std::string> names;
  for (std::size_t begin = 0; begin < text.size();) {
    const auto line_end = std::min(text.find('\n', begin), text.size());
    if (line_end > begin)
      names.push_back(text.substr(begin, line_end - begin));
    begin = line_end + 1;
  }
  if (names.empty())
    throw std::runtime_error{"troupe: the nodes of this Slurm allocation can't be found out: scontrol show hostnames " + list
                             + " printed none"};
  return names;
}

} // namespace

std::vector<int> parse_slurm_counts(std::string_view text) {
  const auto wrong = [whole = std::string{text}] { return usage_error{"Slurm's '" + whole + "' isn't a list of numbers such as 4(x2),1"}; };
  std::vector<int> out;
  while (!text.empty()) {
    auto one = text.substr(0, text.find(','));
    text.remove_prefix(std::min(text.size(), one.size() + 1));
    int times = 1;
    if (const auto open = one.find("(x"); open != std::string_view::npos) {
      if (!one.ends_with(')') || !detail::parse_option(std::string{one.substr(open + 2, one.size() - open - 3)}, times))
        throw wrong();
      one = one.substr(0, open);
    }
    int n = 0;
    if (!detail::parse_option(std::string{one}, n) || n < 1 || times < 1 || times > most_counts - static_cast<int>(out.size()))
      throw wrong();
    out.insert(out.end(), static_cast<std::size_t>(times), n);
  }
  return out;
}

// By the largest remainders.
std::vector<int> share_among(const std::vector<slurm_node>& nodes, int count) {
  const auto all = std::accumulate(nodes.begin(), nodes.end(), std::int64_t{0}, [](auto n, auto& node) { return n + node.tasks; });
  if (count == auto_count)
    count = static_cast<int>(all);
  std::vector<int> out;
  std::vector<std::pair<std::int64_t, std::size_t>> rest;
  int given = 0;
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    const auto share = std::int64_t{count} * nodes[i].tasks;
    out.push_back(static_cast<int>(share / all));
    given += out.back();
    rest.emplace_back(-(share % all), i);
  }
  std::sort(rest.begin(), rest.end());
  for (std::size_t i = 0; given < count; ++i, ++given)
    ++out[rest[i].second];
  return out;
}

std::vector<slurm_node> slurm_allocation() {
  const auto list = variable("SLURM_JOB_NODELIST");
  if (list.empty())
    throw usage_error{"--slurm starts workers inside a Slurm allocation, and this program isn't in one (SLURM_JOB_NODELIST isn't set): try "
                      "salloc -n 8 PROGRAM --slurm"};
  const auto names = expand(list);
  const auto counts = [&](const char* name) {
    auto out = parse_slurm_counts(variable(name));
    if (!out.empty() && out.size() != names.size())
      throw usage_error{std::string{name} + " is '" + variable(name) + "', for " + std::to_string(out.size()) + " nodes, and there are "
                        + std::to_string(names.size())};
    return out;
  };
  const auto cpus = counts("SLURM_JOB_CPUS_PER_NODE");
  const auto tasks = counts("SLURM_TASKS_PER_NODE");
  std::vector<slurm_node> out;
  for (std::size_t i = 0; i < names.size(); ++i) {
    const int n = cpus.empty() ? 1 : cpus[i];
    out.push_back({names[i], tasks.empty() ? n : tasks[i], n});
  }
  return out;
}

child_options slurm_step(const slurm_node& node, const launch_options& options) {
  child_options out;
  out.program = "srun";
  out.args = {
    "--nodes=1",    "--ntasks=1", "--nodelist=" + node.name, "--cpus-per-task=" + std::to_string(node.cpus), "--overlap", "--mpi=none",
    "--unbuffered", "--quiet"};
  if (!options.dir.empty())
    out.args.push_back("--chdir=" + options.dir);
  out.args.push_back(options.exename.empty() ? own_program() : options.exename);
  out.args.insert(out.args.end(), options.exeflags.begin(), options.exeflags.end());
  out.args.insert(out.args.end(), {"--worker", "--keeper",
                                   "--launch-timeout=" + std::to_string(static_cast<double>(options.launch_timeout.count()) / 1000)});
  // srun hands the environment on, and this is not how the node was reached
  out.env_removed_prefixes = launcher_variables();
  out.env_removed_prefixes.emplace_back("SSH_CONNECTION");
  return out;
}

slurm_manager::slurm_manager(int count, launch_options options) : count_(count), options_(std::move(options)) {
  if (count < 1 && count != auto_count)
    throw usage_error{"--slurm: " + std::to_string(count) + " workers were asked for"};
}

std::string slurm_manager::to_text() const { return "slurm_manager(" + (count_ == auto_count ? "auto" : std::to_string(count_)) + ")"; }

void slurm_manager::launch(const launch_options& options, launch_sink& sink) {
  const auto nodes = slurm_allocation();
  const auto counts = share_among(nodes, count_);
  std::vector<part> parts;
  for (std::size_t i = 0; i < nodes.size(); ++i)
    if (counts[i] > 0)
      parts.push_back({nodes[i], static_cast<int>(i), 0, counts[i]});
  launch(options, sink, parts);
}

void slurm_manager::relaunch(const worker_config& lost, const launch_options& options, launch_sink& sink) {
  const auto nodes = slurm_allocation();
  const auto n = static_cast<std::size_t>(lost.place / places_of_node);
  launch(options, sink, {{nodes.at(n), static_cast<int>(n), lost.place % places_of_node, 1}});
}

void slurm_manager::launch(const launch_options& options, launch_sink& sink, const std::vector<part>& parts) {
  check_options(options, "Slurm");
  check_variable_names(options.env);
  std::vector<keeper_host> hosts;
  for (auto& p : parts)
    hosts.push_back({p.node.name, p.count, p.first, p.number * places_of_node + p.first, slurm_step(p.node, options)});
  keeper_launch::settings s;
  s.context = context_;
  s.kill_after = local_options{}.kill_after;
  s.cookie = context_.cookie;
  s.launch_timeout = options.launch_timeout;
  s.client_name = "srun";
  keeper_launch::ways ways;
  ways.started = remembering();
  ways.order = [&](std::size_t host, int index, int count, const keeper_hello& there) {
    keeper_start out;
    out.index = index;
    out.program = options.exename.empty() ? own_program() : options.exename;
    out.args =
      worker_arguments(options, options.bind_addr.empty() ? there.address : options.bind_addr, std::max(count, parts[host].node.cpus), "");
    out.env = env_of(options.env, index);
    return out;
  };
  ways.explain = [&](std::size_t host, const keeper_session::end& end) {
    launch_failure out{hosts[host].name, end.noisy ? launch_reason::noise : launch_reason::no_address, end.state.status, {}};
    out.text = "none of its " + std::to_string(parts[host].count) + " workers came: srun " + end.state.to_text()
               + " before the program said that it's there";
    if (!end.tail.empty())
      out.text += "; the last lines of stderr:\n" + end.tail;
    return out;
  };
  const auto l = std::make_shared<keeper_launch>(s, hosts, ways);
  l->run(sink);
}

} // namespace troupe
