// expect: the function's result can't be sent back: give its type an inspect
#include <troupe/troupe.hpp>

void call(troupe::cluster& c) {
  c.remotecall(2, [] { return std::make_shared<int>(1); });
}
