#pragma once

#include "troupe/transport/connection.hpp"
#include "troupe/transport/door.hpp"
#include "troupe/transport/error.hpp"
#include "troupe/transport/failure_detector.hpp"
#include "troupe/transport/relay.hpp"
#include "troupe/transport/session.hpp"
#include "troupe/transport/transport.hpp"

#include <array>
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

/// The processes that this one knows, a session with each that it has to do with, and the links that carry them. A frame for a process that
/// has no link yet waits while one is opened: of two processes the one with the higher id dials, asked to by way of the
/// master if need be, so that two never dial each other at once; the other one does where only that one can. The master dials every
/// worker, which is how a worker gets its id.
///
/// A link that ends is opened again, and the session goes on. Between workers, where no direct link can be had, or shall be, it goes on by way
/// of the master, until there is one. A process that can't be reached for too long is reported as lost: that is for the
/// master to decide.
///
/// `send`, `when_room` and what says so may be called from any thread, everything else on the loop's thread.
/// Locking: `table_mutex_` guards the table, each peer's mutex what it holds; no other lock is taken under them.
class mesh : public session::observer {
public:
  struct settings {
    std::string cookie;
    /// 0 until the master has given one.
    proc_id id = 0;
    std::uint64_t cluster = 0;
    std::string host;
    /// Stands for the host, or the part of it, whose loopback addresses mean the same: see `add`.
    std::uint64_t scope = 0;
    std::string build_id;
    /// How long opening the first link to a process may take.
    std::chrono::milliseconds connect_limit{10000};
    /// How long a session may be without a link. The end that doesn't dial waits longer by half.
    std::chrono::milliseconds resume_limit{4000};
    /// How long, if the link was given up because the peer was silent.
    std::chrono::milliseconds silent_resume_limit{1300};
    /// How long a session of two workers may be without a link, relayed or not, before one of them reports the other as lost,
    /// again and again: longer than it takes the master to find out that it has lost one of them, which is the usual reason.
    std::chrono::milliseconds worker_resume_limit{15000};
    /// After this time without a direct link, a relayed one is opened.
    std::chrono::milliseconds relay_after{300};
    /// How long a worker bears a master that is silent but has not gone.
    std::chrono::milliseconds master_patience{60000};
    failure_detector::settings detector;
    session::limits limits;
    /// See hello::types.
    std::vector<std::uint64_t> types;
    /// TCP if null.
    std::shared_ptr<transport> net;
  };

  /// A worker that has come by itself.
  struct guest {
    proc_id id = 0;
    std::function<void()> entered;
  };

  /// What the mesh tells its owner, on the loop's thread. All must be set before the first link opens.
  struct events {
    std::function<void(proc_id from, frame_view&)> frame;
    /// See session::observer::frame_begins. May be empty.
    std::function<std::unique_ptr<landing>(const frame_header&, std::span<const std::byte> beginning, std::uint64_t total)> begins;
    /// The first link to a process is open.
    std::function<void(proc_id, const hello&)> up;
    /// A worker that isn't expected has dialled the master and says this: whether it gets an id, and what is called once it is through. May be
    /// empty: then nobody gets one.
    std::function<std::optional<guest>(const hello&)> guest_comes;
    /// A link has ended. It is opened again if the process lives.
    std::function<void(proc_id, const std::string& why)> down;
    /// A process can't be reached any more. Its session is kept until it is marked as gone.
    std::function<void(proc_id, const std::string& why)> lost;
    /// A process that there never was a link to can't be reached; what waited for it is dropped.
    std::function<void(proc_id, const error_info&)> unreachable;
    /// A worker has got its id.
    std::function<void(const hello&)> adopted;
    /// The cluster goes on without this process.
    std::function<void(const std::string& why)> dismissed;
    /// Whether a process that is silent is held by a debugger, and to be waited for. May be empty.
    std::function<bool(proc_id)> held;
    /// Somebody who wasn't let in, for the log.
    std::function<void(const refusal&)> refused;
  };

  mesh(loop& l, settings s, events e);
  ~mesh() override;

  proc_id id() const { return id_.load(std::memory_order_acquire); }

  std::uint64_t cluster() const { return cluster_.load(std::memory_order_acquire); }

  const std::string& cookie() const { return settings_.cookie; }

  void set_cookie(std::string cookie) { settings_.cookie = std::move(cookie); }

  /// Lets others in at this address. May be called before the loop runs.
  endpoint listen(const std::string& address, std::uint16_t port);

