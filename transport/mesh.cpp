#include "troupe/transport/mesh.hpp"

#include "troupe/transport/tcp.hpp"
#include "troupe/transport/transports.hpp"

#include <algorithm>
#include <unistd.h>
#include <utility>

namespace troupe {

mesh::mesh(loop& l, settings s, events e)
  : loop_(l),
    settings_(std::move(s)),
    events_(std::move(e)),
    id_(settings_.id),
    cluster_(settings_.cluster),
    relays_({[this] { return id(); },
             [this](proc_id to, frame_builder& f) {
               auto p = find(to);
               return p && p->established && !send(to, f, urgency::now);
             },
             [this](std::unique_ptr<byte_stream> stream) { accept_relay(std::move(stream)); }, &l}) {
  if (!settings_.net)
    settings_.net = std::make_shared<tcp_transport>();
  settings_.net = std::make_shared<transports>(std::move(settings_.net));
}

mesh::~mesh() { close(); }

endpoint mesh::listen(const std::string& address, std::uint16_t port) {
  open_door();
  own_where_ =
    settings_.net->listen(loop_, {address, port}, [this](std::unique_ptr<byte_stream> s) { door_->knock(std::move(s), settings_.cookie); });
  return own_where_;
}

// -- the table --------------------------------------------------------------------------------------------------------

mesh::peer_ptr mesh::find(proc_id id) const {
  std::shared_lock guard{table_mutex_};
  auto i = peers_.find(id);
  return i == peers_.end() ? nullptr : i->second;
}

// The same without counting a reference: peers stay as long as the mesh.
mesh::peer* mesh::find_peer(proc_id id) const {
  if (id > 0 && static_cast<std::size_t>(id) < low_ids_.size())
    return low_ids_[static_cast<std::size_t>(id)].load(std::memory_order_acquire);
  return find(id).get();
}

mesh::peer_ptr mesh::find_or_make(proc_id id) {
  if (auto p = find(id))
    return p;
  std::unique_lock guard{table_mutex_};
  auto& p = peers_[id];
  if (!p) {
    p = std::make_shared<peer>(id, loop_, *this);
    if (id > 0 && static_cast<std::size_t>(id) < low_ids_.size())
      low_ids_[static_cast<std::size_t>(id)].store(p.get(), std::memory_order_release);
  }
  return p;
}

std::vector<mesh::peer_ptr> mesh::all() const {
  std::vector<peer_ptr> out;
  std::shared_lock guard{table_mutex_};
  for (auto& [id, p] : peers_)
    out.push_back(p);
  return out;
}

void mesh::add(proc_id id, const endpoint& where, std::uint64_t scope, bool linked) {
  if (id == this->id()) {
    own_where_ = where;
    return;
  }
  auto p = find_or_make(id);
  const bool adopted =
    this->id() == master_id && !p->worker_dials && p->where.can_be_dialled(); // and dialled there again, which may be a tunnel's end
  if (!adopted && (!p->worker_dials || where.port != 0)) // the master doesn't say of itself where it listens
    p->where = where;
  p->scope = scope;
  p->linked = linked;
  p->known = true;
  if (p->wanted && !p->established) {
    loop_.cancel(p->limit);
    connect(p);
  }
}

void mesh::stop_timers(peer& p) {
  loop_.cancel(p.limit);
  loop_.cancel(p.retry);
  loop_.cancel(std::exchange(p.bridge, 0));
}

void mesh::mark_gone(proc_id id, error_info why) {
  auto p = find_or_make(id);
  auto text = why.message.substr(0, 16 << 10);
  {
    std::lock_guard guard{p->mutex};
    if (p->gone)
      return;
    p->gone = std::move(why);
  }
  p->is_gone = true;
  stop_timers(*p);
  forget_claim(id);
  if (p->talk->attached() && !p->left) {
    frame_builder f;
    write(f.start(frame_kind::dismissal).out(), text);
    p->talk->push_unnumbered(f.finish());
  }
  p->talk->close();
  p->detector.reset();
  relays_.forget(id);
}

std::optional<error_info> mesh::send(proc_id to, frame_builder& f, urgency u, flow of, bool* full) {
  auto p = find_peer(to);
  if (p == nullptr) {
    auto me = id();
    if (me == master_id || to <= 0)
      return make_error_info(error_kind::unknown_process, "there is no process " + std::to_string(to) + " in this cluster", to);
    p = find_or_make(to).get();
  }
  if (p->is_gone)
    return gone(to);
  if (p->talk->push(f, u, of, full != nullptr) == session::outcome::full) {
    *full = true;
    return std::nullopt;
  }
  if (!p->talk->attached() && !p->wanted.exchange(true))
    loop_.post([this, p = p->shared_from_this()] { connect(p); });
  return std::nullopt;
}

void mesh::take_back(proc_id from, const std::shared_ptr<const void>& keeper) {
  if (auto p = find(from))
    p->talk->take_back(keeper);
}

void mesh::when_room(proc_id to, flow of, std::function<void()> ready, std::size_t bytes) {
  auto p = find(to);
  if (!p)
    return ready();
  p->talk->when_room(of, std::move(ready), bytes);
  watch_for_circles();
}

bool mesh::knows(proc_id id) const {
  if (id == this->id())
    return true;
  const auto p = find_peer(id);
  return p != nullptr && (p->known || p->is_gone);
}

std::optional<error_info> mesh::gone(proc_id id) const {
  const auto p = find_peer(id);
  if (p == nullptr || !p->is_gone)
    return std::nullopt;
  std::lock_guard guard{p->mutex};
  return p->gone;
}

void mesh::bar(proc_id id, error_info why) {
  auto p = find_or_make(id);
  std::lock_guard guard{p->mutex};
  p->barred = std::move(why);
  p->is_barred = true;
}

std::optional<error_info> mesh::barred(proc_id id) const {
  const auto p = find_peer(id);
  if (p == nullptr || !p->is_barred)
    return std::nullopt;
  std::lock_guard guard{p->mutex};
  return p->barred;
}

std::shared_ptr<const hello> mesh::greeting(proc_id id) const {
  auto p = find(id);
  if (!p)
    return nullptr;
  std::lock_guard guard{p->mutex};
  return p->greeting;
}

bool mesh::connected(proc_id id) const {
  auto p = find(id);
  return p && p->talk->attached();
}

bool mesh::heard_lately(const peer& p) const {
  return p.talk->attached() && loop_.now() - p.talk->last_heard() < 2 * settings_.detector.beat;
}

bool mesh::heard_lately(proc_id id) const {
  auto p = find(id);
  return p && heard_lately(*p);
}

std::vector<link_status> mesh::links() const {
  std::vector<link_status> out;
  for (auto& p : all()) {
    auto kind = p->talk->kind();
    if (kind.empty() || kind == "relay")
      continue;
    auto c = p->talk->count();
    out.push_back({p->id, kind, c.frames_sent + c.frames_received, c.bytes_sent + c.bytes_received});
  }
  return out;
}

std::vector<std::pair<proc_id, session::counts>> mesh::counts() const {
  std::vector<std::pair<proc_id, session::counts>> out;
  for (auto& p : all())
    out.emplace_back(p->id, p->talk->count());
  return out;
}

void mesh::close() {
  if (closed_)
    return;
  closed_ = true;
  settings_.net.reset();
  door_.reset();
  loop_.cancel(beat_timer_);
  loop_.cancel(silence_timer_);
  loop_.cancel(circles_timer_);
  for (auto& p : all()) {
    stop_timers(*p);
    if (p->talk->attached()) {
      frame_builder f;
      f.start(frame_kind::goodbye);
      p->talk->push_unnumbered(f.finish());
    }
    p->talk->close();
  }
}

// -- what arrives -------------------------------------------------------------------------------------------------------

void mesh::frame_arrived(session& from, frame_view& f) {
  auto kind = f.header.kind;
  if (f.header.number != 0) {
    if (kind == frame_kind::relay)
      return relays_.handle(f);
    if (kind == frame_kind::stalled)
      return take_stalled(from.peer(), f);
    return events_.frame(from.peer(), f);
  }
  reader in{f.payload};
  if (kind == frame_kind::goodbye) {
    in.expect_end();
    if (auto p = find(from.peer()))
      p->left = true;
  } else if (kind == frame_kind::dismissal) {
    auto why = read<std::string>(in);
    in.expect_end();
    events_.dismissed(why);
  } else {
    throw codec_error{"it has no number"};
  }
}

std::unique_ptr<landing> mesh::frame_begins(session&, const frame_header& h, std::span<const std::byte> beginning, std::uint64_t total) {
  return events_.begins ? events_.begins(h, beginning, total) : nullptr;
}

// -- circles of processes that wait for each other's credit ---------------------------------------------------------------

// Somebody waits for credit: look now and then whether that can ever end. Any thread.
void mesh::watch_for_circles() {
  if (watching_for_circles_.exchange(true))
    return;
  loop_.post([this] {
    if (!closed_)
      circles_timer_ = loop_.call_after(std::chrono::milliseconds{250}, [this] { look_for_circles(); });
  });
}

// Actors whose handlers send to each other more than the credit allows wait for each other for ever, in a circle of
// processes. Each that waits asks along the waits (Chandy, Misra, Haas: Distributed Deadlock Detection, ACM TOCS 1983); what
// comes back to who asked has found a circle, and who it came from gets more credit.
void mesh::look_for_circles() {
  watching_for_circles_ = false;
  bool waiting = false;
  for (auto& p : all()) {
    p->starved = p->talk->starved();
    waiting = waiting || p->talk->count().waiting > 0;
    if (!p->starved)
      continue;
    frame_builder f;
    write(f.start(frame_kind::stalled).out(), std::vector<proc_id>{id()});
    send(p->id, f, urgency::now);
  }
  if (waiting)
    watch_for_circles();
}

void mesh::take_stalled(proc_id from, const frame_view& f) {
  reader in{f.payload};
  auto path = read<std::vector<proc_id>>(in);
  in.expect_end();
  if (path.empty() || path.back() != from)
    throw codec_error{"it doesn't come from who has written it"};
  if (path.front() == id()) {
    find_or_make(from)->talk->grant_more();
    return;
  }
  if (std::find(path.begin(), path.end(), id()) != path.end())
    return;
  path.push_back(id());
  for (auto& p : all()) {
    if (!p->starved)
      continue;
    frame_builder on;
    write(on.start(frame_kind::stalled).out(), path);
    send(p->id, on, urgency::now);
  }
}

} // namespace troupe
