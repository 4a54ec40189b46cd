#pragma once

#include "troupe/transport/connection.hpp"
#include "troupe/transport/error.hpp"
#include "troupe/transport/link.hpp"
#include "troupe/transport/tcp.hpp"

#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string>
#include <vector>

namespace troupe {

/// A direct link of this process.
struct link_status {
  proc_id peer = 0;
  std::string kind;
  std::uint64_t frames = 0;
  std::uint64_t bytes = 0;
};

/// The processes that this one knows, and its links to them. A frame for a process that has no link yet waits while one
/// is opened: of two processes the one with the higher id dials, asked to by way of the master if need be, so that two
/// never dial each other at once. The master dials every worker, which is how a worker gets its id.
///
/// `send` may be called from any thread, everything else on the loop's thread unless it says so.
/// Locking: `table_mutex_` guards the table, each peer's mutex the peer; a link's lock may be taken under a peer's.
class mesh : public link::observer {
public:
  struct settings {
    std::string cookie;
    /// 0 until the master has given one.
    proc_id id = 0;
    std::uint64_t cluster = 0;
    std::string host;
    std::string build_id;
    /// How long opening a link may take.
    std::chrono::milliseconds connect_limit{10000};
    /// See hello::types.
    std::vector<std::uint64_t> types;
  };

  /// What the mesh tells its owner, on the loop's thread. All must be set before the first link opens.
  struct events {
    std::function<void(proc_id from, frame_view&)> frame;
    /// A link is open.
    std::function<void(proc_id, const hello&)> up;
    /// An open link has ended. Whether the process lives is for others to say.
    std::function<void(proc_id, const std::string& why)> down;
    /// A link that was needed can't be had; what waited for it is dropped.
    std::function<void(proc_id, const error_info&)> unreachable;
    /// A worker has got its id.
    std::function<void(const hello&)> adopted;
    /// Somebody who wasn't let in, for the log.
    std::function<void(const std::string&)> refused;
  };

  mesh(loop& l, settings s, events e);
  ~mesh() override;

  proc_id id() const {
    return id_.load(std::memory_order_acquire);
  }

  std::uint64_t cluster() const {
    return cluster_.load(std::memory_order_acquire);
  }

  const std::string& cookie() const {
    return settings_.cookie;
  }

  void set_cookie(std::string cookie) {
    settings_.cookie = std::move(cookie);
  }

  /// Lets others in at this address. May be called before the loop runs.
  endpoint listen(const std::string& address, std::uint16_t port);

  /// Master: gives a worker that listens at `where` its id and opens the link to it.
  void adopt(proc_id id, const endpoint& where, std::chrono::milliseconds limit,
             std::function<void(std::string why_not)> done);

  /// Makes a process known, so that it can be sent to. A port of 0: it can't be dialled.
  void add(proc_id id, const endpoint& where);

  /// Opens the link to a known process now. Does nothing if there is one.
  void connect(proc_id id);

  /// From now on sending to it gives this error. Ends its link; what waited for it is dropped.
  void mark_gone(proc_id id, error_info why);

  /// Sends, or returns why that is impossible: the process is gone or was never known. A worker may not have heard yet of
  /// a process that it is asked to send to: what it sends waits for that, no longer than for a link. Any thread.
  std::optional<error_info> send(proc_id to, frame_builder& f, urgency u);

  /// Whether there is, or was, such a process as far as this one knows. Any thread.
  bool knows(proc_id id) const;

  /// Why a process is gone, if it is. Any thread.
  std::optional<error_info> gone(proc_id id) const;

  /// The message types that a process knows, by its own numbers; null while there's no link. Any thread.
  std::shared_ptr<const hello> greeting(proc_id id) const;

  /// The open links. Any thread.
  std::vector<link_status> links() const;

  /// Ends all links and stops listening.
  void close();

private:
  struct peer {
    explicit peer(proc_id id) : id(id) {
    }
    const proc_id id;
    mutable std::mutex mutex;
    endpoint where;
    bool known = false; // belongs to the cluster, or did
    bool opening = false;
    std::shared_ptr<link> open;
    std::shared_ptr<const hello> greeting;
    std::vector<byte_buffer> waiting;
    std::optional<error_info> gone;
    loop::timer_id timer = 0;
  };
  using peer_ptr = std::shared_ptr<peer>;

  peer_ptr find(proc_id id) const;
  peer_ptr find_or_make(proc_id id);
  hello introduce(proc_id to) const;
  std::string check_dialler(const hello& h) const;
  void accept(std::unique_ptr<byte_stream> stream);
  void dial(const peer_ptr& p);
  void ask_to_dial(const peer_ptr& p);
  void dial_with(const peer_ptr& p, const endpoint& where, std::chrono::milliseconds limit,
                 std::function<void(std::string)> done);
  void open(const peer_ptr& p, std::unique_ptr<established> e);
  void give_up(const peer_ptr& p, const std::string& why);
  error_info unreachable_error(const peer& p, const std::string& why) const;

  void frame_arrived(link& from, frame_view& f) override;
  void link_ended(link& which, const std::string& why) override;

  loop& loop_;
  settings settings_;
  events events_;
  std::atomic<proc_id> id_;
  std::atomic<std::uint64_t> cluster_;
  std::unique_ptr<tcp_listener> listener_;
  mutable std::shared_mutex table_mutex_;
  std::map<proc_id, peer_ptr> peers_;
  std::map<link*, proc_id> ids_; // loop thread
  bool closed_ = false;
};

} // namespace troupe