  /// Master: gives a worker that listens at `where` its id and opens the link to it. `tunnel`: something else listens there on its behalf, so that a refused connection doesn't mean that
  /// the worker has ended.
  void adopt(proc_id id, const endpoint& where, std::chrono::milliseconds limit, std::function<void(std::string why_not)> done,
             bool tunnel = false);

  /// Master: the worker that dials in and makes this claim gets the id. `done` is called when it has, unless it is marked as gone before.
  void expect(proc_id id, std::string claim, std::function<void()> done);

  /// Master: the worker belongs to the cluster now, and dials with its id. Until then it may make its claim again.
  void forget_claim(proc_id id);

  /// Master: somebody has dialled, at a listener that isn't the mesh's own.
  void knock(std::unique_ptr<byte_stream> stream);

  /// Worker without an id: dials the master, which expects the claim, and will dial again if that link is lost.
  void join(const endpoint& where, std::string claim, std::chrono::milliseconds limit, std::function<void(std::string why_not)> done);

  /// No link is opened from here any more, nor opened again once it ends; those that are there serve on. For a worker whose master lets
  /// it go: the others don't know it any more, or soon won't.
  void take_leave();

  /// Makes a process known, so that it can be sent to. A port of 0: it can't be dialled. Where it listens at a loopback address, that means something only to those of its
  /// scope. `linked`: whether there may be a direct link to it. Of this process itself: where others reach it.
  void add(proc_id id, const endpoint& where, std::uint64_t scope = 0, bool linked = true);

  /// Opens the link to a known process now. Does nothing if there is one.
  void connect(proc_id id);

  /// Whether a direct link to a known process is possible and allowed, as far as can be known from where the two listen.
  bool can_link(proc_id id) const;

  /// From now on users' calls and messages to this process get this error: see `barred`. Any thread.
  void bar(proc_id id, error_info why);

  /// Why users' calls and messages to this process are refused, if they are. `send` doesn't look at it: the library's own go on. Any thread.
  std::optional<error_info> barred(proc_id id) const;

  /// Another process says that it has no link to this one any more, and that this one is to dial.
  void redial(proc_id id);

  /// From now on sending to it gives this error. Ends its session; what waited for it is dropped.
  void mark_gone(proc_id id, error_info why);

  /// Sends, or returns why that is impossible: the process is gone or was never known. A worker may not have heard yet of
  /// a process that it is asked to send to: what it sends waits for that, no longer than for a link. With `full`, the
  /// frame isn't taken when there is no room for it, which it tells; see when_room. Any thread.
  std::optional<error_info> send(proc_id to, frame_builder& f, urgency u, flow of = flow::none, bool* full = nullptr);

  /// See session::take_back. Any thread but the loop's.
  void take_back(proc_id from, const std::shared_ptr<const void>& keeper);

  /// Calls `ready` once there is room again for a frame of this flow and size (0: a small one) to a process, or it is gone.
  /// Any thread, on any thread.
  void when_room(proc_id to, flow of, std::function<void()> ready, std::size_t bytes = 0);

  /// Whether there is, or was, such a process as far as this one knows. Any thread.
  bool knows(proc_id id) const;

  /// Why a process is gone, if it is. Any thread.
  std::optional<error_info> gone(proc_id id) const;

  /// Whether some pairs of workers may not call each other. Any thread.
  bool restricted() const { return restricted_.load(std::memory_order_relaxed); }
  void set_restricted(bool on) { restricted_ = on; }

  /// The message types that a process knows, by its own numbers; null before the first link. Any thread.
  std::shared_ptr<const hello> greeting(proc_id id) const;

  /// Whether there is a link, relayed or not, at this moment. Any thread.
  bool connected(proc_id id) const;

  /// Whether there is a link to a process, and it was heard as lately as it should have been.
  bool heard_lately(proc_id id) const;

  /// The open direct links. Any thread.
  std::vector<link_status> links() const;

  /// What has been sent to each process and received from it. Any thread.
  std::vector<std::pair<proc_id, session::counts>> counts() const;

  /// Ends all sessions and stops listening.
  void close();

private:
  struct peer : std::enable_shared_from_this<peer> {
    peer(proc_id id, loop& l, mesh& m) : id(id), talk(std::make_shared<session>(l, id, m, m.settings_.limits)) {}
    const proc_id id;
    const std::shared_ptr<session> talk;
    std::atomic<bool> known{false}; // belongs to the cluster, or did
    std::atomic<bool> is_gone{false};
    std::atomic<bool> is_barred{false};
    std::atomic<bool> wanted{false}; // a link has been asked for
    std::atomic<bool> established{false}; // has had a link; changed by the loop's thread
    mutable std::mutex mutex;
    std::shared_ptr<const hello> greeting;
    std::optional<error_info> gone;
    std::optional<error_info> barred;

