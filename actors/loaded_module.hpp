#pragma once

#include <cstdint>
#include <string>

namespace troupe::detail {

/// A place in the code of this process, named so that it is the same in every process that runs the same
/// files, wherever the loader put them.
struct code_location {
  std::uint64_t module; ///< hash of the build id of the executable or shared library
  std::uint64_t offset; ///< the address as the file itself counts it, which is what objdump shows

  friend bool operator==(const code_location&, const code_location&) = default;
};

/// `code` is any address within an executable or shared library that is loaded now, those that were opened by
/// dlopen included. Throws std::invalid_argument when nothing that is loaded contains it.
///
/// A file that was linked without a build id is identified by a hash of its contents instead: the first call
/// reads all of it (about 1 s for each GB from the page cache), later ones look at its inode. That throws
/// std::system_error when the file can't be read any more.
///
/// From any thread; also before main.
code_location locate(const void* code);

/// The same file's build id in hexadecimal, as `readelf -n` prints it; 16 digits of the contents' hash when
/// there is none. Throws as locate does.
std::string build_id_of(const void* code);

/// That of the main executable.
const std::string& program_build_id();

} // namespace troupe::detail
