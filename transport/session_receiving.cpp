// What a session does with the bytes that arrive.

#include "troupe/transport/session.hpp"

#include <algorithm>
#include <cstring>
#include <new>

namespace troupe {

namespace {

constexpr std::size_t read_buffer_size = 256 << 10;
constexpr int reads_per_event = 8;
// A peer that only receives tells what it has received after as many bytes.
constexpr std::uint64_t untold_limit = 256 << 10;
// Control frames go whole: the list of all members is the largest.
constexpr std::uint64_t max_control_size = 256 << 20;
// What a large value begins with, as far as it is looked at before the rest has come.
constexpr std::uint64_t least_beginning = 4096;
// Frames about the link are small.
constexpr std::uint64_t max_unnumbered_size = 64 << 10;

// Whether nobody keeps a view of the buffer, so that it can be written again.
bool only_owner(const std::shared_ptr<byte_buffer>& buffer) {
  if (buffer.use_count() != 1)
    return false;
  // The count is read without ordering. Giving up a copy has it: what other threads have read was read before.
  auto copy = buffer;
  return true;
}

} // namespace

void session::begin_input(std::span<const std::byte> leftover) {
  in_->resize(std::max(read_buffer_size, leftover.size()));
  if (!leftover.empty())
    std::memcpy(in_->data(), leftover.data(), leftover.size());
  in_begin_ = 0;
  in_end_ = leftover.size();
}

// What came of a frame that wasn't whole comes again.
void session::drop_input() {
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
        space = in_assembly_->space(in_chunk_left_);
      } else {
        make_room();
        space = {in_->data() + in_end_, in_->size() - in_end_};
      }
    } catch (const std::exception&) {
      return end("no memory for the frame that arrives", true);
    }
    auto result = stream_->read(space);
    if (result.what == stream_result::status::would_block)
      return;
    if (result.what == stream_result::status::ended)
      return end(available() == 0 && in_chunk_left_ == 0 ? "the connection was closed" : "the connection was closed within a frame", false);
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
  frame_header h;
  std::memcpy(&h, in_->data() + in_begin_, sizeof h);
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
                 + std::to_string(received),
               true),
           false;
  if (h.number <= received) {
    in_skip_ = sizeof h + h.size; // received before, over another link
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
  auto f = take_frame(h);
  deliver(f);
  return true;
}

// The next frame, all of which is there.
frame_view session::take_frame(const frame_header& h) {
  frame_view f;
  f.header = h;
  f.payload = {in_->data() + in_begin_ + sizeof h, static_cast<std::size_t>(h.size)};
  f.owner = in_;
  in_begin_ += sizeof h + static_cast<std::size_t>(h.size);
  return f;
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
  auto f = take_frame(h);
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
  if (first && total > max_frame_size)
    return end("a value that claims " + std::to_string(total) + " bytes, more than the limit of " + std::to_string(max_frame_size), true),
           false;
  const auto left = first ? total : in_assembly_->total - in_assembly_->filled;
  const bool more = (h.flags & frame_flags::more_chunks) != 0;
  if (part == 0 || part > left || (part == left) == more)
    return end("a chunk of " + std::to_string(part) + " bytes where " + std::to_string(left) + " are missing", true), false;
  if (first) {
    if (in_end_ - at < std::min(part, least_beginning))
      return false;
    try {
      begin_assembly(h, {in_->data() + at, std::min<std::size_t>(part, in_end_ - at)}, total);
    } catch (const std::exception&) {
      return end("no memory for a value of " + std::to_string(total) + " bytes", true), false;
    }
  }
  auto& a = *in_assembly_;
  const auto here = std::min<std::size_t>(part, in_end_ - at);
  try {
    while (a.partial < here) {
      const auto to = a.space(here - a.partial);
      std::memcpy(to.data(), in_->data() + at + a.partial, to.size());
      a.partial += to.size();
    }
  } catch (const std::exception&) {
    return end("no memory for the value that arrives", true), false;
  }
  in_begin_ = at + here;
  if (here < part) {
    in_chunk_ = h;
    in_chunk_left_ = part - here;
    return false;
  }
  finish_chunk(h);
  return true;
}

void session::begin_assembly(const frame_header& h, std::span<const std::byte> beginning, std::uint64_t total) {
  assembly a;
  a.header = h;
  a.total = total;
  a.landed = observer_.frame_begins(*this, h, beginning, total);
  a.buffer = std::make_shared<byte_buffer>();
  a.buffer->resize(a.landed ? total - a.landed->size : total);
  in_assembly_ = std::move(a);
}

std::span<std::byte> session::assembly::space(std::size_t bytes) {
  const auto at = filled + partial;
  if (!landed)
    return {buffer->data() + at, bytes};
  const auto block_end = landed->in_front + landed->size;
  if (at < landed->in_front)
    return {buffer->data() + at, std::min(bytes, landed->in_front - at)};
  if (at >= block_end)
    return {buffer->data() + at - landed->size, bytes};
  bytes = std::min(bytes, block_end - at);
  return {landed->memory(at - landed->in_front, bytes), bytes};
}

void session::finish_chunk(const frame_header& h) {
  auto& a = *in_assembly_;
  a.filled += std::exchange(a.partial, 0);
  received_[index(lane::bulk)].store(h.number, std::memory_order_relaxed);
  if (a.filled < a.total)
    return;
  auto whole = std::move(a);
  in_assembly_.reset();
  send_status(); // whoever has lent its memory gets it back before the answer
  frame_view f;
  f.header = whole.header;
  f.header.size = whole.total;
  f.header.flags &= frame_flags::flow_mask | frame_flags::references;
  f.payload = *whole.buffer;
  f.owner = whole.buffer;
  f.landed = std::move(whole.landed);
  whole.buffer.reset();
  deliver(f);
}

} // namespace troupe
