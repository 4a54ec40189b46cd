// What the system allows: descriptors, processes, memory, CPUs, core dumps; and the clock.

#include "cgroup.hpp"
#include "doctor.hpp"

#include "troupe/managers/usable_cpus.hpp"

#include <algorithm>
#include <cmath>
#include <ctime>
#include <fstream>
#include <limits>
#include <optional>
#include <sstream>
#include <string>

#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/timex.h>
#include <unistd.h>

namespace command {

namespace {

constexpr long few_workers = 100;          // a limit that stops fewer than these is worth a warning
constexpr double little_memory = 512 << 20; // for a few workers and a program
constexpr double shm_of_rank = 4.2e6 * 1.024; // what MPICH 4.0.2 takes there for each rank of a job, measured with 2, 4 and 8
constexpr double few_ranks = 16;

// The soft limit; nothing: there's none.
std::optional<double> soft_limit(int which) {
  ::rlimit limit{};
  if (::getrlimit(static_cast<__rlimit_resource>(which), &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
    return std::nullopt;
  return static_cast<double>(limit.rlim_cur);
}

std::string in_number(std::optional<double> n) {
  if (!n)
    return "no limit";
  char text[32];
  std::snprintf(text, sizeof text, "%.0f", *n);
  return text;
}

std::optional<double> smaller(std::optional<double> a, std::optional<double> b) {
  if (!a || !b)
    return a ? a : b;
  return std::min(*a, *b);
}

// The value of a line "MemTotal:   1234 kB" in bytes.
double memory_info(const std::string& name) {
  std::ifstream in{"/proc/meminfo"};
  for (std::string line; std::getline(in, line);)
    if (line.starts_with(name + ":"))
      return 1024 * std::strtod(line.c_str() + name.size() + 1, nullptr);
  return 0;
}

std::string first_line_of(const char* file) {
  std::ifstream in{file};
  std::string out;
  std::getline(in, out);
  return out;
}

std::optional<double> number_in(const char* file) {
  const double x = std::strtod(first_line_of(file).c_str(), nullptr);
  return x > 0 ? std::optional{x} : std::nullopt;
}

finding check_descriptors(const worker_costs& costs) {
  const auto limit = soft_limit(RLIMIT_NOFILE);
  auto text = in_number(limit);
  if (!limit || costs.descriptors <= 0)
    return {mark::ok, "open files", text};
  const auto workers = static_cast<long>(std::max(0.0, *limit - static_cast<double>(costs.own))) / costs.descriptors;
  text += ": enough for the master of " + std::to_string(workers) + " local workers (" + std::to_string(costs.descriptors) + " for each)";
  if (workers >= few_workers)
    return {mark::ok, "open files", text};
  return {mark::warning, "open files", text, "ulimit -n 4096, or nofile in /etc/security/limits.conf"};
}

finding check_processes(const worker_costs& costs) {
  const auto by_user = ::geteuid() == 0 ? std::nullopt : soft_limit(RLIMIT_NPROC); // root has none
  const auto by_group = smallest_limit("pids", "pids.max", "pids.max");
  const auto by_system = smaller(number_in("/proc/sys/kernel/threads-max"), number_in("/proc/sys/kernel/pid_max"));
  const auto limit = smaller(smaller(by_user, by_group), by_system);
  const auto whose = !limit ? "" : limit == by_group ? " (cgroup pids.max)" : limit == by_user ? " (ulimit -u)" : " (the system's)";
  auto text = in_number(limit) + whose;
  if (!limit || costs.threads <= 0)
    return {mark::ok, "processes", text};
  const auto workers = static_cast<long>(*limit) / costs.threads;
  text +=
    ", each thread counts: enough for " + std::to_string(workers) + " workers at most, of " + std::to_string(costs.threads) + " threads";
  if (workers >= few_workers)
    return {mark::ok, "processes", text};
  return {mark::warning, "processes", text, "ulimit -u 4096, nproc in /etc/security/limits.conf, or --pids-limit of the container"};
}

} // namespace

findings check_limits(const worker_costs& costs) { return {check_descriptors(costs), check_processes(costs)}; }

findings check_memory() {
  findings out;
  const auto total = memory_info("MemTotal");
  const auto available = memory_info("MemAvailable");
  const auto text = in_bytes(available) + " available of " + in_bytes(total);
  auto left = available;
  std::string limits;
  // a limit that is above what there is, is none; version 1 has such a number for that
  if (const auto group = smallest_limit("memory", "memory.max", "memory.limit_in_bytes"); group && *group < total) {
    limits += ", cgroup limit " + in_bytes(*group);
    left = std::min(left, *group);
  }
  if (const auto space = soft_limit(RLIMIT_AS)) {
    limits += ", ulimit -v " + in_bytes(*space);
    left = std::min(left, *space);
  }
  if (left < little_memory)
    out.push_back({mark::warning, "memory", text + limits + ": little for several processes",
                   "end what else runs; ulimit -v unlimited; --memory of the container"});
  else
    out.push_back({mark::ok, "memory", text + limits});

  struct ::statvfs shm{};
  if (::statvfs("/dev/shm", &shm) != 0) {
    out.push_back({mark::warning, "/dev/shm", "not there; MPICH needs it for ranks on one host", "mount -t tmpfs tmpfs /dev/shm"});
    return out;
  }
  const auto unit = static_cast<double>(shm.f_frsize);
  const auto free = unit * static_cast<double>(shm.f_bavail);
  const auto ranks = std::floor(free / shm_of_rank);
  const auto shm_text = in_bytes(free) + " free of " + in_bytes(unit * static_cast<double>(shm.f_blocks)) + ": enough for "
                        + in_number(ranks) + " MPI ranks, about 4 MB for each";
  if (ranks < few_ranks)
    out.push_back({mark::warning, "/dev/shm", shm_text, "mount -o remount,size=1g /dev/shm; in a container --shm-size=1g"});
  else
    out.push_back({mark::ok, "/dev/shm", shm_text});
  return out;
}

findings check_cpus() {
  const auto online = ::sysconf(_SC_NPROCESSORS_ONLN);
  const auto usable = troupe::usable_cpus(); // what -p auto starts
  std::string text = std::to_string(online) + (online == 1 ? " CPU" : " CPUs");
  if (usable != online)
    text += ", this process may use " + std::to_string(usable) + " (its affinity)";
  const auto quota = smallest_cpu_quota();
  if (quota) {
    char number[32];
    std::snprintf(number, sizeof number, "%.4g", *quota);
    text += std::string{", the time of "} + number + " (cgroup cpu.max)";
  }
  text += "; -p auto starts " + std::to_string(usable) + (usable == 1 ? " worker" : " workers");
  if (quota && usable > std::ceil(*quota)) {
    char advice[64];
    std::snprintf(advice, sizeof advice, "say how many: -p %.0f", std::max(1.0, std::floor(*quota)));
    return {{mark::warning, "CPUs", text + ", more than can run", advice}};
  }
  return {{mark::ok, "CPUs", text}};
}

findings check_core_dumps() {
  const auto limit = soft_limit(RLIMIT_CORE);
  const auto pattern = first_line_of("/proc/sys/kernel/core_pattern");
  if (limit && *limit == 0)
    return {{mark::ok, "core dumps", "off; to look into a worker's crash: ulimit -c unlimited"}};
  return {{mark::ok, "core dumps", (limit ? "up to " + in_bytes(*limit) : std::string{"on"}) + ", as " + pattern}};
}

findings check_clock() {
  const auto now = std::time(nullptr);
  ::tm utc{};
  ::gmtime_r(&now, &utc);
  char text[64];
  std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S UTC", &utc);
  ::timex state{};
  const int result = ::adjtimex(&state); // reads only
  if (result < 0)
    return {{mark::ok, "clock", text}};
  if (result == TIME_ERROR || (state.status & STA_UNSYNC) != 0)
    return {{mark::ok, "clock",
             std::string{text} + ", not known to be synchronized; with several hosts, logs are easier to compare if it is (chrony)"}};
  return {{mark::ok, "clock", std::string{text} + ", synchronized"}};
}

} // namespace command
