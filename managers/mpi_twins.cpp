#include "troupe/managers/mpi_twins.hpp"

#include <algorithm>
#include <chrono>
#include <dlfcn.h>
#include <exception>
#include <memory>
#include <mpi.h>
#include <sched.h>
#include <thread>
#include <utility>
#include <vector>

namespace troupe::detail {

namespace {

using namespace std::chrono_literals;
using clock = std::chrono::steady_clock;

// How long a call asks without a pause, and for how long it lets others run in between before it sleeps.
constexpr clock::duration spinning = 30us;
constexpr clock::duration yielding = 200us;
constexpr clock::duration first_nap = 20us;
constexpr clock::duration longest_nap = 500us;
// Which of the rounds without a pause look at the clock, and which call look: these take longer than a test.
constexpr unsigned timed = 16;
constexpr unsigned looking = 64;
// A test that takes longer has moved something, and the rest comes soon.
constexpr clock::duration busy_test = 5us;
// For how long an exception waits for what has begun: the other ranks hear of it at about the same time, and what is on its way mustn't
// land in memory that has been unwound.
constexpr clock::duration grace = 100ms;

constinit thread_local mpi_waits* current = nullptr;

// The next time to sleep.
clock::duration after(clock::duration nap) { return std::min<clock::duration>(nap * 3 / 2, longest_nap); }

enum class kind { receive, send, other };

// A twin under way.
struct operation {
  MPI_Request request = MPI_REQUEST_NULL;
  MPI_Status* status = MPI_STATUS_IGNORE;
  int result = MPI_SUCCESS;

  bool is_over() {
    int done = 0;
    result = PMPI_Test(&request, &done, status);
    return done != 0 || result != MPI_SUCCESS;
  }
};

// Waits for what an exception has ended. Returns whether it is over.
bool abandon(operation& o, kind what) {
  if (what == kind::receive && o.request != MPI_REQUEST_NULL)
    PMPI_Cancel(&o.request);
  const auto end = clock::now() + grace;
  for (auto nap = first_nap; !o.is_over(); nap = after(nap)) {
    if (clock::now() >= end) {
      expect_mpi_leftovers();
      if (what == kind::send)
        PMPI_Request_free(&o.request);
      return false; // a receive that is under way and a collective operation can't be freed
    }
    std::this_thread::sleep_for(nap);
  }
  return true;
}

} // namespace

mpi_waits::mpi_waits(std::function<void()> check, std::function<void()> look)
  : check_(std::move(check)), look_(std::move(look)), outer_(std::exchange(current, this)), exceptions_(std::uncaught_exceptions()) {}

mpi_waits::~mpi_waits() { current = outer_; }

// What the MPI_ functions below do with a scope.
class mpi_twin {
public:
  // Before anything has begun.
  static void check() {
    if (!unwinds())
      call(*current, current->check_);
  }

  // Whether the user's function is being ended.
  static bool ends() { return current->ended_ || unwinds(); }

  // Until `over` returns true.
  template <class Over>
  static void wait(Over over) {
    if (over())
      return;
    auto& w = *current;
    auto begin = clock::now();
    const auto end = unwinds() ? begin + grace : clock::time_point::max();
    const auto check = [&] {
      if (end == clock::time_point::max())
        call(w, w.check_);
      else if (clock::now() >= end)
        throw gave_up{};
    };
    const auto look = [&] {
      if (end == clock::time_point::max())
        call(w, w.look_);
    };
    for (bool spins = true; spins;) {
      check();
      ++w.rounds_;
      if (w.rounds_ % looking == 0)
        look();
      if (w.rounds_ % timed == 0)
        spins = clock::now() - begin < spinning;
      if (over())
        return;
    }
    for (auto nap = first_nap;;) {
      check();
      look();
      const auto sleeps = clock::now() - begin >= yielding;
      if (sleeps) {
        std::this_thread::sleep_for(nap);
        nap = after(nap);
      } else {
        ::sched_yield();
      }
      const auto tested = clock::now();
      if (over())
        return;
      if (sleeps && clock::now() - tested > busy_test) {
        begin = clock::now();
        nap = first_nap;
      }
    }
  }

