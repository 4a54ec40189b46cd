#include "troupe/transport/pointer_check.hpp"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <fcntl.h>
#include <pthread.h>
#include <string_view>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <vector>

namespace troupe::detail {
namespace {

constexpr std::uintptr_t lowest = 0x10000;         // Linux maps nothing below
constexpr std::uintptr_t highest = 0x7fffffffffff; // nor above, unless it is asked to
constexpr std::uintptr_t page = 4096; // where they are larger, mapped() is true too often, not wrong
constexpr std::uintptr_t sanitizers_size = std::uintptr_t{1} << 40;

// The cheapest question to the kernel that tells: an asynchronous msync does nothing, but fails where nothing
// is mapped. Not by the library's function, in which a thread may be cancelled. True also if the kernel can't
// tell.
bool mapped(std::uintptr_t address) {
  const int before = errno;
  const bool yes = ::syscall(SYS_msync, address & ~(page - 1), page, MS_ASYNC) == 0 || errno != ENOMEM;
  errno = before;
  return yes;
}

// All that is mapped, from /proc/self/maps; empty where that can't be read.
class memory_map {
public:
  struct mapping {
    std::uintptr_t begin, end;
    bool readable;
    std::string_view path;
  };

  memory_map() : text_(read_all()) {
    std::string_view rest = text_;
    while (!rest.empty()) {
      const auto line = rest.substr(0, rest.find('\n'));
      rest.remove_prefix(std::min(rest.size(), line.size() + 1));
      add(line);
    }
  }
  memory_map(const memory_map&) = delete;
  memory_map& operator=(const memory_map&) = delete;

  const mapping* find(std::uintptr_t address) const {
    const auto next =
      std::upper_bound(mappings_.begin(), mappings_.end(), address, [](std::uintptr_t a, const mapping& m) { return a < m.begin; });
    if (next == mappings_.begin() || address >= std::prev(next)->end)
      return nullptr;
    return &*std::prev(next);
  }

private:
  static std::string read_all() {
    std::string text;
    const int fd = ::open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
      return text;
    for (std::size_t size = 0;;) {
      text.resize(size + 16 * 1024);
      const ssize_t n = ::read(fd, text.data() + size, text.size() - size);
      if (n < 0 && errno == EINTR)
        continue;
      size += static_cast<std::size_t>(std::max<ssize_t>(n, 0));
      if (n <= 0) {
        text.resize(size);
        break;
      }
    }
    ::close(fd);
    return text;
  }

  // 7f5c04000000-7f5c04021000 rw-p 00000000 00:00 0          /usr/lib/x86_64-linux-gnu/libc.so.6
  void add(std::string_view line) {
    mapping m{};
    const char* const end = line.data() + line.size();
    const auto first = std::from_chars(line.data(), end, m.begin, 16);
    if (first.ptr == end || *first.ptr != '-')
      return;
    const auto last = std::from_chars(first.ptr + 1, end, m.end, 16);
    if (end - last.ptr < 2)
      return;
    m.readable = last.ptr[1] == 'r';
    std::string_view rest(last.ptr, static_cast<std::size_t>(end - last.ptr));
    for (int field = 0; field < 4; ++field) { // permissions, offset, device, inode
      rest.remove_prefix(std::min(rest.find_first_not_of(' '), rest.size()));
      rest.remove_prefix(std::min(rest.find(' '), rest.size()));
    }
    rest.remove_prefix(std::min(rest.find_first_not_of(' '), rest.size()));
    m.path = rest;
    mappings_.push_back(m);
  }

  std::string text_;
  std::vector<mapping> mappings_; // sorted, as the kernel lists them
};

bool on_own_stack(std::uintptr_t address) {
  pthread_attr_t attributes;
  if (::pthread_getattr_np(::pthread_self(), &attributes) != 0)
    return false;
  void* begin = nullptr;
  std::size_t size = 0;
  const bool known = ::pthread_attr_getstack(&attributes, &begin, &size) == 0;
  ::pthread_attr_destroy(&attributes);
  return known && address - reinterpret_cast<std::uintptr_t>(begin) < size;
}

std::string name_of(const memory_map::mapping* mapping, std::uintptr_t address) {
  const std::string_view path = mapping ? mapping->path : std::string_view{};
  if (path.starts_with('/'))
    return std::string(path.substr(path.rfind('/') + 1));
  if (path == "[stack]" || on_own_stack(address))
    return "stack";
  return path == "[heap]" ? "heap" : path == "[vdso]" ? "vdso" : "mapping";
}

// What one search knows about the memory of the process. It asks the kernel about single words as long as
// these are few, and for all mappings when there are many or one is mapped. Nothing is kept from one search
// to the next: a table that is never stale would need a system call for each word as well.
class prober {
public:
  bool points_somewhere(std::uintptr_t word) {
    if (word < lowest || word > highest || word / page == unmapped_page_)
      return false;
    bool probed = false;
    if (!map_) {
      probed = probes_++ < most_probes;
      if (probed && !mapped(word)) {
        unmapped_page_ = word / page;
        return false;
      }
      map_.emplace();
    }
    const auto* mapping = map_->find(word);
    if (!mapping)
      return probed; // mapped by another thread just now, or there is no list
    return mapping->readable && mapping->end - mapping->begin < sanitizers_size;
  }

  std::string region(std::uintptr_t word) const { return name_of(map_->find(word), word); }

private:
  static constexpr int most_probes = 64;

  std::optional<memory_map> map_;
  std::uintptr_t unmapped_page_ = 0;
  int probes_ = 0;
};

} // namespace

std::optional<found_pointer> find_pointer(std::span<const std::byte> bytes) {
  prober memory;
  std::uintptr_t word;
  static_assert(sizeof word == 8);
  for (std::size_t offset = 0; offset + sizeof word <= bytes.size(); offset += sizeof word) {
    std::memcpy(&word, &bytes[offset], sizeof word);
    if (memory.points_somewhere(word))
      return found_pointer{.offset = offset, .value = word, .region = memory.region(word)};
  }
  return std::nullopt;
}

} // namespace troupe::detail
