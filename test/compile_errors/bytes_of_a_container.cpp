// expect: troupe::bytes(f): only a trivially copyable function object is its bytes
#include <troupe/troupe.hpp>

void call(troupe::cluster& c, const std::vector<int>& xs) {
  c.remotecall(2, troupe::bytes([xs] { return xs.size(); }));
}
