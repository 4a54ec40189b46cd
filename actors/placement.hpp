#pragma once

#include "troupe/actors/array_index.hpp"
#include "troupe/transport/proc_id.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <type_traits>
#include <utility>
#include <vector>

namespace troupe {

/// @addtogroup actors
/// @{

/// Which process each element of an array is made on.
class placement {
public:
  /// What kind of placement one is.
  enum class how : std::uint8_t {
    block,  ///< placement::block
    cyclic, ///< placement::cyclic
    custom, ///< made by placement::custom
  };

  /// Neighbours stay together: in row-major order each process gets a contiguous part, and their sizes differ by one at most. Rows of a
  /// two-dimensional array, that is.
  static const placement block;
  /// The elements go to the processes in turn.
  static const placement cyclic;

  /// f says it for each element: it is called once with each index, as one array_index (or number: the position), or as two or three
  /// numbers, where the array is made, and returns a proc_id. Making the array throws usage_error if f takes two or three numbers and the
  /// array has not as many dimensions.
  template <class F>
  static placement custom(F f) {
    placement out{how::custom};
    out.chosen_ = [f = std::move(f)](const array_index& i) mutable -> proc_id {
      if constexpr (std::is_invocable_r_v<proc_id, F&, const array_index&>)
        return static_cast<proc_id>(f(i));
      else if constexpr (std::is_invocable_r_v<proc_id, F&, std::size_t, std::size_t>)
        return static_cast<proc_id>(f(i[0], i[1]));
      else {
        static_assert(
          std::is_invocable_r_v<proc_id, F&, std::size_t, std::size_t, std::size_t>,
          "placement::custom(f): f takes an array_index, or as many numbers as the array has dimensions, and returns a proc_id");
        return static_cast<proc_id>(f(i[0], i[1], i[2]));
      }
    };
    out.dimensions_ = std::is_invocable_r_v<proc_id, F&, const array_index&>         ? 0
                      : std::is_invocable_r_v<proc_id, F&, std::size_t, std::size_t> ? 2
                                                                                     : 3;
    return out;
  }

  /// The same on some processes, in this order, instead of all workers. Throws usage_error for a custom one, for no processes, and for one
  /// that is listed twice.
  placement on(std::vector<proc_id> ids) const;

  /// What kind it is.
  how kind() const { return kind_; }

  /// The processes that it was given with `on`; of an array's placement those that have elements, in order. An array's placement serves to
  /// make another one like it.
  const std::vector<proc_id>& processes() const { return processes_; }

  /// @cond internal
  /// Of a custom one. Throws usage_error if its function takes another number of dimensions.
  proc_id choose(const array_index& i) const;
  /// @endcond

  /// Whether kind and processes are the same; one that names no processes equals any of its kind. What functions custom ones have isn't
  /// compared.
  friend bool operator==(const placement& a, const placement& b) {
    return a.kind_ == b.kind_ && (a.processes_.empty() || b.processes_.empty() || a.processes_ == b.processes_);
  }

private:
  friend class array_layout;

  explicit placement(how kind) : kind_(kind) {}

  how kind_;
  std::vector<proc_id> processes_;
  std::function<proc_id(const array_index&)> chosen_;
  std::size_t dimensions_ = 0; // that the function takes, each as a number; 0: any
};

inline const placement placement::block{placement::how::block};
inline const placement placement::cyclic{placement::how::cyclic};

/// @}

} // namespace troupe
