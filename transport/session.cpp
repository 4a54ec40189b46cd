#include "troupe/transport/session.hpp"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <thread>

namespace troupe {

namespace {

// What is taken from the lanes at once: little enough that a frame of the control lane soon gets its turn.
constexpr std::size_t flight_size = 256 << 10;
// What one thread writes in a row: a caller has its own answer to wait for, and the loop others to serve.
constexpr std::size_t turn_size = 1 << 20;
constexpr std::size_t read_buffer_size = 256 << 10;
constexpr int reads_per_event = 8;
// A peer that only receives tells what it has received after as many bytes.
constexpr std::uint64_t untold_limit = 256 << 10;
// Control frames go whole: the list of all members is the largest.
constexpr std::uint64_t max_control_size = 256 << 20;
// Frames about the link are small.
constexpr std::uint64_t max_unnumbered_size = 64 << 10;

// Keys of what keeps its order though some of it goes in the bulk lane: calls among themselves, messages to one actor
// among themselves, and what is about actors behind everything.
constexpr std::uint64_t no_order = 0;
constexpr std::uint64_t order_of_calls = 1;
constexpr std::uint64_t order_of_all = ~std::uint64_t{0};

std::uint64_t order_key(frame_kind kind, const byte_buffer& frame) {
  if (kind == frame_kind::call)
    return order_of_calls;
  if (kind == frame_kind::reply || kind == frame_kind::relay)
    return no_order;
  std::uint64_t receiver = 0;
  if (kind != frame_kind::message || frame.size() < sizeof(frame_header) + sizeof receiver)
    return order_of_all;
  std::memcpy(&receiver, frame.data() + sizeof(frame_header), sizeof receiver);
  return receiver + 2;
}

// Whether nobody keeps a view of the buffer, so that it can be written again.
bool only_owner(const std::shared_ptr<byte_buffer>& buffer) {
  if (buffer.use_count() != 1)
    return false;
  // The count is read without ordering. Giving up a copy has it: what other threads have read was read before.
  auto copy = buffer;
  return true;
}

std::size_t index(lane l) {
  return static_cast<std::size_t>(l);
}

std::size_t index(flow f) {
  return static_cast<std::size_t>(f);
}

} // namespace

session::session(loop& l, proc_id peer, observer& watcher, limits most)
  : loop_(l), peer_(peer), observer_(watcher), most_(most), in_(std::make_shared<byte_buffer>()) {
}

void credit::give_back() {
  from_->consumed(flow_, cost_);
}

// -- links ------------------------------------------------------------------------------------------------------------

std::string session::attach(std::unique_ptr<byte_stream> stream, std::span<const std::byte> leftover,
                            const numbers& received_by_peer) {
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
        return "it has received frame " + std::to_string(received_by_peer[i]) + " of lane " + std::to_string(i) + ", the last that was sent is "
               + std::to_string(out_[i].last_number());
    for (std::size_t i = 0; i < lane_count; ++i) {
      // acknowledged by frames of the last link, as well
      auto received = std::max(received_by_peer[i], acknowledged_[i]);
      in_acknowledged_[i] = in_settled_[i] = acknowledged_[i] = received;
      queued_[i] -= out_[i].rewind(received, retired_);
    }
    std::erase_if(bulk_order_, [&](auto& key) { return key.second <= acknowledged_[index(lane::bulk)]; });
    stream_ = fresh;
    blocked_ = false;
    generation = generation_;
    ready = take_ready_waiters();
  }
  for (auto& f : ready)
    f();
  in_->resize(std::max(read_buffer_size, leftover.size()));
  if (!leftover.empty())
    std::memcpy(in_->data(), leftover.data(), leftover.size());
  in_begin_ = 0;
  in_end_ = leftover.size();
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
  // what came of a frame that wasn't whole comes again
  if (!only_owner(in_))
    in_ = std::make_shared<byte_buffer>();
  in_begin_ = in_end_ = 0;
  in_skip_ = 0;
  in_chunk_left_ = 0;
  if (in_assembly_ && in_assembly_->filled == 0)
    in_assembly_.reset();
  else if (in_assembly_)
    in_assembly_->partial = 0;
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
    for (auto& l : out_)
      l.clear(retired_);
    if (!writing_)
      retired_.clear();
    queued_ = {};
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
    queued_ = {};
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

bool session::peer_answers() const {
  return !stream_ || stream_->peer_answers();
}

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
  return closed_ || (queued_[index(l)] < most_.transit && (f == flow::none || in_flight(f) < most_.window));
}

