#include "troupe/managers/siblings.hpp"

#include "troupe/actors/begin_call.hpp"
#include "troupe/managers/local_manager.hpp"
#include "troupe/managers/output_pump.hpp"
#include "troupe/managers/rank_keeper.hpp"
#include "troupe/managers/usable_cpus.hpp"

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <map>
#include <mutex>
#include <optional>
#include <thread>

namespace troupe {

// What is asked of the first worker is done by a local manager there, whose workers it knows by their OS pids.
struct sibling_starter::state {
  state(process& p, std::string at) : here(p), bind_addr(std::move(at)) {}

  manager_context context() {
    std::lock_guard guard{mutex};
    if (!pump) // it has a thread, which few workers need
      pump.emplace();
    manager_context c;
    c.events = &here.events();
    c.pump = &*pump;
    c.cookie = here.net().cookie();
    c.host = here.host();
    c.output = [](proc_id id, std::string_view line) {
      auto text = rank_keeper::text_of(id);
      text.append(line).push_back('\n');
      std::fwrite(text.data(), 1, text.size(), stdout);
    };
    c.warn = process::warn;
    return c;
  }

  process& here;
  const std::string bind_addr;
  std::mutex mutex; // guards the next ones
  std::optional<output_pump> pump;
  std::vector<std::shared_ptr<local_manager>> managers;
  std::map<std::int64_t, std::pair<std::shared_ptr<local_manager>, worker_config>> started; // by OS pid
};

namespace {

std::atomic<std::shared_ptr<void>>& starter_of_process() {
  static std::atomic<std::shared_ptr<void>> s;
  return s;
}

// What a manager's function is called for.
enum what : int { registered, to_interrupt, finalized, killed, is_lost };

} // namespace

sibling_starter::sibling_starter(process& p, std::string bind_addr) : state_(std::make_shared<state>(p, std::move(bind_addr))) {
  starter_of_process().store(state_);
}

sibling_starter::~sibling_starter() {
  starter_of_process().store({});
  std::lock_guard guard{state_->mutex};
  for (auto& m : state_->managers)
    m->kill_all();
}

started_siblings start_siblings(proc_id on, const sibling_orders& orders) {
  const auto start = [](const sibling_orders& o) {
    struct collecting final : launch_sink {
      void launched(worker_config config) override {
        std::lock_guard guard{mutex};
        all.push_back(std::move(config));
      }
      void failed(launch_failure why) override {
        std::lock_guard guard{mutex};
        out.failures.push_back(why.text);
      }
      std::mutex mutex;
      std::vector<worker_config> all;
      started_siblings out;
    } sink;
    const auto s = std::static_pointer_cast<sibling_starter::state>(starter_of_process().load());
    if (!s)
      throw usage_error{"this process can't start others beside it: it doesn't serve as a worker"};
    const auto count = o.count > 0 ? o.count : usable_cpus() - 1;
    local_options options;
    options.exename = o.exename;
    options.exeflags = o.exeflags;
    options.bind_addr = s->bind_addr;
    options.threads = o.threads;
    options.launch_timeout = std::chrono::milliseconds{o.timeout_ms};
    const auto manager = std::make_shared<local_manager>(count, options, s->context());
    {
      std::lock_guard guard{s->mutex};
      s->managers.push_back(manager);
    }
    manager->launch(options, sink);
    std::lock_guard guard{s->mutex};
    for (auto& config : sink.all) {
      sink.out.listening.push_back({config.host, config.port});
      sink.out.os_pids.push_back(config.os_pid);
      s->started[config.os_pid] = {manager, config};
    }
    return sink.out;
  };
  return detail::begin_call(on, {}, start, orders).get();
}

void sibling_manager::tell(proc_id id, const worker_config& config, int op) {
  if (process_.net().gone(first_))
    return; // and they with it
  const auto act = [](proc_id id, std::int64_t os_pid, int op) {
    const auto s = std::static_pointer_cast<sibling_starter::state>(starter_of_process().load());
    if (!s)
      return;
    std::lock_guard guard{s->mutex};
    const auto found = s->started.find(os_pid);
    if (found == s->started.end())
      return;
    auto& [manager, config] = found->second;
    if (op == killed)
      manager->kill(id, config);
    else if (op == is_lost)
      manager->lost(id, config);
    else
      manager->manage(id, config,
                      op == registered     ? manage_op::registered
                      : op == to_interrupt ? manage_op::interrupt
                                           : manage_op::finalize);
  };
  // not on the loop's thread, where a sender can't wait
  process_.runtime()->jobs().submit([first = first_, act, id, os_pid = config.os_pid, op] {
    try {
      detail::begin_call(first, {.flags = detail::call_no_reply}, direct(act), id, os_pid, op);
    } catch (const error&) {
      // it has gone, and they with it
    }
  });
}

void sibling_manager::manage(proc_id id, const worker_config& config, manage_op op) {
  if (of_first_)
    of_first_->manage(id, config, op);
  if (op != manage_op::deregistered)
    tell(id, config, op == manage_op::registered ? registered : op == manage_op::interrupt ? to_interrupt : finalized);
}

void sibling_manager::kill(proc_id id, const worker_config& config) { tell(id, config, killed); }

void sibling_manager::lost(proc_id id, const worker_config& config) { tell(id, config, is_lost); }

} // namespace troupe
