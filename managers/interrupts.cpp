#include "troupe/managers/interrupts.hpp"

#include "troupe/transport/loop.hpp"

#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <system_error>
#include <unistd.h>

namespace troupe {

namespace {

constexpr int signals[] = {SIGINT, SIGTERM, SIGHUP};

constexpr std::chrono::nanoseconds one_signal = std::chrono::milliseconds{200};

// What a handler can use: the loop reads at one end what the handler writes to the other. Open from the first time on, since a handler may run in any thread.
int pipe_ends[2] = {-1, -1};
std::atomic<bool> listening{false};
std::atomic<std::int64_t> first_came{0}; // on the steady clock, in ns; 0: none has
static_assert(std::atomic<std::int64_t>::is_always_lock_free);
bool taken[std::size(signals)] = {};

void end_by(int number) {
  std::signal(number, SIG_DFL);
  ::raise(number);
}

extern "C" void troupe_take_signal(int number) {
  const auto saved = errno;
  const std::int64_t now = std::chrono::nanoseconds{std::chrono::steady_clock::now().time_since_epoch()}.count();
  std::int64_t first = 0;
  if (first_came.compare_exchange_strong(first, now) || now - first >= one_signal.count()) {
    const auto n = static_cast<unsigned char>(number);
    if (listening)
      static_cast<void>(!::write(pipe_ends[1], &n, 1)); // full: enough signals wait already
    else
      end_by(number);
  }
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
  if (pipe_ends[0] < 0 && ::pipe2(pipe_ends, O_CLOEXEC | O_NONBLOCK) != 0)
    throw std::system_error{errno, std::generic_category(), "troupe: cannot make a pipe for signals"};
  l.post([&l, on_signal = std::move(on_signal)] {
    l.watch(pipe_ends[0], EPOLLIN, [on_signal](std::uint32_t) {
      unsigned char n;
      while (::read(pipe_ends[0], &n, 1) == 1)
        on_signal(n);
    });
  });
  first_came = 0;
  listening = true;
  for (std::size_t i = 0; i < std::size(signals); ++i) {
    struct sigaction old{};
    ::sigaction(signals[i], nullptr, &old);
    taken[i] = old.sa_handler == SIG_DFL || old.sa_handler == troupe_take_signal || is_of_ucx(old);
    if (!taken[i])
      continue;
    struct sigaction mine{};
    mine.sa_handler = troupe_take_signal;
    mine.sa_flags = SA_RESTART;
    ::sigaction(signals[i], &mine, nullptr);
  }
}

interrupts::~interrupts() {
  listening = false;
  if (first_came == 0) // else what is one with it is still on its way, perhaps
    for (std::size_t i = 0; i < std::size(signals); ++i)
      if (taken[i])
        std::signal(signals[i], SIG_DFL);
  // what came after the loop had stopped
  for (unsigned char n; ::read(pipe_ends[0], &n, 1) == 1;)
    end_by(n);
}

} // namespace troupe
