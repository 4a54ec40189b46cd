#include "troupe/transport/relay.hpp"

#include "troupe/transport/loop.hpp"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <deque>

namespace troupe {

namespace {

enum class operation : std::uint8_t { open = 1, data = 2, taken = 3, close = 4 };

constexpr std::uint64_t window = 1 << 20;
constexpr std::size_t most_at_once = 64 << 10;

frame_builder& start(frame_builder& f, proc_id to, proc_id from, proc_id opener, std::uint64_t number, operation what) {
  auto& out = f.start(frame_kind::relay).out();
  out.put(to);
  out.put(from);
  out.put(opener);
  out.put(number);
  out.put(static_cast<std::uint8_t>(what));
  return f;
}

} // namespace

// One end of a stream: shared by the table, which frames reach it by, and the stream, whose last user may be any thread.
struct relays::channel {
  channel(relays& r, key k) : owner(&r), name(k), events(*r.settings_.events), send_frame(r.settings_.send), self(r.settings_.self()) {}

  relays* owner; // null once it has closed; loop thread, as what follows
  const key name;
  loop& events;
  const std::function<bool(proc_id, frame_builder&)> send_frame;
  const proc_id self;
  std::function<void()> readable;
  std::function<void()> writable;
  std::deque<byte_buffer> inbox;
  std::size_t taken_of_first = 0;
  std::uint64_t taken = 0; // since the peer was told
  std::uint64_t held = 0;  // in the inbox, or taken without the peer's knowledge
  bool ended = false;
  bool wants_write = false;
  bool reading_posted = false;
  std::atomic<std::uint64_t> on_its_way{0};

  bool send(operation what, std::span<const iovec> pieces = {}, std::size_t most = 0) const {
    borrowed_builder f{nullptr};
    start(*f, std::get<0>(name), self, std::get<1>(name), std::get<2>(name), what);
    for (auto& p : pieces) {
      auto n = std::min(most, p.iov_len);
      f->out().raw(p.iov_base, n);
      most -= n;
    }
    return send_frame(master_id == self ? std::get<0>(name) : master_id, *f);
  }

  // The stream's user is called as long as there is something to read, not only when something comes.
  static void announce(const channel_ptr& c) {
    if (c->reading_posted || !c->readable || (c->inbox.empty() && !c->ended))
      return;
    c->reading_posted = true;
    c->events.post([c] {
      c->reading_posted = false;
      if (c->readable) {
        auto f = c->readable;
        f();
        announce(c);
      }
    });
  }

  static void let_write(const channel_ptr& c) {
    if (!c->wants_write || !c->writable || c->on_its_way.load() >= window)
      return;
    c->events.post([c] {
      if (c->wants_write && c->writable) {
        auto f = c->writable;
        f();
      }
    });
  }

  void take(std::span<const std::byte> bytes) {
    held += bytes.size();
    if (held > 2 * window)
      throw codec_error{"more than a relayed stream's window of " + std::to_string(window) + " bytes"};
    if (bytes.empty())
      return;
    auto& last = inbox.emplace_back();
    last.resize(bytes.size());
    std::memcpy(last.data(), bytes.data(), bytes.size());
  }
};

class relay_stream final : public byte_stream {
public:
  using channel_ptr = relays::channel_ptr;

  explicit relay_stream(channel_ptr c) : channel_(std::move(c)) {}
  ~relay_stream() override {
    // the last user may be on any thread
    auto c = channel_;
    c->events.post([c] { close(*c); });
  }

  void start(loop&, std::function<void()> readable, std::function<void()> writable) override {
    channel_->readable = std::move(readable);
    channel_->writable = std::move(writable);
    relays::channel::announce(channel_);
  }

  stream_result read(std::span<std::byte> into) override {
    using status = stream_result::status;
    auto& c = *channel_;
    if (c.inbox.empty())
      return {c.ended ? status::ended : status::would_block, 0, 0};
    auto& first = c.inbox.front();
    auto n = std::min(into.size(), first.size() - c.taken_of_first);
    std::memcpy(into.data(), first.data() + c.taken_of_first, n);
    c.taken_of_first += n;
    if (c.taken_of_first == first.size()) {
      c.inbox.pop_front();
      c.taken_of_first = 0;
    }
    c.taken += n;
    if (c.taken >= window / 4) {
      iovec piece{&c.taken, sizeof c.taken};
      c.send(operation::taken, {&piece, 1}, sizeof c.taken);
      c.held -= c.taken;
      c.taken = 0;
    }
    return {status::moved, n, 0};
  }

