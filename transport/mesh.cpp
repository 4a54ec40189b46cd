#include "troupe/transport/mesh.hpp"

#include <unistd.h>

namespace troupe {

mesh::mesh(loop& l, settings s, events e)
  : loop_(l), settings_(std::move(s)), events_(std::move(e)), id_(settings_.id), cluster_(settings_.cluster) {
}

mesh::~mesh() {
  close();
}

endpoint mesh::listen(const std::string& address, std::uint16_t port) {
  listener_ = std::make_unique<tcp_listener>(loop_, address, port,
                                             [this](std::unique_ptr<byte_stream> s) { accept(std::move(s)); });
  return listener_->where();
}

mesh::peer_ptr mesh::find(proc_id id) const {
  std::shared_lock guard{table_mutex_};
  auto i = peers_.find(id);
  return i == peers_.end() ? nullptr : i->second;
}

mesh::peer_ptr mesh::find_or_make(proc_id id) {
  if (auto p = find(id))
    return p;
  std::unique_lock guard{table_mutex_};
  auto& p = peers_[id];
  if (!p)
    p = std::make_shared<peer>(id);
  return p;
}

hello mesh::introduce(proc_id to) const {
  hello h;
  h.cluster = cluster();
  h.from = id();
  h.to = to;
  h.host = settings_.host;
  h.os_pid = ::getpid();
  h.build_id = settings_.build_id;
  h.types = settings_.types;
  return h;
}

std::string mesh::check_dialler(const hello& h) const {
  auto me = id();
  if (me == 0)
    return h.from == master_id && h.to > master_id && h.cluster != 0
             ? std::string{}
             : "this worker waits for its master, process " + std::to_string(h.from) + " is not one";
  if (h.cluster != cluster())
    return "this process belongs to another cluster";
  if (h.to != me)
    return "this is process " + std::to_string(me) + ", not " + std::to_string(h.to);
  auto p = find(h.from);
  if (p) {
    std::lock_guard guard{p->mutex};
    if (p->gone)
      return "process " + std::to_string(h.from) + " has been declared lost";
    if (p->open)
      return "there is a link to process " + std::to_string(h.from) + " already";
  }
  if (h.from <= me)
    return "process " + std::to_string(h.from) + " must be dialled, it must not dial process " + std::to_string(me);
  return {};
}

void mesh::accept(std::unique_ptr<byte_stream> stream) {
  auto peer_id = std::make_shared<proc_id>(0);
  connection::settings s;
  s.role = handshake::role::acceptor;
  s.cookie = settings_.cookie;
  s.limit = settings_.connect_limit;
  s.check = [this, peer_id](const hello& h) {
    auto wrong = check_dialler(h);
    if (wrong.empty() && id() == 0) {
      cluster_ = h.cluster;
      id_ = h.to;
      events_.adopted(h);
    }
    *peer_id = h.from;
    return wrong;
  };
  s.introduce = [this, peer_id] { return introduce(*peer_id); };
  s.done = [this](std::unique_ptr<established> e, const std::string& why) {
    if (e) {
      auto p = find_or_make(e->peer.from);
      open(p, std::move(e));
    } else {
      events_.refused(why);
    }
  };
  connection::start(loop_, std::move(stream), std::move(s));
}

void mesh::adopt(proc_id id, const endpoint& where, std::chrono::milliseconds limit,
                 std::function<void(std::string)> done) {
  auto p = find_or_make(id);
  {
    std::lock_guard guard{p->mutex};
    p->where = where;
    p->opening = true;
  }
  dial_with(p, where, limit, std::move(done));
}

void mesh::add(proc_id id, const endpoint& where) {
  auto p = find_or_make(id);
  bool wanted = false;
  {
    std::lock_guard guard{p->mutex};
    p->where = where;
    p->known = true;
    wanted = !p->waiting.empty() && !p->open;
    loop_.cancel(p->timer);
  }
  if (wanted)
    connect(id);
}

void mesh::connect(proc_id id) {
  auto p = find(id);
  if (!p || closed_)
    return;
  {
    std::lock_guard guard{p->mutex};
    if (p->open || p->gone || p->opening)
      return;
    // The master's links to its workers open when they come. One that has ended means that the worker has, or will be: who
    // marks it as gone tells those who wait.
    if (this->id() == master_id && p->known)
      return;
    if (!p->known) {
      // the news of it may be on its way
      loop_.cancel(p->timer);
      p->timer = loop_.call_after(settings_.connect_limit / 4, [this, p] { give_up(p, "no such process"); });
      return;
    }
    p->opening = true;
  }
  if (this->id() > id && p->where.port != 0)
    dial(p);
  else
    ask_to_dial(p);
}

void mesh::dial(const peer_ptr& p) {
  dial_with(p, p->where, settings_.connect_limit, [this, p](const std::string& why) {
    if (!why.empty())
      give_up(p, why);
  });
}

// The master passes it on to the other one, which dials this process.
void mesh::ask_to_dial(const peer_ptr& p) {
  frame_builder f;
  f.start(frame_kind::dial);
  write(f.out(), p->id);
  write(f.out(), id());
  if (p->id == master_id || send(master_id, f, urgency::now)) {
    give_up(p, "there is no link to the master");
    return;
  }
  p->timer = loop_.call_after(settings_.connect_limit, [this, p] { give_up(p, "it didn't dial this process"); });
}

void mesh::dial_with(const peer_ptr& p, const endpoint& where, std::chrono::milliseconds limit,
                     std::function<void(std::string)> done) {
  tcp_dial(loop_, where, limit, [this, p, limit, done = std::move(done)](std::unique_ptr<byte_stream> stream, std::string why) {
    if (!stream)
      return done(std::move(why));
    connection::settings s;
    s.role = handshake::role::dialler;
    s.cookie = settings_.cookie;
    s.limit = limit;
    s.introduce = [this, p] { return introduce(p->id); };
    s.check = [this, p](const hello& h) {
      return h.cluster == cluster() && h.from == p->id ? std::string{}
                                                       : "process " + std::to_string(h.from) + " answered in place of "
                                                           + std::to_string(p->id);
    };
    s.done = [this, p, done](std::unique_ptr<established> e, std::string reason) {
      if (e)
        open(p, std::move(e));
      done(std::move(reason));
    };
    connection::start(loop_, std::move(stream), std::move(s));
  });
}

void mesh::open(const peer_ptr& p, std::unique_ptr<established> e) {
  auto l = std::make_shared<link>(loop_, std::move(e->stream), *this);
  auto greeting = std::make_shared<const hello>(std::move(e->peer));
  {
    std::lock_guard guard{p->mutex};
    if (p->gone || p->open || closed_) {
      p->opening = false;
      return; // the stream ends with the link
    }
    p->opening = false;
    p->greeting = greeting;
    loop_.cancel(p->timer);
    ids_[l.get()] = p->id;
    // before anything that is sent from now on
    for (auto& frame : p->waiting)
      l->push(frame, urgency::batched);
    p->waiting.clear();
    p->open = l;
  }
  events_.up(p->id, *greeting);
  l->start(e->leftover);
}

error_info mesh::unreachable_error(const peer& p, const std::string& why) const {
  if (!p.known) {
    return make_error_info(error_kind::unknown_process,
                           "there is no process " + std::to_string(p.id) + " in this cluster", p.id);
  }
  auto info = make_error_info(error_kind::not_connected,
                              "process " + std::to_string(id()) + " is not connected to process " + std::to_string(p.id)
                                + ": " + why,
                              p.id);
  info.pids = {id(), p.id};
  return info;
}

void mesh::give_up(const peer_ptr& p, const std::string& why) {
  error_info info;
  {
    std::lock_guard guard{p->mutex};
    if (p->open || p->gone)
      return;
    p->opening = false;
    p->waiting.clear();
    info = unreachable_error(*p, why);
  }
  events_.unreachable(p->id, info);
}

void mesh::mark_gone(proc_id id, error_info why) {
  auto p = find_or_make(id);
  std::shared_ptr<link> l;
  {
    std::lock_guard guard{p->mutex};
    if (!p->gone)
      p->gone = std::move(why);
    p->waiting.clear();
    l.swap(p->open);
    loop_.cancel(p->timer);
  }
  if (l) {
    ids_.erase(l.get());
    l->close();
  }
}

std::optional<error_info> mesh::send(proc_id to, frame_builder& f, urgency u) {
  auto p = find(to);
  if (!p) {
    auto me = id();
    if (me == master_id || to <= 0)
      return make_error_info(error_kind::unknown_process, "there is no process " + std::to_string(to) + " in this cluster",
                             to);
    p = find_or_make(to);
  }
  std::shared_ptr<link> l;
  {
    std::lock_guard guard{p->mutex};
    if (p->gone)
      return p->gone;
    if (!p->open) {
      auto first = p->waiting.empty();
      p->waiting.push_back(std::move(f.finish()));
      if (first)
        loop_.post([this, to] { connect(to); });
      return std::nullopt;
    }
    l = p->open;
  }
  l->push(f.finish(), u);
  return std::nullopt;
}

bool mesh::knows(proc_id id) const {
  if (id == this->id())
    return true;
  auto p = find(id);
  if (!p)
    return false;
  std::lock_guard guard{p->mutex};
  return p->known || p->gone;
}

std::optional<error_info> mesh::gone(proc_id id) const {
  auto p = find(id);
  if (!p)
    return std::nullopt;
  std::lock_guard guard{p->mutex};
  return p->gone;
}

std::shared_ptr<const hello> mesh::greeting(proc_id id) const {
  auto p = find(id);
  if (!p)
    return nullptr;
  std::lock_guard guard{p->mutex};
  return p->greeting;
}

std::vector<link_status> mesh::links() const {
  std::vector<peer_ptr> all;
  {
    std::shared_lock guard{table_mutex_};
    for (auto& [id, p] : peers_)
      all.push_back(p);
  }
  std::vector<link_status> out;
  for (auto& p : all) {
    std::lock_guard guard{p->mutex};
    if (p->open)
      out.push_back({p->id, p->open->kind(), p->open->frames_sent() + p->open->frames_received(),
                     p->open->bytes_sent() + p->open->bytes_received()});
  }
  return out;
}

void mesh::close() {
  if (closed_)
    return;
  closed_ = true;
  listener_.reset();
  std::vector<std::shared_ptr<link>> links;
  {
    std::shared_lock table{table_mutex_};
    for (auto& [id, p] : peers_) {
      std::lock_guard guard{p->mutex};
      if (p->open)
        links.push_back(std::move(p->open));
      p->open = nullptr;
    }
  }
  ids_.clear();
  for (auto& l : links)
    l->close();
}

void mesh::frame_arrived(link& from, frame_view& f) {
  auto i = ids_.find(&from);
  if (i != ids_.end())
    events_.frame(i->second, f);
}

void mesh::link_ended(link& which, const std::string& why) {
  auto i = ids_.find(&which);
  if (i == ids_.end())
    return;
  auto id = i->second;
  ids_.erase(i);
  std::shared_ptr<link> keep; // `which` must not end within its own call
  if (auto p = find(id)) {
    std::lock_guard guard{p->mutex};
    keep.swap(p->open);
  }
  events_.down(id, why);
}

} // namespace troupe
