// The line by which a worker tells where it listens.
#include "fuzz/input.hpp"

#include "troupe/managers/start_line.hpp"

#include <string>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view line{reinterpret_cast<const char*>(data), size};
  auto where = troupe::parse_start_line(line);
  if (!where)
    return 0;
  const bool own = !where->scheme().empty(); // of a transport of the user's own
  fuzz::require(own || where->port != 0, "a worker has a port");
  fuzz::require(own || (where->address.size() <= 45 && where->address.find_first_not_of("0123456789abcdefABCDEF.:") == std::string::npos),
                "an address is numeric");
  auto again = troupe::parse_start_line(troupe::start_line(*where));
  fuzz::require(again && again->port == where->port && again->address == where->address, "what was understood can be told");
  fuzz::require(line.ends_with("#" + where->address), "nothing of the line is left out");
  return 0;
}
