#include "troupe/actors/references.hpp"

#include "troupe/actors/future_state.hpp"
#include "troupe/transport/brief_lock.hpp"

#include <boost/container/small_vector.hpp>

#include <algorithm>
#include <cstring>
#include <utility>

namespace troupe {

namespace {

std::mutex process_mutex;

std::shared_ptr<references>& process_references() {
  static auto p = new std::shared_ptr<references>; // copies may outlive the static objects
  return *p;
}

template <class... Ts>
void put(byte_buffer& out, const Ts&... xs) {
  (append(out, std::as_bytes(std::span{&xs, 1})), ...);
}

} // namespace

references::references(settings s) : settings_(std::move(s)) {}

// Its claims are guarded by the mutex of its home.
class references::held final : public held_reference {
public:
  held(std::shared_ptr<references> home, const ref_id& id) : held_reference(id), home_(std::move(home)) {}
  ~held() override { home_->ended(*this); }

  std::int64_t from(proc_id other) const {
    const auto c = std::find_if(claims.begin(), claims.end(), [other](auto& x) { return x.from == other; });
    return c == claims.end() ? 0 : c->n;
  }

  void add(proc_id from) {
    for (auto& c : claims)
      if (c.from == from) {
        ++c.n;
        return;
      }
    claims.push_back({from, 1});
  }

