#include "troupe/transport/middleman.hpp"

namespace caf::net {

void middleman::load(actor_system_config& cfg, settings s) {
  cfg.module_factories.push_back([s = std::move(s)](actor_system& system) -> actor_system::module* { return new middleman{system, s}; });
}

middleman::middleman(actor_system& system, settings s) : system_(system), settings_(std::move(s)) {}

void middleman::init(actor_system_config&) {
  auto node = troupe::actor_hub::node_of(settings_.mesh->cluster(), settings_.mesh->id());
  system_.node_.swap(node);
  hub_ = std::make_unique<troupe::actor_hub>(system_, *settings_.loop, *settings_.mesh, settings_.elsewhere, settings_.send);
}

void middleman::start() {}

void middleman::stop() { hub_->close(); }

actor_system::module::id_t middleman::id() const { return network_manager; }

void* middleman::subtype_ptr() { return this; }

} // namespace caf::net
