#define BOOST_TEST_MODULE slurm_manager
#include <boost/test/unit_test.hpp>

#include "troupe/managers/slurm_manager.hpp"
#include "troupe/transport/error.hpp"

#include <algorithm>
#include <cstdlib>

namespace {

using ints = std::vector<int>;

std::vector<troupe::slurm_node> nodes(const ints& tasks) {
  std::vector<troupe::slurm_node> out;
  for (auto n : tasks)
    out.push_back({"n" + std::to_string(out.size() + 1), n, 2 * n});
  return out;
}

bool has(const troupe::child_options& o, const std::string& arg) { return std::find(o.args.begin(), o.args.end(), arg) != o.args.end(); }

} // namespace

// CM-19
BOOST_AUTO_TEST_CASE(counts_of_slurm_are_read) {
  BOOST_TEST(troupe::parse_slurm_counts("4") == ints{4});
  BOOST_TEST(troupe::parse_slurm_counts("4(x2),1") == (ints{4, 4, 1}));
  BOOST_TEST(troupe::parse_slurm_counts("1,2(x3)") == (ints{1, 2, 2, 2}));
  BOOST_TEST(troupe::parse_slurm_counts("").empty());
  for (auto wrong : {"x", "4(x", "4(x)", "4(x2", "0", "-1", "4(x0)", "4(x99999999)", "4,,4", "4(y2)", "1e3"})
    BOOST_CHECK_THROW(troupe::parse_slurm_counts(wrong), troupe::usage_error);
}

// CM-19
BOOST_AUTO_TEST_CASE(workers_are_shared_out_as_the_tasks_are) {
  BOOST_TEST(troupe::share_among(nodes({4, 2}), troupe::auto_count) == (ints{4, 2}));
  BOOST_TEST(troupe::share_among(nodes({4, 2}), 6) == (ints{4, 2}));
  BOOST_TEST(troupe::share_among(nodes({4, 2}), 3) == (ints{2, 1}));
  BOOST_TEST(troupe::share_among(nodes({4, 4}), 2) == (ints{1, 1}));
  BOOST_TEST(troupe::share_among(nodes({4, 4}), 1) == (ints{1, 0}));
  BOOST_TEST(troupe::share_among(nodes({4, 2}), 9) == (ints{6, 3}));
  BOOST_TEST(troupe::share_among(nodes({1, 1, 1}), 5) == (ints{2, 2, 1}));
}

// CM-19
BOOST_AUTO_TEST_CASE(each_node_gets_one_step_that_may_use_all_its_cpus) {
  troupe::launch_options o;
  o.exename = "/bin/app";
  o.exeflags = {"--a flag"};
  o.dir = "/some where";
  const auto step = troupe::slurm_step(nodes({3}).front(), o);
  BOOST_TEST(step.program == "srun");
  for (auto arg : {"--nodes=1", "--ntasks=1", "--nodelist=n1", "--cpus-per-task=6", "--overlap", "--mpi=none", "--chdir=/some where",
                   "/bin/app", "--a flag", "--keeper"})
    BOOST_TEST(has(step, arg), arg);
}

// CM-19
BOOST_AUTO_TEST_CASE(outside_of_an_allocation_it_is_said_what_to_do) {
  ::unsetenv("SLURM_JOB_NODELIST");
  try {
    troupe::slurm_allocation();
    BOOST_ERROR("there is none");
  } catch (const troupe::usage_error& e) {
    BOOST_TEST(std::string{e.what()}.find("salloc -n 8 PROGRAM --slurm") != std::string::npos);
  }
  BOOST_CHECK_THROW(troupe::slurm_manager{0}, troupe::usage_error);
}
