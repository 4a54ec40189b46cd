#include "troupe/actors/collectives.hpp"

#include <iterator>

namespace troupe::detail {

std::array<std::vector<proc_id>, 2> halves_behind_first(const std::vector<proc_id>& ids) {
  const auto rest = static_cast<std::ptrdiff_t>(ids.size()) - 1;
  const auto middle = ids.begin() + 1 + (rest + 1) / 2;
  return {std::vector<proc_id>{ids.begin() + 1, middle}, std::vector<proc_id>{middle, ids.end()}};
}

void throw_without_hops(const error_info& why) {
  auto inner = &why;
  while (inner->parts.size() == 1 && inner->parts.front().pid != 0 && inner->parts.front().task == inner->task)
    inner = &inner->parts.front();
  throw_error(*inner);
}

void barrier_over(const call_options* options, const std::vector<proc_id>& ids) {
  gather_over(options, ids, [] {});
}

} // namespace troupe::detail
