// From the start of a program until all of its workers have answered.

#include "bench/bare_line.hpp"
#include "bench/metrics.hpp"
#include "bench/own_process.hpp"

#include <cstdio>

namespace bench {

namespace {

constexpr std::size_t least_samples = 5;

std::vector<std::string> mpirun(int workers) { return {"mpirun", "-n", std::to_string(workers + 1)}; }

double start_program(int workers, bool over_mpi) {
  const auto start = clock::now();
  own_process program =
    over_mpi ? own_process{mpirun(workers), {"--answer", "--mpi-transport"}} : own_process{{"--answer", "-p", std::to_string(workers)}};
  program.read_line();
  const double time = seconds_since(start);
  program.wait();
  return time;
}

// The ranks meet once.
double start_bare_job(int workers) {
  const auto start = clock::now();
  own_process program{mpirun(workers), {"--bare", "mpi"}};
  program.read_line();
  const double time = seconds_since(start);
  program.wait();
  return time;
}

double start_bare_processes(int count) {
  const auto start = clock::now();
  std::vector<own_process> processes;
  for (int i = 0; i < count; ++i)
    processes.emplace_back(std::vector<std::string>{"--bare", "line"});
  for (auto& p : processes)
    p.read_line();
  const double time = seconds_since(start);
  for (auto& p : processes)
    p.finish();
  return time;
}

figure measure_startup(const char* name, int workers, bool over_mpi, const options& o) {
  samples ours, raw;
  const auto end = after(seconds{o.time});
  do {
    ours.add(start_program(workers, over_mpi));
    raw.add(over_mpi ? start_bare_job(workers) : start_bare_processes(workers));
  } while (clock::now() < end || ours.size() < least_samples);
  figure f{name, ours.median(), "s", {}};
  f.with("raw", raw.median()).with("min", ours.min()).with("max", ours.max());
  return f.with("n", ours.size()).with("workers", workers);
}

} // namespace

figure measure_startup_4(troupe::cluster& c, const options& o) { return measure_startup("startup_4_s", 4, is_over_mpi(c), o); }

figure measure_startup_16(troupe::cluster& c, const options& o) { return measure_startup("startup_16_s", 16, is_over_mpi(c), o); }

figure measure_startup_64(troupe::cluster& c, const options& o) { return measure_startup("startup_64_s", 64, is_over_mpi(c), o); }

void answer_from_all(troupe::cluster& c) {
  std::vector<troupe::future<int>> answers;
  for (const auto worker : c.workers())
    answers.push_back(c.remotecall(worker, [] { return 1; }));
  for (auto& a : answers)
    a.fetch();
  std::puts("all have answered");
  std::fflush(stdout);
}

} // namespace bench
