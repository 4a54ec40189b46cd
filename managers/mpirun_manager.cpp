#include "troupe/managers/mpirun_manager.hpp"

#include "troupe/actors/future_state.hpp"
#include "troupe/managers/bind_address.hpp"
#include "troupe/managers/child_process.hpp"
#include "troupe/managers/process.hpp"
#include "troupe/managers/rank_keeper.hpp"
#include "troupe/managers/start_line.hpp"
#include "troupe/managers/usable_cpus.hpp"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <optional>
#include <random>
#include <sstream>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <system_error>
#include <thread>
#include <unistd.h>

#include <mpi.h>

namespace troupe {

namespace {

using namespace std::chrono_literals;

// A line of orders has room for so many.
constexpr std::size_t most_addresses = 6;
// One that has been told to end has this long before it is killed.
constexpr auto finalize_time = 2s;
constexpr std::size_t max_tail = 4096;
constexpr auto output_grace = 500ms;
constexpr auto words_time = 20ms;

constexpr std::string_view job_word = "troupe_mpi_job:";

std::string random_word() {
  std::random_device dice;
  std::ostringstream out;
  out << std::hex << dice() << dice() << dice();
  return out.str();
}

std::string with_number(std::string word, int np) {
  constexpr std::string_view place = "{np}";
  for (auto at = word.find(place); at != std::string::npos; at = word.find(place))
    word.replace(at, place.size(), std::to_string(np));
  return word;
}

// How hydra dresses the news of a rank's end, which it guesses: the keepers know.
bool is_obituary(std::string_view line) {
  return line.empty() || line.starts_with("=") || line.starts_with("YOUR APPLICATION TERMINATED WITH THE EXIT STRING")
         || line.starts_with("This typically refers to a problem") || line.starts_with("Please see the FAQ page");
}

std::string without_obituary(const std::string& text) {
  std::istringstream in{text};
  std::string out, line;
  while (std::getline(in, line))
    if (!is_obituary(line))
      out += (out.empty() ? "" : "\n") + line;
  return out;
}

} // namespace

std::string mpi_job_orders::to_text(char between) const {
  std::ostringstream out;
  out << cookie << between << np << ' ' << survivable << ' ' << secret << ' ' << master_host << ' ' << master.port << ' ' << master.address;
  return out.str();
}

std::optional<mpi_job_orders> mpi_job_orders::from_text(const std::string& text) {
  std::istringstream in{text};
  mpi_job_orders out;
  if (!(in >> out.cookie >> out.np >> out.survivable >> out.secret >> out.master_host >> out.master.port >> out.master.address))
    return std::nullopt;
  return out;
}

namespace {

// Of this host, with commas between them.
std::string all_addresses() {
  auto all = reachable_addresses(interface_addresses());
  all.resize(std::min(all.size(), most_addresses));
  std::string out;
  for (auto& a : all)
    out += (out.empty() ? "" : ",") + a;
  return out;
}

} // namespace

std::vector<endpoint> mpi_job_orders::masters() const {
  std::vector<endpoint> out;
  std::istringstream in{master.address};
  for (std::string one; std::getline(in, one, ',');)
    out.push_back({one, master.port});
  return out;
}

std::string mpi_job_line::to_text() const {
  std::string out{job_word};
  for (auto& r : ranks)
    out += " " + std::to_string(r.os_pid) + "@" + r.host;
  return out;
}

std::optional<mpi_job_line> mpi_job_line::from_text(std::string_view line) {
  if (!line.starts_with(job_word))
    return std::nullopt;
  std::istringstream in{std::string{line.substr(job_word.size())}};
  mpi_job_line out;
  for (std::string word; in >> word;) {
    process p;
    const auto at = word.find('@');
    if (at == std::string::npos || std::from_chars(word.data(), word.data() + at, p.os_pid).ptr != word.data() + at || p.os_pid <= 0)
      return std::nullopt;
    p.host = word.substr(at + 1);
    out.ranks.push_back(std::move(p));
  }
  return out.ranks.empty() ? std::nullopt : std::optional{std::move(out)};
}

// One process of the job. Loop thread, but for what launch sets before anybody else knows it.
struct mpirun_manager::rank {
  int number = 0;
  std::int64_t os_pid = 0;
  std::string host;
  unique_fd process; // a pidfd, if it runs on this host
  proc_id id = 0;    // once it has joined
  bool leaving = false;
  bool told = false; // of its end
  std::optional<rank_keeper::ended> end; // as its keeper says
  std::string stderr_tail;
  std::function<void(exit_cause)> on_end;
};

// What has no lock of its own belongs to the loop's thread, but for what is set before the thread knows it.
struct mpirun_manager::job {
  explicit job(const child_options& options) : process(options) {}

