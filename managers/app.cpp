#include "troupe/managers/app.hpp"

#include "troupe/actors/waiter.hpp"
#include "troupe/managers/bind_address.hpp"
#include "troupe/managers/host_keeper.hpp"
#include "troupe/managers/interrupts.hpp"
#include "troupe/managers/master.hpp"
#include "troupe/managers/mpi_job.hpp"
#include "troupe/managers/mpi_rank_manager.hpp"
#include "troupe/managers/mpirun_manager.hpp"
#include "troupe/managers/rank_keeper.hpp"
#include "troupe/managers/rank_output.hpp"
#include "troupe/managers/slurm_manager.hpp"
#include "troupe/managers/start_line.hpp"
#include "troupe/managers/usable_cpus.hpp"
#include "troupe/managers/worker.hpp"
#include "troupe/transport/cookie.hpp"
#include "troupe/transport/log.hpp"
#include "troupe/transport/transports.hpp"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <limits>
#include <netdb.h>
#include <optional>
#include <sstream>
#include <thread>
#include <unistd.h>
#include <utility>

namespace troupe {

namespace {

using namespace std::chrono_literals;

// Ctrl-C ends a program whose body doesn't notice it within this time.
constexpr auto interrupt_time = 2s;
// A function of mpi_do that was told to end has this long before the user hears of it.
constexpr auto run_end_time = 500ms;

// The options that every application has.
struct standard_options {
  std::string procs = "0";
  int threads = 1;
  std::vector<std::string> hosts;
  std::string hostfile;
  std::string slurm;
  std::string bind_addr;
  std::string cookie_file;
  double launch_timeout = 60;
  std::string topology;
  bool lazy = true;
  std::string listen;
  std::string join;
  int mpi = 0;
  std::string mpi_cmd = mpi_options{}.mpi_cmd;
  bool mpi_transport = false;
  bool tcp_transport = false;
};

struct variable {
  const char* option;
  const char* name;
};

// Where CLI11 would let a configuration file win over the environment, these are taken as if they stood on the command line, unless they do.
constexpr variable variables[] = {
  {"--procs", "TROUPE_PROCS"},
  {"--threads", "TROUPE_THREADS"},
  {"--slurm", "TROUPE_SLURM"},
  {"--host", "TROUPE_HOST"},
  {"--hostfile", "TROUPE_HOSTFILE"},
  {"--bind-addr", "TROUPE_BIND_ADDR"},
  {"--cookie-file", "TROUPE_COOKIE_FILE"},
  {"--launch-timeout", "TROUPE_LAUNCH_TIMEOUT"},
  {"--config", "TROUPE_CONFIG"},
  {"--log-level", "TROUPE_LOG_LEVEL"},
  {"--topology", "TROUPE_TOPOLOGY"},
  {"--lazy", "TROUPE_LAZY"},
  {"--mpi", "TROUPE_MPI"},
  {"--mpi-cmd", "TROUPE_MPI_CMD"},
  {"--mpi-transport", "TROUPE_MPI_TRANSPORT"},
  {"--tcp-transport", "TROUPE_TCP_TRANSPORT"},
};

bool stands_in(const std::vector<std::string>& args, const CLI::Option& option) {
  return std::any_of(args.begin(), args.end(), [&](const std::string& arg) {
    for (auto& name : option.get_lnames())
      if (arg == "--" + name || arg.starts_with("--" + name + "="))
        return true;
    for (auto& name : option.get_snames())
      if (arg.starts_with("-" + name) && !arg.starts_with("--"))
        return true;
    return false;
  });
}

int parse_procs(const std::string& text) {
  if (text == "auto")
    return usable_cpus();
  int n = 0;
  if (!detail::parse_option(text, n) || n < 0)
    throw CLI::ValidationError("--procs", "'" + text + "' is neither a number of workers nor 'auto'");
  return n;
}

// auto_count, or how many.
int parse_slurm(const std::string& text) {
  int n = 0;
  if (text.empty() || text == "auto")
    return auto_count;
  if (!detail::parse_option(text, n) || n < 1)
    throw CLI::ValidationError("--slurm", "'" + text + "' is neither a number of workers nor 'auto'");
  return n;
}

// CLI11's own check answers with a limit of 300 digits.
std::string check_positive(const std::string& text) {
  double x = 0;
  return detail::parse_option(text, x) && x > 0 ? std::string{} : "'" + text + "' is not a positive number";
}

// CLI11 throws something else than its errors for what is none of its words for yes and no.
std::string check_flag(const std::string& text) {
  try {
    CLI::detail::to_flag_value(text);
    return {};
  } catch (const std::exception&) {
    return "'" + text + "' is neither yes nor no";
  }
}

// "--verbose" becomes "--verbose,!--no-verbose"
std::string with_opposite(const std::string& names) {
  auto at = names.find("--");
  if (at == std::string::npos)
    return names;
  auto end = std::min(names.find(',', at), names.size());
  return names + ",!--no-" + names.substr(at + 2, end - at - 2);
}

std::vector<machine_spec> machines_of(const standard_options& options) {
  std::vector<machine_spec> out;
  try {
    for (auto& text : options.hosts)
      out.emplace_back(text);
  } catch (const usage_error& e) {
    throw CLI::ValidationError("--host", e.what());
  }
  try {
    if (!options.hostfile.empty())
      for (auto& m : read_hostfile(options.hostfile))
        out.push_back(m);
  } catch (const usage_error& e) {
    throw CLI::ValidationError("--hostfile", e.what());
  }
  return out;
}

// `shared`: workers that come by themselves need the same one.
std::string cookie_from(const std::string& file, bool shared) {
  try {
    if (!shared)
      return file.empty() ? make_cookie() : read_cookie_file(file);
    return read_or_make_cookie_file(file.empty() ? default_cookie_file().string() : file);
  } catch (const std::exception& e) {
    throw CLI::ValidationError("--cookie-file", e.what());
  }
}

// Whoever wants the program to end waits neither for workers that hang nor for output that nobody reads. Workers whose master
// has gone end by themselves.
void end_within(std::chrono::milliseconds limit, int status) {
  std::thread{[limit, status] {
    std::this_thread::sleep_for(limit);
    ::_exit(status);
  }}.detach();
}

// A program that was started without them: the descriptors that it opens next would get their numbers, and what is printed.
void open_standard_streams() {
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd)
    if (::fcntl(fd, F_GETFD) < 0 && errno == EBADF)
      static_cast<void>(::open("/dev/null", O_RDWR)); // the lowest number that is free
}

// "--worker", or "--worker=COOKIE".
std::string_view worker_argument(const char* arg) {
  const std::string_view text = arg;
  return text == "--worker" || text.starts_with("--worker=") ? text : std::string_view{};
}

bool is_worker(int argc, char** argv) {
  return std::any_of(argv + std::min(argc, 1), argv + argc, [](const char* arg) { return !worker_argument(arg).empty(); });
}

bool has_argument(int argc, char** argv, const char* text) {
  return std::any_of(argv + std::min(argc, 1), argv + argc, [&](const char* arg) { return std::strcmp(arg, text) == 0; });
}

std::string file_name(const char* path) {
  auto slash = std::strrchr(path, '/');
  return slash == nullptr ? path : slash + 1;
}

} // namespace

