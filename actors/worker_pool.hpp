#pragma once

#include "troupe/actors/abstract_pool.hpp"
#include "troupe/actors/call_options.hpp"
#include "troupe/actors/channel_asking.hpp"
#include "troupe/actors/pool_view.hpp"
#include "troupe/transport/error.hpp"

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <iterator>
#include <memory>
#include <utility>
#include <vector>

#include <caf/meta/type_name.hpp>

namespace troupe {

/// @addtogroup loops
/// @{

class cluster;

namespace detail {

template <class R>
concept range_of_ids = !std::same_as<std::remove_cvref_t<R>, std::initializer_list<proc_id>> && requires(R& xs) {
  { *std::begin(xs) } -> std::convertible_to<proc_id>;
  std::begin(xs) != std::end(xs);
};

} // namespace detail

/// Processes that take work in turn: who takes one has it until it is given back, so that each does as much at a time as it has slots.
/// Calls take a pool in place of a process: they take a member, which they give back when they have ended.
///
/// A pool lives on the process that made it, and is used from any: copies of the handle mean the same pool; they can be arguments, results,
/// elements of containers, members of structs, and travel in messages of actors. The pool is freed when the last copy is gone, or the
/// processes that held them are. Members whose processes die, or are removed, leave the pool at once; what a process that dies has taken
/// comes back. A handle that was default-constructed or moved from is empty: all but `valid` throw usage_error.
///
/// All functions may be called from any thread. They block at least until the pool's process has answered; they give the turn of a task or
/// an actor's handler away meanwhile, throw `interrupted` when the user presses Ctrl-C, and process_exited when the pool's process is gone.
class worker_pool {
public:
  /// An empty handle.
  worker_pool() = default;

  /// A pool on this process, of these members; each can be out `slots` times at once, and an id that is listed twice has twice as many.
  /// Processes that have gone are left out; throws unknown_process for an id that was never given, usage_error for a number of slots that
  /// isn't from 1 to 1000000, or outside of app::run.
  worker_pool(cluster&, std::initializer_list<proc_id> ids, int slots = 1) : worker_pool(std::vector<proc_id>{ids}, slots) {}
  /// The same of any range of ids.
  template <detail::range_of_ids R>
  worker_pool(cluster&, R&& ids, int slots = 1) : worker_pool(std::vector<proc_id>(std::begin(ids), std::end(ids)), slots) {}

  /// A pool on this process that does as a class derived from abstract_pool says. Throws usage_error for a null pointer, or outside of
  /// app::run.
  template <std::derived_from<abstract_pool> P>
  worker_pool(cluster&, std::shared_ptr<P> pool) : worker_pool(std::shared_ptr<abstract_pool>{std::move(pool)}) {}

  /// Whether it stands for a pool: it is neither default-constructed nor moved from. Doesn't block.
  bool valid() const noexcept { return handle_ != nullptr; }

  /// The member that has been idle for longest, which is this caller's until it is put back. Blocks while none is idle; who waits first is
  /// served first. Throws no_workers when no member is alive, deadline_exceeded or `cancelled` as the options say. Whoever gives up takes
  /// nothing with it.
  proc_id take(const call_options& options = {}) const;

  /// Gives a member back that was taken, here or elsewhere. An id that isn't a member, or isn't out, is ignored.
  void put(proc_id id) const;

  /// A new member, or more slots for one that is there. Throws unknown_process, and process_exited if it has gone; usage_error if `slots`
  /// isn't from 1 to 1000000.
  void push(proc_id id, int slots = 1) const;

  /// Blocks until a member is idle. Throws as `take` does.
  void wait(const call_options& options = {}) const;

  /// Whether `take` would return at once.
  bool isready() const { return status().ready; }

  /// How many members there are, idle or not; 0 for the default pool while there are no workers.
  std::size_t size() const { return static_cast<std::size_t>(status().size); }

  /// The members, in ascending order; the master for the default pool while there are no workers.
  std::vector<proc_id> members() const { return status().members; }

  /// Those of which a slot is idle, in ascending order.
  std::vector<proc_id> idle() const { return status().idle; }

  /// Where it lives, who made it, and its number there. Doesn't block.
  ref_id id() const { return link().id(); }

  /// Whether both stand for the same pool, or both for none. Doesn't block.
  friend bool operator==(const worker_pool& a, const worker_pool& b) {
    return a.valid() && b.valid() ? a.id() == b.id() : a.valid() == b.valid();
  }

  /// For CAF, outside of the cluster: nothing is written, and what is read is empty.
  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, worker_pool&) {
    return f(caf::meta::type_name("troupe::worker_pool"));
  }

  /// @cond internal

  /// A pool of members that come by `join`; while there are none, `in_place` is taken, any number of times.
  static worker_pool standing_for(proc_id in_place);
  /// Adds those that aren't members, and haven't gone. Doesn't block: done when it returns, if the pool lives here.
  void join(const std::vector<proc_id>& ids) const;

  using answer_ptr = std::shared_ptr<detail::reference_answer_state>;

  /// Ready, with what view_of reads, when the pool's version is another than `known`. Doesn't block. The question is taken back when the
  /// last copy of what it returns goes.
  answer_ptr ask_view(std::uint64_t known) const;
  static pool_view view_of(detail::reference_answer_state& answer);
  /// Ready, with what taken_of reads, when a member has been taken. Doesn't block. A member that nobody has read when the last copy of what
  /// it returns goes is given back.
  answer_ptr ask_take() const;
  static proc_id taken_of(detail::reference_answer_state& answer);
  /// Gives a member back, without waiting until that is known where the pool lives. Does nothing when the cluster's time is over.
  void give_back(proc_id id) const noexcept;
  /// Takes a member that is alive as far as this process knows. `since`: when the time of the options began.
  proc_id take_alive(const call_options& options, std::chrono::steady_clock::time_point since) const;

  /// Something of this process that goes with copies of the handle, and doesn't travel. Null if there's nothing.
  const std::shared_ptr<void>& attachment() const;

protected:
  void attach(std::shared_ptr<void> what);

  /// @endcond

private:
  friend struct codec<worker_pool>;

  struct handle {
    detail::channel_link link;
    std::shared_ptr<void> attachment;
  };

  worker_pool(const std::vector<proc_id>& ids, int slots);
  explicit worker_pool(std::shared_ptr<abstract_pool> pool);
  explicit worker_pool(held_reference_ptr held);

  static detail::channel_link made();
  const detail::channel_link& link() const;
  detail::pool_status status() const;
  void push(detail::pool_push how, const std::vector<pool_member>& members) const;

  std::shared_ptr<const handle> handle_;
};

/// A pool travels as a reference.
template <>
struct codec<worker_pool> {
  static void write(writer& w, const worker_pool& x);
  static void read(reader& r, worker_pool& x);
};

namespace detail {

/// A member that has been taken for a call: its end gives it back.
class pool_turn final : public until_ready {
public:
  pool_turn(worker_pool pool, proc_id id) : pool_(std::move(pool)), id_(id) {}
  ~pool_turn() override { pool_.give_back(id_); }

private:
  const worker_pool pool_;
  const proc_id id_;
};

} // namespace detail

/// @}

} // namespace troupe
