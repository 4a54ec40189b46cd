#include "troupe/managers/mpi.hpp"

#include "troupe/actors/waiter.hpp"
#include "troupe/managers/mpi_job.hpp"
#include "troupe/managers/mpi_twins.hpp"

#include <algorithm>
#include <map>

namespace troupe::detail {

namespace {

thread_local bool in_run = false;

// Why a run is ended, told to a rank.
void stop_runs(std::uint64_t up_to, const std::string& why) {
  if (const auto job = mpi_job::current())
    job->stop_runs(up_to, why);
}

} // namespace

void run_in_mpi(const mpi_run& which, const std::function<void(MPI_Comm)>& f) {
  const auto job = mpi_job::current();
  if (job == nullptr)
    throw usage_error{"this process is no rank of an MPI job"};
  in_run = true;
  struct leave {
    ~leave() { in_run = false; }
  } leaving;
  job->run(which, f);
}

mpi_calls::mpi_calls(const mpi_manager& m, const call_options& options) : world_(m.world()) {
  if (options.deadline)
    limit_ = moment_after(*options.deadline);
  if (options.token)
    cancelled_ = options.token->state();
  if (in_run)
    throw usage_error{"mpi_do was called inside of mpi_do, which would wait for itself"};
  auto turn = world_.begin(limit_, cancelled_);
  if (!turn)
    throw_too_late();
  turn_ = std::move(*turn);
  if (turn_.procs.empty())
    throw usage_error{
      "mpi_do: there is no rank that could be called. Has the job been added to the cluster, by c.addprocs(m), and has it not ended?"};
}

// When something went wrong in the middle of it: those who have been called would wait for the others.
mpi_calls::~mpi_calls() {
  if (!waited_ && !answers_.empty())
    stop("mpi_do was not sent to all ranks");
}

void mpi_calls::not_sent() {
  auto failed = std::make_shared<future_state>();
  failed->set_error(describe_current_exception());
  sent(std::move(failed));
}

void mpi_calls::throw_too_late() const {
  if (cancelled_ && cancelled_->ready())
    throw_error(make_error_info(error_kind::cancelled, "mpi_do was cancelled"));
  throw_error(make_error_info(error_kind::deadline_exceeded, "mpi_do has not ended before its deadline"));
}

void mpi_calls::stop(const std::string& why) {
  if (std::exchange(stopped_, true))
    return;
  world_.in_disorder();
  for (auto id : turn_.procs) {
    try {
      here().remote_do(id, direct(fn<stop_runs>), turn_.run.number, why);
    } catch (const error&) {
      // it has gone
    }
  }
}

void mpi_calls::wait() {
  waited_ = true;
  turn_.held = nullptr;
  std::vector<std::shared_ptr<future_state>> open = answers_;
  std::map<std::size_t, error_info> errors;
  try {
    if (cancelled_)
      open.push_back(cancelled_);
    while (open.size() > (cancelled_ ? 1 : 0)) {
      if (!wait_for_any(open, limit_) || (cancelled_ && cancelled_->ready()))
        throw_too_late();
      for (std::size_t i = 0; i < answers_.size(); ++i) {
        const auto found = std::find(open.begin(), open.end(), answers_[i]);
        if (found == open.end() || !(*found)->ready())
          continue;
        open.erase(found);
        try {
          answers_[i]->throw_if_failed();
        } catch (const std::exception&) {
          errors[i] = describe_current_exception();
          stop("mpi_do was ended because rank " + std::to_string(turn_.run.ranks[i]) + " has failed");
        }
      }
    }
  } catch (const error& e) {
    stop(e.what());
    throw;
  }
  if (!stopped_)
    return;
  // those that were told to end haven't failed by themselves
  const bool others = std::any_of(errors.begin(), errors.end(), [](auto& e) { return e.second.kind != error_kind::interrupted; });
  error_info all;
  all.kind = error_kind::composite;
  for (auto& [place, e] : errors)
    if (e.kind != error_kind::interrupted || !others)
      all.parts.push_back(std::move(e));
  throw_error(std::move(all));
}

} // namespace troupe::detail