bool detail::parse_bool(std::string_view text, bool& value) {
  auto is = [&](std::initializer_list<std::string_view> words) { return std::find(words.begin(), words.end(), text) != words.end(); };
  if (is({"true", "yes", "on", "1"}))
    value = true;
  else if (is({"false", "no", "off", "0"}))
    value = false;
  else
    return false;
  return true;
}

struct app::state {
  state(const std::string& name, const std::string& description) : cli(description, name) {
    cli.allow_config_extras(CLI::config_extras_mode::error); // a name that was mistyped must not go unnoticed
  }

  CLI::App cli;
  standard_options standard;
  std::vector<const CLI::Option*> not_sent; // standard options, and the help
  std::string version;
  std::string name;
  bool has_run = false;

  void add_log_level();
  void add_standard_options();
  option_values collect() const;
  void apply(const option_values& values);
  worker_settings parse_worker(int argc, char** argv) const;

  using body_function = std::function<int(cluster&)>;
  /// Makes a cluster of the ranks of an MPI job: sets what the master needs for that, and returns who brings them in.
  using job_start = std::function<std::shared_ptr<mpi_world>(master::settings&)>;
  int run_alone_or_in_job(int argc, char** argv, const void* part, const body_function& body);
  /// `leave`: ends the job when something of the program can't be ended. May be empty, if there's no job.
  int run_master(int argc, char** argv, const body_function& body, const job_start& in_job = nullptr,
                 const std::function<void(int status)>& leave = nullptr);
  int run_guest();
  void tell_guests(const endpoint& where, const std::string& program) const;
  int run_rank(int argc, char** argv, mpi_job& job, rank_keeper& keeper, bool over_mpi);
  int run_launched_rank(int argc, char** argv);
  int run_launched_rank(worker_settings settings, mpi_job& job, rank_keeper& keeper);
  int serve(prepared_worker w, mpi_job& job, rank_keeper& keeper);
};

app::app(std::string name, std::string description, std::string version) : state_(std::make_unique<state>(name, description)) {
  state_->name = std::move(name);
  state_->version = std::move(version);
}

app::~app() = default;

CLI::App& app::cli() { return state_->cli; }

void app::transport(const std::string& scheme, std::function<std::shared_ptr<troupe::transport>()> make) {
  if (state_->has_run)
    throw usage_error{"app::transport comes before app::run: processes that run already don't know '" + scheme + "'"};
  transports::add(scheme, std::move(make));
}

