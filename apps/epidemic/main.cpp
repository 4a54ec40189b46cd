// A stochastic SEIR epidemic in the states of the USA, which people travel between. The states are divided
// among the workers; see model.hpp for the model and block_actor.hpp for how the parts work together.

#include "epidemic/block_actor.hpp"
#include "epidemic/chart.hpp"
#include "epidemic/output.hpp"
#include "files/files.hpp"

#include <troupe/troupe.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <iostream>
#include <stdexcept>

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

// On an array of blocks. Throws what waiting for them throws, process_exited when a worker ends, for one.
epidemic::trajectory run_on(troupe::cluster& c, const epidemic::scenario& s, epidemic::run_figures& f) {
  const std::uint32_t days = s.given.days;
  const std::uint32_t chunk = std::clamp(days / 100, 1u, 50u);
  const epidemic::partition parts{s.places.size(), f.blocks};
  const auto blocks = c.spawn_array<epidemic::block_actor>(f.blocks, troupe::placement::block, s);
  epidemic::trajectory course{s.places.size()};
  troupe::progress bar{"days", days};
  for (std::uint32_t first = 0; first <= days; first += chunk) {
    const auto last = std::min(first + chunk - 1, days);
    // a chunk ahead of what they report: they need not wait for the master, and what they keep stays small
    const auto found = blocks.collect<epidemic::results>(epidemic::advance{last, std::min(last + chunk, days)});
    course.extend_to(last);
    f.messages = 0;
    for (std::size_t b = 0; b < f.blocks; ++b) {
      const std::size_t places = parts.last(b) - parts.first(b);
      for (auto day = first; day <= last; ++day)
        course.set(day, parts.first(b), std::span{found[b].rows}.subspan((day - first) * places, places));
      f.messages += found[b].messages;
    }
    bar.advance(last + 1 - std::max(first, 1u));
  }
  blocks.end();
  return course;
}

int simulate(troupe::cluster& c, const options& o) {
  const epidemic::scenario s{o.given, o.places.empty() ? epidemic::default_places() : epidemic::read_places(o.places)};
  epidemic::check(s);
  files::require_folder(o.out); // before the work, not after it
  epidemic::run_figures f;
  f.blocks = std::min(o.blocks == 0 ? c.workers().size() : o.blocks, s.places.size());
  const auto sent_before = bytes_sent(c);
  const auto start = std::chrono::steady_clock::now();
  const auto course = run_on(c, s, f);
  f.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  f.bytes = bytes_sent(c) - sent_before;
  files::write_file(o.out + "/epidemic.csv", epidemic::to_csv(course, s));
  files::write_file(o.out + "/epidemic.png", epidemic::draw_chart(course, s));
  std::cout << epidemic::to_text(course, f) << "written:     " << o.out << "/epidemic.csv, " << o.out << "/epidemic.png\n" << std::flush;
  if (!std::cout)
    throw std::runtime_error("cannot write to the standard output");
  return 0;
}

} // namespace

int main(int argc, char** argv) {
  options o;
  troupe::app app{"epidemic", "A stochastic SEIR epidemic in the states of the USA"};
  add_options(app, o);
  app.message_types<epidemic::parcel<epidemic::visit>, epidemic::parcel<epidemic::exposure>, epidemic::results>();
  return app.run(argc, argv, [&](troupe::cluster& c) { return simulate(c, o); });
}
