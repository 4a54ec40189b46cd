#pragma once

#include "troupe/transport/actor_hub.hpp"

#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>

#include <memory>

namespace caf::net {

/// The module that makes an actor system part of a cluster. CAF 0.17 declares this class and lets it set the system's node
/// id, but no library of 0.17 defines it.
class middleman final : public actor_system::module {
public:
  struct settings {
    troupe::loop* loop;
    troupe::mesh* mesh;
    troupe::actor_hub::runner elsewhere;
    troupe::actor_hub::sender send;
  };

  /// Has the actor system that is made from `cfg` load the module. What `s` points to must outlive the system.
  static void load(actor_system_config& cfg, settings s);

  middleman(actor_system& system, settings s);

  troupe::actor_hub& hub() { return *hub_; }

  void start() override;
  void stop() override;
  void init(actor_system_config&) override;
  id_t id() const override;
  void* subtype_ptr() override;

private:
  actor_system& system_;
  settings settings_;
  std::unique_ptr<troupe::actor_hub> hub_;
};

} // namespace caf::net
