#include "bench/bare_modes.hpp"

#include "bench/bare_crowd.hpp"
#include "bench/bare_door.hpp"
#include "bench/bare_heat.hpp"
#include "bench/raw_peer.hpp"

#include <atomic>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string_view>

#include <mpi.h>
#include <sched.h>
#include <sys/prctl.h>
#include <unistd.h>

namespace bench {

namespace {

bool print_line(std::string_view line) { return ::write(STDOUT_FILENO, line.data(), line.size()) == static_cast<::ssize_t>(line.size()); }

int wait_for_end() {
  char skipped[64];
  while (::read(STDIN_FILENO, skipped, sizeof skipped) > 0) {
  }
  return 0;
}

int spin(int cpu) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  ::cpu_set_t only;
  CPU_ZERO(&only);
  CPU_SET(static_cast<std::size_t>(cpu), &only);
  const ::sched_param priority{};
  if (::sched_setaffinity(0, sizeof only, &only) != 0 || ::sched_setscheduler(0, SCHED_IDLE, &priority) != 0) {
    std::perror("bench: cannot keep a CPU awake");
    return 1;
  }
  if (!print_line("spinning\n"))
    return 1;
  std::atomic<int> nothing{0};
  while (true)
    nothing.load(std::memory_order_relaxed);
}

// Is started by mpirun: rank 0 says when all are there.
int meet() {
  int rank = 0;
  MPI_Init(nullptr, nullptr);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Barrier(MPI_COMM_WORLD);
  const bool told = rank != 0 || print_line("here\n");
  MPI_Finalize();
  return told ? 0 : 1;
}

int number(int argc, char** argv, int which = 0) { return argc > 3 + which ? std::atoi(argv[3 + which]) : -1; }

} // namespace

bool is_bare(int argc, char** argv) { return argc > 2 && std::string_view{argv[1]} == "--bare"; }

int run_bare(int argc, char** argv) {
  const std::string_view mode = argv[2];
  try {
    if (mode == "line")
      return print_line("here\n") ? wait_for_end() : 1;
    if (mode == "mpi")
      return meet();
    if (mode == "heat" && number(argc, argv) > 0 && number(argc, argv, 1) >= 0 && number(argc, argv, 2) > 0)
      return run_bare_heat(number(argc, argv), static_cast<std::uint32_t>(number(argc, argv, 1)),
                           static_cast<std::uint32_t>(number(argc, argv, 2)));
    if (mode == "peer")
      return serve_raw_peer(number(argc, argv));
    if (mode == "crowd")
      return serve_crowd(number(argc, argv));
    if (mode == "door")
      return serve_bare_door();
    if (mode == "strangers")
      return serve_strangers(number(argc, argv));
    if (mode == "spin" && number(argc, argv) >= 0 && number(argc, argv) < CPU_SETSIZE)
      return spin(number(argc, argv));
    std::fprintf(stderr, "bench: --bare is for the program's own use\n");
  } catch (const std::exception& e) {
    std::fprintf(stderr, "bench: %s\n", e.what());
  }
  return 2;
}

} // namespace bench