CLI::Option& app::add(option_slot slot) {
  auto shared = std::make_shared<const option_slot>(std::move(slot));
  CLI::callback_t set = [shared](const std::vector<std::string>& texts) {
    std::string wrong;
    if (!shared->set(texts, wrong))
      throw CLI::ConversionError{shared->name + ": '" + wrong + "' is no " + shared->element_type, CLI::ExitCodes::ConversionError};
    return true;
  };
  auto& cli = state_->cli;
  if (shared->flag)
    return *cli.add_flag_function(
                 with_opposite(shared->name), [set](std::int64_t n) { set({n > 0 ? "yes" : "no"}); }, shared->description)
              ->check(check_flag);
  auto option = cli.add_option(shared->name, set, shared->description);
  option->type_name(shared->many ? shared->type : "(" + shared->type + ")");
  if (shared->many)
    option->expected(1, CLI::detail::expected_max_vector_size)->allow_extra_args();
  if (!shared->shown_default.empty())
    option->default_str(shared->shown_default);
  return *option;
}

// Of the standard options, the one that is sent to all workers.
void app::state::add_log_level() {
  if (cli.get_option_no_throw("--log-level") != nullptr)
    return;
  const CLI::callback_t set = [](const std::vector<std::string>& words) {
    const auto level = parse_log_level(words.back());
    if (!level)
      throw CLI::ValidationError("--log-level", "'" + words.back() + "' is none of off, error, warning, info");
    set_log_level(*level);
    return true;
  };
  cli.add_option("--log-level", set, "what troupe itself says on stderr: off, error, warning or info")
    ->group("Cluster")
    ->type_name("(level)")
    ->default_str("info");
}

void app::state::add_standard_options() {
  add_log_level();
  auto add = [this](const char* option_name, auto& value, const char* description, const char* type) {
    auto option = cli.add_option(option_name, value, description);
    option->group("Cluster")->type_name(type);
    return option;
  };
  add("-p,--procs", standard.procs, "workers on this host, or 'auto': one for each CPU", "(number or auto)")->default_str("0");
  add("--host", standard.hosts,
      "workers that ssh starts on this host; can be repeated: [user@]host[:port] [address[:port]], with '4*' or 'auto*' in front or behind",
      "(machine)")
    ->expected(1)
    ->take_all();
  add("--hostfile", standard.hostfile, "a file with one such machine in each line", "(file)");
  add("--slurm", standard.slurm, "workers in this Slurm allocation; default: one for each of its tasks", "(number or auto)")
    ->expected(0, 1);
  add("--threads", standard.threads, "tasks that each process runs at a time", "(number)")->check(check_positive)->capture_default_str();
  add("--bind-addr", standard.bind_addr, "where workers listen; default: 127.0.0.1", "(address)");
  add("--cookie-file", standard.cookie_file, "a file with the cluster's cookie, which only you can read; default: a random one", "(file)");
  add("--launch-timeout", standard.launch_timeout, "how long a worker may take to join, in seconds", "(seconds)")
    ->check(check_positive)
    ->capture_default_str();
  add("--mpi", standard.mpi, "workers that mpirun starts, the ranks of one MPI job", "(number)")->check(check_positive);
  add("--mpi-cmd", standard.mpi_cmd, "how they are started; {np} is their number", "(command)")->capture_default_str();
  add("--topology", standard.topology, "which workers may call each other; default: all-to-all", "(all-to-all or master-worker)")
    ->check([](const std::string& word) -> std::string {
      try {
        if (topology_choice{word} != topology::custom)
          return {};
        return "'custom' needs a manager that says which workers are to be connected";
      } catch (const usage_error& e) {
        return e.what();
      }
    });
  cli.add_flag("--lazy,!--no-lazy", standard.lazy, "whether links between workers open on first use; default: yes")
    ->group("Cluster")
    ->check(check_flag);
  const auto listen =
    add("--listen", standard.listen, "let workers in that come by themselves, with --join; default: at all addresses", "(address)")
      ->expected(0, 1);
  const auto join = add("--join", standard.join, "run as a worker of the program that listens there", "(host:port)")->excludes(listen);
  for (auto other : {"--procs", "--mpi"})
    join->excludes(cli.get_option(other));
  auto over_mpi =
    cli.add_flag("--mpi-transport", standard.mpi_transport, "under mpirun: the ranks are the cluster, and their messages travel by MPI")
      ->group("Cluster");
  cli.add_flag("--tcp-transport", standard.tcp_transport, "under mpirun: the ranks are the cluster, and their messages travel by TCP")
    ->group("Cluster")
    ->excludes(over_mpi);
  cli.set_config("--config", "", "a file with options, NAME = VALUE")->group("Cluster")->type_name("(file)");
  cli.set_version_flag("--version", version.empty() ? name + ", on troupe " TROUPE_VERSION : name + " " + version);
  cli.footer("Standard options can also be given as environment variables, such as TROUPE_PROCS=4; the command line wins over\n"
             "these, and these over the file.");
}

