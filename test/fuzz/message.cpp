// What CAF's messages consist of, from a peer that has the message types of this program. The first byte chooses: 0 the elements
// of a message, 1 a message within a message, 2 an error, 3 a node id.
#include "fuzz/message_values.hpp"
#include "fuzz/round_trip.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static fuzz::no_actors actors;
  fuzz::input in{data, size};
  auto choice = in.byte() % 4;
  if (choice == 0)
    fuzz::round_trip<fuzz::elements>(in.rest(), &actors);
  else if (choice == 1)
    fuzz::round_trip<caf::message>(in.rest(), &actors);
  else if (choice == 2)
    fuzz::round_trip<caf::error>(in.rest(), &actors);
  else
    fuzz::round_trip<caf::node_id>(in.rest(), &actors);
  return 0;
}
