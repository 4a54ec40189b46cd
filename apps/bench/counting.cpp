// Loaded in front of the C library (LD_PRELOAD), it counts what a program and the processes that it starts do: allocations and
// locks, without slowing them down as tracing does. bench shows the counts of call_rate and msg_rate for each call and message.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

extern "C" void* __libc_malloc(std::size_t size); // glibc's own

namespace {

enum what { allocations, mutexes, rwlocks, kinds };

struct shared_counts {
  std::atomic<std::uint64_t> of[kinds];
};

constexpr std::uint32_t batch = 256; // that a thread counts by itself

shared_counts* all = nullptr;
thread_local std::uint32_t mine[kinds];

void count(what w) {
  if (++mine[w] < batch)
    return;
  mine[w] = 0;
  if (all != nullptr)
    all->of[w].fetch_add(batch, std::memory_order_relaxed);
}

template <class F>
F real(const char* name) {
  return reinterpret_cast<F>(::dlsym(RTLD_NEXT, name));
}

// Processes that are started by this one find the file by the environment.
__attribute__((constructor)) void begin() {
  char path[64];
  const auto given = std::getenv("BENCH_COUNTS");
  if (given == nullptr) {
    std::snprintf(path, sizeof path, "/dev/shm/bench_counts_%d", static_cast<int>(::getpid()));
    ::setenv("BENCH_COUNTS", path, 1);
  }
  const int fd = ::open(given != nullptr ? given : path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0 || ::ftruncate(fd, sizeof(shared_counts)) != 0)
    return;
  auto memory = ::mmap(nullptr, sizeof(shared_counts), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  ::close(fd);
  if (memory != MAP_FAILED)
    all = static_cast<shared_counts*>(memory);
}

__attribute__((destructor)) void end() {
  char path[64];
  std::snprintf(path, sizeof path, "/dev/shm/bench_counts_%d", static_cast<int>(::getpid()));
  ::unlink(path); // of the process that made it
}

} // namespace

extern "C" {

/// Allocations, mutexes and read locks so far, of all processes, to within some hundreds for each thread.
void bench_counts(std::uint64_t* out) {
  for (int i = 0; i < kinds; ++i)
    out[i] = all == nullptr ? 0 : all->of[i].load();
}

void* malloc(std::size_t size) {
  count(allocations);
  return __libc_malloc(size);
}

int pthread_mutex_lock(pthread_mutex_t* m) {
  static const auto lock = real<int (*)(pthread_mutex_t*)>("pthread_mutex_lock");
  count(mutexes);
  return lock(m);
}

int pthread_mutex_trylock(pthread_mutex_t* m) {
  static const auto lock = real<int (*)(pthread_mutex_t*)>("pthread_mutex_trylock");
  const auto result = lock(m);
  if (result == 0)
    count(mutexes);
  return result;
}

int pthread_rwlock_rdlock(pthread_rwlock_t* m) {
  static const auto lock = real<int (*)(pthread_rwlock_t*)>("pthread_rwlock_rdlock");
  count(rwlocks);
  return lock(m);
}
}