  boost::container::small_vector<claim, 1> claims;
  bool untold = false;
  // Whether whoever hears of it from here may already ask the owner. Not guarded.
  std::atomic<bool> told{true};

private:
  const std::shared_ptr<references> home_;
};

std::shared_ptr<references> references::of_process() {
  std::lock_guard guard{process_mutex};
  return process_references();
}

void references::set_of_process(std::shared_ptr<references> r) {
  std::lock_guard guard{process_mutex};
  process_references() = std::move(r);
}

ref_id references::next(proc_id where) {
  auto& next = next_ids_[static_cast<std::size_t>(where) % next_ids_.size()];
  auto seen = next.load(std::memory_order_relaxed);
  while (true) {
    const bool none_left = seen % ids_at_once == 0;
    const auto id = none_left ? std::max<std::uint64_t>(first_unused_.fetch_add(ids_at_once, std::memory_order_relaxed), 1) : seen;
    if (next.compare_exchange_strong(seen, id + 1, std::memory_order_relaxed)) // else another thread has got new ones: these stay unused
      return {where, settings_.id, id};
  }
}

// -- holding ----------------------------------------------------------------------------------------------------------------

// Needs mutex_. The one before it may be about to end, in a thread that waits for the mutex: what it has goes on.
std::shared_ptr<references::held> references::make_hold(record& r, const ref_id& id) {
  auto made = std::make_shared<held>(shared_from_this(), id);
  if (r.raw != nullptr) {
    made->claims.swap(r.raw->claims);
    made->untold = std::exchange(r.raw->untold, false);
    made->told = r.raw->told.load();
  }
  r.raw = made.get();
  r.alive = made;
  return made;
}

held_reference_ptr references::hold(const ref_id& id, origin from) {
  held_reference_ptr out; // its end needs the mutex
  bool schedule = false;
  {
    std::lock_guard guard{mutex_};
    auto& r = records_[id];
    out = r.alive.lock();
    if (!out)
      out = make_hold(r, id);
    auto& h = *r.raw;
    if (from == origin::claimed && !h.claims.empty())
      return out;
    h.add(settings_.id);
    if (from == origin::untold) {
      h.untold = true;
      h.told = false;
    }
    if (from == origin::claimed) {
      tell_add(id, settings_.id, settings_.id, 1);
      schedule = take_news_scheduled();
    }
  }
  if (schedule)
    settings_.flush_soon();
  return out;
}

held_reference_ptr references::arrived(proc_id from, const ref_id& id) {
  std::lock_guard guard{mutex_};
  auto& r = records_[id];
  held_reference_ptr out = r.alive.lock();
  if (!out)
    out = make_hold(r, id);
  r.raw->add(from);
  return out;
}

void references::ended(held& h) {
  bool schedule = false;
  {
    std::lock_guard guard{mutex_};
    if (auto i = records_.find(h.id()); i != records_.end() && i->second.raw == &h) {
      i->second.raw = nullptr;
      if (i->second.state.expired())
        records_.erase(i);
    }
    if (h.untold || closed_)
      return;
    for (auto& c : h.claims)
      tell_add(h.id(), c.from, settings_.id, -c.n);
    schedule = take_news_scheduled();
  }
  if (schedule)
    settings_.flush_soon();
}

void references::make_known(const held_reference_ptr& r) {
  auto& h = static_cast<held&>(*r);
  if (h.told.load(std::memory_order_acquire))
    return;
  {
    std::lock_guard guard{mutex_};
    if (std::exchange(h.untold, false))
      tell_create(h.id());
  }
  flush(); // or another thread does, which this one then waits for
  h.told.store(true, std::memory_order_release);
}

void references::leaving(proc_id to, std::span<const held_reference_ptr> list) {
  if (list.empty())
    return;
  bool schedule = false, untold = false;
  {
    std::lock_guard guard{mutex_};
    for (auto& r : list) {
      auto& h = static_cast<held&>(*r);
      untold = untold || !h.told.load(std::memory_order_relaxed);
      if (std::exchange(h.untold, false))
        tell_create(h.id());
      tell_add(h.id(), settings_.id, to, 1);
    }
    schedule = take_news_scheduled();
  }
  if (schedule)
    settings_.flush_soon();
  if (!untold)
    return;
  flush(); // who gets the copy may use it before the owner would have heard of it
  for (auto& r : list)
    static_cast<held&>(*r).told.store(true, std::memory_order_release);
}

void references::not_left(proc_id to, std::span<const held_reference_ptr> list) {
  if (list.empty())
    return;
  {
    std::lock_guard guard{mutex_};
    for (auto& r : list)
      tell_add(r->id(), settings_.id, to, -1);
    if (!take_news_scheduled())
      return;
  }
  settings_.flush_soon();
}

void references::give_up(const ref_id& id) {
  {
    auto lock = lock_briefly(mutex_);
    tell_add(id, settings_.id, settings_.id, -1);
    if (!take_news_scheduled())
      return;
  }
  settings_.flush_soon();
}

// -- telling ----------------------------------------------------------------------------------------------------------------

// Needs mutex_, as do the three below.
byte_buffer& references::pending(proc_id owner) { return pending_[owner]; }

void references::tell_create(const ref_id& id) { put(pending(id.where), count_news::kind::create, id.id); }

void references::tell_add(const ref_id& id, proc_id from, proc_id holder, std::int64_t n) {
  if (id.whence == settings_.id && from == settings_.id && holder == settings_.id && n == -1)
    put(pending(id.where), count_news::kind::give_up, id.id);
  else
    put(pending(id.where), count_news::kind::add, id.whence, id.id, from, holder, n);
}

// What a hold has that is about to end counts: that is given up next.
void references::tell_settle(const ref_id& id, const record* r, proc_id from) {
  const std::int64_t left = r == nullptr || r->raw == nullptr ? 0 : r->raw->from(from);
  put(pending(id.where), count_news::kind::settle, id.whence, id.id, from, left);
}

// Needs mutex_. Whether the caller has to see to a flush.
bool references::take_news_scheduled() { return !closed_ && !std::exchange(scheduled_, true); }

count_news count_news::read(reader& in, proc_id sender) {
  count_news out;
  out.what = in.get<kind>();
  out.from = out.holder = out.whence = sender;
  switch (out.what) {
    case kind::give_up:
    case kind::create:
      out.id = in.get<std::uint64_t>();
      out.n = out.what == kind::create ? 1 : -1;
      return out;
    case kind::add:
      out.whence = in.get<proc_id>();
      out.id = in.get<std::uint64_t>();
      out.from = in.get<proc_id>();
      out.holder = in.get<proc_id>();
      out.n = in.get<std::int64_t>();
      if (out.from != sender && out.holder != sender)
        throw codec_error{"process " + std::to_string(sender) + " tells of copies that process " + std::to_string(out.from)
                          + " has handed to process " + std::to_string(out.holder)};
      return out;
    case kind::settle:
      out.whence = in.get<proc_id>();
      out.id = in.get<std::uint64_t>();
      out.from = in.get<proc_id>();
      out.n = in.get<std::int64_t>();
      return out;
    case kind::recount:
      out.whence = in.get<proc_id>();
      out.id = in.get<std::uint64_t>();
      out.from = in.get<proc_id>();
      return out;
  }
  throw codec_error{"news of kind " + std::to_string(static_cast<int>(out.what)) + " about a reference"};
}

void count_news::put_recount(byte_buffer& out, const ref_id& id, proc_id from) { put(out, kind::recount, id.whence, id.id, from); }

void references::flush() {
  std::lock_guard in_order{order_};
  std::map<proc_id, byte_buffer> news;
  {
    auto lock = lock_briefly(mutex_);
    scheduled_ = false;
    if (closed_)
      return;
    news.swap(pending_);
  }
  const auto send = [this](proc_id owner, byte_buffer& bytes) {
    borrowed_builder f{nullptr};
    f->start(frame_kind::counts).out().raw(bytes.data(), bytes.size());
    settings_.send(owner, *f);
  };
  // this process itself comes last: what it hears it does at once, and that may lead to another flush
  auto own = news.extract(settings_.id);
  for (auto& [owner, bytes] : news)
    send(owner, bytes);
  if (own)
    send(settings_.id, own.mapped());
}

void references::peer_lost(proc_id id) {
  {
    std::lock_guard guard{mutex_};
    lost_.insert(id);
    pending_.erase(id);
    for (auto& [ref, r] : records_)
      if (ref.where != id && r.raw != nullptr && r.raw->from(id) != 0)
        tell_settle(ref, &r, id);
    if (const auto asked = asked_.extract(id))
      for (auto& ref : asked.mapped()) {
        const auto i = records_.find(ref);
        if (i == records_.end() || i->second.raw == nullptr || i->second.raw->from(id) == 0)
          tell_settle(ref, nullptr, id);
      }
    if (pending_.empty() || !take_news_scheduled())
      return;
  }
  settings_.flush_soon();
}

void references::recount(const ref_id& id, proc_id from) {
  {
    std::lock_guard guard{mutex_};
    if (!lost_.contains(from)) {
      asked_[from].push_back(id);
      return;
    }
    const auto i = records_.find(id);
    tell_settle(id, i == records_.end() ? nullptr : &i->second, from);
    if (!take_news_scheduled())
      return;
  }
  settings_.flush_soon();
}

void references::close() {
  std::lock_guard guard{mutex_};
  closed_ = true;
  pending_.clear();
}

// -- states -------------------------------------------------------------------------------------------------------------------

references::state_ptr references::share_state(const ref_id& id, const std::function<state_ptr()>& make) {
  state_ptr known; // its end needs the mutex
  std::lock_guard guard{mutex_};
  auto& r = records_[id];
  known = r.state.lock();
  if (known && known->share_again())
    return known;
  auto made = make();
  r.state = made;
  return made;
}

void references::add_state(const ref_id& id, const state_ptr& state) {
  std::lock_guard guard{mutex_};
  records_[id].state = state;
}

void references::remove_state(const ref_id& id) {
  std::lock_guard guard{mutex_};
  if (auto i = records_.find(id); i != records_.end() && i->second.raw == nullptr && i->second.state.expired())
    records_.erase(i);
}

std::size_t references::count() const {
  std::lock_guard guard{mutex_};
  return records_.size();
}

// -- questions ----------------------------------------------------------------------------------------------------------------

void references::begin(frame_builder& f, const ref_id& about, std::uint64_t type, ask_op op, std::uint8_t flags) const {
  auto& out = f.start(frame_kind::ask).out();
  out.put(std::uint64_t{0});
  out.put(about.whence);
  out.put(about.id);
  out.put(type);
  out.put(op);
  out.put(flags);
}

std::pair<ask_op, ref_id> peek_question(std::span<const std::byte> payload) {
  reader in{payload};
  in.take(sizeof(std::uint64_t));
  ref_id about;
  about.whence = in.get<proc_id>();
  about.id = in.get<std::uint64_t>();
  in.take(sizeof(std::uint64_t));
  return {in.get<ask_op>(), about};
}

void references::withdraw(const ref_id& about, std::uint64_t number, bool answered, std::uint8_t flags) {
  if (!answered)
    settings_.forget(number);
  borrowed_builder f{nullptr};
  begin(*f, about, 0, ask_op::withdraw, flags);
  f->out().put(number);
  settings_.ask(about.where, *f, nullptr, false);
}

} // namespace troupe
