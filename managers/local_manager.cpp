#include "troupe/managers/local_manager.hpp"

#include "troupe/managers/bind_address.hpp"
#include "troupe/managers/child_process.hpp"
#include "troupe/managers/start_line.hpp"
#include "troupe/managers/started_worker.hpp"

#include <csignal>
#include <numeric>
#include <stdexcept>
#include <sys/epoll.h>
#include <system_error>

namespace troupe {

namespace {

using namespace std::chrono_literals;

// How long the output of a process that has ended is waited for: another process may keep its pipe open.
constexpr auto output_grace = 500ms;

} // namespace

// A worker that is a child of this process.
class local_manager::child final : public started_worker {
public:
  child(const manager_context& context, const child_options& options, delays kill_after)
    : started_worker(context, context.host, kill_after), process_(options), input_(process_.take_stdin()) {
    write_to_child(input_.get(), context.cookie + "\n");
  }

  void begin() {
    const auto self = std::static_pointer_cast<child>(shared_from_this());
    const auto ended = [self] {
      self->context().events->post([self] {
        if (--self->open_streams_ == 0 && self->exited_)
          self->end();
      });
    };
    context().events->post([self] { self->watch_end(); });
    context().pump->add(process_.take_stdout(), [self](std::string_view line) { self->take_line(line, false); }, ended);
    context().pump->add(process_.take_stderr(), [self](std::string_view line) { self->take_line(line, true); }, ended);
  }

  std::int64_t os_pid() const override { return process_.pid(); }
  void signal(int number) override { process_.signal(number); }
  void signal_group(int number) override { process_.signal_group(number); }

private:
  // Loop thread.
  void watch_end() {
    context().events->watch(process_.pidfd(), EPOLLIN, [this, self = shared_from_this()](std::uint32_t) {
      context().events->unwatch(process_.pidfd());
      exited_ = true;
      set_exited();
      // what it has started and left behind ends with it
      process_.signal_group(SIGKILL);
      process_.try_wait();
      if (open_streams_ == 0)
        return end();
      context().events->call_after(output_grace, [this, self] { end(); });
    });
  }

  void end() { take_end(process_.try_wait().value_or(exit_state{})); }

  child_process process_;
  unique_fd input_;
  int open_streams_ = 2;
  bool exited_ = false;
};

local_manager::local_manager(int count, local_options options, manager_context context)
  : count_(count), options_(std::move(options)), context_(std::move(context)) {
  if (count < 0)
    throw usage_error{"addprocs: " + std::to_string(count) + " workers were asked for"};
}

local_manager::~local_manager() = default;

launch_options local_manager::default_options() const { return options_; }

std::string local_manager::to_text() const {
  return "local_manager(" + std::to_string(count_) + (count_ == 1 ? " worker" : " workers") + " on this host)";
}

void local_manager::launch(const launch_options& options, launch_sink& sink) {
  std::vector<int> all(static_cast<std::size_t>(count_));
  std::iota(all.begin(), all.end(), 0);
  launch(options, sink, all);
}

void local_manager::relaunch(const worker_config& lost, const launch_options& options, launch_sink& sink) {
  const auto w = started_worker::of(lost);
  launch(options, sink, {w ? w->place() : 0});
}

void local_manager::launch(const launch_options& options, launch_sink& sink, const std::vector<int>& indices) {
  check_options(options, "local");
  const auto g = std::make_shared<gathering>(sink);
  for (auto i : indices) {
    try {
      start(options, i, g);
    } catch (const std::invalid_argument& e) {
      throw usage_error{std::string{"a worker can't be started: "} + e.what()};
    } catch (const std::system_error& e) {
      g->failed({context_.host, launch_reason::no_address, -1, std::string{"a worker can't be started: "} + e.what()});
      break; // the next one would fail the same way
    }
  }
  g->all_started();
  struct finish { // also when the wait is interrupted
    const manager_context& context;
    const launch_options& options;
    gathering& g;
    ~finish() {
      g.close(context, "told no address within " + std::to_string(options.launch_timeout.count()) + " ms: does it call troupe::app::run?");
    }
  } finishing{context_, options, *g};
  g->done().wait(std::chrono::steady_clock::now() + options.launch_timeout);
}

void local_manager::start(const launch_options& options, int index, const std::shared_ptr<gathering>& g) {
  auto bind = options.bind_addr;
  if (bind.empty())
    bind = options_.restrict_loopback ? "127.0.0.1" : choose_bind_address();
  child_options o;
  o.program = options.exename.empty() ? own_program() : options.exename;
  o.args = worker_arguments(options, bind, count_);
  o.dir = options.dir;
  o.env = env_of(options.env, index);
  add_thread_limits(o.env);
  o.env_removed_prefixes = launcher_variables();
  const auto c = std::make_shared<child>(context_, o, options_.kill_after);
  {
    std::lock_guard guard{children_mutex_};
    children_.push_back(c);
  }
  c->belongs_to(g, index);
  g->add(c);
  c->begin();
}

void local_manager::kill_all() {
  std::lock_guard guard{children_mutex_};
  for (auto& weak : children_)
    if (const auto c = weak.lock())
      c->signal_group(SIGKILL);
}

} // namespace troupe
