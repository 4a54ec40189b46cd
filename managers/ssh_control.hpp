#pragma once

#include "troupe/managers/machine_spec.hpp"
#include "troupe/managers/own_manager.hpp"
#include "troupe/managers/ssh_tunnel.hpp"

#include <functional>
#include <string>
#include <vector>

namespace troupe {

/// A path for a new control socket to that machine, under ~/.ssh, which is made if it isn't there: named by user, host and port, and by this process, so that nobody else's connection is used, or closed.
/// As long as a socket's name may be. Throws std::system_error if there can be no such folder.
std::string new_control_path(const machine_spec& m);

/// "ControlPath=…", as ssh's -o takes it.
std::string control_path_option(const std::string& path);

/// Runs a client to its end, which is told with what it wrote to standard error, on the loop's thread. One that takes longer than 10 s is killed. Any thread.
void run_client(const manager_context& context, const child_options& client,
                std::function<void(const exit_state&, const std::string& said)> ended);

/// Has the client that owns a control socket forward ports to these addresses: `client` has all arguments for that but -O, -L and what follows. `up` is called once, on the loop's thread, with the forwardings in the order
/// of `there`, or with none, and why.
void forward_over(const manager_context& context, const child_options& client, const std::string& destination,
                  const std::vector<endpoint>& there,
                  std::function<void(const std::vector<forwarding>& all, const std::string& why_not)> up);
/// Has it forward that no more. What comes of that nobody hears.
void cancel_forwarding(const manager_context& context, const child_options& client, const std::string& destination,
                       const forwarding& which);

} // namespace troupe
