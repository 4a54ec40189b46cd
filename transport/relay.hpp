#pragma once

#include "troupe/transport/byte_stream.hpp"
#include "troupe/transport/frame.hpp"
#include "troupe/transport/proc_id.hpp"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <tuple>

namespace troupe {

/// Byte streams between two processes that have no direct link, through a third that has one to both: the master. What
/// a stream carries travels in relay frames of the sessions with the master; no more than a window of it is ever on its
/// way, so that the master holds no more than that.
///
/// Loop thread only, but for what byte_stream says.
class relays {
public:
  struct settings {
    std::function<proc_id()> self;
    /// Sends a frame to a process that this one is connected to, or returns false. Any thread.
    std::function<bool(proc_id to, frame_builder&)> send;
    /// Gets a stream that another process has opened.
    std::function<void(std::unique_ptr<byte_stream>)> accept;
    loop* events = nullptr;
  };

  explicit relays(settings s);
  ~relays();

  /// A stream to another process. That it can't be had shows as its end.
  std::unique_ptr<byte_stream> open(proc_id to);

  /// Takes a relay frame: for this process, or on the master to be passed on. Throws codec_error for one that can't be read.
  void handle(const frame_view& f);

  /// Ends all streams with a process.
  void forget(proc_id peer);

private:
  friend class relay_stream;
  struct channel;
  using channel_ptr = std::shared_ptr<channel>;
  // The other end, who opened it, and the opener's number for it.
  using key = std::tuple<proc_id, proc_id, std::uint64_t>;

  void pass_on(proc_id to, proc_id from, const frame_view& f);
  channel_ptr add(const key& k);
  void remove(const key& k);

  settings settings_;
  std::map<key, channel_ptr> channels_;
  std::uint64_t last_number_ = 0;
};

} // namespace troupe
