// Functions that the ranks of an MPI job run together, in each mode; "name: value" on each line.
#include <troupe/mpi.hpp>
#include <troupe/troupe.hpp>

#include "cpu_seconds.hpp"

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <numeric>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <unistd.h>

using namespace std::chrono_literals;
using test::cpu_seconds;
using troupe::here;
using troupe::proc_id;

namespace {

using steady = std::chrono::steady_clock;

double seconds_since(steady::time_point t) { return std::chrono::duration<double>(steady::now() - t).count(); }

int rank_of(MPI_Comm world) {
  int rank = -1;
  MPI_Comm_rank(world, &rank);
  return rank;
}

int size_of(MPI_Comm world) {
  int size = -1;
  MPI_Comm_size(world, &size);
  return size;
}

template <class Map>
void show(const char* name, const Map& map) {
  std::cout << name << ':';
  for (auto& [a, b] : map)
    std::cout << ' ' << a << '-' << b;
  std::cout << std::endl;
}

template <class List>
void show_list(const char* name, const List& list) {
  std::cout << name << ':';
  for (auto& x : list)
    std::cout << ' ' << x;
  std::cout << std::endl;
}

void show_maps(troupe::cluster& c, const troupe::mpi_manager& m, const std::string& name) {
  show((name + " mpi_to_proc").c_str(), m.mpi_to_proc());
  show((name + " proc_to_mpi").c_str(), m.proc_to_mpi());
  show_list((name + " procs").c_str(), m.procs());
  show_list((name + " mpi_procs").c_str(), m.mpi_procs());
  std::map<int, proc_id> seen;
  for (auto& [rank, id] : m.mpi_to_proc())
    seen[std::atoi(c.remotecall_fetch(id, [] { return std::string{std::getenv("PMI_RANK")}; }).c_str())] = id;
  show((name + " seen").c_str(), seen);
}

// What a user of MPI would do: results by rank, collectives, point to point.
void show_functions(troupe::cluster& c, const troupe::mpi_manager& m) {
  show_list("results", c.mpi_do(m, [](MPI_Comm world, int x) { return 100 * rank_of(world) + x; }, 42));
  show_list("sums", c.mpi_do(m, [](MPI_Comm world) {
    int mine = rank_of(world), sum = 0;
    MPI_Allreduce(&mine, &sum, 1, MPI_INT, MPI_SUM, world);
    return sum;
  }));
  show_list("ring", c.mpi_do(m, [](MPI_Comm world) {
    const int rank = rank_of(world), size = size_of(world);
    std::vector<double> out(4, rank), in(4, -1);
    MPI_Sendrecv(out.data(), 4, MPI_DOUBLE, (rank + 1) % size, 0, in.data(), 4, MPI_DOUBLE, (rank + size - 1) % size, 0, world,
                 MPI_STATUS_IGNORE);
    return static_cast<int>(std::accumulate(in.begin(), in.end(), 0.0));
  }));
  c.mpi_do(m, [](MPI_Comm world) { MPI_Barrier(world); });
  std::vector<double> xs(1 << 20, 2);
  show_list("with values", c.mpi_do(m,
                                    troupe::with(xs, [](std::vector<double>& v, MPI_Comm world,
                                                        int y) { return static_cast<long>(v.size()) + y + 0 * rank_of(world); }),
                                    1));
  show_list("texts",
            c.mpi_do(m, [](MPI_Comm world) { return "rank " + std::to_string(rank_of(world)) + " of " + std::to_string(size_of(world)); }));
}

void show_errors(troupe::cluster& c, const troupe::mpi_manager& m) {
  const auto begin = steady::now();
  try {
    c.mpi_do(m, [](MPI_Comm world) {
      if (const auto rank = rank_of(world); rank == 1 || rank == 2)
        throw std::domain_error{"thrown by rank " + std::to_string(rank)};
      MPI_Barrier(world); // would never end
    });
    std::cout << "thrown: nothing\n";
  } catch (const troupe::composite_error& e) {
    std::cout << "thrown:";
    for (auto& one : e.errors())
      std::cout << " [" << one.info().pid << ' ' << one.message() << ' ' << one.type_name() << ']';
    std::cout << std::endl;
  }
  std::cout << "soon: " << (seconds_since(begin) < 2 ? "yes" : "no") << std::endl;
  // and it goes on, with another communicator
  show_functions(c, m);
}

// Calls that end while the ranks begin with them, some before others; each next one finds the ranks free.
void show_short_calls(troupe::cluster& c, const troupe::mpi_manager& m) {
  const auto begin = steady::now();
  for (int i = 0; i < 60; ++i) {
    try {
      c.mpi_do(troupe::call_options{.deadline = std::chrono::microseconds{i % 30 * 20}}, m, [](MPI_Comm world) {
        while (true)
          MPI_Barrier(world);
      });
    } catch (const troupe::deadline_exceeded&) {
    }
    c.mpi_do(troupe::call_options{.deadline = 10s}, m, [](MPI_Comm world) { MPI_Barrier(world); });
  }
  std::cout << "short calls: " << (seconds_since(begin) < 20 ? "soon" : "late") << std::endl;
}

// What ends a call from outside; the ranks sit in a collective, in a wait of troupe's, and outside of both.
void show_limits(troupe::cluster& c, const troupe::mpi_manager& m) {
  const auto sit = [](MPI_Comm world) {
    if (rank_of(world) == 1)
      here().remotecall_fetch(here().myid(), [] { troupe::this_task::sleep_for(2s); });
    if (rank_of(world) != 2)
      MPI_Barrier(world);
  };
  const auto how_it_ends = [&](const char* name, const troupe::call_options& options) {
    const auto begin = steady::now();
    std::string end = "nothing";
    try {
      c.mpi_do(options, m, sit);
    } catch (const troupe::deadline_exceeded&) {
      end = "deadline_exceeded";
    } catch (const troupe::cancelled&) {
      end = "cancelled";
    } catch (const troupe::composite_error& e) {
      for (auto& one : e.errors())
        end = end == "nothing" || end == to_string(one.kind()) ? to_string(one.kind()) : "several";
    }
    std::cout << name << ": " << end << (seconds_since(begin) < 1.5 ? " soon" : " late") << std::endl;
  };
  how_it_ends("deadline", {.deadline = 200ms});
  const troupe::cancel_token token;
  std::thread canceller{[&] {
    std::this_thread::sleep_for(200ms);
    token.cancel();
  }};
  how_it_ends("token", {.token = token});
  canceller.join();
  how_it_ends("token again", {.token = token});
  std::thread interrupter{[&] {
    std::this_thread::sleep_for(200ms);
    c.interrupt(m.procs());
  }};
  how_it_ends("interrupt", {});
  interrupter.join();
  // the ranks are free again
  const auto begin = steady::now();
  c.mpi_do(troupe::call_options{.deadline = 10s}, m, [](MPI_Comm world) { MPI_Barrier(world); });
  std::cout << "next: " << (seconds_since(begin) < 1.5 ? "soon" : "late") << std::endl;
}

// Seconds of CPU that a process of this host has used; -1 if there's none.
double cpu_seconds_of(long pid) {
  std::ifstream in{"/proc/" + std::to_string(pid) + "/stat"};
  const std::string text{std::istreambuf_iterator<char>{in}, {}};
  if (text.empty())
    return -1;
  std::istringstream fields{text.substr(text.rfind(')') + 2)};
  std::string field;
  double user = 0, system = 0;
  for (int i = 3; i < 14; ++i)
    fields >> field;
  fields >> user >> system;
  return (user + system) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

std::atomic<int> inside{0}, overlapped{0};

void show_turns(troupe::cluster& c, const troupe::mpi_manager& m) {
  const auto several = [&] {
    for (int i = 0; i < 50; ++i)
      c.mpi_do(m, [](MPI_Comm world) {
        if (inside++ != 0)
          ++overlapped;
        MPI_Barrier(world);
        --inside;
      });
  };
  std::thread one{several}, two{several};
  one.join();
  two.join();
  int sum = 0;
  for (auto id : m.procs())
    sum += c.remotecall_fetch(id, [] { return overlapped.load(); });
  std::cout << "overlapped: " << sum << std::endl;
  if (m.procs().front() != troupe::proc_id{1}) {
    std::cout << "inside: refused" << std::endl; // workers have no job
    return;
  }
  c.mpi_do(m, [](MPI_Comm) {
    if (here().myid() != 1)
      return;
    try {
      here().mpi_do(here().mpi(), [](MPI_Comm) {});
      std::cout << "inside: done" << std::endl;
    } catch (const troupe::usage_error&) {
      std::cout << "inside: refused" << std::endl;
    }
  });
}

// Calls and messages go on while all ranks sit in a collective that isn't over.
void show_traffic(troupe::cluster& c, const troupe::mpi_manager& m) {
  std::atomic<bool> over{false};
  std::thread beside{[&] {
    c.mpi_do(m, [](MPI_Comm world) {
      if (rank_of(world) == size_of(world) - 1)
        std::this_thread::sleep_for(2s);
      MPI_Barrier(world);
    });
    over = true;
  }};
  std::this_thread::sleep_for(100ms);
  double before = 0, after = 0, longest = 0;
  for (auto id : c.workers())
    before += c.remotecall_fetch(id, [] { return cpu_seconds(); });
  int calls = 0;
  while (!over) {
    for (auto id : c.workers()) {
      const auto begin = steady::now();
      calls += c.remotecall_fetch(id, [](int x) { return x; }, 1);
      longest = std::max(longest, seconds_since(begin));
    }
    std::this_thread::sleep_for(1ms);
  }
  beside.join();
  for (auto id : c.workers())
    after += c.remotecall_fetch(id, [] { return cpu_seconds(); });
  std::cout << "calls beside a barrier: " << (calls > 200 ? "many" : std::to_string(calls)) << "\nlongest: " << longest
            << "\ncpu beside a barrier: " << after - before << std::endl;
}

} // namespace

// Every worker writes more than any pipe holds, while each line takes its time; one leaves, another is printed again.
void show_flood(troupe::cluster& c) {
  constexpr int lines = 10'000;
  std::map<proc_id, std::atomic<int>> next;
  for (auto id : c.workers())
    next[id] = 0;
  int wrong = 0;
  std::atomic<bool> at_once{false};
  c.on_output([&](proc_id id, std::string_view line) { // one at a time
    wrong += line != std::to_string(next[id]++) + std::string(40, '.');
    if (next[id] % 2000 == 0 && !at_once)
      std::this_thread::sleep_for(20ms);
  });
  std::vector<troupe::future<void>> writing;
  for (auto id : c.workers())
    writing.push_back(c.remotecall(id, [] {
      for (int i = 0; i < lines; ++i)
        std::printf("%d%s\n", i, std::string(40, '.').c_str());
    }));
  for (auto& w : writing)
    w.wait();
  at_once = true;
  c.rmprocs(c.workers().back());
  const auto until = steady::now() + 20s;
  while ((next.begin()->second < lines || next.rbegin()->second < lines) && steady::now() < until)
    std::this_thread::sleep_for(1ms);
  c.on_output(nullptr);
  std::cout << "of the one that left: " << next.rbegin()->second << "\nof another: " << next.begin()->second << "\nwrong: " << wrong
            << std::endl;
  c.remotecall_fetch(c.workers().front(), [] { std::printf("printed again\n"); });
}

int main(int argc, char** argv) {
  troupe::app app{"mpi_work", "What the ranks of an MPI job do together"};
  std::string what = "functions", mpi_cmd = troupe::mpi_options{}.mpi_cmd;
  int np = 3, jobs = 1;
  int more = 0;
  bool beside = false, remove_before = false;
  double timeout = 60;
  std::string how = "kill", handler, serialized, dir;
  app.option("--what", what, "what to do");
  app.option("--np", np, "ranks of each job that the program starts");
  app.option("--jobs", jobs, "jobs that it starts");
  app.option("--command", mpi_cmd, "how");
  app.option("--dir", dir, "where the launcher runs");
  app.option("--more", more, "jobs beside the one that the program belongs to");
  app.option("--how", how, "in what way a rank ends");
  app.option("--remove-before", remove_before, "whether another rank leaves before one ends");
  app.option("--beside", beside, "whether the others are in a collective when a rank ends");
  app.option("--handler", handler, "whether output is handled");
  app.option("--serialized", serialized, "whether MPI is asked for less");
  app.option("--timeout", timeout, "how long that may take, in seconds");
  return app.run(argc, argv, [&](troupe::cluster& c) {
    if (!handler.empty())
      c.on_output([](proc_id id, std::string_view line) {
        std::cout << "handled: " + std::to_string(id) + ' ' + std::string{line} + '\n' << std::flush;
      });
    std::vector<troupe::mpi_manager> all;
    try {
      all.push_back(c.mpi());
      jobs = more;
    } catch (const troupe::usage_error&) {
      // the program's own business
    }
    for (int i = 0; i < jobs; ++i) {
      const std::chrono::milliseconds limit{static_cast<int>(timeout * 1000)};
      troupe::mpi_manager m{troupe::mpi_options{.np = np,
                                                .mpi_cmd = mpi_cmd,
                                                .launch_timeout = limit,
                                                .thread_level = serialized.empty() ? -1 : MPI_THREAD_SERIALIZED,
                                                .exeflags = dir.empty() ? std::vector<std::string>{} : std::vector<std::string>{"--here"},
                                                .dir = dir}};
      const auto begin = steady::now();
      try {
        c.addprocs(m);
      } catch (const troupe::launch_error& e) {
        std::cout << "launch: failed\nafter: " << seconds_since(begin) << "\njoined: " << e.joined().size() << "\nwhy: " << e.what()
                  << std::endl;
        return 3;
      }
      all.push_back(m);
    }
    auto& m = all.front();
    if (what == "maps") {
      for (std::size_t i = 0; i < all.size(); ++i)
        show_maps(c, all[i], "job " + std::to_string(i));
    } else if (what == "functions") {
      show_functions(c, m);
    } else if (what == "errors") {
      show_errors(c, m);
    } else if (what == "traffic") {
      show_traffic(c, m);
    } else if (what == "limits") {
      show_limits(c, m);
    } else if (what == "turns") {
      show_turns(c, m);
    } else if (what == "talk") { // each to each
      int right = 0, pairs = 0;
      for (auto a : c.procs())
        for (auto b : c.procs()) {
          ++pairs;
          right += c.remotecall_fetch(
                     a, [](proc_id to) { return here().remotecall_fetch(to, [](int x) { return x + here().myid(); }, 1000); }, b)
                   == 1000 + b;
        }
      std::cout << "right: " << right << " of " << pairs << std::endl;
    } else if (what == "named") {
      c.define("ones", std::vector<double>(1 << 20, 1.0));
      int right = 0;
      for (auto id : c.procs())
        right += c.remotecall_fetch(id, [] {
          const auto& ones = troupe::named<std::vector<double>>("ones");
          return std::accumulate(ones.begin(), ones.end(), 0.0);
        }) == 1 << 20;
      std::cout << "right: " << right << " of " << c.nprocs() << std::endl;
    } else if (what == "huge") {
      for (const std::size_t bytes : {(std::size_t{1} << 31) + 16, (std::size_t{1} << 32) + 16}) {
        std::vector<std::uint64_t> xs(bytes / sizeof(std::uint64_t));
        std::iota(xs.begin(), xs.end(), 0);
        const auto back = c.remotecall_fetch(c.workers().back(), [](std::vector<std::uint64_t> there) { return there; }, xs);
        std::cout << bytes << ": " << (back == xs ? "whole" : "another") << std::endl;
      }
    } else if (what == "idle") {
      int squares = 0;
      for (int i = 1; i <= 10; ++i)
        squares += c.remotecall_fetch(troupe::any, [](int x) { return x * x; }, i);
      std::cout << "squares: " << squares << std::endl;
      const auto all = [&] {
        double sum = 0;
        for (auto id : c.procs())
          sum += c.remotecall_fetch(id, [] { return cpu_seconds(); });
        return sum;
      };
      const auto before = all();
      std::this_thread::sleep_for(5s);
      const auto begin = steady::now();
      c.remotecall_fetch(c.workers().back(), [] {});
      std::cout << "first call: " << seconds_since(begin) << "\nidle: " << all() - before << std::endl;
    } else if (what == "threads") {
      std::cout << "threads: " << c.remotecall_fetch(c.workers().front(), [] {
        return std::distance(std::filesystem::directory_iterator{"/proc/self/task"}, std::filesystem::directory_iterator{});
      }) << std::endl;
    } else if (what == "twice") {
      try {
        c.addprocs(m);
      } catch (const troupe::usage_error& e) {
        std::cout << "twice: " << e.what() << std::endl;
      }
    } else if (what == "remove") {
      const auto gone = m.procs()[1];
      const auto pid = c.info(gone).os_pid;
      const auto begin = steady::now();
      c.rmprocs({gone});
      std::cout << "removed after: " << seconds_since(begin) << std::endl;
      show("left", m.mpi_to_proc());
      show_list("sums", c.mpi_do(m, [](MPI_Comm world) {
        int one = 1, sum = 0;
        MPI_Allreduce(&one, &sum, 1, MPI_INT, MPI_SUM, world);
        return sum;
      }));
      const auto before = cpu_seconds_of(pid);
      std::this_thread::sleep_for(1s);
      const auto used = cpu_seconds_of(pid) - before;
      std::cout << "parked: " << (before < 0 ? "gone" : used < 0.05 ? "idle" : std::to_string(used)) << std::endl;
    } else if (what == "output") {
      for (auto id : c.workers())
        c.remotecall_fetch(id, [] {
          std::printf("to stdout by %d\n", here().myid());
          std::fprintf(stderr, "to stderr by %d\n", here().myid());
        });
      c.remotecall_fetch(c.workers().back(), [] {
        std::printf("last, without an end");
        std::fflush(stdout);
      });
    } else if (what == "flood") {
      show_flood(c);
    } else if (what == "words") { // of one that dies
      try {
        c.remotecall_fetch(c.workers().back(), [] {
          std::printf("last words\nnot the whole of a line");
          std::fflush(stdout);
          ::raise(SIGKILL);
        });
      } catch (const troupe::process_exited&) {
        std::cout << "died: yes" << std::endl;
      }
    } else if (what == "kill") {
      if (remove_before)
        c.rmprocs({m.procs()[1]});
      const auto killed = m.procs()[m.procs().size() - 2];
      if (beside)
        c.mpi_do(m, [](MPI_Comm world) { MPI_Barrier(world); });
      std::thread waiting{[&] { // in a collective, all but the one that is killed
        if (!beside)
          return;
        try {
          c.mpi_do(m, [](MPI_Comm world) {
            if (rank_of(world) != size_of(world) - 2)
              MPI_Barrier(world);
            else
              std::this_thread::sleep_for(1h);
          });
          std::cout << "in a collective: nothing" << std::endl;
        } catch (const troupe::composite_error& e) {
          std::cout << "in a collective: " << e.what() << std::endl;
        }
      }};
      std::this_thread::sleep_for(200ms);
      const auto begin = steady::now();
      try {
        c.remotecall_fetch(
          killed,
          [](const std::string& in) {
            std::fprintf(stderr, "last words of a rank\n");
            if (in == "kill")
              ::kill(::getpid(), SIGKILL);
            else if (in == "exit")
              std::exit(3);
            else if (in == "silent")
              ::_exit(0);
            else if (in == "mpi_abort")
              MPI_Abort(MPI_COMM_WORLD, 5);
            std::abort();
          },
          how);
      } catch (const troupe::process_exited& e) {
        std::cout << "killed: " << e.what() << "\nafter: " << seconds_since(begin) << std::endl;
      }
      waiting.join();
      std::this_thread::sleep_for(200ms);
      try {
        c.remotecall_fetch(killed + 1, [] {});
        std::cout << "other: lives" << std::endl;
        show("left", m.mpi_to_proc());
        show_list("sums", c.mpi_do(m, [](MPI_Comm world) {
          int one = 1, sum = 0;
          MPI_Allreduce(&one, &sum, 1, MPI_INT, MPI_SUM, world);
          return sum;
        }));
      } catch (const troupe::process_exited& e) {
        std::cout << "other: " << e.what() << std::endl;
      }
      std::cout << "processes: " << c.procs().size() << std::endl;
    } else if (what == "stuck") { // in what can't be ended
      c.mpi_do(m, [](MPI_Comm world) { MPI_Barrier(world); });
      std::thread{[&c, m] {
        try {
          c.mpi_do(m, [](MPI_Comm world) {
            int data = 0;
            MPI_Win window;
            MPI_Win_create(&data, sizeof data, 1, MPI_INFO_NULL, world, &window);
            if (rank_of(world) != 0)
              MPI_Win_fence(0, window);
            else
              std::this_thread::sleep_for(1h);
          });
        } catch (const troupe::error&) {
        }
      }}.detach();
      std::this_thread::sleep_for(300ms);
    } else if (what == "short") {
      show_short_calls(c, m);
    } else if (what == "wait") {
      std::cout << "ready: yes" << std::endl;
      c.mpi_do(m, [](MPI_Comm world) {
        if (rank_of(world) == 0)
          here().remotecall_fetch(here().myid(), [] { troupe::this_task::sleep_for(1h); });
        MPI_Barrier(world);
      });
    }
    std::cout << "finished: yes\n" << std::flush; // at once: others print, too
    return 0;
  });
}
