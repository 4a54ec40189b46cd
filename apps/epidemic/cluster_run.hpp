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
  std::size_t blocks = 1;     ///< how many elements took part
  std::uint64_t messages = 0; ///< what they sent to each other
};

/// Tells `app` of the messages of run_on. To be called on every process, before app.run.
void register_messages(troupe::app& app);

/// The epidemic on an array of actors on the workers of `c`: each element has one block of the places. There are `blocks` of
/// them, at most one for each place; 0: one for each worker. Blocks until it is over; `on_day`, if there is one, is called in this
/// thread with the days that are done, about a hundred times. Throws what waiting for an array throws: process_exited when a worker
/// ends, for one.
cluster_run run_on(troupe::cluster& c, const scenario& s, std::size_t blocks,
                   const std::function<void(std::uint32_t day)>& on_day = {});

} // namespace epidemic
