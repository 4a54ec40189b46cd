#include "troupe/transport/bells.hpp"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <random>
#include <stdexcept>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <system_error>
#include <unistd.h>

namespace troupe {

static_assert(std::atomic<int>::is_always_lock_free);

void check_mpi(int result, const char* what) {
  if (result == MPI_SUCCESS)
    return;
  char text[MPI_MAX_ERROR_STRING] = {};
  int size = 0;
  MPI_Error_string(result, text, &size);
  throw std::runtime_error{std::string{"troupe: MPI cannot "} + what + ": " + text};
}

namespace {

sockaddr_un bell_address(const std::string& path) {
  sockaddr_un a{};
  a.sun_family = AF_UNIX;
  path.copy(a.sun_path, sizeof a.sun_path - 1);
  return a;
}

// Where a rank is and how it can be woken, as it tells the others.
struct bell_place {
  char host[128] = {};
  char path[96] = {}; // of its socket; a file beside it has the flag
};

std::string flag_file(const std::string& path) { return path + ".flag"; }

} // namespace

shared_flag::shared_flag(const std::string& file, int flags) {
  const unique_fd f{::open(file.c_str(), flags | O_CLOEXEC, 0600)};
  if (!f || ((flags & O_CREAT) != 0 && ::ftruncate(f.get(), size) != 0))
    return;
  const auto at = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, f.get(), 0);
  if (at != MAP_FAILED)
    word_ = static_cast<std::atomic<int>*>(at);
}

shared_flag::~shared_flag() {
  if (word_ != nullptr)
    ::munmap(word_, size);
}

bells::bells(MPI_Comm all) {
  int size = 0, rank = 0;
  MPI_Comm_size(all, &size);
  MPI_Comm_rank(all, &rank);
  // a path rather than a name in the abstract namespace, which ends at the border of a network namespace
  const char* folder = ::getenv("TMPDIR");
  std::random_device dice;
  const auto path = std::string{folder != nullptr && std::strlen(folder) < 60 ? folder : "/tmp"} + "/troupe-" + std::to_string(::getpid())
                    + '-' + std::to_string(dice()) + ".bell";
  bell_place mine;
  path.copy(mine.path, sizeof mine.path - 1);
  ::gethostname(mine.host, sizeof mine.host - 1);
  socket_ = unique_fd{::socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
  const auto file = flag_file(path);
  struct names { // of what has been opened, gone with the constructor, whatever way that ends
    const std::string& path;
    const std::string& file;
    ~names() {
      ::unlink(path.c_str());
      ::unlink(file.c_str());
    }
  } removed{path, file};
  const auto address = bell_address(path);
  if (!socket_ || ::bind(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    throw std::system_error{errno, std::generic_category(), "troupe: cannot make a socket at " + path};
  mine_ = shared_flag{file, O_RDWR | O_CREAT | O_EXCL};
  if (mine_.get() == nullptr)
    throw std::system_error{errno, std::generic_category(), "troupe: cannot share memory by " + file};
  std::vector<bell_place> places(static_cast<std::size_t>(size));
  check_mpi(MPI_Allgather(&mine, sizeof mine, MPI_BYTE, places.data(), sizeof mine, MPI_BYTE, all), "exchange addresses");
  neighbours_.resize(places.size());
  for (std::size_t i = 0; i < places.size(); ++i) {
    if (std::strncmp(places[i].host, mine.host, sizeof mine.host) == 0)
      reach(neighbours_[i], places[i].path);
    all_here_ = all_here_ && neighbours_[i].sleeps.get() != nullptr;
  }
  // who can't ring at one rank must not be relied on by it, so that all know whether all can
  int here = all_here_ ? 1 : 0, all_reach_all = 0;
  check_mpi(MPI_Allreduce(&here, &all_reach_all, 1, MPI_INT, MPI_MIN, all), "wait for all ranks");
  all_here_ = all_reach_all != 0;
}

// A rank of the same name may be elsewhere, or have another /tmp: it looks now and then.
void bells::reach(neighbour& n, const std::string& path) {
  const auto address = bell_address(path);
  unique_fd bell{::socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
  shared_flag flag{flag_file(path), O_RDWR};
  if (flag.get() == nullptr || !bell || ::connect(bell.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return;
  n.sleeps = std::move(flag);
  n.bell = std::move(bell);
}

void bells::drain() {
  char buffer[64];
  while (::recv(socket_.get(), buffer, sizeof buffer, 0) >= 0) {
    // they all say the same
  }
}

void bells::ring(int rank) {
  auto& n = neighbours_[static_cast<std::size_t>(rank)];
  std::atomic_thread_fence(std::memory_order_seq_cst); // what MPI has written is there before the flag is read
  if (n.sleeps.get() != nullptr && n.sleeps.get()->load() != 0)
    ::send(n.bell.get(), "", 1, MSG_NOSIGNAL); // full: it rings already
}

} // namespace troupe
