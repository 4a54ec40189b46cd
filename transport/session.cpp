#include "troupe/transport/session.hpp"

#include "troupe/transport/brief_lock.hpp"

#include <algorithm>
#include <cstring>
#include <new>
#include <thread>

namespace troupe {

namespace {

// What is taken from the lanes at once: little enough that a frame of the control lane soon gets its turn.
constexpr std::size_t flight_size = 256 << 10;
// What one thread writes in a row: a caller has its own answer to wait for, and the loop others to serve.
constexpr std::size_t turn_size = 1 << 20;

// Keys of what keeps its order though some of it goes in the bulk lane: calls among themselves, messages to one actor
// among themselves, and what is about actors behind everything.
constexpr std::uint64_t no_order = 0;
constexpr std::uint64_t order_of_calls = 1;
constexpr std::uint64_t order_of_arrays = std::uint64_t{1} << 62; // and the array's number
constexpr std::uint64_t order_of_all = ~std::uint64_t{0};

std::size_t size_of(const byte_buffer& frame) {
  frame_header h;
  std::memcpy(&h, frame.data(), sizeof h);
  return sizeof h + h.size;
}

std::uint64_t order_key(frame_kind kind, const byte_buffer& frame) {
  if (kind == frame_kind::call || kind == frame_kind::cancel) // which must find its call
    return order_of_calls;
  if (kind == frame_kind::reply || kind == frame_kind::relay || kind == frame_kind::named)
    return no_order;
  if (kind == frame_kind::array) {
    std::uint64_t head[2] = {};
    if (frame.size() < sizeof(frame_header) + sizeof head)
      return order_of_all;
    std::memcpy(head, frame.data() + sizeof(frame_header), sizeof head);
    return head[1] + order_of_arrays;
  }
  std::uint64_t receiver = 0;
  if (kind != frame_kind::message || frame.size() < sizeof(frame_header) + sizeof receiver)
    return order_of_all;
  std::memcpy(&receiver, frame.data() + sizeof(frame_header), sizeof receiver);
  return receiver + 2;
}

} // namespace

session::session(loop& l, proc_id peer, observer& watcher, limits most)
  : loop_(l), peer_(peer), observer_(watcher), most_(most), in_(std::make_shared<byte_buffer>()) {}

void credit::give_back() { from_->consumed(flow_, cost_); }

// -- links ------------------------------------------------------------------------------------------------------------

std::string session::attach(std::unique_ptr<byte_stream> stream, std::span<const std::byte> leftover, const numbers& received_by_peer) {
  detach();
  std::vector<std::function<void()>> ready;
  std::uint64_t generation = 0;
  std::shared_ptr<byte_stream> fresh = std::move(stream);
  {
    std::lock_guard guard{out_mutex_};
    if (closed_)
      return "the session has ended";
    for (std::size_t i = 0; i < lane_count; ++i)
      if (received_by_peer[i] > out_[i].last_number())
        return "it has received frame " + std::to_string(received_by_peer[i]) + " of lane " + std::to_string(i)
               + ", the last that was sent is " + std::to_string(out_[i].last_number());
    for (std::size_t i = 0; i < lane_count; ++i) {
      // acknowledged by frames of the last link, as well
      auto received = std::max(received_by_peer[i], acknowledged_[i]);
      in_acknowledged_[i] = in_settled_[i] = acknowledged_[i] = received;
      out_[i].rewind(received, retired_);
    }
    std::erase_if(bulk_order_, [&](auto& key) { return key.second <= acknowledged_[index(lane::bulk)]; });
    stream_ = fresh;
    blocked_ = false;
    generation = generation_;
    ready = take_ready_waiters();
  }
  for (auto& f : ready)
    f();
  begin_input(leftover);
  in_last_heard_ = loop_.now();
  attached_.store(true, std::memory_order_release);
  std::weak_ptr<session> weak = weak_from_this();
  fresh->start(
    loop_,
    [weak, generation] {
      if (auto self = weak.lock())
        self->on_readable(generation);
    },
    [weak, generation] {
      if (auto self = weak.lock())
        self->on_writable(generation);
    });
  send_status(); // the credit that the last link may have lost
  auto self = shared_from_this();
  if (parse() && generation == generation_)
    settle_acknowledged();
  return {};
}

void session::detach() {
  attached_.store(false, std::memory_order_release);
  std::shared_ptr<byte_stream> old;
  {
    std::lock_guard guard{out_mutex_};
    old.swap(stream_);
    ++generation_;
    in_flight_.clear();
    blocked_ = false;
  }
  if (old)
    old->close();
  drop_input();
}

void session::close() {
  flush();
  std::vector<std::function<void()>> ready;
  {
    std::unique_lock lock{out_mutex_};
    closed_ = true;
    // another thread may be about to write what was pushed before; it doesn't block
    while (writing_) {
      lock.unlock();
      std::this_thread::yield();
      lock.lock();
    }
    for (auto& w : waiters_)
      ready.push_back(std::move(w.ready));
    waiters_.clear();
  }
  detach();
  {
    std::lock_guard guard{out_mutex_};
    for (auto& l : out_) {
      l.clear(retired_);
      l.shrink();
    }
    if (!writing_)
      retired_.clear();
  }
  in_assembly_.reset();
  in_ = std::make_shared<byte_buffer>(); // of a peer that is gone, nothing but the counts is kept
  for (auto& f : ready)
    f();
}

void session::abandon() {
  std::vector<waiter> waiters;
  {
    std::lock_guard guard{out_mutex_};
    for (auto& l : out_)
      l = outgoing_lane{};
    bulk_order_.clear();
    sent_ = {};
    waiters.swap(waiters_);
  }
  for (auto& w : waiters)
    w.ready();
}

void session::end(const std::string& why, bool violated) {
  auto self = shared_from_this();
  detach();
  observer_.link_ended(*this, why, violated);
}

std::string session::kind() const {
  std::shared_ptr<byte_stream> stream;
  {
    std::lock_guard guard{out_mutex_};
    stream = stream_;
  }
  return stream ? stream->kind() : std::string{};
}

bool session::peer_answers() const { return !stream_ || stream_->peer_answers(); }

session::numbers session::received() const {
  numbers n;
  for (std::size_t i = 0; i < lane_count; ++i)
    n[i] = received_[i].load(std::memory_order_relaxed);
  return n;
}

// -- sending ----------------------------------------------------------------------------------------------------------

std::uint64_t session::in_flight(flow f) const {
  auto i = index(f);
  return sent_[i] > consumed_by_peer_[i] ? sent_[i] - consumed_by_peer_[i] : 0;
}

// What is small doesn't wait for what is large to get through.
bool session::room(flow f, std::size_t bytes) const {
  auto l = bytes > segment::chunk_size + sizeof(frame_header) ? lane::bulk : lane::ordinary;
  return closed_ || (out_[index(l)].bytes() < most_.transit && (f == flow::none || in_flight(f) < most_.window));
}

session::outcome session::push(frame_builder& frame, urgency u, flow f, bool may_wait) {
  return push(frame.finish(), u, f, may_wait, &frame.outside());
}

session::outcome session::push(byte_buffer& frame, urgency u, flow f, bool may_wait, std::vector<outside_block>* outside) {
  auto lock = lock_briefly(out_mutex_);
  if (closed_)
    return outcome::taken;
  if (may_wait && !room(f, size_of(frame))) {
    ++waits_;
    return outcome::full;
  }
  append(frame, f, outside);
  ring_or_flush(lock, u);
  return outcome::taken;
}

void session::ring_or_flush(std::unique_lock<std::mutex>& lock, urgency u) {
  const bool ring = u == urgency::batched && !flush_posted_ && !blocked_ && stream_;
  if (ring)
    flush_posted_ = true;
  lock.unlock();
  if (u == urgency::now)
    flush();
  else if (ring)
    loop_.soon([self = shared_from_this()] { self->flush(); });
  else
    loop_.look_now_and_then();
}

void session::push_unnumbered(byte_buffer& frame) {
  auto lock = lock_briefly(out_mutex_);
  if (closed_ || !stream_)
    return;
  out_[index(lane::control)].append_unnumbered(frame);
  lock.unlock();
  flush();
}

bool session::keeps_behind_bulk(const byte_buffer& frame, const frame_header& h) const {
  if (h.in_lane != lane::ordinary)
    return false;
  auto key = order_key(h.kind, frame);
  return key == order_of_all
         || (key != no_order && std::any_of(bulk_order_.begin(), bulk_order_.end(), [key](auto& k) { return k.first == key; }));
}

void session::append(byte_buffer& frame, flow f, std::vector<outside_block>* outside) {
  frame_header h;
  std::memcpy(&h, frame.data(), sizeof h);
  h.flags = static_cast<std::uint16_t>(f) | (h.flags & frame_flags::references);
  sent_[index(f)] += cost_of(h.size);
  frames_sent_.fetch_add(1, std::memory_order_relaxed);
  bytes_sent_.fetch_add(sizeof h + h.size, std::memory_order_relaxed);
  const bool large = h.size > segment::chunk_size && h.in_lane != lane::control;
  if (large || (!bulk_order_.empty() && keeps_behind_bulk(frame, h)))
    h.in_lane = lane::bulk;
  auto& l = out_[index(h.in_lane)];
  h.acknowledged = received_[index(h.in_lane)].load(std::memory_order_relaxed);
  if (h.in_lane != lane::bulk) {
    l.append(frame, h);
    return;
  }
  auto key = order_key(h.kind, frame);
  auto last = l.append(frame, h, outside != nullptr ? std::exchange(*outside, {}) : std::vector<outside_block>{});
  if (key == no_order)
    return;
  auto known = std::find_if(bulk_order_.begin(), bulk_order_.end(), [key](auto& k) { return k.first == key; });
  if (known == bulk_order_.end())
    bulk_order_.emplace_back(key, last);
  else
    known->second = last;
}

// Takes segments from the lanes, the most urgent lane first. Needs out_mutex_.
bool session::gather() {
  std::size_t size = 0;
  for (auto& f : in_flight_)
    size += f.to - f.from;
  for (auto& l : out_) {
    while (size < flight_size && l.has_unsent()) {
      auto& s = l.next();
      auto end = s.next_end(s.taken);
      in_flight_.push_back({&s, s.taken, end});
      size += end - s.taken;
      s.taken = end;
      if (end == s.size())
        l.pass();
    }
  }
  return !in_flight_.empty();
}

void session::advance(std::size_t written) {
  while (written > 0) {
    auto& f = in_flight_.front();
    auto n = std::min(written, f.to - f.from);
    f.from += n;
    written -= n;
    if (f.from < f.to)
      return;
    f.what->written = f.to;
    in_flight_.pop_front();
  }
}

void session::flush() {
  std::vector<std::unique_ptr<segment>> retired; // freed without the lock
  auto lock = lock_briefly(out_mutex_);
  flush_posted_ = false;
  if (writing_)
    return;
  writing_ = true;
  std::size_t written = 0;
  while (stream_ && !blocked_ && gather()) {
    if (written >= turn_size) {
      flush_posted_ = true;
      loop_.post([self = shared_from_this()] { self->flush(); });
      break;
    }
    iovec pieces[16];
    std::size_t n = 0;
    for (auto& f : in_flight_) {
      n += f.what->pieces(f.from, f.to, pieces + n, std::size(pieces) - n);
      if (n == std::size(pieces))
        break;
    }
    auto stream = stream_;
    const auto generation = generation_;
    lock.unlock();
    auto result = stream->write({pieces, n});
    lock = lock_briefly(out_mutex_);
    if (generation != generation_)
      continue; // that link has ended; a new one sends it all again
    if (result.what == stream_result::status::moved) {
      advance(result.bytes);
      written += result.bytes;
      continue;
    }
    // with an error, the reading side sees the same end, after what the peer sent last
    blocked_ = true;
    if (result.what == stream_result::status::would_block)
      loop_.post([self = shared_from_this(), generation] {
        if (self->generation_ == generation && self->stream_)
          self->stream_->want_write(true);
      });
  }
  writing_ = false;
  // what isn't counted, and what was acknowledged before this thread could note that it was written
  for (std::size_t i = 0; i < lane_count; ++i)
    out_[i].acknowledge(acknowledged_[i], retired_);
  retired = take_retired();
  auto ready = take_ready_waiters();
  lock.unlock();
  for (auto& f : ready)
    f();
}

void session::on_writable(std::uint64_t generation) {
  if (generation != generation_ || !stream_)
    return;
  stream_->want_write(false);
  {
    std::lock_guard guard{out_mutex_};
    blocked_ = false;
  }
  flush();
}

void session::when_room(flow f, std::function<void()> ready, std::size_t bytes) {
  {
    std::lock_guard guard{out_mutex_};
    if (!room(f, bytes)) {
      waiters_.push_back({f, bytes, std::move(ready)});
      return;
    }
  }
  ready();
}

void session::take_back(const std::shared_ptr<const void>& keeper) {
  // usually the peer has all, and has said so: whoever reads that may be about to let go
  for (const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds{2}; std::chrono::steady_clock::now() < end;) {
    if (keeper.use_count() == 1) {
      // NOLINTNEXTLINE(performance-unnecessary-copy-initialization): the count is read without ordering, a copy has it
      const auto synchronized = keeper;
      return;
    }
    std::this_thread::yield();
  }
  std::vector<std::unique_ptr<segment>> retired; // freed without the lock
  std::unique_lock lock{out_mutex_};
  while (true) {
    const bool free = !writing_;
    try {
      if (free) {
        out_[index(lane::bulk)].own(keeper.get());
        retired = take_retired();
        return;
      }
    } catch (const std::bad_alloc&) {
      // until the peer has it, then
    }
    lock.unlock();
    if (free)
      std::this_thread::sleep_for(std::chrono::milliseconds{1});
    else
      std::this_thread::yield();
    lock.lock();
  }
}

// What nobody reads any more. Needs out_mutex_, and that nobody writes; to be freed without it.
std::vector<std::unique_ptr<segment>> session::take_retired() {
  if (!closed_)
    for (auto& s : retired_)
      out_[index(lane::ordinary)].recycle(*s);
  return std::exchange(retired_, {});
}

void session::rest() {
  auto lock = lock_briefly(out_mutex_);
  out_[index(lane::ordinary)].shrink();
}

// Needs out_mutex_; the functions are to be called without it.
std::vector<std::function<void()>> session::take_ready_waiters() {
  std::vector<std::function<void()>> ready;
  if (waiters_.empty())
    return ready;
  std::erase_if(waiters_, [&](waiter& w) {
    if (!room(w.of, w.bytes))
      return false;
    ready.push_back(std::move(w.ready));
    return true;
  });
  return ready;
}

// Takes what the peer's frames acknowledge, once for all that came together.
void session::settle_acknowledged() {
  if (in_acknowledged_ == in_settled_)
    return;
  in_settled_ = in_acknowledged_;
  std::vector<std::function<void()>> ready;
  std::vector<std::unique_ptr<segment>> retired;
  std::string wrong;
  {
    auto lock = lock_briefly(out_mutex_);
    for (std::size_t i = 0; i < lane_count; ++i) {
      if (in_acknowledged_[i] > out_[i].last_number())
        wrong = "an acknowledgement of frame " + std::to_string(in_acknowledged_[i]) + " of lane " + std::to_string(i)
                + ", the last that was sent is " + std::to_string(out_[i].last_number());
      in_acknowledged_[i] = in_settled_[i] = acknowledged_[i] = std::min(in_acknowledged_[i], out_[i].last_number());
      out_[i].acknowledge(acknowledged_[i], retired_);
    }
    std::erase_if(bulk_order_, [&](auto& key) { return key.second <= acknowledged_[index(lane::bulk)]; });
    ready = take_ready_waiters();
    if (!writing_)
      retired = take_retired();
  }
  for (auto& f : ready)
    f();
  if (!wrong.empty())
    end(wrong, true);
}

// -- status -----------------------------------------------------------------------------------------------------------

void session::post_status() {
  if (status_posted_.exchange(true, std::memory_order_relaxed))
    return;
  loop_.post([weak = weak_from_this()] {
    if (auto self = weak.lock())
      self->send_status();
  });
}

void session::send_status() {
  status_posted_.store(false, std::memory_order_relaxed);
  if (!stream_)
    return;
  frame_builder f;
  auto& out = f.start(frame_kind::status).out();
  for (auto n : received())
    out.put(n);
  for (auto of : {flow::calls, flow::messages}) {
    auto total = consumed_[index(of)].load(std::memory_order_relaxed);
    told_consumed_[index(of)].store(total, std::memory_order_relaxed);
    out.put(total + in_granted_[index(of)]);
  }
  in_untold_ = 0;
  push_unnumbered(f.finish());
}

void session::grant_more() {
  for (auto of : {flow::calls, flow::messages})
    in_granted_[index(of)] += most_.window;
  send_status();
}

bool session::starved() {
  auto lock = lock_briefly(out_mutex_);
  std::uint64_t consumed = 0;
  for (auto n : consumed_by_peer_)
    consumed += n;
  auto waits_for_credit =
    std::any_of(waiters_.begin(), waiters_.end(), [this](auto& w) { return w.of != flow::none && in_flight(w.of) >= most_.window; });
  return std::exchange(in_starved_at_, consumed) == consumed && waits_for_credit;
}

session::counts session::count() const {
  counts c;
  c.frames_sent = frames_sent_.load(std::memory_order_relaxed);
  c.bytes_sent = bytes_sent_.load(std::memory_order_relaxed);
  c.frames_received = frames_received_.load(std::memory_order_relaxed);
  c.bytes_received = bytes_received_.load(std::memory_order_relaxed);
  auto lock = lock_briefly(out_mutex_);
  c.waits = waits_;
  c.waiting = waiters_.size();
  for (auto& l : out_)
    c.in_transit += l.bytes();
  c.unconsumed = in_flight(flow::calls) + in_flight(flow::messages);
  return c;
}

} // namespace troupe
