// expect: arguments are decoded into a default-constructed value: give the parameter's type a default constructor
#include <troupe/troupe.hpp>

struct seed {
  explicit seed(int v) : value(v) {}
  int value;
};

void call(troupe::cluster& c) {
  c.remotecall(2, [](seed s) { return s.value; }, seed{1});
}
