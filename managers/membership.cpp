#include "troupe/managers/membership.hpp"

#include <algorithm>

namespace troupe {

bool may_link(const cluster_form& form, const member& a, const member& b) {
  if (a.id == master_id || b.id == master_id || form.which == topology::all_to_all)
    return true;
  if (form.which == topology::master_worker)
    return false;
  auto names = [](const member& one, const member& other) {
    auto& all = one.place.connect_idents;
    return std::find(all.begin(), all.end(), other.place.ident) != all.end();
  };
  return names(a, b) || names(b, a);
}

std::vector<proc_id> membership::procs() const {
  std::lock_guard guard{mutex_};
  std::vector<proc_id> out;
  for (auto& [id, m] : members_)
    out.push_back(id);
  return out;
}

std::vector<proc_id> membership::workers() const {
  std::lock_guard guard{mutex_};
  std::vector<proc_id> out;
  for (auto& [id, m] : members_)
    if (id != master_id && !draining_.contains(id))
      out.push_back(id);
  if (out.empty())
    out.push_back(master_id);
  return out;
}

proc_id membership::next_worker(const std::function<bool(proc_id)>& may) {
  std::lock_guard guard{mutex_};
  auto n = members_.size() - members_.count(master_id);
  for (std::size_t tries = 0; tries < n; ++tries) {
    auto i = members_.upper_bound(master_id);
    std::advance(i, static_cast<std::ptrdiff_t>(turn_++ % n));
    if (!draining_.contains(i->first) && may(i->first))
      return i->first;
  }
  return master_id;
}

std::optional<member> membership::find(proc_id id) const {
  std::lock_guard guard{mutex_};
  auto i = members_.find(id);
  return i == members_.end() ? std::nullopt : std::optional{i->second};
}

std::vector<proc_id> membership::on_host_of(proc_id id) const {
  std::lock_guard guard{mutex_};
  std::vector<proc_id> out;
  auto one = members_.find(id);
  if (one == members_.end())
    return out;
  for (auto& [other, m] : members_)
    if (m.info.host == one->second.info.host)
      out.push_back(other);
  return out;
}

std::optional<process_info> membership::info(proc_id id) const {
  std::lock_guard guard{mutex_};
  if (auto i = members_.find(id); i != members_.end())
    return i->second.info;
  if (auto i = gone_.find(id); i != gone_.end())
    return i->second;
  return std::nullopt;
}

std::vector<member> membership::all() const {
  std::lock_guard guard{mutex_};
  std::vector<member> out;
  for (auto& [id, m] : members_)
    out.push_back(m);
  return out;
}

void membership::add(member m) {
  std::lock_guard guard{mutex_};
  auto id = m.id;
  members_[id] = std::move(m);
}

std::vector<proc_id> membership::draining() const {
  std::lock_guard guard{mutex_};
  return {draining_.begin(), draining_.end()};
}

void membership::set_draining(proc_id id) {
  std::lock_guard guard{mutex_};
  if (members_.contains(id))
    draining_.insert(id);
}

void membership::set_terminating(proc_id id) {
  std::lock_guard guard{mutex_};
  if (auto i = members_.find(id); i != members_.end()) {
    gone_[id] = i->second.info;
    members_.erase(i);
    draining_.erase(id);
  }
  if (auto i = gone_.find(id); i != gone_.end())
    i->second.state = process_state::terminating;
}

void membership::remove(proc_id id, exit_cause cause) {
  std::lock_guard guard{mutex_};
  process_info info;
  if (auto i = members_.find(id); i != members_.end()) {
    info = i->second.info;
    members_.erase(i);
    draining_.erase(id);
  } else if (auto j = gone_.find(id); j != gone_.end()) {
    info = j->second;
  }
  info.state = process_state::terminated;
  info.cause = std::move(cause);
  gone_[id] = std::move(info);
}

} // namespace troupe
