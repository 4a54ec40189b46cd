#pragma once

#include "troupe/transport/memory.hpp"
#include "troupe/transport/mesh.hpp"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace test {

/// Random numbers that are the same everywhere for one seed.
class dice {
public:
  explicit dice(std::uint64_t seed) : random_(seed) {}
  /// Both may come.
  std::uint64_t between(std::uint64_t least, std::uint64_t most) { return least + random_() % (most - least + 1); }
  bool percent(std::uint64_t p) { return random_() % 100 < p; }
  std::chrono::microseconds time(std::chrono::microseconds least, std::chrono::microseconds most) {
    return least + std::chrono::microseconds{between(0, static_cast<std::uint64_t>((most - least).count()))};
  }

private:
  std::mt19937_64 random_;
};

/// The processes of a cluster as far as their links go, in one thread: each has a loop and a mesh, all have one clock, which moves
/// from event to event, and a memory_network between them. Process 1 decides who belongs to the cluster by the rules of the real
/// master, the others keep to what a worker does.
class virtual_cluster {
public:
  using clock = troupe::loop::clock;

  struct process {
    troupe::proc_id id = 0;
    std::string host;
    troupe::endpoint where;
    std::unique_ptr<troupe::loop> events;
    std::unique_ptr<troupe::mesh> net;
    bool joined = false;
    bool stopped = false; // its loop isn't driven
    bool ended = false;
    std::map<troupe::proc_id, std::vector<std::string>> gone; // of whom it has been told, each time
  };

  struct options {
    std::size_t processes = 3;
    troupe::memory_network::settings network;
    troupe::session::limits limits;
    std::vector<std::uint64_t> message_types;
    /// Print what is noted.
    bool show = false;
  };

  struct hooks {
    std::function<void(process&, troupe::proc_id from, troupe::frame_view&)> frame;
    std::function<void(process&, troupe::proc_id, const troupe::error_info&)> unreachable;
    std::function<void(process&, troupe::proc_id, const troupe::hello&)> up;
    std::function<void(process&, troupe::proc_id, const troupe::error_info&)> gone;
    /// The process has ended: nothing of it runs any more, its mesh is about to be destroyed.
    std::function<void(process&)> ended;
    /// Does what there is to do outside of the loop; returns whether there was anything.
    std::function<bool(process&)> work;
  };

  virtual_cluster(const options& o, hooks h) : hooks_(std::move(h)), net_(o.network), show_(o.show) {
    for (std::size_t i = 1; i <= o.processes; ++i)
      make(static_cast<troupe::proc_id>(i), o);
  }

  ~virtual_cluster() {
    for (auto& p : all_)
      end(*p, true, "the test has ended");
    reap();
  }

  troupe::memory_network& net() { return net_; }
  process& at(troupe::proc_id id) { return *all_.at(static_cast<std::size_t>(id - 1)); }
  const std::vector<std::unique_ptr<process>>& all() const { return all_; }
  clock::duration time() const { return now_ - clock::time_point{}; }
  /// Of all that was noted so far.
  std::uint64_t log_hash() const { return log_hash_; }

  /// The master makes a process part of the cluster.
  void adopt(troupe::proc_id id) {
    at(1).net->adopt(id, at(id).where, std::chrono::seconds{10}, [this, id](const std::string& why_not) {
      note("adopted", 1, id, 0, why_not);
      if (!why_not.empty())
        return adopt(id); // those who start it would
      auto& fresh = at(id);
      for (auto& p : all_)
        if (p->id != 1 && p->id != id && p->joined && !is_gone(p->id)) {
          tell_of(id, *p);
          tell_of(p->id, fresh);
        }
      fresh.joined = true;
    });
  }

  /// Does something at a time, between events.
  void plan(clock::duration when, std::function<void()> what) { plans_.emplace(clock::time_point{} + when, std::move(what)); }

