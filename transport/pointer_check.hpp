#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <type_traits>

namespace troupe::detail {

/// A word that would be a valid pointer in this process.
struct found_pointer {
  std::size_t offset; ///< in bytes, from the start of what was searched
  std::uintptr_t value;
  std::string region; ///< "stack", "heap", "mapping", or the name of a file such as "libc.so.6"

  friend bool operator==(const found_pointer&, const found_pointer&) = default;
};

/// The first of the aligned words of 8 bytes that points into readable memory of this process: stacks, heap,
/// executable, libraries, or anything else that is mapped now. Offsets that are multiples of 8 count as
/// aligned, whatever the address of `bytes`; a rest of less than 8 bytes is not looked at. "stack" is the
/// main thread's or the caller's; other threads' are mappings. What the sanitizers reserve for themselves, in
/// terabytes, doesn't count.
///
/// An integer that happens to equal such an address is found too. Addresses are above 2^46 where executables
/// are position-independent, as compilers make them by default; in others, integers of some millions may be
/// addresses of functions and variables.
///
/// From any thread, without locks. Costs nothing for words that can be no address in user space, as is so with
/// doubles and small integers; else a system call of 0.2 µs, up to 64 times, after which the list of all
/// mappings is read once. So is it when a word points to something mapped.
std::optional<found_pointer> find_pointer(std::span<const std::byte> bytes);

#if defined(__has_builtin)
#if __has_builtin(__builtin_clear_padding)
#define TROUPE_CAN_CLEAR_PADDING
#endif
#endif

/// Whether this compiler can set the padding of an object to zero.
#ifdef TROUPE_CAN_CLEAR_PADDING
constexpr bool can_clear_padding = true;
#else
constexpr bool can_clear_padding = false;
#endif

/// Whether all bytes that cleared_bytes gives for a T are defined by its value, so that what find_pointer
/// finds is no stale stack contents. Unions are the exception: the bytes of an inactive member count, also
/// those of an empty std::optional.
template <class T>
constexpr bool pointer_check_possible =
  std::is_trivially_copyable_v<T> && (can_clear_padding || std::has_unique_object_representations_v<T>);

/// The object's bytes, with zeros for padding where the compiler can do that.
template <class T>
std::array<std::byte, sizeof(T)> cleared_bytes(const T& value) {
  static_assert(std::is_trivially_copyable_v<T>);
  alignas(T) std::array<std::byte, sizeof(T)> bytes;
  std::memcpy(bytes.data(), std::addressof(value), sizeof(T));
#ifdef TROUPE_CAN_CLEAR_PADDING
  __builtin_clear_padding(reinterpret_cast<T*>(bytes.data()));
#endif
  return bytes;
}

#undef TROUPE_CAN_CLEAR_PADDING

} // namespace troupe::detail