  stream_result write(std::span<const iovec> pieces) override {
    using status = stream_result::status;
    auto& c = *channel_;
    std::size_t n = 0;
    for (auto& p : pieces)
      n += p.iov_len;
    auto on_its_way = c.on_its_way.load();
    if (on_its_way >= window)
      return {status::would_block, 0, 0};
    n = std::min({n, most_at_once, static_cast<std::size_t>(window - on_its_way)});
    c.on_its_way += n;
    if (!c.send(operation::data, pieces, n))
      return {status::failed, 0, ENOTCONN};
    return {status::moved, n, 0};
  }

  void want_write(bool on) override {
    channel_->wants_write = on;
    relays::channel::let_write(channel_);
  }

  void close() override { close(*channel_); }

  std::string kind() const override { return "relay"; }

  std::string peer() const override {
    return "process " + std::to_string(std::get<0>(channel_->name)) + " by way of process " + std::to_string(master_id);
  }

private:
  static void close(relays::channel& c) {
    c.readable = nullptr;
    c.writable = nullptr;
    if (c.owner == nullptr)
      return;
    c.send(operation::close);
    std::exchange(c.owner, nullptr)->remove(c.name);
  }

  channel_ptr channel_;
};

relays::relays(settings s) : settings_(std::move(s)) {}

relays::~relays() {
  for (auto& [name, c] : channels_) {
    c->owner = nullptr;
    // who introduces himself over it is kept by this function, and keeps the stream
    auto readable = std::exchange(c->readable, nullptr);
  }
}

relays::channel_ptr relays::add(const key& k) { return channels_[k] = std::make_shared<channel>(*this, k); }

void relays::remove(const key& k) { channels_.erase(k); }

std::unique_ptr<byte_stream> relays::open(proc_id to) {
  auto c = add({to, settings_.self(), ++last_number_});
  if (!c->send(operation::open))
    c->ended = true;
  return std::make_unique<relay_stream>(c);
}

void relays::pass_on(proc_id to, proc_id from, const frame_view& f) {
  borrowed_builder copy{nullptr};
  copy->start(frame_kind::relay).out().raw(f.payload.data(), f.payload.size());
  if (settings_.self() == master_id && settings_.send(to, *copy))
    return;
  // nobody there: as if the other end had closed it
  reader in{f.payload};
  in.take(2 * sizeof(proc_id));
  auto opener = in.get<proc_id>();
  auto number = in.get<std::uint64_t>();
  if (static_cast<operation>(in.get<std::uint8_t>()) == operation::close)
    return;
  borrowed_builder answer{nullptr};
  settings_.send(from, start(*answer, from, to, opener, number, operation::close));
}

void relays::handle(const frame_view& f) {
  reader in{f.payload};
  auto to = in.get<proc_id>();
  auto from = in.get<proc_id>();
  auto opener = in.get<proc_id>();
  auto number = in.get<std::uint64_t>();
  auto what = static_cast<operation>(in.get<std::uint8_t>());
  if (what < operation::open || what > operation::close) // the one who sent it is to blame, not who passes it on
    throw codec_error{"a relay frame with operation " + std::to_string(static_cast<unsigned>(what))};
  if (to != settings_.self())
    return pass_on(to, from, f);
  const key name{from, opener, number};
  auto i = channels_.find(name);
  if (what == operation::open) {
    if (opener != from || i != channels_.end())
      throw codec_error{"a relayed stream that process " + std::to_string(from) + " can't open"};
    return settings_.accept(std::make_unique<relay_stream>(add(name)));
  }
  if (i == channels_.end())
    return; // has been closed here
  auto c = i->second;
  if (what == operation::data) {
    c->take(in.take(in.left()));
  } else if (what == operation::taken) {
    auto n = in.get<std::uint64_t>();
    in.expect_end();
    c->on_its_way -= std::min(c->on_its_way.load(), n);
    return channel::let_write(c);
  } else {
    c->ended = true;
    c->owner = nullptr;
    remove(name);
  }
  channel::announce(c);
}

void relays::forget(proc_id peer) {
  for (auto i = channels_.begin(); i != channels_.end();) {
    auto c = i->second;
    if (std::get<0>(i->first) != peer) {
      ++i;
      continue;
    }
    i = channels_.erase(i);
    c->owner = nullptr;
    c->ended = true;
    channel::announce(c);
  }
}

} // namespace troupe
