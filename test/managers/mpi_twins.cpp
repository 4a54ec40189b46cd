// MPI's blocking calls, made so that an exception can end them: `mpirun -n 3 test_managers_mpi_twins`. All ranks run all cases, and meet
// between them.

#define BOOST_TEST_MODULE mpi_twins
#include <boost/test/unit_test.hpp>

#include "mpi_meeting.hpp"

#include "troupe/managers/mpi_twins.hpp"

#include <mpi.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <numeric>
#include <optional>
#include <stdexcept>
#include <string>
#include <sys/resource.h>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using test::meet;
using test::mpi_program;
using troupe::detail::mpi_waits;
using clk = std::chrono::steady_clock;

namespace {

MPI_Comm comm = MPI_COMM_NULL;
int me = 0, size = 0;

struct ended : std::runtime_error {
  ended() : std::runtime_error{"ended"} {}
};

struct mpi_job : mpi_program {
  mpi_job() {
    MPI_Comm_dup(MPI_COMM_WORLD, &comm);
    MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN);
    MPI_Comm_rank(comm, &me);
    MPI_Comm_size(comm, &size);
  }
  ~mpi_job() {
    MPI_Comm_free(&comm);
    troupe::detail::expect_mpi_leftovers();
  }
};

// Runs it without a scope, and with one. All ranks.
template <class F>
void both(F f) {
  f();
  meet();
  mpi_waits scope{[] {}, [] {}};
  f();
  meet();
}

std::vector<int> from(int first, int count) {
  std::vector<int> out(static_cast<std::size_t>(count));
  std::iota(out.begin(), out.end(), first);
  return out;
}

std::vector<int> zeros(int count) { return std::vector<int>(static_cast<std::size_t>(count)); }

int sum_to(int n) { return n * (n + 1) / 2; }

