#pragma once

#include "troupe/transport/byte_buffer.hpp"
#include "troupe/transport/frame.hpp"

#include <cstdint>
#include <deque>
#include <memory>
#include <sys/uio.h>
#include <vector>

namespace troupe {

/// Frames that lie together in memory: a batch of small ones, or a single large one, which goes as chunks if it is very
/// large. Offsets count bytes on the wire, where each chunk has a header of its own.
class segment {
public:
  /// Payloads above this size travel in chunks of it.
  static constexpr std::size_t chunk_size = 1 << 20;

  /// The first and the last number that it holds.
  std::uint64_t first = 0;
  std::uint64_t last = 0;
  /// What is in flight or beyond, and what has been written.
  std::size_t taken = 0;
  std::size_t written = 0;
  /// Whether more may be added: not once a link has had any of it, which may still be reading the memory.
  bool open = false;
  byte_buffer data;
  /// Of a frame that goes as chunks.
  std::vector<outside_block> outside;

  /// Otherwise it holds frames that aren't counted.
  bool numbered() const { return last >= first; }

  std::size_t size() const { return chunk_headers_.empty() ? data.size() : payload_size_ + chunk_headers_.size(); }

  /// Makes it chunks of the frame that it holds; `h` is that frame's header, with the number of its first chunk. Returns how
  /// many.
  std::uint64_t cut(frame_header h);

  /// Where a frame may be followed by another lane's: the end of the chunk at `offset`, or of all the frames.
  std::size_t next_end(std::size_t offset) const;

  /// Where frame `number` begins, or the next one that the segment holds.
  std::size_t offset_of(std::uint64_t number) const;

  /// The memory of [from, to), at most `most` pieces; returns how many.
  std::size_t pieces(std::size_t from, std::size_t to, iovec* out, std::size_t most) const;

  /// Copies what `keeper` keeps, which may go then. Not while it is being written.
  void own(const void* keeper);

private:
  std::size_t chunk_begin(std::size_t i) const { return i * (sizeof(frame_header) + chunk_size) + (i == 0 ? 0 : sizeof(std::uint64_t)); }
  std::size_t chunk_at(std::size_t offset) const;
  std::size_t payload_pieces(std::size_t from, std::size_t to, iovec* out, std::size_t most) const;

  std::vector<std::byte> chunk_headers_; // one after the other, the first with the whole size behind it
  std::size_t payload_size_ = 0; // of the frame that goes as chunks
};

/// What one lane of a session has to send: frames that wait, then, until the peer has acknowledged them, those that have
/// been sent.
class outgoing_lane {
public:
  /// Frames below this size are copied into a batch; larger ones are handed over as they are.
  static constexpr std::size_t large_frame = 16 << 10;

  /// Takes over or copies a frame whose header is set but for the number, which it gets; returns the last number used
  /// for it. Only a frame that goes as chunks may have blocks outside.
  std::uint64_t append(byte_buffer& frame, frame_header h, std::vector<outside_block> outside = {});
  /// A frame that isn't counted.
  void append_unnumbered(const byte_buffer& frame);

  std::uint64_t last_number() const { return last_number_; }
  bool has_unsent() const { return next_ < queue_.size(); }
  /// Bytes on the wire that haven't been acknowledged.
  std::uint64_t bytes() const { return bytes_; }
  /// The segment that is to be sent next, from its `taken` on.
  segment& next() { return *queue_[next_]; }
  /// All of the next segment has been taken.
  void pass() { ++next_; }

  /// Moves what has been acknowledged and written to `retired`; returns its bytes.
  std::uint64_t acknowledge(std::uint64_t number, std::vector<std::unique_ptr<segment>>& retired);
  /// After the link has ended: all numbered frames after `received` are to be sent again, the rest retires. Returns its bytes.
  std::uint64_t rewind(std::uint64_t received, std::vector<std::unique_ptr<segment>>& retired);
  void clear(std::vector<std::unique_ptr<segment>>& retired);

  /// See segment::own.
  void own(const void* keeper);

  /// Keeps the memory of a segment that nobody uses any more for a batch to come, if it is fit for that and there is little of it.
  void recycle(segment& done);
  /// Frees what `recycle` has kept.
  void shrink();

private:
  void copy_into(bool numbered, const byte_buffer& frame, frame_header h);
  void make_room(byte_buffer& batch);
  segment& open_batch(std::size_t more, bool numbered);
  std::uint64_t retire_front(std::vector<std::unique_ptr<segment>>& retired);

  std::deque<std::unique_ptr<segment>> queue_;
  std::vector<byte_buffer> spare_;
  std::size_t next_ = 0; // of queue_: the first that isn't wholly taken
  std::uint64_t last_number_ = 0;
  std::uint64_t bytes_ = 0;
};

} // namespace troupe
