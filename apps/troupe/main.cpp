// The command `troupe`: looks at this machine and at others, and measures.

#include "bench/program.hpp"
#include "doctor.hpp"
#include "hosts.hpp"
#include "probe.hpp"

#include <cstdio>
#include <cstring>
#include <string>

namespace {

constexpr const char* help = "troupe: programs of many processes; this command looks at the machines that they are to run on\n"
                             "\n"
                             "Usage: troupe SUBCOMMAND [OPTIONS]\n"
                             "\n"
                             "  doctor         looks at this machine and says what of troupe will work here\n"
                             "  hosts FILE     reaches the hosts of a hostfile, and says what is there\n"
                             "  bench          measures troupe on this machine\n"
                             "\n"
                             "  -h, --help     print this and end\n"
                             "  --version      print the version and end\n"
                             "\n"
                             "troupe SUBCOMMAND --help says what it takes; so do troupe(1) and troupe-options(7).\n";

int run_bench(int argc, char** argv) {
  static char name[] = "troupe bench"; // as the user says it
  if (std::strcmp(argv[0], "bench") == 0)
    argv[0] = name;
  return bench::run_program(argc, argv,
                            {.name = "troupe bench",
                             .version = "(troupe " TROUPE_VERSION ")",
                             .selection = {"rtt_us", "call_rate", "msg_rate", "array_bw", "pmap_rate", "startup_4_s"}});
}

int print(const char* text) { return std::fputs(text, stdout) < 0 || std::fflush(stdout) != 0 ? 1 : 0; }

bool is(const char* argument, const char* one, const char* other = "") {
  return std::strcmp(argument, one) == 0 || std::strcmp(argument, other) == 0;
}

} // namespace

int main(int argc, char** argv) {
  if (bench::is_own_start(argc, argv))
    return run_bench(argc, argv);
  if (command::is_probe(argc, argv))
    return command::run_probe(argc, argv);
  if (argc < 2) {
    std::fputs(help, stderr);
    return 2;
  }
  const char* word = argv[1];
  if (is(word, "--help", "-h") || is(word, "help"))
    return print(help);
  if (is(word, "--version"))
    return print("troupe " TROUPE_VERSION "\n");
  if (is(word, "doctor"))
    return command::run_doctor(argc - 1, argv + 1);
  if (is(word, "hosts"))
    return command::run_hosts(argc - 1, argv + 1);
  if (is(word, "bench"))
    return run_bench(argc - 1, argv + 1);
  std::fprintf(stderr, "troupe: there is no %s '%s'; there are doctor, hosts and bench.\nRun troupe --help to see what they do.\n",
               word[0] == '-' ? "option" : "subcommand", word);
  return 2;
}
