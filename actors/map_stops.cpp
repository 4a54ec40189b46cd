#include "troupe/actors/map_stops.hpp"

namespace troupe {

map_stops::flag map_stops::begin(proc_id from, std::uint64_t map) {
  std::lock_guard guard{mutex_};
  auto& e = all_[{from, map}];
  ++e.batches;
  return e.stopped;
}

void map_stops::over(proc_id from, std::uint64_t map, const flag& its) {
  std::lock_guard guard{mutex_};
  const auto i = all_.find({from, map});
  if (i == all_.end() || i->second.stopped != its)
    return; // the map has ended before
  if (--i->second.batches == 0 && !*its)
    all_.erase(i);
}

void map_stops::stop(proc_id from, std::uint64_t map) {
  std::lock_guard guard{mutex_};
  all_[{from, map}].stopped->store(true, std::memory_order_relaxed);
}

void map_stops::end(proc_id from, std::uint64_t map) {
  std::lock_guard guard{mutex_};
  if (const auto node = all_.extract({from, map}))
    node.mapped().stopped->store(true, std::memory_order_relaxed);
}

void map_stops::peer_lost(proc_id id) {
  std::lock_guard guard{mutex_};
  std::erase_if(all_, [&](auto& x) {
    if (x.first.first != id)
      return false;
    x.second.stopped->store(true, std::memory_order_relaxed);
    return true;
  });
}

std::size_t map_stops::size() const {
  std::lock_guard guard{mutex_};
  return all_.size();
}

} // namespace troupe
