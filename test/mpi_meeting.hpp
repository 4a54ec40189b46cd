#pragma once

/// For tests whose ranks run all cases together, under `mpirun -n 3`.

#include <boost/test/unit_test.hpp>

#include <chrono>
#include <thread>

#include <mpi.h>

namespace test {

inline MPI_Comm meeting = MPI_COMM_NULL;

/// Waits for all ranks, without blocking in MPI, which keeps its lock.
inline void meet() {
  MPI_Request all;
  MPI_Ibarrier(meeting, &all);
  for (int done = 0; done == 0; std::this_thread::sleep_for(std::chrono::microseconds{100}))
    MPI_Test(&all, &done, MPI_STATUS_IGNORE);
}

/// From MPI_Init_thread to MPI_Finalize.
struct mpi_program {
  mpi_program() {
    int granted = 0, size = 0;
    MPI_Init_thread(nullptr, nullptr, MPI_THREAD_MULTIPLE, &granted);
    BOOST_REQUIRE(granted == MPI_THREAD_MULTIPLE);
    MPI_Comm_dup(MPI_COMM_WORLD, &meeting);
    MPI_Comm_size(meeting, &size);
    BOOST_REQUIRE_MESSAGE(size >= 2, "start it with mpirun -n 3");
  }
  ~mpi_program() {
    MPI_Comm_free(&meeting);
    MPI_Finalize();
  }
};

} // namespace test
