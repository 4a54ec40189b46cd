#pragma once

#include "troupe/actors/future_state.hpp"
#include "troupe/managers/child_process.hpp"
#include "troupe/managers/own_manager.hpp"

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace troupe {

class gathering;

/// A worker process that one of our managers has started, in whatever way: from its start, over the line that tells its address, to its end. It is the userdata of its config.
///
/// What has no lock of its own belongs to the loop's thread, but for what is set before that knows it.
class started_worker : public std::enable_shared_from_this<started_worker> {
public:
  /// Before SIGUSR1, SIGQUIT, SIGKILL.
  using delays = std::array<std::chrono::milliseconds, 3>;

  /// `host`: as errors name it. What `context` points to must outlive it.
  started_worker(manager_context context, std::string host, delays kill_after);
  virtual ~started_worker();
  started_worker(const started_worker&) = delete;
  started_worker& operator=(const started_worker&) = delete;

  /// Who waits for its address, and which place it has among those that are launched together. Before there are lines.
  void belongs_to(std::shared_ptr<gathering> g, int place);

  int place() const { return place_; }

  /// 0: unknown.
  virtual std::int64_t os_pid() const = 0;
  /// To its process alone, and to all in its group. Loop thread.
  virtual void signal(int number) = 0;
  virtual void signal_group(int number) = 0;

  /// A line that it has written. Any thread, one line at a time.
  void take_line(std::string_view line, bool is_stderr);
  /// Its process is gone, what it wrote may not all be here. Loop thread.
  void set_exited();
  /// Its process has ended, and so has its output; `reason` where its status isn't known. Once; loop thread.
  void take_end(const exit_state& state, const std::string& reason = {});
  bool has_ended() const { return cause_.has_value(); }

  /// What the functions of cluster_manager do for one worker, by the same rules.
  void manage(proc_id id, manage_op op);
  void kill();
  virtual void lost();
  void watch(std::function<void(exit_cause)> ended);

  /// The failure of its launch.
  launch_failure explain(launch_reason reason, int status, const std::string& text);
  worker_config config_at(const endpoint& where);

  static std::shared_ptr<started_worker> of(const worker_config& config);

protected:
  const manager_context& context() const { return context_; }
  const std::string& host() const { return host_; }

private:
  void escalate(std::size_t stage);
  std::string last_words();

  const manager_context context_;
  const std::string host_;
  const delays kill_after_;
  std::shared_ptr<gathering> gathering_;
  int place_ = 0;

  std::mutex mutex_; // guards the next ones; nothing else is locked while it is held
  bool announced_ = false;
  int noise_ = 0;
  proc_id id_ = 0;
  std::string tail_; // the last lines of its stderr

  bool exited_ = false;
  std::optional<exit_cause> cause_;
  std::function<void(exit_cause)> on_end_;
  loop::timer_id kill_timer_ = 0;
};

/// What a launch waits for: that each worker has told its address, or has failed. Any thread.
class gathering {
public:
  using worker_ptr = std::shared_ptr<started_worker>;
  using address_handler = std::function<void(const worker_ptr&, const endpoint&)>;

  /// `on_address` is called when a worker has told its address, in place of telling the sink; `on_failure` when one has failed.
  explicit gathering(launch_sink& sink, address_handler on_address = nullptr, std::function<void()> on_failure = nullptr);

  void add(const worker_ptr& w);
  bool waits_for(const started_worker& w);
  void address_told(const worker_ptr& w, const endpoint& where);

  /// These take a worker off the list and tell the sink; nothing happens if it isn't there any more.
  bool launched(const started_worker& w, worker_config config);
  bool failed(const started_worker& w, launch_failure why);
  /// Something that never was a worker.
  void failed(launch_failure why);

  /// Nothing is added any more.
  void all_started();
  /// Becomes ready when all are started and none is waited for.
  detail::future_state& done() { return *done_; }

  /// The launch is over: who is still waited for fails for that reason, and is killed. The sink isn't called afterwards.
  void close(const manager_context& context, const std::string& why);

private:
  template <class Tell>
  bool settle(const started_worker& w, Tell tell);

  const address_handler on_address_;
  const std::function<void()> on_failure_;
  std::mutex mutex_; // held while the sink is called, which must be over when launch returns
  launch_sink* sink_; // null once it has returned
  std::map<const started_worker*, worker_ptr> waiting_;
  bool all_started_ = false;
  const std::shared_ptr<detail::future_state> done_ = std::make_shared<detail::future_state>();
};

} // namespace troupe
