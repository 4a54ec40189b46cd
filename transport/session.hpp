#pragma once

#include "troupe/transport/byte_stream.hpp"
#include "troupe/transport/frame.hpp"
#include "troupe/transport/loop.hpp"
#include "troupe/transport/outgoing_lane.hpp"
#include "troupe/transport/proc_id.hpp"

#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace troupe {

/// Whether a frame leaves in the calling thread, because its sender is about to wait for the answer, or with the loop's
/// next batch.
enum class urgency { batched, now };

/// What two processes have to say to each other, from the first frame to the last, over one link after the other: frames
/// are numbered in each lane, kept until the peer acknowledges them, and go on over a new link where the last one
/// ended, each once and in order.
///
/// What a sender may have on its way is bounded in two ways. Credit: frames of a flow count from `push` until the peer has
/// dealt with them (`consumed` there), so that a fast producer doesn't fill its consumer's memory. Transit: all that
/// the peer hasn't acknowledged. Beyond either, `push` takes no more from those who may wait.
///
/// Sending is possible from any thread, with a link or without; receiving happens on the loop's thread.
///
/// Locking: `out_mutex_` guards everything that sending uses; it is never held during a system call, nor while another
/// lock is taken. One thread at a time writes (`writing_`), and looks again before it stops, so that nobody has to wait
/// for it. Members with `in_` belong to the loop's thread.
class session : public std::enable_shared_from_this<session> {
public:
  using numbers = std::array<std::uint64_t, lane_count>;

  /// Gets what arrives, on the loop's thread.
  class observer {
  public:
    virtual ~observer() = default;
    /// Throwing ends the link with the exception's text as reason; the frame counts as received.
    virtual void frame_arrived(session& from, frame_view& f) = 0;
    /// A large value begins to arrive: `beginning` of its `total` bytes. May say where a block of it is to lie; see
    /// reader::seek_landing. Must not throw.
    virtual std::unique_ptr<landing> frame_begins(session&, const frame_header&, std::span<const std::byte> /*beginning*/,
                                                  std::uint64_t /*total*/) {
      return nullptr;
    }
    /// The link has ended without `detach` or `close`. `violated`: the peer sent what it must not.
    virtual void link_ended(session& which, const std::string& why, bool violated) = 0;
  };

  struct limits {
    /// For each flow, in bytes by cost_of: 60,000 small frames.
    std::uint64_t window = 16 << 20;
    /// Bytes on the wire, for large frames and for all others.
    std::uint64_t transit = 16 << 20;
  };

  struct counts {
    std::uint64_t frames_sent = 0;
    std::uint64_t bytes_sent = 0;
    std::uint64_t frames_received = 0;
    std::uint64_t bytes_received = 0;
    /// How often somebody had to wait for room, and how many wait now.
    std::uint64_t waits = 0;
    std::uint64_t waiting = 0;
    /// Bytes that the peer hasn't acknowledged, and frames by cost that it hasn't dealt with.
    std::uint64_t in_transit = 0;
    std::uint64_t unconsumed = 0;
  };

  /// `watcher` must outlive the session, or close it first.
  session(loop& l, proc_id peer, observer& watcher, limits most);
  session(const session&) = delete;
  session& operator=(const session&) = delete;

  /// Goes on over a new link, in place of the present one if there's any. `received_by_peer` is what the peer says of
  /// itself; `leftover` are bytes of frames that came with the handshake. Returns empty, or why the peer can't be the one of
  /// before. Loop thread.
  std::string attach(std::unique_ptr<byte_stream> stream, std::span<const std::byte> leftover, const numbers& received_by_peer);
  /// Gives up the link, if there's one; what is sent waits for the next. Loop thread.
  void detach();
  /// Drops all that waits for the first link. Must not have had one. Loop thread.
  void abandon();
  /// Ends the session; `link_ended` isn't called. What was pushed before and fits into the stream is still sent. Frames that are
  /// pushed later are dropped. Loop thread.
  void close();

  proc_id peer() const { return peer_; }
  bool attached() const { return attached_.load(std::memory_order_acquire); }
  /// The highest number that has arrived in each lane. Loop thread.
  numbers received() const;
  /// When something last arrived. Loop thread.
  loop::clock::time_point last_heard() const { return in_last_heard_; }
  /// What the link is made of; empty without one. Any thread.
  std::string kind() const;

  /// See byte_stream. Loop thread.
  bool peer_answers() const;

  enum class outcome { taken, full };

  /// Sends a finished frame (see frame_builder::finish), which is taken over or copied unless the answer is `full`. Any
  /// thread.
  outcome push(frame_builder& frame, urgency u, flow f, bool may_wait);
  /// The same for a frame in one piece.
  outcome push(byte_buffer& frame, urgency u, flow f, bool may_wait, std::vector<outside_block>* outside = nullptr);
  /// What lies outside of frames and is kept by `keeper` need not stay any more. Blocks until nobody reads it, which is soon. Any
  /// thread but the loop's.
  void take_back(const std::shared_ptr<const void>& keeper);
  /// Sends a frame about the link itself: unnumbered, and lost with the link. Any thread.
  void push_unnumbered(byte_buffer& frame);
  /// Calls `ready` once when there is room again for a frame of that size, header included (0: a small one), or the
  /// session has ended; at once if that is so already. From any thread, on any thread.
  void when_room(flow f, std::function<void()> ready, std::size_t bytes = 0);
  /// A frame of this flow that arrived here has been dealt with: its sender may send as much more. Any thread.
  void consumed(flow f, std::uint64_t cost) {
    auto i = static_cast<std::size_t>(f);
    auto total = consumed_[i].fetch_add(cost, std::memory_order_relaxed) + cost;
    if (f != flow::none && total - told_consumed_[i].load(std::memory_order_relaxed) >= most_.window / 4)
      post_status();
  }
  /// Lets the peer send as much again although what it sent has not been dealt with: the way out where processes wait for each
  /// other in a circle. Loop thread.
  void grant_more();

