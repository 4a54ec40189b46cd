// What programs need to run: libraries, TCP on this host, and workers.

#include "doctor.hpp"
#include "loopback.hpp"
#include "run_command.hpp"

#include "troupe/managers/own_manager.hpp"

#include <caf/config.hpp>

#include <filesystem>
#include <map>
#include <sstream>

#include <link.h>

namespace command {

namespace {

using namespace std::chrono_literals;

constexpr auto workers_time = 20s;

int keep_path(::dl_phdr_info* info, std::size_t, void* out) {
  const std::string path = info->dlpi_name;
  for (auto& [name, found] : *static_cast<std::map<std::string, std::string>*>(out))
    if (path.find("/" + name + ".so") != std::string::npos)
      found = path;
  return 0;
}

// The file of a library that this process runs with: "/usr/lib/…/libcaf_core.so.0.17.6". Empty if it is part of the executable.
std::string loaded_file(const std::string& name) {
  std::map<std::string, std::string> paths{{name, {}}};
  ::dl_iterate_phdr(keep_path, &paths);
  if (paths[name].empty())
    return {};
  std::error_code problem;
  const auto file = std::filesystem::canonical(paths[name], problem);
  return problem ? paths[name] : file.string();
}

} // namespace

findings check_libraries() {
  const auto headers =
    std::to_string(CAF_VERSION / 10000) + "." + std::to_string(CAF_VERSION / 100 % 100) + "." + std::to_string(CAF_VERSION % 100);
  const auto file = loaded_file("libcaf_core");
  if (file.empty())
    return {{mark::ok, "CAF", headers + ", part of this executable"}};
  if (!file.ends_with(".so." + headers))
    return {{mark::missing, "CAF", "compiled with the headers of " + headers + ", runs with " + file,
             "two versions are mixed: apt-get install --reinstall libcaf-dev, and build anew; or look at LD_LIBRARY_PATH"}};
  return {{mark::ok, "CAF", headers + ", headers and library (" + file + ")"}};
}

findings check_loopback() {
  const auto r = connect_to_self("127.0.0.1");
  if (!r.problem.empty())
    return {{mark::missing, "loopback", "no TCP connection over 127.0.0.1: " + r.problem,
             "is it up? ip link set lo up; does a firewall drop what comes by lo? nft list ruleset"}};
  return {{mark::ok, "loopback", "a TCP connection over 127.0.0.1 in " + in_time(r.seconds)}};
}

findings check_workers(worker_costs& costs) {
  troupe::child_options what;
  what.program = troupe::own_program();
  what.args = {"--probe", "workers"};
  what.env_removed_prefixes = troupe::launcher_variables();
  what.env_removed_prefixes.push_back("TROUPE_"); // it is to be this cluster, whatever others are to be
  const auto end = run_command(what, workers_time);
  std::istringstream in{end.out};
  std::string word;
  int n = 0;
  double start = 0, call = 0;
  if (end.good() && in >> word >> n >> start >> call >> costs.threads >> costs.own >> costs.descriptors && word == "workers")
    return {{mark::ok, "workers",
             std::to_string(n) + " local workers started and called in " + in_time(start) + "; a call and back takes " + in_time(call)}};
  if (end.too_slow())
    return {{mark::missing, "workers",
             "two local workers have not come and answered within " + std::to_string(workers_time.count()) + " s\n" + end.err,
             "is the machine overloaded, or out of memory? uptime; free -m; dmesg | tail"}};
  return {{mark::missing, "workers", "two local workers can't be started and called:\n" + end.not_started + end.err + end.out,
           "see the limits below; the program that was run is " + what.program}};
}

} // namespace command
