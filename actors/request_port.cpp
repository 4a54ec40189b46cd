#include "troupe/actors/request_port.hpp"

#include "troupe/actors/waiter.hpp"

#include <caf/all.hpp>

namespace troupe {

request_port::request_port(caf::actor_config& cfg) : caf::monitorable_actor(cfg) {}

void request_port::enqueue(caf::mailbox_element_ptr what, caf::execution_unit*) {
  if (!what->mid.is_response()) {
    if (what->mid.is_request())
      bounce(what, caf::make_error(caf::sec::unexpected_message));
    return;
  }
  auto answer = what->move_content_to_message();
  std::lock_guard guard{mutex_};
  auto i = pending_.find(what->mid.request_id().integer_value());
  if (i == pending_.end())
    return; // the asker has left
  i->second->answer = std::move(answer);
  i->second->done = true;
  i->second->asker->notify();
  pending_.erase(i);
}

caf::message request_port::ask(const caf::strong_actor_ptr& whom, caf::message question) {
  waiter::check_may_block();
  auto& me = waiter::of_this_thread();
  me.reset();
  pending p{&me, {}};
  std::uint64_t id;
  {
    std::lock_guard guard{mutex_};
    id = ++last_id_;
    pending_[id] = &p;
  }
  struct leave {
    request_port& port;
    std::uint64_t id;
    ~leave() {
      std::lock_guard guard{port.mutex_};
      port.pending_.erase(id);
    }
  } leaving{*this, id};
  whom->enqueue(caf::strong_actor_ptr{ctrl()}, caf::message_id{id}.with_normal_priority(), std::move(question), nullptr);
  while (true) {
    {
      std::lock_guard guard{mutex_};
      if (p.done)
        return std::move(p.answer);
    }
    me.wait();
  }
}

} // namespace troupe
