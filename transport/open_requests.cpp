#include "troupe/transport/open_requests.hpp"

namespace troupe {

namespace {

// A request and its response have the same id apart from their flags.
std::uint64_t key(caf::message_id id) { return id.request_id().integer_value(); }

} // namespace

bool open_requests::add(caf::actor_id asker, caf::message_id id, proc_id to) {
  auto& s = shard_of(asker);
  std::lock_guard guard{s.mutex};
  auto [i, first] = s.by_asker.try_emplace(asker);
  i->second[key(id)] = {id, to};
  return first;
}

void open_requests::answered(caf::actor_id asker, caf::message_id response) {
  auto& s = shard_of(asker);
  std::lock_guard guard{s.mutex};
  if (auto i = s.by_asker.find(asker); i != s.by_asker.end())
    i->second.erase(key(response));
}

bool open_requests::moved(caf::actor_id asker, caf::message_id id, proc_id to) {
  auto& s = shard_of(asker);
  std::lock_guard guard{s.mutex};
  auto i = s.by_asker.find(asker);
  if (i == s.by_asker.end())
    return false;
  auto j = i->second.find(key(id));
  if (j == i->second.end())
    return false;
  j->second.to = to;
  return true;
}

void open_requests::forget(caf::actor_id asker) {
  auto& s = shard_of(asker);
  std::lock_guard guard{s.mutex};
  s.by_asker.erase(asker);
}

std::vector<open_requests::entry> open_requests::take_all(proc_id to) {
  std::vector<entry> out;
  for (auto& s : shards_) {
    std::lock_guard guard{s.mutex};
    for (auto& [asker, requests] : s.by_asker) {
      for (auto i = requests.begin(); i != requests.end();) {
        if (i->second.to == to) {
          out.push_back({asker, i->second.id, to});
          i = requests.erase(i);
        } else {
          ++i;
        }
      }
    }
  }
  return out;
}

} // namespace troupe
