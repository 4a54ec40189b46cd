#pragma once

/// Tests on real processes. The test program is an application of its own: Boost's tests run in its body, on the
/// master, where troupe::here() is the cluster, and each case starts the workers that it needs. Workers run the
/// same program and never get as far. Include this file in place of <boost/test/unit_test.hpp>, after the name of
/// the test module.
///
/// Boost's assertions belong to the main thread: other threads and tasks hand over what they have seen.
#include "system/fixtures.hpp"

using namespace system_test;

int main(int argc, char** argv) { return run_program(argc, argv, &init_unit_test); }
