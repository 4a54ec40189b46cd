#pragma once

#include <optional>
#include <string>

namespace command {

/// The smallest limit that this process's control group and those above it have; nothing if none has one that can be seen. `file` is its name in version 2, `old_file` that in
/// version 1, where the controller has a tree of its own.
std::optional<double> smallest_limit(const std::string& controller, const std::string& file, const std::string& old_file);

/// How many CPUs' time the groups grant.
std::optional<double> smallest_cpu_quota();

} // namespace command
