#pragma once

namespace bench {

/// Whether the program was started by itself, to be a process without troupe: `bench --bare MODE …`.
bool is_bare(int argc, char** argv);

/// Runs such a process; returns its exit status.
///   line        prints a line and waits for the end of its stdin
///   mpi         is started by mpirun: rank 0 prints a line when all ranks are there
///   heat SIZE WARMING STEPS   is started by mpirun: see run_bare_heat
///   peer PORT   the other end of a raw_peer
///   crowd PORT  one of a bare_crowd
///   door        prints the port at which it listens, and hangs up on everyone who dials
///   strangers N dial the port that the latest line of stdin says, N times a second
///   spin CPU    prints a line and keeps a CPU from sleeping, with the lowest priority there is, until its
///               parent ends
int run_bare(int argc, char** argv);

} // namespace bench
