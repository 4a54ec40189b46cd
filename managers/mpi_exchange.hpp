#pragma once

#include "troupe/actors/rank_exchange.hpp"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include <mpi.h>

namespace troupe {

/// Values go as messages between two ranks, on a communicator of their own, tagged with their number. A small one goes with its header. A large one leaves when the
/// receiver has asked for it, so that a rank whose part has ended isn't sent anything that MPI would have to keep.
///
/// Locking: `mutex_` guards what is left of parts that were ended; MPI is called under it, without blocking.
class mpi_exchange final : public rank_exchange {
public:
  /// Collective, as MPI_Comm_dup is.
  explicit mpi_exchange(MPI_Comm of);

  void send(std::uint64_t number, int to, std::span<const std::byte> bytes, std::shared_ptr<const void> keeper) override;
  void send_nothing(std::uint64_t number, int to) override;
  bool receive(std::uint64_t number, int from, std::shared_ptr<landing> where) override;
  void leave(std::uint64_t number) override;

  /// Waits end by throwing `interrupted` from now on. Any thread.
  void stop() { stopped_ = true; }

  /// Whether a thread waits in MPI. Any thread.
  bool busy() const { return waiting_ != 0; }

private:
  /// What has begun together, and what its memory belongs to.
  struct transfer {
    std::vector<MPI_Request> requests;
    std::shared_ptr<const void> keeper;
    bool receives = false;
  };

  int tag(std::uint64_t number) const;
  void begin_send(transfer& t, const void* data, std::size_t size, std::uint64_t number, int to);
  void begin_receive(transfer& t, void* data, std::size_t size, std::uint64_t number, int from);
  void send_header(std::uint64_t number, int to, std::uint64_t size, std::span<const std::byte> with);
  void patiently(const std::function<void()>& f);
  void wait(transfer& t);
  std::shared_ptr<std::vector<std::byte>> receive_message(std::uint64_t number, int from);
  void abandon(transfer& t);
  void clean();
  void begin();

  MPI_Comm comm_ = MPI_COMM_NULL;
  std::uint64_t tags_ = 0;
  std::atomic<bool> stopped_{false};
  std::atomic<int> waiting_{0};

  std::mutex mutex_;
  std::vector<transfer> leftovers_;
  struct left {
    std::uint64_t number;
    std::chrono::steady_clock::time_point since;
  };
  std::deque<left> left_; // what something may still come for
  std::atomic<bool> unclean_{false};
};

} // namespace troupe
