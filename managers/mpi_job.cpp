#include "troupe/managers/mpi_job.hpp"

#include "troupe/managers/process.hpp"
#include "troupe/transport/mpi.hpp"
#include "troupe/transport/tcp.hpp"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <arpa/inet.h>
#include <stdexcept>
#include <thread>

namespace troupe {

namespace {

using namespace std::chrono_literals;

// How often a rank that has nothing to do looks whether the others have come to their ends.
constexpr auto look_time = 5ms;
constexpr std::size_t longest_text = 512;

// Dials by MPI who has an address there, and everybody else by TCP; listens at MPI.
class mixed_transport final : public transport {
public:
  explicit mixed_transport(MPI_Comm of) : mpi_(of) {
  }
  MPI_Comm communicator() const {
    return mpi_.communicator();
  }
  endpoint listen(loop& l, const endpoint& at, acceptor on_accept) override {
    return mpi_.listen(l, at, std::move(on_accept));
  }
  void dial(loop& l, const endpoint& to, std::chrono::milliseconds limit, dial_handler done) override {
    if (to.address.starts_with("mpi-"))
      mpi_.dial(l, to, limit, std::move(done));
    else
      tcp_.dial(l, to, limit, std::move(done));
  }

private:
  mpi_transport mpi_;
  tcp_transport tcp_;
};

// The first address of an interface that is up and isn't the loopback.
std::string first_address() {
  ifaddrs* all = nullptr;
  std::string found = "127.0.0.1";
  if (::getifaddrs(&all) != 0)
    return found;
  for (auto i = all; i != nullptr; i = i->ifa_next) {
    if (i->ifa_addr == nullptr || i->ifa_addr->sa_family != AF_INET || (i->ifa_flags & IFF_LOOPBACK) != 0 || (i->ifa_flags & IFF_UP) == 0)
      continue;
    char text[INET_ADDRSTRLEN] = {};
    found = ::inet_ntop(AF_INET, &reinterpret_cast<sockaddr_in*>(i->ifa_addr)->sin_addr, text, sizeof text);
    break;
  }
  ::freeifaddrs(all);
  return found;
}

} // namespace

struct mpi_job::handles {
  MPI_Comm comm = MPI_COMM_NULL;
  MPI_Request end = MPI_REQUEST_NULL; // all ranks have come to their ends
  bool at_end = false;
  MPI_Comm of_transport = MPI_COMM_NULL;
};

std::optional<int> mpi_job::rank_from_environment() {
  for (auto name : {"PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_RANK"})
    if (auto text = std::getenv(name)) {
      int rank = 0;
      const auto end = text + std::strlen(text);
      if (std::from_chars(text, end, rank).ptr == end && rank >= 0)
        return rank;
    }
  return std::nullopt;
}

mpi_job::mpi_job() : handles_(std::make_unique<handles>()) {
  int granted = 0;
  if (MPI_Init_thread(nullptr, nullptr, MPI_THREAD_MULTIPLE, &granted) != MPI_SUCCESS)
    throw std::runtime_error{"MPI can't be initialized"};
  MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
  MPI_Comm_size(MPI_COMM_WORLD, &size_);
  if (granted < MPI_THREAD_MULTIPLE) {
    const char* names[] = {"MPI_THREAD_SINGLE", "MPI_THREAD_FUNNELED", "MPI_THREAD_SERIALIZED"};
    const auto name = granted >= 0 && granted < 3 ? names[granted] : "something else";
    MPI_Finalize();
    throw std::runtime_error{std::string{"MPI was asked for MPI_THREAD_MULTIPLE, and grants "} + name
                             + ": troupe and your functions call MPI from several threads"};
  }
  MPI_Comm_dup(MPI_COMM_WORLD, &handles_->comm);
}

mpi_job::~mpi_job() {
  finish();
}

void mpi_job::finish() {
  if (handles_->comm == MPI_COMM_NULL)
    return;
  while (!all_there())
    std::this_thread::sleep_for(look_time);
  if (handles_->of_transport != MPI_COMM_NULL)
    mpi_transport::drain(handles_->of_transport);
  MPI_Comm_free(&handles_->comm);
  MPI_Finalize();
}

bool mpi_job::all_there() {
  auto& h = *handles_;
  if (!std::exchange(h.at_end, true))
    MPI_Ibarrier(h.comm, &h.end);
  int done = 0;
  MPI_Test(&h.end, &done, MPI_STATUS_IGNORE);
  return done != 0;
}

bool mpi_job::wait_for_all(std::chrono::milliseconds limit) {
  const auto end = std::chrono::steady_clock::now() + limit;
  while (!all_there()) {
    if (std::chrono::steady_clock::now() >= end)
      return false;
    std::this_thread::sleep_for(look_time);
  }
  return true;
}

void mpi_job::abort(int status) {
  std::fflush(nullptr);
  MPI_Abort(MPI_COMM_WORLD, status);
  std::_Exit(status);
}

std::string mpi_job::share(const std::string& text) {
  if (text.size() > longest_text)
    throw std::length_error{"mpi_job::share: the text is too long"};
  std::string out(longest_text, '\0');
  std::copy(text.begin(), text.end(), out.begin());
  MPI_Bcast(out.data(), static_cast<int>(out.size()), MPI_CHAR, 0, handles_->comm);
  return out.c_str();
}

std::vector<mpi_job::rank_info> mpi_job::gather(const rank_info& mine) {
  struct fixed {
    char address[128];
    std::uint16_t port;
    std::int64_t os_pid;
  };
  fixed f{};
  mine.where.address.copy(f.address, sizeof f.address - 1);
  f.port = mine.where.port;
  f.os_pid = mine.os_pid;
  std::vector<fixed> all(rank_ == 0 ? static_cast<std::size_t>(size_) : 0);
  MPI_Gather(&f, sizeof f, MPI_BYTE, all.data(), sizeof f, MPI_BYTE, 0, handles_->comm);
  std::vector<rank_info> out;
  for (auto& x : all)
    out.push_back({{x.address, x.port}, x.os_pid});
  return out;
}

std::shared_ptr<transport> mpi_job::make_transport() {
  auto made = std::make_shared<mixed_transport>(MPI_COMM_WORLD);
  handles_->of_transport = made->communicator();
  return made;
}

std::string mpi_job::reachable_address() {
  const auto mine = host_name();
  const int same = share(mine) == mine ? 1 : 0;
  int all_same = 0;
  MPI_Allreduce(&same, &all_same, 1, MPI_INT, MPI_MIN, handles_->comm);
  return all_same != 0 ? "127.0.0.1" : first_address();
}

void mpi_rank_manager::launch(const launch_options&, launch_sink& sink) {
  for (std::size_t r = 1; r < ranks_.size(); ++r) {
    worker_config w;
    w.host = ranks_[r].where.address;
    w.port = ranks_[r].where.port;
    w.os_pid = ranks_[r].os_pid;
    sink.launched(std::move(w));
  }
}

} // namespace troupe
