#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace troupe::detail {

/// The functions that an ELF file has names for, static ones and lambdas included.
class symbol_table {
public:
  /// Reads the file, which is not needed any more afterwards. One that can't be read, is stripped, or is not
  /// a valid file for this machine gives an empty table.
  explicit symbol_table(const std::string& path);

  /// The mangled name of the function that contains `offset`, an address as the file counts it; empty when
  /// there is none. Valid as long as the table.
  std::string_view find(std::uint64_t offset) const;

  bool empty() const { return functions_.empty(); }

private:
  struct function {
    std::uint64_t begin;
    std::uint64_t size;
    std::uint32_t name; // where it begins in names_
  };

  std::vector<function> functions_; // by begin
  std::string names_;               // null-terminated ones
};

} // namespace troupe::detail
