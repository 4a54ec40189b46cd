// expect: values of this type can't be sent to another process: give it an inspect
#include <troupe/troupe.hpp>

void call(troupe::cluster& c, std::string_view name) {
  c.remotecall(2, troupe::with(name, [](std::string_view n) { return n.size(); }));
}
