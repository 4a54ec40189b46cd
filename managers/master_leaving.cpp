// How workers go: lost, removed, drained.

#include "troupe/managers/master_state.hpp"

#include "troupe/actors/waiter.hpp"

#include <algorithm>
#include <set>

namespace troupe {

using namespace std::chrono_literals;

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
  take_last_lines(ids);
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

} // namespace troupe
