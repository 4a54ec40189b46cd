// What a cluster costs that has nothing to do.

#include "bench/metrics.hpp"
#include "bench/own_process.hpp"

#include <cerrno>
#include <ctime>
#include <fstream>
#include <stdexcept>
#include <system_error>
#include <thread>

namespace bench {

namespace {

// CPU time of a process since its start, that of threads which have ended included.
double cpu_seconds(std::int64_t pid) {
  ::clockid_t clock_of_process{};
  ::timespec t{};
  int problem = ::clock_getcpuclockid(static_cast<::pid_t>(pid), &clock_of_process);
  if (problem == 0 && ::clock_gettime(clock_of_process, &t) != 0)
    problem = errno;
  if (problem != 0)
    throw std::system_error(problem, std::generic_category(), "cannot read the CPU time of process " + std::to_string(pid));
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

samples memory_of_bare_processes(std::size_t count) {
  std::vector<own_process> processes;
  for (std::size_t i = 0; i < count; ++i)
    processes.emplace_back(std::vector<std::string>{"--bare", "line"});
  for (auto& p : processes)
    p.read_line();
  samples out;
  for (auto& p : processes)
    out.add(pss_mb(p.pid()));
  for (auto& p : processes)
    p.finish();
  return out;
}

} // namespace

double pss_mb(std::int64_t pid) {
  const auto path = "/proc/" + std::to_string(pid) + "/smaps_rollup";
  std::ifstream in{path};
  std::string word;
  double kib = 0;
  while (in >> word)
    if (word == "Pss:" && in >> kib)
      return kib * 1024 / 1e6;
  throw std::runtime_error("cannot read the Pss in " + path);
}

figure measure_worker_memory(troupe::cluster& c, const options& o) {
  std::this_thread::sleep_for(seconds{o.time / 4});
  const auto workers = c.workers();
  samples ours;
  for (const auto worker : workers)
    ours.add(pss_mb(c.info(worker).os_pid));
  const auto raw = memory_of_bare_processes(workers.size());
  figure f{"worker_pss_mb", ours.median(), "MB", {}};
  f.with("raw", raw.median()).with("min", ours.min()).with("max", ours.max());
  return f.with("n", ours.size());
}

figure measure_idle_cpu(troupe::cluster& c, const options& o) {
  const auto ids = c.procs();
  std::vector<std::int64_t> pids;
  for (const auto id : ids)
    pids.push_back(c.info(id).os_pid);
  std::this_thread::sleep_for(seconds{o.time / 2}); // until what came with the start is over
  const auto all = [&] {
    double sum = 0;
    for (const auto pid : pids)
      sum += cpu_seconds(pid);
    return sum;
  };
  const auto before = all();
  const auto master_before = cpu_seconds(pids.front());
  const auto start = clock::now();
  std::this_thread::sleep_for(seconds{1.5 * o.time});
  const double time = seconds_since(start);
  const double master = cpu_seconds(pids.front()) - master_before;
  const double used = all() - before;
  figure f{"idle_cpu_pct", 100 * used / time, "%", {}};
  return f.with("master", 100 * master / time).with("n", ids.size()).with("seconds", time);
}

} // namespace bench
