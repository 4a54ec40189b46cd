#pragma once

#include "troupe/actors/placement.hpp"
#include "troupe/transport/codec.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

namespace troupe {

/// The elements of an array that one process has: which position each of its own, which are counted in ascending order, has in the array.
class array_positions {
public:
  array_positions() = default;
  array_positions(std::size_t first, std::size_t stride, std::size_t count) : first_(first), stride_(stride), count_(count) {}
  explicit array_positions(std::vector<std::uint32_t> list) : count_(list.size()), list_(std::move(list)) {}

  std::size_t count() const { return count_; }
  std::size_t operator[](std::size_t own) const { return list_.empty() ? first_ + own * stride_ : list_[own]; }
  /// The other way round; `count` if the process doesn't have it.
  std::size_t own(std::size_t position) const;

private:
  std::size_t first_ = 0;
  std::size_t stride_ = 1;
  std::size_t count_ = 0;
  std::vector<std::uint32_t> list_;
};

/// Where the elements of an array live: every process that has it knows where to send without asking.
class array_layout {
public:
  array_layout() = default;

  /// On these processes, in their order, or on those that the placement names. Throws usage_error, unknown_process and process_exited for one that isn't there, by `check`; no_workers if there
  /// is none.
  array_layout(const array_extents& extents, const placement& where, const std::vector<proc_id>& workers,
               const std::function<void(proc_id)>& check);

  const array_extents& extents() const { return extents_; }
  std::size_t size() const { return extents_; }
  placement::how kind() const { return kind_; }

  /// The processes that have elements, in the order of their first elements.
  const std::vector<proc_id>& hosts() const { return hosts_; }

  proc_id where(std::size_t position) const { return hosts_[host_of(position)]; }

  /// Those of a process, perhaps none.
  array_positions positions_on(proc_id id) const;

  /// How its processes and elements were asked for.
  placement as_placement() const;

  void write(writer& out) const;
  /// Throws codec_error for one that makes no sense.
  static array_layout read(reader& in);

private:
  std::size_t host_of(std::size_t position) const;

  array_extents extents_;
  placement::how kind_ = placement::how::block;
  std::vector<proc_id> hosts_;
  std::vector<std::uint32_t> owners_; // of custom ones: for each element the place of its process in hosts_
};

} // namespace troupe
