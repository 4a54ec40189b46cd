// A frame of a zoom into the Mandelbrot set, in tiles that differ a thousandfold in cost: each worker gets the next one when it is done with the one before. With --kill-one a worker dies in
// the middle, and the picture is the same to the byte.
#include "files/files.hpp"
#include "render/mandelbrot.hpp"

#include <troupe/troupe.hpp>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <ctime>
#include <filesystem>
#include <iomanip>
#include <iostream>
#include <map>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

struct options {
  render::view view;
  std::vector<double> center{view.x, view.y};
  std::string output = "mandelbrot.png";
  bool kill_one = false;
};

/// A tile as it comes back.
struct drawn {
  std::int32_t tile = 0;
  troupe::proc_id worker = 0;
  double seconds = 0; // of CPU
  std::int64_t iterations = 0;
  std::vector<std::uint32_t> colours;

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, drawn& x) {
    return f(x.tile, x.worker, x.seconds, x.iterations, x.colours);
  }
};

double cpu_seconds() {
  timespec t{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

drawn draw(const render::view& v, std::int32_t tile) {
  const auto begin = cpu_seconds();
  auto done = render::draw(v, tile);
  return {tile, troupe::here().myid(), cpu_seconds() - begin, done.iterations, std::move(done.colours)};
}

/// What has become of the work: by worker, and by tile.
class account {
public:
  void add(const drawn& d) {
    auto& w = workers_[d.worker];
    ++w.tiles;
    w.seconds += d.seconds;
    seconds_ += d.seconds;
    fastest_ = std::min(fastest_, d.seconds);
    slowest_ = std::max(slowest_, d.seconds);
    iterations_ += d.iterations;
  }

  void print(std::ostream& out, double elapsed) const {
    out << std::fixed << "worker     tiles   seconds busy   share of the time\n";
    for (const auto& [id, w] : workers_)
      out << std::setw(6) << id << std::setw(10) << w.tiles << std::setw(15) << std::setprecision(2) << w.seconds << std::setw(18)
          << std::setprecision(1) << (seconds_ > 0 ? 100 * w.seconds / seconds_ : 0) << " %\n";
    out << "tiles:     from " << std::setprecision(3) << 1e3 * fastest_ << " ms to " << std::setprecision(1) << 1e3 * slowest_ << " ms";
    if (fastest_ > 0)
      out << ", " << std::setprecision(0) << slowest_ / fastest_ << "-fold";
    out << "\ntime:      " << std::setprecision(2) << elapsed << " s for " << std::setprecision(1) << static_cast<double>(iterations_) / 1e9
        << " billion iterations\n";
  }

private:
  struct share {
    int tiles = 0;
    double seconds = 0;
  };
  std::map<troupe::proc_id, share> workers_;
  double seconds_ = 0, fastest_ = 1e300, slowest_ = 0;
  std::int64_t iterations_ = 0;
};

/// A worker that can be killed from here, while others go on.
troupe::proc_id victim(troupe::cluster& c) {
  const auto workers = c.workers();
  const auto host = c.info(c.myid()).host;
  const auto found =
    std::find_if(workers.begin(), workers.end(), [&](troupe::proc_id id) { return id != c.myid() && c.info(id).host == host; });
  if (workers.size() < 2 || found == workers.end())
    throw std::runtime_error("--kill-one needs two workers or more, one of them on this host: there are " + std::to_string(c.nworkers()));
  return *found;
}

void kill(const troupe::process_info& worker) {
  if (!worker.cause && worker.os_pid > 0)
    ::kill(static_cast<::pid_t>(worker.os_pid), SIGKILL);
}

int render_frame(troupe::cluster& c, const options& o) {
  const auto& v = o.view;
  const auto begin = std::chrono::steady_clock::now();
  std::vector<std::int32_t> tiles(static_cast<std::size_t>(render::tiles(v)));
  std::iota(tiles.begin(), tiles.end(), 0);
  const troupe::proc_id doomed = o.kill_one ? victim(c) : 0;
  files::require_folder(std::filesystem::absolute(o.output).parent_path()); // before the work, not after it
  render::picture picture{v};
  account work;
  std::size_t done = 0;
  const auto take = [&](std::size_t, const drawn& d) {
    picture.put(d.tile, d.colours);
    work.add(d);
    if (++done == (tiles.size() + 1) / 2 && doomed != 0)
      kill(c.info(doomed));
  };
  c.pmap_each(troupe::with(v, troupe::fn<draw>), tiles, take, troupe::pmap_options<>{.progress = "tiles"});
  files::write_file(o.output, picture.png());
  work.print(std::cout, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  std::cout << "written:   " << o.output << std::endl;
  if (!std::cout)
    throw std::runtime_error("cannot write to the standard output");
  return 0;
}

} // namespace

int main(int argc, char** argv) {
  troupe::app app{"render", "A frame of a zoom into the Mandelbrot set"};
  options o;
  app.option("--size", o.view.size, "pixels across, and down");
  app.option("--tile", o.view.tile, "pixels of a tile, across and down");
  app.option("--center", o.center, "the point in the middle: two numbers");
  app.option("--width", o.view.width, "of what is seen, in the plane");
  app.option("--iterations", o.view.iterations, "after so many, a point is one of the set, and black");
  app.option("--output", o.output, "the PNG file");
  app.option("--kill-one", o.kill_one, "a worker dies when half of the tiles are done");
  return app.run(argc, argv, [&](troupe::cluster& c) {
    if (o.center.size() != 2)
      throw std::invalid_argument("--center takes two numbers, and got " + std::to_string(o.center.size()));
    o.view.x = o.center[0];
    o.view.y = o.center[1];
    render::check(o.view);
    return render_frame(c, o);
  });
}