namespace {

// A name by which CLI11 finds the option again.
std::string findable_name(const CLI::Option& option) {
  if (!option.get_lnames().empty())
    return "--" + option.get_lnames().front();
  if (!option.get_snames().empty())
    return "-" + option.get_snames().front();
  return option.get_name(true);
}

// Whether the value of an option comes from the environment. A variable that is empty counts as not there.
bool stands_in_environment(const variable& v, const std::vector<std::string>& args, const CLI::App& cli) {
  auto option = cli.get_option_no_throw(v.option);
  auto value = std::getenv(v.name);
  return option != nullptr && value != nullptr && *value != '\0' && !stands_in(args, *option);
}

// CLI11 takes arguments from the back.
std::vector<std::string> arguments(int argc, char** argv, const CLI::App& cli) {
  std::vector<std::string> args(argv + std::min(argc, 1), argv + argc);
  std::vector<std::string> from_environment;
  for (auto& v : variables)
    if (stands_in_environment(v, args, cli))
      from_environment.push_back(std::string{v.option} + "=" + std::getenv(v.name));
  args.insert(args.begin(), from_environment.begin(), from_environment.end());
  std::reverse(args.begin(), args.end());
  return args;
}

// What is wrong with the command line, the environment or the file.
std::string describe(const CLI::ParseError& e, int argc, char** argv, const CLI::App& cli) {
  std::string text = e.what();
  constexpr std::string_view unknown = "INI was not able to parse ";
  if (text.starts_with(unknown))
    return "--config: the file has '" + text.substr(unknown.size()) + "', which is no option";
  std::vector<std::string> args(argv + std::min(argc, 1), argv + argc);
  for (auto& v : variables)
    if (text.starts_with(std::string{v.option} + ":") && stands_in_environment(v, args, cli))
      text += std::string{" (from the environment: "} + v.name + ")";
  return text;
}

void print_error(const std::string& program, const std::exception& e, int depth = 0) {
  std::cout.flush();
  std::fprintf(stderr, "%s%s: %s\n", std::string(static_cast<std::size_t>(2 * depth), ' ').c_str(),
               depth == 0 ? program.c_str() : "caused by", e.what());
  try {
    std::rethrow_if_nested(e);
  } catch (const std::exception& cause) {
    print_error(program, cause, depth + 1);
  } catch (...) {
    std::fprintf(stderr, "  caused by: an exception that is not derived from std::exception\n");
  }
}

} // namespace

option_values app::state::collect() const {
  option_values out;
  for (auto option : cli.get_options()) {
    if (std::find(not_sent.begin(), not_sent.end(), option) == not_sent.end() && !option->results().empty())
      out.emplace_back(findable_name(*option), option->results());
  }
  return out;
}

void app::state::apply(const option_values& values) {
  add_log_level();
  for (auto& [option_name, texts] : values) {
    auto option = cli.get_option_no_throw(option_name);
    if (option == nullptr)
      throw usage_error{"the master has an option " + option_name + ", this worker has none: do they run the same program?"};
    option->clear();
    for (auto& text : texts)
      option->add_result(text);
    try {
      option->run_callback();
    } catch (const CLI::Error& e) {
      throw usage_error{"the master's value of " + option_name + " isn't accepted by this worker: " + e.what()};
    }
  }
}

worker_settings app::state::parse_worker(int argc, char** argv) const {
  worker_settings s;
  CLI::App worker{"a worker", name};
  worker.allow_extras();
  std::vector<std::string> args;
  for (int i = argc - 1; i > 0; --i)
    if (const auto word = worker_argument(argv[i]); word.empty())
      args.push_back(argv[i]);
    else if (word.find('=') != std::string_view::npos)
      s.cookie = word.substr(word.find('=') + 1);
  worker.add_flag("--keeper", s.keeper);
  worker.add_flag("--close-stdin", s.close_stdin);
  worker.add_flag("--stderr-to-stdout", s.stderr_to_stdout);
  worker.add_flag("--tied", s.tied);
  worker.add_option("--bind-addr", s.bind_addr);
  worker.add_option("--bind-tries", s.bind_tries);
  worker.add_option("--launch-timeout", s.launch_timeout)->check(check_positive);
  worker.add_option("--threads", s.threads)->check(check_positive);
  worker.add_option("--mpi-thread-level", s.mpi_thread_level);
  worker.parse(args);
  return s;
}

int app::run_body_on(int argc, char** argv, const void* part, const std::function<int(cluster&)>& body) {
  const auto is_worker = troupe::is_worker(argc, argv);
  if (state_->name.empty() && argc > 0)
    state_->name = file_name(argv[0]);
  open_standard_streams();
  try {
    if (std::exchange(state_->has_run, true))
      throw usage_error{"app::run was called twice: an app runs once"};
    if (!is_worker)
      return state_->run_alone_or_in_job(argc, argv, part, body);
    if (has_argument(argc, argv, "--mpi-rank"))
      return state_->run_launched_rank(argc, argv);
    const auto settings = state_->parse_worker(argc, argv);
    if (settings.keeper)
      return run_host_keeper(std::chrono::milliseconds{static_cast<std::int64_t>(settings.launch_timeout * 1000)});
    return run_worker(settings, [this](const option_values& values) { state_->apply(values); });
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() == 0)
      return state_->cli.exit(e);
    auto why = describe(e, argc, argv, state_->cli);
    std::fprintf(stderr, "%s: %s\nRun it with --help to see what it takes.\n", state_->name.c_str(), why.c_str());
    return 2;
  } catch (const std::exception& e) {
    print_error(state_->name, e);
    return 1;
  }
}