double cpu_seconds() {
  rusage u{};
  getrusage(RUSAGE_SELF, &u);
  return static_cast<double>(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + 1e-6 * static_cast<double>(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

int class_of(int error) {
  int out = 0;
  MPI_Error_class(error, &out);
  return out;
}

int count_of(const MPI_Status& s) {
  int out = 0;
  MPI_Get_count(&s, MPI_INT, &out);
  return out;
}

} // namespace

BOOST_TEST_GLOBAL_FIXTURE(mpi_job);

BOOST_AUTO_TEST_CASE(the_process_calls_ours) {
  BOOST_TEST(troupe::detail::mpi_twins_are_linked());
  int checks = 0;
  {
    mpi_waits scope{[&] { ++checks; }, [] {}};
    MPI_Barrier(MPI_COMM_SELF);
    BOOST_TEST(checks >= 1);
    {
      mpi_waits inner{[] {}, [] {}};
      checks = 0;
      MPI_Barrier(MPI_COMM_SELF);
      BOOST_TEST(checks == 0);
    }
    MPI_Barrier(MPI_COMM_SELF);
    BOOST_TEST(checks >= 1);
  }
  checks = 0;
  MPI_Barrier(MPI_COMM_SELF);
  BOOST_TEST(checks == 0);
}

BOOST_AUTO_TEST_CASE(one_for_all_and_all_for_one) {
  both([] {
    const int last = size - 1;
    BOOST_TEST(MPI_Barrier(comm) == MPI_SUCCESS);
    auto x = me == last ? from(7, 3) : zeros(3);
    BOOST_TEST(MPI_Bcast(x.data(), 3, MPI_INT, last, comm) == MPI_SUCCESS);
    BOOST_TEST(x == from(7, 3));

    const auto mine = from(10 * me, 2);
    auto all = zeros(2 * size);
    MPI_Gather(mine.data(), 2, MPI_INT, all.data(), 2, MPI_INT, last, comm);
    for (int r = 0; r < size && me == last; ++r)
      BOOST_TEST((all[static_cast<std::size_t>(2 * r)] == 10 * r && all[static_cast<std::size_t>(2 * r + 1)] == 10 * r + 1));
    auto got = zeros(2);
    MPI_Scatter(all.data(), 2, MPI_INT, got.data(), 2, MPI_INT, last, comm);
    BOOST_TEST(got == mine);

    // rank r has r + 1
    std::vector<int> counts = from(1, size), at;
    for (int r = 0; r < size; ++r)
      at.push_back(sum_to(r));
    const auto some = from(sum_to(me), me + 1);
    auto parts = zeros(sum_to(size));
    MPI_Gatherv(some.data(), me + 1, MPI_INT, parts.data(), counts.data(), at.data(), MPI_INT, 0, comm);
    if (me == 0)
      BOOST_TEST(parts == from(0, sum_to(size)));
    auto back = zeros(me + 1);
    MPI_Scatterv(parts.data(), counts.data(), at.data(), MPI_INT, back.data(), me + 1, MPI_INT, 0, comm);
    BOOST_TEST(back == some);
    parts = zeros(sum_to(size));
    MPI_Allgatherv(some.data(), me + 1, MPI_INT, parts.data(), counts.data(), at.data(), MPI_INT, comm);
    BOOST_TEST(parts == from(0, sum_to(size)));

    auto each = zeros(size);
    MPI_Allgather(&me, 1, MPI_INT, each.data(), 1, MPI_INT, comm);
    BOOST_TEST(each == from(0, size));
    each = zeros(size);
    each[static_cast<std::size_t>(me)] = me;
    MPI_Allgather(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, each.data(), 1, MPI_INT, comm);
    BOOST_TEST(each == from(0, size));
    each.assign(each.size(), 0);
    each[static_cast<std::size_t>(me)] = me;
    MPI_Gather(me == 0 ? MPI_IN_PLACE : &me, 1, MPI_INT, each.data(), 1, MPI_INT, 0, comm);
    if (me == 0)
      BOOST_TEST(each == from(0, size));
  });
}

BOOST_AUTO_TEST_CASE(everybody_to_everybody) {
  both([] {
    std::vector<int> out, expected, ones(static_cast<std::size_t>(size), 1), at = from(0, size), bytes;
    for (int r = 0; r < size; ++r) {
      out.push_back(100 * me + r);
      expected.push_back(100 * r + me);
      bytes.push_back(r * static_cast<int>(sizeof(int)));
    }
    auto in = zeros(size);
    MPI_Alltoall(out.data(), 1, MPI_INT, in.data(), 1, MPI_INT, comm);
    BOOST_TEST(in == expected);
    in = out;
    MPI_Alltoall(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, in.data(), 1, MPI_INT, comm);
    BOOST_TEST(in == expected);
    in = zeros(size);
    MPI_Alltoallv(out.data(), ones.data(), at.data(), MPI_INT, in.data(), ones.data(), at.data(), MPI_INT, comm);
    BOOST_TEST(in == expected);
    in = out;
    MPI_Alltoallv(MPI_IN_PLACE, nullptr, nullptr, MPI_DATATYPE_NULL, in.data(), ones.data(), at.data(), MPI_INT, comm);
    BOOST_TEST(in == expected);
    in = zeros(size);
    const std::vector<MPI_Datatype> types(static_cast<std::size_t>(size), MPI_INT);
    MPI_Alltoallw(out.data(), ones.data(), bytes.data(), types.data(), in.data(), ones.data(), bytes.data(), types.data(), comm);
    BOOST_TEST(in == expected);
  });
}

BOOST_AUTO_TEST_CASE(reductions) {
  both([] {
    const int x = me + 1, all = sum_to(size);
    int y = 0;
    MPI_Reduce(&x, &y, 1, MPI_INT, MPI_SUM, size - 1, comm);
    BOOST_TEST(y == (me == size - 1 ? all : 0));
    y = x;
    MPI_Reduce(me == 0 ? MPI_IN_PLACE : &x, &y, 1, MPI_INT, MPI_SUM, 0, comm);
    BOOST_TEST(y == (me == 0 ? all : x));
    MPI_Allreduce(&x, &y, 1, MPI_INT, MPI_SUM, comm);
    BOOST_TEST(y == all);
    y = x;
    MPI_Allreduce(MPI_IN_PLACE, &y, 1, MPI_INT, MPI_MAX, comm);
    BOOST_TEST(y == size);
    std::vector<double> many(200000, x), sums(many.size());
    MPI_Allreduce(many.data(), sums.data(), static_cast<int>(many.size()), MPI_DOUBLE, MPI_SUM, comm);
    BOOST_TEST((sums == std::vector<double>(many.size(), all)));

    MPI_Scan(&x, &y, 1, MPI_INT, MPI_SUM, comm);
    BOOST_TEST(y == sum_to(me + 1));
    y = x;
    MPI_Scan(MPI_IN_PLACE, &y, 1, MPI_INT, MPI_SUM, comm);
    BOOST_TEST(y == sum_to(me + 1));
    y = -1;
    MPI_Exscan(&x, &y, 1, MPI_INT, MPI_SUM, comm);
    if (me > 0)
      BOOST_TEST(y == sum_to(me));

    // element i of rank r is r + i
    const auto mine = from(me, 2 * size);
    auto two = zeros(2);
    MPI_Reduce_scatter_block(mine.data(), two.data(), 2, MPI_INT, MPI_SUM, comm);
    BOOST_TEST(two[0] == sum_to(size - 1) + size * 2 * me);
    BOOST_TEST(two[1] == sum_to(size - 1) + size * (2 * me + 1));
    two = zeros(2);
    const std::vector<int> counts(static_cast<std::size_t>(size), 2);
    MPI_Reduce_scatter(mine.data(), two.data(), counts.data(), MPI_INT, MPI_SUM, comm);
    BOOST_TEST(two[0] == sum_to(size - 1) + size * 2 * me);
    BOOST_TEST(two[1] == sum_to(size - 1) + size * (2 * me + 1));
  });
}

BOOST_AUTO_TEST_CASE(from_one_to_another) {
  both([] {
    const int right = (me + 1) % size, left = (me + size - 1) % size;
    MPI_Status s;
    const auto mine = from(1000 * me, 5);
    auto got = zeros(8);
    const auto arrived = [&](int count, int tag) {
      BOOST_TEST(s.MPI_SOURCE == left);
      BOOST_TEST(s.MPI_TAG == tag);
      BOOST_TEST(count_of(s) == count);
      BOOST_TEST(got[static_cast<std::size_t>(count - 1)] == 1000 * left + count - 1);
      got = zeros(8);
    };
    MPI_Sendrecv(mine.data(), 5, MPI_INT, right, 3, got.data(), 8, MPI_INT, MPI_ANY_SOURCE, MPI_ANY_TAG, comm, &s);
    arrived(5, 3);
    std::copy(mine.begin(), mine.end(), got.begin());
    MPI_Sendrecv_replace(got.data(), 4, MPI_INT, right, 4, left, 4, comm, &s);
    arrived(4, 4);
    using sender = int(const void*, int, MPI_Datatype, int, int, MPI_Comm);
    for (sender* send : {&MPI_Send, &MPI_Ssend, &MPI_Rsend}) {
      MPI_Request r;
      MPI_Irecv(got.data(), 8, MPI_INT, left, 5, comm, &r);
      MPI_Barrier(comm); // Rsend wants a receive to be there
      BOOST_TEST(send(mine.data(), 3, MPI_INT, right, 5, comm) == MPI_SUCCESS);
      BOOST_TEST(MPI_Wait(&r, &s) == MPI_SUCCESS);
      BOOST_TEST((r == MPI_REQUEST_NULL));
      arrived(3, 5);
    }
    MPI_Send(mine.data(), 2, MPI_INT, right, 6, comm);
    MPI_Probe(MPI_ANY_SOURCE, 6, comm, &s);
    BOOST_TEST(count_of(s) == 2);
    MPI_Recv(got.data(), 8, MPI_INT, s.MPI_SOURCE, 6, comm, &s);
    arrived(2, 6);
    MPI_Send(mine.data(), 1, MPI_INT, right, 7, comm);
    MPI_Message message;
    MPI_Mprobe(left, MPI_ANY_TAG, comm, &message, MPI_STATUS_IGNORE);
    MPI_Mrecv(got.data(), 8, MPI_INT, &message, &s);
    BOOST_TEST((message == MPI_MESSAGE_NULL));
    arrived(1, 7);
    MPI_Send(mine.data(), 1, MPI_INT, right, 8, comm);
    MPI_Recv(got.data(), 1, MPI_INT, left, 8, comm, MPI_STATUS_IGNORE);
    BOOST_TEST(got[0] == 1000 * left);

    // nobody
    MPI_Recv(got.data(), 8, MPI_INT, MPI_PROC_NULL, 9, comm, &s);
    BOOST_TEST((s.MPI_SOURCE == MPI_PROC_NULL && s.MPI_TAG == MPI_ANY_TAG && count_of(s) == 0));
    MPI_Send(mine.data(), 1, MPI_INT, MPI_PROC_NULL, 9, comm);
    MPI_Probe(MPI_PROC_NULL, 9, comm, &s);
    BOOST_TEST(s.MPI_SOURCE == MPI_PROC_NULL);
    MPI_Mprobe(MPI_PROC_NULL, 9, comm, &message, &s);
    BOOST_TEST((message == MPI_MESSAGE_NO_PROC));
    MPI_Mrecv(got.data(), 8, MPI_INT, &message, &s);
    BOOST_TEST((s.MPI_SOURCE == MPI_PROC_NULL && message == MPI_MESSAGE_NULL));
    MPI_Sendrecv(mine.data(), 1, MPI_INT, MPI_PROC_NULL, 9, got.data(), 8, MPI_INT, MPI_PROC_NULL, 9, comm, &s);
    BOOST_TEST((s.MPI_SOURCE == MPI_PROC_NULL && count_of(s) == 0));
    got = mine;
    MPI_Sendrecv_replace(got.data(), 5, MPI_INT, MPI_PROC_NULL, 9, MPI_PROC_NULL, 9, comm, &s);
    BOOST_TEST(got == mine);
  });
}

BOOST_AUTO_TEST_CASE(requests_of_ones_own) {
  both([] {
    const int right = (me + 1) % size, left = (me + size - 1) % size;
    auto got = zeros(4);
    const auto mine = from(10 * me, 4), expected = from(10 * left, 4);
    std::vector<MPI_Request> requests(6, MPI_REQUEST_NULL);
    std::vector<MPI_Status> statuses(6);
    const auto start = [&] {
      got = zeros(4);
      for (int i = 0; i < 4; ++i)
        MPI_Irecv(&got[static_cast<std::size_t>(i)], 1, MPI_INT, left, i, comm, &requests[static_cast<std::size_t>(i)]);
      for (int i = 0; i < 4; ++i)
        MPI_Send(&mine[static_cast<std::size_t>(i)], 1, MPI_INT, right, i, comm);
    };
    start();
    BOOST_TEST(MPI_Waitall(6, requests.data(), statuses.data()) == MPI_SUCCESS);
    BOOST_TEST(got == expected);
    BOOST_TEST((statuses[2].MPI_TAG == 2 && statuses[2].MPI_SOURCE == left && count_of(statuses[5]) == 0));
    start();
    BOOST_TEST(MPI_Waitall(6, requests.data(), MPI_STATUSES_IGNORE) == MPI_SUCCESS);
    BOOST_TEST(got == expected);

    start();
    for (int i = 0; i < 4; ++i) {
      int which = -1;
      BOOST_TEST(MPI_Waitany(6, requests.data(), &which, &statuses[0]) == MPI_SUCCESS);
      BOOST_TEST(statuses[0].MPI_TAG == which);
    }
    int which = 0;
    MPI_Waitany(6, requests.data(), &which, MPI_STATUS_IGNORE);
    BOOST_TEST(which == MPI_UNDEFINED);
    BOOST_TEST(got == expected);

    start();
    std::vector<int> indices(6);
    for (int left_over = 4, some = 0; left_over > 0; left_over -= some) {
      BOOST_TEST(MPI_Waitsome(6, requests.data(), &some, indices.data(), statuses.data()) == MPI_SUCCESS);
      BOOST_REQUIRE(some > 0);
      BOOST_TEST(statuses[0].MPI_TAG == indices[0]);
    }
    int some = 0;
    MPI_Waitsome(6, requests.data(), &some, indices.data(), MPI_STATUSES_IGNORE);
    BOOST_TEST(some == MPI_UNDEFINED);
    BOOST_TEST(got == expected);

    MPI_Request persistent;
    MPI_Recv_init(got.data(), 1, MPI_INT, left, 1, comm, &persistent);
    MPI_Start(&persistent);
    MPI_Send(mine.data(), 1, MPI_INT, right, 1, comm);
    MPI_Wait(&persistent, &statuses[0]);
    BOOST_TEST((statuses[0].MPI_SOURCE == left && persistent != MPI_REQUEST_NULL));
    MPI_Wait(&persistent, &statuses[0]); // inactive
    BOOST_TEST(statuses[0].MPI_SOURCE == MPI_ANY_SOURCE);
    MPI_Request_free(&persistent);
  });
}

BOOST_AUTO_TEST_CASE(errors_are_returned) {
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN); // Waitall's
  both([] {
    const int right = (me + 1) % size, left = (me + size - 1) % size;
    const auto mine = from(0, 4);
    auto got = zeros(4);
    BOOST_TEST(class_of(MPI_Send(mine.data(), 1, MPI_INT, size, 1, comm)) == MPI_ERR_RANK);
    BOOST_TEST(class_of(MPI_Bcast(got.data(), 1, MPI_INT, size, comm)) == MPI_ERR_ROOT);
    BOOST_TEST(class_of(MPI_Probe(0, -7, comm, MPI_STATUS_IGNORE)) == MPI_ERR_TAG);
    MPI_Send(mine.data(), 4, MPI_INT, right, 1, comm);
    BOOST_TEST(class_of(MPI_Recv(got.data(), 1, MPI_INT, left, 1, comm, MPI_STATUS_IGNORE)) == MPI_ERR_TRUNCATE);
    BOOST_TEST(class_of(MPI_Sendrecv(mine.data(), 4, MPI_INT, right, 1, got.data(), 1, MPI_INT, left, 1, comm, MPI_STATUS_IGNORE))
               == MPI_ERR_TRUNCATE);
    BOOST_TEST(class_of(MPI_Sendrecv(mine.data(), 4, MPI_INT, size, 1, got.data(), 4, MPI_INT, left, 1, comm, MPI_STATUS_IGNORE))
               == MPI_ERR_RANK);
    MPI_Request r[2];
    MPI_Status s[2];
    MPI_Irecv(got.data(), 1, MPI_INT, left, 1, comm, &r[0]);
    MPI_Irecv(got.data() + 1, 1, MPI_INT, left, 2, comm, &r[1]);
    MPI_Send(mine.data(), 4, MPI_INT, right, 1, comm);
    MPI_Send(mine.data() + 3, 1, MPI_INT, right, 2, comm);
    BOOST_TEST(class_of(MPI_Waitall(2, r, s)) == MPI_ERR_IN_STATUS);
    BOOST_TEST(class_of(s[0].MPI_ERROR) == MPI_ERR_TRUNCATE);
    BOOST_TEST((s[1].MPI_ERROR == MPI_SUCCESS || class_of(s[1].MPI_ERROR) == MPI_ERR_PENDING));
    if (s[1].MPI_ERROR != MPI_SUCCESS)
      MPI_Wait(&r[1], &s[1]);
    BOOST_TEST(got[1] == 3);
  });
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_ARE_FATAL);
}

