#pragma once

#include "epidemic/model.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>

namespace troupe {
class app;
class cluster;
} // namespace troupe

namespace epidemic {

struct cluster_run {
  trajectory course;
  std::size_t blocks = 1;     ///< how many actors took part, each on a worker of its own
  std::uint64_t messages = 0; ///< what they sent to each other
};

/// Tells `app` of the messages of run_on. To be called on every process, before app.run.
void register_messages(troupe::app& app);

/// The epidemic on the workers of `c`: each has one block of the places, or none if there are more workers
/// than places. Blocks until it is over; `on_day`, if there is one, is called in this thread with the days
/// that are done, about a hundred times. Throws what a request throws, process_exited for one, when a block
/// or its worker ends.
cluster_run run_on(troupe::cluster& c, const scenario& s,
                   const std::function<void(std::uint32_t day)>& on_day = {});

} // namespace epidemic
