// Values. The first byte chooses the type, the rest is decoded as one; what can be decoded must survive being sent on.
#include "fuzz/round_trip.hpp"
#include "fuzz/values.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::input in{data, size};
  auto choice = in.byte();
  fuzz::for_type(choice, [&]<class T>(std::type_identity<T>) {
    if (auto x = fuzz::round_trip<T>(in.rest()))
      fuzz::use(*x);
  });
  return 0;
}
