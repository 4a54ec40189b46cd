#pragma once

#include "troupe/actors/future_state.hpp"
#include "troupe/actors/rank_exchange.hpp"
#include "troupe/managers/own_manager.hpp"

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace troupe {

/// Of mpirun: a rank that dies doesn't take the others along.
inline constexpr std::string_view mpi_survival_flag = "-disable-auto-cleanup";

/// What a rank is told of a function that all ranks of its job run together.
struct mpi_run {
  /// Of the run, from 1 on.
  std::uint64_t number = 0;
  /// Changes when the ranks need another communicator: others take part, or an earlier function has left the last one in disorder.
  std::uint64_t communicator = 0;
  /// Who takes part, in ascending order.
  std::vector<int> ranks;

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, mpi_run& x) {
    return f(x.number, x.communicator, x.ranks);
  }
};

/// An MPI job as the master sees it: what mpi_manager is a handle of. Any thread.
class mpi_world : public own_manager {
public:
  /// Which process each rank is.
  std::map<int, proc_id> ranks() const;

  /// For as long as it lives no other run begins: what it is told, and the processes of its ranks, in the same order.
  struct turn {
    std::shared_ptr<void> held;
    mpi_run run;
    std::vector<proc_id> procs;
  };
  /// Blocks while another run is being sent to the ranks, no longer than until the limit, or until `cancelled` is ready: then there is no turn. Throws
  /// `interrupted`.
  std::optional<turn> begin(std::optional<detail::future_state::time_point> limit, const std::shared_ptr<detail::future_state>& cancelled);

  /// These processes as a group, for something new that they do; nothing if there are fewer than two, one of them is no rank, or is there twice, or if the ranks can't
  /// hand each other values (see set_exchanging). Nor where ranks die alone: UCX, which MPICH is built on, aborts a rank that reads from one that dies.
  std::optional<rank_group> group_of(const std::vector<proc_id>& procs);

  /// All its ranks have a rank_exchange: several threads may call MPI. Before it has ranks.
  void set_exchanging() { exchanging_ = true; }

  /// A function has failed, and may have left others in the middle of something.
  void in_disorder();

  /// The launcher lets the others live when a rank dies.
  void set_survivable() { survivable_ = true; }
  bool survivable() const { return survivable_; }
  /// Its launcher shows what ranks write, which doesn't come to the master.
  virtual bool shows_output() const { return false; }
  /// Whether its ranks end each by itself, without MPI_Finalize, which takes all of them: one may have died.
  bool ends_apart() const { return survivable_; }

protected:
  void add(int rank, proc_id id);
  void remove(proc_id id);

private:
  mutable std::mutex mutex_; // guards the next ones
  std::shared_ptr<detail::future_state> sending_; // ready when the run that is being sent has been
  std::map<int, proc_id> ranks_;
  std::uint64_t last_run_ = 0;
  std::uint64_t communicator_ = 1;
  std::uint64_t last_group_ = 0;
  std::atomic<bool> survivable_{false};
  std::atomic<bool> exchanging_{false};
};

} // namespace troupe
