// Pi, by counting how many random points of a square lie within a circle. Points come in blocks, each with random numbers of its own, which depend on the seed and the block's number alone: the
// estimate is the same on any number of workers.
#include <troupe/troupe.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <functional>
#include <iomanip>
#include <iostream>
#include <stdexcept>
#include <string>

namespace {

constexpr std::int64_t block_size = 1 << 16;

// The k-th number of a sequence: G. L. Steele, D. Lea, C. H. Flood, "Fast splittable pseudorandom number generators", 2014.
std::uint64_t random_number(std::uint64_t sequence, std::uint64_t k) {
  auto z = sequence + (k + 1) * 0x9e3779b97f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

// Of `n` points of a block, how many are within the circle. Coordinates are odd integers of 31 bits, so that it is exact.
std::int64_t hits(std::uint64_t seed, std::int64_t block, std::int64_t n) {
  const auto sequence = random_number(random_number(seed, 0), static_cast<std::uint64_t>(block));
  std::int64_t count = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    const auto bits = random_number(sequence, static_cast<std::uint64_t>(i));
    const auto x = bits >> 33 | 1, y = (bits & 0x7fffffff) | 1;
    count += x * x + y * y < std::uint64_t{1} << 62;
  }
  return count;
}

} // namespace

int main(int argc, char** argv) {
  troupe::app app{"pi", "Pi by counting random points"};
  double samples = 1e9;
  std::uint64_t seed = 1;
  app.option("--samples", samples, "points");
  app.option("--seed", seed, "of the random numbers");
  return app.run(argc, argv, [&](troupe::cluster& c) {
    if (!(samples >= 1 && samples <= 1e15))
      throw std::invalid_argument("--samples is " + std::to_string(samples) + ", and must be 1 to 1e15");
    const auto n = static_cast<std::int64_t>(samples);
    const auto blocks = (n + block_size - 1) / block_size;
    const auto begin = std::chrono::steady_clock::now();
    const auto in_circle = c.distributed_reduce(
      std::int64_t{0}, blocks, [seed, n](std::int64_t b) { return hits(seed, b, std::min(block_size, n - b * block_size)); },
      std::plus<>{});
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;

    const auto part = static_cast<double>(in_circle) / static_cast<double>(n);
    const auto standard_error = 4 * std::sqrt(part * (1 - part) / static_cast<double>(n));
    std::cout << std::setprecision(10) << "pi is about " << 4 * part << ", with a standard error of " << std::setprecision(2)
              << standard_error << '\n'
              << n << " points in " << std::setprecision(3) << taken.count() << " s, " << static_cast<double>(n) / taken.count() / 1e6
              << " million/s on " << c.nworkers() << (c.nworkers() == 1 ? " worker" : " workers") << std::endl;
    return 0;
  });
}