BOOST_AUTO_TEST_CASE(a_duplicate_has_its_attributes_and_its_own_messages) {
  int key = MPI_KEYVAL_INVALID, value = 42;
  MPI_Comm_create_keyval(MPI_COMM_DUP_FN, MPI_COMM_NULL_DELETE_FN, &key, nullptr);
  MPI_Comm_set_attr(comm, key, &value);
  both([&] {
    MPI_Comm copy = MPI_COMM_NULL;
    BOOST_TEST(MPI_Comm_dup(comm, &copy) == MPI_SUCCESS);
    int* found = nullptr;
    int there = 0, same = 0;
    MPI_Comm_get_attr(copy, key, &found, &there);
    BOOST_TEST((there != 0 && found == &value));
    MPI_Comm_compare(comm, copy, &same);
    BOOST_TEST(same == MPI_CONGRUENT);
    MPI_Errhandler handler;
    MPI_Comm_get_errhandler(copy, &handler);
    BOOST_TEST((handler == MPI_ERRORS_RETURN));
    int y = 0;
    MPI_Allreduce(&me, &y, 1, MPI_INT, MPI_SUM, copy);
    BOOST_TEST(y == sum_to(size - 1));
    MPI_Comm_free(&copy);
  });
  MPI_Comm_delete_attr(comm, key);
  MPI_Comm_free_keyval(&key);
}

