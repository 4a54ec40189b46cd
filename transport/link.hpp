#pragma once

#include "troupe/transport/byte_stream.hpp"
#include "troupe/transport/frame.hpp"
#include "troupe/transport/loop.hpp"

#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <span>
#include <string>

namespace troupe {

/// Whether a frame leaves in the calling thread, because its sender is about to wait for the answer, or with the loop's
/// next batch.
enum class urgency { batched, now };

/// Frames over one byte stream, in three lanes. Sending is possible from any thread; receiving happens on the loop's.
///
/// Locking: `out_mutex_` guards everything that sending uses; it is never held during a system call, nor while another
/// lock is taken. One thread at a time writes (`writing_`), and looks again before it stops, so that nobody has to wait
/// for it. Members with `in_` belong to the loop's thread.
class link : public std::enable_shared_from_this<link> {
public:
  /// Gets what arrives, on the loop's thread.
  class observer {
  public:
    virtual ~observer() = default;
    /// Throwing closes the link with the exception's text as reason.
    virtual void frame_arrived(link& from, frame_view& f) = 0;
    /// Called once, when the link ends without `close`.
    virtual void link_ended(link& which, const std::string& why) = 0;
  };

  /// `watcher` must outlive the link, or close it first.
  link(loop& l, std::unique_ptr<byte_stream> stream, observer& watcher);
  link(const link&) = delete;
  link& operator=(const link&) = delete;

  /// Begins to receive; `leftover` are bytes of frames that came with the handshake. Loop thread.
  void start(std::span<const std::byte> leftover);

  /// Sends a finished frame (see frame_builder::finish), which is taken over or copied. Any thread. Once the link has
  /// ended, frames are dropped.
  void push(byte_buffer& frame, urgency u);

  /// Ends the link. `link_ended` isn't called. What was pushed before and fits into the stream is still sent. Loop thread.
  void close();

  std::string kind() const {
    return stream_->kind();
  }

  std::string peer() const {
    return stream_->peer();
  }

  std::uint64_t frames_sent() const {
    return frames_sent_.load(std::memory_order_relaxed);
  }

  std::uint64_t bytes_sent() const {
    return bytes_sent_.load(std::memory_order_relaxed);
  }

  std::uint64_t frames_received() const {
    return frames_received_.load(std::memory_order_relaxed);
  }

  std::uint64_t bytes_received() const {
    return bytes_received_.load(std::memory_order_relaxed);
  }

private:
  struct out_lane {
    std::deque<byte_buffer> segments;
    std::uint64_t last_number = 0;
  };

  void append(byte_buffer& frame);
  void flush();
  bool gather();
  void advance(std::size_t written);
  void on_writable();

  void on_readable();
  void make_room();
  bool parse();
  void end(const std::string& why);

  loop& loop_;
  std::unique_ptr<byte_stream> stream_;
  observer& observer_;

  std::mutex out_mutex_;
  std::array<out_lane, lane_count> out_;
  std::deque<byte_buffer> in_flight_; // taken from the lanes, on its way
  std::size_t in_flight_done_ = 0;    // bytes of its first segment that have left
  bool writing_ = false;
  bool blocked_ = false; // the stream takes no more for now
  bool flush_posted_ = false;
  bool closed_ = false;

  std::shared_ptr<byte_buffer> in_;
  std::size_t in_begin_ = 0;
  std::size_t in_end_ = 0;
  bool in_closed_ = false;

  // Written by the loop's thread, read by senders, who tell the peer.
  std::array<std::atomic<std::uint64_t>, lane_count> received_{};
  std::atomic<std::uint64_t> frames_sent_{0};
  std::atomic<std::uint64_t> bytes_sent_{0};
  std::atomic<std::uint64_t> frames_received_{0};
  std::atomic<std::uint64_t> bytes_received_{0};
};

} // namespace troupe
