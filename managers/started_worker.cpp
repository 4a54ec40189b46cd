#include "troupe/managers/started_worker.hpp"

#include "troupe/managers/start_line.hpp"

#include <csignal>

namespace troupe {

namespace {

// One that has been told to end has this long before it is killed.
constexpr std::chrono::seconds finalize_time{2};
constexpr int max_noise_lines = 1000;
constexpr std::size_t max_tail = 4096;

} // namespace

// -- one worker ---------------------------------------------------------------------------------------------------------------

started_worker::started_worker(manager_context context, std::string host, delays kill_after)
  : context_(std::move(context)), host_(std::move(host)), kill_after_(kill_after) {}

started_worker::~started_worker() = default;

void started_worker::belongs_to(std::shared_ptr<gathering> g, int place) {
  gathering_ = std::move(g);
  place_ = place;
}

std::shared_ptr<started_worker> started_worker::of(const worker_config& config) {
  const auto p = std::any_cast<std::shared_ptr<started_worker>>(&config.userdata);
  return p == nullptr ? nullptr : *p;
}

std::string started_worker::last_words() {
  std::lock_guard guard{mutex_};
  return tail_.substr(0, tail_.find_last_not_of('\n') + 1);
}

launch_failure started_worker::explain(launch_reason reason, int status, const std::string& text) {
  const auto tail = last_words();
  const auto pid = os_pid();
  return {host_, reason, status,
          "the worker " + (pid != 0 ? "with OS pid " + std::to_string(pid) + " " : "") + text
            + (tail.empty() ? "" : "; its last words:\n" + tail)};
}

worker_config started_worker::config_at(const endpoint& where) {
  worker_config config;
  config.host = where.address;
  config.port = where.port;
  config.os_pid = os_pid();
  config.userdata = shared_from_this();
  return config;
}

void started_worker::take_line(std::string_view line, bool is_stderr) {
  proc_id id;
  bool announced;
  bool too_noisy = false;
  {
    std::lock_guard guard{mutex_};
    id = id_;
    announced = announced_;
    if (is_stderr) {
      tail_.append(line).push_back('\n');
      if (tail_.size() > max_tail)
        tail_.erase(0, tail_.size() - max_tail);
    }
    if (!announced)
      too_noisy = ++noise_ == max_noise_lines;
  }
  if (const auto where = announced || is_stderr ? std::nullopt : parse_start_line(line)) {
    {
      std::lock_guard guard{mutex_};
      announced_ = true;
    }
    return gathering_->address_told(shared_from_this(), *where);
  }
  context_.output(id, line);
  if (too_noisy
      && gathering_->failed(*this, explain(launch_reason::noise, -1,
                                           "wrote " + std::to_string(max_noise_lines) + " lines of unexpected output and no address")))
    context_.events->post([self = shared_from_this()] { self->signal_group(SIGKILL); });
}

void started_worker::set_exited() {
  exited_ = true;
  context_.events->cancel(kill_timer_);
}

void started_worker::take_end(const exit_state& state, const std::string& reason) {
  if (cause_)
    return;
  set_exited();
  exit_cause cause;
  cause.host = host_;
  cause.status = state.status;
  cause.signal = state.signal;
  cause.reason = reason;
  cause.stderr_tail = last_words();
  cause_ = cause;
  gathering_->failed(
    *this, explain(launch_reason::no_address, cause.status, reason.empty() ? cause.to_text() + " before it told its address" : reason));
  if (on_end_)
    on_end_(cause);
  on_end_ = nullptr;
}

void started_worker::manage(proc_id id, manage_op op) {
  const auto self = shared_from_this();
  switch (op) {
    case manage_op::registered: {
      std::lock_guard guard{mutex_};
      id_ = id;
      break;
    }
    case manage_op::deregistered:
      break;
    case manage_op::interrupt:
      context_.events->post([self] { self->signal(SIGINT); });
      break;
    case manage_op::finalize:
      context_.events->post([self] {
        self->signal_group(SIGTERM);
        self->context_.events->call_after(finalize_time, [self] { self->signal_group(SIGKILL); }); // also if it is stopped
      });
      break;
  }
}

void started_worker::watch(std::function<void(exit_cause)> ended) {
  context_.events->post([self = shared_from_this(), ended = std::move(ended)]() mutable {
    if (self->cause_)
      ended(*self->cause_);
    else
      self->on_end_ = std::move(ended);
  });
}

void started_worker::lost() {
  context_.events->post([self = shared_from_this()] { self->signal_group(SIGKILL); });
}

void started_worker::kill() {
  bool joined;
  {
    std::lock_guard guard{mutex_};
    joined = id_ != 0;
  }
  context_.events->post([self = shared_from_this(), joined] {
    if (joined)
      self->escalate(0);
    else // has nothing to lose, and may be stuck
      self->signal_group(SIGKILL);
  });
}

// Loop thread. Each stage waits its time, then sends a stronger signal.
void started_worker::escalate(std::size_t stage) {
  struct step {
    int signal;
    const char* name;
  };
  static constexpr step steps[] = {{SIGUSR1, "SIGUSR1"}, {SIGQUIT, "SIGQUIT"}, {SIGKILL, "SIGKILL"}};
  if (exited_ || stage >= std::size(steps) || (stage == 0 && kill_timer_ != 0))
    return;
  kill_timer_ = context_.events->call_after(kill_after_[stage], [self = shared_from_this(), stage] {
    if (self->exited_)
      return;
    proc_id id;
    {
      std::lock_guard guard{self->mutex_};
      id = self->id_;
    }
    self->context_.warn("worker " + std::to_string(id) + " (OS pid " + std::to_string(self->os_pid())
                        + ") was asked to leave and is still there: sending " + steps[stage].name);
    self->signal(steps[stage].signal);
    self->escalate(stage + 1);
  });
}

// -- those that are launched together -------------------------------------------------------------------------------------------

gathering::gathering(launch_sink& sink, address_handler on_address, std::function<void()> on_failure)
  : on_address_(std::move(on_address)), on_failure_(std::move(on_failure)), sink_(&sink) {}

template <class Tell>
bool gathering::settle(const started_worker& w, Tell tell) {
  std::lock_guard guard{mutex_};
  const bool waited = waiting_.erase(&w) != 0 && sink_ != nullptr;
  if (waited)
    tell(*sink_);
  if (all_started_ && waiting_.empty())
    done_->set_value({});
  return waited;
}

void gathering::add(const worker_ptr& w) {
  std::lock_guard guard{mutex_};
  waiting_[w.get()] = w;
}

bool gathering::waits_for(const started_worker& w) {
  std::lock_guard guard{mutex_};
  return waiting_.contains(&w);
}

void gathering::address_told(const worker_ptr& w, const endpoint& where) {
  if (on_address_)
    on_address_(w, where);
  else
    launched(*w, w->config_at(where));
}

bool gathering::launched(const started_worker& w, worker_config config) {
  return settle(w, [&](launch_sink& sink) { sink.launched(std::move(config)); });
}

bool gathering::failed(const started_worker& w, launch_failure why) {
  const bool waited = settle(w, [&](launch_sink& sink) { sink.failed(std::move(why)); });
  if (waited && on_failure_)
    on_failure_();
  return waited;
}

void gathering::failed(launch_failure why) {
  std::lock_guard guard{mutex_};
  if (sink_ != nullptr)
    sink_->failed(std::move(why));
}

void gathering::all_started() {
  std::lock_guard guard{mutex_};
  all_started_ = true;
  if (waiting_.empty())
    done_->set_value({});
}

void gathering::close(const manager_context& context, const std::string& why) {
  std::lock_guard guard{mutex_};
  for (auto& [raw, w] : waiting_) {
    sink_->failed(w->explain(launch_reason::silent, -1, why));
    context.events->post([w = w] { w->signal_group(SIGKILL); });
  }
  waiting_.clear();
  sink_ = nullptr;
}

} // namespace troupe
