#pragma once

#include "troupe/transport/bulk_memory.hpp"

#include <cstddef>
#include <cstring>
#include <memory>
#include <new>
#include <span>
#include <utility>
#include <vector>

namespace troupe {

/// Leaves elements uninitialized where a vector would zero them: memory that is about to be read into is touched once. What
/// is large comes from bulk_memory.
template <class T>
struct uninitialized_allocator : std::allocator<T> {
  template <class U>
  struct rebind {
    using other = uninitialized_allocator<U>;
  };

  uninitialized_allocator() = default;

  template <class U>
  uninitialized_allocator(const uninitialized_allocator<U>&) noexcept {}

  T* allocate(std::size_t n) {
    return n < bulk_memory::least / sizeof(T) ? std::allocator<T>::allocate(n) : static_cast<T*>(bulk_memory::allocate(n * sizeof(T)));
  }

  void deallocate(T* p, std::size_t n) noexcept {
    if (n < bulk_memory::least / sizeof(T))
      std::allocator<T>::deallocate(p, n);
    else
      bulk_memory::release(p, n * sizeof(T));
  }

  template <class U>
  void construct(U* p) noexcept {
    ::new (static_cast<void*>(p)) U;
  }

  template <class U, class... Args>
  void construct(U* p, Args&&... args) {
    ::new (static_cast<void*>(p)) U(std::forward<Args>(args)...);
  }
};

/// Raw bytes whose growth costs no zeroing. Its own insert, assign and growth move what they hold byte by byte, as a vector with an
/// allocator of its own does: extend, append and copy_of don't.
using byte_buffer = std::vector<std::byte, uninitialized_allocator<std::byte>>;

namespace detail {

void make_room_for(byte_buffer& bytes, std::size_t size);

} // namespace detail

/// Lengthens `bytes` by `more`, whose contents are undefined, and returns where they begin.
inline std::byte* extend(byte_buffer& bytes, std::size_t more) {
  const auto at = bytes.size();
  if (bytes.capacity() - at < more)
    detail::make_room_for(bytes, at + more);
  bytes.resize(at + more);
  return bytes.data() + at;
}

/// Copies `more`, which must not lie in `bytes`, to the end of `bytes`.
inline void append(byte_buffer& bytes, std::span<const std::byte> more) {
  if (!more.empty())
    std::memcpy(extend(bytes, more.size()), more.data(), more.size());
}

inline byte_buffer copy_of(std::span<const std::byte> bytes) {
  byte_buffer out;
  append(out, bytes);
  return out;
}

} // namespace troupe
