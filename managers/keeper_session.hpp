#pragma once

#include "troupe/managers/child_process.hpp"
#include "troupe/managers/keeper_lines.hpp"
#include "troupe/managers/own_manager.hpp"
#include "troupe/managers/started_worker.hpp"

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

namespace troupe {

/// One host's keeper and its workers, as seen from here: a child process, ssh or whatever else runs `app --worker --keeper` somewhere and hands over its standard streams.
///
/// What has no lock of its own belongs to the loop's thread.
class keeper_session : public std::enable_shared_from_this<keeper_session> {
public:
  /// How the client has ended.
  struct end {
    exit_state state;
    /// The last lines that it, and the keeper, wrote to standard error.
    std::string tail;
    /// Whether the keeper has said hello, so that it was there.
    bool was_up = false;
    /// Too many lines came, and no hello.
    bool noisy = false;
  };

  struct settings {
    child_options client;
    /// As errors name it.
    std::string host;
    started_worker::delays kill_after{};
    /// Called once, when the keeper is there, in any thread. Not if the client ends before.
    std::function<void(const keeper_hello&)> on_hello;
    /// Called once, on the loop's thread, when the client has ended, after its workers' ends were told.
    std::function<void(const end&)> on_end;
  };

  /// What `context` points to must outlive it.
  keeper_session(manager_context context, settings s);
  ~keeper_session();
  keeper_session(const keeper_session&) = delete;
  keeper_session& operator=(const keeper_session&) = delete;

  /// Starts the client. Throws as child_process does. Once.
  void start();

  /// Orders. Any thread, once the keeper has said hello.
  void send_cookie(const std::string& cookie);
  std::shared_ptr<started_worker> start_worker(const keeper_start& what, const std::shared_ptr<gathering>& g, int place);
  void complete();

  /// The keeper gets no more orders, and goes at once, with all its workers, if the way to it is whole. Any thread.
  void close_input();
  /// Ends the client, and with it the keeper and all its workers. Any thread.
  void kill();
  /// The same at once, for a process that is about to end itself.
  void kill_now();

  const std::string& host() const { return settings_.host; }

private:
  class worker;
  using worker_ptr = std::shared_ptr<worker>;

  void order(const keeper_order& what);
  void write_orders();
  void take_line(std::string_view line, bool is_stderr);
  void take_news(const keeper_news& news);
  void take_end();
  void finish_when_over();
  worker_ptr find(int index);

  const manager_context context_;
  const settings settings_;
  std::optional<child_process> client_; // set by start
  unique_fd input_;
  std::string unsent_; // orders
  bool waits_to_write_ = false;
  int open_streams_ = 2;
  bool exited_ = false;
  bool ended_ = false;

  std::mutex mutex_; // guards the next ones; nothing else is locked while it is held
  std::map<int, worker_ptr> workers_; // that haven't ended
  bool up_ = false;
  bool complete_ = false;
  bool noisy_ = false;
  int noise_ = 0;
  std::string tail_;
};

} // namespace troupe
