// Collectives among the ranks of an MPI job, in each mode; "name: value" on each line.
#include <troupe/mpi.hpp>
#include <troupe/troupe.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <functional>
#include <iostream>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <unistd.h>

using namespace std::chrono_literals;
using troupe::here;
using troupe::proc_id;

namespace {

using steady = std::chrono::steady_clock;
using doubles = std::vector<double>;

constexpr std::size_t million = 1'000'000;

double seconds_since(steady::time_point t) { return std::chrono::duration<double>(steady::now() - t).count(); }

doubles many() { return doubles(million, here().myid()); }

doubles sum_of(doubles a, const doubles& b) {
  std::transform(a.begin(), a.end(), b.begin(), a.begin(), std::plus<>{});
  return a;
}

doubles kept;

void keep(const doubles& x) { kept = x; }

std::string own_name() { return "(" + std::to_string(here().myid()) + ")"; }

std::string kept_name;

std::string names_of(const std::vector<proc_id>& ids) {
  std::string out;
  for (auto id : ids)
    out += "(" + std::to_string(id) + ")";
  return out;
}

// The small one is less than what goes with its header, the large one asks for room.
doubles own_number(std::size_t n) { return doubles(n, here().myid()); }

int right = 0, all = 0;

void expect(bool x, const std::string& what) {
  ++all;
  if (x)
    ++right;
  else
    std::cout << "wrong: " << what << std::endl;
}

template <class F>
std::string error_of(F f) {
  const auto begin = steady::now();
  std::string out = "nothing";
  try {
    f();
  } catch (const troupe::error& e) {
    out = std::string{to_string(e.kind())} + " " + std::to_string(e.pid()) + " " + e.message();
  }
  return out + (seconds_since(begin) < 20 ? "" : " late");
}

// The middle one of `n`, in ms.
template <class F>
double middle_of(int n, F f) {
  std::vector<double> all;
  for (int i = 0; i < n; ++i) {
    const auto begin = steady::now();
    f();
    all.push_back(1000 * seconds_since(begin));
  }
  std::sort(all.begin(), all.end());
  return all[all.size() / 2];
}

void show_times(troupe::cluster& c, const troupe::mpi_manager& m, int n) {
  const auto procs = m.procs();
  std::cout << "MPI_Allreduce alone: "
            << c.mpi_do(
                  m,
                  [](MPI_Comm world, int times) {
                    const auto mine = many();
                    doubles sum(million);
                    return middle_of(times, [&] {
                      MPI_Barrier(world);
                      MPI_Allreduce(mine.data(), sum.data(), static_cast<int>(million), MPI_DOUBLE, MPI_SUM, world);
                    });
                  },
                  n)
                 .front()
            << std::endl;
  std::cout << "mpi_do with MPI_Allreduce: " << middle_of(n, [&] {
    c.mpi_do(m, [](MPI_Comm world) {
      const auto mine = many();
      doubles sum(million);
      MPI_Allreduce(mine.data(), sum.data(), static_cast<int>(million), MPI_DOUBLE, MPI_SUM, world);
      keep(sum);
    });
  }) << std::endl;
  std::cout << "allreduce: " << middle_of(n, [&] { c.allreduce(procs, troupe::fn<many>, troupe::fn<sum_of>); }) << std::endl;
  std::cout << "allreduce and use: " << middle_of(n, [&] { c.allreduce(procs, troupe::fn<many>, troupe::fn<sum_of>, troupe::fn<keep>); })
            << std::endl;
  const doubles large(million, 0.5);
  std::cout << "broadcast: " << middle_of(n, [&] { c.broadcast(procs, large, troupe::fn<keep>); }) << std::endl;
  std::cout << "scalar allreduce: " << middle_of(20 * n, [&] { c.allreduce(procs, [] { return 1.0; }, std::plus<>{}); }) << std::endl;
  std::cout << "scalar allreduce and use: "
            << middle_of(20 * n, [&] { c.allreduce(procs, [] { return 1.0; }, std::plus<>{}, [](double) {}); }) << std::endl;
  for (const std::size_t size : {10, 1000, 4000, 16000, 64000, 250000})
    std::cout << "allreduce and use of " << size << ": " << middle_of(10 * n, [&] {
      c.allreduce(procs, troupe::with(size, [](std::size_t k) { return doubles(k, 1); }), troupe::fn<sum_of>, troupe::fn<keep>);
    }) << std::endl;
  for (const std::size_t size : {10, 1000, 4000, 16000, 64000, 250000}) {
    const doubles v(size, 1);
    std::cout << "broadcast of " << size << ": " << middle_of(10 * n, [&] { c.broadcast(procs, v, troupe::fn<keep>); }) << std::endl;
  }
}

// Every result is known, whatever way it takes.
void show_values(troupe::cluster& c, const troupe::mpi_manager& m) {
  const auto sum_over = [&](const std::vector<proc_id>& ids) {
    double expected = 0;
    for (auto id : ids)
      expected += id;
    return expected;
  };
  auto ranks = m.procs();
  std::vector<std::vector<proc_id>> lists{ranks,
                                          {ranks.rbegin(), ranks.rend()},
                                          {ranks.begin() + 1, ranks.end()},
                                          {ranks.back(), ranks.front()},
                                          {ranks.front()},
                                          {ranks.front(), ranks.back(), ranks.front()},
                                          c.procs()};
  for (auto& ids : lists) {
    const auto names = names_of(ids);
    expect(c.reduce(ids, troupe::fn<own_name>, std::plus<>{}) == names, "reduce " + names); // values of sizes that differ
    expect(c.allreduce(ids, troupe::fn<own_name>, std::plus<>{}, [](const std::string& x) { kept_name = x; }) == names,
           "allreduce " + names);
    for (auto id : ids)
      expect(c.remotecall_fetch(id, [] { return kept_name; }) == names, "used " + names);
    for (const std::size_t n : {std::size_t{0}, std::size_t{1}, std::size_t{2000}, std::size_t{8192}, std::size_t{8193}, million}) {
      const auto text = std::to_string(n) + " by " + names;
      const auto result = c.allreduce(ids, troupe::with(n, troupe::fn<own_number>), troupe::fn<sum_of>, troupe::fn<keep>);
      expect(result == doubles(n, sum_over(ids)), "sum of " + text);
      for (auto id : ids)
        expect(id == ids.front() || c.remotecall_fetch(id, [] { return std::exchange(kept, {}); }) == result, "what is used of " + text);
      c.broadcast(ids, result, troupe::fn<keep>);
      for (auto id : ids)
        expect(c.remotecall_fetch(id, [] { return kept; }) == result, "broadcast of " + text);
    }
    expect(c.gather(ids, [] { return here().myid(); }) == ids, "gather " + names);
    c.barrier(ids);
  }
  // several at once, in orders that differ
  std::vector<std::thread> threads;
  std::atomic<int> well{0};
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      auto ids = ranks;
      std::rotate(ids.begin(), ids.begin() + t % static_cast<int>(ids.size()), ids.end());
      for (int i = 0; i < 20; ++i)
        well += c.allreduce(ids, troupe::with(std::size_t{i % 2 == 0 ? 100u : 20000u}, troupe::fn<own_number>), troupe::fn<sum_of>,
                            [](const doubles&) {})
                  .back()
                == sum_over(ids);
    });
  for (auto& t : threads)
    t.join();
  expect(well == 80, "several at once");
  std::cout << "right: " << (right == all ? "all" : std::to_string(right) + " of " + std::to_string(all)) << std::endl;
}

