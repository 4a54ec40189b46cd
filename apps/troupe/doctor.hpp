#pragma once

#include "report.hpp"

namespace command {

/// What the workers that the doctor has started have told.
struct worker_costs {
  long threads = 0;     ///< of a worker's process
  long own = 0;         ///< descriptors that the master has without workers
  long descriptors = 0; ///< that it has besides, for each local worker
};

// Each check returns what it has found, in 30 s at most, and doesn't throw for what is wrong with the machine.

// doctor_build.cpp: what programs are built with
findings check_building();

// doctor_run.cpp: what programs need to run
findings check_libraries();
findings check_loopback();
/// Sets `costs` if the workers have come.
findings check_workers(worker_costs& costs);

// doctor_mpi.cpp
findings check_mpi();
findings check_slurm();

// doctor_network.cpp: other hosts
findings check_ssh();
findings check_names();
findings check_addresses();

// doctor_limits.cpp
findings check_limits(const worker_costs& costs);
findings check_memory();
findings check_cpus();
findings check_core_dumps();
findings check_clock();

/// `troupe doctor`: returns the exit status, 0 if nothing is missing.
int run_doctor(int argc, char** argv);

} // namespace command
