#include "bench/bare_line.hpp"

#include "bench/raw_peer.hpp"

#include <troupe/mpi.hpp>

#include <cstdint>
#include <vector>

namespace bench {

namespace {

class bare_sockets final : public bare_line {
public:
  void ping(clock::time_point end, samples& us) override {
    time_until(end, us, [&] { peer_.ping(raw_peer::wait::sleeping); });
  }
  void ping_spinning(clock::time_point end, samples& us) override {
    time_until(end, us, [&] { peer_.ping(raw_peer::wait::spinning); });
    peer_.rest();
  }
  double send_there_and_back(std::span<std::byte> bytes) override {
    return seconds_of([&] { peer_.send_there_and_back(bytes); });
  }

private:
  raw_peer peer_;
};

constexpr int tag = 7;

// The calls are MPI's own (PMPI), which wait as MPI does: mpi_do's can be ended, and let other things be done meanwhile.
std::vector<double> ping_pong(MPI_Comm world, double time) {
  std::vector<double> us;
  int rank = 0;
  PMPI_Comm_rank(world, &rank);
  if (rank > 1)
    return us;
  std::int32_t message[8] = {};
  const auto end = after(seconds{time});
  do {
    if (rank == 0) {
      message[0] = clock::now() < end ? 1 : 0;
      us.push_back(1e6 * seconds_of([&] {
                     PMPI_Send(message, 8, MPI_INT32_T, 1, tag, world);
                     PMPI_Recv(message, 8, MPI_INT32_T, 1, tag, world, MPI_STATUS_IGNORE);
                   }));
    } else {
      PMPI_Recv(message, 8, MPI_INT32_T, 0, tag, world, MPI_STATUS_IGNORE);
      PMPI_Send(message, 8, MPI_INT32_T, 0, tag, world);
    }
  } while (message[0] != 0);
  return us;
}

double array_there_and_back(MPI_Comm world, std::uint64_t bytes) {
  static std::vector<std::byte> warm;
  int rank = 0;
  PMPI_Comm_rank(world, &rank);
  if (rank > 1)
    return 0;
  warm.resize(bytes);
  const int n = static_cast<int>(bytes);
  PMPI_Sendrecv(MPI_BOTTOM, 0, MPI_BYTE, 1 - rank, tag, MPI_BOTTOM, 0, MPI_BYTE, 1 - rank, tag, world, MPI_STATUS_IGNORE);
  return seconds_of([&] {
    if (rank == 0) {
      PMPI_Send(warm.data(), n, MPI_BYTE, 1, tag, world);
      PMPI_Recv(warm.data(), n, MPI_BYTE, 1, tag, world, MPI_STATUS_IGNORE);
    } else {
      PMPI_Recv(warm.data(), n, MPI_BYTE, 0, tag, world, MPI_STATUS_IGNORE);
      PMPI_Send(warm.data(), n, MPI_BYTE, 0, tag, world);
    }
  });
}

class bare_mpi final : public bare_line {
public:
  explicit bare_mpi(troupe::cluster& c) : cluster_(c) {}
  void ping(clock::time_point end, samples& us) override {
    const auto of_all = cluster_.mpi_do<ping_pong>(cluster_.mpi(), seconds{end - clock::now()}.count());
    for (const double x : of_all.front())
      us.add(x);
  }
  void ping_spinning(clock::time_point end, samples& us) override { ping(end, us); }
  double send_there_and_back(std::span<std::byte> bytes) override {
    return cluster_.mpi_do<array_there_and_back>(cluster_.mpi(), bytes.size()).front();
  }

private:
  troupe::cluster& cluster_;
};

} // namespace

bool is_over_mpi(const troupe::cluster& c) {
  const auto links = c.links();
  return !links.empty() && links.front().kind == "mpi";
}

std::unique_ptr<bare_line> bare_line::as_in(troupe::cluster& c) {
  if (is_over_mpi(c))
    return std::make_unique<bare_mpi>(c);
  return std::make_unique<bare_sockets>();
}

} // namespace bench
