#include "troupe/managers/keeper_session.hpp"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <fcntl.h>
#include <sys/epoll.h>
#include <vector>

namespace troupe {

namespace {

using namespace std::chrono_literals;

constexpr int max_noise_lines = 1000;
constexpr std::size_t max_tail = 4096;
// How long the client's output is waited for when it has ended: another process may keep its pipe open.
constexpr auto output_grace = 500ms;
// When its workers have ended, so has the keeper, and the client; unless the way there is broken.
constexpr auto farewell_time = 3s;

} // namespace

// A worker of the keeper's.
class keeper_session::worker final : public started_worker {
public:
  worker(const std::shared_ptr<keeper_session>& s, int index)
    : started_worker(s->context_, s->settings_.host, s->settings_.kill_after), session_(s), index_(index) {}

  std::int64_t os_pid() const override { return os_pid_; }
  void set_pid(std::int64_t pid) { os_pid_ = pid; }
  void signal(int number) override { send(number, false); }
  void signal_group(int number) override { send(number, true); }
  // Whether it still lives can't be known, if its host has vanished.
  void lost() override {
    lost_ = true;
    started_worker::lost();
    if (const auto s = session_.lock())
      context().events->post([s] { s->finish_when_over(); });
  }
  bool is_lost() const { return lost_; }

private:
  void send(int number, bool group) {
    if (const auto s = session_.lock(); s && !has_ended())
      s->order(keeper_signal{index_, number, group});
  }

  const std::weak_ptr<keeper_session> session_;
  const int index_;
  std::atomic<std::int64_t> os_pid_{0};
  std::atomic<bool> lost_{false};
};

keeper_session::keeper_session(manager_context context, settings s) : context_(std::move(context)), settings_(std::move(s)) {}

keeper_session::~keeper_session() = default;

void keeper_session::start() {
  client_.emplace(settings_.client);
  input_ = client_->take_stdin();
  ::fcntl(input_.get(), F_SETFL, ::fcntl(input_.get(), F_GETFL) | O_NONBLOCK);
  const auto self = shared_from_this();
  context_.events->post([this, self] {
    context_.events->watch(client_->pidfd(), EPOLLIN, [this, self](std::uint32_t) {
      context_.events->unwatch(client_->pidfd());
      exited_ = true;
      client_->signal_group(SIGKILL); // what it has left behind
      client_->try_wait();
      if (open_streams_ == 0)
        return take_end();
      context_.events->call_after(output_grace, [this, self] { take_end(); });
    });
  });
  const auto ended = [this, self] {
    context_.events->post([this, self] {
      if (--open_streams_ == 0 && exited_)
        take_end();
    });
  };
  context_.pump->add(client_->take_stdout(), [this, self](std::string_view line) { take_line(line, false); }, ended);
  context_.pump->add(client_->take_stderr(), [this, self](std::string_view line) { take_line(line, true); }, ended);
}

// -- orders ---------------------------------------------------------------------------------------------------------------------

void keeper_session::send_cookie(const std::string& cookie) { order(keeper_cookie{cookie}); }

std::shared_ptr<started_worker> keeper_session::start_worker(const keeper_start& what, const std::shared_ptr<gathering>& g, int place) {
  const auto w = std::make_shared<worker>(shared_from_this(), what.index);
  w->belongs_to(g, place);
  {
    std::lock_guard guard{mutex_};
    workers_[what.index] = w;
  }
  g->add(w);
  order(what);
  // the client may have ended between the keeper's hello and this
  context_.events->post([self = shared_from_this(), w, index = what.index] {
    if (!self->ended_)
      return; // its end will find the worker
    {
      std::lock_guard guard{self->mutex_};
      self->workers_.erase(index);
    }
    w->take_end({}, "was lost with the connection to its host");
  });
  return w;
}

void keeper_session::complete() {
  {
    std::lock_guard guard{mutex_};
    complete_ = true;
  }
  order(keeper_complete{});
}

void keeper_session::order(const keeper_order& what) {
  context_.events->post([self = shared_from_this(), line = to_line(what) + "\n"] {
    if (self->exited_ || !self->input_)
      return;
    self->unsent_ += line;
    if (!self->waits_to_write_)
      self->write_orders();
  });
}

// Loop thread. A client that doesn't read must not hold it up.
void keeper_session::write_orders() {
  while (!unsent_.empty()) {
    const auto n = write_to_child(input_.get(), unsent_);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0 && errno == EAGAIN) {
      waits_to_write_ = true;
      context_.events->watch(input_.get(), EPOLLOUT, [this, self = shared_from_this()](std::uint32_t) {
        context_.events->unwatch(input_.get());
        waits_to_write_ = false;
        write_orders();
      });
      return;
    }
    if (n < 0) // its end tells
      return unsent_.clear();
    unsent_.erase(0, static_cast<std::size_t>(n));
  }
}

