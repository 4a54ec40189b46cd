#pragma once

namespace command {

/// What the doctor has a process of its own do, so that it can give it up: `troupe --probe WHAT`.
///   workers   starts two workers and calls them
///   mpi       is started by mpirun: two ranks send each other a message, from two threads each
///   names     looks this host's name up, and the address back
///
/// Each prints lines of words, which begin with what they tell; returns the exit status.
int run_probe(int argc, char** argv);

/// Whether this process is one of those.
bool is_probe(int argc, char** argv);

} // namespace command
