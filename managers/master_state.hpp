#pragma once

#include "troupe/actors/future_state.hpp"
#include "troupe/managers/master.hpp"

/// What the master knows of its workers, and of additions and removals that are under way: for its own source files.
namespace troupe {

/// A worker that has ended has mostly closed its link, on which its last frames come.
inline constexpr std::chrono::milliseconds link_time{250};
/// Others hear of a change within this time, or hear of it later.
inline constexpr std::chrono::seconds seen_time{5};

// An addition or a removal: what it waits for, and what came of it. Loop thread, but for `done`.
struct master::batch {
  bool launching = true;
  int pending = 0;
  std::vector<proc_id> joined;
  std::vector<launch_failure> failures;
  launch_options options;
  proc_id replaces = 0; // the worker that was lost
  place_in_topology place; // of that one
  detail::future_state done;

  void check() {
    if (!launching && pending == 0)
      done.set_value({});
  }
};

struct master::worker {
  enum class stage { joining, member, leaving, gone };

  proc_id id;
  worker_config config;
  std::shared_ptr<cluster_manager> manager;
  launch_options options;
  proc_id replaces = 0;
  stage at = stage::joining;
  std::shared_ptr<batch> waiting; // for it to join, or to leave
  loop::timer_id timer = 0;
  std::optional<std::string> link_end;
  std::optional<exit_cause> cause;
  bool watched = false;
  bool drained = false;
  bool told = false; // has been sent the members, and hears of all changes from then on
  std::uint64_t seen = 0;
};

// An addition, from its beginning to its end.
struct master::adding {
  adding(master& m, const launch_options& options) : self(m), b(m.begin_adding(options)) {}
  ~adding() {
    self.process_.run_in_loop([this] { --self.adding_; });
  }
  adding(const adding&) = delete;
  adding& operator=(const adding&) = delete;

  master& self;
  const std::shared_ptr<batch> b;
};

// What managers report to. Hands everything to the loop's thread.
class master::sink final : public launch_sink {
public:
  sink(master& m, std::shared_ptr<batch> b, std::shared_ptr<cluster_manager> manager)
    : master_(m), batch_(std::move(b)), manager_(std::move(manager)) {}

  void launched(worker_config config) override {
    auto w = std::make_shared<worker>();
    {
      std::lock_guard guard{master_.ids_mutex_};
      w->id = ++master_.last_id_;
    }
    w->config = std::move(config);
    w->manager = manager_;
    w->options = batch_->options;
    w->replaces = batch_->replaces;
    if (w->replaces != 0) {
      w->config.ident = batch_->place.ident;
      w->config.connect_idents = batch_->place.connect_idents;
    }
    w->waiting = batch_;
    master_.process_.events().post([&m = master_, w] {
      ++w->waiting->pending;
      m.set_up(w);
    });
  }

  void failed(launch_failure why) override {
    master_.process_.events().post([b = batch_, why = std::move(why)] { b->failures.push_back(why); });
  }

private:
  master& master_;
  std::shared_ptr<batch> batch_;
  std::shared_ptr<cluster_manager> manager_;
};

} // namespace troupe
