#include "troupe/actors/loaded_module.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <climits>
#include <cstddef>
#include <cstring>
#include <fcntl.h>
#include <link.h>
#include <map>
#include <mutex>
#include <span>
#include <stdexcept>
#include <sys/stat.h>
#include <system_error>
#include <tuple>
#include <unistd.h>
#include <vector>

namespace troupe::detail {
namespace {

// What dl_iterate_phdr's callback finds out. The loader's lock is held while it runs, so it must neither
// allocate nor throw nor read files: everything has fixed size.
struct module_search {
  std::uintptr_t address; // 0 asks for the program itself
  bool found = false;
  std::uintptr_t bias = 0;
  std::array<std::byte, 64> id;
  std::size_t id_size = 0;
  std::array<char, PATH_MAX> path;

  std::span<const std::byte> build_id() const { return {id.data(), id_size}; }
};

std::span<const ElfW(Phdr)> headers(const dl_phdr_info& module) { return {module.dlpi_phdr, module.dlpi_phnum}; }

bool contains(const dl_phdr_info& module, std::uintptr_t address, std::size_t size = 1) {
  const auto segments = headers(module);
  return std::any_of(segments.begin(), segments.end(), [&](const ElfW(Phdr) & segment) {
    const std::uintptr_t offset = address - (module.dlpi_addr + segment.p_vaddr); // wraps when it is below
    return segment.p_type == PT_LOAD && offset < segment.p_memsz && size <= segment.p_memsz - offset;
  });
}

// The build id among the notes of one PT_NOTE segment; empty when it isn't there.
std::span<const std::byte> build_id_in(std::span<const std::byte> notes, std::size_t alignment) {
  const auto aligned = [&](std::size_t n) { return (n + alignment - 1) & ~(alignment - 1); };
  ElfW(Nhdr) note;
  while (notes.size() >= sizeof note) {
    std::memcpy(&note, notes.data(), sizeof note);
    const std::size_t content = aligned(sizeof note + note.n_namesz);
    if (content > notes.size() || note.n_descsz > notes.size() - content)
      return {};
    if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 && std::memcmp(&notes[sizeof note], "GNU", 4) == 0)
      return notes.subspan(content, note.n_descsz);
    notes = notes.subspan(std::min(notes.size(), content + aligned(note.n_descsz)));
  }
  return {};
}

int visit_module(dl_phdr_info* module, std::size_t, void* data) {
  auto& search = *static_cast<module_search*>(data);
  const bool program = search.address == 0; // which is always visited first
  if (!program && !contains(*module, search.address))
    return 0;
  search.found = true;
  search.bias = module->dlpi_addr;
  const bool named = module->dlpi_name && *module->dlpi_name;
  const char* path = named ? module->dlpi_name : "/proc/self/exe";
  const std::size_t length = std::min(std::strlen(path), search.path.size() - 1);
  std::memcpy(search.path.data(), path, length);
  search.path[length] = 0;
  for (const auto& segment : headers(*module)) {
    const std::uintptr_t start = module->dlpi_addr + segment.p_vaddr;
    if (segment.p_type != PT_NOTE || !contains(*module, start, segment.p_memsz))
      continue;
    const auto id = build_id_in({reinterpret_cast<const std::byte*>(start), segment.p_memsz}, segment.p_align == 8 ? 8 : 4);
    if (id.empty() || id.size() > search.id.size())
      continue;
    std::copy(id.begin(), id.end(), search.id.begin());
    search.id_size = id.size();
    break;
  }
  return 1;
}

// Eight bytes at a time, since whole files may go through it. Only the last piece of what is hashed in pieces
// may have a length that is no multiple of eight.
std::uint64_t hash(std::span<const std::byte> bytes, std::uint64_t h) {
  while (!bytes.empty()) {
    std::uint64_t word = 0;
    const std::size_t n = std::min(bytes.size(), sizeof word);
    std::memcpy(&word, bytes.data(), n);
    h = std::rotl((h ^ word ^ n) * 0x9e3779b97f4a7c15u, 29);
    bytes = bytes.subspan(n);
  }
  return h;
}

// Spreads the last words over all bits.
std::uint64_t finished(std::uint64_t h) {
  h = (h ^ (h >> 31)) * 0xd6e8feb86659fd93u;
  return h ^ (h >> 32);
}

constexpr std::uint64_t seed = 0x74726f757065u;

class open_file {
public:
  explicit open_file(const char* path) : path_(path), fd_(::open(path, O_RDONLY | O_CLOEXEC)) {
    if (fd_ < 0)
      fail();
  }
  ~open_file() { ::close(fd_); }
  open_file(const open_file&) = delete;
  open_file& operator=(const open_file&) = delete;

