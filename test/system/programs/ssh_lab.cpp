// What test/system/ssh_hosts.cpp looks at in a lab: workers on hosts that vanish. Says in lines what it finds.
#include <troupe/troupe.hpp>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>

using namespace std::chrono_literals;

namespace {

int lab(const std::string& command) { return std::system((std::string{std::getenv("LAB")} + " " + command).c_str()); }

// Until the worker is known to be lost, in ms; -1 if that isn't so within 20 s.
long time_to_lose(troupe::cluster& c, troupe::proc_id id) {
  const auto begin = std::chrono::steady_clock::now();
  try {
    c.remotecall_wait(troupe::call_options{.deadline = 20s}, id, [] {
      for (;;)
        troupe::this_task::sleep_for(1s);
    });
  } catch (const troupe::process_exited&) {
    return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - begin).count();
  } catch (const troupe::deadline_exceeded&) {
  }
  return -1;
}

} // namespace

int main(int argc, char** argv) {
  troupe::app app{"ssh_lab"};
  std::string what;
  app.option("--what", what, "which of these");
  return app.run(argc, argv, [&](troupe::cluster& c) {
    troupe::ssh_options o;
    o.launch_timeout = 20s;
    if (what == "many") {
      std::vector<troupe::machine_spec> machines;
      for (int i = 1; i <= 8; ++i)
        machines.emplace_back("host" + std::to_string(i), 8);
      const auto begin = std::chrono::steady_clock::now();
      std::cout << "workers: " << c.addprocs(machines, o).size() << '\n';
      std::cout << "ms: " << std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - begin).count()
                << std::endl;
      return 0;
    }
    if (what == "killed") {
      c.addprocs({{"host1", 2}, {"host2", 2}}, o);
      lab("cut host2");
      std::raise(SIGKILL);
    }
    o.tunnel = what == "tunnel";
    o.multiplex = what == "multiplex";
    const auto ids = c.addprocs({{"host1", 2}, {"host2", 2}}, o);
    for (auto id : ids)
      std::cout << "address: " << c.info(id).address << '\n';
    // each can call each, over whatever way
    int calls = 0;
    for (auto a : ids)
      for (auto b : ids)
        calls += c.remotecall_fetch(a, [](troupe::proc_id to) { return troupe::here().remotecall_fetch(to, [] { return 1; }); }, b);
    std::cout << "calls: " << calls << '\n';
    lab("down host2");
    std::cout << "lost: " << time_to_lose(c, ids[2]) << '\n';
    std::cout << "lost: " << time_to_lose(c, ids[3]) << '\n';
    std::cout << "alive: " << c.remotecall_fetch(ids[1], [] { return 1; }) << std::endl;
    // an unreachable host costs the others nothing
    o.partial = true;
    o.launch_timeout = 6s;
    const auto came = c.addprocs({"host2", "host3"}, o).size();
    std::cout << "came: " << came << std::endl;
    return 0;
  });
}