  child_process process;
  unique_fd input;
  output_pump::id out = 0;
  output_pump::id err = 0;

  std::mutex mutex; // guards the next ones; nothing else is locked while it is held
  std::vector<std::shared_ptr<rank>> ranks; // set once, as a whole
  std::optional<mpi_job_line> answer;
  std::string tail; // the last lines that it wrote

  detail::future_state answered; // or ended
  detail::future_state gone;
  int open_streams = 2;
  bool exited = false;
  bool ending = false;
  std::optional<exit_state> ended;
  std::shared_ptr<rank> first; // to die

  std::vector<std::shared_ptr<rank>> all_ranks() {
    std::lock_guard guard{mutex};
    return ranks;
  }

  std::string last_words() {
    std::lock_guard guard{mutex};
    return tail.substr(0, tail.find_last_not_of('\n') + 1);
  }
};

mpirun_manager::mpirun_manager(mpi_options options) : options_(std::move(options)) {
  if (options_.np < 0)
    throw usage_error{"mpi_options::np is the number of ranks, it is " + std::to_string(options_.np)};
  if (options_.np == 0)
    options_.np = usable_cpus();
  if (options_.mpi_cmd.find(mpi_survival_flag) != std::string::npos)
    set_survivable();
  if (options_.thread_level < 0 || options_.thread_level == MPI_THREAD_MULTIPLE)
    set_exchanging();
  if (CLI::detail::split_up(options_.mpi_cmd).empty())
    throw usage_error{"mpi_options::mpi_cmd is the launcher with its arguments, it is empty"};
}

mpirun_manager::~mpirun_manager() = default;

launch_options mpirun_manager::default_options() const { return options_; }

void mpirun_manager::attach(const manager_context& context) {
  if (launched_)
    throw usage_error{"this mpi_manager has started its job already; another job takes another mpi_manager"};
  context_ = context;
}

std::string mpirun_manager::command() const { return with_number(options_.mpi_cmd, options_.np); }

void mpirun_manager::launch(const launch_options& options, launch_sink& sink) {
  if (!options.extra.empty())
    throw usage_error{"the workers of an MPI job have no option '" + options.extra.begin()->first + "'"};
  if (options.launch_timeout <= 0ms)
    throw usage_error{"launch_timeout must be positive, it is " + std::to_string(options.launch_timeout.count()) + " ms"};
  if (context_.events == nullptr)
    throw usage_error{"an mpi_manager is launched by cluster::addprocs"};
  const auto until = std::chrono::steady_clock::now() + options.launch_timeout;
  auto at = context_.listen(options.bind_addr);
  if (options.bind_addr.empty())
    at.address = all_addresses();
  launched_ = true;
  // where a rank finds the master depends on the rank's host, unless the user has said where
  const mpi_job_orders orders{
    context_.cookie, options_.np, survivable(), random_word(), options.bind_addr.empty() ? context_.host : "-", at};
  const auto of_np = " of " + std::to_string(options_.np) + " ranks came";
  const auto fail = [&](launch_reason reason, int status, const std::string& text) {
    const auto words = job_.load() ? without_obituary(job_.load()->last_words()) : std::string{};
    sink.failed({context_.host, reason, status, text + (words.empty() ? "" : "; its last words:\n" + words)});
  };
  try {
    start(options, orders);
  } catch (const std::invalid_argument& e) {
    throw usage_error{std::string{"an MPI job can't be started: "} + e.what()};
  } catch (const std::system_error& e) {
    const std::string hint = e.code().value() == ENOENT ? "; is MPI's launcher installed (Debian: mpich), and in PATH?" : "";
    return fail(launch_reason::no_address, -1, "0" + of_np + ": '" + command() + "' can't be started: " + e.what() + hint);
  }
  const auto j = job_.load();
  struct finish { // also when the wait is interrupted
    mpirun_manager& self;
    job_ptr j;
    bool came = false;
    ~finish() {
      if (came)
        return;
      self.context_.events->post([&self = self, keep = self.shared_from_this(), j = j] { self.end(j); });
      try {
        j->gone.wait(std::chrono::steady_clock::now() + finalize_time + 1s);
      } catch (const error&) {
        // the user doesn't want to wait
      }
    }
  } finishing{*this, j};
  const bool answered = j->answered.wait(until);
  std::optional<mpi_job_line> answer;
  {
    std::lock_guard guard{j->mutex};
    answer = j->answer;
  }
  if (!answer && answered)
    return fail(launch_reason::died, j->ended ? j->ended->status : -1,
                "0" + of_np + ": '" + command() + "' " + (j->ended ? j->ended->to_text() : "ended"));
  if (!answer)
    return fail(launch_reason::silent, -1,
                "0" + of_np + " within " + std::to_string(options.launch_timeout.count()) + " ms: does '" + command()
                  + "' start the program, with the same MPI as it is linked to, and does the program call troupe::app::run?");
  if (static_cast<int>(answer->ranks.size()) != options_.np)
    return fail(launch_reason::died, -1,
                std::to_string(answer->ranks.size()) + of_np + ": '" + command() + "' started " + std::to_string(answer->ranks.size()));
  std::vector<std::shared_ptr<rank>> ranks;
  for (auto& p : answer->ranks) {
    auto r = std::make_shared<rank>();
    r->number = static_cast<int>(ranks.size());
    r->os_pid = p.os_pid;
    r->host = p.host;
    if (p.host == context_.host)
      r->process = unique_fd{static_cast<int>(::syscall(SYS_pidfd_open, static_cast<::pid_t>(p.os_pid), 0))};
    ranks.push_back(r);
  }
  {
    std::lock_guard guard{j->mutex};
    j->ranks = ranks;
  }
  for (auto& r : ranks) {
    worker_config config;
    config.host = r->host;
    config.os_pid = r->os_pid;
    config.claim = orders.secret + "-" + std::to_string(r->number);
    config.userdata = r;
    sink.launched(std::move(config));
  }
  finishing.came = true;
  context_.events->post([j] { write_to_child(j->input.get(), "go\n"); }); // by then the claims are known
}

void mpirun_manager::start(const launch_options& options, const mpi_job_orders& orders) {
  auto words = CLI::detail::split_up(options_.mpi_cmd);
  for (auto& w : words)
    w = with_number(CLI::detail::remove_quotes(w), options_.np);
  child_options o;
  o.program = words.front();
  o.args.assign(words.begin() + 1, words.end());
  o.args.push_back(options.exename.empty() ? own_program() : options.exename);
  o.args.insert(o.args.end(), options.exeflags.begin(), options.exeflags.end());
  o.args.insert(o.args.end(), {"--worker", "--mpi-rank", "--mpi-thread-level=" + std::to_string(options_.thread_level),
                               "--launch-timeout=" + std::to_string(static_cast<double>(options.launch_timeout.count()) / 1000),
                               "--threads=" + std::to_string(std::max(1, options.threads))});
  if (!options.bind_addr.empty())
    o.args.push_back("--bind-addr=" + parse_bind_address(options.bind_addr).address);
  o.dir = options.dir;
  o.env = env_of(options.env, 0);
  add_thread_limits(o.env);
  o.env_removed_prefixes = launcher_variables();
  auto j = std::make_shared<job>(o);
  job_ = j;
  j->input = j->process.take_stdin();
  write_to_child(j->input.get(), orders.to_text('\n') + "\n");
  const auto self = shared_from_this();
  context_.events->post([this, self, j] { watch_end(j); });
  const auto ended = [this, self, j] {
    context_.events->post([this, self, j] {
      if (--j->open_streams == 0 && j->exited)
        take_end(j);
    });
  };
  j->out = context_.pump->add(j->process.take_stdout(), [this, self, j](std::string_view line) { take_line(j, line, false); }, ended);
  j->err = context_.pump->add(j->process.take_stderr(), [this, self, j](std::string_view line) { take_line(j, line, true); }, ended);
}

void mpirun_manager::take_line(const job_ptr& j, std::string_view line, bool is_stderr) {
  if (auto answer = is_stderr ? std::nullopt : mpi_job_line::from_text(line)) {
    {
      std::lock_guard guard{j->mutex};
      if (j->answer)
        return;
      j->answer = std::move(answer);
    }
    j->answered.set_value({});
    return;
  }
  if (const auto end = is_stderr ? std::nullopt : rank_keeper::end_of(line)) {
    context_.events->post([this, self = shared_from_this(), j, end = *end] { take_end_of(j, end); });
    return;
  }
  if (const auto from = rank_keeper::label_of(line)) {
    line.remove_prefix(from->size);
    if (is_stderr)
      context_.events->post([j, id = from->id, text = std::string{line}] {
        for (auto& r : j->all_ranks())
          if (r->id == id) {
            r->stderr_tail.append(text).push_back('\n');
            if (r->stderr_tail.size() > max_tail)
              r->stderr_tail.erase(0, r->stderr_tail.size() - max_tail);
          }
      });
    return context_.output(from->id, line);
  }
  {
    std::lock_guard guard{j->mutex};
    j->tail.append(line).push_back('\n');
    if (j->tail.size() > max_tail)
      j->tail.erase(0, j->tail.size() - max_tail);
  }
  if (!is_obituary(line))
    context_.output(0, line);
}

// Loop thread.
void mpirun_manager::watch_end(const job_ptr& j) {
  context_.events->watch(j->process.pidfd(), EPOLLIN, [this, self = shared_from_this(), j](std::uint32_t) {
    context_.events->unwatch(j->process.pidfd());
    j->exited = true;
    j->process.signal_group(SIGKILL); // what it has left behind
    j->process.try_wait();
    if (j->open_streams == 0)
      return take_end(j);
    context_.events->call_after(output_grace, [this, self, j] { take_end(j); });
  });
}

// Loop thread. Keepers tell in the order of their ranks' ends: the first has died of itself.
void mpirun_manager::take_end_of(const job_ptr& j, const rank_keeper::ended& end) {
  const auto ranks = j->all_ranks();
  if (end.rank < 0 || end.rank >= static_cast<int>(ranks.size()))
    return;
  const auto& r = ranks[static_cast<std::size_t>(end.rank)];
  if (r->end)
    return;
  r->end = end;
  if (r->leaving)
    return;
  if (j->first == nullptr)
    j->first = r;
  if (!survivable())
    return; // the launcher ends the others, and then itself
  // its last words may come a moment later
  context_.events->call_after(words_time, [this, self = shared_from_this(), j, r] { tell_end(*j, *r); });
}

// How a rank has ended, for the master. Loop thread.
void mpirun_manager::tell_end(job& j, rank& r) {
  if (r.told || !r.on_end)
    return; // watch comes back to it
  r.told = true;
  const auto cause_of = [](const rank& of) {
    exit_cause cause;
    if (of.end) {
      cause.status = of.end->status;
      cause.signal = of.end->signal;
    } else {
      cause.reason = "ended";
    }
    return cause;
  };
  exit_cause cause = cause_of(r);
  if (r.leaving) {
    cause = {};
    cause.reason = "was removed";
  } else if (&r != j.first.get() && !survivable()) {
    cause = {};
    if (j.first)
      cause.reason = "went with its MPI job: rank " + std::to_string(j.first->number) + " (worker " + std::to_string(j.first->id) + ") "
                     + cause_of(*j.first).to_text();
    else
      cause.reason = "went with its MPI job: '" + command() + "' " + (j.ended ? j.ended->to_text() : "has ended");
  }
  if (!r.leaving && (&r == j.first.get() || !j.first))
    cause.stderr_tail = r.stderr_tail.empty() ? without_obituary(j.last_words()) : r.stderr_tail;
  cause.host = r.host;
  std::exchange(r.on_end, nullptr)(cause);
}

// Loop thread. The launcher has ended, and so has its output.
void mpirun_manager::take_end(const job_ptr& j) {
  if (j->ended)
    return;
  j->ended = j->process.try_wait().value_or(exit_state{});
  for (auto& r : j->all_ranks())
    tell_end(*j, *r);
  j->answered.set_value({});
  j->gone.set_value({});
}

// Loop thread.
void mpirun_manager::end(const job_ptr& j) {
  if (j->exited || std::exchange(j->ending, true))
    return;
  j->process.signal_group(SIGTERM);
  context_.events->call_after(finalize_time, [this, self = shared_from_this(), j] {
    if (j->exited)
      return;
    kill_all();
  });
}

void mpirun_manager::kill_all() {
  const auto j = job_.load();
  if (!j)
    return;
  for (auto& r : j->all_ranks())
    if (r->process)
      ::syscall(SYS_pidfd_send_signal, r->process.get(), SIGKILL, nullptr, 0);
  j->process.signal_group(SIGKILL);
}

void mpirun_manager::manage(proc_id id, const worker_config& config, manage_op op) {
  const auto r = std::any_cast<std::shared_ptr<rank>>(&config.userdata);
  if (r == nullptr)
    return;
  switch (op) {
    case manage_op::registered:
      add((*r)->number, id);
      (*r)->id = id;
      break;
    case manage_op::deregistered:
      remove(id);
      break;
    case manage_op::interrupt:
      break;
    case manage_op::finalize:
      context_.events->post([this, self = shared_from_this(), j = job_.load()] { end(j); });
      break;
  }
}

bool mpirun_manager::watch(proc_id, const worker_config& config, std::function<void(exit_cause)> ended) {
  const auto found = std::any_cast<std::shared_ptr<rank>>(&config.userdata);
  if (found == nullptr)
    return false;
  context_.events->post([this, self = shared_from_this(), j = job_.load(), r = *found, ended = std::move(ended)]() mutable {
    r->on_end = std::move(ended);
    if (j->ended || (r->end && survivable()))
      tell_end(*j, *r);
  });
  return true;
}

// A rank's process can't end before the job does. It is out at once, and waits; the last ones take the job along.
void mpirun_manager::kill(proc_id, const worker_config& config) {
  const auto found = std::any_cast<std::shared_ptr<rank>>(&config.userdata);
  if (found == nullptr)
    return;
  context_.events->post([this, self = shared_from_this(), j = job_.load(), r = *found] {
    if (r->id == 0)
      return end(j); // what is missing a rank is no job
    r->leaving = true;
    const auto ranks = j->all_ranks();
    const bool last = std::none_of(ranks.begin(), ranks.end(), [](auto& other) { return !other->leaving && !other->end; });
    if (last || std::exchange(r->told, true) || !r->on_end)
      return;
    exit_cause cause;
    cause.host = r->host;
    cause.reason = "was removed";
    std::exchange(r->on_end, nullptr)(cause);
  });
}

void mpirun_manager::lost(proc_id, const worker_config& config) {
  if (const auto r = std::any_cast<std::shared_ptr<rank>>(&config.userdata); r != nullptr && (*r)->process)
    ::syscall(SYS_pidfd_send_signal, (*r)->process.get(), SIGKILL, nullptr, 0);
}

} // namespace troupe
