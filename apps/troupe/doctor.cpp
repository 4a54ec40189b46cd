#include "doctor.hpp"
#include "run_command.hpp"

#include <troupe/cli.hpp>

namespace command {

namespace {

void check_all(report& r) {
  r.heading("To build programs");
  r.add(check_building());
  r.heading("To run them on this machine");
  r.add(check_libraries());
  r.add(check_loopback());
  worker_costs costs;
  r.add(check_workers(costs));
  r.heading("MPI");
  r.add(check_mpi());
  r.add(check_slurm());
  r.heading("Other hosts");
  r.add(check_ssh());
  r.add(check_names());
  r.add(check_addresses());
  r.heading("Limits");
  r.add(check_limits(costs));
  r.add(check_memory());
  r.add(check_cpus());
  r.add(check_core_dumps());
  r.add(check_clock());
}

std::string counted(int n, const char* none, const char* one, const char* many) {
  return n == 0 ? none : std::to_string(n) + " " + (n == 1 ? one : many);
}

} // namespace

int run_doctor(int argc, char** argv) {
  CLI::App cli{"Looks at this machine and says what of troupe will work here, and what to do about the rest.\n"
               "The exit status is 0 unless something is missing.",
               "troupe doctor"};
  try {
    cli.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() == 0)
      return cli.exit(e);
    std::fprintf(stderr, "troupe doctor: %s\nRun it with --help to see what it takes.\n", e.what());
    return 2;
  }
  end_commands_on_signals();
  std::printf("troupe " TROUPE_VERSION "\n");
  report r{stdout, may_colour(stdout)};
  check_all(r);
  std::printf("\n%s: %s, %s.\n", r.missing() == 0 ? "All that troupe needs works here" : "Not all of troupe works here",
              counted(r.missing(), "nothing is missing", "thing is missing", "things are missing").c_str(),
              counted(r.warnings(), "no warnings", "warning", "warnings").c_str());
  return r.missing() == 0 && std::fflush(stdout) == 0 ? 0 : 1;
}

} // namespace command
