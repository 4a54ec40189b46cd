#include "troupe/managers/local_manager.hpp"

#include "troupe/actors/future_state.hpp"
#include "troupe/managers/child_process.hpp"
#include "troupe/managers/start_line.hpp"

#include <array>
#include <arpa/inet.h>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstring>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <numeric>
#include <optional>
#include <sys/epoll.h>
#include <system_error>
#include <unistd.h>

namespace troupe {

namespace {

// One that has been told to end has this long before it is killed.
constexpr std::chrono::seconds finalize_time{2};

using namespace std::chrono_literals;

constexpr int max_noise_lines = 1000;
constexpr std::size_t max_tail = 4096;
// How long the output of a process that has ended is waited for: another process may keep its pipe open.
constexpr auto output_grace = 500ms;

} // namespace

// One worker process. What has no lock of its own belongs to the loop's thread, but for what is set before the thread knows it.
struct local_manager::child {
  explicit child(const child_options& options) : process(options) {
  }

  std::string last_words() {
    std::lock_guard guard{mutex};
    return tail.substr(0, tail.find_last_not_of('\n') + 1);
  }

  child_process process;
  int index = 0; // on this host
  unique_fd input;
  std::array<std::chrono::milliseconds, 3> kill_after{};
  output_pump::id out = 0;
  output_pump::id err = 0;

  std::mutex mutex; // guards the next ones; nothing else is locked while it is held
  bool announced = false;
  int noise = 0;
  proc_id id = 0;
  std::string tail; // the last lines of its stderr

  int open_streams = 2;
  bool exited = false;
  std::optional<exit_cause> cause;
  std::function<void(exit_cause)> on_end;
  loop::timer_id kill_timer = 0;
};

// What launch waits for: that each child has told its address, or has failed.
struct local_manager::gathering {
  std::mutex mutex; // held while the sink is called, which must be over when launch returns
  launch_sink* sink = nullptr; // null once launch has returned
  std::map<child*, child_ptr> waiting;
  bool all_started = false;
  detail::future_state done;

