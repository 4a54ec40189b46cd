// A pipeline: a producer, three workers and a collector, each on a process of its own, joined by two channels that hold few values. Whoever is faster than the next one waits; the
// depths that are printed show where. With --kill one of the workers dies in the middle: what it was about to do goes to the others, and the sum is right all the same.
#include <troupe/troupe.hpp>

#include <chrono>
#include <csignal>
#include <cstdint>
#include <iomanip>
#include <iostream>
#include <set>
#include <vector>

namespace {

using clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

struct result {
  std::int64_t job;
  std::int64_t square;
};

using jobs = troupe::remote_channel<std::int64_t>;
using results = troupe::remote_channel<result>;

// Computes for so long.
void compute(std::chrono::microseconds time) {
  const auto end = clock::now() + time;
  while (clock::now() < end)
    continue;
}

void produce(jobs out, std::int64_t count) {
  for (std::int64_t i = 1; i <= count; ++i)
    out.put(i);
  out.close();
}

// `dies_at`: the first job from here on is this process's last; 0: none.
std::int64_t work(jobs in, results out, std::int64_t cost_us, std::int64_t dies_at) {
  std::int64_t done = 0;
  for (const auto job : in) {
    if (dies_at != 0 && job >= dies_at)
      std::raise(SIGKILL);
    compute(std::chrono::microseconds{cost_us});
    out.put({job, job * job});
    ++done;
  }
  return done;
}

// A job that a worker had done, but not said so before it died, is done again: each counts once.
std::int64_t collect(results in) {
  std::set<std::int64_t> seen;
  std::int64_t sum = 0;
  for (const auto& [job, square] : in)
    if (seen.insert(job).second)
      sum += square;
  return sum;
}

// A line for each tenth of a second until it is ready.
template <class T>
void show_depths(const troupe::future<T>& until, const jobs& first, const results& second, std::size_t capacity) {
  const auto start = clock::now();
  while (!until.wait_for(100ms))
    std::cout << std::fixed << std::setprecision(1) << std::setw(5) << std::chrono::duration<double>{clock::now() - start}.count()
              << " s   jobs " << std::setw(3) << first.size() << "/" << capacity << "   results " << std::setw(3) << second.size() << "/"
              << capacity << std::endl;
}

} // namespace

int main(int argc, char** argv) {
  troupe::app app{"pipeline", "A producer, three workers and a collector joined by channels"};
  std::int64_t count = 4000, cost_us = 500;
  std::size_t capacity = 16;
  bool kill = false;
  app.option("--count", count, "jobs");
  app.option("--cost", cost_us, "microseconds of work for each job");
  app.option("--capacity", capacity, "values that each channel holds");
  app.option("--kill", kill, "one of the workers dies in the middle");
  return app.run(argc, argv, [&](troupe::cluster& c) {
    constexpr std::size_t roles = 5;
    if (c.nprocs() < static_cast<int>(roles) + 1)
      c.addprocs(static_cast<int>(roles) + 1 - c.nprocs());
    const auto at = c.workers();
    const auto first = jobs::on(c, c.myid(), capacity);
    const auto second = results::on(c, c.myid(), capacity);

    const auto sum = c.remotecall<collect>(at[4], second);
    std::vector<troupe::future<std::int64_t>> done;
    for (std::size_t i = 1; i <= 3; ++i)
      done.push_back(c.remotecall<work>(at[i], first, second, cost_us, kill && i == 2 ? count / 2 : 0));
    c.remote_do(at[0], troupe::fn<produce>, first, count);

    for (std::size_t i = 0; i < done.size(); ++i) {
      show_depths(done[i], first, second, capacity);
      try {
        const auto jobs_done = done[i].fetch();
        std::cout << "worker " << at[i + 1] << " has done " << jobs_done << " jobs\n";
      } catch (const troupe::process_exited& e) {
        std::cout << "worker " << at[i + 1] << " is gone, the others do its jobs: " << e.what() << '\n';
      }
    }
    second.close();
    const auto expected = count * (count + 1) * (2 * count + 1) / 6;
    std::cout << "the sum of the squares up to " << count << " is " << sum.fetch()
              << (sum.fetch() == expected ? ", as it should be\n" : ": WRONG\n");
    return sum.fetch() == expected ? 0 : 1;
  });
}
