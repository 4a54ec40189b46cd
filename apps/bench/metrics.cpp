#include "bench/metrics.hpp"

#include "heat/messages.hpp"

#include <troupe/actors.hpp>

namespace bench {

const std::vector<metric>& all_metrics() {
  static const std::vector<metric> all{
    {"rtt_us", "an empty call to a worker and back", 1, false, measure_rtt},
    {"rtt_direct_us", "the same, a function that runs where it is received", 1, false, measure_direct_rtt},
    {"actor_rtt_us", "a request from an actor on the master to one on a worker", 1, false, measure_actor_rtt},
    {"array_rtt_us", "a message between two elements of an array on two workers, and one back", 2, false, measure_array_rtt},
    {"wake_us", "a direct call and back, when both ends have been asleep", 1, false, measure_waking},
    {"call_rate", "tiny calls, many in flight, until every result is back", 1, false, measure_call_rate},
    {"msg_rate", "one-way messages between actors on two workers", 2, false, measure_message_rate},
    {"crowd_pct", "what 16 workers make of the calls that 2 make", 16, false, measure_crowd},
    {"callers_pct", "what 2, 4 and 8 threads make of the calls that one makes: the least", 2, false, measure_callers},
    {"strangers_pct", "what strangers who besiege a worker cost call_rate", 1, false, measure_strangers},
    {"observe_pct", "what asking for statistics and links all the time costs call_rate", 1, false, measure_observing},
    {"compute_loss_pct", "what a worker that computes loses to calls between others", 2, false, measure_computing},
    {"array_bw", "64 MiB of doubles to a worker and back", 1, false, measure_array_bandwidth},
    {"channel_rate", "an int put into a channel on a worker, acknowledged, and taken", 1, false, measure_channel_rate},
    {"channel_put_rate", "the master puts, acknowledged, a worker takes", 1, false, measure_channel_put_rate},
    {"channel_batch_rate", "the same, put in batches and iterated over", 1, false, measure_channel_batch_rate},
    {"channel_put_bw", "the same, vectors of 1 MiB", 1, false, measure_channel_bandwidth},
    {"reference_bytes", "memory of a future at its owner", 1, true, measure_reference_memory},
    {"pmap_rate", "a map of x + 1, one element a call", 2, false, measure_pmap_rate},
    {"pmap_rate_batched", "the same in batches of 20,000", 2, false, measure_pmap_rate_batched},
    {"pmap_rate_default", "the same over 1,000,000 elements, with batches that are found", 2, false, measure_pmap_rate_default},
    {"pmap_efficiency", "a map of tasks that compute for 100 us, against as many on all CPUs at once", 2, false, measure_pmap_efficiency},
    {"reduce_rate", "a sum over 10^9 numbers, for each CPU", 2, false, measure_reduce_rate},
    {"with_copies", "how often 100 MB that a map's function holds are sent to each worker", 2, false, measure_with_copies},
    {"array_reduce_ms", "a broadcast to 1,024 elements on 16 workers, and a reduction", 16, false, measure_array_reduction},
    {"array_create_s", "100,000 elements on 4 workers, until all have begun", 4, true, measure_array_creation},
    {"heat_efficiency_pct", "steps of the heat equation by actors, against a plain MPI program", 2, false, measure_heat_efficiency},
    {"startup_4_s", "a program's start, until 4 workers have answered a call", 0, false, measure_startup_4},
    {"startup_16_s", "the same with 16 workers", 0, false, measure_startup_16},
    {"startup_64_s", "the same with 64 workers", 0, false, measure_startup_64},
    {"death_ms", "a worker's death, until the master and another worker that wait for it know", 1, false, measure_death},
    {"worker_pss_mb", "memory of an idle worker, in proportional shares", 4, true, measure_worker_memory},
    {"idle_cpu_pct", "CPU time of 4 idle workers and the master", 4, true, measure_idle_cpu},
  };
  return all;
}

const metric* find_metric(const std::string& name) {
  for (const auto& m : all_metrics())
    if (name == m.name)
      return &m;
  return nullptr;
}

void register_messages(troupe::app& app) { app.message_types<std::vector<double>, heat::halo>(); }

} // namespace bench
