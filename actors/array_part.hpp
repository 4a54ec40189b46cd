#pragma once

#include "troupe/actors/array_info.hpp"

#include <caf/actor_config.hpp>
#include <caf/actor_control_block.hpp>
#include <caf/error.hpp>
#include <caf/exit_reason.hpp>

#include <atomic>
#include <cstddef>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <vector>

namespace troupe {

class element_stub;
class runtime;

/// What an element is made with.
struct element_birth {
  caf::actor_config& config;
  caf::actor_id id;
  std::size_t position;
  /// What the actor throws when it begins, if it says so itself.
  std::exception_ptr& failed;
};

/// Constructs an element, without starting it.
using element_maker = std::function<caf::strong_actor_ptr(element_birth&)>;

/// The elements of an array that live on this process. They are made in ascending order, each with its own number from 0 on; from the moment that the array is known here until each is made its messages are kept.
///
/// Any thread. Locking: `mutex_` guards everything; actors are neither constructed nor ended under it.
class array_part : public std::enable_shared_from_this<array_part> {
public:
  /// `creator`: see element_tables::declare.
  array_part(std::shared_ptr<const array_info> info, runtime& rt, proc_id creator);
  ~array_part();

  const std::shared_ptr<const array_info>& info() const { return info_; }
  const array_positions& positions() const { return positions_; }

  bool has_host(proc_id id) const;

  /// Who makes the array; 0: it has been made, or its end is everybody's.
  proc_id creator() const { return creator_; }
  void commit() { creator_ = 0; }

  /// Makes all elements, and has them begin, in the calling thread. Throws what the first one throws that fails, with its position as the error's item, and makes no others then; usage_error when the array ends meanwhile.
  void make_all(const element_maker& make);

  /// The element, or its stub. Null if it has ended.
  caf::strong_actor_ptr element(std::size_t own);

  /// The same by its position in the array; null, too, if it isn't here.
  caf::strong_actor_ptr find(std::size_t position) {
    const auto own = positions_.own(position);
    return own < positions_.count() ? element(own) : nullptr;
  }

  /// Why one has ended, if it has.
  std::optional<caf::error> reason_of(std::size_t position);

  /// Runs a function where users' code may run; those of one array one after the other, in this order.
  void submit(std::function<void()> f);

  /// Ends all elements, and will make no more.
  void end(caf::exit_reason reason);

private:
  class birth_unit;

  void make(std::size_t own, const element_maker& make, birth_unit& unit);
  bool publish(std::size_t own, const caf::strong_actor_ptr& made);
  void element_ended(std::size_t own, const caf::error& reason);
  void run_submitted();
  void submit_next();
  [[noreturn]] void throw_ended() const;

  const std::shared_ptr<const array_info> info_;
  const array_positions positions_;
  runtime& runtime_;
  const std::vector<proc_id> hosts_; // sorted
  std::atomic<proc_id> creator_;
  std::mutex mutex_;
  std::vector<caf::strong_actor_ptr> elements_;
  std::size_t made_ = 0;
  bool ended_ = false;
  std::unordered_map<std::size_t, caf::strong_actor_ptr> stubs_; // of those that were asked for before they were made
  std::unordered_map<std::size_t, caf::error> reasons_; // of those that have ended
  std::deque<std::function<void()>> submitted_;
  bool running_ = false; // what was submitted
};

} // namespace troupe
