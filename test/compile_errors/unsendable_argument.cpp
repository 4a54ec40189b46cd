// expect: values of this type can't be sent to another process: give it an inspect
// expect: session
#include <troupe/troupe.hpp>

struct session {
  std::shared_ptr<int> state;
};

void call(troupe::cluster& c) {
  c.remotecall(2, [](session) {}, session{});
}
