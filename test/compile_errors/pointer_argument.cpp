// expect: values of this type can't be sent to another process: give it an inspect
#include <troupe/troupe.hpp>

void call(troupe::cluster& c, const double* values) {
  c.remotecall(2, [](const double* p) { return p[0]; }, values);
}
