#pragma once

#include "troupe/transport/byte_buffer.hpp"
#include "troupe/transport/codec.hpp"

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace troupe {

/// What a frame is about. The numbers are the protocol's (docs/protocol.md) and never change their meaning.
enum class frame_kind : std::uint8_t {
  hello = 1,
  refusal = 2,
  status = 3,
  goodbye = 4,
  dismissal = 6,

  join = 16,
  joined = 17,
  members = 18,
  members_seen = 19,
  leave = 20,
  dial = 21,
  doubt = 22,
  stalled = 23,
  named = 24,
  unnamed = 25,
  named_seen = 26,
  drain = 27,
  drained = 28,

  call = 32,
  reply = 33,
  cancel = 34,
  ask = 35,
  counts = 36,
  array = 37,

  message = 48,
  watch = 49,
  down = 50,
  link = 51,
  unlink = 52,
  moved = 53,

  relay = 64,
};

/// "call", "reply", …; "kind 77" for one that isn't known.
std::string to_string(frame_kind);

/// Frames of one lane arrive in the order in which they were sent; those of another may pass them. Large values go in the
/// bulk lane, and with them what must not pass them.
enum class lane : std::uint8_t { control = 0, ordinary = 1, bulk = 2 };

inline constexpr std::size_t lane_count = 3;

/// The lane in which frames of a kind travel.
lane lane_of(frame_kind);

/// What a frame's size counts against at its receiver until it has been dealt with: see session.
enum class flow : std::uint8_t { none = 0, calls = 1, messages = 2 };

inline constexpr std::size_t flow_count = 3;

/// Bits of frame_header::flags.
namespace frame_flags {
/// The lowest two: the frame's flow.
inline constexpr std::uint16_t flow_mask = 3;
/// The first chunk of a value that travels in several: a u64 in front of its part tells the size of the whole.
inline constexpr std::uint16_t first_chunk = 4;
/// More chunks of the same value follow, next in this lane.
inline constexpr std::uint16_t more_chunks = 8;
/// Another chunk than the first.
inline constexpr std::uint16_t later_chunk = 16;
/// The payload ends with a list of references; see frame_builder.
inline constexpr std::uint16_t references = 32;
} // namespace frame_flags

/// What stands in front of each frame, in memory as on the wire.
struct frame_header {
  /// Bytes of payload behind the header.
  std::uint64_t size = 0;
  /// Counts the frames of this lane in this session, from 1. 0: about the link itself, not part of the session.
  std::uint64_t number = 0;
  /// The highest number of this lane that the sender has received.
  std::uint64_t acknowledged = 0;
  frame_kind kind = frame_kind::hello;
  troupe::lane in_lane = lane::control;
  /// See frame_flags.
  std::uint16_t flags = 0;
  /// Of the fields above: see seal.
  std::uint32_t checksum = 0;

  troupe::flow flow() const { return static_cast<troupe::flow>(flags & frame_flags::flow_mask); }
  bool chunk() const { return (flags & (frame_flags::first_chunk | frame_flags::later_chunk)) != 0; }
};

static_assert(sizeof(frame_header) == 32);

/// Sets the checksum, which tells a header from bytes that are none: a stream that got out of step is noticed at once.
void seal(frame_header&);

/// No frame is larger: what claims to be is not a frame.
inline constexpr std::uint64_t max_frame_size = std::uint64_t{1} << 40;

/// Empty if the header can be one of this protocol; otherwise what is wrong with it.
std::string check(const frame_header&);

/// What a frame counts against its flow, in bytes: its payload, and about what the smallest one costs its receiver.
constexpr std::uint64_t cost_of(std::uint64_t payload) { return payload + 256; }

class session;

/// The share of its flow that a frame has used up. It is given back to the sender when this ends: keep it until what the
/// frame brought has been dealt with. Its session must outlive it; any thread.
class credit {
public:
  credit() = default;
  credit(session& from, flow f, std::uint64_t cost) : from_(&from), flow_(f), cost_(cost) {}
  credit(credit&& other) noexcept : from_(std::exchange(other.from_, nullptr)), flow_(other.flow_), cost_(other.cost_) {}
  credit& operator=(credit&& other) noexcept {
    std::swap(from_, other.from_);
    std::swap(flow_, other.flow_);
    std::swap(cost_, other.cost_);
    return *this;
  }
  ~credit() {
    if (from_ != nullptr)
      give_back();
  }

private:
  void give_back();

  session* from_ = nullptr;
  flow flow_ = flow::none;
  std::uint64_t cost_ = 0;
};

/// A frame that has arrived: its payload lies in a buffer that is kept while `owner` lives, but for a large block that may
/// have `landed` where it is to end up. Set both with a reader.
struct frame_view {
  frame_header header;
  std::span<const std::byte> payload;
  std::shared_ptr<const byte_buffer> owner;
  std::unique_ptr<landing> landed;
  /// What the payload refers to, once the list at its end has been taken off.
  std::vector<held_reference_ptr> references;
  troupe::credit credit;
};

/// Takes the list of references off the end of a frame's payload. Throws codec_error if there's none.
std::vector<ref_id> take_reference_list(frame_view& f);

/// A frame under construction: write the payload, then hand it to a link. Small frames are copied into the link's
/// batch, so one builder can be used again and again; large ones are handed over, and blocks of theirs may lie elsewhere.
class frame_builder {
public:
  explicit frame_builder(actor_codec* actors = nullptr) : writer_(data_, actors) {
    writer_.set_outside(&outside_);
    writer_.set_references(&references_);
  }

  /// Writes handles from now on with another codec, or none.
  void set_actors(actor_codec* actors) { writer_.set_actors(actors); }
  frame_builder(const frame_builder&) = delete;
  frame_builder& operator=(const frame_builder&) = delete;

  /// Begins a new frame, whose payload is what `out` gets from now on.
  frame_builder& start(frame_kind kind);

  writer& out() { return writer_; }

  frame_kind kind() const { return kind_; }

  /// Header and payload but for what lies `outside`, with the header's size set, which counts all. The checksum is a session's
  /// business.
  byte_buffer& finish();

  std::vector<outside_block>& outside() { return outside_; }

  /// What the payload refers to. `finish` lists it at the payload's end: i32 where, i32 whence, u64 id for each, then their u32 number.
  std::vector<held_reference_ptr>& references() { return references_; }

  /// Bytes of header and payload.
  std::size_t size() const;

  /// Header and payload in one piece.
  byte_buffer& finish_whole();

  /// The same with its checksum, as it is sent where there's no session.
  byte_buffer& finish_sealed();

private:
  byte_buffer data_;
  std::vector<outside_block> outside_;
  std::vector<held_reference_ptr> references_;
  bool listed_ = false; // the references
  writer writer_;
  frame_kind kind_ = frame_kind::hello;
};

/// One of the calling thread's builders, which are kept for the next frame: most frames cost no allocation.
class borrowed_builder {
public:
  explicit borrowed_builder(actor_codec* actors);
  ~borrowed_builder();
  borrowed_builder(const borrowed_builder&) = delete;
  borrowed_builder& operator=(const borrowed_builder&) = delete;

  frame_builder& operator*() { return *builder_; }

  frame_builder* operator->() { return builder_.get(); }

private:
  std::unique_ptr<frame_builder> builder_;
};

} // namespace troupe
