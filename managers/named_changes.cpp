#include "troupe/managers/named_changes.hpp"

#include "troupe/actors/waiter.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

namespace troupe {

namespace {

// Smaller values go from the master to each process: one way instead of several one after the other.
constexpr std::size_t least_in_tree = 64 << 10;
// See patience_.
constexpr std::size_t slow_network = 10'000'000; // bytes per second

bool equal(std::span<const std::byte> a, std::span<const std::byte> b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size()) == 0);
}

} // namespace

bytes_digest digest_of(std::span<const std::byte> bytes) {
  // each half takes every other word in by a step that can be undone, so that two inputs that differ in one word never have the same digest;
  // the constants are splitmix64's, see frame.cpp
  bytes_digest d{bytes.size(), ~bytes.size()};
  const auto take = [&](std::size_t half, std::uint64_t word) {
    d[half] = std::rotl((d[half] ^ word) * 0xbf58476d1ce4e5b9, 31) * 0x94d049bb133111eb;
  };
  std::size_t at = 0;
  for (; at + 16 <= bytes.size(); at += 16) {
    std::uint64_t words[2];
    std::memcpy(words, bytes.data() + at, sizeof words);
    take(0, words[0]);
    take(1, words[1]);
  }
  std::uint64_t rest[2] = {};
  if (at < bytes.size())
    std::memcpy(rest, bytes.data() + at, bytes.size() - at);
  take(0, rest[0]);
  take(1, rest[1]);
  return d;
}

struct named_changes::change {
  std::uint64_t number = 0;
  std::optional<named_value> value; // nothing: names are removed
  std::vector<std::string> names; // that are removed
  std::optional<std::vector<proc_id>> where; // from these; nothing: from all workers
  bool begun = false;
  std::set<proc_id> waiting; // for their acknowledgement
  spread_tree tree;
  const std::shared_ptr<detail::future_state> heard_by_all = std::make_shared<detail::future_state>();
};

named_changes::named_changes(process& p, std::function<std::vector<listener>()> audience, std::chrono::milliseconds patience)
  : process_(p), audience_(std::move(audience)), patience_(patience) {}

named_changes::~named_changes() = default;

// -- what users ask for -----------------------------------------------------------------------------------------------------------

std::optional<named_changes::present> named_changes::find(const std::string& name) {
  std::optional<present> out;
  process_.run_in_loop([&] {
    if (auto i = present_.find(name); i != present_.end())
      out = i->second;
  });
  return out;
}

void named_changes::define(const std::string& name, const std::string& type, detail::shared_bytes encoded) {
  waiter::check_may_block();
  const auto now = find(name);
  if (now && now->everywhere && now->value.type == type && equal(encoded.bytes, now->value.encoded.bytes)) {
    now->heard_by_all->wait();
    return;
  }
  std::shared_ptr<detail::future_state> heard;
  process_.run_in_loop([&] {
    auto c = std::make_unique<change>();
    c->number = ++last_number_;
    c->value = named_value{c->number, name, type, std::move(encoded)};
    present_[name] = {*c->value, c->heard_by_all};
    heard = enqueue(std::move(c));
  });
  heard->wait();
}

bool named_changes::is_defined(const std::string& name, const std::string& type, std::uint64_t size, const bytes_digest& digest) {
  waiter::check_may_block();
  const auto now = find(name);
  if (!now || !now->everywhere || now->value.type != type || now->value.encoded.bytes.size() != size
      || digest_of(now->value.encoded.bytes) != digest)
    return false;
  now->heard_by_all->wait();
  return true;
}

void named_changes::undefine(const std::vector<std::string>& names, const std::optional<std::vector<proc_id>>& where) {
  waiter::check_may_block();
  const bool master_too = where && std::find(where->begin(), where->end(), master_id) != where->end();
  std::shared_ptr<detail::future_state> heard;
  process_.run_in_loop([&] {
    auto c = std::make_unique<change>();
    for (auto& name : names) {
      auto i = present_.find(name);
      if (i == present_.end())
        continue;
      c->names.push_back(name);
      i->second.everywhere = false;
      i->second.for_new = i->second.for_new && where;
      i->second.on_master = i->second.on_master && !master_too;
      if (!i->second.for_new && !i->second.on_master)
        present_.erase(i);
    }
    if (c->names.empty())
      return;
    c->number = ++last_number_;
    c->where = where;
    heard = enqueue(std::move(c));
  });
  if (heard)
    heard->wait();
}

