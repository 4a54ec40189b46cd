#include "troupe/managers/master_state.hpp"

#include "troupe/actors/waiter.hpp"
#include "troupe/managers/bind_address.hpp"
#include "troupe/managers/rank_keeper.hpp"
#include "troupe/managers/start_line.hpp"
#include "troupe/transport/cookie.hpp"
#include "troupe/transport/log.hpp"
#include "troupe/transport/status_line.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <unistd.h>

namespace troupe {

namespace {

using namespace std::chrono_literals;

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

master::master(settings s)
  : settings_(std::move(s)),
    process_(settings_.cookie, master_id, random_number(),
             {[this](proc_id from, frame_view& f) { control(from, f); }, [this](proc_id id, const std::string& why) { link_down(id, why); },
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
  rank_output* ranks = nullptr;
  {
    std::lock_guard guard{output_mutex_};
    output_ = std::move(handler);
    if (!output_ || rank_output_ || !settings_.job || !settings_.job->shows_output())
      return;
    rank_output_ = std::make_unique<rank_output>([this](proc_id id, std::string_view line) { print(id, line); });
    ranks = rank_output_.get();
  }
  ranks->begin(ranks_of_own_job());
}

std::vector<proc_id> master::ranks_of_own_job() const {
  std::vector<proc_id> out;
  for (auto& [rank, id] : settings_.job->ranks())
    if (id != master_id)
      out.push_back(id);
  return out;
}

// Before these processes leave.
void master::take_last_lines(const std::vector<proc_id>& ids) {
  rank_output* ranks = nullptr;
  {
    std::lock_guard guard{output_mutex_};
    ranks = rank_output_.get();
  }
  if (ranks == nullptr)
    return;
  auto those = ranks_of_own_job();
  std::erase_if(those, [&](auto id) { return std::find(ids.begin(), ids.end(), id) == ids.end(); });
  ranks->end(those);
}

void master::print(proc_id id, std::string_view line) {
  std::lock_guard one_at_a_time{printing_};
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
      log(log_level::error, std::string{"the handler given to on_output threw: "} + e.what());
    } catch (...) {
      log(log_level::error, "the handler given to on_output threw an exception that is not derived from std::exception");
    }
  }
  auto text = id == 0 ? std::string{"      From a worker that starts:\t"} : rank_keeper::text_of(id);
  text.append(line).push_back('\n');
  if (!status_line::print(stdout, text) && !output_lost_) {
    output_lost_ = true;
    process::warn(std::string{"what workers write can't be shown on the standard output: "} + std::strerror(errno));
  }
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

// Who hears of named values: the workers that have been sent those that there were, and will be.
std::vector<named_changes::listener> master::listeners() const {
  std::vector<named_changes::listener> out;
  for (auto& [id, w] : workers_)
    if (w->told && (w->at == worker::stage::joining || w->at == worker::stage::member))
      out.push_back({id, w->at == worker::stage::member});
  return out;
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
  wait_until(
    [this, version] {
      return std::all_of(workers_.begin(), workers_.end(),
                         [&](auto& w) { return w.second->at != worker::stage::member || w.second->seen >= version; });
    },
    limit);
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
      if (auto w = find(about); w && find(from) && find(from)->at == worker::stage::member && process_.net().heard_lately(about))
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
    for (auto& [id, w] : workers_) {
      if (w->at == worker::stage::member)
        all.push_back(id);
      else if (w->at == worker::stage::joining)
        fail_set_up(w, launch_reason::died, "was given up, since the program ends");
    }
  });
  if (adding) { // by threads that nobody waits for any more
    waiter::interrupt_all();
    waiter::forget_interrupt();
  }
  take_last_lines(all);
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
