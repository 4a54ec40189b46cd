// Has workers that strangers try to talk to. Calls each of them, and has them call each other, for each line
// of its stdin.
#include <troupe/troupe.hpp>

#include <iostream>
#include <string>

using troupe::here;
using troupe::proc_id;

int main(int argc, char** argv) {
  troupe::app app{"faults_strangers", "Workers that strangers talk to"};
  return app.run(argc, argv, [&](troupe::cluster& c) {
    std::cout << "cookie: " << c.cookie() << '\n';
    for (auto id : c.workers())
      std::cout << "address of " << id << ": " << c.info(id).address << '\n' << "pid of " << id << ": " << c.info(id).os_pid << '\n';
    std::cout << "ready: yes" << std::endl;
    std::string round;
    while (std::getline(std::cin, round)) {
      int n = 0;
      for (auto a : c.workers())
        for (auto b : c.workers())
          n += c.remotecall_fetch(a, [](proc_id b) { return here().remotecall_fetch(b, [] { return 1; }); }, b);
      std::cout << "answers to " << round << ": " << n << std::endl;
    }
    return 0;
  });
}
