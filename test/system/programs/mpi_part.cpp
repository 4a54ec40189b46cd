// A cluster on all ranks of a job but the last; with --bare, an MPI program that troupe has no part in.
#include <troupe/mpi.hpp>
#include <troupe/troupe.hpp>

#include <cstring>
#include <iostream>
#include <string>
#include <thread>

using namespace std::chrono_literals;

int main(int argc, char** argv) {
  int granted = 0, rank = 0, size = 0;
  MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &granted);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  if (argc > 1 && std::strcmp(argv[1], "--bare") == 0) {
    MPI_Barrier(MPI_COMM_WORLD);
    if (rank == 0)
      std::cout << "ready: yes" << std::endl;
    std::this_thread::sleep_for(1h);
  }
  MPI_Comm part;
  MPI_Comm_split(MPI_COMM_WORLD, rank < size - 1 ? 0 : MPI_UNDEFINED, rank, &part);
  troupe::app app{"mpi_part", "A cluster on a part of a job"};
  const int status = app.run(argc, argv, part, [&](troupe::cluster& c) {
    const auto m = c.mpi();
    std::cout << "maps:";
    for (auto& [r, id] : m.mpi_to_proc())
      std::cout << ' ' << r << '-' << id;
    const auto sums = c.mpi_do(m, [](MPI_Comm world) {
      int mine = 0, sum = 0;
      MPI_Comm_rank(world, &mine);
      MPI_Allreduce(&mine, &sum, 1, MPI_INT, MPI_SUM, world);
      return sum;
    });
    std::cout << "\nsum: " << sums.back() << std::endl;
    // messages of the user's on the user's communicator, with any tag, beside troupe's own
    std::thread sender{[part] {
      for (int i = 0; i < 20; ++i)
        MPI_Send(&i, 1, MPI_INT, 1, i % 3, part);
    }};
    bool in_order = true;
    for (int i = 0; i < 200; ++i)
      in_order = in_order && c.remotecall_fetch(2 + i % 2, [](int x) { return x; }, i) == i;
    sender.join();
    std::cout << "users' messages: " << (in_order ? "in order" : "mixed") << std::endl;
    return 0;
  });
  if (part == MPI_COMM_NULL)
    std::cout << "outside: returned " << status << std::endl;
  else if (rank == 1) // what was sent while the cluster lived is still there, and so is the communicator
    for (int i = 0; i < 20; ++i) {
      int x = -1;
      MPI_Recv(&x, 1, MPI_INT, 0, i % 3, part, MPI_STATUS_IGNORE);
      if (x != i)
        return 1;
    }
  MPI_Finalize();
  return status;
}
