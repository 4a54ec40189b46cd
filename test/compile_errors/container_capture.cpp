// expect: the captures of a function that is sent must be trivially copyable: send others with troupe::with
#include <troupe/troupe.hpp>

void call(troupe::cluster& c, const std::vector<int>& xs) {
  c.remotecall(2, [xs] { return xs.size(); });
}
