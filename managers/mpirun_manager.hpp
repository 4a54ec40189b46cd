#pragma once

#include "troupe/managers/mpi_manager.hpp"
#include "troupe/managers/mpi_world.hpp"
#include "troupe/managers/rank_keeper.hpp"

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace troupe {

struct mpi_job_orders;

/// Starts workers that are the ranks of one MPI job, by mpirun or the like.
///
/// The job's rank 0 gets three lines on its standard input: the cookie; where the master listens, with the number of ranks and a secret of the
/// job; and, once it has answered by a line on its standard output which processes the ranks are, the word to go. From then on each rank
/// dials the master, with the secret and its number as its claim. The launcher's input stays open as long as this process lives; the job ends with
/// it.
class mpirun_manager final : public mpi_world, public std::enable_shared_from_this<mpirun_manager> {
public:
  explicit mpirun_manager(mpi_options options);
  ~mpirun_manager() override;

  void attach(const manager_context& context) override;
  void launch(const launch_options& options, launch_sink& sink) override;
  void manage(proc_id id, const worker_config& config, manage_op op) override;
  void kill(proc_id id, const worker_config& config) override;
  void lost(proc_id id, const worker_config& config) override;
  bool watch(proc_id id, const worker_config& config, std::function<void(exit_cause)> ended) override;
  launch_options default_options() const override;
  void kill_all() override;

private:
  struct job;
  struct rank;
  using job_ptr = std::shared_ptr<job>;

  void start(const launch_options& options, const mpi_job_orders& orders);
  void take_line(const job_ptr& j, std::string_view line, bool is_stderr);
  void watch_end(const job_ptr& j);
  void take_end(const job_ptr& j);
  void take_end_of(const job_ptr& j, const rank_keeper::ended& end);
  void tell_end(job& j, rank& r);
  void end(const job_ptr& j);
  std::string command() const;

  mpi_options options_;
  manager_context context_{};
  std::atomic<bool> launched_{false};
  std::atomic<job_ptr> job_; // set once, by launch
};

/// What rank 0 of a job reads from its standard input, in two lines, and shares with the others as one.
struct mpi_job_orders {
  std::string cookie;
  int np = 0;
  /// See mpi_world::survivable.
  bool survivable = false;
  std::string secret;
  /// Where the master can be reached by its loopback address; "-" if it is reached in the same way from everywhere.
  std::string master_host;
  /// The address may be several, with commas between them: one of them leads to it.
  endpoint master;

  /// One for each address.
  std::vector<endpoint> masters() const;

  /// `between`: what stands behind the cookie.
  std::string to_text(char between) const;
  /// Whatever stands behind the cookie. Nothing if something is missing.
  static std::optional<mpi_job_orders> from_text(const std::string& text);
};

/// What rank 0 answers on its standard output, "troupe_mpi_job:" and for each rank its process's id and host's name.
struct mpi_job_line {
  struct process {
    std::int64_t os_pid = 0;
    std::string host;
  };
  std::vector<process> ranks;

  std::string to_text() const;
  /// Nothing if it is any other line.
  static std::optional<mpi_job_line> from_text(std::string_view line);
};

} // namespace troupe
