// expect: or as troupe::fn<f>: its address means nothing in another process
#include <troupe/troupe.hpp>

int simulate(int seed) { return seed; }

void call(troupe::cluster& c) { c.remotecall(2, simulate, 1); }
