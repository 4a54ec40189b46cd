#pragma once

#include <cstddef>

namespace troupe {

/// Memory of large buffers. Touching memory for the first time costs several times the copying of what goes into it: so
/// blocks lie in huge pages, and some that were given back are kept for the next buffers, until `trim`.
/// Any thread.
namespace bulk_memory {

/// Smaller blocks are left to the allocator.
inline constexpr std::size_t least = std::size_t{1} << 20;

/// Throws std::bad_alloc.
void* allocate(std::size_t size);

/// `size` as it was asked for.
void release(void* block, std::size_t size) noexcept;

/// Frees what is kept and hasn't been used since the last call.
void trim() noexcept;

/// Asks for huge pages. Advice: that it isn't followed changes nothing but the speed.
void advise_huge_pages(const void* data, std::size_t size) noexcept;

} // namespace bulk_memory

} // namespace troupe
