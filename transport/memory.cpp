#include "troupe/transport/memory.hpp"

#include "troupe/transport/error.hpp"
#include "troupe/transport/frame.hpp"
#include "troupe/transport/handshake.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <deque>
#include <map>
#include <random>
#include <set>
#include <utility>
#include <vector>

namespace troupe {

namespace {

using namespace std::chrono_literals;
using time_point = loop::clock::time_point;

constexpr auto dial_again = 1s;
// Between two calls of a reader that leaves something: time must go on.
constexpr auto next_call = 10us;

// Tells which of the bytes that an end writes belong to the handshake or a frame's header.
class header_finder {
public:
  // How many bytes from the front of `bytes` are of one sort; `is_header` tells which.
  std::size_t next(std::span<const std::byte> bytes, bool& is_header) {
    is_header = payload_left_ == 0;
    if (!is_header) {
      auto n = std::min<std::uint64_t>(payload_left_, bytes.size());
      payload_left_ -= n;
      return static_cast<std::size_t>(n);
    }
    if (handshake_left_ > 0) {
      auto n = std::min(handshake_left_, bytes.size());
      handshake_left_ -= n;
      return n;
    }
    auto n = std::min(sizeof header_ - got_, bytes.size());
    std::memcpy(reinterpret_cast<std::byte*>(&header_) + got_, bytes.data(), n);
    got_ += n;
    if (got_ == sizeof header_) {
      got_ = 0;
      payload_left_ = header_.size;
    }
    return n;
  }

private:
  std::size_t handshake_left_ = handshake::preamble_size + handshake::proof_size;
  frame_header header_;
  std::size_t got_ = 0; // of header_
  std::uint64_t payload_left_ = 0;
};

} // namespace

// One end of a stream, with what comes to it.
struct memory_network::end {
  struct piece {
    time_point at;
    std::vector<std::byte> bytes;
  };

  std::shared_ptr<core> net;
  std::string host;
  std::string peer;
  loop* events = nullptr; // null once it has been closed
  std::weak_ptr<end> other;
  std::deque<piece> underway; // in the order of arrival
  std::vector<std::byte> arrived;
  std::size_t taken = 0; // of arrived
  std::size_t held = 0;  // bytes in both
  std::optional<time_point> ends_at;
  bool ended = false;
  bool silent = false;
  bool wants_write = false;
  std::function<void()> readable;
  std::function<void()> writable;
  loop::timer_id arrival = 0;
  loop::timer_id call = 0;
  loop::timer_id let_write = 0;
  header_finder written;
};

// What transports, streams and the network's owner share.
struct memory_network::core : std::enable_shared_from_this<core> {
  using end_ptr = std::shared_ptr<end>;

  struct door {
    loop* events;
    transport::acceptor accept;
  };

  struct host {
    std::map<std::uint16_t, door> doors;
    bool ended = false;
    bool gone = false; // nor does anything answer in its place
  };

  struct route {
    bool parted = false;
    bool refused = false;
    bool corrupt = false;
    duration slow{};
  };

  explicit core(settings s) : is(s), random(s.seed) {}

  // Not std's distributions, which other libraries may draw from other numbers.
  std::uint64_t draw(std::uint64_t least, std::uint64_t most) { return least + random() % (most - least + 1); }
  bool chance(double p) { return p > 0 && static_cast<double>(random() >> 11) * 0x1p-53 < p; }
  duration delay(const route& r) {
    const auto least = static_cast<std::uint64_t>(is.least_delay.count());
    return r.slow + duration{draw(least, static_cast<std::uint64_t>(is.most_delay.count()))};
  }
  route& way(const std::string& from, const std::string& to) { return routes[{from, to}]; }

  template <class Function>
  void each(const std::string& a, const std::string& b, Function f) {
    std::erase_if(ends, [](auto& weak) { return weak.expired(); });
    for (auto& weak : std::vector(ends))
      if (auto e = weak.lock(); e && ((e->host == a && e->peer == b) || (e->host == b && e->peer == a)))
        f(e);
  }

  void dial(const std::string& from, loop& l, const endpoint& to, time_point until, std::weak_ptr<void> alive, dial_handler done);
  std::pair<end_ptr, end_ptr> connect(const std::string& from, loop& a, const std::string& to, loop& b);
  std::size_t write(end& from, std::span<const iovec> pieces);
  void spoil(end& from, std::span<std::byte> bytes);
  void plan_arrival(const end_ptr& to);
  void arrive(const end_ptr& to);
  void call_reader(const end_ptr& to);
  void announce(const end_ptr& to);
  void let_write(const end_ptr& e);
  void finish(const end_ptr& to);
  void break_off(const end_ptr& to);
  void close(end& e);

