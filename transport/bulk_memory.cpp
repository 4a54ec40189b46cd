#include "troupe/transport/bulk_memory.hpp"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <mutex>
#include <new>
#include <sys/mman.h>
#include <vector>

namespace troupe::bulk_memory {

namespace {

// With it a checker of memory sees what is used after it was given back.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr std::size_t most_kept = 0;
#else
constexpr std::size_t most_kept = std::size_t{256} << 20;
#endif

struct kept_block {
  void* data;
  std::size_t size;
  bool old; // as of the last trim
};

struct kept_blocks {
  std::mutex mutex; // guards all; nothing else is locked while it is held
  std::vector<kept_block> blocks;
  std::size_t size = 0;
};

kept_blocks& kept() {
  static auto all = new kept_blocks; // buffers may end after the static objects have
  return *all;
}

// One of four sizes between powers of two: what is given back fits more often.
std::size_t rounded(std::size_t size) {
  const auto step = std::bit_ceil(size) / 8;
  return (size + step - 1) / step * step;
}

} // namespace

void* allocate(std::size_t size) {
  const auto real = rounded(size);
  if (real < size)
    throw std::bad_alloc{};
  {
    auto& all = kept();
    std::lock_guard guard{all.mutex};
    auto fits = std::find_if(all.blocks.rbegin(), all.blocks.rend(), [real](auto& b) { return b.size == real; });
    if (fits != all.blocks.rend()) {
      auto data = fits->data;
      all.size -= real;
      all.blocks.erase(std::next(fits).base());
      return data;
    }
  }
  auto data = ::operator new(real);
  advise_huge_pages(data, real);
  return data;
}

void release(void* block, std::size_t size) noexcept {
  const auto real = rounded(size);
  {
    auto& all = kept();
    std::lock_guard guard{all.mutex};
    if (all.size + real <= most_kept) {
      try {
        all.blocks.push_back({block, real, false});
        all.size += real;
        return;
      } catch (const std::bad_alloc&) {
        // then it is freed
      }
    }
  }
  ::operator delete(block);
}

void trim() noexcept {
  auto& all = kept();
  std::vector<kept_block> done;
  {
    std::lock_guard guard{all.mutex};
    auto young = std::stable_partition(all.blocks.begin(), all.blocks.end(), [](auto& b) { return b.old; });
    try {
      done.assign(all.blocks.begin(), young);
    } catch (const std::bad_alloc&) {
      return;
    }
    all.blocks.erase(all.blocks.begin(), young);
    for (auto& b : all.blocks)
      b.old = true;
    for (auto& b : done)
      all.size -= b.size;
  }
  for (auto& b : done)
    ::operator delete(b.data);
}

void advise_huge_pages(const void* data, std::size_t size) noexcept {
  constexpr std::uintptr_t page = 4096;
  auto first = (reinterpret_cast<std::uintptr_t>(data) + page - 1) & ~(page - 1);
  auto last = (reinterpret_cast<std::uintptr_t>(data) + size) & ~(page - 1);
  if (first < last)
    ::madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE);
}

} // namespace troupe::bulk_memory
