// A stochastic SEIR epidemic in the states of the USA, which people travel between. The states are divided
// among the workers; see model.hpp for the model and block_actor.hpp for how the parts work together.

#include "epidemic/chart.hpp"
#include "epidemic/cluster_run.hpp"
#include "epidemic/output.hpp"
#include "files/files.hpp"

#include <troupe/troupe.hpp>

#include <chrono>
#include <cmath>
#include <cstdint>
#include <iomanip>
#include <iostream>
#include <stdexcept>
#include <utility>

namespace {

struct options {
  epidemic::parameters given;
  std::string places; // a file; empty: the states
  std::size_t blocks = 0;
  std::string out = ".";
};

void add_options(troupe::app& app, options& o) {
  app.option("--days", o.given.days, "how many days");
  app.option("--r0", o.given.r0, "how many people one infects where nobody is immune");
  app.option("--incubation", o.given.incubation, "days from infection to being infectious, on average");
  app.option("--infectious", o.given.infectious, "days of being infectious, on average");
  app.option("--travel", o.given.travel, "the part of the people who spend a day in another place, 0 to 1");
  app.option("--first-case", o.given.first_case, "the code of the place where it starts");
  app.option("--first-count", o.given.first_count, "how many are infectious there on day 0");
  app.option("--seed", o.given.seed, "of the random numbers");
  app.option("--places", o.places, "a file like states.csv, instead of the states of the USA");
  app.option("--blocks", o.blocks, "how many parts the places are divided into; 0: one for each worker");
  app.option("--out", o.out, "the folder for epidemic.csv and epidemic.png");
}

// What all processes have sent each other, of whatever kind.
std::uint64_t bytes_sent(const troupe::cluster& c) {
  std::uint64_t sum = 0;
  for (const auto& p : c.statistics())
    sum += p.bytes_sent;
  return sum;
}

void print_summary(const epidemic::cluster_run& run, const options& o, double seconds, std::uint64_t bytes) {
  using epidemic::grouped;
  const auto result = epidemic::summarize(run.course);
  const auto percent = [&](std::int64_t n) {
    return 100 * static_cast<double>(n) / static_cast<double>(result.people);
  };
  const auto& course = run.course;
  std::cout << std::fixed << std::setprecision(1) << "peak:        day " << result.peak_day << ", "
            << grouped(result.peak) << " infectious (" << percent(result.peak) << " %)\n"
            << "attack rate: " << percent(result.ever_infected) << " %, " << grouped(result.ever_infected)
            << " of " << grouped(result.people) << " people\n"
            << "messages:    " << grouped(static_cast<std::int64_t>(run.messages)) << " between "
            << run.blocks << (run.blocks == 1 ? " block" : " blocks") << " of " << course.places()
            << " places, " << static_cast<double>(bytes) / 1e6 << " MB between processes\n"
            << "time:        " << std::setprecision(2) << seconds << " s for " << course.days() << " days, "
            << 1e3 * seconds / course.days() << " ms a day, "
            << grouped(std::llround(static_cast<double>(course.places()) * course.days() / seconds))
            << " places a second\n"
            << "written:     " << o.out << "/epidemic.csv, " << o.out << "/epidemic.png\n"
            << std::flush;
  if (!std::cout)
    throw std::runtime_error("cannot write to the standard output");
}

int simulate(troupe::cluster& c, const options& o) {
  const epidemic::scenario s{o.given,
                             o.places.empty() ? epidemic::default_places() : epidemic::read_places(o.places)};
  epidemic::check(s);
  files::require_folder(o.out); // before the work, not after it
  const auto sent_before = bytes_sent(c);
  const auto run_start = std::chrono::steady_clock::now();
  const auto run = [&] {
    troupe::progress bar{"days", o.given.days};
    std::uint32_t shown = 0;
    return epidemic::run_on(c, s, o.blocks, [&](std::uint32_t day) { bar.advance(day - std::exchange(shown, day)); });
  }();
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - run_start;
  const auto sent = bytes_sent(c) - sent_before;
  files::write_file(o.out + "/epidemic.csv", epidemic::to_csv(run.course, s));
  files::write_file(o.out + "/epidemic.png", epidemic::draw_chart(run.course, s));
  print_summary(run, o, taken.count(), sent);
  return 0;
}

} // namespace

int main(int argc, char** argv) {
  options o;
  troupe::app app{"epidemic", "A stochastic SEIR epidemic in the states of the USA"};
  add_options(app, o);
  epidemic::register_messages(app);
  return app.run(argc, argv, [&](troupe::cluster& c) { return simulate(c, o); });
}