  struct stat status() const {
    struct stat s;
    if (::fstat(fd_, &s) < 0)
      fail();
    return s;
  }

  // Fills the buffer unless the file ends.
  std::size_t read(std::span<std::byte> buffer) const {
    std::size_t done = 0;
    while (done < buffer.size()) {
      const ssize_t n = ::read(fd_, buffer.data() + done, buffer.size() - done);
      if (n == 0)
        break;
      if (n > 0)
        done += static_cast<std::size_t>(n);
      else if (errno != EINTR)
        fail();
    }
    return done;
  }

private:
  [[noreturn]] void fail() const { throw std::system_error(errno, std::generic_category(), "can't identify the code in " + path_); }

  std::string path_;
  int fd_;
};

std::uint64_t hash_of_contents(const char* path) {
  using file_state = std::tuple<dev_t, ino_t, off_t, std::time_t, long>;
  static std::mutex mutex; // guards known; held while a file is read, so that none is read twice
  static std::map<file_state, std::uint64_t> known;
  const open_file file(path);
  const auto status = file.status();
  const file_state key{status.st_dev, status.st_ino, status.st_size, status.st_mtim.tv_sec, status.st_mtim.tv_nsec};
  const std::lock_guard lock(mutex);
  if (const auto i = known.find(key); i != known.end())
    return i->second;
  std::vector<std::byte> buffer(64 * 1024);
  std::uint64_t h = seed;
  for (std::size_t n = buffer.size(); n == buffer.size();) {
    n = file.read(buffer);
    h = hash({buffer.data(), n}, h);
  }
  return known[key] = finished(h);
}

module_search search_for(std::uintptr_t address) {
  module_search search{.address = address, .id = {}, .path = {}};
  ::dl_iterate_phdr(visit_module, &search);
  return search;
}

module_search module_of(const void* code) {
  if (code) { // 0 would find the program
    auto module = search_for(reinterpret_cast<std::uintptr_t>(code));
    if (module.found)
      return module;
  }
  throw std::invalid_argument("the address belongs to no executable or shared library that is loaded");
}

std::string hex(std::span<const std::byte> bytes) {
  constexpr const char* digits = "0123456789abcdef";
  std::string text;
  for (const auto b : bytes) {
    text += digits[std::to_integer<unsigned>(b) >> 4];
    text += digits[std::to_integer<unsigned>(b) & 15];
  }
  return text;
}

std::string identity(const module_search& module) {
  if (module.id_size > 0)
    return hex(module.build_id());
  std::uint64_t h = hash_of_contents(module.path.data());
  std::array<std::byte, sizeof h> big_endian;
  for (auto i = big_endian.size(); i-- > 0; h >>= 8)
    big_endian[i] = static_cast<std::byte>(h & 0xff);
  return hex(big_endian);
}

} // namespace

code_location locate(const void* code) {
  const auto module = module_of(code);
  const std::uint64_t id = module.id_size > 0 ? finished(hash(module.build_id(), seed)) : hash_of_contents(module.path.data());
  return {.module = id, .offset = reinterpret_cast<std::uintptr_t>(code) - module.bias};
}

std::string build_id_of(const void* code) { return identity(module_of(code)); }

const std::string& program_build_id() {
  static const std::string id = identity(search_for(0));
  return id;
}

} // namespace troupe::detail
