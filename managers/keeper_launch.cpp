#include "troupe/managers/keeper_launch.hpp"

#include "troupe/managers/machine_spec.hpp"

#include <algorithm>
#include <stdexcept>
#include <system_error>

namespace troupe {

keeper_launch::keeper_launch(settings s, std::vector<keeper_host> hosts, ways w)
  : settings_(std::move(s)),
    hosts_(std::move(hosts)),
    ways_(std::move(w)),
    sessions_(hosts_.size()),
    states_(hosts_.size()),
    unsettled_(hosts_.size()) {}

void keeper_launch::run(launch_sink& sink) {
  const auto self = shared_from_this();
  const auto look = [weak = std::weak_ptr{self}] {
    if (const auto l = weak.lock())
      l->queue_->post([l = l.get()] { l->look_who_has_told(); });
  };
  gathering_ = std::make_shared<gathering>(
    sink,
    [weak = std::weak_ptr{self}](const std::shared_ptr<started_worker>& w, const endpoint& where) {
      if (const auto l = weak.lock())
        l->queue_->post([l = l.get(), w, where] { l->take_address(w, where); });
    },
    look);
  for (std::size_t h = 0; h < hosts_.size(); ++h)
    take_slot([this, h] { begin(h); });
  if (hosts_.empty())
    gathering_->all_started();
  struct finish { // also when the wait is interrupted
    keeper_launch& self;
    ~finish() { self.give_up(); }
  } finishing{*this};
  queue_->run_until(gathering_->done(), std::chrono::steady_clock::now() + settings_.launch_timeout);
}

void keeper_launch::take_slot(std::function<void()> begin) {
  waiting_.insert(waiting_.begin(), std::move(begin));
  begin_more();
}

void keeper_launch::give_slot() {
  --taken_;
  begin_more();
}

void keeper_launch::begin_more() {
  while (taken_ < settings_.max_parallel && !waiting_.empty()) {
    const auto begin = std::move(waiting_.back());
    waiting_.pop_back();
    ++taken_;
    begin();
  }
}

void keeper_launch::begin(std::size_t host) {
  keeper_session::settings s;
  s.client = hosts_[host].client;
  s.host = hosts_[host].name;
  s.kill_after = settings_.kill_after;
  const auto weak = weak_from_this();
  s.on_hello = [weak, host](const keeper_hello& there) {
    if (const auto l = weak.lock())
      l->queue_->post([l = l.get(), host, there] { l->take_hello(host, there); });
  };
  s.on_end = [weak, host, gone = ways_.gone](const keeper_session::end& e) {
    if (gone)
      gone(host);
    if (const auto l = weak.lock())
      l->queue_->post([l = l.get(), host, e] { l->take_end(host, e); });
  };
  const auto session = std::make_shared<keeper_session>(settings_.context, std::move(s));
  try {
    session->start();
    if (ways_.started)
      ways_.started(session);
    sessions_[host] = session;
    states_[host].connecting = true;
  } catch (const std::exception& e) {
    gathering_->failed({hosts_[host].name, launch_reason::unreachable, -1, std::string{e.what()}});
    settle(host);
    queue_->post([this] { give_slot(); }); // not at once: one would begin in the other
  }
}

void keeper_launch::settle(std::size_t host) {
  if (states_[host].settled)
    return;
  states_[host].settled = true;
  if (--unsettled_ == 0)
    gathering_->all_started();
}

void keeper_launch::take_hello(std::size_t host, const keeper_hello& there) {
  auto& s = states_[host];
  if (s.settled)
    return;
  s.connecting = false;
  s.address = there.address;
  auto& session = *sessions_[host];
  if (there.version != keeper_version) {
    gathering_->failed({hosts_[host].name, launch_reason::refused, -1,
                        "the program there speaks version " + std::to_string(there.version) + " of the lines between hosts, this one "
                          + std::to_string(keeper_version) + ": are they the same program?"});
    session.kill();
    settle(host);
    return give_slot();
  }
  if (!settings_.cookie.empty())
    session.send_cookie(settings_.cookie);
  const int count = hosts_[host].count == auto_count ? there.cpus : hosts_[host].count;
  for (int i = 0; i < count; ++i)
    s.workers.push_back(session.start_worker(ways_.order(host, hosts_[host].first + i, count, there), gathering_, hosts_[host].place + i));
  session.complete();
  settle(host);
  give_slot();
}

void keeper_launch::take_end(std::size_t host, const keeper_session::end& end) {
  auto& s = states_[host];
  if (!s.settled) {
    gathering_->failed(ways_.explain(host, end));
    settle(host);
  }
  if (std::exchange(s.connecting, false))
    give_slot();
}

void keeper_launch::take_address(const std::shared_ptr<started_worker>& w, const endpoint& where) {
  const auto s = std::find_if(states_.begin(), states_.end(),
                              [&](auto& x) { return std::find(x.workers.begin(), x.workers.end(), w) != x.workers.end(); });
  auto at = where;
  if (at.address == "0.0.0.0" || at.address == "::") // all that it has
    at.address = s->address;
  if (!ways_.all_told)
    return launched({w, at}, w->config_at(at));
  s->told.push_back({w, at});
  look_who_has_told();
}

void keeper_launch::look_who_has_told() {
  for (std::size_t h = 0; ways_.all_told && h < states_.size(); ++h) {
    auto& s = states_[h];
    if (s.tunnelled || s.told.empty())
      continue;
    const auto open = std::count_if(s.workers.begin(), s.workers.end(), [&](auto& w) { return gathering_->waits_for(*w); });
    const auto listening = std::count_if(s.told.begin(), s.told.end(), [&](auto& t) { return gathering_->waits_for(*t.worker); });
    if (open != listening || open == 0)
      continue;
    s.tunnelled = true;
    std::erase_if(s.told, [&](auto& t) { return !gathering_->waits_for(*t.worker); });
    ways_.all_told(h, sessions_[h], s.told);
  }
}

void keeper_launch::launched(const told_worker& w, worker_config config) {
  config.place = w.worker->place();
  gathering_->launched(*w.worker, std::move(config));
}

void keeper_launch::failed(const told_worker& w, launch_failure why) { gathering_->failed(*w.worker, std::move(why)); }

void keeper_launch::give_up() {
  queue_->close();
  const auto time = std::to_string(settings_.launch_timeout.count()) + " ms";
  for (std::size_t h = 0; h < hosts_.size(); ++h) {
    if (states_[h].settled)
      continue;
    gathering_->failed(
      {hosts_[h].name, launch_reason::silent, -1,
       sessions_[h] ? settings_.client_name + " has neither reached the program there nor failed within " + time
                    : "was not tried within " + time + ": " + std::to_string(settings_.max_parallel) + " other hosts at a time were slow"});
    if (sessions_[h])
      sessions_[h]->kill();
  }
  gathering_->close(settings_.context, "told no address within " + time + ": does it call troupe::app::run?");
}

} // namespace troupe
