#pragma once

#include "troupe/actors/executor.hpp"

#include <caf/actor_system_config.hpp>
#include <caf/detail/thread_safe_actor_clock.hpp>
#include <caf/scheduler/abstract_coordinator.hpp>

#include <thread>

namespace troupe {

/// Has CAF's actors run by the executor that runs the tasks, with the same turns: a handler that blocks on one of troupe's waits
/// gives its turn to others.
class scheduler final : public caf::scheduler::abstract_coordinator {
public:
  /// Has the actor system that is made from `cfg` use it. The executor must outlive the system.
  static void load(caf::actor_system_config& cfg, executor& e);

  scheduler(caf::actor_system& system, executor& e);

  void start() override;
  void stop() override;
  void enqueue(caf::resumable* what) override;
  caf::actor_clock& clock() noexcept override;

  /// The actor whose handler the calling thread runs, or which it makes; 0: none.
  static caf::actor_id running_actor();

  /// Whether this is the first time that the calling thread asks since its actor began to run; false outside of actors.
  static bool first_message();

  /// While it lives, the calling thread runs code of an actor.
  class running_scope {
  public:
    explicit running_scope(caf::actor_id id);
    ~running_scope();
    running_scope(const running_scope&) = delete;
    running_scope& operator=(const running_scope&) = delete;

  private:
    const caf::actor_id outer_;
    const bool outer_sent_;
  };

  /// For executor::stop: lets go of the actor that a job which won't run was for.
  static void drop(executor::job j);

private:
  class unit;

  static void run(void* context, void* data);

  executor& executor_;
  caf::detail::thread_safe_actor_clock clock_;
  std::thread timer_;
};

} // namespace troupe
