// MPI and remote calls in one program: functions that all ranks of an MPI job run together, and calls to workers between them. Start it with
// `mpi_mix --mpi 3`, `mpirun -n 3 mpi_mix --tcp-transport` or `mpirun -n 3 mpi_mix --mpi-transport`: it prints the same in each.
#include <troupe/mpi.hpp>
#include <troupe/troupe.hpp>

#include "epidemic/philox.hpp"

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstdint>
#include <iostream>
#include <numeric>
#include <string>
#include <vector>

namespace {

using clock = std::chrono::steady_clock;

int rank_of(MPI_Comm world) {
  int rank = 0;
  MPI_Comm_rank(world, &rank);
  return rank;
}

int size_of(MPI_Comm world) {
  int size = 0;
  MPI_Comm_size(world, &size);
  return size;
}

std::string hello(MPI_Comm world) {
  MPI_Barrier(world);
  return "hello from rank " + std::to_string(rank_of(world)) + " of " + std::to_string(size_of(world));
}

// What rank 0 has, as each rank gets it: the sum, so that there's something to see.
double broadcast(MPI_Comm world, int n) {
  std::vector<double> xs(static_cast<std::size_t>(n));
  if (rank_of(world) == 0)
    std::iota(xs.begin(), xs.end(), 1);
  MPI_Bcast(xs.data(), n, MPI_DOUBLE, 0, world);
  return std::accumulate(xs.begin(), xs.end(), 0.0);
}

int sum_of_ranks(MPI_Comm world) {
  int mine = rank_of(world), sum = 0;
  MPI_Reduce(&mine, &sum, 1, MPI_INT, MPI_SUM, 0, world);
  return sum;
}

// Each rank sends to the next one, and gets from the one before.
int from_the_left(MPI_Comm world) {
  const int rank = rank_of(world), size = size_of(world);
  int in = -1;
  MPI_Sendrecv(&rank, 1, MPI_INT, (rank + 1) % size, 0, &in, 1, MPI_INT, (rank + size - 1) % size, 0, world, MPI_STATUS_IGNORE);
  return in;
}

// Of the coins first to last, those that show heads: the same ones, whoever throws them.
std::int64_t heads(std::int64_t first, std::int64_t last, std::uint32_t seed) {
  std::int64_t count = 0;
  for (auto i = first / 128; i <= (last - 1) / 128; ++i) {
    const auto coins = epidemic::philox({static_cast<std::uint32_t>(i), static_cast<std::uint32_t>(i >> 32), 0, 0}, {seed, 0});
    for (std::int64_t j = 0; j < 128; ++j)
      if (const auto coin = 128 * i + j; coin >= first && coin < last)
        count += coins[static_cast<std::size_t>(j / 32)] >> (j % 32) & 1;
  }
  return count;
}

int steps_to_one(std::int64_t n) {
  int steps = 0;
  for (; n != 1; ++steps)
    n = n % 2 == 0 ? n / 2 : 3 * n + 1;
  return steps;
}

std::vector<double> echo(std::vector<double> xs) { return xs; }

// What a part of the program took goes to stderr: it is never the same.
class stopwatch {
public:
  explicit stopwatch(const char* what) : what_(what) {}
  ~stopwatch() { std::cerr << what_ << ": " << std::chrono::duration<double, std::milli>(clock::now() - begin_).count() << " ms\n"; }

private:
  const char* what_;
  clock::time_point begin_ = clock::now();
};

void count_heads(troupe::cluster& c, std::int64_t coins) {
  const stopwatch time{"coins"};
  std::vector<troupe::future<std::int64_t>> parts;
  const std::int64_t np = c.nworkers();
  for (std::int64_t i = 0; i < np; ++i)
    parts.push_back(c.remotecall<heads>(troupe::any, i * coins / np, (i + 1) * coins / np, 7u));
  std::int64_t sum = 0;
  for (auto& p : parts)
    sum += p.fetch();
  std::cout << sum << " of " << coins << " coins show heads\n";
}

void longest_way(troupe::cluster& c) {
  const stopwatch time{"calls"};
  std::vector<troupe::future<int>> all;
  for (int n = 1; n <= 2000; ++n)
    all.push_back(c.remotecall<steps_to_one>(troupe::any, n));
  int best = 1;
  for (int n = 2; n <= 2000; ++n)
    if (all[static_cast<std::size_t>(n - 1)].fetch() > all[static_cast<std::size_t>(best - 1)].fetch())
      best = n;
  std::cout << "of all numbers to 2000, " << best << " takes the most steps to 1: " << all[static_cast<std::size_t>(best - 1)].fetch()
            << '\n';
}

void echo_arrays(troupe::cluster& c) {
  for (std::size_t n : {1000, 1000000}) {
    const stopwatch time{"arrays"};
    std::vector<double> xs(n);
    std::iota(xs.begin(), xs.end(), 0);
    int equal = 0;
    for (int i = 0; i < 20; ++i)
      equal += c.remotecall_fetch<echo>(troupe::any, xs) == xs;
    std::cout << equal << " of 20 arrays of " << n << " numbers came back as they were sent\n";
  }
}

} // namespace

int main(int argc, char** argv) {
  troupe::app app{"mpi_mix", "MPI and remote calls, in one program"};
  std::int64_t coins = 100000000;
  app.option("--coins", coins, "how many are thrown");
  return app.run(argc, argv, [&](troupe::cluster& c) {
    const auto job = c.mpi();
    for (auto& text : c.mpi_do<hello>(job))
      std::cout << text << '\n';
    count_heads(c, coins);
    for (auto sum : c.mpi_do<broadcast>(job, 1000))
      std::cout << "a rank has got numbers whose sum is " << sum << '\n';
    longest_way(c);
    std::cout << "the sum of all ranks is " << c.mpi_do<sum_of_ranks>(job).front() << '\n';
    echo_arrays(c);
    std::cout << "each rank has got a number from the one before it:";
    for (auto number : c.mpi_do<from_the_left>(job))
      std::cout << ' ' << number;
    std::cout << '\n';
    return 0;
  });
}
