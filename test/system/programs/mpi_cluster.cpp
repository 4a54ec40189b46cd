// A cluster of an MPI job's ranks, which tells what it finds; "name: value" on each line.
#include <troupe/troupe.hpp>

#include "cpu_seconds.hpp"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <numeric>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <unistd.h>

using namespace std::chrono_literals;
using test::cpu_seconds;
using troupe::here;
using troupe::proc_id;

namespace {

std::vector<double> doubled(std::vector<double> x) {
  for (auto& v : x)
    v *= 2;
  return x;
}

std::string outcome_of_call(troupe::cluster& c, proc_id id) {
  try {
    c.remotecall_fetch(id, [] {});
    return "answers";
  } catch (const troupe::process_exited&) {
    return "process_exited";
  } catch (const troupe::error& e) {
    return e.what();
  }
}

void talk(troupe::cluster& c) {
  std::cout << "processes:";
  for (auto id : c.procs())
    std::cout << ' ' << id;
  std::cout << "\nranks:";
  for (auto id : c.procs()) {
    const auto rank = c.remotecall_fetch(id, [] { return std::string{std::getenv("PMI_RANK") ? std::getenv("PMI_RANK") : "none"}; });
    std::cout << ' ' << rank;
  }
  // each to each
  int right = 0, pairs = 0;
  for (auto a : c.procs())
    for (auto b : c.procs()) {
      ++pairs;
      right += c.remotecall_fetch(
                 a, [](proc_id to) { return here().remotecall_fetch(to, [](int x) { return x + here().myid(); }, 1000); }, b)
               == 1000 + b;
    }
  std::cout << "\nright: " << right << " of " << pairs;
  std::vector<double> large(8 << 20);
  std::iota(large.begin(), large.end(), 0);
  int equal = 0;
  for (auto id : c.workers()) {
    const auto back = c.remotecall_fetch<doubled>(id, large);
    equal += back.size() == large.size() && back[1000] == 2000 && back.back() == 2 * large.back();
  }
  std::cout << "\nlarge: " << equal << " of " << c.workers().size();
  const auto numbers = troupe::remote_channel<int>::on(c, 1, 100);
  c.remote_do(
    c.workers().back(),
    [](const troupe::remote_channel<int>& to) {
      for (int i = 0; i < 10'000; ++i)
        to.put(i);
    },
    numbers);
  int in_order = 0;
  for (int i = 0; i < 10'000; ++i)
    in_order += numbers.take() == i;
  std::cout << "\nin order: " << in_order;
  std::set<std::string> kinds;
  for (auto& l : c.links())
    kinds.insert(l.kind);
  std::cout << "\nlinks:";
  for (auto& k : kinds)
    std::cout << ' ' << k;
  std::this_thread::sleep_for(200ms);
  double before = 0, after = 0;
  for (auto id : c.procs())
    before += c.remotecall_fetch<cpu_seconds>(id);
  std::this_thread::sleep_for(1s);
  for (auto id : c.procs())
    after += c.remotecall_fetch<cpu_seconds>(id);
  std::cout << "\nidle: " << 100 * (after - before) << "\nfinished: yes" << std::endl;
}

void tell_addresses(troupe::cluster& c) {
  std::cout << "addresses:";
  for (auto id : c.workers())
    std::cout << ' ' << c.info(id).address;
  int right = 0; // a worker to a worker
  for (auto id : c.workers())
    right += c.remotecall_fetch(c.workers().front(), [](proc_id to) { return here().remotecall_fetch(to, [] { return 1; }); }, id);
  std::cout << "\nright: " << right << std::endl;
}

void remove_one(troupe::cluster& c) {
  const auto gone = c.workers().front();
  c.rmprocs({gone});
  std::cout << "removed: " << outcome_of_call(c, gone) << "\nother: " << outcome_of_call(c, c.workers().back())
            << "\nleft: " << c.workers().size() << std::endl;
}

} // namespace

int main(int argc, char** argv) {
  troupe::app app{"mpi_cluster", "What a cluster of MPI ranks can do"};
  std::string what = "talk";
  app.option("--what", what, "talk, remove, where, throw, wait, hold");
  return app.run(argc, argv, [&](troupe::cluster& c) {
    if (what == "talk")
      return talk(c), 0;
    if (what == "remove")
      return remove_one(c), 0;
    if (what == "where")
      return tell_addresses(c), 0;
    if (what == "throw")
      throw std::runtime_error{"thrown by the body"};
    if (what == "hold") // a worker that doesn't come back when the program ends
      c.remote_do(c.workers().front(), [] { std::this_thread::sleep_for(1h); });
    if (what == "wait") {
      std::cout << "ready: yes" << std::endl;
      c.remotecall_fetch(c.workers().front(), [] { std::this_thread::sleep_for(1h); });
    }
    return 7;
  });
}
