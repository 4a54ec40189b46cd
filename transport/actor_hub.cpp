#include "troupe/transport/actor_hub.hpp"

#include "troupe/transport/log.hpp"
#include "troupe/transport/received_message.hpp"

#include <caf/actor_registry.hpp>
#include <caf/all.hpp>

#include <cinttypes>
#include <cstdio>

namespace troupe {

namespace {

caf::error make_caf_error(caf::sec code, const std::string& text) { return caf::make_error(code, text); }

// CAF's own bouncer tells of any reason as request_receiver_down, without a word.
void refuse(const caf::strong_actor_ptr& asker, const caf::message_id& mid, caf::error why) {
  if (asker && mid.is_request())
    asker->enqueue(nullptr, mid.response_id(), caf::make_message(std::move(why)), nullptr);
}

void log_dropped(const std::string& what, const std::string& why) { log(log_level::warning, what + " was dropped: " + why); }

} // namespace

caf::error lost_reason(const error_info& why) {
  caf::error reason{caf::exit_reason::remote_link_unreachable};
  return {reason.code(), reason.category(), caf::make_message(why.message)};
}

// -- proxies ----------------------------------------------------------------------------------------------------------

remote_proxy::remote_proxy(caf::actor_config& cfg, actor_hub& hub, proc_id where) : caf::actor_proxy(cfg), hub_(hub), where_(where) {}

void remote_proxy::enqueue(caf::mailbox_element_ptr what, caf::execution_unit*) { hub_.send_message(*this, *what); }

// CAF calls these with both actors locked, and `other` is the one that is linked to this one. The other process links its
// actor to a proxy of `other`, which ends with it: so nothing needs to be attached to `other` itself, and the answer is no.
bool remote_proxy::add_backlink(caf::abstract_actor* other) {
  if (caf::monitorable_actor::add_backlink(other))
    hub_.loop_.post([&hub = hub_, to = where_, id = id(), p = caf::strong_actor_ptr{other->ctrl()}] {
      hub.publish(p);
      hub.send_control(frame_kind::link, to, p->id(), id);
    });
  return false;
}

bool remote_proxy::remove_backlink(caf::abstract_actor* other) {
  if (!caf::monitorable_actor::remove_backlink(other))
    return false;
  hub_.loop_.post(
    [&hub = hub_, to = where_, id = id(), other_id = other->id()] { hub.send_control(frame_kind::unlink, to, other_id, id); });
  return true;
}

void remote_proxy::kill_proxy(caf::execution_unit* host, caf::error reason) { cleanup(std::move(reason), host); }

// -- the hub ----------------------------------------------------------------------------------------------------------

std::atomic<std::uint64_t> actor_hub::last_serial_{0};

actor_hub::actor_hub(caf::actor_system& system, loop& l, mesh& m, runner elsewhere, sender send)
  : system_(system), loop_(l), mesh_(m), elsewhere_(std::move(elsewhere)), send_(std::move(send)), proxies_(system, *this) {}

actor_hub::~actor_hub() { close(); }

caf::node_id actor_hub::node_of(std::uint64_t cluster, proc_id id) {
  char text[64];
  std::snprintf(text, sizeof text, "troupe:/%016" PRIx64 "/%d", cluster, static_cast<int>(id));
  return caf::make_node_id(*caf::make_uri(text));
}

const caf::node_id& actor_hub::node(proc_id id) {
  {
    std::shared_lock guard{peers_mutex_};
    if (auto i = nodes_.find(id); i != nodes_.end())
      return i->second;
  }
  auto made = node_of(mesh_.cluster(), id);
  std::unique_lock guard{peers_mutex_};
  ids_[made] = id;
  return nodes_.try_emplace(id, std::move(made)).first->second;
}

actor_hub::peer_ptr actor_hub::peer_of(proc_id id) {
  {
    std::shared_lock guard{peers_mutex_};
    if (auto i = peers_.find(id); i != peers_.end())
      return i->second;
  }
  std::unique_lock guard{peers_mutex_};
  auto& p = peers_[id];
  if (!p)
    p = std::make_shared<peer>();
  return p;
}

proc_id actor_hub::where_is(const caf::strong_actor_ptr& handle) const {
  if (handle->nid == system_.node())
    return mesh_.id();
  // every actor with another node is a proxy that make_proxy made
  return static_cast<remote_proxy*>(caf::actor_cast<caf::abstract_actor*>(handle))->where();
}

void actor_hub::publish(const caf::strong_actor_ptr& local) {
  if (element_id::is(local->id()))
    return; // its array keeps it
  // an actor sends many messages in a row: the registry's lock is taken for the first of them
  struct last_published {
    std::uint64_t hub = 0; // not its address, where a later one may lie
    caf::actor_id id = 0;
  };
  thread_local last_published last;
  if (last.hub == serial_ && last.id == local->id())
    return;
  last = {serial_, local->id()};
  if (system_.registry().get(local->id()))
    return;
  system_.registry().put(local->id(), local);
  // runs before the registry's own, which was attached first: at no time is neither actor nor reason to be found
  local->get()->attach_functor([this, id = local->id()](const caf::error& reason) { ended_.note(id, reason); });
}

caf::strong_actor_ptr actor_hub::actor_at(proc_id where, caf::actor_id id) { return resolve({where, id}); }

// The registry of proxies is locked meanwhile.
caf::strong_actor_ptr actor_hub::make_proxy(caf::node_id nid, caf::actor_id id) {
  proc_id where = 0;
  {
    std::shared_lock guard{peers_mutex_};
    if (auto i = ids_.find(nid); i != ids_.end())
      where = i->second;
  }
  if (where == 0)
    return nullptr;
  caf::actor_config cfg;
  auto made = caf::make_actor<remote_proxy, caf::strong_actor_ptr>(id, nid, &system_, cfg, *this, where);
  frame_builder f{this};
  auto& out = f.start(frame_kind::watch).out();
  out.put(id);
  if (auto gone = mesh_.send(where, f, urgency::batched))
    loop_.post([this, nid, id, why = *gone] { proxies_.erase(nid, id, lost_reason(why)); });
  return made;
}

caf::strong_actor_ptr actor_hub::resolve(address a) {
  if (a.where == 0)
    return nullptr;
  if (a.where == mesh_.id())
    return own(a.id);
  return proxies_.get_or_put(node(a.where), a.id);
}

// An actor of this process that others know; null if it has ended.
caf::strong_actor_ptr actor_hub::own(caf::actor_id id) const {
  if (element_id::is(id))
    return elements_ == nullptr ? nullptr : elements_->find(element_id::of(id));
  return system_.registry().get(id);
}

std::optional<caf::error> actor_hub::reason_of(caf::actor_id id) const {
  return element_id::is(id) && elements_ != nullptr ? elements_->reason_of(element_id::of(id)) : ended_.reason_of(id);
}

void actor_hub::close() {
  if (closed_.exchange(true))
    return;
  proxies_.clear();
}

// -- handles ------------------------------------------------------------------------------------------------------------

void actor_hub::write(writer& out, const caf::strong_actor_ptr& handle) {
  if (!handle) {
    out.put(proc_id{0});
    out.put(caf::actor_id{0});
    return;
  }
  auto owner = where_is(handle);
  if (owner == mesh_.id())
    publish(handle);
  out.put(owner);
  out.put(handle->id());
}

actor_hub::address actor_hub::read_address(reader& in) {
  address a;
  a.where = in.get<proc_id>();
  a.id = in.get<caf::actor_id>();
  if (a.where < 0)
    throw codec_error{"an actor on process " + std::to_string(a.where)};
  return a;
}

caf::strong_actor_ptr actor_hub::read(reader& in) { return resolve(read_address(in)); }

// -- sending ------------------------------------------------------------------------------------------------------------

void actor_hub::encode(frame_builder& f, remote_proxy& to, caf::mailbox_element& what) {
  auto& out = f.start(frame_kind::message).out();
  out.put(to.id());
  write(out, what.sender);
  out.put(what.mid.integer_value());
  out.put(static_cast<std::uint16_t>(what.stages.size()));
  for (auto& stage : what.stages)
    write(out, stage);
  write_elements(out, what.content());
}

// Before it is sent, so that the answer can't come first.
void actor_hub::note_request(remote_proxy& to, const caf::mailbox_element& what) {
  if (!what.mid.is_request() || !what.sender)
    return;
  auto asker = where_is(what.sender);
  if (asker == mesh_.id()) {
    if (open_requests_.add(what.sender->id(), what.mid, to.where()))
      what.sender->get()->attach_functor([this, id = what.sender->id()] { open_requests_.forget(id); });
  } else if (to.where() != asker) {
    // handed on for an actor of a third process, which will get its answer from the actor that we send it to
    frame_builder f{this};
    auto& out = f.start(frame_kind::moved).out();
    out.put(what.sender->id());
    out.put(what.mid.integer_value());
    out.put(to.where());
    mesh_.send(asker, f, urgency::now);
  }
}

void actor_hub::send_message(remote_proxy& to, caf::mailbox_element& what) {
  if (closed_)
    return refuse(what.sender, what.mid, make_caf_error(caf::sec::request_receiver_down, "this process leaves its cluster"));
  if (!what.mid.is_response())
    if (const auto why = mesh_.barred(to.where()); why && why->kind == error_kind::not_connected)
      return refuse(what.sender, what.mid, make_caf_error(caf::sec::request_receiver_down, why->message));
  borrowed_builder f{this};
  try {
    encode(*f, to, what);
  } catch (const std::exception& e) {
    auto problem = make_caf_error(caf::sec::invalid_argument, e.what());
    if (what.mid.is_request())
      return refuse(what.sender, what.mid, std::move(problem));
    if (!what.mid.is_response())
      return log_dropped("a message to actor " + std::to_string(to.id()) + " on process " + std::to_string(to.where()), e.what());
    // who asked learns why there is no answer
    auto answer = caf::make_mailbox_element(what.sender, what.mid, {}, std::move(problem));
    encode(*f, to, *answer);
  }
  note_request(to, what);
  // who asks waits for the answer
  auto urgent = what.mid.is_request() || what.mid.is_response() ? urgency::now : urgency::batched;
  auto of = what.mid.is_response() ? flow::none : flow::messages;
  if (auto gone = send_(to.where(), *f, urgent, of))
    refuse(what.sender, what.mid, make_caf_error(caf::sec::request_receiver_down, gone->message));
}

void actor_hub::send_control(frame_kind kind, proc_id to, caf::actor_id a, caf::actor_id b) {
  frame_builder f{this};
  auto& out = f.start(kind).out();
  out.put(a);
  out.put(b);
  mesh_.send(to, f, urgency::batched);
}

// -- receiving ----------------------------------------------------------------------------------------------------------

void actor_hub::peer_up(proc_id id, const hello& h) { peer_of(id)->types = translate_message_types(h.types); }

bool actor_hub::runs_user_code(const frame_view& f, const peer& p) {
  if (f.header.kind != frame_kind::message)
    return false;
  reader in{f.payload};
  in.take(sizeof(caf::actor_id) + sizeof(proc_id) + sizeof(caf::actor_id) + sizeof(std::uint64_t));
  auto stages = in.get<std::uint16_t>();
  in.take(stages * (sizeof(proc_id) + sizeof(caf::actor_id)));
  return needs_user_code(in, p.types);
}

void actor_hub::handle(proc_id from, frame_view& f) {
  auto p = peer_of(from);
  {
    std::lock_guard guard{p->mutex};
    // what comes behind a frame that waits, waits too
    if (p->reading || runs_user_code(f, *p)) {
      p->inbox.push_back(std::move(f));
      if (!p->reading)
        elsewhere_([this, from, p] { read_inbox(from, p); });
      p->reading = true;
      return;
    }
  }
  read_frame(from, *p, f);
}

void actor_hub::read_inbox(proc_id from, const peer_ptr& p) {
  while (true) {
    frame_view f;
    {
      std::lock_guard guard{p->mutex};
      if (p->inbox.empty()) {
        p->reading = false;
        return;
      }
      f = std::move(p->inbox.front());
      p->inbox.pop_front();
    }
    try {
      read_frame(from, *p, f);
    } catch (const std::exception& e) {
      log_dropped("a " + to_string(f.header.kind) + " frame from process " + std::to_string(from), e.what());
    }
  }
}

void actor_hub::read_frame(proc_id from, peer& p, frame_view& f) {
  reader in{f.payload, this};
  in.set_references(f.references);
  switch (f.header.kind) {
    case frame_kind::message:
      return read_message(from, p, in, std::move(f.credit));
    case frame_kind::watch:
      return read_watch(from, in);
    case frame_kind::down:
      return read_down(from, p, in);
    case frame_kind::link:
      return read_link(from, in, true);
    case frame_kind::unlink:
      return read_link(from, in, false);
    case frame_kind::moved:
      return read_moved(in);
    default:
      throw codec_error{"it is not about actors"};
  }
}

// Many messages in a row come from one actor.
caf::strong_actor_ptr actor_hub::sender_of(proc_id from, peer& p, address a) {
  if (a.where != from)
    return resolve(a);
  if (!p.last_sender || a.id != p.last_sender->id())
    p.last_sender = resolve(a);
  return p.last_sender;
}

void actor_hub::read_message(proc_id from, peer& p, reader in, credit paid) {
  auto dest = in.get<caf::actor_id>();
  auto source = sender_of(from, p, read_address(in));
  caf::message_id mid{in.get<std::uint64_t>()};
  auto n = in.get<std::uint16_t>();
  caf::mailbox_element::forwarding_stack stages;
  for (std::uint16_t i = 0; i < n; ++i)
    stages.push_back(read(in));
  if (mid.is_response())
    open_requests_.answered(dest, mid);
  auto receiver = own(dest);
  caf::mailbox_element_ptr what;
  try {
    what = received_message::read(in, p.types);
  } catch (const std::exception& e) {
    auto text = std::string{"a message from process "} + std::to_string(from) + " can't be decoded: " + e.what();
    auto problem = make_caf_error(caf::sec::invalid_argument, text);
    if (mid.is_response() && receiver) // the asker learns why it has no answer
      receiver->enqueue(source, mid, caf::make_message(problem), nullptr);
    else if (mid.is_request())
      refuse(source, mid, problem);
    else
      log_dropped("a message to actor " + std::to_string(dest), text);
    return;
  }
  if (!receiver) {
    refuse(source, mid, make_caf_error(caf::sec::request_receiver_down, "the actor has ended"));
    return;
  }
  what->sender = std::move(source);
  what->mid = mid;
  what->stages = std::move(stages);
  static_cast<received_message&>(*what).paid = std::move(paid);
  receiver->get()->enqueue(std::move(what), nullptr);
}

void actor_hub::read_watch(proc_id from, reader in) {
  auto id = in.get<caf::actor_id>();
  in.expect_end();
  if (auto p = own(id))
    p->get()->attach_functor([this, from, id](const caf::error& reason) { announce_end(from, id, reason); });
  else
    announce_end(from, id, reason_of(id).value_or(caf::exit_reason::unknown));
}

void actor_hub::announce_end(proc_id to, caf::actor_id id, const caf::error& reason) {
  if (closed_)
    return;
  frame_builder f{this};
  auto& out = f.start(frame_kind::down).out();
  out.put(id);
  codec<caf::error>::write(out, reason);
  mesh_.send(to, f, urgency::batched);
}

void actor_hub::read_down(proc_id from, peer& p, reader in) {
  auto id = in.get<caf::actor_id>();
  caf::error reason;
  codec<caf::error>::read(in, reason);
  in.expect_end();
  p.last_sender = nullptr;
  proxies_.erase(node(from), id, std::move(reason));
}

// `a` is the actor of the other process, `b` ours.
void actor_hub::read_link(proc_id from, reader in, bool on) {
  auto a = in.get<caf::actor_id>();
  auto b = in.get<caf::actor_id>();
  in.expect_end();
  auto proxy = resolve({from, a});
  auto ours = own(b);
  if (!proxy || !ours)
    return; // ours has ended: who watches it has been told
  auto p = static_cast<remote_proxy*>(caf::actor_cast<caf::abstract_actor*>(proxy));
  caf::abstract_actor::joined_exclusive_critical_section(p, ours->get(), [&] {
    if (on)
      p->caf::monitorable_actor::add_backlink(ours->get());
    else
      p->caf::monitorable_actor::remove_backlink(ours->get());
  });
}

void actor_hub::read_moved(reader in) {
  auto asker = in.get<caf::actor_id>();
  caf::message_id id{in.get<std::uint64_t>()};
  auto to = in.get<proc_id>();
  in.expect_end();
  if (!open_requests_.moved(asker, id, to))
    return;
  if (auto why = mesh_.gone(to))
    answer_open_requests(to, make_caf_error(caf::sec::request_receiver_down, why->message));
}

void actor_hub::answer_open_requests(proc_id id, const caf::error& reason) {
  for (auto& open : open_requests_.take_all(id))
    if (auto asker = own(open.asker))
      asker->enqueue(nullptr, open.id.response_id(), caf::make_message(reason), nullptr);
}

void actor_hub::peer_lost(proc_id id, const error_info& why) {
  auto& nid = node(id);
  for (auto& proxy : proxies_.get_all(nid))
    proxies_.erase(nid, proxy->id(), lost_reason(why));
  answer_open_requests(id, make_caf_error(caf::sec::request_receiver_down, why.message));
  std::unique_lock guard{peers_mutex_};
  peers_.erase(id);
}

void actor_hub::peer_unreachable(proc_id id, const error_info& why) {
  answer_open_requests(id, make_caf_error(caf::sec::request_receiver_down, why.message));
}

} // namespace troupe
