#include <iostream>

#include <troupe/troupe.hpp>

int main(int argc, char** argv) {
  troupe::app app{"consumer", "Adds two numbers on a cluster"};
  return app.run(argc, argv, [](troupe::cluster& c) {
    int sum = c.remotecall_fetch(troupe::any, [](int a, int b) { return a + b; }, 20, 22);
    std::cout << sum << '\n';
    return sum == 42 ? 0 : 1;
  });
}
