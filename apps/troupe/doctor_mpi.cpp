// MPI: which one there is, and whether a job of two ranks works. Slurm's commands.

#include "doctor.hpp"
#include "mpi_kind.hpp"
#include "run_command.hpp"

#include "troupe/managers/own_manager.hpp"

#include <sstream>

#include <mpi.h>

namespace command {

namespace {

using namespace std::chrono_literals;

constexpr auto version_time = 5s;
constexpr auto job_time = 20s;

constexpr const char* get_mpich = "apt-get install mpich libmpich-dev";
constexpr const char* choose_mpich = "apt-get install mpich libmpich-dev; update-alternatives --set mpirun /usr/bin/mpirun.mpich "
                                     "(or the option --mpi-cmd, with mpirun.mpich)";

// This process's own; it may be asked before MPI_Init.
std::string library_text() {
  char text[MPI_MAX_LIBRARY_VERSION_STRING] = {};
  int size = 0;
  return MPI_Get_library_version(text, &size) == MPI_SUCCESS ? std::string{text, static_cast<std::size_t>(size)} : std::string{};
}

findings check_job(const std::string& mpirun, const mpi_kind& starter, const mpi_kind& library) {
  const auto end = run_command("mpirun", {"-n", "2", troupe::own_program(), "--probe", "mpi"}, job_time);
  const auto mixed = starter.name != library.name && !starter.name.empty();
  const auto remedy = mixed ? std::string{choose_mpich} : std::string{"try by hand: mpirun -n 2 hostname"};
  if (!end.good())
    return {{mark::missing, "MPI job", "mpirun -n 2 (" + mpirun + ") failed: " + (end.too_slow() ? "it " : "") + end.to_text(), remedy}};
  std::istringstream lines{end.out};
  std::string others; // MPI's own words, and its libraries': UCX writes its errors to the standard output
  struct {
    std::string word;
    int size = 0, multiple = 0, good = 0;
    double trip = 0;
  } told;
  for (std::string line; std::getline(lines, line);) {
    decltype(told) t;
    if (std::istringstream in{line}; in >> t.word >> t.size >> t.multiple >> t.good >> t.trip && t.word == "mpi")
      told = t;
    else
      others += others.empty() ? line : "\n" + line;
  }
  const auto& [word, size, multiple, good, trip] = told;
  if (word.empty())
    return {{mark::missing, "MPI job", "mpirun -n 2 ran, and its rank 0 didn't say what it should: " + first_line(others), remedy}};
  if (size != 2)
    return {{mark::missing, "MPI job",
             "mpirun -n 2 starts two processes that don't know each other: it is another MPI's than this program's (" + library.name + ")",
             choose_mpich}};
  if (multiple == 0)
    return {{mark::missing, "MPI job", "two ranks start, and MPI doesn't grant MPI_THREAD_MULTIPLE, which --mpi-transport and --mpi need",
             std::string{"another MPI: "} + get_mpich}};
  if (good == 0)
    return {{mark::missing, "MPI job", "two ranks start, and a message between them arrived as another", get_mpich}};
  findings out;
  if (!others.empty())
    out.push_back(
      {mark::warning, "MPI's words", first_line(others), "what it is about may be missing here; the job below ran all the same"});
  out.push_back({mark::ok, "MPI job",
                 "two ranks with MPI_THREAD_MULTIPLE, started and ended in " + in_time(static_cast<double>(end.took.count()) / 1000)
                   + "; a message and one back takes " + in_time(trip)});
  return out;
}

finding check_wrapper(const mpi_kind& library) {
  const auto file = find_program("mpicxx");
  if (file.empty())
    return {mark::warning, "mpicxx", "not in PATH: programs that call MPI themselves can't be built", get_mpich};
  const auto end = run_command("mpicxx", {"-show"}, version_time);
  if (!end.good())
    return {mark::warning, "mpicxx", file + " -show " + end.to_text(), get_mpich};
  if (library.name == "MPICH" && end.out.find("openmpi") != std::string::npos)
    return {mark::warning, "mpicxx", file + " compiles for Open MPI, troupe for " + library.name,
            "update-alternatives --set mpi /usr/bin/mpicc.mpich"};
  return {mark::ok, "mpicxx", file};
}

} // namespace

findings check_mpi() {
  findings out;
  const auto library = library_kind(library_text());
  out.push_back({mark::ok, "MPI library", library.to_text()});
  const auto file = find_program("mpirun");
  if (file.empty()) {
    out.push_back({mark::missing, "mpirun", "not in PATH: no MPI jobs, neither mpirun -n 4 … nor --mpi 4", get_mpich});
    return out;
  }
  out.push_back(check_wrapper(library));
  const auto said = run_command("mpirun", {"--version"}, version_time);
  if (said.too_slow()) {
    out.push_back({mark::missing, "mpirun", file + " --version " + said.to_text(), get_mpich});
    return out;
  }
  const auto starter = starter_kind(said.out + said.err);
  if (starter.name.empty())
    out.push_back({mark::warning, "mpirun", file + ", of an MPI that isn't known here: " + first_line(said.out + said.err), choose_mpich});
  else if (starter.name != library.name)
    out.push_back({mark::warning, "mpirun",
                   file + " is " + starter.name + "'s " + starter.version + ", troupe is compiled for " + library.name, choose_mpich});
  else if (starter.version != library.version)
    out.push_back({mark::warning, "mpirun", file + " is of " + starter.to_text() + ", the library is " + library.version,
                   "two installations may be mixed: which -a mpirun; ldd PROGRAM | grep mpi"});
  else
    out.push_back({mark::ok, "mpirun", starter.to_text() + " (" + file + ")"});
  for (auto& f : check_job(file, starter, library))
    out.push_back(f);
  return out;
}

findings check_slurm() {
  const auto srun = find_program("srun");
  if (srun.empty())
    return {{mark::ok, "Slurm", "not installed; only --slurm needs it"}};
  const auto nodes = run_command("sinfo", {"-h", "-o", "%D"}, version_time);
  if (!nodes.good())
    return {{mark::warning, "Slurm", "installed, and no cluster answers: sinfo " + nodes.to_text(),
             "only --slurm needs it; look at /etc/slurm/slurm.conf, and at slurmctld where it runs"}};
  return {{mark::ok, "Slurm", first_line(run_command("srun", {"--version"}, version_time).out) + ", nodes: " + first_line(nodes.out)}};
}

} // namespace command
