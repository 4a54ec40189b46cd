// Workers that have more to do than there are CPUs, for as long as one likes: none of them may be taken for dead. Prints how many
// were, and the longest time that a worker's event loop took to answer, of which the longest gap between heartbeats is a part.
#include "system/load.hpp"

#include <troupe/cli.hpp>

#include <iostream>

namespace {

using namespace std::chrono_literals;
using troupe::proc_id;
using clock = std::chrono::steady_clock;

void spin(int milliseconds) {
  const auto until = clock::now() + std::chrono::milliseconds{milliseconds};
  while (clock::now() < until) {
  }
}

/// Asks a worker's loop again and again; the longest time in milliseconds.
double slowest_answer(troupe::cluster& c, proc_id id, clock::time_point until) {
  double slowest = 0;
  while (clock::now() < until) {
    const auto begin = clock::now();
    c.remotecall_fetch(id, troupe::direct([] {}));
    slowest = std::max(slowest, std::chrono::duration<double, std::milli>(clock::now() - begin).count());
    std::this_thread::sleep_for(10ms);
  }
  return slowest;
}

/// Keeps one of a worker's threads busy.
void keep_busy(troupe::cluster& c, proc_id id, clock::time_point until) {
  while (clock::now() < until)
    c.remotecall_wait<spin>(id, 500);
}

} // namespace

int main(int argc, char** argv) {
  troupe::app app{"soak", "Busy workers that must not be taken for dead"};
  double minutes = 1;
  app.option("--minutes", minutes, "how long");
  load::register_messages(app);
  return app.run(argc, argv, [&](troupe::cluster& c) {
    troupe::local_options options;
    options.threads = 2;
    const auto all = c.addprocs(4, options);
    const auto until = clock::now() + std::chrono::duration_cast<clock::duration>(std::chrono::duration<double>{60 * minutes});
    std::mutex mutex;
    std::vector<std::string> problems;
    double slowest = 0;
    const auto watched = [&](auto what) {
      return std::thread{[&, what] {
        try {
          what();
        } catch (const std::exception& e) {
          std::lock_guard guard{mutex};
          problems.emplace_back(e.what());
        }
      }};
    };
    load::generator calls{c, 1, 1};
    calls.join(all);
    std::vector<std::thread> threads;
    for (auto id : all) {
      threads.push_back(watched([&, id] { keep_busy(c, id, until); }));
      threads.push_back(watched([&, id] {
        const auto t = slowest_answer(c, id, until);
        std::lock_guard guard{mutex};
        slowest = std::max(slowest, t);
      }));
    }
    for (auto& t : threads)
      t.join();
    for (auto& text : calls.complaints())
      problems.push_back(text);
    const auto lost = static_cast<int>(all.size()) - (c.nprocs() - 1);
    std::cout << "workers: " << all.size() << "\nminutes: " << minutes << "\ntaken for dead: " << lost
              << "\ncalls that returned: " << calls.right() << "\nslowest answer of a loop: " << slowest << " ms\n";
    for (auto& text : problems)
      std::cout << "problem: " << text << '\n';
    return lost == 0 && problems.empty() ? 0 : 1;
  });
}
