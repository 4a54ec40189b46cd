#define BOOST_TEST_MODULE mpi_collectives
// Collectives among the ranks of an MPI job, whose values go by MPI, in each mode.
#include <boost/test/unit_test.hpp>

#include "system/mpi_runs.hpp"

using namespace faults;
using namespace std::chrono_literals;

namespace {

const std::vector<std::string> modes{"--mpi-transport", "--tcp-transport", "outside"};

// The program with as many ranks; `launcher`: arguments of mpirun.
run start(const std::string& mode, int ranks, const std::vector<std::string>& launcher, std::vector<std::string> args) {
  const auto n = std::to_string(ranks);
  if (mode == "outside") {
    std::string command = "mpirun";
    for (auto& x : launcher)
      command += " " + x;
    args.insert(args.end(), {"--np", n, "--command", command + " -n {np}"});
    return run{program("mpi_collectives"), std::move(args)};
  }
  auto all = launcher;
  all.insert(all.end(), {"-n", n, program("mpi_collectives"), mode});
  all.insert(all.end(), args.begin(), args.end());
  return run{"/usr/bin/mpirun", std::move(all)};
}

template <class Check>
void in_each_mode(int ranks, const std::vector<std::string>& launcher, const std::vector<std::string>& args, Check check) {
  for (auto& mode : modes) {
    BOOST_TEST_CONTEXT(mode) {
      auto r = start(mode, ranks, launcher, args);
      check(r, mode);
    }
  }
}

void check_ends_well(run& r) {
  const auto end = r.end(60s);
  BOOST_TEST(end.state.status == 0, end.state.to_text() << "\n" << end.out << end.err);
  BOOST_TEST(r.value("finished") == "yes");
  r.check_nothing_left();
}

void check_all_right(int ranks, const std::string& what) {
  in_each_mode(ranks, {}, {"--what", what}, [](run& r, const std::string&) {
    check_ends_well(r);
    BOOST_TEST(r.value("right") == "all", r.out());
  });
}

} // namespace

// MP-39
BOOST_AUTO_TEST_CASE(every_result_is_right_and_the_same_on_all_ranks_and_goes_beside_the_links) {
  for (int ranks : {2, 3, 5})
    in_each_mode(ranks, {}, {"--what", "values"}, [](run& r, const std::string& mode) {
      check_ends_well(r);
      BOOST_TEST(r.value("right") == "all", r.out());
      BOOST_TEST(r.value("over links")
                 == (mode == "outside" ? "2" : "0")); // a master that is no rank gets the result, and gives a value away
    });
}

BOOST_AUTO_TEST_CASE(the_first_rank_s_own_error_is_thrown_whatever_the_others_do) { check_all_right(4, "errors"); }

// MP-31
BOOST_AUTO_TEST_CASE(deadlines_tokens_and_interrupts_end_what_ranks_wait_for) { check_all_right(4, "limits"); }

// MP-35
BOOST_AUTO_TEST_CASE(a_rank_that_dies_ends_it_and_its_job) {
  for (std::string where : {"F", "use", "moving"})
    in_each_mode(4, {}, {"--what", "death", "--where", where}, [&](run& r, const std::string& mode) {
      if (mode != "outside") { // the master is one of the ranks that go
        BOOST_TEST(r.end(20s).state.status != 0);
        return r.check_nothing_left();
      }
      check_ends_well(r);
      BOOST_TEST(r.value("died").starts_with("process_exited"), r.out());
      BOOST_TEST(r.value("known") == "yes");
      BOOST_TEST(r.value("next") == "soon");
    });
}

void check_others_go_on(run& r, const std::string& mode, const std::string& where) {
  check_ends_well(r);
  BOOST_TEST(r.value("died") == (mode == "outside" ? "process_exited 4" : "process_exited 3"), mode << ", " << where << ": " << r.out());
  BOOST_TEST(r.value("known") == "yes");
  BOOST_TEST(r.value("left") == "3, sum of 1000000");
  BOOST_TEST(r.value("next") == "soon");
}

// MP-35
BOOST_AUTO_TEST_CASE(where_ranks_die_alone_the_others_go_on) {
  const std::vector<std::string> launcher{"-disable-auto-cleanup"};
  for (std::string where : {"F", "use"})
    in_each_mode(4, launcher, {"--what", "death", "--where", where},
                 [&](run& r, const std::string& mode) { check_others_go_on(r, mode, where); });
  // not over MPI: UCX aborts a rank that reads a large message from one that dies
  for (std::string mode : {"--tcp-transport", "outside"}) {
    auto r = start(mode, 4, launcher, {"--what", "death", "--where", "moving"});
    check_others_go_on(r, mode, "moving");
  }
}

BOOST_AUTO_TEST_CASE(a_collective_that_is_open_holds_up_no_end) {
  in_each_mode(3, {}, {"--what", "open"}, [](run& r, const std::string&) { check_ends_well(r); });
}

// MP-39; how long it takes is for the benchmarks
BOOST_AUTO_TEST_CASE(the_time_beside_mpi_s_own_is_told) {
  in_each_mode(2, {}, {"--what", "times", "--times", "3"}, [](run& r, const std::string& mode) {
    check_ends_well(r);
    BOOST_TEST_MESSAGE(mode << ": ms for 10^6 doubles: MPI_Allreduce " << r.value("MPI_Allreduce alone") << ", in mpi_do "
                            << r.value("mpi_do with MPI_Allreduce") << ", allreduce " << r.value("allreduce") << ", with use "
                            << r.value("allreduce and use"));
  });
}