std::uint64_t bytes_over_links(troupe::cluster& c) {
  std::uint64_t sum = 0;
  for (auto id : c.procs())
    sum += c.remotecall_fetch(id, [] { return here().statistics().front().bytes_sent; });
  return sum;
}

// What of a large reduction, whose result isn't brought elsewhere, and broadcast goes over links.
void show_ways(troupe::cluster& c, const troupe::mpi_manager& m) {
  const auto before = bytes_over_links(c);
  c.allreduce(m.procs(), troupe::fn<many>, troupe::fn<sum_of>, troupe::fn<keep>);
  c.broadcast(m.procs(), doubles(million, 1), troupe::fn<keep>);
  std::cout << "over links: " << (bytes_over_links(c) - before) / 8'000'000 << std::endl;
}

void throw_at(proc_id least) {
  if (here().myid() >= least)
    throw std::out_of_range{"at " + std::to_string(here().myid())};
}

void show_errors(troupe::cluster& c, const troupe::mpi_manager& m) {
  const auto ids = m.procs();
  for (const std::size_t n : {std::size_t{10}, million}) {
    for (auto id : ids) {
      const auto expected = "remote_error " + std::to_string(id) + " at " + std::to_string(id);
      const auto f = troupe::with(id, n, [](proc_id least, std::size_t k) {
        throw_at(least);
        return own_number(k);
      });
      const auto in_f = error_of([&] { c.allreduce(ids, f, troupe::fn<sum_of>, troupe::fn<keep>); });
      expect(in_f == expected, "F at " + std::to_string(id) + ": " + in_f);
      const auto in_use = error_of([&] {
        c.allreduce(ids, troupe::with(n, troupe::fn<own_number>), troupe::fn<sum_of>,
                    troupe::with(id, [](proc_id least, const doubles&) { throw_at(least); }));
      });
      expect(in_use == expected, "use at " + std::to_string(id) + ": " + in_use);
      const auto in_broadcast =
        error_of([&] { c.broadcast(ids, doubles(n, 1), troupe::with(id, [](proc_id least, const doubles&) { throw_at(least); })); });
      expect(in_broadcast == expected, "broadcast at " + std::to_string(id) + ": " + in_broadcast);
    }
    // an operator throws on the ranks that fold, of which the first is always one
    const auto in_op = error_of([&] {
      c.reduce(ids, troupe::with(n, troupe::fn<own_number>),
               [](const doubles&, const doubles&) -> doubles { throw std::domain_error{"in the operator"}; });
    });
    expect(in_op == "remote_error " + std::to_string(ids.front()) + " in the operator", "operator: " + in_op);
  }
  std::cout << "right: " << (right == all ? "all" : std::to_string(right) + " of " + std::to_string(all)) << std::endl;
}