session::outcome session::push(byte_buffer& frame, urgency u, flow f, bool may_wait) {
  std::unique_lock lock{out_mutex_};
  if (closed_)
    return outcome::taken;
  if (may_wait && !room(f, frame.size())) {
    ++waits_;
    return outcome::full;
  }
  append(frame, f);
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
    loop_.post([self = shared_from_this()] { self->flush(); });
}

void session::push_unnumbered(byte_buffer& frame) {
  std::unique_lock lock{out_mutex_};
  if (closed_ || !stream_)
    return;
  out_[index(lane::control)].append_unnumbered(frame);
  queued_[index(lane::control)] += frame.size();
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

void session::append(byte_buffer& frame, flow f) {
  frame_header h;
  std::memcpy(&h, frame.data(), sizeof h);
  h.flags = static_cast<std::uint16_t>(f);
  sent_[index(f)] += cost_of(h.size);
  frames_sent_.fetch_add(1, std::memory_order_relaxed);
  bytes_sent_.fetch_add(frame.size(), std::memory_order_relaxed);
  const bool large = h.size > segment::chunk_size && h.in_lane != lane::control;
  if (large || (!bulk_order_.empty() && keeps_behind_bulk(frame, h)))
    h.in_lane = lane::bulk;
  auto& l = out_[index(h.in_lane)];
  auto& queued = queued_[index(h.in_lane)];
  queued += frame.size();
  h.acknowledged = received_[index(h.in_lane)].load(std::memory_order_relaxed);
  if (h.in_lane != lane::bulk) {
    l.append(frame, h);
    return;
  }
  auto key = order_key(h.kind, frame);
  if (large) // the headers of the chunks are bytes on the wire, too
    queued += (h.size + segment::chunk_size - 1) / segment::chunk_size * sizeof h + sizeof(std::uint64_t) - sizeof h;
  auto last = l.append(frame, h);
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
  std::unique_lock lock{out_mutex_};
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
    lock.lock();
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
    queued_[i] -= out_[i].acknowledge(acknowledged_[i], retired_);
  retired.swap(retired_);
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
    std::lock_guard guard{out_mutex_};
    for (std::size_t i = 0; i < lane_count; ++i) {
      if (in_acknowledged_[i] > out_[i].last_number())
        wrong = "an acknowledgement of frame " + std::to_string(in_acknowledged_[i]) + " of lane " + std::to_string(i)
                + ", the last that was sent is " + std::to_string(out_[i].last_number());
      in_acknowledged_[i] = in_settled_[i] = acknowledged_[i] = std::min(in_acknowledged_[i], out_[i].last_number());
      queued_[i] -= out_[i].acknowledge(acknowledged_[i], retired_);
    }
    std::erase_if(bulk_order_, [&](auto& key) { return key.second <= acknowledged_[index(lane::bulk)]; });
    ready = take_ready_waiters();
    if (!writing_)
      retired.swap(retired_);
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
  std::lock_guard guard{out_mutex_};
  std::uint64_t consumed = 0;
  for (auto n : consumed_by_peer_)
    consumed += n;
  auto waits_for_credit = std::any_of(waiters_.begin(), waiters_.end(), [this](auto& w) {
    return w.of != flow::none && in_flight(w.of) >= most_.window;
  });
  return std::exchange(in_starved_at_, consumed) == consumed && waits_for_credit;
}

session::counts session::count() const {
  counts c;
  c.frames_sent = frames_sent_.load(std::memory_order_relaxed);
  c.bytes_sent = bytes_sent_.load(std::memory_order_relaxed);
  c.frames_received = frames_received_.load(std::memory_order_relaxed);
  c.bytes_received = bytes_received_.load(std::memory_order_relaxed);
  std::lock_guard guard{out_mutex_};
  c.waits = waits_;
  c.waiting = waiters_.size();
  for (auto n : queued_)
    c.in_transit += n;
  c.unconsumed = in_flight(flow::calls) + in_flight(flow::messages);
  return c;
}

// -- receiving --------------------------------------------------------------------------------------------------------

void session::on_readable(std::uint64_t generation) {
  if (generation != generation_)
    return;
  auto self = shared_from_this();
  read_some();
  if (generation != generation_)
    return;
  settle_acknowledged();
  if (in_untold_ >= untold_limit)
    send_status();
}

// Makes room for the rest of the frame that is being received, or for some frames more.
void session::make_room() {
  auto pending = available();
  if (pending == 0 && only_owner(in_)) {
    in_begin_ = in_end_ = 0;
    if (in_->size() > read_buffer_size) { // was made for one large frame
      in_->resize(read_buffer_size);
      in_->shrink_to_fit();
    }
    return;
  }
  std::size_t needed = sizeof(frame_header);
  if (pending >= sizeof(frame_header)) {
    frame_header h;
    std::memcpy(&h, in_->data() + in_begin_, sizeof h);
    needed += h.chunk() ? sizeof(std::uint64_t) : h.size;
  }
  // not for all that it claims at once: what comes makes room for more
  needed = std::min(needed, std::max(read_buffer_size, 4 * pending));
  auto room = in_->size() - in_end_;
  if (needed <= pending + room && room > 0)
    return;
  auto bigger = std::make_shared<byte_buffer>();
  bigger->resize(std::max(read_buffer_size, needed));
  if (pending > 0)
    std::memcpy(bigger->data(), in_->data() + in_begin_, pending);
  in_ = std::move(bigger);
  in_begin_ = 0;
  in_end_ = pending;
}

void session::read_some() {
  const auto generation = generation_;
  for (int i = 0; i < reads_per_event && generation == generation_; ++i) {
    std::span<std::byte> space;
    try {
      if (in_chunk_left_ > 0) {
        auto& a = *in_assembly_;
        space = {a.buffer->data() + a.filled + a.partial, in_chunk_left_};
      } else {
        make_room();
        space = {in_->data() + in_end_, in_->size() - in_end_};
      }
    } catch (const std::bad_alloc&) {
      return end("no memory for the frame that arrives", true);
    }
    auto result = stream_->read(space);
    if (result.what == stream_result::status::would_block)
      return;
    if (result.what == stream_result::status::ended)
      return end(available() == 0 && in_chunk_left_ == 0 ? "the connection was closed" : "the connection was closed within a frame",
                 false);
    if (result.what == stream_result::status::failed)
      return end(std::strerror(result.error), false);
    in_last_heard_ = loop_.now();
    bytes_received_.fetch_add(result.bytes, std::memory_order_relaxed);
    in_untold_ += result.bytes;
    if (in_chunk_left_ > 0) {
      in_chunk_left_ -= result.bytes;
      in_assembly_->partial += result.bytes;
      if (in_chunk_left_ == 0)
        finish_chunk(in_chunk_);
    } else {
      in_end_ += result.bytes;
      parse();
    }
    if (result.bytes < space.size())
      return;
  }
}

// Whether the link still stands.
bool session::parse() {
  const auto generation = generation_;
  while (generation == generation_ && parse_one()) {
    // the next
  }
  return generation == generation_;
}

// Whether there may be another frame.
bool session::parse_one() {
  if (in_skip_ > 0) {
    auto n = std::min<std::uint64_t>(in_skip_, available());
    in_begin_ += n;
    in_skip_ -= n;
  }
  if (available() < sizeof(frame_header) || in_chunk_left_ > 0)
    return false;
  frame_view f;
  std::memcpy(&f.header, in_->data() + in_begin_, sizeof f.header);
  auto& h = f.header;
  if (auto wrong = check(h); !wrong.empty())
    return end(wrong, true), false;
  if (h.number == 0)
    return take_unnumbered(h);
  auto lane_index = index(h.in_lane);
  auto& last = received_[lane_index];
  in_acknowledged_[lane_index] = std::max(in_acknowledged_[lane_index], h.acknowledged);
  const auto received = last.load(std::memory_order_relaxed);
  if (h.number > received + 1)
    return end("frame " + std::to_string(h.number) + " of lane " + std::to_string(lane_index) + " came after frame "
                 + std::to_string(received), true), false;
  if (h.number <= received) {
    skip_duplicate(h);
    return true;
  }
  if (h.chunk())
    return take_chunk(h);
  if (h.size > (h.in_lane == lane::control ? max_control_size : segment::chunk_size))
    return end("a frame of " + std::to_string(h.size) + " bytes, more than travels in one", true), false;
  if (in_assembly_ && h.in_lane == lane::bulk)
    return end("a whole frame between the chunks of a value", true), false;
  if (available() - sizeof h < h.size)
    return false;
  last.store(h.number, std::memory_order_relaxed);
  f.payload = {in_->data() + in_begin_ + sizeof h, static_cast<std::size_t>(h.size)};
  f.owner = in_;
  in_begin_ += sizeof h + static_cast<std::size_t>(h.size);
  deliver(f);
  return true;
}

// Received before, over another link.
void session::skip_duplicate(const frame_header& h) {
  in_skip_ = sizeof h + h.size;
}

void session::deliver(frame_view& f) {
  if (f.header.number != 0)
    frames_received_.fetch_add(1, std::memory_order_relaxed);
  if (auto of = f.header.flow(); of != flow::none)
    f.credit = {*this, of, cost_of(f.header.size)};
  try {
    observer_.frame_arrived(*this, f);
  } catch (const std::exception& e) {
    end("a " + to_string(f.header.kind) + " frame that can't be read: " + e.what(), true);
  }
}

bool session::take_unnumbered(const frame_header& h) {
  if (h.size > max_unnumbered_size)
    return end("a " + to_string(h.kind) + " frame of " + std::to_string(h.size) + " bytes", true), false;
  if (available() - sizeof h < h.size)
    return false;
  frame_view f;
  f.header = h;
  f.payload = {in_->data() + in_begin_ + sizeof h, static_cast<std::size_t>(h.size)};
  f.owner = in_;
  in_begin_ += sizeof h + static_cast<std::size_t>(h.size);
  if (h.kind != frame_kind::status) {
    deliver(f);
    return true;
  }
  try {
    reader in{f.payload};
    numbers n;
    for (auto& x : n)
      x = in.get<std::uint64_t>();
    std::array<std::uint64_t, 2> consumed;
    for (auto& x : consumed)
      x = in.get<std::uint64_t>();
    in.expect_end();
    for (std::size_t i = 0; i < lane_count; ++i)
      in_acknowledged_[i] = std::max(in_acknowledged_[i], n[i]);
    std::vector<std::function<void()>> ready;
    {
      std::lock_guard guard{out_mutex_};
      for (std::size_t i = 0; i < consumed.size(); ++i)
        consumed_by_peer_[i + 1] = std::max(consumed_by_peer_[i + 1], consumed[i]);
      ready = take_ready_waiters();
    }
    for (auto& r : ready)
      r();
  } catch (const codec_error& e) {
    return end(std::string{"a status frame that can't be read: "} + e.what(), true), false;
  }
  return true;
}

// A chunk's payload goes to where its value is put together, as far as it is there; the rest is read into it directly.
bool session::take_chunk(const frame_header& h) {
  auto at = in_begin_ + sizeof h;
  auto part = h.size;
  const bool first = (h.flags & frame_flags::first_chunk) != 0;
  std::uint64_t total = 0;
  if (first) {
    if (part < sizeof total)
      return end("a first chunk of " + std::to_string(part) + " bytes", true), false;
    if (available() - sizeof h < sizeof total)
      return false;
    std::memcpy(&total, in_->data() + at, sizeof total);
    at += sizeof total;
    part -= sizeof total;
  }
  if (first ? in_assembly_.has_value() : !in_assembly_ || in_assembly_->header.kind != h.kind)
    return end(first ? "the first chunk of a value within another" : "a chunk of a value that has not begun", true), false;
  if (first) {
    if (total > max_frame_size)
      return end("a value that claims " + std::to_string(total) + " bytes, more than the limit of " + std::to_string(max_frame_size), true),
             false;
    try {
      begin_assembly(h, total);
    } catch (const std::exception&) {
      return end("no memory for a value of " + std::to_string(total) + " bytes", true), false;
    }
  }
  auto& a = *in_assembly_;
  const auto left = a.buffer->size() - a.filled;
  const bool more = (h.flags & frame_flags::more_chunks) != 0;
  if (part == 0 || part > left || (part == left) == more)
    return end("a chunk of " + std::to_string(part) + " bytes where " + std::to_string(left) + " are missing", true), false;
  auto here = std::min<std::size_t>(part, in_end_ - at);
  std::memcpy(a.buffer->data() + a.filled, in_->data() + at, here);
  in_begin_ = at + here;
  a.partial = here;
  if (here < part) {
    in_chunk_ = h;
    in_chunk_left_ = part - here;
    return false;
  }
  finish_chunk(h);
  return true;
}

void session::begin_assembly(const frame_header& h, std::uint64_t total) {
  assembly a;
  a.header = h;
  a.buffer = std::make_shared<byte_buffer>();
  a.buffer->resize(total);
  in_assembly_ = std::move(a);
}

void session::finish_chunk(const frame_header& h) {
  auto& a = *in_assembly_;
  a.filled += std::exchange(a.partial, 0);
  received_[index(lane::bulk)].store(h.number, std::memory_order_relaxed);
  if (a.filled < a.buffer->size())
    return;
  auto whole = std::move(a);
  in_assembly_.reset();
  frame_view f;
  f.header = whole.header;
  f.header.size = whole.buffer->size();
  f.header.flags &= frame_flags::flow_mask;
  f.payload = *whole.buffer;
  f.owner = whole.buffer;
  whole.buffer.reset();
  deliver(f);
}

} // namespace troupe