    // loop thread
    endpoint where;
    std::uint64_t scope = 0;
    bool linked = true;
    std::optional<failure_detector> detector;
    std::optional<loop::clock::time_point> broken_since;
    loop::clock::time_point opened{}; // the present link
    std::string why_broken;
    bool worker_dials = false; // of a link between worker and master
    bool tunnel = false; // see adopt
    bool dialling = false;
    bool relaying = false;
    bool left = false; // has said goodbye
    bool starved = false;
    int failures = 0; // of dialling, one after the other
    int violations = 0; // of the protocol, lately
    loop::clock::time_point last_violation{};
    loop::timer_id retry = 0;
    loop::timer_id limit = 0;
    loop::timer_id bridge = 0;
  };
  using peer_ptr = std::shared_ptr<peer>;
  using dialled = std::function<void(std::string why_not, bool refused)>;

  peer_ptr find(proc_id id) const;
  peer* find_peer(proc_id id) const;
  peer_ptr find_or_make(proc_id id);
  std::vector<peer_ptr> all() const;
  hello introduce(proc_id to) const;
  verdict check_dialler(const hello& h);
  verdict admit(const hello& h);
  verdict admit_expected(const hello& h);
  void open_door();
  void accept_relay(std::unique_ptr<byte_stream> stream);
  bool dials(const peer& p) const;
  bool reachable(const peer& p) const;
  bool reached_by(const peer& p) const;
  bool must_be_dialled(proc_id who) const;
  void reopen(const peer_ptr& p);
  bool over(const peer& p) const;
  bool may_dial(const peer& p) const;
  bool relay_possible(const peer& p) const;

  void connect(const peer_ptr& p);
  void dial(const peer_ptr& p);
  void dial_failed(const peer_ptr& p, const std::string& why, bool refused);
  void dial_relay(const peer_ptr& p, const std::string& why);
  void bridge(const peer_ptr& p);
  void limit_reached(const peer_ptr& p);
  bool heard_lately(const peer& p) const;
  void retry_later(const peer_ptr& p);
  void stop_timers(peer& p);
  void ask_to_dial(const peer_ptr& p);
  void dial_with(const peer_ptr& p, const endpoint& where, std::chrono::milliseconds limit, dialled done);
  void shake_hands(const peer_ptr& p, std::unique_ptr<byte_stream> stream, std::chrono::milliseconds limit, dialled done);
  void open(const peer_ptr& p, std::unique_ptr<established> e);
  void link_lost(const peer_ptr& p, const std::string& why, bool silent);
  void give_up(const peer_ptr& p, const std::string& why);
  void lose(const peer_ptr& p, const std::string& why);
  error_info unreachable_error(const peer& p, const std::string& why) const;

  void beat();
  void watch_the_silent();
  void listen_for(const peer_ptr& p, loop::clock::time_point now);
  void watch_for_circles();
  void look_for_circles();
  void take_stalled(proc_id from, const frame_view& f);

  void frame_arrived(session& from, frame_view& f) override;
  std::unique_ptr<landing> frame_begins(session& from, const frame_header& h, std::span<const std::byte> beginning,
                                        std::uint64_t total) override;
  void link_ended(session& which, const std::string& why, bool violated) override;

  loop& loop_;
  settings settings_;
  events events_;
  std::atomic<proc_id> id_;
  std::atomic<std::uint64_t> cluster_;
  endpoint own_where_;
  std::unique_ptr<door> door_;
  struct expected {
    proc_id id = 0;
    std::function<void()> done;
  };
  std::map<std::string, expected> expected_; // by their claims
  std::function<void()> admitted_; // of who is on the way through the door
  proc_id admitted_id_ = 0;
  std::string claim_;
  relays relays_;
  mutable std::shared_mutex table_mutex_;
  std::map<proc_id, peer_ptr> peers_; // only grows
  std::array<std::atomic<peer*>, 1024> low_ids_{}; // of peers_, found without the lock
  loop::timer_id beat_timer_ = 0;
  loop::clock::time_point last_beat_{};
  loop::timer_id silence_timer_ = 0;
  loop::timer_id circles_timer_ = 0;
  std::atomic<bool> watching_for_circles_{false};
  std::atomic<bool> restricted_{false};
  bool closed_ = false;
  bool leaving_ = false;
};

} // namespace troupe
