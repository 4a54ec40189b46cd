#include "troupe/managers/interrupts.hpp"

#include "troupe/transport/loop.hpp"

#include <cerrno>
#include <csignal>
#include <cstring>
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <system_error>
#include <unistd.h>

namespace troupe {

namespace {

constexpr int signals[] = {SIGINT, SIGTERM, SIGHUP};

// What a handler can use: the loop reads at one end what the handler writes to the other.
int pipe_ends[2] = {-1, -1};
bool taken[std::size(signals)] = {};

extern "C" void troupe_take_signal(int number) {
  auto saved = errno;
  auto n = static_cast<unsigned char>(number);
  static_cast<void>(!::write(pipe_ends[1], &n, 1)); // full: enough signals wait already
  errno = saved;
}

// UCX, which MPI is built on, takes SIGHUP for debugging as soon as it is loaded (UCX_DEBUG_SIGNO).
bool is_of_ucx(const struct sigaction& a) {
  Dl_info where{};
  return a.sa_handler != SIG_DFL && a.sa_handler != SIG_IGN && ::dladdr(reinterpret_cast<void*>(a.sa_handler), &where) != 0
         && where.dli_fname != nullptr && std::strstr(where.dli_fname, "/libucs.") != nullptr;
}

} // namespace

interrupts::interrupts(loop& l, std::function<void(int)> on_signal) {
  if (::pipe2(pipe_ends, O_CLOEXEC | O_NONBLOCK) != 0)
    throw std::system_error{errno, std::generic_category(), "troupe: cannot make a pipe for signals"};
  l.post([&l, on_signal = std::move(on_signal)] {
    l.watch(pipe_ends[0], EPOLLIN, [on_signal](std::uint32_t) {
      unsigned char n;
      while (::read(pipe_ends[0], &n, 1) == 1)
        on_signal(n);
    });
  });
  for (std::size_t i = 0; i < std::size(signals); ++i) {
    struct sigaction old{};
    ::sigaction(signals[i], nullptr, &old);
    taken[i] = old.sa_handler == SIG_DFL || is_of_ucx(old);
    if (!taken[i])
      continue;
    struct sigaction mine{};
    mine.sa_handler = troupe_take_signal;
    mine.sa_flags = SA_RESTART;
    ::sigaction(signals[i], &mine, nullptr);
  }
}

interrupts::~interrupts() {
  for (std::size_t i = 0; i < std::size(signals); ++i)
    if (taken[i])
      std::signal(signals[i], SIG_DFL);
  // what came after the loop had stopped
  for (unsigned char n; ::read(pipe_ends[0], &n, 1) == 1;)
    ::raise(n);
  ::close(pipe_ends[0]);
  ::close(pipe_ends[1]);
  pipe_ends[0] = pipe_ends[1] = -1;
}

} // namespace troupe
