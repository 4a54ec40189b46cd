#pragma once

#include "troupe/actors/holder_counts.hpp"
#include "troupe/actors/owned_future.hpp"
#include "troupe/actors/owned_reference.hpp"
#include "troupe/actors/reference_info.hpp"
#include "troupe/transport/brief_lock.hpp"

#include <array>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <vector>

namespace troupe {

/// What lives on this process and is referred to from anywhere. Each of it lives while somebody holds a copy of its reference: processes tell of copies that they hand on
/// and give up (see holder_counts). It knows of references that it has not heard of from their maker yet, and lets who asks about one of these wait for a while.
///
/// Any thread. Locking: each shard's mutex guards what it holds; answers are sent, values destroyed and jobs begun without any.
class owned_references {
public:
  struct settings {
    proc_id id = 0;
    /// Whether a process has ended.
    std::function<bool(proc_id)> gone;
    std::function<void(reference_answer&)> answer;
    /// Sends a frame of counts to a process, or handles it if that is this one.
    std::function<void(proc_id, frame_builder&)> send;
    /// See references::recount.
    std::function<void(const ref_id&, proc_id from)> recount;
    /// Has a function called later, on any thread.
    std::function<void(std::chrono::milliseconds, std::function<void()>)> later;
    /// Writes the handle of the actor that stands for a reference, which is made at the first time.
    std::function<void(const ref_id&, writer&)> write_actor;
    std::function<void(const ref_id&)> end_actor;
    /// The clock that `later` keeps to.
    std::function<std::chrono::steady_clock::time_point()> now = std::chrono::steady_clock::now;
  };

  /// Who asks about a reference that isn't known waits so long for its maker's word.
  static constexpr std::chrono::milliseconds patience{5000};
  /// What a process that has ended has held is kept so long at least, for others to tell that they have copies from it.
  static constexpr std::chrono::milliseconds mourning{1000};

  explicit owned_references(settings s) : settings_(std::move(s)) {}

  /// A process tells of copies. Throws codec_error.
  void hear(proc_id from, reader in);

  /// A process asks. Throws codec_error.
  void ask(proc_id from, frame_view& f);

  /// A call has come whose result is to be kept for its caller.
  void begin_call(const ref_id& id);
  /// It has ended. Returns false, and changes nothing, if the future has been set, or nobody holds it.
  bool set_value(const ref_id& id, kept_value value, std::uint64_t type);
  /// The same for a value of at most owned_future::most_inside bytes, without references.
  bool set_small_value(const ref_id& id, std::span<const std::byte> value, std::uint64_t type);
  bool set_error(const ref_id& id, const error_info& why);

  /// Adds what was made here for `maker`, which holds it. Throws usage_error if there is one of that id.
  void add(std::unique_ptr<owned_reference> made, proc_id maker);

  /// A process has ended.
  void peer_lost(proc_id id, const error_info& why);

  /// A process gets no new work any more.
  void retire(proc_id id, const error_info& why);
  /// A process has come in the place of one that was lost.
  void replaced(proc_id lost, proc_id by);

  /// Sends an answer that comes later.
  void send(reference_answer& a) { settings_.answer(a); }

  /// What lives here, in the order of the ids.
  std::vector<reference_info> list() const;

  /// How much is known, what nobody has made yet included. For tests.
  std::size_t size() const;

private:
  template <class F>
  void for_each(F f);

  struct parked {
    proc_id from;
    frame_view frame;
    std::chrono::steady_clock::time_point since;
  };
  struct entry {
    std::optional<owned_future> future; // most are that: they need no memory of their own
    std::unique_ptr<owned_reference> other;
    holder_counts holders;
    std::unique_ptr<std::vector<parked>> waiting;
    std::chrono::steady_clock::time_point mourned_until{}; // if ever
  };
  static owned_reference* made_in(entry& e) {
    return e.future ? &*e.future : e.other.get(); // null: not made yet
  }
  // References that are made one after the other lie in the same shard: news of them come together.
  static constexpr std::uint64_t shard_count = 16, in_a_row = 64;
  static_assert(references::ids_at_once % (shard_count * in_a_row) == 0,
                "else the references of one owner would crowd in some of its shards");

  // Those of one maker in one shard lie side by side.
  struct place_in_shard {
    std::size_t operator()(ref_id id) const noexcept {
      id.id = id.id / (in_a_row * shard_count) * in_a_row + id.id % in_a_row;
      return std::hash<ref_id>{}(id);
    }
  };
  using table = std::unordered_map<ref_id, entry, place_in_shard>;
  struct shard {
    mutable std::mutex mutex;
    table all;
  };

  shard& shard_of(const ref_id& id) { return shards_[id.id / in_a_row % shard_count]; }
  void made(entry& e, reference_work& out);
  template <class Make>
  bool make_for(const ref_id& id, proc_id maker, Make make);
  template <class Set>
  bool set(const ref_id& id, Set set);
  void handle(entry& e, proc_id from, frame_view& f, reference_work& out);
  void create_channel(proc_id from, frame_view& f);
  void mourn(entry& e);
  void free_if_unheld(table& t, table::iterator i, reference_work& out);
  void free(table& t, table::iterator i, reference_work& out);
  void tie(owned_reference& what, reference_question& q, reference_work& out);
  void do_work(reference_work& work);
  void look_later(const ref_id& id, std::chrono::milliseconds after);
  void look(const ref_id& id);
  void look_at_all();
  error_info unknown(const ref_id& id) const;

  settings settings_;
  std::array<shard, shard_count> shards_;
};

} // namespace troupe