  // Starts a twin and waits for it.
  template <class Start>
  static int run(kind what, MPI_Status* status, Start start) try {
    check();
    operation o{.status = status};
    if (const int result = start(&o.request); result != MPI_SUCCESS)
      return result;
    try {
      wait([&] { return o.is_over(); });
    } catch (...) {
      abandon(o, what);
      throw;
    }
    return o.result;
  } catch (const gave_up&) {
    return MPI_ERR_OTHER;
  }

  // Without anything to leave behind: `over` sets the result.
  template <class Over>
  static int ask(Over over) try {
    check();
    int result = MPI_SUCCESS;
    wait([&] { return over(result) || result != MPI_SUCCESS; });
    return result;
  } catch (const gave_up&) {
    return MPI_ERR_OTHER;
  }

  // Both at the same time; `buffer` is what is sent from if it isn't the user's.
  template <class Receive, class Send>
  static int exchange(MPI_Status* status, std::unique_ptr<char[]> buffer, Receive receive, Send send) try {
    check();
    operation in{.status = status}, out;
    // the send first: a receive couldn't be taken back any more if it has got something
    if (const int result = send(&out.request); result != MPI_SUCCESS)
      return result;
    if (const int result = receive(&in.request); result != MPI_SUCCESS) {
      if (!abandon(out, kind::send))
        static_cast<void>(buffer.release());
      return result;
    }
    bool received = false, sent = false;
    try {
      wait([&] {
        received = received || in.is_over();
        sent = sent || out.is_over();
        return received && sent;
      });
    } catch (...) {
      if (!received)
        abandon(in, kind::receive);
      if (!sent && !abandon(out, kind::send))
        static_cast<void>(buffer.release()); // MPI may still read it
      throw;
    }
    return in.result != MPI_SUCCESS ? in.result : out.result;
  } catch (const gave_up&) {
    return MPI_ERR_OTHER;
  }

private:
  // A destructor of the user's has waited long enough.
  struct gave_up {};

  // Then nothing may be thrown: it would come out of a destructor.
  static bool unwinds() { return std::uncaught_exceptions() > current->exceptions_; }

  // MPI calls that `f` makes aren't the user's.
  static void call(mpi_waits& w, const std::function<void()>& f) {
    struct outside {
      mpi_waits* const was = std::exchange(current, nullptr);
      ~outside() { current = was; }
    } here;
    try {
      f();
    } catch (...) {
      w.ended_ = true;
      throw;
    }
  }
};

namespace {

template <auto Blocking, auto Twin, class... Args>
int collective(Args... args) {
  if (current == nullptr)
    return Blocking(args...);
  return mpi_twin::run(kind::other, MPI_STATUS_IGNORE, [&](MPI_Request* r) { return Twin(args..., r); });
}

template <auto Blocking, auto Twin, class... Args>
int sending(Args... args) {
  if (current == nullptr)
    return Blocking(args...);
  return mpi_twin::run(kind::send, MPI_STATUS_IGNORE, [&](MPI_Request* r) { return Twin(args..., r); });
}

} // namespace

bool mpi_twins_are_linked() {
  // whichever the linker has chosen for who calls it
  Dl_info called{}, ours{};
  return ::dladdr(reinterpret_cast<void*>(&MPI_Barrier), &called) != 0
         && ::dladdr(reinterpret_cast<void*>(&mpi_twins_are_linked), &ours) != 0 && called.dli_fbase == ours.dli_fbase;
}

void expect_mpi_leftovers() {
  // UCX has read its environment when it was loaded
  using setter = int(const char*, const char*);
  if (const auto set = reinterpret_cast<setter*>(::dlsym(RTLD_DEFAULT, "ucs_global_opts_set_value")))
    set("LOG_LEVEL", "error");
}

} // namespace troupe::detail

using namespace troupe::detail;