namespace {

// What is left behind may be written later; so it lives as long as the program.
struct buffers {
  std::vector<double> out = std::vector<double>(1000000, 1.0), in = std::vector<double>(1000000);
  std::vector<int> counts = std::vector<int>(64, 1000), at = std::vector<int>(64, 0);
  std::vector<MPI_Datatype> types = std::vector<MPI_Datatype>(64, MPI_DOUBLE);
};

buffers& b() {
  static buffers all;
  return all;
}

struct blocking_call {
  const char* name;
  std::function<void(MPI_Comm)> call; // with whom rank 0 is needed, by rank 1 at least
};

const std::vector<blocking_call>& calls() {
  static const MPI_Datatype d = MPI_DOUBLE;
  static const int many = 1000000;
  static auto& o = b().out;
  static auto& i = b().in;
  static const auto n = b().counts.data();
  static const auto at = b().at.data();
  static const auto t = b().types.data();
  static const std::vector<blocking_call> all{
    {"Barrier", [](MPI_Comm c) { MPI_Barrier(c); }},
    {"Bcast", [](MPI_Comm c) { MPI_Bcast(i.data(), many, d, 0, c); }},
    {"Reduce", [](MPI_Comm c) { MPI_Reduce(o.data(), i.data(), many, d, MPI_SUM, 1, c); }},
    {"Allreduce", [](MPI_Comm c) { MPI_Allreduce(o.data(), i.data(), many, d, MPI_SUM, c); }},
    {"Reduce_scatter", [](MPI_Comm c) { MPI_Reduce_scatter(o.data(), i.data(), n, d, MPI_SUM, c); }},
    {"Reduce_scatter_block", [](MPI_Comm c) { MPI_Reduce_scatter_block(o.data(), i.data(), 1000, d, MPI_SUM, c); }},
    {"Gather", [](MPI_Comm c) { MPI_Gather(o.data(), 1000, d, i.data(), 1000, d, 1, c); }},
    {"Gatherv", [](MPI_Comm c) { MPI_Gatherv(o.data(), 1000, d, i.data(), n, at, d, 1, c); }},
    {"Scatter", [](MPI_Comm c) { MPI_Scatter(o.data(), 1000, d, i.data(), 1000, d, 0, c); }},
    {"Scatterv", [](MPI_Comm c) { MPI_Scatterv(o.data(), n, at, d, i.data(), 1000, d, 0, c); }},
    {"Allgather", [](MPI_Comm c) { MPI_Allgather(o.data(), 1000, d, i.data(), 1000, d, c); }},
    {"Allgatherv", [](MPI_Comm c) { MPI_Allgatherv(o.data(), 1000, d, i.data(), n, at, d, c); }},
    {"Alltoall", [](MPI_Comm c) { MPI_Alltoall(o.data(), 1000, d, i.data(), 1000, d, c); }},
    {"Alltoallv", [](MPI_Comm c) { MPI_Alltoallv(o.data(), n, at, d, i.data(), n, at, d, c); }},
    {"Alltoallw", [](MPI_Comm c) { MPI_Alltoallw(o.data(), n, at, t, i.data(), n, at, t, c); }},
    {"Scan", [](MPI_Comm c) { MPI_Scan(o.data(), i.data(), 1000, d, MPI_SUM, c); }},
    {"Exscan", [](MPI_Comm c) { MPI_Exscan(o.data(), i.data(), 1000, d, MPI_SUM, c); }},
    {"Comm_dup",
     [](MPI_Comm c) {
       MPI_Comm copy;
       MPI_Comm_dup(c, &copy);
     }},
    {"Send", [](MPI_Comm c) { MPI_Send(o.data(), many, d, 0, 1, c); }},
    {"Ssend", [](MPI_Comm c) { MPI_Ssend(o.data(), 1, d, 0, 1, c); }},
    {"Recv", [](MPI_Comm c) { MPI_Recv(i.data(), many, d, 0, 1, c, MPI_STATUS_IGNORE); }},
    {"Sendrecv", [](MPI_Comm c) { MPI_Sendrecv(o.data(), many, d, 0, 1, i.data(), many, d, 0, 1, c, MPI_STATUS_IGNORE); }},
    {"Sendrecv_replace", [](MPI_Comm c) { MPI_Sendrecv_replace(i.data(), many, d, 0, 1, 0, 1, c, MPI_STATUS_IGNORE); }},
    {"Probe", [](MPI_Comm c) { MPI_Probe(0, 1, c, MPI_STATUS_IGNORE); }},
    {"Mprobe",
     [](MPI_Comm c) {
       MPI_Message m;
       MPI_Mprobe(0, 1, c, &m, MPI_STATUS_IGNORE);
     }},
  };
  return all;
}

// Throws when its time has come.
std::function<void()> until(clk::time_point end) {
  return [end] {
    if (clk::now() >= end)
      throw ended{};
  };
}

struct freed_at_the_end {
  MPI_Comm comm;
  ~freed_at_the_end() { MPI_Comm_free(&comm); }
};

// Collective: MPI goes on.
void work_afresh() {
  MPI_Group all;
  MPI_Comm_group(MPI_COMM_WORLD, &all);
  MPI_Comm fresh = MPI_COMM_NULL;
  MPI_Comm_create_group(MPI_COMM_WORLD, all, 7, &fresh);
  MPI_Group_free(&all);
  {
    mpi_waits scope{[] {}, [] {}};
    int y = 0;
    MPI_Allreduce(&me, &y, 1, MPI_INT, MPI_SUM, fresh);
    BOOST_TEST(y == sum_to(size - 1));
    const int right = (me + 1) % size, left = (me + size - 1) % size;
    MPI_Sendrecv(&me, 1, MPI_INT, right, 1, &y, 1, MPI_INT, left, 1, fresh, MPI_STATUS_IGNORE);
    BOOST_TEST(y == left);
  }
  MPI_Comm_free(&fresh);
}

} // namespace

