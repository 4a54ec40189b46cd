// How workers come to the master: launched, in the place of others, by themselves.

#include "troupe/managers/master_state.hpp"

#include "troupe/actors/waiter.hpp"
#include "troupe/managers/siblings.hpp"
#include "troupe/managers/ssh_manager.hpp"
#include "troupe/transport/log.hpp"

#include <algorithm>

namespace troupe {

namespace {

// Of workers that come by themselves.
class guest_manager final : public cluster_manager {
public:
  void launch(const launch_options&, launch_sink&) override {}
};

} // namespace

std::vector<proc_id> master::add_local(int count, local_options options) {
  if (options.bind_addr.empty())
    options.bind_addr = settings_.bind_addr;
  auto manager = std::make_shared<local_manager>(count, options, context());
  return add(manager, options);
}

std::vector<proc_id> master::add_ssh(const std::vector<machine_spec>& machines, ssh_options options) {
  if (options.bind_addr.empty())
    options.bind_addr = settings_.bind_addr;
  auto manager = std::make_shared<ssh_manager>(machines, options, context());
  return add(manager, options);
}

// The cluster's form is settled while there are workers, or some are being added.
std::shared_ptr<master::batch> master::begin_adding(const launch_options& options) {
  auto b = std::make_shared<batch>();
  b->options = options;
  std::string wrong;
  process_.run_in_loop([&] {
    const bool settled = adding_ > 0 || std::any_of(workers_.begin(), workers_.end(), [](auto& w) {
                           return w.second->at == worker::stage::joining || w.second->at == worker::stage::member;
                         });
    auto form = settled ? process_.form() : cluster_form{settings_.topology, settings_.lazy};
    if (settled && options.topology.given() && options.topology != form.which) {
      wrong = "the cluster's topology is " + std::string{to_string(form.which)} + ", and can't become "
              + std::string{to_string(options.topology)} + " while it has workers";
    } else if (settled && options.lazy.given() && options.lazy != form.lazy && form.which == topology::all_to_all) {
      wrong = std::string{"the cluster's links "} + (form.lazy ? "open on first use (lazy)" : "open when workers join (not lazy)")
              + ", which can't be changed while it has workers";
    } else {
      if (options.topology.given())
        form.which = options.topology;
      if (options.lazy.given())
        form.lazy = options.lazy;
      process_.set_form(form);
      process_.net().set_restricted(form.which != topology::all_to_all);
      ++adding_;
    }
  });
  if (!wrong.empty())
    throw usage_error{"addprocs: " + wrong};
  return b;
}

// Blocks until all that were launched have joined, or failed, and everyone knows.
void master::finish_adding(const std::shared_ptr<batch>& b, const launch_options& options) {
  bool custom = false;
  bool lazy = true;
  process_.run_in_loop([&] {
    b->launching = false;
    b->check();
    custom = process_.form().which == topology::custom;
    lazy = process_.form().lazy && process_.form().which == topology::all_to_all;
  });
  try {
    b->done.wait();
  } catch (...) { // interrupted, or cancelled
    give_up_joining(b);
    throw;
  }
  const auto limit = lazy ? std::chrono::milliseconds{seen_time} : options.launch_timeout;
  if (custom && !wait_until([this, b] { return !missing_peer(*b); }, limit))
    process_.run_in_loop([&] {
      if (const auto who = missing_peer(*b))
        b->failures.push_back({process_.host(), launch_reason::silent, -1, *who + " within " + std::to_string(limit.count()) + " ms"});
    });
  wait_until_seen(limit);
}

// In a custom topology: that one of these workers is to have a link to one that there isn't. Loop thread.
std::optional<std::string> master::missing_peer(const batch& b) const {
  for (auto id : b.joined) {
    const auto w = find(id);
    if (!w || w->at != worker::stage::member)
      continue;
    for (auto ident : w->config.connect_idents) {
      const auto there = std::any_of(workers_.begin(), workers_.end(), [&](auto& other) {
        return other.second->config.ident == ident && other.second->at == worker::stage::member;
      });
      if (!there)
        return "worker " + std::to_string(id) + " (ident " + std::to_string(w->config.ident) + ") is to be connected to ident "
               + std::to_string(ident) + ", and no worker with that ident has joined";
    }
  }
  return std::nullopt;
}

std::vector<proc_id> master::add(const std::shared_ptr<cluster_manager>& manager, launch_options options) {
  if (!manager)
    throw usage_error{"addprocs: there is no manager"};
  if (options.respawn < 0)
    throw usage_error{"addprocs: respawn is " + std::to_string(options.respawn) + ", and can't be negative"};
  if (options.threads == 0)
    options.threads = settings_.threads;
  if (options.launch_timeout == launch_options{}.launch_timeout) // nothing else was said
    options.launch_timeout = settings_.launch_timeout;
  {
    std::lock_guard guard{cookie_mutex_};
    had_workers_ = true;
  }
  if (const auto own = std::dynamic_pointer_cast<own_manager>(manager)) {
    own->attach(context());
    keep(own);
  }
  const adding scope{*this, options};
  const auto& b = scope.b;
  sink to{*this, b, manager};
  std::exception_ptr problem;
  try {
    manager->launch(options, to);
  } catch (const interrupted&) {
    problem = std::current_exception();
    give_up_joining(b);
  } catch (...) {
    problem = std::current_exception();
  }
  finish_adding(b, options);
  if (problem)
    std::rethrow_exception(problem);
  auto joined = b->joined;
  process_.run_in_loop([&] {
    const auto place = [this](proc_id id) { return std::pair{find(id)->config.place, id}; };
    std::sort(joined.begin(), joined.end(), [&](proc_id x, proc_id y) { return place(x) < place(y); });
  });
  if (b->failures.empty() || options.partial)
    return joined;
  error_info info;
  info.kind = error_kind::launch;
  info.failures = b->failures;
  info.pids = joined;
  info.message = std::to_string(b->failures.size()) + (b->failures.size() == 1 ? " worker" : " workers") + " didn't come";
  if (!joined.empty())
    info.message += ", " + std::to_string(joined.size()) + " did";
  for (auto& f : b->failures)
    info.message += "\non " + f.host + " (" + std::string{to_string(f.reason)} + "): " + f.text;
  throw_error(std::move(info));
}

// -- in the place of one that was lost ------------------------------------------------------------------------------------

void cluster_manager::relaunch(const worker_config&, const launch_options&, launch_sink&) {
  throw usage_error{"its manager can't start a worker in the place of another"};
}

// Loop thread. A manager may block while it launches.
void master::replace(const worker_ptr& lost) {
  if (ending_ || lost->options.respawn == 0)
    return;
  auto options = lost->options;
  --options.respawn;
  process_.runtime()->jobs().submit(
    [this, manager = lost->manager, config = lost->config, options, id = lost->id] { relaunch(manager, config, options, id); });
}

void master::relaunch(const std::shared_ptr<cluster_manager>& manager, const worker_config& lost, const launch_options& options,
                      proc_id id) {
  const auto who = "worker " + std::to_string(id);
  try {
    const adding scope{*this, options};
    const auto& b = scope.b;
    b->replaces = id;
    b->place = {lost.ident, lost.connect_idents};
    sink to{*this, b, manager};
    manager->relaunch(lost, options, to);
    finish_adding(b, options);
    for (auto& f : b->failures)
      process::warn(who + " is not replaced: " + f.text);
    for (auto by : b->joined)
      log(log_level::info, "worker " + std::to_string(by) + " has come in the place of " + who
                             + (options.respawn > 0 ? "" : ", and won't be replaced if it is lost"));
  } catch (const interrupted&) {
    // the program ends
  } catch (const std::exception& e) {
    process::warn(who + " is not replaced: " + e.what());
  }
}

// -- workers that come by themselves -------------------------------------------------------------------------------------------

endpoint master::let_guests_in(const std::string& address) {
  {
    std::lock_guard guard{cookie_mutex_};
    had_workers_ = true;
  }
  auto where = let_dial(address);
  process_.run_in_loop([&] {
    if (!guests_)
      guests_ = std::make_shared<guest_manager>();
  });
  return where;
}

// Loop thread, while the guest is at the door.
std::optional<mesh::guest> master::take_guest(const hello& h) {
  if (!guests_ || ending_ || h.claim != guest_claim)
    return std::nullopt;
  auto w = std::make_shared<worker>();
  {
    std::lock_guard guard{ids_mutex_};
    w->id = ++last_id_;
  }
  w->config.host = h.host;
  w->config.claim = h.claim;
  w->config.os_pid = h.os_pid;
  w->manager = guests_;
  w->options.launch_timeout = settings_.launch_timeout;
  w->waiting = std::make_shared<batch>();
  w->waiting->pending = 1;
  workers_[w->id] = w;
  w->timer = process_.events().call_after(w->options.launch_timeout, [this, w] {
    process::warn("a worker on " + w->config.host + " that came by itself didn't finish joining in time");
    fail_set_up(w, launch_reason::silent, "didn't finish joining in time");
  });
  return mesh::guest{w->id, [this, w] {
                       if (w->at == worker::stage::joining)
                         send_join(w);
                     }};
}

// The user doesn't want to wait for those who haven't joined yet; those who have stay.
void master::give_up_joining(const std::shared_ptr<batch>& b) {
  process_.run_in_loop([&] {
    for (auto& [id, w] : workers_)
      if (w->waiting == b)
        fail_set_up(w, launch_reason::silent, "had not joined when the launch was interrupted");
  });
}

// Loop thread.
void master::set_up(const worker_ptr& w) {
  workers_[w->id] = w;
  if (ending_)
    return fail_set_up(w, launch_reason::died, "came when the program had ended");
  w->timer = process_.events().call_after(w->options.launch_timeout, [this, w] {
    fail_set_up(w, launch_reason::silent, "didn't finish joining within " + std::to_string(w->options.launch_timeout.count()) + " ms");
  });
  w->watched = w->manager->watch(w->id, w->config, [this, id = w->id](const exit_cause& cause) {
    process_.events().post([this, id, cause] { process_ended(id, cause); });
  });
  if (!w->config.claim.empty())
    return process_.net().expect(w->id, w->config.claim, [this, w] { send_join(w); });
  process_.net().adopt(
    w->id, {w->config.host, w->config.port}, w->options.launch_timeout,
    [this, w](const std::string& why_not) {
      if (!why_not.empty())
      // its end, if it has ended, says more
        process_.events().call_after(link_time,
                                     [this, w, why_not] { fail_set_up(w, launch_reason::unreachable, "can't be reached: " + why_not); });
      else
        send_join(w);
    },
    w->config.through_master);
}

void master::send_join(const worker_ptr& w) {
  frame_builder f;
  f.start(frame_kind::join);
  write(f.out(), join_request{process_.form(),
                              {w->config.ident, w->config.connect_idents},
                              process_.members().all(),
                              process_.members().draining(),
                              options_,
                              names_.send_all(w->id),
                              join_functions_});
  w->told = true;
  process_.net().send(w->id, f, urgency::now);
}

void master::take_answer(proc_id from, const frame_view& f) {
  reader in{f.payload};
  auto answer = read<join_answer>(in);
  in.expect_end();
  auto w = find(from);
  if (!w || w->at != worker::stage::joining)
    return;
  if (!answer.problem.empty())
    return fail_set_up(w, launch_reason::refused, "refused to join: " + answer.problem);
  process_.events().cancel(w->timer);
  process_.net().forget_claim(w->id);
  w->at = worker::stage::member;
  answer.self.id = w->id;
  if (w->config.claim.empty() && !w->config.through_master) // else it knows best how others reach it
    answer.self.where = {w->config.host, w->config.port};
  answer.self.info.address = answer.self.where.to_text();
  answer.self.place = {w->config.ident, w->config.connect_idents};
  answer.self.replaces = w->replaces;
  answer.self.info.started = std::chrono::system_clock::now();
  if (w->config.os_pid == 0)
    w->config.os_pid = answer.self.info.os_pid;
  w->manager->manage(w->id, w->config, manage_op::registered);
  membership_change change;
  change.joined.push_back(answer.self);
  broadcast(std::move(change));
  if (w->manager == guests_)
    log(log_level::info, "worker " + std::to_string(w->id) + " has joined from " + answer.self.info.host);
  auto b = std::move(w->waiting);
  b->joined.push_back(w->id);
  if (w->config.count != 1)
    add_siblings(w, b);
  --b->pending;
  b->check();
}

// Has a worker that has just joined start the others of its host.
void master::add_siblings(const worker_ptr& first, const std::shared_ptr<batch>& b) {
  ++b->pending;
  sibling_orders orders;
  orders.count = std::max(first->config.count - 1, 0);
  orders.exename = first->config.exename;
  orders.exeflags = first->config.exeflags;
  orders.threads = std::max(first->options.threads, 1);
  orders.timeout_ms = first->options.launch_timeout.count();
  process_.runtime()->jobs().submit([this, first, b, orders, manager = first->manager] {
    started_siblings got;
    try {
      got = start_siblings(first->id, orders);
    } catch (const std::exception& e) {
      got.failures.emplace_back(e.what());
    }
    process_.events().post([this, first, b, got, manager] {
      for (auto& why : got.failures)
        b->failures.push_back(
          {first->config.host, launch_reason::no_address, -1, "beside worker " + std::to_string(first->id) + ": " + why});
      const auto of_them = std::make_shared<sibling_manager>(process_, first->id, manager);
      for (std::size_t i = 0; i < got.listening.size(); ++i) {
        auto w = std::make_shared<worker>();
        {
          std::lock_guard guard{ids_mutex_};
          w->id = ++last_id_;
        }
        w->config = first->config;
        w->config.count = 1;
        w->config.host = got.listening[i].address;
        w->config.port = got.listening[i].port;
        w->config.os_pid = got.os_pids[i];
        w->manager = of_them;
        w->options = b->options;
        w->waiting = b;
        ++b->pending;
        set_up(w);
      }
      --b->pending;
      b->check();
    });
  });
}

// Lets go of what the manager keeps for a worker: its process's descriptor, in the first place. What the manager has still to do
// with it, it holds itself.
void master::retire(worker& w) {
  w.config.userdata.reset();
  w.manager.reset();
}

void master::fail_set_up(const worker_ptr& w, launch_reason reason, const std::string& text) {
  if (w->at != worker::stage::joining)
    return;
  process_.events().cancel(w->timer);
  w->at = worker::stage::gone;
  exit_cause cause = w->cause ? *w->cause : exit_cause{};
  if (!w->cause)
    cause.reason = "never joined";
  process_.net().mark_gone(w->id, gone_error(w->id, cause));
  w->manager->manage(w->id, w->config, manage_op::finalize);
  w->manager->kill(w->id, w->config);
  auto b = std::move(w->waiting);
  auto who = "worker " + std::to_string(w->id) + (w->config.os_pid != 0 ? " (OS pid " + std::to_string(w->config.os_pid) + ") " : " ");
  auto tail = cause.stderr_tail.empty() ? "" : "; its last words:\n" + cause.stderr_tail;
  auto greeting = process_.net().greeting(w->id);
  auto host = !cause.host.empty() ? cause.host : greeting ? greeting->host : w->config.host;
  b->failures.push_back({host, reason, cause.status, who + text + tail});
  --b->pending;
  b->check();
  names_.gone(w->id);
  retire(*w);
}

} // namespace troupe
