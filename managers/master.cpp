#include "troupe/managers/master.hpp"

#include "troupe/actors/waiter.hpp"
#include "troupe/managers/bind_address.hpp"
#include "troupe/managers/rank_keeper.hpp"
#include "troupe/managers/siblings.hpp"
#include "troupe/managers/ssh_manager.hpp"
#include "troupe/managers/start_line.hpp"
#include "troupe/transport/cookie.hpp"
#include "troupe/transport/status_line.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <set>
#include <unistd.h>

namespace troupe {

namespace {

using namespace std::chrono_literals;

// A worker that has ended has mostly closed its link, on which its last frames come.
constexpr auto link_time = 250ms;
// Others hear of a change within this time, or hear of it later.
constexpr auto seen_time = 5s;
constexpr auto leave_time = 5s;

std::vector<proc_id> those_but_master(std::vector<proc_id> ids) {
  std::erase(ids, master_id);
  return ids;
}

std::uint64_t random_number() {
  std::random_device rd;
  std::uint64_t x = 0;
  while (x == 0)
    x = (std::uint64_t{rd()} << 32) | rd();
  return x;
}

} // namespace

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
  adding(master& m, const launch_options& options) : self(m), b(m.begin_adding(options)) {
  }
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
    : master_(m), batch_(std::move(b)), manager_(std::move(manager)) {
  }

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

namespace {

// Of workers that come by themselves.
class guest_manager final : public cluster_manager {
public:
  void launch(const launch_options&, launch_sink&) override {
  }
};

} // namespace

master::master(settings s)
  : settings_(std::move(s)),
    process_(settings_.cookie, master_id, random_number(),
             {[this](proc_id from, frame_view& f) { control(from, f); },
              [this](proc_id id, const std::string& why) { link_down(id, why); },
              [this](proc_id id, const std::string& why) { unreachable(id, why); }, [](const std::string&) {}, [](const hello&) {}, nullptr,
              [this](const hello& h) { return take_guest(h); }},
             std::move(settings_.net)),
    pool_([this] { return those_but_master(process_.members().procs()); }),
    names_(process_, [this] { return listeners(); }) {
  process_.make_runtime(settings_.threads);
  process_.members().add(process_.self());
  process_.start();
}

master::~master() = default;

manager_context master::context() {
  manager_context c;
  c.events = &process_.events();
  c.pump = &pump_;
  {
    std::lock_guard guard{cookie_mutex_};
    c.cookie = settings_.cookie;
  }
  c.host = process_.host();
  c.output = [this](proc_id id, std::string_view line) { print(id, line); };
  c.warn = process::warn;
  c.listen = [this](const std::string& address) { return let_dial(address); };
  return c;
}

void master::set_options(option_values values) {
  process_.run_in_loop([&] { options_ = std::move(values); });
}

void master::set_cookie(const std::string& cookie) {
  try {
    check_cookie(cookie);
  } catch (const std::invalid_argument& e) {
    throw usage_error{e.what()};
  }
  std::lock_guard guard{cookie_mutex_};
  if (had_workers_)
    throw usage_error{"the cookie can be set only before the first worker"};
  settings_.cookie = cookie;
  process_.run_in_loop([&] { process_.net().set_cookie(cookie); });
}

void master::on_join(join_function f) {
  process_.run_in_loop([&] { join_functions_.push_back(std::move(f)); });
}

// -- output -----------------------------------------------------------------------------------------------------------------

void master::on_output(output_handler handler) {
  std::lock_guard guard{output_mutex_};
  output_ = std::move(handler);
}

void master::print(proc_id id, std::string_view line) {
  output_handler handler;
  {
    std::lock_guard guard{output_mutex_};
    handler = output_;
  }
  if (handler && id != 0) {
    try {
      const status_line::hidden meanwhile; // it may print
      return handler(id, line);
    } catch (const std::exception& e) {
      process::warn(std::string{"the handler given to on_output threw: "} + e.what());
    } catch (...) {
      process::warn("the handler given to on_output threw an exception that is not derived from std::exception");
    }
  }
  auto text = id == 0 ? std::string{"      From a worker that starts:\t"} : rank_keeper::text_of(id);
  text.append(line).push_back('\n');
  if (!status_line::print(stdout, text) && !output_lost_) {
    output_lost_ = true;
    process::warn(std::string{"what workers write can't be shown on the standard output: "} + std::strerror(errno));
  }
}

// -- workers that come --------------------------------------------------------------------------------------------------------

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

void master::keep(const std::shared_ptr<own_manager>& manager) {
  std::lock_guard guard{own_managers_mutex_};
  std::erase_if(own_managers_, [](auto& weak) { return weak.expired(); });
  own_managers_.push_back(manager);
}

std::optional<rank_group> master::ranks_of(const std::vector<proc_id>& ids) {
  std::lock_guard guard{own_managers_mutex_};
  for (auto& weak : own_managers_)
    if (const auto job = std::dynamic_pointer_cast<mpi_world>(weak.lock()))
      if (auto group = job->group_of(ids))
        return group;
  return std::nullopt;
}

// Empty: at all addresses, of which the one is told that other hosts reach.
endpoint master::let_dial(const std::string& address) {
  endpoint out;
  std::exception_ptr failed;
  process_.run_in_loop([&] {
    try {
      for (auto& l : listeners_)
        if (l.at == address) {
          out = l.where;
          return;
        }
      const auto reached_at = choose_bind_address();
      const auto everywhere = reached_at.find(':') == std::string::npos ? "0.0.0.0" : "::"; // the latter for IPv4, too
      auto at = parse_bind_address(address.empty() ? everywhere : address);
      at.address = resolve_bind_address(at.address);
      auto net = std::make_unique<tcp_transport>();
      out = net->listen(process_.events(), at, [this](std::unique_ptr<byte_stream> s) { process_.net().knock(std::move(s)); });
      if (address.empty())
        out.address = reached_at;
      listeners_.push_back({address, out, std::move(net)});
    } catch (...) {
      failed = std::current_exception();
    }
  });
  if (failed)
    std::rethrow_exception(failed);
  return out;
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
      wrong = "the cluster's topology is " + std::string{to_string(form.which)} + ", and can't become " + std::string{to_string(options.topology)}
              + " while it has workers";
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
  } catch (const interrupted&) {
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
        return "worker " + std::to_string(id) + " (ident " + std::to_string(w->config.ident) + ") is to be connected to ident " + std::to_string(ident)
               + ", and no worker with that ident has joined";
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
  process_.runtime()->jobs().submit([this, manager = lost->manager, config = lost->config, options, id = lost->id] { relaunch(manager, config, options, id); });
}

void master::relaunch(const std::shared_ptr<cluster_manager>& manager, const worker_config& lost, const launch_options& options, proc_id id) {
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
      process::warn("worker " + std::to_string(by) + " has come in the place of " + who + (options.respawn > 0 ? "" : ", and won't be replaced if it is lost"));
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
  w->timer = process_.events().call_after(w->options.launch_timeout, [this, w] {
    fail_set_up(w, launch_reason::silent, "didn't finish joining within " + std::to_string(w->options.launch_timeout.count()) + " ms");
  });
  w->watched = w->manager->watch(w->id, w->config, [this, id = w->id](const exit_cause& cause) {
    process_.events().post([this, id, cause] { process_ended(id, cause); });
  });
  if (!w->config.claim.empty())
    return process_.net().expect(w->id, w->config.claim, [this, w] { send_join(w); });
  process_.net().adopt(w->id, {w->config.host, w->config.port}, w->options.launch_timeout, [this, w](const std::string& why_not) {
    if (!why_not.empty())
      // its end, if it has ended, says more
      process_.events().call_after(link_time, [this, w, why_not] { fail_set_up(w, launch_reason::unreachable, "can't be reached: " + why_not); });
    else
      send_join(w);
  });
}

// Who hears of named values: the workers that have been sent those that there were, and will be.
std::vector<named_changes::listener> master::listeners() const {
  std::vector<named_changes::listener> out;
  for (auto& [id, w] : workers_)
    if (w->told && (w->at == worker::stage::joining || w->at == worker::stage::member))
      out.push_back({id, w->at == worker::stage::member});
  return out;
}

void master::send_join(const worker_ptr& w) {
  frame_builder f;
  f.start(frame_kind::join);
  write(f.out(), join_request{process_.form(), {w->config.ident, w->config.connect_idents}, process_.members().all(), options_, names_.send_all(w->id), join_functions_});
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
    process::warn("worker " + std::to_string(w->id) + " has joined from " + answer.self.info.host);
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
        b->failures.push_back({first->config.host, launch_reason::no_address, -1, "beside worker " + std::to_string(first->id) + ": " + why});
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
  auto who = "worker " + std::to_string(w->id)
             + (w->config.os_pid != 0 ? " (OS pid " + std::to_string(w->config.os_pid) + ") " : " ");
  auto tail = cause.stderr_tail.empty() ? "" : "; its last words:\n" + cause.stderr_tail;
  auto greeting = process_.net().greeting(w->id);
  auto host = !cause.host.empty() ? cause.host : greeting ? greeting->host : w->config.host;
  b->failures.push_back({host, reason, cause.status, who + text + tail});
  --b->pending;
  b->check();
  names_.gone(w->id);
  retire(*w);
}

// -- workers that go ----------------------------------------------------------------------------------------------------------

void master::link_down(proc_id id, const std::string& why) {
  auto w = find(id);
  if (!w)
    return;
  w->link_end = why;
  if (w->at == worker::stage::member && w->cause)
    lose(w);
}

// Its link can't be had again. How its process ended may be known in a moment.
void master::unreachable(proc_id id, const std::string& why) {
  auto w = find(id);
  if (!w)
    return;
  w->link_end = why;
  if (w->at == worker::stage::leaving && !w->watched)
    return left(w);
  process_.events().call_after(w->watched ? link_time : 0ms, [this, w] {
    if (w->at == worker::stage::joining)
      fail_set_up(w, launch_reason::died, "went away while it joined: " + *w->link_end);
    else
      lose(w);
  });
}

void master::process_ended(proc_id id, const exit_cause& cause) {
  auto w = find(id);
  if (!w)
    return;
  w->cause = cause;
  switch (w->at) {
    case worker::stage::joining:
      return fail_set_up(w, launch_reason::died, cause.to_text() + " while it joined");
    case worker::stage::member:
      if (!process_.net().connected(id))
        return lose(w);
      process_.events().call_after(link_time, [this, w] { lose(w); });
      return;
    case worker::stage::leaving:
      return left(w);
    case worker::stage::gone:
      return;
  }
}

// A member is gone without having been asked to.
void master::lose(const worker_ptr& w) {
  if (w->at != worker::stage::member)
    return;
  w->at = worker::stage::gone;
  exit_cause cause;
  if (w->cause) {
    cause = *w->cause;
  } else {
    cause.host = process_.members().info(w->id).value_or(process_info{}).host;
    cause.reason = "was lost: " + w->link_end.value_or("its link ended");
    if (process_.state_of(w->id) == 'T')
      cause.reason += " (its process is stopped)";
    w->manager->lost(w->id, w->config);
  }
  auto why = gone_error(w->id, cause);
  auto without_tail = cause;
  without_tail.stderr_tail.clear();
  process::warn(gone_error(w->id, without_tail).message);
  w->manager->manage(w->id, w->config, manage_op::deregistered);
  membership_change change;
  change.left.emplace_back(w->id, why);
  broadcast(std::move(change));
  names_.gone(w->id);
  replace(w);
  retire(*w);
}

std::vector<proc_id> master::removable(const std::vector<proc_id>& ids, const std::string& what) const {
  std::set<proc_id> out;
  for (auto id : ids) {
    auto w = find(id);
    if (id == master_id)
      process::warn(what + ": process 1 is the master and stays");
    else if (!w)
      process::warn(what + ": there is no process " + std::to_string(id));
    else if (w->at == worker::stage::member)
      out.insert(id);
  }
  return {out.begin(), out.end()};
}

void master::begin_removal(const std::vector<proc_id>& ids, const std::shared_ptr<batch>& b) {
  membership_change change;
  for (auto id : removable(ids, "rmprocs")) {
    auto w = find(id);
    w->at = worker::stage::leaving;
    w->waiting = b;
    ++b->pending;
    exit_cause cause;
    cause.host = process_.members().info(id).value_or(process_info{}).host;
    cause.reason = "was removed";
    change.left.emplace_back(id, gone_error(id, cause));
    const auto job = std::dynamic_pointer_cast<mpi_world>(w->manager);
    frame_builder f;
    f.start(frame_kind::leave).out().put(static_cast<std::uint8_t>(job && job->ends_apart()));
    process_.net().send(id, f, urgency::now);
    w->manager->kill(id, w->config);
  }
  if (!change.left.empty())
    broadcast(std::move(change));
  for (auto& [id, w] : workers_) {
    if (w->at != worker::stage::leaving || w->waiting != b)
      continue;
    process_.members().set_terminating(id);
    names_.gone(id);
    // where nobody sees the process, the end of its link is its end
    if (w->cause || !w->watched)
      left(w);
  }
  b->launching = false;
  b->check();
}

void master::left(const worker_ptr& w) {
  w->at = worker::stage::gone;
  w->manager->manage(w->id, w->config, manage_op::deregistered);
  exit_cause cause;
  cause.reason = "was removed";
  process_.members().remove(w->id, w->cause.value_or(cause));
  if (auto b = std::move(w->waiting)) {
    b->joined.push_back(w->id);
    --b->pending;
    b->check();
  }
  retire(*w);
}

// Those that leave already are waited for, too.
std::vector<std::shared_ptr<master::batch>> master::start_removal(const std::vector<proc_id>& ids) {
  std::vector<std::shared_ptr<batch>> all{std::make_shared<batch>()};
  process_.run_in_loop([&] {
    for (auto id : ids)
      if (const auto w = find(id); w && w->at == worker::stage::leaving && w->waiting)
        all.push_back(w->waiting);
    begin_removal(ids, all.front());
  });
  return all;
}

void master::remove(const std::vector<proc_id>& ids, std::optional<std::chrono::milliseconds> limit) {
  wait_for_removal(start_removal(ids), limit);
}

std::function<void()> master::begin_removing(const std::vector<proc_id>& ids) {
  return [this, all = start_removal(ids)] { wait_for_removal(all, std::nullopt); };
}

void master::wait_for_removal(const std::vector<std::shared_ptr<batch>>& all, std::optional<std::chrono::milliseconds> limit) {
  std::optional<std::chrono::steady_clock::time_point> until;
  if (limit)
    until = std::chrono::steady_clock::now() + *limit;
  if (std::all_of(all.begin(), all.end(), [&](auto& b) { return b->done.wait(until); })) {
    wait_until_seen(seen_time);
    return;
  }
  std::vector<proc_id> there;
  process_.run_in_loop([&] {
    for (auto& [id, w] : workers_)
      if (w->at == worker::stage::leaving && std::find(all.begin(), all.end(), w->waiting) != all.end())
        there.push_back(id);
  });
  if (there.empty())
    return;
  auto info = make_error_info(error_kind::timeout, "", 0);
  info.pids = there;
  info.message = "rmprocs: after " + std::to_string(limit->count()) + " ms these workers are still there:";
  for (auto id : there)
    info.message += " " + std::to_string(id);
  throw_error(std::move(info));
}

// First everyone hears that they get no new work, then they are told: nobody is refused who couldn't know.
std::vector<proc_id> master::drain(const std::vector<proc_id>& ids, std::optional<std::chrono::milliseconds> limit) {
  std::vector<proc_id> those;
  process_.run_in_loop([&] {
    those = removable(ids, "drain");
    membership_change change;
    change.draining = those;
    if (!those.empty())
      broadcast(std::move(change));
  });
  wait_until_seen(seen_time);
  process_.run_in_loop([&] {
    for (auto id : those) {
      frame_builder f;
      f.start(frame_kind::drain);
      process_.net().send(id, f, urgency::now);
    }
  });
  const auto busy = [this, those] {
    std::vector<proc_id> out;
    for (auto id : those)
      if (const auto w = find(id); w && w->at == worker::stage::member && !w->drained)
        out.push_back(id);
    return out;
  };
  if (wait_until([busy] { return busy().empty(); }, limit))
    return {};
  process_.run_in_loop([&] { those = busy(); });
  return those;
}

// -- telling everyone -----------------------------------------------------------------------------------------------------------

void master::broadcast(membership_change change) {
  change.version = ++version_;
  process_.apply(change);
  for (auto& [id, w] : workers_) {
    if (!w->told || (w->at != worker::stage::member && w->at != worker::stage::joining))
      continue;
    frame_builder f;
    f.start(frame_kind::members);
    write(f.out(), change);
    process_.net().send(id, f, urgency::now);
  }
  // who is given a new worker by the pool has been told of it before
  std::vector<proc_id> joined;
  for (auto& m : change.joined)
    joined.push_back(m.id);
  if (!joined.empty())
    pool_.joined(joined);
  look_again();
}

void master::take_seen(proc_id from, std::uint64_t version) {
  if (auto w = find(from))
    w->seen = std::max(w->seen, version);
  look_again();
}

void master::look_again() {
  for (auto i = awaited_.begin(); i != awaited_.end();) {
    if (!i->holds()) {
      ++i;
      continue;
    }
    i->done->set_value({});
    i = awaited_.erase(i);
  }
}

// Until something holds that is looked at whenever workers come, go or tell something; whether it does.
bool master::wait_until(std::function<bool()> holds, std::optional<std::chrono::milliseconds> limit) {
  const auto done = std::make_shared<detail::future_state>();
  process_.run_in_loop([&] {
    awaited_.push_back({std::move(holds), done});
    look_again();
  });
  struct on_end {
    master& self;
    const std::shared_ptr<detail::future_state>& done;
    ~on_end() {
      if (!done->ready())
        self.process_.run_in_loop([this] { self.awaited_.remove_if([this](auto& a) { return a.done == done; }); });
    }
  } forgetting{*this, done};
  return done->wait(limit ? std::optional{std::chrono::steady_clock::now() + *limit} : std::nullopt);
}

// Until every worker knows what has changed. One that doesn't answer hears of it when it does.
void master::wait_until_seen(std::chrono::milliseconds limit) {
  std::uint64_t version = 0;
  process_.run_in_loop([&] { version = version_; });
  wait_until([this, version] {
    return std::all_of(workers_.begin(), workers_.end(), [&](auto& w) { return w.second->at != worker::stage::member || w.second->seen >= version; });
  }, limit);
}

void master::control(proc_id from, frame_view& f) {
  reader in{f.payload};
  switch (f.header.kind) {
    case frame_kind::joined:
      return take_answer(from, f);
    case frame_kind::members_seen:
      return take_seen(from, read<std::uint64_t>(in));
    case frame_kind::drained:
      in.expect_end();
      if (auto w = find(from))
        w->drained = true;
      return look_again();
    case frame_kind::named_seen:
      return names_.acknowledged(from, read<std::uint64_t>(in));
    case frame_kind::dial: {
      // one worker wants another to dial it
      auto dialler = read<proc_id>(in);
      auto to = read<proc_id>(in);
      in.expect_end();
      frame_builder copy;
      copy.start(frame_kind::dial);
      write(copy.out(), dialler);
      write(copy.out(), to);
      process_.net().send(dialler, copy, urgency::now);
      return;
    }
    case frame_kind::doubt: {
      // one worker can't reach another, not even by way of this process; if this one can't either, it will know soon enough
      auto about = read<proc_id>(in);
      auto why = read<std::string>(in);
      in.expect_end();
      if (auto w = find(about); w && find(from) && find(from)->at == worker::stage::member
          && process_.net().heard_lately(about))
        unreachable(about, "process " + std::to_string(from) + " can't reach it: " + why);
      return;
    }
    default:
      throw codec_error{"a worker doesn't send it to its master"};
  }
}

master::worker_ptr master::find(proc_id id) const {
  auto i = workers_.find(id);
  return i == workers_.end() ? nullptr : i->second;
}

// -- the end --------------------------------------------------------------------------------------------------------------------

// Waits for the workers that have been asked to leave; tells whether all have.
bool master::wait_for_leaving(std::chrono::milliseconds limit) {
  std::vector<std::shared_ptr<batch>> batches;
  process_.run_in_loop([&] {
    for (auto& [id, w] : workers_)
      if (w->at == worker::stage::leaving && w->waiting)
        batches.push_back(w->waiting);
  });
  auto until = std::chrono::steady_clock::now() + limit;
  return std::all_of(batches.begin(), batches.end(), [&](auto& b) { return b->done.wait(until); });
}

std::string master::shut_down() {
  waiter::forget_interrupt();
  std::vector<proc_id> all;
  bool adding = false;
  process_.run_in_loop([&] {
    ending_ = true;
    adding = adding_ > 0;
    for (auto& [id, w] : workers_)
      if (w->at == worker::stage::member)
        all.push_back(id);
  });
  if (adding) { // by threads that nobody waits for any more
    waiter::interrupt_all();
    waiter::forget_interrupt();
  }
  auto b = std::make_shared<batch>();
  process_.run_in_loop([&] { begin_removal(all, b); });
  if (!wait_for_leaving(leave_time)) {
    process_.run_in_loop([&] {
      std::string names;
      for (auto& [id, w] : workers_)
        if (w->at == worker::stage::leaving) {
          names += " " + std::to_string(id);
          w->manager->manage(id, w->config, manage_op::finalize);
        }
      if (!names.empty())
        process::warn("workers that were asked to leave and are still there, ending them:" + names);
    });
    wait_for_leaving(leave_time);
  }
  auto left_over = process_.runtime()->shut_down(std::chrono::steady_clock::now() + 1s);
  process_.run_in_loop([this] { listeners_.clear(); });
  process_.stop();
  workers_.clear(); // processes that still run are killed with their managers' records
  return left_over;
}

void master::end_now(int status) {
  std::lock_guard guard{own_managers_mutex_};
  for (auto& weak : own_managers_)
    if (auto manager = weak.lock())
      manager->kill_all();
  status_line::abandon();
  ::_exit(status);
}

} // namespace troupe