BOOST_AUTO_TEST_CASE(an_exception_ends_each_call_when_another_rank_does_not_take_part) {
  for (auto& c : calls()) {
    MPI_Comm used = MPI_COMM_NULL;
    MPI_Comm_dup(MPI_COMM_WORLD, &used);
    meet();
    const auto begin = clk::now();
    bool thrown = false;
    try {
      mpi_waits scope{until(begin + 10ms), [] {}};
      const freed_at_the_end freed{used};
      if (me == 0)
        throw ended{};
      c.call(used);
    } catch (const ended&) {
      thrown = true;
    }
    BOOST_TEST((thrown || me > 1), c.name);
    BOOST_TEST((clk::now() - begin < 5s), c.name);
    int checks = 0;
    {
      mpi_waits other{[&] { ++checks; }, [] {}};
      MPI_Barrier(MPI_COMM_SELF);
    }
    BOOST_TEST(checks > 0);
    checks = 0;
    MPI_Barrier(MPI_COMM_SELF); // the scope that is over doesn't count any more
    BOOST_TEST(checks == 0);
    meet();
    work_afresh();
  }
}

BOOST_AUTO_TEST_CASE(a_call_does_not_begin_when_it_is_to_end) {
  const int right = (me + 1) % size, left = (me + size - 1) % size;
  {
    mpi_waits scope{[] { throw ended{}; }, [] {}};
    BOOST_CHECK_THROW(MPI_Send(&me, 1, MPI_INT, right, 1, comm), ended);
    BOOST_CHECK_THROW(MPI_Barrier(comm), ended);
  }
  meet();
  int there = 0;
  MPI_Iprobe(left, 1, comm, &there, MPI_STATUS_IGNORE);
  MPI_Iprobe(left, 1, comm, &there, MPI_STATUS_IGNORE);
  BOOST_TEST(there == 0);
  meet();
}

