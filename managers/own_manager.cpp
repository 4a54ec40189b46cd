#include "troupe/managers/own_manager.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <climits>
#include <csignal>
#include <cstdlib>
#include <ctime>
#include <system_error>
#include <unistd.h>

namespace troupe {

namespace {

// Others may have some of the ports that workers of one host try.
constexpr int spare_ports = 100;

} // namespace

std::vector<std::string> launcher_variables() { return {"PMI_", "PMIX_", "MPIR_", "HYDI_", "HYDRA_", "OMPI_"}; }

// One worker for each CPU, each with a numeric library that starts a thread for each CPU, would be slow.
void add_thread_limits(std::vector<std::pair<std::string, std::string>>& env) {
  for (const char* name : {"OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"})
    if (std::getenv(name) == nullptr && std::none_of(env.begin(), env.end(), [&](auto& v) { return v.first == name; }))
      env.emplace_back(name, "1");
}

std::string own_program() {
  char path[PATH_MAX];
  auto n = ::readlink("/proc/self/exe", path, sizeof path);
  if (n <= 0)
    throw std::system_error{errno, std::generic_category(), "troupe: cannot find this program's file"};
  return {path, static_cast<std::size_t>(n)};
}

void check_options(const launch_options& options, const std::string& kind) {
  if (!options.extra.empty())
    throw usage_error{kind + " workers have no option '" + options.extra.begin()->first + "'"};
  if (options.launch_timeout <= std::chrono::milliseconds::zero())
    throw usage_error{"launch_timeout must be positive, it is " + std::to_string(options.launch_timeout.count()) + " ms"};
}

std::vector<std::string> worker_arguments(const launch_options& options, const std::string& bind_addr, int bind_tries,
                                          const std::string& cookie) {
  auto out = options.exeflags;
  out.insert(out.end(), {cookie.empty() ? "--worker" : "--worker=" + cookie, "--tied", "--bind-addr=" + bind_addr,
                         "--launch-timeout=" + std::to_string(static_cast<double>(options.launch_timeout.count()) / 1000)});
  if (bind_tries > 1)
    out.push_back("--bind-tries=" + std::to_string(bind_tries + spare_ports));
  out.push_back("--threads=" + std::to_string(options.threads < 1 ? 1 : options.threads));
  return out;
}

long write_to_child(int fd, std::string_view text) {
  sigset_t pipe;
  sigset_t before;
  sigemptyset(&pipe);
  sigaddset(&pipe, SIGPIPE);
  ::pthread_sigmask(SIG_BLOCK, &pipe, &before);
  const auto n = ::write(fd, text.data(), text.size());
  const auto error = errno;
  if (n < 0 && error == EPIPE) {
    timespec at_once{};
    ::sigtimedwait(&pipe, nullptr, &at_once);
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  errno = error;
  return n;
}

} // namespace troupe
