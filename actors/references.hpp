#pragma once

#include "troupe/transport/frame.hpp"
#include "troupe/transport/proc_id.hpp"
#include "troupe/transport/reference.hpp"

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

namespace troupe {

namespace detail {
class future_state;
}

/// What is asked of the owner of a future, channel or pool. The numbers are the protocol's.
enum class ask_op : std::uint8_t {
  wait = 1,
  fetch = 2,
  isready = 3,
  put = 4,
  fail = 5,
  tie = 6,
  actor = 7,
  withdraw = 8,
  create = 9,
  take = 10,
  take_many = 11,
  size = 12,
  isopen = 13,
  close = 14,
  lease = 15,
  settle = 16,
  give_back = 17,
  locate = 18,
  fetch_shared = 19,
  drop_shared = 20,
  pool_take = 21,
  pool_put = 22,
  pool_push = 23,
  pool_status = 24,
  pool_wait = 25,
  pool_view = 26,
};

/// Bits of an ask's flags.
namespace ask_flags {
/// The answer is "nothing" if it can't be done now.
inline constexpr std::uint8_t at_once = 1;
/// For a channel whose store looks at keys: they stand in front.
inline constexpr std::uint8_t keyed = 2;
/// Of a withdrawal: what the question has brought, if it has been answered, comes back. Until then nobody else gets a value.
inline constexpr std::uint8_t comes_back = 4;
} // namespace ask_flags

/// The references that this process holds: how often each was handed to it and by whom, which it gives up, all at once, when the last copy here is gone. Its
/// owner hears of that within milliseconds, together with others.
///
/// Any thread. Locking: `mutex_` guards everything but the settings; `order_`, taken before it, keeps what is told to an owner in order. Nothing of others is called
/// under `mutex_`; under `order_` only `send`, which may come back: what this process tells itself is handled at once. Holds keep it alive; after `close` they tell
/// nobody of their end.
class references : public std::enable_shared_from_this<references> {
public:
  struct settings {
    proc_id id = 0;
    /// Sends a frame of counts to an owner, or handles it if that is this process.
    std::function<void(proc_id owner, frame_builder&)> send;
    /// Has `flush` called in a moment, on any thread.
    std::function<void()> flush_soon;
    /// Sends a question; who waits gets the answer, or the error if it can't be sent. Returns its number.
    std::function<std::uint64_t(proc_id owner, frame_builder&, std::shared_ptr<detail::future_state> waiting, bool now)> ask;
    /// Forgets that an answer to this number is awaited.
    std::function<void(std::uint64_t number)> forget;
    /// For actor handles in questions; may be null.
    actor_codec* actors = nullptr;
  };

  explicit references(settings s);

  /// The process's own. Null outside of app::run.
  static std::shared_ptr<references> of_process();
  static void set_of_process(std::shared_ptr<references> r);

  proc_id id() const { return settings_.id; }

  /// The id of a new reference. Those that live on one process follow each other, however they are made in turn with others': who owns them
  /// has tables by id, in which neighbours are found together.
  ref_id next(proc_id where);

  /// So many follow each other, from a multiple of it on.
  static constexpr std::uint64_t ids_at_once = 1024;

  /// How the owner learns of a reference that was made here.
  enum class origin {
    /// By what made it.
    known,
    /// When it is first used.
    untold,
    /// This is no new one: somebody knew the id.
    claimed,
  };

  held_reference_ptr hold(const ref_id& id, origin from);

  /// A copy has come from a process. Every call must be matched by a frame of that process that refers to it.
  held_reference_ptr arrived(proc_id from, const ref_id& id);

  /// The owner knows of it when this returns, or will before it hears anything else of this process.
  void make_known(const held_reference_ptr& r);

  /// Copies are about to leave for a process.
  void leaving(proc_id to, std::span<const held_reference_ptr> list);

  /// They haven't left after all.
  void not_left(proc_id to, std::span<const held_reference_ptr> list);

