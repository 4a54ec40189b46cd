// From the death of a worker until those who wait for it know.

#include "bench/metrics.hpp"

#include <csignal>

namespace bench {

namespace {

constexpr std::size_t least_samples = 10;

// Of this machine.
std::int64_t now() { return std::chrono::duration_cast<std::chrono::microseconds>(clock::now().time_since_epoch()).count(); }

std::int64_t when_it_has_gone(troupe::proc_id victim, troupe::remote_channel<int> waiting) {
  auto never = troupe::here().remotecall(
    victim,
    [](troupe::remote_channel<int> ch) {
      ch.put(1);
      troupe::this_task::sleep_for(std::chrono::hours{1});
    },
    waiting);
  try {
    never.wait();
  } catch (const troupe::process_exited&) {
    // as it should
  }
  return now();
}

} // namespace

figure measure_death(troupe::cluster& c, const options& o) {
  const auto other = c.workers().front();
  samples all;
  const auto end = after(seconds{o.time});
  do {
    const auto victim = c.addprocs(1).front();
    const auto waiting = troupe::remote_channel<int>::on(c, 1, 2);
    auto there = c.remotecall<when_it_has_gone>(other, victim, waiting);
    auto here = c.async([=] { return when_it_has_gone(victim, waiting); });
    waiting.take();
    waiting.take();
    const auto killed = now();
    ::kill(static_cast<::pid_t>(c.info(victim).os_pid), SIGKILL);
    all.add(static_cast<double>(std::max(there.fetch(), here.fetch()) - killed) / 1000);
  } while (clock::now() < end || all.size() < least_samples);
  figure f{"death_ms", all.median(), "ms", {}};
  return f.with("max", all.max()).with("n", all.size());
}

} // namespace bench