void keeper_session::close_input() {
  context_.events->post([self = shared_from_this()] {
    if (!self->waits_to_write_)
      self->input_.reset();
  });
}

void keeper_session::kill() {
  context_.events->post([self = shared_from_this()] {
    if (self->client_ && !self->exited_)
      self->client_->signal_group(SIGKILL);
  });
}

void keeper_session::kill_now() {
  if (client_)
    client_->signal_group(SIGKILL);
}

// -- news -------------------------------------------------------------------------------------------------------------------------

keeper_session::worker_ptr keeper_session::find(int index) {
  std::lock_guard guard{mutex_};
  const auto i = workers_.find(index);
  return i == workers_.end() ? nullptr : i->second;
}

// Pump thread.
void keeper_session::take_line(std::string_view line, bool is_stderr) {
  bool was_up = false;
  bool too_noisy = false;
  {
    std::lock_guard guard{mutex_};
    was_up = up_;
    if (is_stderr) {
      tail_.append(line).push_back('\n');
      if (tail_.size() > max_tail)
        tail_.erase(0, tail_.size() - max_tail);
    }
  }
  if (!is_stderr) {
    const auto at = was_up ? 0 : find_news(line);
    if (const auto news = at == std::string_view::npos ? std::nullopt : parse_news(line.substr(at))) {
      if (at != 0)
        context_.output(0, line.substr(0, at));
      return take_news(*news);
    }
  }
  {
    std::lock_guard guard{mutex_};
    if (noisy_)
      return; // it is about to be killed
    if (!up_)
      too_noisy = ++noise_ == max_noise_lines;
    noisy_ = too_noisy;
  }
  if (was_up)
    context_.warn(settings_.host + ": " + std::string{line});
  else
    context_.output(0, line);
  if (too_noisy)
    kill();
}

void keeper_session::take_news(const keeper_news& news) {
  if (const auto hello = std::get_if<keeper_hello>(&news)) {
    bool first;
    {
      std::lock_guard guard{mutex_};
      first = !up_ && !noisy_;
      up_ = up_ || first;
    }
    if (first)
      settings_.on_hello(*hello);
  } else if (const auto said = std::get_if<keeper_said>(&news)) {
    if (const auto w = find(said->index))
      w->take_line(said->line, said->is_stderr);
  } else if (const auto started = std::get_if<keeper_started>(&news)) {
    if (const auto w = find(started->index))
      w->set_pid(started->os_pid);
  } else {
    const auto self = shared_from_this();
    const auto ended = std::get_if<keeper_ended>(&news);
    const auto index = ended != nullptr ? ended->index : std::get<keeper_not_started>(news).index;
    const auto reason = ended != nullptr ? "" : "could not be started: " + std::get<keeper_not_started>(news).why;
    const exit_state state = ended != nullptr ? exit_state{ended->status, ended->signal, ended->core} : exit_state{};
    context_.events->post([this, self, index, state, reason] {
      const auto w = find(index);
      if (!w)
        return;
      w->take_end(state, reason);
      {
        std::lock_guard guard{mutex_};
        workers_.erase(index);
      }
      finish_when_over();
    });
  }
}

// Loop thread. The client ends by itself if the way to the keeper is whole.
void keeper_session::finish_when_over() {
  {
    std::lock_guard guard{mutex_};
    if (!complete_ || !std::all_of(workers_.begin(), workers_.end(), [](auto& w) { return w.second->is_lost(); }))
      return;
  }
  context_.events->call_after(farewell_time, [self = shared_from_this()] { self->kill(); });
}

// Loop thread. The client has ended, and so has its output.
void keeper_session::take_end() {
  if (ended_)
    return;
  ended_ = true;
  if (waits_to_write_)
    context_.events->unwatch(input_.get());
  waits_to_write_ = false;
  end e;
  e.state = client_->try_wait().value_or(exit_state{});
  std::map<int, worker_ptr> left;
  {
    std::lock_guard guard{mutex_};
    e.tail = tail_.substr(0, tail_.find_last_not_of('\n') + 1);
    e.was_up = up_;
    e.noisy = noisy_;
    left = std::move(workers_);
    workers_.clear();
  }
  const auto why = "was lost with the connection to its host: " + settings_.client.program + " " + e.state.to_text()
                   + (e.tail.empty() ? "" : ": " + e.tail);
  for (auto& [index, w] : left)
    w->take_end({}, why);
  settings_.on_end(e);
}

} // namespace troupe