  /// Gives up what the owner counts for the maker of a reference that was never held.
  void give_up(const ref_id& id);

  /// Tells the owners what has changed.
  void flush();

  /// A process is gone, and nothing of it arrives any more. What it may not have told of is told in its place.
  void peer_lost(proc_id id);

  /// An owner asks what is left here of what a process that is gone handed on. It hears of that once this process knows, too, that the other is gone.
  void recount(const ref_id& id, proc_id from);

  /// Nothing is told any more.
  void close();

  // -- what copies of a future share ------------------------------------------------------------------------------------------

  using state_ptr = std::shared_ptr<detail::future_state>;

  /// The state of the future of this id, shared once more; made if there is none.
  state_ptr share_state(const ref_id& id, const std::function<state_ptr()>& make);

  /// Makes a state known as the one of this id.
  void add_state(const ref_id& id, const state_ptr& state);
  void remove_state(const ref_id& id);

  // -- questions ----------------------------------------------------------------------------------------------------------------

  /// Begins a question: its number comes when it is sent.
  void begin(frame_builder& f, const ref_id& about, std::uint64_t type, ask_op op, std::uint8_t flags = 0) const;
  /// Returns its number. `now`: the caller is about to wait.
  std::uint64_t ask(proc_id owner, frame_builder& f, state_ptr waiting, bool now) {
    return settings_.ask(owner, f, std::move(waiting), now);
  }
  /// Takes a question back, if it is still unanswered. `answered`: the owner confirms that.
  void withdraw(const ref_id& about, std::uint64_t number, bool answered, std::uint8_t flags = 0);
  actor_codec* actors() const { return settings_.actors; }

  /// How many references are held. For tests.
  std::size_t count() const;

private:
  class held;
  struct claim {
    proc_id from;
    std::int64_t n;
  };
  struct record {
    held* raw = nullptr;
    std::weak_ptr<held_reference> alive;
    std::weak_ptr<detail::future_state> state;
  };
  std::shared_ptr<held> make_hold(record& r, const ref_id& id);
  void tell_create(const ref_id& id);
  void tell_add(const ref_id& id, proc_id from, proc_id holder, std::int64_t n);
  void tell_settle(const ref_id& id, const record* r, proc_id from);
  byte_buffer& pending(proc_id owner);
  void ended(held& h);
  bool take_news_scheduled();

  settings settings_;
  std::atomic<std::uint64_t> first_unused_{0}; // of the ids; a multiple of ids_at_once
  std::array<std::atomic<std::uint64_t>, 256> next_ids_{}; // by where they live; a multiple of ids_at_once: none is left
  std::recursive_mutex order_;
  mutable std::mutex mutex_;
  std::unordered_map<ref_id, record> records_;
  std::map<proc_id, byte_buffer> pending_; // what each owner is to be told, in the protocol's form
  std::set<proc_id> lost_;
  std::map<proc_id, std::vector<ref_id>> asked_; // what to recount when a process is lost
  bool scheduled_ = false;
  bool closed_ = false;
};

/// The operation of a question, and what it is about but for where that lives. Throws codec_error.
std::pair<ask_op, ref_id> peek_question(std::span<const std::byte> payload);

/// One thing that an owner is told, in a frame of counts.
struct count_news {
  /// `recount` goes the other way: the owner asks a holder to tell what it has left of what `from`, which is gone, handed to it.
  enum class kind : std::uint8_t { give_up = 0, add = 1, create = 2, settle = 3, recount = 4 };
  kind what = kind::add;
  proc_id whence = 0;
  std::uint64_t id = 0;
  proc_id from = 0;
  proc_id holder = 0;
  std::int64_t n = 0;

  /// The next of a frame that `sender` has sent. Throws codec_error.
  static count_news read(reader& in, proc_id sender);
  static void put_recount(byte_buffer& out, const ref_id& id, proc_id from);
};

} // namespace troupe