// What ends a collective from outside, while ranks wait for one that computes, sleeps, or hasn't begun.
void show_limits(troupe::cluster& c, const troupe::mpi_manager& m) {
  const auto ids = m.procs();
  const auto last = ids.back();
  for (const std::size_t n : {std::size_t{10}, million}) {
    const auto f = troupe::with(last, n, [](proc_id slow, std::size_t k) {
      if (here().myid() == slow)
        troupe::this_task::sleep_for(60s);
      return own_number(k);
    });
    const auto run = [&](const troupe::call_options& options) {
      return error_of([&] { c.allreduce(options, ids, f, troupe::fn<sum_of>, troupe::fn<keep>); });
    };
    const auto deadline = run({.deadline = 100ms});
    expect(deadline.starts_with("deadline_exceeded") && !deadline.ends_with("late"), deadline);
    const troupe::cancel_token token;
    std::thread canceller{[&] {
      std::this_thread::sleep_for(100ms);
      token.cancel();
    }};
    const auto cancelled = run({.token = token});
    canceller.join();
    expect(cancelled.starts_with("cancelled") && !cancelled.ends_with("late"), cancelled);
    for (auto whom : {ids.front(), ids.back()}) { // one that waits for others, and the one that is waited for
      std::atomic<bool> over{false};
      std::thread interrupter{[&] { // its task may not have begun
        while (!over) {
          c.interrupt({whom});
          std::this_thread::sleep_for(20ms);
        }
      }};
      const auto interrupted = run({});
      over = true;
      interrupter.join();
      expect(interrupted.starts_with("interrupted") && !interrupted.ends_with("late"), interrupted);
    }
    // and while values move
    for (int i = 0; i < 40; ++i)
      error_of([&] {
        c.allreduce(troupe::call_options{.deadline = std::chrono::microseconds{i * 500}}, ids, troupe::with(n, troupe::fn<own_number>),
                    troupe::fn<sum_of>, troupe::fn<keep>);
      });
    const auto begin = steady::now();
    expect(c.allreduce(ids, troupe::with(n, troupe::fn<own_number>), troupe::fn<sum_of>, troupe::fn<keep>).size() == n, "the next one");
    expect(seconds_since(begin) < 20, "the next one is soon there");
  }
  std::cout << "right: " << (right == all ? "all" : std::to_string(right) + " of " + std::to_string(all)) << std::endl;
}