BOOST_AUTO_TEST_CASE(destructors_that_wait_neither_hang_nor_end_the_process) {
  MPI_Comm used = MPI_COMM_NULL;
  MPI_Comm_dup(MPI_COMM_WORLD, &used);
  struct waits_at_the_end {
    MPI_Comm comm;
    MPI_Request request = MPI_REQUEST_NULL;
    int got = 0;
    ~waits_at_the_end() {
      MPI_Irecv(&got, 1, MPI_INT, (me + 1) % size, 5, comm, &request);
      BOOST_TEST(MPI_Wait(&request, MPI_STATUS_IGNORE) == MPI_ERR_OTHER);
      MPI_Cancel(&request);
      BOOST_TEST(MPI_Wait(&request, MPI_STATUS_IGNORE) == MPI_SUCCESS);
      BOOST_TEST(MPI_Recv(&got, 1, MPI_INT, (me + 1) % size, 5, comm, MPI_STATUS_IGNORE) == MPI_ERR_OTHER);
      if (me != 0)
        BOOST_TEST(MPI_Barrier(comm) == MPI_ERR_OTHER);
    }
  };
  try {
    mpi_waits scope{until(clk::now() + 5ms), [] {}};
    waits_at_the_end w{.comm = used};
    MPI_Recv(nullptr, 0, MPI_INT, (me + 1) % size, 6, used, MPI_STATUS_IGNORE);
  } catch (const ended&) {
  }
  meet();
  work_afresh();
}