// -- one change after the other -----------------------------------------------------------------------------------------------------

std::shared_ptr<detail::future_state> named_changes::enqueue(std::unique_ptr<change> c) {
  auto heard = c->heard_by_all;
  changes_.push_back(std::move(c));
  go_on();
  return heard;
}

void named_changes::go_on() {
  while (!changes_.empty()) {
    auto& c = *changes_.front();
    if (!std::exchange(c.begun, true))
      begin(c);
    if (!c.waiting.empty())
      return;
    c.heard_by_all->set_value({});
    changes_.pop_front();
  }
}

void named_changes::begin(change& c) {
  if (c.value)
    begin_definition(c);
  else
    begin_removal(c);
}

void named_changes::begin_definition(change& c) {
  auto& v = *c.value;
  process_.named().put(std::make_shared<detail::named_version>(v.name, v.number, v.type, v.encoded));
  const bool large = v.encoded.bytes.size() >= least_in_tree && !process_.net().restricted();
  std::vector<proc_id> in_tree;
  for (auto& l : audience_()) {
    c.waiting.insert(l.id);
    if (large && l.announced)
      in_tree.push_back(l.id);
    else
      send_named(process_.net(), v, {l.id, {}});
  }
  send(c, in_tree);
  if (!in_tree.empty())
    look_for_progress(c.number, c.waiting.size());
}

void named_changes::send(change& c, const std::vector<proc_id>& to) {
  for (auto& branch : c.tree.add(to))
    send_named(process_.net(), *c.value, branch);
}

void named_changes::begin_removal(change& c) {
  const auto concerned = [&](proc_id id) {
    return c.where ? std::find(c.where->begin(), c.where->end(), id) != c.where->end() : id != master_id;
  };
  if (concerned(master_id))
    process_.named().drop(c.names, c.number);
  for (auto& l : audience_()) {
    if (!concerned(l.id))
      continue;
    c.waiting.insert(l.id);
    frame_builder f;
    auto& out = f.start(frame_kind::unnamed).out();
    write(out, c.number);
    write(out, c.names);
    process_.net().send(l.id, f, urgency::now);
  }
}

void named_changes::acknowledged(proc_id from, std::uint64_t number) {
  if (changes_.empty() || changes_.front()->number != number)
    return; // a value that came twice, or with which a worker has joined
  changes_.front()->waiting.erase(from);
  go_on();
}

void named_changes::gone(proc_id id) {
  if (changes_.empty())
    return;
  auto& c = *changes_.front();
  c.waiting.erase(id);
  auto orphans = c.tree.below(id);
  std::erase_if(orphans, [&](proc_id orphan) { return !c.waiting.contains(orphan); });
  send(c, orphans);
  go_on();
}

void named_changes::look_for_progress(std::uint64_t number, std::size_t waiting) {
  const auto patience = patience_ + std::chrono::seconds{changes_.front()->value->encoded.bytes.size() / slow_network};
  process_.events().call_after(patience, [this, number, waiting] {
    if (changes_.empty() || changes_.front()->number != number)
      return;
    auto& c = *changes_.front();
    if (c.waiting.size() < waiting)
      return look_for_progress(number, c.waiting.size());
    for (auto id : c.waiting)
      if (c.tree.sender_of(id) != master_id) // whom the master has sent it gets it, or is lost
        send_named(process_.net(), *c.value, c.tree.add({id}).front());
  });
}

// -- workers that join ----------------------------------------------------------------------------------------------------------------

std::vector<std::pair<std::string, std::uint64_t>> named_changes::send_all(proc_id to) {
  std::vector<std::pair<std::string, std::uint64_t>> out;
  for (auto& [name, p] : present_) {
    if (!p.for_new)
      continue;
    send_named(process_.net(), p.value, {to, {}});
    out.emplace_back(name, p.value.number);
  }
  return out;
}

} // namespace troupe