namespace {

// HOST:PORT, [ADDRESS]:PORT
endpoint parse_host_and_port(const std::string& text) {
  endpoint out;
  try {
    out = parse_bind_address(text);
  } catch (const usage_error&) {
    out.port = 0;
  }
  if (out.address.empty() || out.port == 0)
    throw CLI::ValidationError("--join", "'" + text + "' is not HOST:PORT");
  return out;
}

// All that a name stands for.
std::vector<std::string> addresses_of(const std::string& host) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* all = nullptr;
  if (const auto problem = ::getaddrinfo(host.c_str(), nullptr, &hints, &all); problem != 0)
    throw CLI::ValidationError("--join", "the host '" + host + "' can't be found: " + ::gai_strerror(problem));
  std::vector<std::string> out;
  for (auto i = all; i != nullptr; i = i->ai_next) {
    char text[NI_MAXHOST] = {};
    if (::getnameinfo(i->ai_addr, i->ai_addrlen, text, sizeof text, nullptr, 0, NI_NUMERICHOST) == 0)
      out.emplace_back(text);
  }
  ::freeaddrinfo(all);
  return out;
}

// The file of --config, if one is given.
std::string config_file(int argc, char** argv) {
  constexpr std::string_view option = "--config";
  for (int i = 1; i < argc; ++i) {
    const std::string_view arg = argv[i];
    if (arg == option && i + 1 < argc)
      return argv[i + 1];
    if (arg.starts_with(option) && arg.substr(option.size()).starts_with('='))
      return std::string{arg.substr(option.size() + 1)};
  }
  const auto value = std::getenv("TROUPE_CONFIG");
  return value == nullptr ? "" : value;
}

// What is wrong with the file is told when all of it is parsed, by rank 0.
bool stands_in_file(const std::string& file, std::string_view option, const CLI::App& cli) {
  if (file.empty())
    return false;
  try {
    for (auto& item : cli.get_config_formatter()->from_file(file)) {
      bool on = false;
      if (item.parents.empty() && item.name == option && item.inputs.size() == 1 && detail::parse_bool(item.inputs.front(), on))
        return on;
    }
  } catch (const CLI::Error&) {
  }
  return false;
}

// A flag of all ranks, which only rank 0 parses with the rest: on the command line, in the environment or the file, in this order.
bool is_asked_for(int argc, char** argv, const std::string& flag, const char* name, const CLI::App& cli) {
  if (has_argument(argc, argv, flag.c_str()))
    return true;
  bool on = false;
  if (const auto value = std::getenv(name); value != nullptr && detail::parse_bool(value, on))
    return on;
  return stands_in_file(config_file(argc, argv), flag.substr(2), cli);
}

// Whether the launcher of this process has been told to let the others live when a rank dies: mpirun is the parent of its proxy, which is
// this process's, where it runs on this host.
bool others_survive() {
  auto pid = ::getppid();
  for (int i = 0; i < 3 && pid > 1; ++i) {
    std::ifstream command{"/proc/" + std::to_string(pid) + "/cmdline"};
    if (const std::string text{std::istreambuf_iterator<char>{command}, {}}; text.find(mpi_survival_flag) != std::string::npos)
      return true;
    const auto fields = stat_fields(pid);
    int parent = 0;
    if (fields.size() < 2 || !detail::parse_option(fields[1], parent))
      return false;
    pid = parent;
  }
  return false;
}

// How long ranks may take to come to their ends when the master has, and has told them to.
constexpr auto job_end_time = 5s;

// What rank 0 tells the others before they are a cluster: nothing if it won't be one.
struct job_settings {
  std::string cookie;
  int threads = 1;
  double launch_timeout = 60;
  bool survivable = false;

  std::string to_text() const {
    return cookie + ' ' + std::to_string(threads) + ' ' + std::to_string(launch_timeout) + (survivable ? " 1" : " 0");
  }
  static std::optional<job_settings> from_text(const std::string& text) {
    std::istringstream in{text};
    job_settings out;
    if (!(in >> out.cookie >> out.threads >> out.launch_timeout >> out.survivable))
      return std::nullopt;
    return out;
  }
};

} // namespace