void die_in(const std::string& here_is, const std::string& at, proc_id whom) {
  if (at == here_is && here().myid() == whom)
    ::_exit(9);
}

// A rank dies in the middle of it, in each of its parts.
void show_death(troupe::cluster& c, const troupe::mpi_manager& m, const std::string& where) {
  const auto ids = m.procs();
  const auto victim = ids[ids.size() - 2];
  std::thread killer;
  if (where == "moving")
    killer = std::thread{[pid = c.info(victim).os_pid] {
      std::this_thread::sleep_for(100ms);
      ::kill(static_cast<::pid_t>(pid), SIGKILL);
    }};
  const auto f = troupe::with(where, victim, [](const std::string& at, proc_id whom) {
    die_in("F", at, whom);
    return many();
  });
  const auto op = [](doubles a, const doubles& b) { return sum_of(std::move(a), b); };
  const auto use = troupe::with(where, victim, [](const std::string& at, proc_id whom, const doubles&) { die_in("use", at, whom); });
  const auto end = error_of([&] {
    while (true)
      c.allreduce(ids, f, op, use);
  });
  if (killer.joinable())
    killer.join();
  std::cout << "died: " << end.substr(0, end.find(' ', end.find(' ') + 1)) << std::endl;
  std::cout << "known: "
            << (error_of([&] { c.allreduce(ids, troupe::fn<many>, troupe::fn<sum_of>); }).starts_with("process_exited") ? "yes" : "no")
            << std::endl;
  const auto begin = steady::now();
  try {
    const auto left = c.allreduce(m.procs(), troupe::fn<many>, troupe::fn<sum_of>, troupe::fn<keep>);
    std::cout << "left: " << m.procs().size() << ", sum of " << left.size() << std::endl;
  } catch (const troupe::error& e) {
    std::cout << "left: " << e.what() << std::endl;
  }
  std::cout << "next: " << (seconds_since(begin) < 20 ? "soon" : "late") << std::endl;
}

} // namespace

int main(int argc, char** argv) {
  troupe::app app{"mpi_collectives", "What the ranks of an MPI job do together without calling MPI"};
  std::string what = "times";
  std::string where = "F", mpi_cmd = troupe::mpi_options{}.mpi_cmd;
  int np = 4, times = 20;
  app.option("--what", what, "what to do");
  app.option("--np", np, "ranks of the job that the program starts if it belongs to none");
  app.option("--times", times, "how often");
  app.option("--where", where, "where a rank dies: F, use, moving");
  app.option("--command", mpi_cmd, "how the program's own job is started");
  return app.run(argc, argv, [&](troupe::cluster& c) {
    const auto m = [&] {
      try {
        return c.mpi();
      } catch (const troupe::usage_error&) {
        troupe::mpi_manager own{troupe::mpi_options{.np = np, .mpi_cmd = mpi_cmd}};
        c.addprocs(own);
        return own;
      }
    }();
    if (what == "times") {
      show_times(c, m, times);
    } else if (what == "values") {
      show_ways(c, m);
      show_values(c, m);
    } else if (what == "errors") {
      show_errors(c, m);
    } else if (what == "limits") {
      show_limits(c, m);
    } else if (what == "death") {
      show_death(c, m, where);
    } else if (what == "open") { // when the program ends
      c.async([&c, ids = m.procs()] {
        c.allreduce(
          ids,
          [] {
            if (here().myid() != here().procs().front())
              troupe::this_task::sleep_for(1h);
            return many();
          },
          troupe::fn<sum_of>, troupe::fn<keep>);
      });
      std::this_thread::sleep_for(200ms);
    }
    std::cout << "finished: yes" << std::endl;
    return 0;
  });
}