  /// Lets the time go on. Throws if it doesn't.
  void run_until(clock::duration when) {
    const auto limit = clock::time_point{} + when;
    for (int steps = 0;; ++steps) {
      if (steps == 5000000)
        throw std::runtime_error{"there is no end of events"};
      process* next = nullptr;
      auto time = limit;
      for (auto& p : all_)
        if (!p->ended && !p->stopped)
          if (auto t = p->events->next_timer(); t && *t < time) {
            time = *t;
            next = p.get();
          }
      if (!plans_.empty() && plans_.begin()->first <= time) {
        now_ = std::max(now_, plans_.begin()->first);
        auto what = std::move(plans_.begin()->second);
        plans_.erase(plans_.begin());
        what();
      } else if (next != nullptr) {
        now_ = std::max(now_, time);
        step(*next);
      } else {
        now_ = std::max(now_, limit);
        return;
      }
      reap();
    }
  }

  /// Has all that was called or posted from outside run.
  void step(process& p) {
    for (bool more = true; more && !p.ended && !p.stopped;) {
      more = p.events->step();
      if (!p.ended && hooks_.work)
        more = hooks_.work(p) || more;
    }
  }

  void stop(troupe::proc_id id, bool on) {
    note(on ? "stopped" : "goes on", id);
    at(id).stopped = on;
  }

  /// Nothing of the process runs from now on.
  void end(process& p, bool seen, const std::string& why) {
    if (std::exchange(p.ended, true))
      return;
    note("ends", p.id, 0, seen, why);
    net_.kill(p.host, seen);
    to_reap_ = true;
  }

  /// The master finds that a process doesn't belong to the cluster any more.
  void decide(troupe::proc_id id, const std::string& why) {
    at(1).events->call_after({}, [this, id, why] {
      if (is_gone(id))
        return;
      auto text = "worker " + std::to_string(id) + " was lost: " + why;
      set_gone(at(1), id, text);
      for (auto& p : all_) {
        if (p->id == 1 || p->id == id || is_gone(p->id))
          continue;
        troupe::frame_builder f;
        auto& out = f.start(troupe::frame_kind::members).out();
        write(out, id);
        write(out, text);
        write(out, std::uint16_t{0});
        at(1).net->send(p->id, f, troupe::urgency::now);
      }
    });
  }

  void note(const char* what, troupe::proc_id a, troupe::proc_id b = 0, std::uint64_t n = 0, const std::string& text = {}) {
    auto mix = [this](std::uint64_t x) { log_hash_ = (log_hash_ ^ x) * 0x100000001b3; };
    mix(static_cast<std::uint64_t>(time().count()));
    for (auto c = what; *c != 0; ++c)
      mix(static_cast<std::uint64_t>(*c));
    mix(static_cast<std::uint64_t>(a));
    mix(static_cast<std::uint64_t>(b));
    mix(n);
    for (auto c : text)
      mix(static_cast<std::uint64_t>(c));
    if (show_)
      std::printf("%12.6f  %-12s %d %d %llu %s\n", std::chrono::duration<double>(time()).count(), what, int{a}, int{b},
                  static_cast<unsigned long long>(n), text.c_str());
  }

private:
  void make(troupe::proc_id id, const options& o) {
    auto& p = *all_.emplace_back(std::make_unique<process>());
    p.id = id;
    p.host = "host" + std::to_string(id);
    p.joined = id == 1;
    p.events = std::make_unique<troupe::loop>([this] { return now_; });
    troupe::mesh::settings s;
    s.cookie = "right cookie";
    s.id = id == 1 ? 1 : 0;
    s.cluster = id == 1 ? 0x1234 : 0;
    s.host = p.host;
    s.limits = o.limits;
    s.types = o.message_types;
    s.net = net_.make(p.host);
    troupe::mesh::events e;
    e.frame = [this, &p](troupe::proc_id from, troupe::frame_view& f) {
      if (!p.ended)
        take(p, from, f);
    };
    e.up = [this, &p](troupe::proc_id other, const troupe::hello& h) {
      note("up", p.id, other);
      if (hooks_.up)
        hooks_.up(p, other, h);
    };
    e.down = [this, &p](troupe::proc_id other, const std::string& why) { note("down", p.id, other, 0, why); };
    e.lost = [this, &p](troupe::proc_id other, const std::string& why) { lost(p, other, why); };
    e.unreachable = [this, &p](troupe::proc_id other, const troupe::error_info& why) {
      note("unreachable", p.id, other, 0, why.message);
      if (hooks_.unreachable && !p.ended)
        hooks_.unreachable(p, other, why);
    };
    e.adopted = [](const troupe::hello&) {};
    e.dismissed = [this, &p](const std::string& why) { end(p, true, "dismissed: " + why); };
    e.refused = [this, &p](const troupe::refusal& r) { note("refused", p.id, 0, 0, r.text); };
    p.net = std::make_unique<troupe::mesh>(*p.events, std::move(s), std::move(e));
    p.where = p.net->listen(p.host, 0);
  }