// Under mpirun the command line tells how the messages travel; all ranks see the same one.
int app::state::run_alone_or_in_job(int argc, char** argv, const void* part, const body_function& body) {
  const auto ranks = part != nullptr ? *static_cast<const MPI_Comm*>(part) : MPI_COMM_WORLD;
  const auto rank = part != nullptr ? mpi_job::rank_in(ranks) : mpi_job::rank_from_environment();
  if (part != nullptr && !rank)
    return 0;
  const bool over_mpi = is_asked_for(argc, argv, "--mpi-transport", "TROUPE_MPI_TRANSPORT", cli);
  const bool over_tcp = is_asked_for(argc, argv, "--tcp-transport", "TROUPE_TCP_TRANSPORT", cli);
  const bool asks = has_argument(argc, argv, "--help") || has_argument(argc, argv, "-h") || has_argument(argc, argv, "--version");
  if (rank.value_or(0) > 0 && (asks || over_mpi == over_tcp))
    return asks ? 0 : 1; // rank 0 says what there is to say
  if (asks || (!rank && !over_mpi && !over_tcp) || (over_mpi && over_tcp))
    return run_master(argc, argv, body);
  const bool by_srun = std::getenv("SLURM_STEP_ID") != nullptr;
  const std::string option = over_mpi ? "--mpi-transport" : "--tcp-transport";
  if (!rank)
    throw usage_error{
      option + " makes the ranks of an MPI job a cluster, and "
      + (by_srun ? "srun has started this process without MPI: srun --mpi=pmi2 -n 4 " : "mpirun has not started this process: mpirun -n 4 ")
      + name + ' ' + option};
  if (!over_mpi && !over_tcp)
    throw usage_error{
      std::string{by_srun ? "srun" : "mpirun"}
      + " has started this process, and it isn't told how the ranks' messages are to travel: add --mpi-transport, or --tcp-transport"};
  std::optional<rank_keeper> keeper;
  const bool survivable = *rank == 0 && others_survive();
  if (*rank != 0 || survivable)
    keeper.emplace(rank_keeper::mode::joined);
  mpi_job job{ranks};
  if (job.rank() != 0)
    return run_rank(argc, argv, job, *keeper, over_mpi);
  if (survivable)
    keeper->let_others_survive();
  int status = 1;
  bool told = false;
  std::shared_ptr<mpi_world> world;
  const auto end_job = [&](int with) {
    if (world && world->ends_apart())
      return job.end_apart();
    if (job.wait_for_all(job_end_time))
      return;
    std::fprintf(stderr, "%s: not all ranks have ended within %d s of the program's end: aborting the MPI job\n", name.c_str(),
                 static_cast<int>(job_end_time.count()));
    job.abort(with == 0 ? 1 : with);
  };
  const auto leave = [&](int with) {
    job.stop_exchange();
    if (job.running() && !job.wait_for_run(run_end_time)) {
      std::fprintf(stderr, "%s: a function of mpi_do is in an MPI call that can't be ended, or computes: aborting the MPI job\n",
                   name.c_str());
      job.abort(with == 0 ? 1 : with);
    }
    end_job(with);
    job.finish();
  };
  const auto join = [&](master::settings& m) {
    told = true;
    job.share(job_settings{m.cookie, m.threads, static_cast<double>(m.launch_timeout.count()) / 1000, survivable}.to_text());
    if (over_mpi)
      m.net = job.make_transport();
    else
      job.reachable_address();
    world = std::make_shared<mpi_rank_manager>(job.gather({}));
    if (survivable)
      world->set_survivable();
    return m.job = world;
  };
  try {
    status = run_master(argc, argv, body, join, leave);
  } catch (const std::exception& e) {
    if (told) { // the others count on this one
      print_error(name, e);
      job.abort(1);
    }
    job.share({});
    throw;
  }
  end_job(status);
  return status;
}

int app::state::run_rank(int argc, char** argv, mpi_job& job, rank_keeper& keeper, bool over_mpi) {
  const auto told = job_settings::from_text(job.share({}));
  if (!told)
    return 1; // rank 0 has said why
  if (told->survivable)
    keeper.let_others_survive();
  std::signal(SIGINT, SIG_IGN); // mpirun gives it to all ranks; it is the master's
  bool announced = false;
  try {
    prepared_worker w;
    w.settings = parse_worker(argc, argv);
    w.settings.threads = told->threads;
    w.settings.launch_timeout = told->launch_timeout;
    w.cookie = told->cookie;
    if (over_mpi)
      w.net = job.make_transport();
    else if (const auto address = job.reachable_address(); w.settings.bind_addr == worker_settings{}.bind_addr)
      w.settings.bind_addr = address;
    w.announce = [&](const endpoint& where) {
      job.gather({where, ::getpid(), host_name()});
      announced = true;
    };
    return serve(std::move(w), job, keeper);
  } catch (const std::exception& e) {
    if (announced)
      throw;
    print_error(name + ", rank " + std::to_string(job.rank()), e); // all the others would wait for this one
    job.abort(1);
  }
}

