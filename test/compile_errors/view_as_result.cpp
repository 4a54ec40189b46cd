// expect: the function's result can't be sent back: give its type an inspect
#include <troupe/troupe.hpp>

void call(troupe::cluster& c) {
  c.remotecall(2, [](std::string_view s) { return s.substr(1); }, "text");
}
