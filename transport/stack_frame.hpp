#pragma once

#include <cstdint>
#include <string>

namespace troupe {

/// @addtogroup errors
/// @{

/// One call on the stack of an exception, as plain data that can be read without the code it names.
struct stack_frame {
  std::string function;     ///< demangled; empty when it has no name
  std::string module;       ///< the file name, without folders, of the executable or library
  std::uint64_t offset = 0; ///< of the call in the module, as addr2line takes it
  int count = 1;            ///< how many equal frames in a row this stands for: more than 1 in recursion

  /// Whether all members are equal.
  friend bool operator==(const stack_frame&, const stack_frame&) = default;
};

/// @}

} // namespace troupe
