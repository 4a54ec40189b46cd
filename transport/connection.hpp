#pragma once

#include "troupe/transport/byte_stream.hpp"
#include "troupe/transport/frame.hpp"
#include "troupe/transport/handshake.hpp"
#include "troupe/transport/loop.hpp"
#include "troupe/transport/proc_id.hpp"

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace troupe {

/// What two processes that know the cookie tell each other about themselves.
struct hello {
  /// Random number of the cluster; 0 for a worker that belongs to none yet.
  std::uint64_t cluster = 0;
  /// Who is speaking; 0 for a worker that has no id yet.
  proc_id from = 0;
  /// Who is meant. To a worker that has no id yet this is its id from now on.
  proc_id to = 0;
  std::string host;
  std::int64_t os_pid = 0;
  /// Of the executable: unnamed functions can be called where it is the same.
  std::string build_id;
  /// Hashes of the names of the message types that the speaker knows; their positions are their numbers on this link.
  std::vector<std::uint64_t> types;
  /// The highest number that the speaker has received in each lane of the session, which goes on from there.
  std::array<std::uint64_t, 3> received{};
  /// By which a worker that has no id yet and dials its master is known there: it was told so by who started it.
  std::string claim{};

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, hello& x) {
    return f(x.cluster, x.from, x.to, x.host, x.os_pid, x.build_id, x.types, x.received, x.claim);
  }
};

/// A stream whose two ends trust each other and know who they are.
struct established {
  std::unique_ptr<byte_stream> stream;
  hello peer;
  /// Bytes of frames that came with the hello.
  std::vector<std::byte> leftover;
};

/// Whether a peer is welcome.
struct verdict {
  /// Empty if it is, otherwise what it is told.
  std::string why_not;
  /// The cluster has declared it lost: it is told to end.
  bool dismissed = false;

  verdict() = default;
  verdict(std::string why, bool lost = false) : why_not(std::move(why)), dismissed(lost) {}
};

/// Brings a fresh stream from nothing to `established`: handshake, then hellos. Lives until `done` has been called,
/// which happens once, before the limit has passed. Nothing of the peer's is decoded before it has proved that it knows
/// the cookie, and it costs no more than a kilobyte until then. Loop thread only.
class connection : public std::enable_shared_from_this<connection> {
public:
  struct settings {
    handshake::role role;
    std::string cookie;
    /// 0: its owner keeps the time.
    std::chrono::milliseconds limit;
    /// The peer has proved that it knows the cookie. May be empty.
    std::function<void()> proved;
    /// Makes our own hello. An acceptor is asked after `check`.
    std::function<hello()> introduce;
    std::function<verdict(const hello&)> check;
    /// Gets the stream, or null and why not.
    std::function<void(std::unique_ptr<established>, std::string)> done;
    /// The peer says that this process has been declared lost; `done` is called next. May be empty.
    std::function<void(const std::string& why)> dismissed;
  };

  static void start(loop& l, std::unique_ptr<byte_stream> stream, settings s);

  /// For an owner that may have to end it: does nothing before `start`.
  connection(loop& l, std::unique_ptr<byte_stream> stream, settings s);

  /// Once. May call `done` before it returns. Throws what the stream throws when it can't be watched; it is not over then.
  void start();

  /// Ends it for a reason that only its owner sees, if it is not over; see handshake::abandon.
  void abandon(const std::string& what_peer_did);

  /// What was wrong with the handshake; `none` if that is not why it ended.
  handshake::failure_kind failure_reason() const { return handshake_.failure_reason(); }

  /// Who is at the other end. Not once it is established.
  std::string peer() const { return stream_->peer(); }

private:
  void on_readable();
  void out_of_time();
  void take(std::span<const std::byte> in);
  void take_hello();
  void send_hello();
  void send_refusal(const verdict& v);
  void send(std::span<const std::byte> bytes);
  void finish(hello peer);
  void fail(std::string why);

  loop& loop_;
  std::unique_ptr<byte_stream> stream_;
  settings settings_;
  handshake handshake_;
  std::vector<std::byte> input_; // of the hello, after the handshake
  loop::timer_id timer_ = 0;
  bool introduced_ = false; // a dialler has sent its hello
  bool done_ = false;
};

} // namespace troupe
