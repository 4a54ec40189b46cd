#pragma once

#include "troupe/transport/bulk_memory.hpp"

#include <cstddef>
#include <typeinfo>
#include <utility>

namespace troupe {

/// Where a large block of a value that is still arriving comes to lie: in the container that the value's receiver gets, so
/// that it isn't copied once more. It grows with what arrives, not to what a peer claims.
class landing {
public:
  /// Smaller blocks aren't worth it.
  static constexpr std::size_t least = std::size_t{1} << 20;

  virtual ~landing() = default;

  /// Memory of `n` bytes of the block from `from` on, at least. Bytes before `from` stay what they are; those behind may move.
  /// Throws std::bad_alloc.
  virtual std::byte* memory(std::size_t from, std::size_t n) = 0;
  virtual const std::type_info& type() const = 0;

  /// Bytes of the block, and of its frame's payload in front of it and behind it.
  std::size_t size = 0;
  std::size_t in_front = 0;
  std::size_t behind = 0;
};

template <class C>
class landing_in final : public landing {
public:
  std::byte* memory(std::size_t from, std::size_t n) override {
    constexpr auto element = sizeof(typename C::value_type);
    if (value.capacity() == 0)
      prepare();
    const auto needed = (from + n + element - 1) / element;
    if (needed > value.size())
      value.resize(needed);
    return reinterpret_cast<std::byte*>(value.data()) + from;
  }

  const std::type_info& type() const override { return typeid(C); }

  C value;

private:
  // All at once if that is memory which need not be touched before it is used.
  void prepare() {
    value.reserve(size / sizeof(typename C::value_type));
    bulk_memory::advise_huge_pages(value.data(), size);
  }
};

} // namespace troupe
