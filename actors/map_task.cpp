#include "troupe/actors/map_task.hpp"

#include "troupe/actors/runtime.hpp"

namespace troupe::detail {

error_info describe_item_failure(const std::string& label) { return runtime::get().describe_failure(label); }

} // namespace troupe::detail
