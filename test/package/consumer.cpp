// A program of somebody who uses troupe: the whole surface by its four headers.
#include <troupe/actors.hpp>
#include <troupe/cli.hpp>
#include <troupe/mpi.hpp>
#include <troupe/troupe.hpp>

#include <iostream>

caf::behavior adder(caf::stateful_actor<int>* self) {
  return {[=](int n) { return self->state += n; }};
}

int main(int argc, char** argv) {
  troupe::app app{"consumer", "Adds numbers on a cluster"};
  int n = 20;
  app.option("--count", n, "the first number").check(CLI::PositiveNumber);
  return app.run(argc, argv, [&](troupe::cluster& c) {
    auto a = c.spawn<adder>(c.workers().back());
    c.request<int>(a, n);
    const int sum = c.remotecall_fetch(troupe::any, [](caf::actor a, int b) { return troupe::here().request<int>(a, b); }, a, 22);
    int version = 0, subversion = 0;
    MPI_Get_version(&version, &subversion);
    std::cout << sum << ", MPI " << (version >= 3 ? "3 or later" : "too old") << '\n';
    return sum == n + 22 ? 0 : 1;
  });
}
