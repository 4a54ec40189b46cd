#pragma once

#include "troupe/transport/byte_buffer.hpp"
#include "troupe/transport/codec.hpp"

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace troupe {

/// What a frame is about. The numbers are the protocol's (docs/protocol.md) and never change their meaning.
enum class frame_kind : std::uint8_t {
  hello = 1,
  refusal = 2,
  heartbeat = 3,
  goodbye = 4,
  acknowledgement = 5,

  join = 16,
  joined = 17,
  members = 18,
  members_seen = 19,
  leave = 20,
  dial = 21,

  call = 32,
  reply = 33,
  cancel = 34,

  message = 48,
  watch = 49,
  down = 50,
  link = 51,
  unlink = 52,
  moved = 53,
};

/// "call", "reply", …; "kind 77" for one that isn't known.
std::string to_string(frame_kind);

/// Frames of one lane arrive in the order in which they were sent; those of another may pass them.
enum class lane : std::uint8_t { control = 0, ordinary = 1, bulk = 2 };

inline constexpr std::size_t lane_count = 3;

/// The lane in which frames of a kind travel.
lane lane_of(frame_kind);

/// What stands in front of each frame, in memory as on the wire.
struct frame_header {
  /// Bytes of payload behind the header.
  std::uint64_t size = 0;
  /// Counts the frames of this lane on this session, from 1.
  std::uint64_t number = 0;
  /// The highest number of this lane that the sender has received.
  std::uint64_t acknowledged = 0;
  frame_kind kind = frame_kind::hello;
  troupe::lane in_lane = lane::control;
  /// None is defined in version 1: must be 0.
  std::uint16_t flags = 0;
  /// Which of several interleaved values a chunk belongs to. 0: the frame is whole.
  std::uint32_t stream = 0;
};

static_assert(sizeof(frame_header) == 32);

/// No frame is larger: what claims to be is not a frame.
inline constexpr std::uint64_t max_frame_size = std::uint64_t{1} << 40;

/// Empty if the header can be one of this protocol; otherwise what is wrong with it.
std::string check(const frame_header&);

/// A frame that has arrived: its payload lies in a buffer that is kept while `owner` lives.
struct frame_view {
  frame_header header;
  std::span<const std::byte> payload;
  std::shared_ptr<const byte_buffer> owner;
};

/// A frame under construction: write the payload, then hand it to a link. Small frames are copied into the link's
/// batch, so one builder can be used again and again; large ones are handed over.
class frame_builder {
public:
  explicit frame_builder(actor_codec* actors = nullptr) : writer_(data_, actors) {
  }

  /// Writes handles from now on with another codec, or none.
  void set_actors(actor_codec* actors) {
    writer_.set_actors(actors);
  }
  frame_builder(const frame_builder&) = delete;
  frame_builder& operator=(const frame_builder&) = delete;

  /// Begins a new frame, whose payload is what `out` gets from now on.
  frame_builder& start(frame_kind kind);

  writer& out() {
    return writer_;
  }

  frame_kind kind() const {
    return kind_;
  }

  /// Header and payload, with the header's size set.
  byte_buffer& finish();

private:
  byte_buffer data_;
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

  frame_builder& operator*() {
    return *builder_;
  }

  frame_builder* operator->() {
    return builder_.get();
  }

private:
  std::unique_ptr<frame_builder> builder_;
};

} // namespace troupe
