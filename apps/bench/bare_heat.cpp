#include "bench/bare_heat.hpp"

#include "heat/checksum.hpp"
#include "heat/kernel.hpp"
#include "heat/problem.hpp"

#include <array>
#include <cstdio>
#include <utility>
#include <vector>

#include <mpi.h>

namespace bench {

namespace {

constexpr int tag = 11;

// A rank's rows, with one of the next rank, or of the surroundings, on either side.
class slab {
public:
  explicit slab(std::int64_t size) : size_(size) {
    int rank = 0, ranks = 0;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    north_ = rank > 0 ? rank - 1 : MPI_PROC_NULL;
    south_ = rank + 1 < ranks ? rank + 1 : MPI_PROC_NULL;
    where_ = heat::area_of({ranks, 1}, size, rank, 0);
    for (auto row = where_.row - 1; row <= where_.row + where_.rows; ++row)
      for (std::int64_t column = -1; column <= size; ++column)
        now_.push_back(heat::initial_value(size, row, column));
    next_ = now_;
  }

  void step() {
    const std::ptrdiff_t first = north_ != MPI_PROC_NULL ? 1 : 0, last = where_.rows - (south_ != MPI_PROC_NULL ? 1 : 0);
    const int n = static_cast<int>(size_);
    std::array<MPI_Request, 4> open;
    MPI_Irecv(row(now_, -1), n, MPI_DOUBLE, north_, tag, MPI_COMM_WORLD, &open[0]);
    MPI_Irecv(row(now_, where_.rows), n, MPI_DOUBLE, south_, tag, MPI_COMM_WORLD, &open[1]);
    MPI_Isend(row(now_, 0), n, MPI_DOUBLE, north_, tag, MPI_COMM_WORLD, &open[2]);
    MPI_Isend(row(now_, where_.rows - 1), n, MPI_DOUBLE, south_, tag, MPI_COMM_WORLD, &open[3]);
    compute(first, last);
    MPI_Waitall(4, open.data(), MPI_STATUSES_IGNORE);
    compute(0, first);
    compute(last, where_.rows);
    std::swap(now_, next_);
  }

  // Of all ranks, on rank 0.
  std::uint64_t checksum() {
    std::uint64_t mine = 0, sum = 0;
    for (std::int64_t r = 0; r < where_.rows; ++r)
      mine += heat::checksum_of({row(now_, r), static_cast<std::size_t>(size_)}, static_cast<std::uint64_t>((where_.row + r) * size_));
    MPI_Reduce(&mine, &sum, 1, MPI_UINT64_T, MPI_SUM, 0, MPI_COMM_WORLD);
    return sum;
  }

private:
  double* row(std::vector<double>& field, std::int64_t r) const { return field.data() + (r + 1) * (size_ + 2) + 1; }
  void compute(std::ptrdiff_t first, std::ptrdiff_t last) {
    heat::step(row(now_, 0), row(next_, 0), size_ + 2, {first, last, 0, size_}, heat::problem{}.ratio);
  }

  std::int64_t size_;
  int north_ = MPI_PROC_NULL, south_ = MPI_PROC_NULL;
  heat::area where_{};
  std::vector<double> now_, next_;
};

} // namespace

int run_bare_heat(std::int64_t size, std::uint32_t warming, std::uint32_t steps) {
  MPI_Init(nullptr, nullptr);
  slab mine{size};
  for (std::uint32_t i = 0; i < warming; ++i)
    mine.step();
  MPI_Barrier(MPI_COMM_WORLD);
  const double start = MPI_Wtime();
  for (std::uint32_t i = 0; i < steps; ++i)
    mine.step();
  MPI_Barrier(MPI_COMM_WORLD);
  const double rate = static_cast<double>(size) * static_cast<double>(size) * steps / (MPI_Wtime() - start);
  const auto sum = mine.checksum();
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  const bool told = rank != 0 || (std::printf("%.6e %llu\n", rate, static_cast<unsigned long long>(sum)) > 0 && std::fflush(stdout) == 0);
  MPI_Finalize();
  return told ? 0 : 1;
}

} // namespace bench
