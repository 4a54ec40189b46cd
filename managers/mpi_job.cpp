#include "troupe/managers/mpi_job.hpp"

#include "troupe/actors/driving.hpp"
#include "troupe/actors/task_control.hpp"
#include "troupe/actors/waiter.hpp"
#include "troupe/managers/bind_address.hpp"
#include "troupe/managers/mpi_exchange.hpp"
#include "troupe/managers/mpi_twins.hpp"
#include "troupe/managers/process.hpp"
#include "troupe/managers/rank_keeper.hpp"
#include "troupe/transport/mpi.hpp"
#include "troupe/transport/tcp.hpp"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <future>
#include <poll.h>
#include <stdexcept>
#include <string_view>
#include <thread>
#include <unistd.h>

namespace troupe {

namespace {

using namespace std::chrono_literals;

// How often a rank that has nothing to do looks whether the others have come to their ends.
constexpr auto look_time = 5ms;
constexpr std::size_t longest_text = 512;
// A rank that hears of its run's end waits this long for what the first one says; that hears of it at the same time, or is dead.
constexpr auto answer_time = 5s;
// All ranks have come to their ends when one calls MPI_Finalize, so that it has only to clear up.
constexpr auto finalize_time = 3s;
// By then the others have given up, too.
constexpr auto settle_time = 500ms;
// What ranks say to each other where they meet.
constexpr char not_all = 0, go_on = 1, am_here = 2;

// Dials by MPI who has an address there, and everybody else by TCP; listens at MPI.
class mixed_transport final : public transport {
public:
  explicit mixed_transport(MPI_Comm of) : mpi_(of) {}
  MPI_Comm communicator() const { return mpi_.communicator(); }
  endpoint listen(loop& l, const endpoint& at, acceptor on_accept) override { return mpi_.listen(l, at, std::move(on_accept)); }
  void dial(loop& l, const endpoint& to, std::chrono::milliseconds limit, dial_handler done) override {
    if (to.is_in_mpi_job())
      mpi_.dial(l, to, limit, std::move(done));
    else
      tcp_.dial(l, to, limit, std::move(done));
  }

private:
  mpi_transport mpi_;
  tcp_transport tcp_;
};

} // namespace

struct mpi_job::handles {
  MPI_Comm part = MPI_COMM_NULL; // the user's
  MPI_Comm comm = MPI_COMM_NULL;
  bool finalizes = false;
  MPI_Request end = MPI_REQUEST_NULL; // all ranks have come to their ends
  bool at_end = false;
  MPI_Comm of_transport = MPI_COMM_NULL;

  // Of runs, by the thread that runs them.
  MPI_Comm of_runs = MPI_COMM_NULL;
  MPI_Comm of_user = MPI_COMM_NULL;
  std::uint64_t user_number = 0;

