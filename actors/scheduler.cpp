#include "troupe/actors/scheduler.hpp"

#include "troupe/actors/named_values.hpp"
#include "troupe/actors/waiter.hpp"

#include <caf/execution_unit.hpp>
#include <caf/resumable.hpp>
#include <caf/scheduled_actor.hpp>

#include <utility>

namespace troupe {

namespace {

thread_local caf::actor_id running = 0;
thread_local bool sent = false; // a message, by the running actor

caf::actor_id actor_id_of(caf::resumable* what) {
  return what->subtype() == caf::resumable::scheduled_actor ? static_cast<caf::scheduled_actor*>(what)->id() : 0;
}

} // namespace

// What an actor runs on: others that it wakes go to the executor's queue.
class scheduler::unit final : public caf::execution_unit {
public:
  explicit unit(scheduler& s) : caf::execution_unit(&s.system()), scheduler_(s) {}

  void exec_later(caf::resumable* what) override { scheduler_.enqueue(what); }

private:
  scheduler& scheduler_;
};

void scheduler::load(caf::actor_system_config& cfg, executor& e) {
  cfg.module_factories.push_back([&e](caf::actor_system& system) -> caf::actor_system::module* { return new scheduler{system, e}; });
}

scheduler::scheduler(caf::actor_system& system, executor& e) : caf::scheduler::abstract_coordinator(system), executor_(e) {}

void scheduler::start() {
  timer_ = std::thread{[this] {
    waiter::no_blocking guard{"nothing that runs on CAF's clock may block"};
    clock_.run_dispatch_loop();
  }};
  abstract_coordinator::start();
}

void scheduler::stop() {
  stop_actors();
  clock_.cancel_dispatch_loop();
  timer_.join();
  executor_.stop(drop);
}

void scheduler::drop(executor::job j) {
  if (j.run == run)
    cleanup_and_release(static_cast<caf::resumable*>(j.data));
}

void scheduler::run(void* context, void* data) {
  auto& self = *static_cast<scheduler*>(context);
  auto what = static_cast<caf::resumable*>(data);
  unit u{self};
  named_pins pins{named_pins::sees::newest};
  running_scope scope{actor_id_of(what)};
  switch (what->resume(&u, self.max_throughput())) {
    case caf::resumable::resume_later:
      self.enqueue(what);
      break;
    default:
      intrusive_ptr_release(what);
  }
}

bool scheduler::first_message() { return running != 0 && !std::exchange(sent, true); }

scheduler::running_scope::running_scope(caf::actor_id id) : outer_(std::exchange(running, id)), outer_sent_(std::exchange(sent, false)) {}

scheduler::running_scope::~running_scope() {
  running = outer_;
  sent = outer_sent_;
}

caf::actor_id scheduler::running_actor() { return running; }

void scheduler::enqueue(caf::resumable* what) {
  if (!executor_.submit({run, this, what}))
    cleanup_and_release(what);
}

caf::actor_clock& scheduler::clock() noexcept { return clock_; }

} // namespace troupe
