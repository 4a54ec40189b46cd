// Measures troupe on this machine: each figure is a line of JSON, beside what bare sockets and processes do.

#include "bench/bare_line.hpp"
#include "bench/bare_modes.hpp"
#include "bench/metrics.hpp"
#include "bench/spinners.hpp"

#include <troupe/cli.hpp>
#include <troupe/troupe.hpp>

#include <iostream>
#include <memory>

#include <unistd.h>

namespace {

struct program_options : bench::options {
  std::vector<std::string> names;
  bool list = false;
  bool answer = false;
};

std::string unknown_name(const std::string& name) {
  if (bench::find_metric(name) != nullptr)
    return {};
  std::string text = "there is no metric '" + name + "'; there are";
  for (const auto& m : bench::all_metrics())
    text += std::string{" "} + m.name;
  return text;
}

void add_options(troupe::app& app, program_options& o) {
  app.option("NAME", o.names, "what to measure; default: all that --list shows").check(unknown_name);
  app.option("--list", o.list, "show what can be measured, and end");
  app.option("--seconds", o.time, "how long to measure each").check(CLI::PositiveNumber);
  app.option("--repeat", o.repeat, "how often to measure all").check(CLI::PositiveNumber);
  app.option("--spin", o.spin, "keep the CPUs from sleeping meanwhile");
  app.option("--callers", o.callers, "call_rate: threads that call at once").check(CLI::PositiveNumber);
  app.option("--calls", o.calls, "call_rate: calls in flight").check(CLI::PositiveNumber);
  app.option("--cells", o.cells, "heat_efficiency_pct: cells a side").check(CLI::Range(64, 16384));
  app.option("--answer", o.answer, "what startup_4_s and startup_16_s start").group("");
}

int list_metrics() {
  for (const auto& m : bench::all_metrics())
    std::printf("%-19s %s\n", m.name, m.description);
  return 0;
}

std::vector<troupe::proc_id> workers_of(const troupe::cluster& c) {
  auto ids = c.procs();
  ids.erase(ids.begin());
  return ids;
}

// As many workers as the metric needs, or as -p said: others would cost memory and CPU time of their own.
void have_workers(troupe::cluster& c, const bench::metric& m, int given) {
  const auto wanted = static_cast<std::size_t>(std::max(m.workers, given));
  auto there = workers_of(c);
  if (bench::is_over_mpi(c)) { // ranks stay as long as their job
    if (there.size() < wanted)
      throw troupe::usage_error{std::string{m.name} + " needs " + std::to_string(wanted + 1) + " ranks: mpirun -n "
                                + std::to_string(wanted + 1) + " …"};
    return;
  }
  const auto kept = m.fresh ? 0 : std::min(wanted, there.size());
  if (kept < there.size())
    c.rmprocs(std::vector<troupe::proc_id>(there.begin() + static_cast<std::ptrdiff_t>(kept), there.end()));
  if (kept < wanted)
    c.addprocs(static_cast<int>(wanted - kept));
}

void add_circumstances(bench::figure& f, troupe::cluster& c, const program_options& o) {
  const auto links = c.links();
  if (!links.empty())
    f.with("transport", links.front().kind);
  if (bench::is_over_mpi(c) && f.find("raw") == nullptr) {
    bench::samples us;
    bench::bare_line::as_in(c)->ping(bench::after(bench::seconds{0.1}), us);
    f.with("raw_rtt_us", us.median());
  }
  if (f.find("workers") == nullptr)
    f.with("workers", workers_of(c).size());
  f.with("cpus", bench::usable_cpus().size()).with("spin", o.spin);
}

int measure(troupe::cluster& c, const program_options& o) {
  // stdout is for the figures
  c.on_output([](troupe::proc_id worker, std::string_view line) {
    std::fprintf(stderr, "worker %d: %.*s\n", static_cast<int>(worker), static_cast<int>(line.size()), line.data());
  });
  const auto given = c.nprocs() - 1;
  const auto awake = o.spin ? std::make_unique<bench::spinners>() : nullptr;
  bench::table table{stderr};
  for (int i = 0; i < o.repeat; ++i) {
    for (const auto& m : bench::all_metrics()) {
      if (!o.names.empty() && std::find(o.names.begin(), o.names.end(), m.name) == o.names.end())
        continue;
      have_workers(c, m, given);
      auto f = m.measure(c, o);
      add_circumstances(f, c, o);
      std::cout << bench::to_json(f) << std::endl;
      if (::isatty(STDERR_FILENO) != 0)
        table.add(f);
    }
  }
  return std::cout ? 0 : 1;
}

int run(troupe::cluster& c, const program_options& o) {
  if (o.list)
    return list_metrics();
  if (o.answer)
    return bench::answer_from_all(c), 0;
  return measure(c, o);
}

} // namespace

int main(int argc, char** argv) {
  if (bench::is_bare(argc, argv))
    return bench::run_bare(argc, argv);
  program_options o;
  troupe::app app{"bench", "Measures troupe on this machine, beside what bare sockets and processes do"};
  add_options(app, o);
  bench::register_messages(app);
  return app.run(argc, argv, [&](troupe::cluster& c) { return run(c, o); });
}
