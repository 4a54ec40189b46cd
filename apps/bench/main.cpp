// Measures troupe on this machine: see program.hpp.

#include "bench/program.hpp"

int main(int argc, char** argv) { return bench::run_program(argc, argv, {.name = "bench"}); }
