#include "epidemic/cluster_run.hpp"

#include "epidemic/block_actor.hpp"

#include <troupe/actors.hpp>
#include <troupe/troupe.hpp>

#include <algorithm>

namespace epidemic {

namespace {

using blocks = troupe::actor_array<block_self>;

/// They end with it, whatever way the run ends.
class running_blocks {
public:
  running_blocks(troupe::cluster& c, const scenario& s, std::size_t count)
    : all_(c.spawn_array<block_actor>(count, troupe::placement::block, s)) {}
  ~running_blocks() {
    try {
      all_.end();
    } catch (const troupe::error&) {
      // the cluster ends
    }
  }
  running_blocks(const running_blocks&) = delete;
  running_blocks& operator=(const running_blocks&) = delete;

  const blocks* operator->() const { return &all_; }

private:
  blocks all_;
};

} // namespace

void register_messages(troupe::app& app) {
  app.message_types<run_until, collect, results, visits, exposures>();
}

cluster_run run_on(troupe::cluster& c, const scenario& s, std::size_t blocks,
                   const std::function<void(std::uint32_t day)>& on_day) {
  const std::uint32_t days = s.given.days;
  const std::uint32_t chunk = std::clamp(days / 100, 1u, 50u);
  const auto count = std::min(blocks == 0 ? c.workers().size() : blocks, s.places.size());
  const running_blocks all{c, s, count};
  const partition parts{s.places.size(), count};
  cluster_run run{trajectory{s.places.size()}, count, 0};
  for (std::uint32_t first = 0; first <= days; first += chunk) {
    const auto last = std::min(first + chunk - 1, days);
    // They are a chunk ahead of what is collected, so that they need not wait for the master, and not
    // further, so that what they keep stays small.
    all->broadcast(run_until{std::min(last + chunk, days)});
    run.course.extend_to(last);
    run.messages = 0;
    const auto found = all->collect<results>(collect{first, last});
    for (std::size_t b = 0; b < count; ++b) {
      const std::size_t places = parts.last(b) - parts.first(b);
      for (auto day = first; day <= last; ++day)
        run.course.set(day, parts.first(b), std::span{found[b].rows}.subspan((day - first) * places, places));
      run.messages += found[b].messages;
    }
    if (on_day)
      on_day(last);
  }
  return run;
}

} // namespace epidemic
