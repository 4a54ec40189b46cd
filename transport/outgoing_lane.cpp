#include "troupe/transport/outgoing_lane.hpp"

#include <algorithm>
#include <cstring>

namespace troupe {

namespace {

constexpr std::size_t batch_size = 64 << 10;
// As much as may be on its way without an acknowledgement, more or less.
constexpr std::size_t most_spare = 8;

frame_header header_at(const byte_buffer& data, std::size_t offset) {
  frame_header h;
  std::memcpy(&h, data.data() + offset, sizeof h);
  return h;
}

} // namespace

// -- segment ----------------------------------------------------------------------------------------------------------

std::uint64_t segment::cut(frame_header h) {
  const std::uint64_t total = h.size;
  payload_size_ = total;
  const auto count = (total + chunk_size - 1) / chunk_size;
  chunk_headers_.resize(count * sizeof h + sizeof total);
  auto at = chunk_headers_.data();
  for (std::uint64_t i = 0; i < count; ++i) {
    auto c = h;
    c.number = h.number + i;
    c.size = std::min<std::uint64_t>(chunk_size, total - i * chunk_size) + (i == 0 ? sizeof total : 0);
    c.flags |= i == 0 ? frame_flags::first_chunk : frame_flags::later_chunk;
    if (i + 1 < count)
      c.flags |= frame_flags::more_chunks;
    seal(c);
    std::memcpy(at, &c, sizeof c);
    at += sizeof c;
    if (i == 0) {
      std::memcpy(at, &total, sizeof total);
      at += sizeof total;
    }
  }
  first = h.number;
  last = h.number + count - 1;
  return count;
}

std::size_t segment::chunk_at(std::size_t offset) const {
  return offset < sizeof(std::uint64_t) ? 0 : (offset - sizeof(std::uint64_t)) / (sizeof(frame_header) + chunk_size);
}

std::size_t segment::next_end(std::size_t offset) const {
  return chunk_headers_.empty() ? size() : std::min(size(), chunk_begin(chunk_at(offset) + 1));
}

std::size_t segment::offset_of(std::uint64_t number) const {
  if (number <= first)
    return 0;
  if (!chunk_headers_.empty())
    return std::min(size(), chunk_begin(number - first));
  std::size_t offset = 0;
  while (offset < data.size()) {
    auto h = header_at(data, offset);
    if (h.number >= number)
      break;
    offset += sizeof h + h.size;
  }
  return offset;
}

std::size_t segment::pieces(std::size_t from, std::size_t to, iovec* out, std::size_t most) const {
  auto bytes = const_cast<std::byte*>(data.data());
  if (chunk_headers_.empty()) {
    if (most == 0 || from == to)
      return 0;
    out[0] = {bytes + from, to - from};
    return 1;
  }
  std::size_t n = 0;
  auto headers = const_cast<std::byte*>(chunk_headers_.data());
  for (auto i = chunk_at(from); n < most && from < to; ++i) {
    const auto begin = chunk_begin(i);
    const auto header_size = sizeof(frame_header) + (i == 0 ? sizeof(std::uint64_t) : 0);
    const auto end = std::min(to, chunk_begin(i + 1));
    if (from < begin + header_size) {
      const auto stop = std::min(end, begin + header_size);
      const auto header = i * sizeof(frame_header) + (i == 0 ? 0 : sizeof(std::uint64_t));
      out[n++] = {headers + header + (from - begin), stop - from};
      from = stop;
    }
    if (n < most && from < end) {
      const auto payload = i * chunk_size + (from - begin - header_size);
      const auto added = payload_pieces(payload, payload + (end - from), out + n, most - n);
      for (std::size_t k = n; k < n + added; ++k)
        from += out[k].iov_len;
      n += added;
    }
  }
  return n;
}

// The memory of [from, to) of the payload, at most `most` pieces.
std::size_t segment::payload_pieces(std::size_t from, std::size_t to, iovec* out, std::size_t most) const {
  std::size_t n = 0;
  std::size_t begin = 0; // of the part that comes next, in the payload
  const auto add = [&](const std::byte* part, std::size_t size) {
    const auto first = std::max(from, begin), last = std::min(to, begin + size);
    if (first < last && n < most)
      out[n++] = {const_cast<std::byte*>(part) + (first - begin), last - first};
    begin += size;
  };
  std::size_t at = sizeof(frame_header); // in data
  for (auto& block : outside) {
    add(data.data() + at, block.at - at);
    add(block.bytes.data(), block.bytes.size());
    at = block.at;
  }
  add(data.data() + at, data.size() - at);
  return n;
}

void segment::own(const void* keeper) {
  for (auto& block : outside) {
    if (block.keeper.get() != keeper)
      continue;
    auto copy = std::make_shared<byte_buffer>(copy_of(block.bytes));
    block.bytes = *copy;
    block.keeper = std::move(copy);
  }
}

// -- outgoing_lane ----------------------------------------------------------------------------------------------------

std::uint64_t outgoing_lane::append(byte_buffer& frame, frame_header h, std::vector<outside_block> outside) {
  h.number = last_number_ + 1;
  if (frame.size() < large_frame && outside.empty()) {
    copy_into(true, frame, h);
    return last_number_ = h.number;
  }
  auto s = std::make_unique<segment>();
  seal(h);
  std::memcpy(frame.data(), &h, sizeof h);
  s->data = std::move(frame);
  s->outside = std::move(outside);
  frame = byte_buffer{};
  s->first = s->last = h.number;
  last_number_ += h.in_lane == lane::bulk && h.size > segment::chunk_size ? s->cut(h) : 1;
  bytes_ += s->size();
  queue_.push_back(std::move(s));
  return last_number_;
}

void outgoing_lane::append_unnumbered(const byte_buffer& frame) { copy_into(false, frame, header_at(frame, 0)); }

void outgoing_lane::copy_into(bool numbered, const byte_buffer& frame, frame_header h) {
  seal(h);
  auto& batch = open_batch(frame.size(), numbered);
  if (numbered)
    batch.last = h.number;
  const auto to = extend(batch.data, frame.size());
  std::memcpy(to, frame.data(), frame.size());
  std::memcpy(to, &h, sizeof h);
  bytes_ += frame.size();
}

// The last segment if it is a batch of this sort that nobody has begun to send, and has room; otherwise a new one.
segment& outgoing_lane::open_batch(std::size_t more, bool numbered) {
  if (has_unsent()) {
    auto& back = *queue_.back();
    if (back.open && back.taken == 0 && back.numbered() == numbered && back.data.size() + more <= batch_size) {
      if (back.data.capacity() < batch_size)
        make_room(back.data); // the second frame makes it a batch: idle sessions stay small
      return back;
    }
  }
  auto s = std::make_unique<segment>();
  s->first = last_number_ + 1;
  s->last = last_number_;
  s->open = true;
  queue_.push_back(std::move(s));
  return *queue_.back();
}

void outgoing_lane::make_room(byte_buffer& batch) {
  byte_buffer roomy;
  if (spare_.empty()) {
    roomy.reserve(batch_size);
  } else {
    roomy = std::move(spare_.back());
    spare_.pop_back();
  }
  roomy.clear();
  troupe::append(roomy, batch);
  batch = std::move(roomy);
}

void outgoing_lane::recycle(segment& done) {
  if (spare_.size() < most_spare && done.data.capacity() == batch_size)
    spare_.push_back(std::move(done.data));
}

void outgoing_lane::shrink() { spare_ = {}; }

std::uint64_t outgoing_lane::retire_front(std::vector<std::unique_ptr<segment>>& retired) {
  auto bytes = queue_.front()->size();
  retired.push_back(std::move(queue_.front()));
  queue_.pop_front();
  if (next_ > 0)
    --next_;
  bytes_ -= bytes;
  return bytes;
}

std::uint64_t outgoing_lane::acknowledge(std::uint64_t number, std::vector<std::unique_ptr<segment>>& retired) {
  std::uint64_t bytes = 0;
  while (!queue_.empty() && queue_.front()->last <= number && queue_.front()->written == queue_.front()->size())
    bytes += retire_front(retired);
  return bytes;
}

std::uint64_t outgoing_lane::rewind(std::uint64_t received, std::vector<std::unique_ptr<segment>>& retired) {
  std::uint64_t bytes = 0;
  for (auto& s : queue_) {
    if (s->last <= received || !s->numbered()) {
      bytes += s->size();
      retired.push_back(std::move(s));
      continue;
    }
    s->open = s->open && s->taken == 0;
    s->taken = s->written = s->offset_of(received + 1);
  }
  std::erase(queue_, nullptr);
  next_ = 0;
  bytes_ -= bytes;
  return bytes;
}

void outgoing_lane::own(const void* keeper) {
  for (auto& s : queue_)
    s->own(keeper);
}

void outgoing_lane::clear(std::vector<std::unique_ptr<segment>>& retired) {
  while (!queue_.empty())
    retire_front(retired);
  next_ = 0;
}

} // namespace troupe
