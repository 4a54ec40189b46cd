#include "troupe/transport/link.hpp"

#include <algorithm>
#include <cstring>

namespace troupe {

namespace {

// Frames below this size are copied into a batch; larger ones are handed over as they are.
constexpr std::size_t large_frame = 16 << 10;
constexpr std::size_t batch_size = 64 << 10;
// What is taken from the lanes at once: little enough that a frame of the control lane soon gets its turn.
constexpr std::size_t flight_size = 256 << 10;
constexpr std::size_t read_buffer_size = 256 << 10;
constexpr int reads_per_event = 8;

// Whether nobody keeps a view of the buffer, so that it can be written again.
bool only_owner(const std::shared_ptr<byte_buffer>& buffer) {
  if (buffer.use_count() != 1)
    return false;
  // The count is read without ordering. Giving up a copy has it: what other threads have read was read before.
  auto copy = buffer;
  return true;
}

} // namespace

link::link(loop& l, std::unique_ptr<byte_stream> stream, observer& watcher)
  : loop_(l), stream_(std::move(stream)), observer_(watcher), in_(std::make_shared<byte_buffer>()) {
}

void link::start(std::span<const std::byte> leftover) {
  in_->resize(std::max(read_buffer_size, leftover.size()));
  if (!leftover.empty())
    std::memcpy(in_->data(), leftover.data(), leftover.size());
  in_end_ = leftover.size();
  std::weak_ptr<link> weak = weak_from_this();
  stream_->start(
    loop_,
    [weak] {
      if (auto self = weak.lock())
        self->on_readable();
    },
    [weak] {
      if (auto self = weak.lock())
        self->on_writable();
    });
  auto self = shared_from_this();
  parse();
}

void link::push(byte_buffer& frame, urgency u) {
  bool ring = false;
  {
    std::lock_guard guard{out_mutex_};
    if (closed_)
      return;
    append(frame);
    if (u == urgency::batched && !flush_posted_ && !blocked_)
      ring = flush_posted_ = true;
  }
  if (u == urgency::now)
    flush();
  else if (ring)
    loop_.post([self = shared_from_this()] { self->flush(); });
}

void link::append(byte_buffer& frame) {
  frame_header h;
  std::memcpy(&h, frame.data(), sizeof h);
  auto lane_index = static_cast<std::size_t>(h.in_lane);
  auto& l = out_[lane_index];
  h.number = ++l.last_number;
  h.acknowledged = received_[lane_index].load(std::memory_order_relaxed);
  std::memcpy(frame.data(), &h, sizeof h);
  frames_sent_.fetch_add(1, std::memory_order_relaxed);
  bytes_sent_.fetch_add(frame.size(), std::memory_order_relaxed);
  if (frame.size() >= large_frame) {
    l.segments.push_back(std::move(frame));
    frame = byte_buffer{};
    return;
  }
  if (l.segments.empty() || l.segments.back().size() + frame.size() > batch_size)
    l.segments.emplace_back();
  auto& batch = l.segments.back();
  auto at = batch.size();
  if (at != 0 && batch.capacity() < batch_size)
    batch.reserve(batch_size); // the second frame makes it a batch: idle links stay small
  batch.resize(at + frame.size());
  std::memcpy(batch.data() + at, frame.data(), frame.size());
}

// Takes segments from the lanes, the most urgent lane first. Needs out_mutex_.
bool link::gather() {
  std::size_t size = 0;
  for (auto& segment : in_flight_)
    size += segment.size();
  for (auto& l : out_) {
    while (size < flight_size && !l.segments.empty()) {
      size += l.segments.front().size();
      in_flight_.push_back(std::move(l.segments.front()));
      l.segments.pop_front();
    }
  }
  return !in_flight_.empty();
}

void link::advance(std::size_t written) {
  while (written > 0) {
    auto left = in_flight_.front().size() - in_flight_done_;
    if (written < left) {
      in_flight_done_ += written;
      return;
    }
    written -= left;
    in_flight_done_ = 0;
    in_flight_.pop_front();
  }
}

void link::flush() {
  std::unique_lock lock{out_mutex_};
  flush_posted_ = false;
  if (writing_ || blocked_ || closed_)
    return;
  writing_ = true;
  while (gather()) {
    iovec pieces[16];
    std::size_t n = 0;
    for (auto& segment : in_flight_) {
      auto skip = n == 0 ? in_flight_done_ : 0;
      pieces[n++] = {segment.data() + skip, segment.size() - skip};
      if (n == std::size(pieces))
        break;
    }
    lock.unlock();
    auto result = stream_->write({pieces, n});
    lock.lock();
    if (result.what == stream_result::status::moved) {
      advance(result.bytes);
    } else if (result.what == stream_result::status::would_block) {
      blocked_ = true;
      loop_.post([self = shared_from_this()] {
        if (!self->in_closed_)
          self->stream_->want_write(true);
      });
      break;
    } else {
      // the reading side sees the same end, after what the peer sent last
      closed_ = true;
      break;
    }
  }
  writing_ = false;
}

void link::on_writable() {
  if (in_closed_)
    return;
  stream_->want_write(false);
  {
    std::lock_guard guard{out_mutex_};
    blocked_ = false;
  }
  flush();
}

// Makes room for the rest of the frame that is being received, or for some frames more.
void link::make_room() {
  auto pending = in_end_ - in_begin_;
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
    needed += h.size;
  }
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

void link::on_readable() {
  auto self = shared_from_this();
  for (int i = 0; i < reads_per_event && !in_closed_; ++i) {
    try {
      make_room();
    } catch (const std::bad_alloc&) {
      return end("no memory for the frame that arrives");
    }
    auto space = in_->size() - in_end_;
    auto result = stream_->read({in_->data() + in_end_, space});
    if (result.what == stream_result::status::would_block)
      return;
    if (result.what == stream_result::status::ended)
      return end(in_end_ == in_begin_ ? "the connection was closed" : "the connection was closed within a frame");
    if (result.what == stream_result::status::failed)
      return end(std::strerror(result.error));
    in_end_ += result.bytes;
    bytes_received_.fetch_add(result.bytes, std::memory_order_relaxed);
    if (!parse() || result.bytes < space)
      return;
  }
}

bool link::parse() {
  while (!in_closed_ && in_end_ - in_begin_ >= sizeof(frame_header)) {
    frame_view f;
    std::memcpy(&f.header, in_->data() + in_begin_, sizeof f.header);
    auto& h = f.header;
    if (auto wrong = check(h); !wrong.empty()) {
      end(wrong);
      return false;
    }
    auto& last = received_[static_cast<std::size_t>(h.in_lane)];
    if (h.number != last.load(std::memory_order_relaxed) + 1) {
      end("frame " + std::to_string(h.number) + " of lane " + std::to_string(static_cast<unsigned>(h.in_lane)) + " came after frame "
          + std::to_string(last.load()));
      return false;
    }
    if (in_end_ - in_begin_ - sizeof h < h.size)
      return true;
    last.store(h.number, std::memory_order_relaxed);
    f.payload = {in_->data() + in_begin_ + sizeof h, static_cast<std::size_t>(h.size)};
    f.owner = in_;
    in_begin_ += sizeof h + static_cast<std::size_t>(h.size);
    frames_received_.fetch_add(1, std::memory_order_relaxed);
    try {
      observer_.frame_arrived(*this, f);
    } catch (const std::exception& e) {
      end("a " + to_string(h.kind) + " frame that can't be read: " + e.what());
      return false;
    }
  }
  return !in_closed_;
}

void link::end(const std::string& why) {
  if (in_closed_)
    return;
  close();
  observer_.link_ended(*this, why);
}

void link::close() {
  if (in_closed_)
    return;
  flush();
  in_closed_ = true;
  stream_->close();
  std::lock_guard guard{out_mutex_};
  closed_ = true;
  for (auto& l : out_)
    l.segments.clear();
  if (!writing_)
    in_flight_.clear();
}

} // namespace troupe
