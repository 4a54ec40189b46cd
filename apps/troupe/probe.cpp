#include "probe.hpp"

#include "troupe/managers/process.hpp"

#include <troupe/mpi.hpp>
#include <troupe/troupe.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include <netdb.h>
#include <unistd.h>

namespace command {

namespace {

using clock = std::chrono::steady_clock;

double seconds_since(clock::time_point start) { return std::chrono::duration<double>(clock::now() - start).count(); }

long entries_in(const char* folder) {
  std::error_code ignored;
  return std::distance(std::filesystem::directory_iterator{folder, ignored}, std::filesystem::directory_iterator{});
}

double median(std::vector<double> all) {
  const auto middle = all.begin() + static_cast<std::ptrdiff_t>(all.size() / 2);
  std::nth_element(all.begin(), middle, all.end());
  return *middle;
}

// -- workers ----------------------------------------------------------------------------------------------------------------------

constexpr int workers = 2;
constexpr int calls = 200;

double median_call(troupe::cluster& c, troupe::proc_id worker) {
  std::vector<double> times;
  for (int i = 0; i < calls; ++i) {
    const auto start = clock::now();
    c.remotecall_fetch(worker, [] {});
    times.push_back(seconds_since(start));
  }
  return median(std::move(times));
}

void look_at_workers(troupe::cluster& c) {
  const auto descriptors = entries_in("/proc/self/fd");
  const auto start = clock::now();
  const auto ids = c.addprocs(workers);
  std::vector<troupe::future<int>> sums;
  for (const auto id : ids)
    sums.push_back(c.remotecall(id, [](int a, int b) { return a + b; }, 20, 22));
  for (auto& sum : sums)
    if (sum.fetch() != 42)
      throw std::runtime_error("20 + 22 is not 42 on a worker");
  const auto took = seconds_since(start);
  const auto tasks = c.remotecall_fetch(ids.front(), [] { return entries_in("/proc/self/task"); });
  std::printf("workers %d %g %g %ld %ld %ld\n", workers, took, median_call(c, ids.front()), tasks, descriptors,
              (entries_in("/proc/self/fd") - descriptors + workers - 1) / workers);
}

int probe_workers(char* name) {
  char* arguments[] = {name, nullptr};
  troupe::app app{"troupe doctor"};
  return app.run(1, arguments, look_at_workers);
}

// -- MPI ----------------------------------------------------------------------------------------------------------------------------

constexpr int block = 1 << 20;
constexpr int trips = 100;

// While one thread sends a large message, which waits for its receiver, another receives.
bool exchange(int other) {
  std::vector<char> mine(block, static_cast<char>('a' + other)), theirs(block);
  std::thread sender{[&] { MPI_Send(mine.data(), block, MPI_CHAR, other, 0, MPI_COMM_WORLD); }};
  MPI_Recv(theirs.data(), block, MPI_CHAR, other, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
  sender.join();
  return theirs.front() == 'a' + 1 - other && theirs.back() == theirs.front();
}

double seconds_of_trip(int rank) {
  char x = 0;
  std::vector<double> times;
  for (int i = 0; i < trips; ++i) {
    const auto start = clock::now();
    if (rank == 0)
      MPI_Send(&x, 1, MPI_CHAR, 1, 1, MPI_COMM_WORLD);
    MPI_Recv(&x, 1, MPI_CHAR, 1 - rank, 1, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    if (rank == 1)
      MPI_Send(&x, 1, MPI_CHAR, 0, 1, MPI_COMM_WORLD);
    times.push_back(seconds_since(start));
  }
  return median(std::move(times));
}

int probe_mpi() {
  int level = -1, rank = -1, size = -1;
  if (MPI_Init_thread(nullptr, nullptr, MPI_THREAD_MULTIPLE, &level) != MPI_SUCCESS)
    return 1;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  bool good = true;
  double trip = 0;
  if (size == 2 && level == MPI_THREAD_MULTIPLE) {
    good = exchange(1 - rank);
    trip = seconds_of_trip(rank);
  }
  if (rank == 0)
    std::printf("mpi %d %d %d %g\n", size, level == MPI_THREAD_MULTIPLE ? 1 : 0, good ? 1 : 0, trip);
  std::fflush(stdout);
  MPI_Finalize();
  return good ? 0 : 1;
}

// -- names --------------------------------------------------------------------------------------------------------------------------

std::string numeric(const ::sockaddr* address, ::socklen_t size) {
  char text[NI_MAXHOST] = {};
  return ::getnameinfo(address, size, text, sizeof text, nullptr, 0, NI_NUMERICHOST) == 0 ? text : "?";
}

bool is_loopback(const std::string& address) { return address.starts_with("127.") || address == "::1"; }

void look_back(const ::addrinfo& i) {
  char name[NI_MAXHOST] = {};
  const auto start = clock::now();
  const auto problem = ::getnameinfo(i.ai_addr, i.ai_addrlen, name, sizeof name, nullptr, 0, NI_NAMEREQD);
  std::printf("backward %g %s %s\n", seconds_since(start), numeric(i.ai_addr, i.ai_addrlen).c_str(), problem == 0 ? name : "");
}

int probe_names() {
  const auto name = troupe::host_name();
  std::printf("host %s\n", name.c_str());
  std::fflush(stdout);
  ::addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  ::addrinfo* all = nullptr;
  const auto start = clock::now();
  if (const auto problem = ::getaddrinfo(name.c_str(), nullptr, &hints, &all); problem != 0) {
    std::printf("unknown %g %s\n", seconds_since(start), ::gai_strerror(problem));
    return 0;
  }
  std::printf("forward %g", seconds_since(start));
  const ::addrinfo* best = all; // to look up again: rather one that others could use
  for (auto i = all; i != nullptr; i = i->ai_next) {
    const auto address = numeric(i->ai_addr, i->ai_addrlen);
    std::printf(" %s", address.c_str());
    if (is_loopback(numeric(best->ai_addr, best->ai_addrlen)) && !is_loopback(address))
      best = i;
  }
  std::printf("\n");
  std::fflush(stdout);
  look_back(*best);
  ::freeaddrinfo(all);
  return 0;
}

} // namespace

bool is_probe(int argc, char** argv) { return argc == 3 && std::strcmp(argv[1], "--probe") == 0; }

int run_probe(int, char** argv) {
  const std::string what = argv[2];
  if (what == "workers")
    return probe_workers(argv[0]);
  if (what == "mpi")
    return probe_mpi();
  if (what == "names")
    return probe_names();
  std::fprintf(stderr, "troupe: there is no probe '%s'\n", what.c_str());
  return 2;
}

} // namespace command
