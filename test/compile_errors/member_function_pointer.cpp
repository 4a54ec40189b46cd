// expect: pass a member function as troupe::fn<&T::f>, with the object as first argument
#include <troupe/troupe.hpp>

struct grid {
  int size() const { return 1; }
};

void call(troupe::cluster& c) { c.remotecall(2, &grid::size, grid{}); }
