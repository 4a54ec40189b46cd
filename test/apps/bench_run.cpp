#define BOOST_TEST_MODULE bench_run
#include <boost/test/unit_test.hpp>

#include "apps/run_program.hpp"

#include <nlohmann/json.hpp>

#include <sstream>
#include <string>
#include <vector>

namespace {

struct outcome : test::program_end {
  std::vector<nlohmann::json> lines() const {
    std::vector<nlohmann::json> out;
    std::istringstream in{text};
    for (std::string line; std::getline(in, line);)
      out.push_back(nlohmann::json::parse(line));
    return out;
  }
};

outcome run_bench(const std::string& arguments) { return {test::run_program("bench", arguments)}; }

void check_fields(const nlohmann::json& line, const std::vector<const char*>& names) {
  for (const auto name : names)
    BOOST_TEST(line.contains(name), name << " is missing in " << line.dump());
}

} // namespace

BOOST_AUTO_TEST_CASE(every_metric_is_listed) {
  const auto out = run_bench("--list");
  BOOST_TEST(out.status == 0);
  for (const auto name :
       {"rtt_us",         "rtt_direct_us",   "actor_rtt_us",        "call_rate",   "msg_rate",     "crowd_pct",        "callers_pct",
        "strangers_pct",  "observe_pct",     "compute_loss_pct",    "array_bw",    "channel_rate", "channel_put_rate", "channel_batch_rate",
        "channel_put_bw", "reference_bytes", "heat_efficiency_pct", "startup_4_s", "startup_16_s", "worker_pss_mb",    "idle_cpu_pct"})
    BOOST_TEST(("\n" + out.text).find("\n" + std::string{name} + " ") != std::string::npos, name);
}

BOOST_AUTO_TEST_CASE(an_unknown_name_is_an_error_that_lists_the_known_ones) {
  const auto out = run_bench("rtt_us speed 2>&1");
  BOOST_TEST(out.status == 2);
  BOOST_TEST(out.text.find("'speed'") != std::string::npos);
  BOOST_TEST(out.text.find("idle_cpu_pct") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_round_trip_is_quoted_with_its_spread_and_beside_bare_sockets) {
  const auto out = run_bench("rtt_us --seconds 0.2");
  BOOST_TEST(out.status == 0);
  const auto lines = out.lines();
  BOOST_REQUIRE(lines.size() == 1U);
  const auto& line = lines.front();
  BOOST_TEST(line["metric"] == "rtt_us");
  BOOST_TEST(line["unit"] == "us");
  BOOST_TEST(line["transport"] == "tcp");
  BOOST_TEST(line["workers"] == 1);
  check_fields(line, {"p99", "raw", "raw_spin", "min", "p10", "p90", "cpus", "spin"});
  BOOST_TEST(line["n"].get<int>() > 0);
  BOOST_TEST(line["value"].get<double>() > 0);
  BOOST_TEST(line["raw"].get<double>() > 0);
}

BOOST_AUTO_TEST_CASE(several_are_measured_in_the_order_of_the_list_and_repeated) {
  const auto out = run_bench("msg_rate actor_rtt_us --seconds 0.05 --repeat 2");
  BOOST_TEST(out.status == 0);
  std::vector<std::string> names;
  for (const auto& line : out.lines())
    names.push_back(line["metric"]);
  const std::vector<std::string> expected{"actor_rtt_us", "msg_rate", "actor_rtt_us", "msg_rate"};
  BOOST_TEST(names == expected, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(the_heat_equation_is_measured_beside_a_plain_program_that_computes_the_same) {
  const auto out = run_bench("heat_efficiency_pct --cells 64 --seconds 0.05");
  BOOST_TEST(out.status == 0);
  const auto lines = out.lines();
  BOOST_REQUIRE(lines.size() == 1U);
  const auto& line = lines.front();
  BOOST_TEST(line["unit"] == "%");
  BOOST_TEST(line["workers"] == 2);
  BOOST_TEST(line["cells"] == 64);
  for (const auto name : {"value", "elements_4", "elements_16", "rate", "raw", "min", "max"})
    BOOST_TEST(line[name].get<double>() > 0, name << " in " << line.dump());
  BOOST_TEST(line["n"].get<int>() >= 3);
}

BOOST_AUTO_TEST_CASE(many_workers_and_many_threads_are_compared_with_few) {
  const auto out = run_bench("crowd_pct callers_pct --seconds 0.1 --calls 500");
  BOOST_TEST(out.status == 0);
  const auto lines = out.lines();
  BOOST_REQUIRE(lines.size() == 2U);
  BOOST_TEST(lines[0]["workers"] == 16);
  for (const auto name : {"value", "raw", "workers_8", "raw_8", "rate_2", "raw_rate_2"})
    BOOST_TEST(lines[0][name].get<double>() > 0, name << " in " << lines[0].dump());
  for (const auto name : {"value", "callers_2", "callers_4", "callers_8", "rate_1"})
    BOOST_TEST(lines[1][name].get<double>() > 0, name << " in " << lines[1].dump());
}

BOOST_AUTO_TEST_CASE(all_others_run_too) {
  const auto out =
    run_bench("rtt_direct_us call_rate strangers_pct array_bw channel_rate channel_put_rate channel_batch_rate channel_put_bw "
              "reference_bytes startup_4_s worker_pss_mb idle_cpu_pct "
              "--seconds 0.05 --callers 2");
  BOOST_TEST(out.status == 0);
  const auto lines = out.lines();
  BOOST_TEST(lines.size() == 12U);
  for (const auto& line : lines) {
    check_fields(line, {"n", "cpus", "workers"});
    BOOST_TEST(line["value"].is_number());
  }
}