// What ranks have in common, however they came to be workers.
int app::state::serve(prepared_worker w, mpi_job& job, rank_keeper& keeper) {
  w.before_exit = [&] {
    // MPI can't be ended meanwhile, and to exit without that would end the others too early, unless each ends by itself
    if (!job.ends_apart() && !job.wait_for_run(run_end_time)) {
      process::warn("a function of mpi_do is in an MPI call that can't be ended, or computes: this rank stays until its job is ended");
      job.wait_for_run();
    }
    job.finish();
  };
  w.joined = [&](proc_id id) { keeper.label(id); };
  w.leaving = [&](bool apart) {
    rank_output::leave();
    if (apart)
      job.end_apart();
    job.stop_exchange();
    job.stop_runs(std::numeric_limits<std::uint64_t>::max(), "this process leaves the cluster");
  };
  return run_worker(std::move(w), [this](const option_values& values) { apply(values); });
}

// Under the master's mpirun_manager, which see.
int app::state::run_launched_rank(int argc, char** argv) {
  auto settings = parse_worker(argc, argv);
  rank_keeper keeper{rank_keeper::mode::launched};
  mpi_job job{MPI_COMM_WORLD, settings.mpi_thread_level < 0 ? MPI_THREAD_MULTIPLE : settings.mpi_thread_level};
  try {
    return run_launched_rank(std::move(settings), job, keeper);
  } catch (const std::exception& e) {
    print_error(name + ", rank " + std::to_string(job.rank()), e); // all the others would wait for this one
    job.abort(1);
  }
}

int app::state::run_launched_rank(worker_settings settings, mpi_job& job, rank_keeper& keeper) {
  const auto limit = launch_limit(settings);
  std::string text;
  if (job.rank() == 0) {
    try {
      text = read_setting_line(limit, "the cluster's cookie as the first line");
      text += ' ' + read_setting_line(limit, "where its master listens as the second line");
    } catch (const std::exception& e) {
      print_error(name, e);
      text.clear();
    }
  }
  const auto orders = mpi_job_orders::from_text(job.share(text));
  const auto ranks = job.gather({{}, ::getpid(), host_name()});
  if (!orders)
    return 1;
  if (job.rank() == 0) {
    mpi_job_line answer;
    for (auto& r : ranks)
      answer.ranks.push_back({r.os_pid, r.host});
    std::printf("%s\n", answer.to_text().c_str());
    std::fflush(stdout);
    try {
      text = job.size() == orders->np ? read_setting_line(limit, "the word to go as the third line") : std::string{};
    } catch (const std::exception&) {
      text.clear(); // the master has given it up, and knows why
    }
  }
  if (job.share(text) != "go")
    return 1;
  if (orders->survivable)
    keeper.let_others_survive();
  settings.tied = job.rank() == 0;
  if (settings.tied)
    job.tie_to_input();
  const auto reachable = job.reachable_address();
  if (settings.bind_addr == worker_settings{}.bind_addr || !is_own_address(settings.bind_addr, interface_addresses()))
    settings.bind_addr = reachable;
  prepared_worker w;
  w.settings = std::move(settings);
  w.cookie = orders->cookie;
  w.announce = [](const endpoint&) {};
  const auto claim = orders->secret + "-" + std::to_string(job.rank());
  if (orders->master_host == host_name())
    w.master = {{{"127.0.0.1", orders->master.port}, claim}};
  else
    for (auto& where : orders->masters())
      w.master.push_back({where, claim});
  std::signal(SIGINT, SIG_IGN);
  return serve(std::move(w), job, keeper);
}

// What the user types elsewhere.
void app::state::tell_guests(const endpoint& where, const std::string& program) const {
  const auto file = standard.cookie_file.empty() ? default_cookie_file().string() : standard.cookie_file;
  log(log_level::info, "workers may come: " + program + " --join " + where.to_text() + " --cookie-file " + file);
}

// As a worker that comes by itself.
int app::state::run_guest() {
  const auto to = parse_host_and_port(standard.join);
  const auto file = standard.cookie_file.empty() ? default_cookie_file().string() : standard.cookie_file;
  prepared_worker w;
  if (!std::filesystem::exists(file))
    throw CLI::ValidationError(
      "--join", "the cluster's cookie isn't in " + file
                  + ": copy it there from the master's host, where --listen has told its file, for you alone to read (chmod 600)");
  w.cookie = cookie_from(file, false);
  w.settings.bind_addr = standard.bind_addr.empty() ? choose_bind_address() : standard.bind_addr;
  w.settings.launch_timeout = standard.launch_timeout;
  w.settings.threads = standard.threads;
  w.announce = [](const endpoint&) {};
  w.tells_why_not = true;
  for (auto& address : addresses_of(to.address))
    w.master.push_back({{address, to.port}, guest_claim});
  w.joined = [this](proc_id id) { log(log_level::info, "this is worker " + std::to_string(id) + " of the cluster at " + standard.join); };
  return run_worker(std::move(w), [this](const option_values& values) { apply(values); });
}

