#include "troupe/actors/symbol_table.hpp"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <fcntl.h>
#include <link.h>
#include <optional>
#include <sys/stat.h>
#include <unistd.h>

namespace troupe::detail {
namespace {

// Pieces of a file. It is read rather than mapped, because a mapped file that somebody truncates meanwhile
// kills the process. Nothing is allocated that isn't in the file.
class elf_file {
public:
  explicit elf_file(const std::string& path) : fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    struct stat status;
    if (fd_ >= 0 && ::fstat(fd_, &status) == 0 && S_ISREG(status.st_mode))
      size_ = static_cast<std::uint64_t>(status.st_size);
  }
  ~elf_file() {
    if (fd_ >= 0)
      ::close(fd_);
  }
  elf_file(const elf_file&) = delete;
  elf_file& operator=(const elf_file&) = delete;

  // `count` elements of a trivial type, from `offset`; nothing unless all of them are there.
  template <class T>
  std::optional<std::vector<T>> read(std::uint64_t offset, std::uint64_t count) const {
    if (offset > size_ || count > (size_ - offset) / sizeof(T))
      return std::nullopt;
    std::vector<T> elements(count);
    auto* to = reinterpret_cast<char*>(elements.data());
    for (std::size_t done = 0, all = count * sizeof(T); done < all;) {
      const ssize_t n = ::pread(fd_, to + done, all - done, static_cast<off_t>(offset + done));
      if (n > 0)
        done += static_cast<std::size_t>(n);
      else if (n == 0 || errno != EINTR)
        return std::nullopt;
    }
    return elements;
  }

private:
  int fd_;
  std::uint64_t size_ = 0;
};

using sections = std::vector<ElfW(Shdr)>;

std::optional<sections> read_sections(const elf_file& file) {
  constexpr int native_class = sizeof(void*) == 8 ? ELFCLASS64 : ELFCLASS32;
  constexpr int native_order = std::endian::native == std::endian::little ? ELFDATA2LSB : ELFDATA2MSB;
  const auto start = file.read<ElfW(Ehdr)>(0, 1);
  if (!start)
    return std::nullopt;
  const auto& header = start->front();
  if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_ident[EI_CLASS] != native_class
      || header.e_ident[EI_DATA] != native_order || header.e_shentsize != sizeof(ElfW(Shdr)))
    return std::nullopt;
  return file.read<ElfW(Shdr)>(header.e_shoff, header.e_shnum);
}

bool is_function(const ElfW(Sym) & symbol) {
  const auto type = symbol.st_info & 0xf;
  return (type == STT_FUNC || type == STT_GNU_IFUNC) && symbol.st_shndx != SHN_UNDEF && symbol.st_size > 0;
}

} // namespace

symbol_table::symbol_table(const std::string& path) {
  const elf_file file(path);
  const auto all = read_sections(file);
  if (!all)
    return;
  const auto table = std::find_if(all->begin(), all->end(), [](const auto& s) { return s.sh_type == SHT_SYMTAB; });
  if (table == all->end() || table->sh_link >= all->size())
    return;
  const auto& strings = (*all)[table->sh_link];
  const auto symbols = file.read<ElfW(Sym)>(table->sh_offset, table->sh_size / sizeof(ElfW(Sym)));
  const auto names = file.read<char>(strings.sh_offset, strings.sh_size);
  if (!symbols || !names || strings.sh_type != SHT_STRTAB)
    return;
  for (const auto& symbol : *symbols)
    if (is_function(symbol) && symbol.st_name < names->size())
      functions_.push_back({symbol.st_value, symbol.st_size, symbol.st_name});
  if (functions_.empty())
    return;
  functions_.shrink_to_fit();
  std::sort(functions_.begin(), functions_.end(), [](const auto& a, const auto& b) { return a.begin < b.begin; });
  names_.assign(names->begin(), names->end()); // in a std::string the last one ends, whatever the file says
}

std::string_view symbol_table::find(std::uint64_t offset) const {
  const auto next =
    std::upper_bound(functions_.begin(), functions_.end(), offset, [](std::uint64_t o, const function& f) { return o < f.begin; });
  if (next == functions_.begin())
    return {};
  const auto& found = *std::prev(next);
  return offset - found.begin < found.size ? std::string_view(names_.c_str() + found.name) : std::string_view{};
}

} // namespace troupe::detail
