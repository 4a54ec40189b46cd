#include "build_id.hpp"

#include <bit>
#include <cstring>
#include <fstream>
#include <optional>

#include <elf.h>

namespace command {

namespace {

constexpr std::size_t longest_id = 64;

template <class T>
std::optional<T> read_at(std::string_view bytes, std::size_t at) {
  T out;
  if (at > bytes.size() || bytes.size() - at < sizeof out)
    return std::nullopt;
  std::memcpy(&out, bytes.data() + at, sizeof out);
  return out;
}

std::string to_hex(std::string_view bytes) {
  constexpr char digits[] = "0123456789abcdef";
  std::string out;
  for (const char c : bytes) {
    out += digits[static_cast<unsigned char>(c) >> 4];
    out += digits[static_cast<unsigned char>(c) & 15];
  }
  return out;
}

std::string id_in_notes(std::string_view notes, std::size_t alignment) {
  const auto aligned = [&](std::size_t n) { return (n + alignment - 1) / alignment * alignment; };
  while (const auto note = read_at<::Elf64_Nhdr>(notes, 0)) {
    const auto content = aligned(sizeof *note + note->n_namesz);
    if (content > notes.size() || note->n_descsz > notes.size() - content)
      return {};
    if (note->n_type == NT_GNU_BUILD_ID && note->n_namesz == 4 && std::memcmp(notes.data() + sizeof *note, "GNU", 4) == 0
        && note->n_descsz <= longest_id)
      return to_hex(notes.substr(content, note->n_descsz));
    const auto next = content + aligned(note->n_descsz);
    if (next >= notes.size())
      return {};
    notes.remove_prefix(next);
  }
  return {};
}

} // namespace

std::string build_id_in(std::string_view bytes) {
  const auto header = read_at<::Elf64_Ehdr>(bytes, 0);
  constexpr int order = std::endian::native == std::endian::little ? ELFDATA2LSB : ELFDATA2MSB;
  if (!header || std::memcmp(header->e_ident, ELFMAG, SELFMAG) != 0 || header->e_ident[EI_CLASS] != ELFCLASS64
      || header->e_ident[EI_DATA] != order)
    return {};
  for (std::size_t i = 0; i < header->e_phnum; ++i) {
    const auto segment = read_at<::Elf64_Phdr>(bytes, header->e_phoff + i * sizeof(::Elf64_Phdr));
    if (!segment)
      return {};
    if (segment->p_type != PT_NOTE || segment->p_offset > bytes.size())
      continue;
    if (const auto id = id_in_notes(bytes.substr(segment->p_offset, segment->p_filesz), segment->p_align == 8 ? 8 : 4); !id.empty())
      return id;
  }
  return {};
}

std::string build_id_of_file(const std::string& path) {
  std::ifstream in{path, std::ios::binary};
  std::string bytes(build_id_within, '\0');
  in.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  bytes.resize(static_cast<std::size_t>(std::max<std::streamsize>(0, in.gcount())));
  return build_id_in(bytes);
}

std::string from_hex(std::string_view digits) {
  const auto value = [](char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1; };
  std::string out;
  for (std::size_t i = 0; i + 1 < digits.size(); i += 2) {
    const int high = value(digits[i]), low = value(digits[i + 1]);
    if (high < 0 || low < 0)
      return {};
    out += static_cast<char>(high * 16 + low);
  }
  return digits.size() % 2 == 0 ? out : std::string{};
}

} // namespace command