  void reap() {
    if (!std::exchange(to_reap_, false))
      return;
    for (auto& p : all_) {
      if (!p->ended || !p->net)
        continue;
      if (hooks_.ended)
        hooks_.ended(*p);
      p->net.reset();
      p->events.reset();
    }
  }

  // -- what masters and workers do ------------------------------------------------------------------------------------

  bool is_gone(troupe::proc_id id) { return at(1).gone.count(id) > 0; }

  void tell_of(troupe::proc_id whom, const process& of) {
    troupe::frame_builder f;
    auto& out = f.start(troupe::frame_kind::members).out();
    write(out, of.id);
    write(out, std::string{});
    write(out, of.where.port);
    at(1).net->send(whom, f, troupe::urgency::now);
  }

  void lost(process& p, troupe::proc_id other, const std::string& why) {
    if (p.ended)
      return;
    note("lost", p.id, other, 0, why);
    if (p.id == 1)
      return decide(other, why);
    if (other == 1)
      return end(p, true, "it has lost its master");
    troupe::frame_builder f;
    auto& out = f.start(troupe::frame_kind::doubt).out();
    write(out, other);
    write(out, why);
    p.net->send(1, f, troupe::urgency::now);
  }

  void set_gone(process& p, troupe::proc_id id, const std::string& text) {
    note("gone", p.id, id, 0, text);
    auto info = troupe::make_error_info(troupe::error_kind::process_exited, text, id);
    p.net->mark_gone(id, info);
    p.gone[id].push_back(text);
    if (hooks_.gone)
      hooks_.gone(p, id, info);
  }

  void take(process& p, troupe::proc_id from, troupe::frame_view& f) {
    troupe::reader in{f.payload};
    switch (f.header.kind) {
      case troupe::frame_kind::members: {
        auto id = troupe::read<troupe::proc_id>(in);
        auto text = troupe::read<std::string>(in);
        auto port = troupe::read<std::uint16_t>(in);
        if (!text.empty())
          return set_gone(p, id, text);
        note("joined", p.id, id);
        return p.net->add(id, {at(id).host, port});
      }
      case troupe::frame_kind::dial: {
        auto dialler = troupe::read<troupe::proc_id>(in);
        auto to = troupe::read<troupe::proc_id>(in);
        note("dial", p.id, dialler, static_cast<std::uint64_t>(to));
        if (p.id != 1)
          return p.net->redial(to);
        troupe::frame_builder copy;
        auto& out = copy.start(troupe::frame_kind::dial).out();
        write(out, dialler);
        write(out, to);
        p.net->send(dialler, copy, troupe::urgency::now);
        return;
      }
      case troupe::frame_kind::doubt: {
        auto about = troupe::read<troupe::proc_id>(in);
        auto why = troupe::read<std::string>(in);
        if (!is_gone(from) && p.net->heard_lately(about))
          decide(about, "process " + std::to_string(from) + " can't reach it: " + why);
        return;
      }
      default:
        return hooks_.frame(p, from, f);
    }
  }

  const hooks hooks_;
  clock::time_point now_{};
  troupe::memory_network net_;
  std::vector<std::unique_ptr<process>> all_;
  std::multimap<clock::time_point, std::function<void()>> plans_;
  std::uint64_t log_hash_ = 0xcbf29ce484222325;
  bool to_reap_ = false;
  const bool show_;
};

} // namespace test
