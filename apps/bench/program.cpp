#include "bench/program.hpp"

#include "bench/bare_line.hpp"
#include "bench/bare_modes.hpp"
#include "bench/metrics.hpp"
#include "bench/spinners.hpp"

#include <troupe/cli.hpp>
#include <troupe/troupe.hpp>

#include <algorithm>
#include <cstring>
#include <iostream>
#include <memory>
#include <string_view>

#include <unistd.h>

namespace {

struct program_options : bench::options {
  std::vector<std::string> names;
  bool all = false;
  bool list = false;
  bool answer = false;
};

std::string joined(const std::vector<std::string>& words) {
  std::string out;
  for (const auto& word : words)
    out += (out.empty() ? "" : " ") + word;
  return out;
}

std::string unknown_name(const std::string& name) {
  if (bench::find_metric(name) != nullptr)
    return {};
  std::string text = "there is no metric '" + name + "'; there are";
  for (const auto& m : bench::all_metrics())
    text += std::string{" "} + m.name;
  return text;
}

void add_options(troupe::app& app, program_options& o, const bench::program_settings& settings) {
  app
    .option("NAME", o.names,
            "what to measure; default: " + (settings.selection.empty() ? "all that --list shows" : joined(settings.selection)))
    .check(unknown_name);
  app.option("--all", o.all, "measure all that --list shows");
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

// As many workers as the metric needs, or as -p said: others would cost memory and CPU time of their own. `spare`: more may stay.
void have_workers(troupe::cluster& c, const bench::metric& m, int given, bool spare) {
  const auto wanted = static_cast<std::size_t>(std::max(m.workers, given));
  auto there = workers_of(c);
  if (bench::is_over_mpi(c)) { // ranks stay as long as their job
    if (there.size() < wanted)
      throw troupe::usage_error{std::string{m.name} + " needs " + std::to_string(wanted + 1) + " ranks: mpirun -n "
                                + std::to_string(wanted + 1) + " …"};
    return;
  }
  const auto kept = m.fresh ? 0 : spare ? there.size() : std::min(wanted, there.size());
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

bool has(const std::vector<std::string>& names, const char* name) { return std::find(names.begin(), names.end(), name) != names.end(); }

// Hands each figure to `take`.
template <class Take>
void measure(troupe::cluster& c, const program_options& o, const std::vector<std::string>& names, bool spare_workers, Take take) {
  // stdout is for the figures
  c.on_output([](troupe::proc_id worker, std::string_view line) {
    std::fprintf(stderr, "worker %d: %.*s\n", static_cast<int>(worker), static_cast<int>(line.size()), line.data());
  });
  const auto given = c.nprocs() - 1;
  const auto awake = o.spin ? std::make_unique<bench::spinners>() : nullptr;
  for (int i = 0; i < o.repeat; ++i) {
    for (const auto& m : bench::all_metrics()) {
      if (!names.empty() && !has(names, m.name))
        continue;
      have_workers(c, m, given, spare_workers);
      auto f = m.measure(c, o);
      add_circumstances(f, c, o);
      take(m, f);
    }
  }
}

int measure_for_programs(troupe::cluster& c, const program_options& o) {
  bench::table table{stderr};
  measure(c, o, o.all ? std::vector<std::string>{} : o.names, false, [&](const bench::metric&, const bench::figure& f) {
    std::cout << bench::to_json(f) << std::endl;
    if (::isatty(STDERR_FILENO) != 0)
      table.add(f);
  });
  return std::cout ? 0 : 1;
}

int measure_for_people(troupe::cluster& c, const program_options& o, const std::vector<std::string>& names) {
  bench::plain_table table{stdout};
  measure(c, o, names, true, [&](const bench::metric& m, const bench::figure& f) { table.add(f, m.description); });
  return table.end() ? 0 : 1;
}

int run(troupe::cluster& c, const program_options& o, const bench::program_settings& settings) {
  if (o.list)
    return list_metrics();
  if (o.answer)
    return bench::answer_from_all(c), 0;
  if (!o.all && o.names.empty() && !settings.selection.empty())
    return measure_for_people(c, o, settings.selection);
  return measure_for_programs(c, o);
}

} // namespace

namespace bench {

bool is_own_start(int argc, char** argv) {
  return argc > 1 && (is_bare(argc, argv) || std::strcmp(argv[1], "--answer") == 0 || std::string_view{argv[1]}.starts_with("--worker"));
}

int run_program(int argc, char** argv, const program_settings& settings) {
  if (is_bare(argc, argv))
    return run_bare(argc, argv);
  program_options o;
  o.time = settings.time;
  troupe::app app{settings.name, "Measures troupe on this machine, beside what bare sockets and processes do", settings.version};
  add_options(app, o, settings);
  register_messages(app);
  return app.run(argc, argv, [&](troupe::cluster& c) { return run(c, o, settings); });
}

} // namespace bench