BOOST_AUTO_TEST_CASE(ones_own_requests_are_left_when_their_wait_is_ended) {
  const int right = (me + 1) % size, left = (me + size - 1) % size;
  int got[4] = {};
  MPI_Request r[4];
  for (int i = 0; i < 4; ++i)
    MPI_Irecv(&got[i], 1, MPI_INT, left, i, comm, &r[i]);
  meet();
  int which = 0, indices[4];
  for (auto& wait : std::vector<std::function<void()>>{
         [&] { MPI_Wait(&r[0], MPI_STATUS_IGNORE); }, [&] { MPI_Waitall(4, r, MPI_STATUSES_IGNORE); },
         [&] { MPI_Waitany(4, r, &which, MPI_STATUS_IGNORE); }, [&] { MPI_Waitsome(4, r, &which, indices, MPI_STATUSES_IGNORE); }}) {
    mpi_waits scope{until(clk::now() + 5ms), [] {}};
    BOOST_CHECK_THROW(wait(), ended);
  }
  meet();
  for (int i = 0; i < 4; ++i)
    MPI_Send(&me, 1, MPI_INT, right, i, comm);
  MPI_Waitall(4, r, MPI_STATUSES_IGNORE);
  BOOST_TEST((got[0] == left && got[3] == left));
  meet();
}

BOOST_AUTO_TEST_CASE(a_receive_that_was_ended_takes_nothing_any_more) {
  const int right = (me + 1) % size, left = (me + size - 1) % size;
  int got = -1;
  {
    mpi_waits scope{until(clk::now() + 5ms), [] {}};
    BOOST_CHECK_THROW(MPI_Recv(&got, 1, MPI_INT, left, 1, comm, MPI_STATUS_IGNORE), ended);
  }
  meet();
  MPI_Send(&me, 1, MPI_INT, right, 1, comm);
  int second = -1;
  MPI_Recv(&second, 1, MPI_INT, left, 1, comm, MPI_STATUS_IGNORE);
  BOOST_TEST(got == -1);
  BOOST_TEST(second == left);
  meet();
}

BOOST_AUTO_TEST_CASE(look_is_called_while_a_call_waits_and_its_mpi_calls_are_its_own) {
  meet();
  int looks = 0, checks = 0, nested = 0;
  if (me != 0) {
    mpi_waits scope{[&] { ++checks; },
                    [&] {
                      const int before = checks;
                      MPI_Barrier(MPI_COMM_SELF);
                      nested += checks - before;
                      ++looks;
                    }};
    MPI_Recv(nullptr, 0, MPI_INT, 0, 1, comm, MPI_STATUS_IGNORE);
    BOOST_TEST(looks > 10);
    BOOST_TEST(checks > looks);
    BOOST_TEST(nested == 0);
    mpi_waits thrower{[] {}, [] { throw ended{}; }};
    BOOST_CHECK_THROW(MPI_Recv(nullptr, 0, MPI_INT, 0, 1, comm, MPI_STATUS_IGNORE), ended);
  } else {
    std::this_thread::sleep_for(50ms); // what they wait for
    for (int r = 1; r < size; ++r)
      MPI_Send(nullptr, 0, MPI_INT, r, 1, comm);
  }
  meet();
}

