// To be loaded before MPI: grants one thread, whatever is asked for.
#include <mpi.h>

extern "C" __attribute__((visibility("default"))) int MPI_Init_thread(int* argc, char*** argv, int, int* granted) {
  const int result = PMPI_Init_thread(argc, argv, MPI_THREAD_SINGLE, granted);
  *granted = MPI_THREAD_SINGLE;
  return result;
}
