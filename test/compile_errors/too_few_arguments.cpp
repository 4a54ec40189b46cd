// expect: the function takes another number of arguments
#include <troupe/troupe.hpp>

void call(troupe::cluster& c) {
  c.remotecall(2, [](int a, int b) { return a + b; }, 1);
}
