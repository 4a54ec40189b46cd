// How links to other processes are opened, lost, and opened again.

#include "troupe/transport/mesh.hpp"

#include "troupe/transport/bulk_memory.hpp"

#include <algorithm>
#include <unistd.h>
#include <utility>

namespace troupe {

namespace {

using namespace std::chrono_literals;

// A peer that breaks the protocol again and again is no peer.
constexpr int most_violations = 5;
constexpr auto violations_time = 10min;
constexpr auto longest_retry = 5000ms;
constexpr auto refused_limit = 800ms;

// Whether a process that listens at `from` can dial one that listens at `to`.
bool can_dial(const endpoint& from, const endpoint& to, bool same_scope) {
  if (to.is_in_mpi_job())
    return from.address == to.address;
  return to.can_be_dialled() && (same_scope || !to.is_loopback());
}

} // namespace

hello mesh::introduce(proc_id to) const {
  hello h;
  h.cluster = cluster();
  h.from = id();
  h.to = to;
  h.host = settings_.host;
  h.os_pid = ::getpid();
  h.build_id = settings_.build_id;
  h.types = settings_.types;
  if (h.from == 0)
    h.claim = claim_;
  if (auto p = find(to))
    h.received = p->talk->received();
  return h;
}

verdict mesh::check_dialler(const hello& h) {
  auto me = id();
  auto who = "process " + std::to_string(h.from);
  if (me == 0)
    return h.from == master_id && h.to > master_id && h.cluster != 0 ? verdict{}
                                                                     : verdict{"this worker waits for its master, " + who + " is not one"};
  if (h.cluster != cluster())
    return {"this process belongs to another cluster"};
  if (h.to != me)
    return {"this is process " + std::to_string(me) + ", not " + std::to_string(h.to)};
  if (auto why = gone(h.from))
    return {who + " has been declared lost: " + why->message, true};
  if (h.from == me || (h.from != master_id && must_be_dialled(h.from)))
    return {who + " must be dialled, it must not dial process " + std::to_string(me)};
  return {};
}

// Whether who has dialled may come in. A worker without an id gets it here.
verdict mesh::admit(const hello& h) {
  admitted_id_ = h.from;
  admitted_ = nullptr;
  if (id() == master_id && h.from == 0)
    return admit_expected(h);
  auto v = check_dialler(h);
  if (v.why_not.empty() && id() == 0) {
    cluster_ = h.cluster;
    id_ = h.to;
    events_.adopted(h);
  }
  return v;
}

verdict mesh::admit_expected(const hello& h) {
  const auto found = expected_.find(h.claim);
  if (found == expected_.end()) {
    auto coming = events_.guest_comes ? events_.guest_comes(h) : std::nullopt;
    if (!coming)
      return {"this master expects no such worker"};
    find_or_make(coming->id)->worker_dials = true;
    admitted_id_ = coming->id;
    admitted_ = std::move(coming->entered);
    return {};
  }
  admitted_id_ = found->second.id;
  // once the connection stands; the worker may have given it up by then, and say the same again
  admitted_ = [this, claim = h.claim] {
    const auto e = expected_.find(claim);
    if (const auto done = e == expected_.end() ? nullptr : std::exchange(e->second.done, nullptr))
      done();
  };
  return {};
}

void mesh::open_door() {
  if (door_)
    return;
  door::events e;
  e.check = [this](const hello& h) { return admit(h); };
  // each call of `check` is followed by those of the other two, if by any, before the next
  e.introduce = [this](proc_id) { return introduce(admitted_id_); };
  e.entered = [this](std::unique_ptr<established> got) {
    auto p = find_or_make(admitted_id_);
    open(p, std::move(got));
    if (const auto done = std::exchange(admitted_, nullptr))
      done();
  };
  e.refused = [this](const refusal& r) { events_.refused(r); };
  door_ = std::make_unique<door>(loop_, door::settings{.limit = settings_.connect_limit}, std::move(e));
}

// From another worker, by way of the master: no stranger, but what it says is checked as if it were one.
void mesh::accept_relay(std::unique_ptr<byte_stream> stream) {
  auto dialler = std::make_shared<proc_id>(0);
  connection::settings s;
  s.role = handshake::role::acceptor;
  s.cookie = settings_.cookie;
  s.limit = settings_.connect_limit;
  s.check = [this, dialler](const hello& h) {
    *dialler = h.from;
    return admit(h);
  };
  s.introduce = [this, dialler] { return introduce(*dialler); };
  s.done = [this](std::unique_ptr<established> e, const std::string&) {
    if (!e)
      return;
    auto p = find_or_make(e->peer.from);
    open(p, std::move(e));
  };
  connection::start(loop_, std::move(stream), std::move(s));
}

void mesh::adopt(proc_id id, const endpoint& where, std::chrono::milliseconds limit, std::function<void(std::string)> done, bool tunnel) {
  auto p = find_or_make(id);
  p->tunnel = tunnel;
  p->where = where;
  p->wanted = true;
  dial_with(p, where, limit, [done = std::move(done)](std::string why, bool) { done(std::move(why)); });
}

void mesh::expect(proc_id id, std::string claim, std::function<void()> done) {
  auto p = find_or_make(id);
  p->worker_dials = true;
  p->wanted = true;
  expected_[std::move(claim)] = {id, std::move(done)};
}

void mesh::forget_claim(proc_id id) {
  std::erase_if(expected_, [id](auto& e) { return e.second.id == id; });
}

void mesh::knock(std::unique_ptr<byte_stream> stream) {
  open_door();
  door_->knock(std::move(stream), settings_.cookie);
}

void mesh::join(const endpoint& where, std::string claim, std::chrono::milliseconds limit, std::function<void(std::string)> done) {
  auto p = find_or_make(master_id);
  p->where = where;
  p->wanted = true;
  p->worker_dials = true;
  claim_ = std::move(claim);
  dial_with(p, where, limit, [done = std::move(done)](std::string why, bool) { done(std::move(why)); });
}

void mesh::take_leave() { leaving_ = true; }

// Of two workers: whether this one can dial the other, and the other this one.
bool mesh::reachable(const peer& p) const { return p.linked && can_dial(own_where_, p.where, p.scope == settings_.scope); }

bool mesh::reached_by(const peer& p) const { return p.linked && can_dial(p.where, own_where_, p.scope == settings_.scope); }

bool mesh::dials(const peer& p) const {
  auto me = id();
  if (me == master_id)
    return !p.worker_dials;
  if (p.id == master_id)
    return p.worker_dials;
  return reachable(p) && (me > p.id || !reached_by(p));
}

// Whether this process is the one that dials, as far as it knows: it never dials one that it hasn't heard of.
bool mesh::must_be_dialled(proc_id who) const {
  const auto p = find(who);
  return p && p->known && dials(*p);
}

bool mesh::can_link(proc_id id) const {
  const auto p = find(id);
  return p && (id == master_id || this->id() == master_id || reachable(*p) || reached_by(*p));
}

// Whether nothing is to be done for it any more.
bool mesh::over(const peer& p) const { return closed_ || p.is_gone; }

bool mesh::may_dial(const peer& p) const { return !over(p) && !leaving_; }

bool mesh::relay_possible(const peer& p) const {
  if (id() == master_id || p.id == master_id)
    return false;
  auto m = find(master_id);
  return m && m->established && !m->is_gone;
}

// -- opening ------------------------------------------------------------------------------------------------------------

void mesh::connect(proc_id id) {
  if (auto p = find(id)) {
    p->wanted = true;
    connect(p);
  }
}

void mesh::redial(proc_id id) {
  if (id <= 0 || id == this->id())
    return;
  auto p = find_or_make(id); // the news of it may be on its way
  if (p->is_gone)
    return;
  if (p->talk->attached() && p->talk->kind() != "relay") {
    if (loop_.now() - p->opened < settings_.detector.beat)
      return; // the request was sent before this link was opened
    p->talk->detach();
    return link_lost(p, "the other end has lost it", false);
  }
  connect(id);
}

void mesh::connect(const peer_ptr& p) {
  if (!may_dial(*p) || p->dialling || p->relaying || p->talk->attached())
    return;
  if (!p->known) {
    // the news of it may be on its way
    loop_.cancel(p->limit);
    p->limit = loop_.call_after(settings_.connect_limit / 4, [this, p] { give_up(p, "no such process"); });
    return;
  }
  reopen(p);
}

// Has the link opened from the end that can. Where neither can, the process with the higher id has it opened by way of the master.
void mesh::reopen(const peer_ptr& p) {
  if (dials(*p))
    return dial(p);
  if (p->id == master_id || id() == master_id)
    return;
  if (id() > p->id && !reachable(*p) && !reached_by(*p) && relay_possible(*p))
    return dial_relay(p, "there is no direct way to it");
  ask_to_dial(p);
}

void mesh::dial(const peer_ptr& p) {
  if (p->dialling || !may_dial(*p))
    return;
  if (!p->talk->attached())
    bridge(p);
  dial_with(p, p->where, p->established ? std::min(settings_.connect_limit, settings_.resume_limit / 2) : settings_.connect_limit,
            [this, p](const std::string& why, bool refused) {
              if (!why.empty())
                dial_failed(p, why, refused);
            });
}

void mesh::dial_failed(const peer_ptr& p, const std::string& why, bool refused) {
  ++p->failures;
  // its host is there, and nobody listens: the process has ended
  if (refused && !p->tunnel && id() == master_id && p->broken_since && loop_.now() - *p->broken_since >= refused_limit)
    return lose(p, p->why_broken + "; " + why);
  if (p->talk->attached() || p->is_gone)
    return retry_later(p); // by a relay
  p->why_broken = p->established ? p->why_broken : why;
  const bool waited = p->broken_since && loop_.now() - *p->broken_since >= settings_.relay_after;
  if (relay_possible(*p) && (!p->established || waited || p->failures > 2))
    dial_relay(p, why);
  else if (!p->established)
    return give_up(p, why);
  retry_later(p);
}

void mesh::retry_later(const peer_ptr& p) {
  if (over(*p) || (p->talk->attached() && p->talk->kind() != "relay"))
    return;
  auto delay = std::min<std::chrono::milliseconds>(20ms * (1 << std::min(p->failures, 8)), longest_retry);
  loop_.cancel(p->retry);
  p->retry = loop_.call_after(delay, [this, p] {
    if (!p->talk->attached() || (p->talk->kind() == "relay" && dials(*p)))
      reopen(p);
  });
}

void mesh::dial_relay(const peer_ptr& p, const std::string& why) {
  if (p->relaying)
    return;
  p->relaying = true;
  shake_hands(p, relays_.open(p->id), settings_.connect_limit, [this, p, why](const std::string& why_no_relay, bool) {
    p->relaying = false;
    if (why_no_relay.empty() || p->talk->attached() || p->is_gone)
      return;
    if (p->dialling)
      return;
    if (!p->established)
      return give_up(p, why + "; nor by way of the master: " + why_no_relay);
    ++p->failures;
    retry_later(p);
  });
}

// A direct link that is being dialled may take long to fail, where nothing answers: meanwhile a relayed one serves.
void mesh::bridge(const peer_ptr& p) {
  if (p->bridge != 0 || p->id == master_id || id() == master_id)
    return;
  p->bridge = loop_.call_after(settings_.relay_after, [this, p] {
    p->bridge = 0;
    if (over(*p) || !p->wanted || p->talk->attached())
      return;
    if (relay_possible(*p))
      dial_relay(p, p->why_broken);
    bridge(p);
  });
}

// The master passes it on to the other one, which dials this process.
void mesh::ask_to_dial(const peer_ptr& p) {
  frame_builder f;
  f.start(frame_kind::dial);
  write(f.out(), p->id);
  write(f.out(), id());
  if (!relay_possible(*p) || send(master_id, f, urgency::now))
    return give_up(p, "there is no link to the master");
  if (!p->established) {
    loop_.cancel(p->limit);
    p->limit = loop_.call_after(settings_.connect_limit, [this, p] { give_up(p, "it didn't dial this process"); });
  }
}

void mesh::dial_with(const peer_ptr& p, const endpoint& where, std::chrono::milliseconds limit, dialled done) {
  p->dialling = true;
  auto finished = [p, done = std::move(done)](std::string why, bool refused) {
    p->dialling = false;
    done(std::move(why), refused);
  };
  settings_.net->dial(loop_, where, limit, [this, p, limit, finished](dial_result r) {
    if (r.stream)
      shake_hands(p, std::move(r.stream), limit, finished);
    else
      finished(std::move(r.why_not), r.refused);
  });
}

void mesh::shake_hands(const peer_ptr& p, std::unique_ptr<byte_stream> stream, std::chrono::milliseconds limit, dialled done) {
  connection::settings s;
  s.role = handshake::role::dialler;
  s.cookie = settings_.cookie;
  s.limit = limit;
  s.introduce = [this, p] { return introduce(p->id); };
  s.check = [this, p](const hello& h) {
    if (id() == 0)
      return admit(h);
    return h.cluster == cluster() && h.from == p->id
             ? verdict{}
             : verdict{"process " + std::to_string(h.from) + " answered in place of " + std::to_string(p->id)};
  };
  s.done = [this, p, done = std::move(done)](std::unique_ptr<established> e, std::string reason) {
    if (e)
      open(p, std::move(e));
    done(std::move(reason), false);
  };
  s.dismissed = [this](const std::string& why) { events_.dismissed(why); };
  connection::start(loop_, std::move(stream), std::move(s));
}

void mesh::open(const peer_ptr& p, std::unique_ptr<established> e) {
  const bool relayed = e->stream->kind() == "relay";
  // who opens a relayed link has given up the direct one, unless both were opened at once
  if (over(*p) || (relayed && heard_lately(*p) && p->talk->kind() != "relay"))
    return; // the stream ends with the link
  stop_timers(*p);
  p->wanted = true;
  p->failures = 0;
  p->opened = loop_.now();
  p->broken_since.reset();
  p->detector.emplace(settings_.detector, loop_.now());
  if (!p->established.exchange(true)) {
    auto greeting = std::make_shared<const hello>(e->peer);
    {
      std::lock_guard guard{p->mutex};
      p->greeting = greeting;
    }
    events_.up(p->id, *greeting);
  }
  if (beat_timer_ == 0) {
    last_beat_ = loop_.now();
    beat_timer_ = loop_.call_after(settings_.detector.beat, [this] { beat(); });
  }
  if (relayed && dials(*p))
    retry_later(p);
  if (auto wrong = p->talk->attach(std::move(e->stream), e->leftover, e->peer.received); !wrong.empty())
    lose(p, wrong);
}

// -- losing -------------------------------------------------------------------------------------------------------------

error_info mesh::unreachable_error(const peer& p, const std::string& why) const {
  if (!p.known) {
    return make_error_info(error_kind::unknown_process, "there is no process " + std::to_string(p.id) + " in this cluster", p.id);
  }
  auto info =
    make_error_info(error_kind::not_connected,
                    "process " + std::to_string(id()) + " is not connected to process " + std::to_string(p.id) + ": " + why, p.id);
  info.pids = {id(), p.id};
  return info;
}

void mesh::give_up(const peer_ptr& p, const std::string& why) {
  if (p->talk->attached() || p->is_gone || p->established)
    return;
  p->wanted = false;
  p->failures = 0;
  loop_.cancel(p->retry);
  p->talk->abandon();
  error_info info;
  {
    std::lock_guard guard{p->mutex};
    info = unreachable_error(*p, why);
  }
  events_.unreachable(p->id, info);
}

void mesh::lose(const peer_ptr& p, const std::string& why) {
  stop_timers(*p);
  p->talk->detach();
  p->detector.reset();
  if (id() != master_id && p->id != master_id)
    p->limit = loop_.call_after(settings_.worker_resume_limit, [this, p] { limit_reached(p); });
  events_.lost(p->id, why);
}

void mesh::link_ended(session& which, const std::string& why, bool violated) {
  auto p = find(which.peer());
  if (!p || over(*p))
    return;
  if (violated) {
    if (loop_.now() - p->last_violation > violations_time)
      p->violations = 0;
    p->last_violation = loop_.now();
    if (++p->violations > most_violations)
      return lose(p, "it breaks the protocol: " + why);
  }
  link_lost(p, why, false);
}

void mesh::link_lost(const peer_ptr& p, const std::string& why, bool silent) {
  p->detector.reset();
  p->why_broken = why;
  p->broken_since = loop_.now();
  loop_.cancel(p->limit);
  if (p->left) {
    events_.down(p->id, why);
    if (!over(*p))
      lose(p, "it has left");
    return;
  }
  const bool workers = id() != master_id && p->id != master_id;
  auto limit = workers ? settings_.worker_resume_limit : silent ? settings_.silent_resume_limit : settings_.resume_limit;
  if (!dials(*p))
    limit += limit / 2;
  p->limit = loop_.call_after(limit, [this, p] { limit_reached(p); });
  events_.down(p->id, why);
  if (!may_dial(*p))
    return;
  if (dials(*p))
    return dial(p);
  // The other end dials when it sees that the link has ended, which it may not do for long.
  if (p->id != master_id)
    p->retry = loop_.call_after(settings_.relay_after / 3, [this, p] {
      if (!p->talk->attached() && !over(*p))
        reopen(p);
    });
}

void mesh::limit_reached(const peer_ptr& p) {
  if (id() == master_id || p->id == master_id)
    return lose(p, p->why_broken);
  // The master decides. It may have its reasons to keep both, such as a link of its own that has been lost for a moment.
  p->limit = loop_.call_after(settings_.worker_resume_limit, [this, p] { limit_reached(p); });
  if (auto m = find(master_id); m && heard_lately(*m))
    events_.lost(p->id, p->why_broken);
}

// -- heartbeats -----------------------------------------------------------------------------------------------------------

void mesh::beat() {
  beat_timer_ = loop_.call_after(settings_.detector.beat, [this] { beat(); });
  auto now = loop_.now();
  // Who has been asleep itself must not call others silent.
  const bool slept = now - last_beat_ > 2 * settings_.detector.beat;
  last_beat_ = now;
  bulk_memory::trim();
  for (auto& p : all()) {
    if (!p->talk->attached() || !p->detector || p->is_gone)
      continue;
    p->talk->send_status();
    p->talk->rest();
    if (slept)
      p->detector->excuse(now);
    else
      listen_for(p, now);
    if (closed_)
      return;
  }
  watch_the_silent();
}

// Looks more often than once a beat while somebody is silent: a suspicion shouldn't wait for the next beat.
void mesh::watch_the_silent() {
  const auto silent = [this](const peer_ptr& p) {
    return p->talk->attached() && p->detector && !p->is_gone && loop_.now() - p->talk->last_heard() > 2 * settings_.detector.beat;
  };
  const auto peers = all();
  if (silence_timer_ != 0 || std::none_of(peers.begin(), peers.end(), silent))
    return;
  silence_timer_ = loop_.call_after(settings_.detector.beat / 4, [this, silent, asked = loop_.now()] {
    silence_timer_ = 0;
    const auto now = loop_.now();
    if (now - asked < settings_.detector.beat) // otherwise this process was asleep, and what has come meanwhile is still to be read
      for (auto& p : all())
        if (!closed_ && silent(p))
          listen_for(p, now);
    if (!closed_)
      watch_the_silent();
  });
}

void mesh::listen_for(const peer_ptr& p, loop::clock::time_point now) {
  p->detector->heard(p->talk->last_heard());
  const auto silence = now - p->talk->last_heard();
  if (!p->detector->suspects(now))
    return;
  // A master that is stopped, in a debugger say, may go on: its workers don't end before long.
  const bool answers = p->talk->peer_answers();
  if (p->id == master_id && answers && silence < settings_.master_patience)
    return;
  if (events_.held && events_.held(p->id))
    return;
  auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(silence).count();
  auto why = "it has been silent for " + std::to_string(ms) + " ms, " + (answers ? "though its machine answers" : "and so has its machine");
  p->talk->detach();
  link_lost(p, why, true);
}

} // namespace troupe