  settings is;
  std::mt19937_64 random;
  std::map<std::string, host> hosts;
  std::map<std::pair<std::string, std::string>, route> routes;
  std::vector<std::weak_ptr<end>> ends;
};

class memory_stream final : public byte_stream {
public:
  explicit memory_stream(std::shared_ptr<memory_network::end> e) : end_(std::move(e)) {}
  ~memory_stream() override { close(); }

  void start(loop&, std::function<void()> readable, std::function<void()> writable) override {
    end_->readable = std::move(readable);
    end_->writable = std::move(writable);
    end_->net->announce(end_);
  }

  stream_result read(std::span<std::byte> into) override;
  stream_result write(std::span<const iovec> pieces) override;

  void want_write(bool on) override {
    end_->wants_write = on;
    end_->net->let_write(end_);
  }

  void close() override { end_->net->close(*end_); }

  std::string kind() const override { return "memory"; }

  std::string peer() const override { return end_->peer; }

private:
  std::shared_ptr<memory_network::end> end_;
};

class memory_transport final : public transport {
public:
  memory_transport(std::shared_ptr<memory_network::core> net, std::string host) : net_(std::move(net)), host_(std::move(host)) {}
  ~memory_transport() override { net_->hosts[host_].doors.clear(); }

  endpoint listen(loop& l, const endpoint& at, acceptor on_accept) override;