  // Takes the child off the list and tells the sink. Does nothing if it isn't there any more.
  template <class Tell>
  void settle(child* c, Tell tell) {
    std::lock_guard guard{mutex};
    if (waiting.erase(c) != 0 && sink != nullptr)
      tell(*sink);
    if (all_started && waiting.empty())
      done.set_value({});
  }
};

local_manager::local_manager(int count, local_options options, manager_context context)
  : count_(count), options_(std::move(options)), context_(std::move(context)) {
  if (count < 0)
    throw usage_error{"addprocs: " + std::to_string(count) + " workers were asked for"};
}

local_manager::~local_manager() = default;

launch_options local_manager::default_options() const {
  return options_;
}

local_manager::child_ptr local_manager::child_of(const worker_config& config) {
  auto p = std::any_cast<child_ptr>(&config.userdata);
  return p == nullptr ? nullptr : *p;
}

void local_manager::launch(const launch_options& options, launch_sink& sink) {
  std::vector<int> all(static_cast<std::size_t>(count_));
  std::iota(all.begin(), all.end(), 0);
  launch(options, sink, all);
}

void local_manager::relaunch(const worker_config& lost, const launch_options& options, launch_sink& sink) {
  const auto c = child_of(lost);
  launch(options, sink, {c ? c->index : 0});
}

void local_manager::launch(const launch_options& options, launch_sink& sink, const std::vector<int>& indices) {
  if (!options.extra.empty())
    throw usage_error{"local workers have no option '" + options.extra.begin()->first + "'"};
  if (options.launch_timeout <= 0ms)
    throw usage_error{"launch_timeout must be positive, it is " + std::to_string(options.launch_timeout.count()) + " ms"};
  auto g = std::make_shared<gathering>();
  g->sink = &sink;
  for (auto i : indices) {
    try {
      start(options, i, g);
    } catch (const std::invalid_argument& e) {
      throw usage_error{std::string{"a worker can't be started: "} + e.what()};
    } catch (const std::system_error& e) {
      sink.failed({context_.host, launch_reason::no_address, -1, std::string{"a worker can't be started: "} + e.what()});
      break; // the next one would fail the same way
    }
  }
  {
    std::lock_guard guard{g->mutex};
    g->all_started = true;
    if (g->waiting.empty())
      g->done.set_value({});
  }
  struct finish { // also when the wait is interrupted
    local_manager& self;
    const launch_options& options;
    gathering& g;
    ~finish() {
      self.give_up_silent(options, g);
    }
  } finishing{*this, options, *g};
  g->done.wait(std::chrono::steady_clock::now() + options.launch_timeout);
}

void local_manager::give_up_silent(const launch_options& options, gathering& g) {
  std::lock_guard guard{g.mutex};
  for (auto& [raw, c] : g.waiting) {
    g.sink->failed(explain(*c, launch_reason::silent, -1,
                           "told no address within " + std::to_string(options.launch_timeout.count())
                             + " ms: does it call troupe::app::run?"));
    context_.events->post([c = c] { c->process.signal_group(SIGKILL); });
  }
  g.waiting.clear();
  g.sink = nullptr;
}

local_manager::child_ptr local_manager::start(const launch_options& options, int index, const std::shared_ptr<gathering>& g) {
  child_options o;
  o.program = options.exename.empty() ? own_program() : options.exename;
  o.args = options.exeflags;
  auto bind = options.bind_addr;
  if (bind.empty())
    bind = options_.restrict_loopback ? "127.0.0.1" : choose_bind_address();
  o.args.insert(o.args.end(), {"--worker", "--tied", "--bind-addr=" + bind,
                               "--launch-timeout=" + std::to_string(options.launch_timeout.count() / 1000.0)});
  o.args.push_back("--threads=" + std::to_string(options.threads < 1 ? 1 : options.threads));
  o.dir = options.dir;
  o.env = env_of(options.env, index);
  add_thread_limits(o.env);
  o.env_removed_prefixes = launcher_variables();
  auto c = std::make_shared<child>(o);
  c->index = index;
  {
    std::lock_guard guard{children_mutex_};
    children_.push_back(c);
  }
  c->kill_after = options_.kill_after;
  c->input = c->process.take_stdin();
  write_to_child(c->input.get(), context_.cookie + "\n");
  {
    std::lock_guard guard{g->mutex};
    g->waiting[c.get()] = c;
  }
  auto ended = [this, self = shared_from_this(), c, g] {
    context_.events->post([this, self, c, g] {
      if (--c->open_streams == 0 && c->exited)
        take_end(c, g);
    });
  };
  context_.events->post([this, self = shared_from_this(), c, g] { watch_end(c, g); });
  c->out = context_.pump->add(c->process.take_stdout(),
                              [this, self = shared_from_this(), c, g](std::string_view line) { take_line(c, line, false, g); }, ended);
  c->err = context_.pump->add(c->process.take_stderr(),
                              [this, self = shared_from_this(), c, g](std::string_view line) { take_line(c, line, true, g); }, ended);
  return c;
}

void local_manager::take_line(const child_ptr& c, std::string_view line, bool is_stderr,
                              const std::shared_ptr<gathering>& g) {
  proc_id id;
  bool announced;
  bool too_noisy = false;
  {
    std::lock_guard guard{c->mutex};
    id = c->id;
    announced = c->announced;
    if (is_stderr) {
      c->tail.append(line).push_back('\n');
      if (c->tail.size() > max_tail)
        c->tail.erase(0, c->tail.size() - max_tail);
    }
    if (!announced)
      too_noisy = ++c->noise == max_noise_lines;
  }
  if (auto where = announced || is_stderr ? std::nullopt : parse_start_line(line)) {
    {
      std::lock_guard guard{c->mutex};
      c->announced = true;
    }
    g->settle(c.get(), [&](launch_sink& sink) {
      worker_config config;
      config.host = where->address;
      config.port = where->port;
      config.os_pid = c->process.pid();
      config.userdata = c;
      sink.launched(std::move(config));
    });
    return;
  }
  context_.output(id, line);
  if (too_noisy)
    g->settle(c.get(), [&](launch_sink& sink) {
      sink.failed(explain(*c, launch_reason::noise, -1,
                          "wrote " + std::to_string(max_noise_lines) + " lines of unexpected output and no address"));
      context_.events->post([c] { c->process.signal_group(SIGKILL); });
    });
}

// Loop thread.
void local_manager::watch_end(const child_ptr& c, const std::shared_ptr<gathering>& g) {
  context_.events->watch(c->process.pidfd(), EPOLLIN, [this, self = shared_from_this(), c, g](std::uint32_t) {
    context_.events->unwatch(c->process.pidfd());
    c->exited = true;
    context_.events->cancel(c->kill_timer);
    // what it has started and left behind ends with it
    c->process.signal_group(SIGKILL);
    c->process.try_wait();
    if (c->open_streams == 0)
      return take_end(c, g);
    context_.events->call_after(output_grace, [this, self, c, g] { take_end(c, g); });
  });
}

exit_cause local_manager::cause_of(child& c) const {
  exit_cause cause;
  cause.host = context_.host;
  if (auto state = c.process.try_wait()) {
    cause.status = state->status;
    cause.signal = state->signal;
  }
  cause.stderr_tail = c.last_words();
  return cause;
}

// Loop thread. The process has ended, and so has its output.
void local_manager::take_end(const child_ptr& c, const std::shared_ptr<gathering>& g) {
  if (c->cause)
    return;
  c->cause = cause_of(*c);
  g->settle(c.get(), [&](launch_sink& sink) {
    sink.failed(explain(*c, launch_reason::no_address, c->cause->status,
                        c->cause->to_text() + " before it told its address"));
  });
  if (c->on_end)
    c->on_end(*c->cause);
  c->on_end = nullptr;
}

launch_failure local_manager::explain(child& c, launch_reason reason, int status, const std::string& text) const {
  auto tail = c.last_words();
  return {context_.host, reason, status,
          "the worker with OS pid " + std::to_string(c.process.pid()) + " " + text + (tail.empty() ? "" : "; its last words:\n" + tail)};
}

void local_manager::manage(proc_id id, const worker_config& config, manage_op op) {
  auto c = child_of(config);
  if (!c)
    return;
  switch (op) {
    case manage_op::registered: {
      std::lock_guard guard{c->mutex};
      c->id = id;
      break;
    }
    case manage_op::deregistered:
      break;
    case manage_op::interrupt:
      context_.events->post([c] { c->process.signal(SIGINT); });
      break;
    case manage_op::finalize:
      context_.events->post([c, events = context_.events] {
        c->process.signal_group(SIGTERM);
        events->call_after(finalize_time, [c] { c->process.signal_group(SIGKILL); }); // also if it is stopped
      });
      break;
  }
}

bool local_manager::watch(proc_id, const worker_config& config, std::function<void(exit_cause)> ended) {
  auto c = child_of(config);
  if (!c)
    return false;
  context_.events->post([c, ended = std::move(ended)]() mutable {
    if (c->cause)
      ended(*c->cause);
    else
      c->on_end = std::move(ended);
  });
  return true;
}

void local_manager::kill_all() {
  std::lock_guard guard{children_mutex_};
  for (auto& weak : children_)
    if (auto c = weak.lock())
      c->process.signal_group(SIGKILL);
}

void local_manager::lost(proc_id, const worker_config& config) {
  if (auto c = child_of(config))
    context_.events->post([c] { c->process.signal_group(SIGKILL); });
}

void local_manager::kill(proc_id, const worker_config& config) {
  auto c = child_of(config);
  if (!c)
    return;
  bool joined;
  {
    std::lock_guard guard{c->mutex};
    joined = c->id != 0;
  }
  context_.events->post([this, self = shared_from_this(), c, joined] {
    if (joined)
      escalate(c, 0);
    else // has nothing to lose, and may be stuck
      c->process.signal_group(SIGKILL);
  });
}

// Loop thread. Each stage waits its time, then sends a stronger signal.
void local_manager::escalate(const child_ptr& c, std::size_t stage) {
  struct step {
    int signal;
    const char* name;
  };
  static constexpr step steps[] = {{SIGUSR1, "SIGUSR1"}, {SIGQUIT, "SIGQUIT"}, {SIGKILL, "SIGKILL"}};
  if (c->exited || stage >= std::size(steps) || (stage == 0 && c->kill_timer != 0))
    return;
  c->kill_timer = context_.events->call_after(c->kill_after[stage], [this, self = shared_from_this(), c, stage] {
    if (c->exited)
      return;
    proc_id id;
    {
      std::lock_guard guard{c->mutex};
      id = c->id;
    }
    context_.warn("worker " + std::to_string(id) + " (OS pid " + std::to_string(c->process.pid())
                  + ") was asked to leave and is still there: sending " + steps[stage].name);
    c->process.signal(steps[stage].signal);
    escalate(c, stage + 1);
  });
}

std::string choose_bind_address() {
  ifaddrs* all = nullptr;
  if (::getifaddrs(&all) != 0)
    return "127.0.0.1";
  std::string best;
  int best_rank = 4;
  for (auto i = all; i != nullptr; i = i->ifa_next) {
    if (i->ifa_addr == nullptr)
      continue;
    char text[INET6_ADDRSTRLEN] = {};
    int rank = 4;
    if (i->ifa_addr->sa_family == AF_INET) {
      auto& a = reinterpret_cast<sockaddr_in*>(i->ifa_addr)->sin_addr;
      auto n = ntohl(a.s_addr);
      if ((n >> 24) == 127)
        continue;
      rank = (n >> 16) == 0xa9fe ? 2 : 0;
      ::inet_ntop(AF_INET, &a, text, sizeof text);
    } else if (i->ifa_addr->sa_family == AF_INET6) {
      auto& a = reinterpret_cast<sockaddr_in6*>(i->ifa_addr)->sin6_addr;
      if (IN6_IS_ADDR_LOOPBACK(&a))
        continue;
      rank = IN6_IS_ADDR_LINKLOCAL(&a) ? 3 : 1;
      ::inet_ntop(AF_INET6, &a, text, sizeof text);
    }
    if (rank < best_rank) {
      best_rank = rank;
      best = text;
    }
  }
  ::freeifaddrs(all);
  return best.empty() ? "127.0.0.1" : best;
}

} // namespace troupe
