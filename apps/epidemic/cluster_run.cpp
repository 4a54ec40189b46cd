#include "epidemic/cluster_run.hpp"

#include "epidemic/block_actor.hpp"

#include <troupe/actors.hpp>
#include <troupe/troupe.hpp>

#include <algorithm>

namespace epidemic {

namespace {

/// The actors that run the blocks. They end with it.
class block_group {
public:
  block_group(troupe::cluster& c, const scenario& s) : cluster_(c) {
    const auto workers = c.workers();
    const auto blocks = static_cast<std::uint32_t>(std::min(workers.size(), s.places.size()));
    for (std::uint32_t b = 0; b < blocks; ++b)
      actors_.push_back(c.spawn<block_actor>(workers[b], s, b, blocks));
    for (const auto& a : actors_)
      c.request<void>(a, join{actors_});
  }

  ~block_group() {
    for (const auto& a : actors_)
      caf::anon_send_exit(a, caf::exit_reason::user_shutdown);
  }

  block_group(const block_group&) = delete;
  block_group& operator=(const block_group&) = delete;

  std::size_t size() const { return actors_.size(); }

  void run_until_day(std::uint32_t day) {
    for (const auto& a : actors_)
      caf::anon_send(a, run_until{day});
  }

  results collect_from(std::size_t b, std::uint32_t first, std::uint32_t last) {
    return cluster_.request<results>(actors_[b], collect{first, last});
  }

private:
  troupe::cluster& cluster_;
  std::vector<caf::actor> actors_;
};

} // namespace

void register_messages(troupe::app& app) {
  app.message_types<join, run_until, collect, results, visits, exposures>();
}

cluster_run run_on(troupe::cluster& c, const scenario& s,
                   const std::function<void(std::uint32_t day)>& on_day) {
  const std::uint32_t days = s.given.days;
  const std::uint32_t chunk = std::clamp(days / 100, 1u, 50u);
  block_group group{c, s};
  const partition parts{s.places.size(), group.size()};
  cluster_run run{trajectory{s.places.size()}, group.size(), 0};
  for (std::uint32_t first = 0; first <= days; first += chunk) {
    const auto last = std::min(first + chunk - 1, days);
    // They are a chunk ahead of what is collected, so that they need not wait for the master, and not
    // further, so that what they keep stays small.
    group.run_until_day(std::min(last + chunk, days));
    run.course.extend_to(last);
    run.messages = 0;
    for (std::size_t b = 0; b < group.size(); ++b) {
      const auto part = group.collect_from(b, first, last);
      const std::size_t places = parts.last(b) - parts.first(b);
      for (auto day = first; day <= last; ++day)
        run.course.set(day, parts.first(b), std::span{part.rows}.subspan((day - first) * places, places));
      run.messages += part.messages;
    }
    if (on_day)
      on_day(last);
  }
  return run;
}

} // namespace epidemic
