#pragma once

#include "troupe/actors/array_info.hpp"
#include "troupe/transport/element_id.hpp"

#include <atomic>
#include <cstdint>
#include <memory>
#include <shared_mutex>
#include <unordered_map>
#include <vector>

namespace troupe {

class array_part;
class runtime;

/// The arrays that have elements on this process, by number. An array is declared on all of its processes before any element is made anywhere, so that a message to an array which isn't here
/// is one to an array that has ended. Any thread.
class element_tables final : public own_elements {
public:
  explicit element_tables(runtime& rt);
  ~element_tables() override;

  /// The array will have elements here. Throws usage_error if it is here already.
  void declare(array_info info);

  /// Null if it isn't here.
  std::shared_ptr<array_part> find_array(std::uint64_t number) const;

  caf::strong_actor_ptr find(element_id which) override;

  /// The handle of an element that may be anywhere.
  caf::strong_actor_ptr handle(const array_info& info, std::size_t position);

  /// Ends an array's elements here, and forgets it. Does nothing if it isn't here.
  void end(std::uint64_t number);

  /// Kills all elements.
  void end_all();

  void peer_lost(proc_id id);

  /// The number of a new array, on the master. Throws usage_error when there have been too many.
  std::uint64_t next_number();

  /// One that takes an element's messages in its place.
  caf::strong_actor_ptr make_stub(element_id which) const;

private:
  std::vector<std::shared_ptr<array_part>> all() const;

  runtime& runtime_;
  mutable std::shared_mutex mutex_; // guards parts_; nothing else is locked while it is held
  std::unordered_map<std::uint64_t, std::shared_ptr<array_part>> parts_;
  std::atomic<std::uint64_t> last_number_{0};
};

} // namespace troupe
