#pragma once

#include "troupe/actors/array_info.hpp"
#include "troupe/transport/element_id.hpp"
#include "troupe/transport/error.hpp"

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace troupe {

class array_operation;
class array_part;
class runtime;

/// The arrays that have elements on this process, by number. An array is declared on all of its processes before any element is made anywhere, so that a message to an array which isn't here
/// is one to an array that has ended. Any thread.
class element_tables final : public own_elements {
public:
  explicit element_tables(runtime& rt);
  ~element_tables() override;

  /// The array will have elements here. `creator`: whose end is the array's, until `commit`; 0: nobody's. Throws usage_error if it is here already, and if it has been given up.
  void declare(array_info info, proc_id creator);
  /// It has been made everywhere.
  void commit(std::uint64_t number);

  /// Null if it isn't here.
  std::shared_ptr<array_part> find_array(std::uint64_t number) const;

  // own_elements
  caf::strong_actor_ptr find(element_id which) override;
  std::optional<caf::error> reason_of(element_id which) override;

  /// The handle of an element that may be anywhere.
  caf::strong_actor_ptr handle(const array_info& info, std::size_t position);

  /// Ends an array's elements here, and forgets it. Does nothing if it isn't here.
  void end(std::uint64_t number);
  /// The same for one whose making has failed: a declaration that comes later is refused.
  void give_up(std::uint64_t number);

  /// Kills all elements, and ends all operations.
  void end_all();

  /// From now on an operation hears of what could end it, until `close`. It is kept meanwhile.
  void open(array_operation& op);
  void close(array_operation& op);
  void element_ended(std::uint64_t array, std::size_t own, const caf::error& reason);
  void peer_lost(proc_id id, const error_info& why);
  /// Who asked doesn't wait any more.
  void stop(proc_id from, std::uint64_t question);

  /// The number of a new array, on the master. Throws usage_error when there have been too many.
  std::uint64_t next_number();

  /// One that takes an element's messages in its place.
  caf::strong_actor_ptr make_stub(element_id which) const;

private:
  std::vector<std::shared_ptr<array_part>> all() const;
  std::shared_ptr<array_part> take(std::uint64_t number);
  template <class Condition>
  std::vector<caf::strong_actor_ptr> operations(Condition wanted) const;

  runtime& runtime_;
  mutable std::shared_mutex mutex_; // guards what follows; nothing else is locked while it is held
  std::unordered_map<std::uint64_t, std::shared_ptr<array_part>> parts_;
  std::unordered_set<std::uint64_t> given_up_; // before they were declared
  mutable std::mutex operations_mutex_; // guards operations_; the same
  std::unordered_set<array_operation*> operations_;
  std::atomic<std::uint64_t> last_number_{0};
};

} // namespace troupe
