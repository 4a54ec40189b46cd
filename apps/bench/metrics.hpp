#pragma once

#include "bench/figure.hpp"
#include "bench/timing.hpp"

#include <troupe/troupe.hpp>

#include <atomic>
#include <barrier>
#include <exception>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace bench {

struct options {
  double time = 2;      ///< for each metric, in seconds
  bool spin = false;    ///< keep the CPUs awake
  int repeat = 1;       ///< times that all is measured
  int callers = 1;      ///< call_rate: threads of the master that call at once
  int calls = 10000;    ///< call_rate: calls in flight
  int cells = 2048;     ///< heat_efficiency_pct: cells a side
};

/// What can be measured. `measure` blocks, and throws what goes wrong: the death of a worker first of all.
struct metric {
  const char* name;
  const char* description;
  int workers;  ///< it needs so many; with -p there may be more
  bool fresh;   ///< and wants those that have done nothing before
  figure (*measure)(troupe::cluster& c, const options& o);
};

const std::vector<metric>& all_metrics();

/// Null if there's none.
const metric* find_metric(const std::string& name);

/// Has actors exchange what the metrics need. Before app.run.
void register_messages(troupe::app& app);

// round_trips.cpp: µs
figure measure_rtt(troupe::cluster& c, const options& o);
figure measure_direct_rtt(troupe::cluster& c, const options& o);
figure measure_actor_rtt(troupe::cluster& c, const options& o);
figure measure_array_rtt(troupe::cluster& c, const options& o);
/// A direct call there and back, when both ends have been idle for 20 ms.
figure measure_waking(troupe::cluster& c, const options& o);

// rates.cpp: per second
figure measure_call_rate(troupe::cluster& c, const options& o);
figure measure_message_rate(troupe::cluster& c, const options& o);

/// Rounds of calls to workers, divided among threads, which wait for the rounds between them.
class call_rounds {
public:
  /// So many calls in all (or what can be divided evenly, at least one from each), from so many threads, to these workers in turn.
  call_rounds(troupe::cluster& c, std::vector<troupe::proc_id> workers, int calls, int callers);
  /// The options' calls from the options' callers to all workers.
  call_rounds(troupe::cluster& c, const options& o) : call_rounds(c, c.workers(), o.calls, o.callers) {}
  ~call_rounds();
  call_rounds(const call_rounds&) = delete;
  call_rounds& operator=(const call_rounds&) = delete;

  /// Calls in a round.
  int calls() const { return calls_; }
  /// Makes all calls at once; returns the seconds until all results are back. Throws what a call threw.
  double run();

private:
  void take_part();

  troupe::cluster& cluster_;
  const std::vector<troupe::proc_id> workers_;
  const int share_;
  const int calls_;
  std::barrier<> meet_; // before each round and after it
  std::atomic<bool> ended_{false};
  std::mutex mutex_;
  std::exception_ptr failure_; // guarded by mutex_
  std::vector<std::jthread> threads_;
};

// sharing.cpp: %
/// What 16 workers make of the calls of 2.
figure measure_crowd(troupe::cluster& c, const options& o);
/// What 2, 4 or 8 threads that call at once make of the calls of one, whichever is least.
figure measure_callers(troupe::cluster& c, const options& o);

// strangers.cpp: %
figure measure_strangers(troupe::cluster& c, const options& o);

// observing.cpp: %
figure measure_observing(troupe::cluster& c, const options& o);

// computing.cpp: %
figure measure_computing(troupe::cluster& c, const options& o);

// arrays.cpp: GB/s
figure measure_array_bandwidth(troupe::cluster& c, const options& o);

// actor_arrays.cpp: ms, s
figure measure_array_reduction(troupe::cluster& c, const options& o);
figure measure_array_creation(troupe::cluster& c, const options& o);

// channels.cpp: per second, GB/s, bytes
figure measure_channel_rate(troupe::cluster& c, const options& o);
figure measure_channel_put_rate(troupe::cluster& c, const options& o);
figure measure_channel_batch_rate(troupe::cluster& c, const options& o);
figure measure_channel_bandwidth(troupe::cluster& c, const options& o);
figure measure_reference_memory(troupe::cluster& c, const options& o);

// maps.cpp: per second, % of the CPUs, bytes
figure measure_pmap_rate(troupe::cluster& c, const options& o);
figure measure_pmap_rate_batched(troupe::cluster& c, const options& o);
figure measure_pmap_rate_default(troupe::cluster& c, const options& o);
figure measure_pmap_efficiency(troupe::cluster& c, const options& o);
figure measure_reduce_rate(troupe::cluster& c, const options& o);
figure measure_with_copies(troupe::cluster& c, const options& o);

// heating.cpp: %
/// An array of actors, one for each worker, against an MPI program of as many ranks; and with 4 and 16 for each worker.
figure measure_heat_efficiency(troupe::cluster& c, const options& o);

// startup.cpp: s
figure measure_startup_4(troupe::cluster& c, const options& o);
figure measure_startup_16(troupe::cluster& c, const options& o);
figure measure_startup_64(troupe::cluster& c, const options& o);

/// Proportional set size of a process in MB (10^6): what only it has, and its share of what it has with others.
double pss_mb(std::int64_t pid);

// losses.cpp: ms
figure measure_death(troupe::cluster& c, const options& o);
/// What the program does that these start: one call to each worker, and a line when all have answered.
void answer_from_all(troupe::cluster& c);

// idle.cpp: MB, % of one core
figure measure_worker_memory(troupe::cluster& c, const options& o);
figure measure_idle_cpu(troupe::cluster& c, const options& o);

} // namespace bench