BOOST_AUTO_TEST_CASE(who_waits_long_uses_little_cpu) {
  MPI_Comm used = MPI_COMM_NULL;
  MPI_Comm_dup(MPI_COMM_WORLD, &used);
  meet();
  const auto before = cpu_seconds();
  {
    if (me == 0)
      std::this_thread::sleep_for(2s); // what they wait for
    mpi_waits scope{[] {}, [] {}};
    MPI_Barrier(used);
  }
  const auto seconds = cpu_seconds() - before;
  BOOST_TEST_MESSAGE("rank " << me << " used " << seconds << " s of CPU while a barrier took 2 s");
  BOOST_TEST(seconds < 0.6); // a plain one uses all
  meet();
  MPI_Comm_free(&used);
}

BOOST_AUTO_TEST_CASE(prompt_answers_take_hardly_longer) {
  const auto measure = [](const char* how) {
    constexpr int rounds = 2000;
    int x = 0, y = 0;
    MPI_Barrier(comm);
    auto begin = clk::now();
    const auto us = [&] { return std::chrono::duration<double, std::micro>(clk::now() - begin).count() / rounds; };
    for (int i = 0; i < rounds && me < 2; ++i) {
      if (me == 0)
        MPI_Send(&x, 1, MPI_INT, 1, 1, comm);
      MPI_Recv(&x, 1, MPI_INT, 1 - me, 1, comm, MPI_STATUS_IGNORE);
      if (me == 1)
        MPI_Send(&x, 1, MPI_INT, 0, 1, comm);
    }
    const auto there_and_back = us();
    MPI_Barrier(comm);
    begin = clk::now();
    for (int i = 0; i < rounds; ++i)
      MPI_Allreduce(&x, &y, 1, MPI_INT, MPI_SUM, comm);
    if (me == 0)
      BOOST_TEST_MESSAGE(how << ": there and back " << there_and_back << " us, Allreduce of an int " << us() << " us");
  };
  if (size > static_cast<int>(std::thread::hardware_concurrency()))
    return; // then it is the scheduler that is measured
  for (int i = 0; i < 2; ++i) {
    measure("without a scope");
    mpi_waits scope{[] {}, [] {}};
    measure("with a scope");
  }
  meet();
}

BOOST_AUTO_TEST_CASE(threads_without_a_scope_go_on_as_ever) {
  constexpr int threads = 4, rounds = 6;
  std::vector<MPI_Comm> comms(threads);
  for (auto& c : comms)
    MPI_Comm_dup(MPI_COMM_WORLD, &c);
  meet();
  std::atomic<int> wrong{0}, checks_elsewhere{0};
  std::atomic<bool> thrown{false};
  const auto work = [&](int thread) {
    const auto mine = std::this_thread::get_id();
    std::optional<mpi_waits> scope;
    const auto end = clk::now() + 20ms;
    bool ends = false;
    if (thread == 0)
      scope.emplace(
        [&] {
          checks_elsewhere += std::this_thread::get_id() != mine ? 1 : 0;
          if (ends && clk::now() >= end)
            throw ended{};
        },
        [] {});
    const int right = (me + 1) % size, left = (me + size - 1) % size;
    const auto c = comms[static_cast<std::size_t>(thread)];
    for (int i = 0; i < rounds; ++i) {
      const int x = me + i;
      int y = 0, z = 0;
      MPI_Allreduce(&x, &y, 1, MPI_INT, MPI_SUM, c);
      MPI_Sendrecv(&x, 1, MPI_INT, right, 1, &z, 1, MPI_INT, left, 1, c, MPI_STATUS_IGNORE);
      wrong += y != sum_to(size - 1) + size * i ? 1 : 0;
      wrong += z != left + i ? 1 : 0;
    }
    if (thread != 0 || me == 0)
      return;
    ends = true;
    try {
      MPI_Barrier(c); // rank 0 doesn't come
    } catch (const ended&) {
      thrown = true;
    }
  };
  {
    std::vector<std::jthread> all;
    for (int t = 0; t < threads; ++t)
      all.emplace_back(work, t);
  }
  BOOST_TEST(wrong == 0);
  BOOST_TEST(checks_elsewhere == 0);
  BOOST_TEST(thrown == (me != 0));
  meet();
  for (int i = 1; i < threads; ++i)
    MPI_Comm_free(&comms[static_cast<std::size_t>(i)]);
  work_afresh();
}