  void dial(loop& l, const endpoint& to, std::chrono::milliseconds limit, dial_handler done) override {
    net_->dial(host_, l, to, l.now() + limit, alive_, std::move(done));
  }

private:
  std::shared_ptr<memory_network::core> net_;
  const std::string host_;
  std::shared_ptr<int> alive_ = std::make_shared<int>();
};

// -- transports -------------------------------------------------------------------------------------------------------

endpoint memory_transport::listen(loop& l, const endpoint& at, acceptor on_accept) {
  if (at.address != host_)
    throw usage_error{at.to_text() + " is no address of " + host_};
  auto& doors = net_->hosts[host_].doors;
  auto port = at.port;
  while (port == 0 || (at.port == 0 && doors.contains(port)))
    ++port;
  if (!doors.try_emplace(port, memory_network::core::door{&l, std::move(on_accept)}).second)
    throw std::system_error{EADDRINUSE, std::generic_category(), "troupe: cannot listen at " + at.to_text()};
  return {host_, port};
}

void memory_network::core::dial(const std::string& from, loop& l, const endpoint& to, time_point until, std::weak_ptr<void> alive,
                                dial_handler done) {
  if (hosts[from].ended)
    return;
  auto& there = way(from, to.address);
  const auto now = l.now();
  auto answer = [&](duration after, dial_result r) {
    l.call_at(std::min(now + after, until), [alive, done, r = std::make_shared<dial_result>(std::move(r))] {
      if (!alive.expired())
        done(std::move(*r));
    });
  };
  auto found = hosts.find(to.address);
  const bool unanswered = found == hosts.end() || found->second.gone || there.parted || way(to.address, from).parted;
  if (unanswered && now + dial_again < until) {
    l.call_after(dial_again, [self = shared_from_this(), from, &l, to, until, alive, done] {
      if (!alive.expired())
        self->dial(from, l, to, until, alive, done);
    });
    return;
  }
  if (unanswered)
    return answer(until - now, {nullptr, to.to_text() + ": no answer", false});
  auto door = found->second.doors.find(to.port);
  const auto forth = delay(there);
  const auto back = delay(way(to.address, from));
  if (there.refused || door == found->second.doors.end())
    return answer(forth + back, {nullptr, to.to_text() + ": connection refused", true});
  auto [mine, theirs] = connect(from, l, to.address, *door->second.events);
  auto stream = std::make_shared<std::unique_ptr<byte_stream>>(std::make_unique<memory_stream>(theirs));
  door->second.events->call_at(now + forth, [self = shared_from_this(), to, stream] {
    // if nobody listens any more, the stream ends here
    auto& doors = self->hosts[to.address].doors;
    if (auto d = doors.find(to.port); d != doors.end())
      d->second.accept(std::move(*stream));
  });
  answer(forth + back, {std::make_unique<memory_stream>(mine), "", false});
}

std::pair<memory_network::core::end_ptr, memory_network::core::end_ptr> memory_network::core::connect(const std::string& from, loop& a,
                                                                                                      const std::string& to, loop& b) {
  auto make = [&](const std::string& host, const std::string& peer, loop& l) {
    auto e = std::make_shared<end>();
    e->net = shared_from_this();
    e->host = host;
    e->peer = peer;
    e->events = &l;
    ends.push_back(e);
    return e;
  };
  auto mine = make(from, to, a);
  auto theirs = make(to, from, b);
  mine->other = theirs;
  theirs->other = mine;
  return {mine, theirs};
}

// -- streams ------------------------------------------------------------------------------------------------------------

stream_result memory_stream::read(std::span<std::byte> into) {
  using status = stream_result::status;
  auto& e = *end_;
  const auto n = std::min(into.size(), e.arrived.size() - e.taken);
  if (n == 0)
    return {e.ended ? status::ended : status::would_block, 0, 0};
  std::memcpy(into.data(), e.arrived.data() + e.taken, n);
  e.taken += n;
  e.held -= n;
  if (e.taken == e.arrived.size()) {
    e.arrived.clear();
    e.taken = 0;
  }
  if (auto other = e.other.lock())
    e.net->let_write(other);
  return {status::moved, n, 0};
}

stream_result memory_stream::write(std::span<const iovec> pieces) {
  using status = stream_result::status;
  if (end_->events == nullptr)
    return {status::failed, 0, EPIPE};
  auto n = end_->net->write(*end_, pieces);
  return {n > 0 ? status::moved : status::would_block, n, 0};
}

// Takes some of what is to be written, as far as there is room.
std::size_t memory_network::core::write(end& from, std::span<const iovec> pieces) {
  auto to = from.other.lock();
  const bool seen = to && to->events != nullptr && !to->ends_at;
  auto room = seen ? is.capacity - to->held : SIZE_MAX;
  std::size_t n = 0;
  std::vector<std::byte> bytes;
  for (auto& p : pieces) {
    auto some = std::min(p.iov_len, room - n);
    auto first = static_cast<const std::byte*>(p.iov_base);
    if (seen)
      bytes.insert(bytes.end(), first, first + some);
    n += some;
  }
  if (bytes.empty())
    return n;
  spoil(from, bytes);
  auto& r = way(from.host, to->host);
  const auto now = to->events->now();
  for (auto begin = bytes.begin(); begin != bytes.end();) {
    const auto last = begin + std::min(static_cast<std::ptrdiff_t>(draw(1, is.most_piece)), bytes.end() - begin);
    auto at = now + delay(r);
    if (!to->underway.empty())
      at = std::max(at, to->underway.back().at);
    to->underway.push_back({at, {begin, last}});
    begin = last;
  }
  to->held += n;
  if (chance(is.silences))
    to->silent = from.silent = true;
  plan_arrival(to);
  if (chance(is.cuts)) {
    break_off(to->other.lock());
    break_off(to);
  }
  return n;
}

void memory_network::core::spoil(end& from, std::span<std::byte> bytes) {
  auto& r = way(from.host, from.peer);
  r.corrupt = r.corrupt || chance(is.corruptions);
  while (!bytes.empty()) {
    bool is_header = false;
    const auto n = from.written.next(bytes, is_header);
    if (is_header && std::exchange(r.corrupt, false))
      bytes[draw(0, n - 1)] ^= std::byte{1} << draw(0, 7);
    bytes = bytes.subspan(n);
  }
}

// Has the next piece arrive, or the end.
void memory_network::core::plan_arrival(const end_ptr& to) {
  if (to->events == nullptr || to->silent || to->arrival != 0 || way(to->peer, to->host).parted)
    return;
  if (to->underway.empty() && (!to->ends_at || to->ended))
    return;
  auto at = to->underway.empty() ? *to->ends_at : to->underway.front().at;
  to->arrival = to->events->call_at(at, [self = shared_from_this(), to] {
    to->arrival = 0;
    self->arrive(to);
  });
}

void memory_network::core::arrive(const end_ptr& to) {
  if (to->silent || way(to->peer, to->host).parted)
    return;
  const auto now = to->events->now();
  while (!to->underway.empty() && to->underway.front().at <= now) {
    auto& bytes = to->underway.front().bytes;
    to->arrived.insert(to->arrived.end(), bytes.begin(), bytes.end());
    to->underway.pop_front();
  }
  to->ended = to->underway.empty() && to->ends_at && *to->ends_at <= now;
  plan_arrival(to);
  call_reader(to);
}

void memory_network::core::call_reader(const end_ptr& to) {
  if (to->readable && (!to->arrived.empty() || to->ended)) {
    auto f = to->readable;
    f();
  }
  announce(to);
}

// The reader is called as long as there is something to read, not only when something comes.
void memory_network::core::announce(const end_ptr& to) {
  if (to->events == nullptr || to->call != 0 || !to->readable || (to->arrived.empty() && !to->ended))
    return;
  to->call = to->events->call_after(next_call, [self = shared_from_this(), to] {
    to->call = 0;
    self->call_reader(to);
  });
}

void memory_network::core::let_write(const end_ptr& e) {
  auto other = e->other.lock();
  if (e->events == nullptr || e->let_write != 0 || !e->wants_write || !e->writable || (other && other->held >= is.capacity))
    return;
  e->let_write = e->events->call_after(delay(way(e->host, e->peer)), [e] {
    e->let_write = 0;
    auto f = e->writable;
    if (e->wants_write && f)
      f();
  });
}

// An end sees the end of its stream, after what is on its way.
void memory_network::core::finish(const end_ptr& to) {
  if (to->events == nullptr || to->ends_at)
    return;
  to->ends_at = to->events->now() + delay(way(to->peer, to->host));
  if (!to->underway.empty())
    to->ends_at = std::max(*to->ends_at, to->underway.back().at);
  plan_arrival(to);
}

// The same, and some of what is on its way doesn't arrive.
void memory_network::core::break_off(const end_ptr& to) {
  for (auto keep = draw(0, to->underway.size()); to->underway.size() > keep; to->underway.pop_back())
    to->held -= to->underway.back().bytes.size();
  finish(to);
}

void memory_network::core::close(end& e) {
  auto l = std::exchange(e.events, nullptr);
  if (l == nullptr)
    return;
  for (auto timer : {e.arrival, e.call, e.let_write})
    l->cancel(timer);
  e.readable = nullptr;
  e.writable = nullptr;
  if (auto other = e.other.lock())
    finish(other);
}

// -- faults -------------------------------------------------------------------------------------------------------------

memory_network::memory_network(settings s) : core_(std::make_shared<core>(s)) {}

memory_network::~memory_network() = default;

std::shared_ptr<transport> memory_network::make(const std::string& host) {
  if (!core_->hosts.try_emplace(host).second)
    throw usage_error{"there is a host '" + host + "' already"};
  return std::make_shared<memory_transport>(core_, host);
}

void memory_network::cut(const std::string& a, const std::string& b) {
  core_->each(a, b, [this](auto& e) { core_->break_off(e); });
}

void memory_network::silence(const std::string& a, const std::string& b) {
  core_->each(a, b, [](auto& e) { e->silent = true; });
}

void memory_network::part(const std::string& from, const std::string& to) { core_->way(from, to).parted = true; }

void memory_network::join(const std::string& from, const std::string& to) {
  core_->way(from, to).parted = false;
  core_->each(from, to, [this](auto& e) { core_->plan_arrival(e); });
}

void memory_network::refuse(const std::string& from, const std::string& to, bool on) { core_->way(from, to).refused = on; }

void memory_network::slow(const std::string& from, const std::string& to, duration more) { core_->way(from, to).slow = more; }

void memory_network::corrupt(const std::string& from, const std::string& to) { core_->way(from, to).corrupt = true; }

void memory_network::kill(const std::string& host, bool seen) {
  auto& h = core_->hosts[host];
  h.ended = true;
  h.gone = !seen;
  h.doors.clear();
  for (auto& weak : std::vector(core_->ends)) {
    auto e = weak.lock();
    if (!e || e->host != host)
      continue;
    if (auto other = e->other.lock(); other && !seen)
      other->silent = true;
    core_->close(*e);
  }
}

std::size_t memory_network::streams(const std::string& a, const std::string& b) const {
  auto stands = [](auto& e) { return e && e->events != nullptr && !e->ends_at; };
  std::size_t n = 0;
  core_->each(a, b, [&](auto& e) {
    if (auto other = e->other.lock(); e->host == a && stands(e) && stands(other))
      ++n;
  });
  return n;
}

} // namespace troupe
