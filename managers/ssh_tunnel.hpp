#pragma once

#include "troupe/managers/child_process.hpp"
#include "troupe/managers/own_manager.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace troupe {

/// A port of this host's loopback that leads to an address on another, or beyond it.
struct forwarding {
  std::uint16_t here = 0;
  endpoint there;

  /// "127.0.0.1:9201:127.0.0.1:9003", as ssh's -L takes it.
  std::string to_text() const;
};

/// A port of 127.0.0.1 that nobody listens at now: they count from 9201 to 32000 and begin again then. Throws usage_error if 100 in a row are taken. Any thread.
std::uint16_t next_tunnel_port();

/// Port forwardings to one host, by an ssh client of their own. They last until the object is told to end, or this process ends; if the client ends before, it is started again, on the same ports, for
/// as long as links can wait for that. Made by std::make_shared; what has no lock belongs to the loop's thread.
class ssh_tunnel : public std::enable_shared_from_this<ssh_tunnel> {
public:
  struct settings {
    /// With all arguments but for -L and the forwardings, the destination and the command.
    child_options client;
    std::string destination;
    std::vector<endpoint> there;
    /// Called once: with the forwardings in the order of `there`, or with none, and why. On the loop's thread.
    std::function<void(std::vector<forwarding> all, std::string why_not)> on_up;
    /// Called once if they break for good after that, with why. On the loop's thread.
    std::function<void(std::string why)> on_broken;
  };

  /// What `context` points to must outlive it.
  ssh_tunnel(manager_context context, settings s);
  ~ssh_tunnel();
  ssh_tunnel(const ssh_tunnel&) = delete;
  ssh_tunnel& operator=(const ssh_tunnel&) = delete;

  /// Any thread.
  void start();
  void end();

private:
  struct client;

  void begin();
  void take_up();
  void take_end(client& c);
  void give_up(const std::string& why);

  const manager_context context_;
  const settings settings_;
  std::vector<forwarding> forwardings_;
  std::shared_ptr<client> client_;
  int tries_ = 0;
  bool was_up_ = false;
  bool over_ = false;
  loop::clock::time_point broken_at_{};
};

} // namespace troupe
