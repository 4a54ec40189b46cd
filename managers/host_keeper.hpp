#pragma once

#include <chrono>

namespace troupe {

/// The process that a manager starts on another host, once for all workers there: `app --worker --keeper`. It says hello on its standard output, reads its orders from standard input,
/// starts the workers as its children and passes on what they write and how they end, over the one connection that it has (managers/keeper_lines.hpp, docs/protocol.md).
///
/// Returns, with the exit status, when all workers that it was to start have ended; when its standard input ends, for then its master or the connection is gone: it kills them all, each with its group;
/// when an order makes no sense, the same; or if it hasn't been told all workers within `limit`. For a process with one thread, before anything else of troupe is there.
int run_host_keeper(std::chrono::milliseconds limit);

} // namespace troupe
