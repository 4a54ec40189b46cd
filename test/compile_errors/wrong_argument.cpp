// expect: an argument doesn't convert to the parameter's type
#include <troupe/troupe.hpp>

void call(troupe::cluster& c) {
  c.remotecall(2, [](int n) { return n; }, std::string{"3"});
}