  /// Tells the peer what has been received and consumed, which is also a sign of life. Loop thread.
  void send_status();

  /// Frees memory that is kept for traffic to come. Loop thread.
  void rest();

  counts count() const;
  /// Whether somebody waits for credit, and the peer has dealt with nothing since the last call. Loop thread.
  bool starved();

private:
  struct assembly {
    frame_header header;
    std::size_t total = 0;
    std::shared_ptr<byte_buffer> buffer; // but for the block that lands elsewhere
    std::unique_ptr<landing> landed;
    std::size_t filled = 0;  // by whole chunks
    std::size_t partial = 0; // of the next one

    /// The memory of the next bytes, which may be fewer.
    std::span<std::byte> space(std::size_t bytes);
  };
  struct waiter {
    flow of;
    std::size_t bytes;
    std::function<void()> ready;
  };
  // A range of a segment's bytes on the wire that is being written.
  struct flight {
    segment* what;
    std::size_t from;
    std::size_t to;
  };

  static constexpr std::size_t index(lane l) { return static_cast<std::size_t>(l); }
  static constexpr std::size_t index(flow f) { return static_cast<std::size_t>(f); }
  std::uint64_t in_flight(flow f) const;
  bool room(flow f, std::size_t bytes) const;
  void append(byte_buffer& frame, flow f, std::vector<outside_block>* outside);
  void ring_or_flush(std::unique_lock<std::mutex>& lock, urgency u);
  void flush();
  bool gather();
  void advance(std::size_t written);
  void on_writable(std::uint64_t generation);
  void settle_acknowledged();
  std::vector<std::function<void()>> take_ready_waiters();
  std::vector<std::unique_ptr<segment>> take_retired();
  bool keeps_behind_bulk(const byte_buffer& frame, const frame_header& h) const;
  void post_status();

  void begin_input(std::span<const std::byte> leftover);
  void drop_input();
  void on_readable(std::uint64_t generation);
  void read_some();
  void make_room();
  bool read_chunk_rest();
  bool parse();
  bool parse_one();
  bool take_unnumbered(const frame_header& h);
  bool take_chunk(const frame_header& h);
  void begin_assembly(const frame_header& h, std::span<const std::byte> beginning, std::uint64_t total);
  void finish_chunk(const frame_header& h);
  frame_view take_frame(const frame_header& h);
  void deliver(frame_view& f);
  std::size_t available() const { return in_end_ - in_begin_; }
  void end(const std::string& why, bool violated);

  loop& loop_;
  const proc_id peer_;
  observer& observer_;
  const limits most_;

  mutable std::mutex out_mutex_;
  std::shared_ptr<byte_stream> stream_; // changed by the loop's thread
  std::array<outgoing_lane, lane_count> out_;
  std::deque<flight> in_flight_;
  std::vector<std::unique_ptr<segment>> retired_; // acknowledged, but perhaps still being written to a link that has ended
  std::vector<std::pair<std::uint64_t, std::uint64_t>> bulk_order_; // what must not pass: key, last number in the bulk lane
  std::array<std::uint64_t, flow_count> sent_{};
  std::array<std::uint64_t, flow_count> consumed_by_peer_{};
  std::vector<waiter> waiters_;
  numbers acknowledged_{}; // by the peer
  std::uint64_t waits_ = 0;
  std::uint64_t generation_ = 0; // of links
  bool writing_ = false;
  bool blocked_ = false; // the stream takes no more for now
  bool flush_posted_ = false;
  bool closed_ = false;

  std::atomic<bool> attached_{false};
  std::atomic<bool> status_posted_{false};
  std::array<std::atomic<std::uint64_t>, flow_count> consumed_{};
  std::array<std::atomic<std::uint64_t>, flow_count> told_consumed_{};

  std::shared_ptr<byte_buffer> in_;
  std::size_t in_begin_ = 0;
  std::size_t in_end_ = 0;
  std::uint64_t in_skip_ = 0; // bytes of a frame that has been received before
  std::optional<assembly> in_assembly_;
  frame_header in_chunk_;
  std::size_t in_chunk_left_ = 0; // of the chunk that is read into the assembly directly
  numbers in_acknowledged_{};     // as the peer's frames tell
  numbers in_settled_{};          // of that, what is in acknowledged_
  std::uint64_t in_untold_ = 0;   // bytes since the last status
  std::uint64_t in_starved_at_ = 0;
  std::array<std::uint64_t, flow_count> in_granted_{};
  loop::clock::time_point in_last_heard_{};

  // Written by the loop's thread, read by senders, who tell the peer.
  std::array<std::atomic<std::uint64_t>, lane_count> received_{};
  std::atomic<std::uint64_t> frames_sent_{0};
  std::atomic<std::uint64_t> bytes_sent_{0};
  std::atomic<std::uint64_t> frames_received_{0};
  std::atomic<std::uint64_t> bytes_received_{0};
};

} // namespace troupe