  std::mutex mutex; // guards the next ones
  std::shared_ptr<waiter> running;
  std::uint64_t running_number = 0;
  std::string why_stopped;
  std::atomic<std::uint64_t> stopped{0};
};

namespace {

std::atomic<mpi_job*> the_job{nullptr};

// While it lives, the calling thread's blocking MPI calls leave the CPU to others: where there are more ranks than CPUs, MPI's own have the others wait
// for the CPU that they wait on.
struct mpi_patience {
  detail::mpi_waits waits{[] {}, [] {}};
};

// As the launcher says, before MPI_Init or after; false if it doesn't say.
bool on_one_host(int size) {
  if (const auto here = std::getenv("MPI_LOCALNRANKS")) // MPICH's
    return std::to_string(size) == here;
  const auto nodes = std::getenv("SLURM_STEP_NUM_NODES");
  return nodes != nullptr && std::string_view{nodes} == "1";
}

// MPI_Finalize may hang where ranks on several hosts talk by TCP, also in programs that do nothing else: in MPICH 4.0.2, who has closed its connections
// waits in PMI, where it can't answer those who still close theirs (see pmodels/mpich#6596). It happens the less often, the closer together the ranks come to it:
// hence a barrier that spins. After a while the process goes on without it, and ends without clearing up.
void finalize_among_hosts(MPI_Comm comm) {
  std::promise<void> end;
  auto ended = end.get_future();
  std::thread caller{[comm, end = std::move(end)]() mutable {
    PMPI_Barrier(comm);
    MPI_Comm_free(&comm);
    MPI_Finalize();
    end.set_value();
  }};
  if (ended.wait_for(finalize_time) == std::future_status::ready) {
    caller.join();
    return;
  }
  ::pthread_cancel(caller.native_handle()); // it waits in epoll_wait or read
  caller.detach();
  std::this_thread::sleep_for(settle_time); // a process that ends may let others go on, to a barrier of PMI that hydra can't end any more
  rank_keeper::say_goodbye();
  ::on_exit(
    [](int status, void*) {
      std::fflush(nullptr);
      ::_exit(status);
    },
    nullptr);
}

const char* level_name(int level) {
  switch (level) {
    case MPI_THREAD_SINGLE:
      return "MPI_THREAD_SINGLE";
    case MPI_THREAD_FUNNELED:
      return "MPI_THREAD_FUNNELED";
    case MPI_THREAD_SERIALIZED:
      return "MPI_THREAD_SERIALIZED";
    case MPI_THREAD_MULTIPLE:
      return "MPI_THREAD_MULTIPLE";
    default:
      return "something else";
  }
}

} // namespace

mpi_job* mpi_job::current() { return the_job; }

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

std::optional<int> mpi_job::rank_in(MPI_Comm part) {
  int initialized = 0;
  MPI_Initialized(&initialized);
  if (initialized == 0)
    throw usage_error{"app::run was given a communicator, and MPI isn't initialized: call MPI_Init_thread with MPI_THREAD_MULTIPLE before"};
  if (part == MPI_COMM_NULL)
    return std::nullopt;
  int rank = 0;
  MPI_Comm_rank(part, &rank);
  return rank;
}

mpi_job::mpi_job(MPI_Comm part, int level) : handles_(std::make_unique<handles>()) {
  auto& h = *handles_;
  int granted = 0, initialized = 0;
  MPI_Initialized(&initialized);
  if (initialized != 0)
    MPI_Query_thread(&granted);
  else if (MPI_Init_thread(nullptr, nullptr, level, &granted) != MPI_SUCCESS)
    throw std::runtime_error{"MPI can't be initialized"};
  h.finalizes = initialized == 0;
  if (granted < level) {
    const std::string asked = h.finalizes ? "MPI was asked for " : "MPI_Init_thread should have been asked for ";
    if (h.finalizes)
      MPI_Finalize();
    throw std::runtime_error{asked + level_name(level) + (h.finalizes ? ", and grants " : ", and what MPI has granted is ")
                             + level_name(granted) + ": troupe and your functions call MPI from several threads"};
  }
  h.part = part;
  const mpi_patience waiting;
  MPI_Comm_dup(part, &h.comm);
  MPI_Comm_dup(part, &h.of_runs);
  MPI_Comm_rank(h.comm, &rank_);
  MPI_Comm_size(h.comm, &size_);
  if (level == MPI_THREAD_MULTIPLE)
    exchange_ = std::make_unique<mpi_exchange>(h.comm);
  rank_exchange::set_current(exchange_.get());
  the_job = this;
}

mpi_job::~mpi_job() {
  finish();
  rank_exchange::set_current(nullptr);
  the_job = nullptr;
}

void mpi_job::finish() {
  if (handles_->comm == MPI_COMM_NULL)
    return;
  if (apart_) {
    handles_->comm = MPI_COMM_NULL;
    return;
  }
  wait_for_all();
  if (handles_->of_transport != MPI_COMM_NULL)
    mpi_transport::drain(handles_->of_transport);
  if (handles_->finalizes && !on_one_host(size_)) {
    finalize_among_hosts(std::exchange(handles_->comm, MPI_COMM_NULL));
    return;
  }
  MPI_Comm_free(&handles_->comm);
  if (handles_->finalizes)
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

bool mpi_job::wait_for_all(std::optional<std::chrono::milliseconds> limit) {
  const auto begin = std::chrono::steady_clock::now();
  while (!all_there()) {
    refuse_runs();
    if (limit && std::chrono::steady_clock::now() - begin >= *limit)
      return false;
    wait_a_moment();
  }
  return true;
}

// There are no runs here any more; others may be in one that this rank would have been the first of.
void mpi_job::refuse_runs() {
  auto& h = *handles_;
  while (true) {
    int found = 0;
    MPI_Status status;
    MPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, h.of_runs, &found, &status);
    if (found == 0)
      return;
    char said = 0;
    MPI_Recv(&said, 1, MPI_CHAR, status.MPI_SOURCE, status.MPI_TAG, h.of_runs, MPI_STATUS_IGNORE);
    if (said == am_here)
      MPI_Send(&not_all, 1, MPI_CHAR, status.MPI_SOURCE, status.MPI_TAG, h.of_runs);
  }
}

void mpi_job::wait_a_moment() {
  std::this_thread::sleep_for(look_time);
  if (!tied_)
    return;
  pollfd p{STDIN_FILENO, POLLIN, 0};
  char skipped[256];
  if (::poll(&p, 1, 0) > 0 && ::read(STDIN_FILENO, skipped, sizeof skipped) == 0)
    ::_exit(1); // the master has ended without waiting for the job; the launcher ends the other ranks
}

bool mpi_job::wait_for_run(std::optional<std::chrono::milliseconds> limit) {
  const auto begin = std::chrono::steady_clock::now();
  while (running()) {
    if (limit && std::chrono::steady_clock::now() - begin >= *limit)
      return false;
    wait_a_moment();
  }
  return true;
}

void mpi_job::abort(int status) {
  std::fflush(nullptr);
  MPI_Abort(handles_->part, status);
  std::_Exit(status);
}

std::string mpi_job::share(const std::string& text) {
  if (text.size() > longest_text)
    throw std::length_error{"mpi_job::share: the text is too long"};
  const mpi_patience waiting;
  std::string out(longest_text, '\0');
  std::copy(text.begin(), text.end(), out.begin());
  MPI_Bcast(out.data(), static_cast<int>(out.size()), MPI_CHAR, 0, handles_->comm);
  out.resize(std::min(out.find('\0'), out.size()));
  return out;
}

std::vector<mpi_job::rank_info> mpi_job::gather(const rank_info& mine) {
  struct fixed {
    char address[128];
    char host[128];
    std::uint16_t port;
    std::int64_t os_pid;
  };
  const mpi_patience waiting;
  fixed f{};
  mine.where.address.copy(f.address, sizeof f.address - 1);
  mine.host.copy(f.host, sizeof f.host - 1);
  f.port = mine.where.port;
  f.os_pid = mine.os_pid;
  std::vector<fixed> all(rank_ == 0 ? static_cast<std::size_t>(size_) : 0);
  MPI_Gather(&f, sizeof f, MPI_BYTE, all.data(), sizeof f, MPI_BYTE, 0, handles_->comm);
  std::vector<rank_info> out;
  for (auto& x : all)
    out.push_back({{x.address, x.port}, x.os_pid, x.host});
  return out;
}

std::shared_ptr<transport> mpi_job::make_transport() {
  const mpi_patience waiting;
  auto made = std::make_shared<mixed_transport>(handles_->comm);
  handles_->of_transport = made->communicator();
  return made;
}

std::string mpi_job::reachable_address() {
  const auto mine = host_name();
  const int same = share(mine) == mine ? 1 : 0;
  const mpi_patience waiting;
  int all_same = 0;
  MPI_Allreduce(&same, &all_same, 1, MPI_INT, MPI_MIN, handles_->comm);
  return all_same != 0 ? "127.0.0.1" : choose_bind_address();
}

// -- runs ---------------------------------------------------------------------------------------------------------------

void mpi_job::check_run(std::uint64_t number) {
  auto& h = *handles_;
  if (h.stopped.load(std::memory_order_relaxed) < number)
    return;
  std::string why;
  {
    std::lock_guard guard{h.mutex};
    why = h.why_stopped;
  }
  throw_error(make_error_info(error_kind::interrupted, why));
}

// All ranks of the run are here: the making of a communicator can't be ended, so none may begin with it unless all do. The first one decides.
void mpi_job::meet(const mpi_run& which) {
  auto& h = *handles_;
  const int tag = static_cast<int>(which.number % 32768);
  const auto first = which.ranks.front();
  char go = not_all;
  if (rank_ != first) {
    MPI_Send(&am_here, 1, MPI_CHAR, first, tag, h.of_runs);
    // the first one hears of an end, too, and answers, unless it has never come to this run
    std::optional<std::chrono::steady_clock::time_point> until;
    const auto check = [&] {
      if (h.stopped.load(std::memory_order_relaxed) < which.number)
        return;
      const auto now = std::chrono::steady_clock::now();
      if (!until)
        until = now + answer_time;
      else if (now >= *until)
        check_run(which.number);
    };
    const detail::mpi_waits patient{check, driving::look};
    MPI_Recv(&go, 1, MPI_CHAR, first, tag, h.of_runs, MPI_STATUS_IGNORE);
  } else {
    std::exception_ptr ended;
    try {
      for (auto r : which.ranks)
        if (r != rank_)
          MPI_Recv(&go, 1, MPI_CHAR, r, tag, h.of_runs, MPI_STATUS_IGNORE); // am_here
      check_run(which.number);
    } catch (...) {
      ended = std::current_exception();
    }
    const detail::mpi_waits deaf{[] {}, driving::look};
    go = ended ? not_all : go_on;
    for (auto r : which.ranks)
      if (r != rank_)
        MPI_Send(&go, 1, MPI_CHAR, r, tag, h.of_runs);
    if (ended)
      std::rethrow_exception(ended);
  }
  if (rank_ != first && go == not_all) {
    check_run(which.number);
    throw_error(make_error_info(error_kind::interrupted, "mpi_do was ended before all ranks had come"));
  }
  MPI_Group all, part;
  MPI_Comm_group(h.of_runs, &all);
  MPI_Group_incl(all, static_cast<int>(which.ranks.size()), which.ranks.data(), &part);
  MPI_Comm_create_group(h.of_runs, part, tag, &h.of_user);
  MPI_Group_free(&all);
  MPI_Group_free(&part);
  MPI_Comm_set_name(h.of_user, "the ranks of mpi_do");
}

void mpi_job::run(const mpi_run& which, const std::function<void(MPI_Comm)>& f) {
  auto& h = *handles_;
  const bool meets = h.user_number != which.communicator;
  if (!meets || rank_ != which.ranks.front()) // the others wait for what the first one says, also when it is too late
    check_run(which.number);
  {
    std::lock_guard guard{h.mutex};
    h.running = waiter::of_this_thread().shared_from_this();
    h.running_number = which.number;
  }
  struct leave {
    handles& h;
    ~leave() {
      std::lock_guard guard{h.mutex};
      h.running = nullptr;
      waiter::forget_interrupt();
    }
  } leaving{h};
  const auto check = [&] {
    check_run(which.number);
    task_control::check();
  };
  detail::mpi_waits waits{check, driving::look};
  if (meets) {
    meet(which); // the last one stays: to free it, all its ranks would have to be in order
    h.user_number = which.communicator;
  }
  f(h.of_user);
}

bool mpi_job::running() const {
  if (exchange_ && exchange_->busy())
    return true;
  std::lock_guard guard{handles_->mutex};
  return handles_->running != nullptr;
}

void mpi_job::stop_exchange() {
  if (exchange_)
    exchange_->stop();
}

void mpi_job::stop_runs(std::uint64_t up_to, const std::string& why) {
  auto& h = *handles_;
  std::lock_guard guard{h.mutex};
  if (h.stopped >= up_to)
    return;
  h.why_stopped = why;
  detail::expect_mpi_leftovers();
  h.stopped = up_to;
  if (h.running && h.running_number <= up_to)
    h.running->interrupt(why);
}

} // namespace troupe