extern "C" {

int MPI_Barrier(MPI_Comm comm) { return collective<PMPI_Barrier, PMPI_Ibarrier>(comm); }

int MPI_Bcast(void* buffer, int count, MPI_Datatype datatype, int root, MPI_Comm comm) {
  return collective<PMPI_Bcast, PMPI_Ibcast>(buffer, count, datatype, root, comm);
}

int MPI_Reduce(const void* sendbuf, void* recvbuf, int count, MPI_Datatype datatype, MPI_Op op, int root, MPI_Comm comm) {
  return collective<PMPI_Reduce, PMPI_Ireduce>(sendbuf, recvbuf, count, datatype, op, root, comm);
}

int MPI_Allreduce(const void* sendbuf, void* recvbuf, int count, MPI_Datatype datatype, MPI_Op op, MPI_Comm comm) {
  return collective<PMPI_Allreduce, PMPI_Iallreduce>(sendbuf, recvbuf, count, datatype, op, comm);
}

int MPI_Scan(const void* sendbuf, void* recvbuf, int count, MPI_Datatype datatype, MPI_Op op, MPI_Comm comm) {
  return collective<PMPI_Scan, PMPI_Iscan>(sendbuf, recvbuf, count, datatype, op, comm);
}

int MPI_Exscan(const void* sendbuf, void* recvbuf, int count, MPI_Datatype datatype, MPI_Op op, MPI_Comm comm) {
  return collective<PMPI_Exscan, PMPI_Iexscan>(sendbuf, recvbuf, count, datatype, op, comm);
}

int MPI_Reduce_scatter(const void* sendbuf, void* recvbuf, const int recvcounts[], MPI_Datatype datatype, MPI_Op op, MPI_Comm comm) {
  return collective<PMPI_Reduce_scatter, PMPI_Ireduce_scatter>(sendbuf, recvbuf, recvcounts, datatype, op, comm);
}

int MPI_Reduce_scatter_block(const void* sendbuf, void* recvbuf, int recvcount, MPI_Datatype datatype, MPI_Op op, MPI_Comm comm) {
  return collective<PMPI_Reduce_scatter_block, PMPI_Ireduce_scatter_block>(sendbuf, recvbuf, recvcount, datatype, op, comm);
}

int MPI_Gather(const void* sendbuf, int sendcount, MPI_Datatype sendtype, void* recvbuf, int recvcount, MPI_Datatype recvtype, int root,
               MPI_Comm comm) {
  return collective<PMPI_Gather, PMPI_Igather>(sendbuf, sendcount, sendtype, recvbuf, recvcount, recvtype, root, comm);
}

int MPI_Gatherv(const void* sendbuf, int sendcount, MPI_Datatype sendtype, void* recvbuf, const int recvcounts[], const int displs[],
                MPI_Datatype recvtype, int root, MPI_Comm comm) {
  return collective<PMPI_Gatherv, PMPI_Igatherv>(sendbuf, sendcount, sendtype, recvbuf, recvcounts, displs, recvtype, root, comm);
}

int MPI_Scatter(const void* sendbuf, int sendcount, MPI_Datatype sendtype, void* recvbuf, int recvcount, MPI_Datatype recvtype, int root,
                MPI_Comm comm) {
  return collective<PMPI_Scatter, PMPI_Iscatter>(sendbuf, sendcount, sendtype, recvbuf, recvcount, recvtype, root, comm);
}

int MPI_Scatterv(const void* sendbuf, const int sendcounts[], const int displs[], MPI_Datatype sendtype, void* recvbuf, int recvcount,
                 MPI_Datatype recvtype, int root, MPI_Comm comm) {
  return collective<PMPI_Scatterv, PMPI_Iscatterv>(sendbuf, sendcounts, displs, sendtype, recvbuf, recvcount, recvtype, root, comm);
}

int MPI_Allgather(const void* sendbuf, int sendcount, MPI_Datatype sendtype, void* recvbuf, int recvcount, MPI_Datatype recvtype,
                  MPI_Comm comm) {
  return collective<PMPI_Allgather, PMPI_Iallgather>(sendbuf, sendcount, sendtype, recvbuf, recvcount, recvtype, comm);
}

int MPI_Allgatherv(const void* sendbuf, int sendcount, MPI_Datatype sendtype, void* recvbuf, const int recvcounts[], const int displs[],
                   MPI_Datatype recvtype, MPI_Comm comm) {
  return collective<PMPI_Allgatherv, PMPI_Iallgatherv>(sendbuf, sendcount, sendtype, recvbuf, recvcounts, displs, recvtype, comm);
}

int MPI_Alltoall(const void* sendbuf, int sendcount, MPI_Datatype sendtype, void* recvbuf, int recvcount, MPI_Datatype recvtype,
                 MPI_Comm comm) {
  return collective<PMPI_Alltoall, PMPI_Ialltoall>(sendbuf, sendcount, sendtype, recvbuf, recvcount, recvtype, comm);
}

int MPI_Alltoallv(const void* sendbuf, const int sendcounts[], const int sdispls[], MPI_Datatype sendtype, void* recvbuf,
                  const int recvcounts[], const int rdispls[], MPI_Datatype recvtype, MPI_Comm comm) {
  return collective<PMPI_Alltoallv, PMPI_Ialltoallv>(sendbuf, sendcounts, sdispls, sendtype, recvbuf, recvcounts, rdispls, recvtype, comm);
}

int MPI_Alltoallw(const void* sendbuf, const int sendcounts[], const int sdispls[], const MPI_Datatype sendtypes[], void* recvbuf,
                  const int recvcounts[], const int rdispls[], const MPI_Datatype recvtypes[], MPI_Comm comm) {
  return collective<PMPI_Alltoallw, PMPI_Ialltoallw>(sendbuf, sendcounts, sdispls, sendtypes, recvbuf, recvcounts, rdispls, recvtypes,
                                                     comm);
}

int MPI_Send(const void* buf, int count, MPI_Datatype datatype, int dest, int tag, MPI_Comm comm) {
  return sending<PMPI_Send, PMPI_Isend>(buf, count, datatype, dest, tag, comm);
}

int MPI_Ssend(const void* buf, int count, MPI_Datatype datatype, int dest, int tag, MPI_Comm comm) {
  return sending<PMPI_Ssend, PMPI_Issend>(buf, count, datatype, dest, tag, comm);
}

int MPI_Rsend(const void* buf, int count, MPI_Datatype datatype, int dest, int tag, MPI_Comm comm) {
  return sending<PMPI_Rsend, PMPI_Irsend>(buf, count, datatype, dest, tag, comm);
}

int MPI_Comm_dup(MPI_Comm comm, MPI_Comm* newcomm) {
  if (current == nullptr)
    return PMPI_Comm_dup(comm, newcomm);
  auto made = std::make_unique<MPI_Comm>(MPI_COMM_NULL); // where MPI writes, however late
  try {
    const int result = mpi_twin::run(kind::other, MPI_STATUS_IGNORE, [&](MPI_Request* r) { return PMPI_Comm_idup(comm, made.get(), r); });
    *newcomm = *made;
    if (result != MPI_SUCCESS)
      static_cast<void>(made.release());
    return result;
  } catch (...) {
    static_cast<void>(made.release());
    throw;
  }
}

// Messages of what was ended may still wait in MPI: a new communicator would get them if this one's number were free again.
int MPI_Comm_free(MPI_Comm* comm) {
  if (current == nullptr || !mpi_twin::ends())
    return PMPI_Comm_free(comm);
  *comm = MPI_COMM_NULL;
  return MPI_SUCCESS;
}

int MPI_Recv(void* buf, int count, MPI_Datatype datatype, int source, int tag, MPI_Comm comm, MPI_Status* status) {
  if (current == nullptr)
    return PMPI_Recv(buf, count, datatype, source, tag, comm, status);
  return mpi_twin::run(kind::receive, status, [&](MPI_Request* r) { return PMPI_Irecv(buf, count, datatype, source, tag, comm, r); });
}

int MPI_Mrecv(void* buf, int count, MPI_Datatype datatype, MPI_Message* message, MPI_Status* status) {
  if (current == nullptr)
    return PMPI_Mrecv(buf, count, datatype, message, status);
  return mpi_twin::run(kind::other, status, [&](MPI_Request* r) { return PMPI_Imrecv(buf, count, datatype, message, r); });
}

int MPI_Sendrecv(const void* sendbuf, int sendcount, MPI_Datatype sendtype, int dest, int sendtag, void* recvbuf, int recvcount,
                 MPI_Datatype recvtype, int source, int recvtag, MPI_Comm comm, MPI_Status* status) {
  if (current == nullptr)
    return PMPI_Sendrecv(sendbuf, sendcount, sendtype, dest, sendtag, recvbuf, recvcount, recvtype, source, recvtag, comm, status);
  return mpi_twin::exchange(
    status, nullptr, [&](MPI_Request* r) { return PMPI_Irecv(recvbuf, recvcount, recvtype, source, recvtag, comm, r); },
    [&](MPI_Request* r) { return PMPI_Isend(sendbuf, sendcount, sendtype, dest, sendtag, comm, r); });
}

int MPI_Sendrecv_replace(void* buf, int count, MPI_Datatype datatype, int dest, int sendtag, int source, int recvtag, MPI_Comm comm,
                         MPI_Status* status) {
  if (current == nullptr)
    return PMPI_Sendrecv_replace(buf, count, datatype, dest, sendtag, source, recvtag, comm, status);
  int size = 0, packed = 0;
  if (const int result = PMPI_Pack_size(count, datatype, comm, &size); result != MPI_SUCCESS)
    return result;
  auto copy = std::make_unique<char[]>(static_cast<std::size_t>(size));
  const auto from = copy.get();
  if (const int result = PMPI_Pack(buf, count, datatype, from, size, &packed, comm); result != MPI_SUCCESS)
    return result;
  return mpi_twin::exchange(
    status, std::move(copy), [&](MPI_Request* r) { return PMPI_Irecv(buf, count, datatype, source, recvtag, comm, r); },
    [&](MPI_Request* r) { return PMPI_Isend(from, packed, MPI_PACKED, dest, sendtag, comm, r); });
}

int MPI_Probe(int source, int tag, MPI_Comm comm, MPI_Status* status) {
  if (current == nullptr)
    return PMPI_Probe(source, tag, comm, status);
  return mpi_twin::ask([&, there = 0](int& result) mutable {
    result = PMPI_Iprobe(source, tag, comm, &there, status);
    return there != 0;
  });
}

int MPI_Mprobe(int source, int tag, MPI_Comm comm, MPI_Message* message, MPI_Status* status) {
  if (current == nullptr)
    return PMPI_Mprobe(source, tag, comm, message, status);
  return mpi_twin::ask([&, there = 0](int& result) mutable {
    result = PMPI_Improbe(source, tag, comm, &there, message, status);
    return there != 0;
  });
}

int MPI_Wait(MPI_Request* request, MPI_Status* status) {
  if (current == nullptr)
    return PMPI_Wait(request, status);
  return mpi_twin::ask([&, done = 0](int& result) mutable {
    result = PMPI_Test(request, &done, status);
    return done != 0;
  });
}

int MPI_Waitall(int count, MPI_Request requests[], MPI_Status statuses[]) {
  if (current == nullptr)
    return PMPI_Waitall(count, requests, statuses);
  return mpi_twin::ask([&, done = 0](int& result) mutable {
    result = PMPI_Testall(count, requests, &done, statuses);
    return done != 0;
  });
}

int MPI_Waitany(int count, MPI_Request requests[], int* index, MPI_Status* status) {
  if (current == nullptr)
    return PMPI_Waitany(count, requests, index, status);
  return mpi_twin::ask([&, done = 0](int& result) mutable {
    result = PMPI_Testany(count, requests, index, &done, status);
    return done != 0;
  });
}

int MPI_Waitsome(int count, MPI_Request requests[], int* done, int indices[], MPI_Status statuses[]) {
  if (current == nullptr)
    return PMPI_Waitsome(count, requests, done, indices, statuses);
  return mpi_twin::ask([&](int& result) {
    result = PMPI_Testsome(count, requests, done, indices, statuses);
    return *done != 0; // also MPI_UNDEFINED: there is nothing to wait for
  });
}

} // extern "C"
