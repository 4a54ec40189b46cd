#include "troupe/managers/own_manager.hpp"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdlib>
#include <ctime>
#include <system_error>
#include <unistd.h>

namespace troupe {

std::vector<std::string> launcher_variables() {
  return {"PMI_", "PMIX_", "MPIR_", "HYDI_", "HYDRA_", "OMPI_"};
}

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

void write_to_child(int fd, std::string_view text) {
  sigset_t pipe;
  sigset_t before;
  sigemptyset(&pipe);
  sigaddset(&pipe, SIGPIPE);
  ::pthread_sigmask(SIG_BLOCK, &pipe, &before);
  if (::write(fd, text.data(), text.size()) < 0 && errno == EPIPE) {
    timespec at_once{};
    ::sigtimedwait(&pipe, nullptr, &at_once);
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

} // namespace troupe
