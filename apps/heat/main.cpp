// The heat equation in two dimensions, by blocks that are the elements of an array of actors: see block.hpp for how they work together. The numbers are the same to the bit whatever
// the blocks, and wherever they are.
#include "files/files.hpp"
#include "heat/block.hpp"
#include "heat/picture.hpp"
#include "heat/report.hpp"

#include <troupe/actors.hpp>
#include <troupe/troupe.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <iostream>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace {

// The same for any order of the blocks.
double larger(double a, double b) { return std::max(a, b); }

struct options {
  heat::problem problem;
  std::string blocks;
  std::string out = ".";
};

void add_options(troupe::app& app, options& o) {
  app.option("--size", o.problem.size, "cells across, and down");
  app.option("--steps", o.problem.steps, "how many");
  app.option("--ratio", o.problem.ratio, "D dt / dx², up to 0.25");
  app.option("--blocks", o.blocks, "how many blocks, or how many down and across, as in 3x2; default: one for each worker");
  app.option("--frames", o.problem.frames, "a picture after each so many steps; 0: only the last one");
  app.option("--out", o.out, "the folder for heat.png, and heat-000100.png and so on");
}

// So far.
std::map<int, heat::traffic> traffic_of(const troupe::cluster& c) {
  std::map<int, heat::traffic> out;
  for (const auto& p : c.statistics())
    out[p.id] = {p.messages_sent, p.bytes_sent};
  return out;
}

class simulation {
public:
  simulation(troupe::cluster& c, const options& o)
    : cluster_(c),
      options_(o),
      problem_(o.problem),
      blocks_(heat::read_layout(o.blocks, c.nworkers(), o.problem.size)),
      grid_(c.spawn_array<heat::block>({blocks_.rows, blocks_.columns}, troupe::placement::block, o.problem)) {}

  void run() {
    auto before = traffic_of(cluster_);
    const auto begin = std::chrono::steady_clock::now();
    make_steps();
    heat::run_figures f;
    f.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    f.sent = traffic_of(cluster_);
    for (auto& [process, sent] : f.sent) {
      sent.messages -= before[process].messages;
      sent.bytes -= before[process].bytes;
    }
    f.checksum = grid_.reduce<std::uint64_t>(std::plus<>{}, heat::ask_checksum::value);
    write_picture("heat.png", collect_picture(), problem_.steps);
    heat::print_figures(std::cout, problem_, blocks_, f);
    std::cout << "written:  " << options_.out << "/heat.png\n";
    flush();
  }

private:
  // The blocks rest only where something is asked of them: a picture on the way is written while they go on.
  void make_steps() const {
    std::optional<heat::picture> frame;
    std::int64_t now = 0;
    const auto write_frame = [&] {
      if (frame)
        write_picture(heat::frame_name(now), *std::exchange(frame, std::nullopt), now);
    };
    while (now < problem_.steps) {
      const auto next = heat::next_rest(problem_, now);
      const auto arrival = grid_.step(heat::advance{static_cast<std::uint32_t>(next)});
      write_frame();
      arrival.fetch();
      now = next;
      if (now % heat::report_steps == 0 || now == problem_.steps) {
        heat::print_residual(std::cout, now, grid_.reduce<double>(troupe::fn<larger>, heat::ask_change::value));
        flush();
      }
      if (problem_.frames > 0 && now % problem_.frames == 0)
        frame = collect_picture();
    }
    write_frame();
  }

  heat::picture collect_picture() const {
    const auto parts = grid_.collect<std::vector<float>>(heat::ask_picture::value);
    heat::picture out{problem_.size};
    for (std::size_t i = 0; i < parts.size(); ++i) {
      const auto at = static_cast<std::int64_t>(i);
      out.put(heat::area_of(blocks_, problem_.size, at / blocks_.columns, at % blocks_.columns), parts[i]);
    }
    return out;
  }

  void write_picture(const std::string& name, const heat::picture& picture, std::int64_t steps) const {
    files::write_file(options_.out + '/' + name, picture.png(heat::caption(problem_, steps)));
  }

  static void flush() {
    if (!(std::cout << std::flush))
      throw std::runtime_error("cannot write to the standard output");
  }

  troupe::cluster& cluster_;
  const options& options_;
  const heat::problem& problem_;
  const heat::layout blocks_;
  const troupe::actor_array<heat::block> grid_;
};

int simulate(troupe::cluster& c, const options& o) {
  heat::check(o.problem);
  files::require_folder(o.out); // before the work, not after it
  simulation{c, o}.run();
  return 0;
}

} // namespace

int main(int argc, char** argv) {
  troupe::app app{"heat", "The heat equation in two dimensions"};
  options o;
  add_options(app, o);
  app.message_types<heat::halo>(); // the others go to all elements, whose array knows them
  return app.run(argc, argv, [&](troupe::cluster& c) { return simulate(c, o); });
}
