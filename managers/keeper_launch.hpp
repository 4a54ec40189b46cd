#pragma once

#include "troupe/managers/keeper_session.hpp"
#include "troupe/managers/launch_queue.hpp"

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace troupe {

/// A host on which workers are to be started by a keeper.
struct keeper_host {
  /// As errors name it.
  std::string name;
  /// How many workers, or auto_count.
  int count = 1;
  /// The number of the first on that host, and its worker_config::place; the others' follow.
  int first = 0;
  int place = 0;
  /// What brings its keeper there.
  child_options client;
};

/// A worker that listens.
struct told_worker {
  std::shared_ptr<started_worker> worker;
  endpoint where;
};

/// Starts workers on several hosts at a time, by one keeper on each, and waits until they listen. Some hosts may fail.
///
/// The functions of `ways` are called by the thread that launches, unless another is named.
class keeper_launch : public std::enable_shared_from_this<keeper_launch> {
public:
  struct ways {
    /// What to start as the worker with this number, of so many that are started on that host.
    std::function<keeper_start(std::size_t host, int index, int count, const keeper_hello& there)> order;
    /// The client has ended before there was a keeper.
    std::function<launch_failure(std::size_t host, const keeper_session::end&)> explain;
    /// Who listens on that host, once all its workers do or have failed. Hands them to `launched` or `failed`, now or later. Not given: they are all launched.
    std::function<void(std::size_t host, const std::shared_ptr<keeper_session>&, std::vector<told_worker>)> all_told;
    /// A client has been started. May be empty.
    std::function<void(const std::shared_ptr<keeper_session>&)> started;
    /// A host's client has ended, after the launch or in it. On the loop's thread. May be empty.
    std::function<void(std::size_t host)> gone;
  };

  struct settings {
    manager_context context;
    started_worker::delays kill_after{};
    /// What keepers give to their workers; empty: nothing.
    std::string cookie;
    /// How many clients may be on their way to their keepers at a time.
    int max_parallel = 10;
    std::chrono::milliseconds launch_timeout{0};
    /// What the clients are, for errors: "ssh".
    std::string client_name;
  };

  keeper_launch(settings s, std::vector<keeper_host> hosts, ways w);

  /// Until all workers have come or failed, or the time is over. Throws `interrupted`.
  void run(launch_sink& sink);

  /// For all_told, in any thread.
  void launched(const told_worker& w, worker_config config);
  void failed(const told_worker& w, launch_failure why);

  /// What else the launch has to wait for runs in its thread by this.
  const std::shared_ptr<launch_queue>& queue() const { return queue_; }
  /// Waits until fewer than max_parallel are being made, then calls `begin`, which must see to it that give_slot is called once.
  void take_slot(std::function<void()> begin);
  void give_slot();

  const std::vector<std::shared_ptr<keeper_session>>& sessions() const { return sessions_; }

private:
  struct state {
    bool connecting = false; // has a slot
    bool settled = false; // its workers are ordered, or won't be
    bool tunnelled = false; // all_told was called
    std::string address; // where the host can be reached
    std::vector<std::shared_ptr<started_worker>> workers;
    std::vector<told_worker> told;
  };

  void begin(std::size_t host);
  void take_hello(std::size_t host, const keeper_hello& there);
  void take_end(std::size_t host, const keeper_session::end& end);
  void take_address(const std::shared_ptr<started_worker>& w, const endpoint& where);
  void look_who_has_told();
  void settle(std::size_t host);
  void begin_more();
  void give_up();

  const settings settings_;
  const std::vector<keeper_host> hosts_;
  const ways ways_;
  const std::shared_ptr<launch_queue> queue_ = std::make_shared<launch_queue>();
  std::shared_ptr<gathering> gathering_;
  std::vector<std::shared_ptr<keeper_session>> sessions_; // null: not begun
  std::vector<state> states_;
  std::vector<std::function<void()>> waiting_; // for a slot, the first at the end
  int taken_ = 0;
  std::size_t unsettled_ = 0;
};

} // namespace troupe