int app::state::run_master(int argc, char** argv, const body_function& body, const job_start& in_job,
                           const std::function<void(int)>& leave) {
  auto& s = *this;
  s.not_sent.clear();
  std::vector<const CLI::Option*> before;
  for (auto option : s.cli.get_options())
    before.push_back(option);
  s.add_standard_options();
  for (auto option : s.cli.get_options())
    if ((std::find(before.begin(), before.end(), option) == before.end() && !option->check_lname("log-level"))
        || option == s.cli.get_help_ptr())
      s.not_sent.push_back(option);
  s.cli.parse(arguments(argc, argv, s.cli));
  if (!s.standard.join.empty())
    return run_guest();
  auto np = parse_procs(s.standard.procs);
  const int in_slurm = s.cli.get_option("--slurm")->count() > 0 ? parse_slurm(s.standard.slurm) : 0;
  const bool listens = s.cli.get_option("--listen")->count() > 0;
  const auto machines = machines_of(s.standard);
  auto cookie = cookie_from(s.standard.cookie_file, listens);

  master::settings settings;
  settings.cookie = std::move(cookie);
  settings.threads = s.standard.threads;
  settings.bind_addr = s.standard.bind_addr;
  if (!s.standard.topology.empty())
    settings.topology = s.standard.topology;
  settings.lazy = s.standard.lazy;
  const std::chrono::milliseconds launch_timeout{static_cast<std::int64_t>(s.standard.launch_timeout * 1000)};
  settings.launch_timeout = launch_timeout;
  std::shared_ptr<mpi_world> ranks;
  launch_options of_ranks;
  of_ranks.launch_timeout = launch_timeout;
  if (in_job)
    ranks = in_job(settings);
  std::shared_ptr<mpi_world> launched;
  mpi_options options;
  if (s.standard.mpi > 0) {
    options.np = s.standard.mpi;
    options.mpi_cmd = s.standard.mpi_cmd;
    options.bind_addr = s.standard.bind_addr;
    options.launch_timeout = launch_timeout;
    launched = std::make_shared<mpirun_manager>(options);
    if (!settings.job)
      settings.job = launched;
  }
  master m{std::move(settings)};
  auto& main_waiter = waiter::of_this_thread();
  std::atomic<int> signal{0};
  std::atomic<bool> ending{false}; // from then on there is nothing that could take an interrupt better than we do
  int status = 0;
  std::string left;
  {
    const auto end_now = [&](int number, const char* why) {
      end_within(500ms, 128 + number); // should nobody read what is written
      std::fprintf(stderr, "%s: %s\n", s.name.c_str(), why);
      m.end_now(128 + number);
    };
    const auto on_signal = [&](int number) {
      if (signal.exchange(number) != 0)
        end_now(number, "asked to end again: ended at once");
      if (ending)
        end_now(number, "asked to end when it was ending: ended at once");
      waiter::interrupt_all();
      m.self().events().call_after(interrupt_time, [&, number] {
        if (main_waiter.interrupt_pending())
          end_now(number, "asked to end, it hasn't waited for anything of troupe for 2 s: ended");
      });
    };
    const interrupts on_interrupt{m.self().events(), on_signal};
    cluster c{m.self(), &m};
    m.set_options(s.collect());
    try {
      if (listens)
        s.tell_guests(m.let_guests_in(s.standard.listen), file_name(argv[0]));
      if (ranks)
        c.addprocs(ranks, of_ranks);
      if (launched)
        c.addprocs(launched, options);
      if (np > 0) {
        local_options options;
        options.launch_timeout = launch_timeout;
        c.addprocs(np, options);
      }
      if (in_slurm != 0) {
        launch_options options;
        options.launch_timeout = launch_timeout;
        options.bind_addr = s.standard.bind_addr;
        c.addprocs(std::make_shared<slurm_manager>(in_slurm), options);
      }
      if (!machines.empty()) {
        ssh_options options;
        options.launch_timeout = launch_timeout;
        c.addprocs(machines, options);
      }
      status = body(c);
      if (main_waiter.interrupt_pending()) // the body's last wait was over
        throw_error(make_error_info(error_kind::interrupted, "interrupted by the user"));
    } catch (const interrupted& e) {
      auto number = signal != 0 ? signal.load() : SIGINT;
      status = 128 + number;
      end_within(interrupt_time, status);
      if (number == SIGINT)
        print_error(s.name, e);
      else
        std::fprintf(stderr, "%s: ended by signal %d (%s)\n", s.name.c_str(), number, sigdescr_np(number));
    } catch (const std::exception& e) {
      status = 1;
      print_error(s.name, e);
    } catch (...) {
      status = 1;
      std::fprintf(stderr, "%s: an exception that is not derived from std::exception\n", s.name.c_str());
    }
    ending = true;
    if (const auto job = mpi_job::current())
      job->stop_runs(std::numeric_limits<std::uint64_t>::max(), "the cluster ends");
    try {
      left = m.shut_down();
    } catch (const interrupted&) {
      m.end_now(128 + (signal != 0 ? signal.load() : SIGINT));
    }
  }
  if (!left.empty()) {
    std::fprintf(stderr, "%s: still there at the end, and left behind: %s\n", s.name.c_str(), left.c_str());
    std::cout.flush();
    std::fflush(nullptr);
    if (leave)
      leave(status);
    ::_exit(status);
  }
  return status;
}

} // namespace troupe
