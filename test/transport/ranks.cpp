// What each transport promises, between processes: `mpirun -n 3 test_transport_ranks`. All ranks run all cases, and meet between them; MPI brings them
// together for TCP as well.

#define BOOST_TEST_MODULE ranks
#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>

#include "cpu_seconds.hpp"
#include "mpi_meeting.hpp"
#include "transport/loop_thread.hpp"

#include "troupe/transport/mpi.hpp"
#include "troupe/transport/tcp.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using test::comes;
using test::cpu_seconds;
using test::meet;
using test::meeting;
using test::mpi_program;
using troupe::byte_stream;
using troupe::dial_result;
using troupe::endpoint;
using troupe::loop;
using troupe::mpi_transport;
using status = troupe::stream_result::status;

namespace suite { // with a name, since cases that are made for each kind have captures of its types

std::vector<std::byte> pattern(std::size_t size, unsigned seed) {
  std::vector<std::byte> out(size);
  std::minstd_rand dice{seed};
  for (auto& b : out)
    b = static_cast<std::byte>(dice());
  return out;
}

const std::vector<std::string> kinds{"mpi", "tcp"};

// A rank with a loop.
struct rank_here {
  explicit rank_here(const std::string& kind) {
    MPI_Comm_rank(meeting, &rank);
    MPI_Comm_size(meeting, &size);
    if (kind == "mpi")
      transport = mpi = std::make_shared<mpi_transport>(MPI_COMM_WORLD);
    else
      transport = std::make_shared<troupe::tcp_transport>();
  }
  ~rank_here() {
    meet(); // nobody leaves while another still sends
    thread.stop();
    transport = nullptr;
    meet();
    if (mpi)
      mpi_transport::drain(mpi->communicator());
  }

  template <class F>
  auto on_loop(F f) {
    return thread.run(std::move(f));
  }
  endpoint listen(troupe::transport::acceptor on_accept) {
    return on_loop([&] { return transport->listen(thread.get(), {"127.0.0.1", 0}, std::move(on_accept)); });
  }
  dial_result dial(const endpoint& to, std::chrono::milliseconds limit = 10s) {
    std::promise<dial_result> result;
    on_loop([&] { transport->dial(thread.get(), to, limit, [&](dial_result r) { result.set_value(std::move(r)); }); });
    return result.get_future().get();
  }
  bool master() const { return rank == 0; }

  int rank = 0, size = 0;
  std::shared_ptr<mpi_transport> mpi; // the same as the transport, if it is of MPI
  test::loop_thread thread;
  std::shared_ptr<troupe::transport> transport;
};

// Where rank 0 listens. All ranks.
endpoint of_master(const endpoint& mine) {
  struct {
    char address[64];
    std::uint16_t port;
  } text{};
  mine.address.copy(text.address, sizeof text.address - 1);
  text.port = mine.port;
  MPI_Bcast(&text, sizeof text, MPI_BYTE, 0, meeting);
  return {text.address, text.port};
}

// Sends everything back, until the end; loop thread.
struct echo : std::enable_shared_from_this<echo> {
  std::unique_ptr<byte_stream> stream;
  std::vector<std::byte> waiting;
  std::size_t done = 0;
  std::atomic<int>& ended;

  echo(std::unique_ptr<byte_stream> s, std::atomic<int>& e) : stream(std::move(s)), ended(e) {}
  void start(loop& l) {
    stream->start(l, [self = shared_from_this()] { self->read(); }, [self = shared_from_this()] { self->write(); });
  }
  void read() {
    if (done < waiting.size())
      return write();
    waiting.resize(100000);
    done = 0;
    const auto r = stream->read(waiting);
    waiting.resize(r.what == status::moved ? r.bytes : 0);
    if (r.what == status::ended) {
      ++ended;
      stream->close();
    }
    write();
  }
  void write() {
    while (done < waiting.size()) {
      const iovec piece{waiting.data() + done, waiting.size() - done};
      const auto r = stream->write({&piece, 1});
      if (r.what != status::moved)
        break;
      done += r.bytes;
    }
    stream->want_write(done < waiting.size());
  }
};

// Sends back what comes in all streams to this rank.
struct echoes {
  rank_here& here;
  std::vector<std::shared_ptr<echo>> streams{};
  std::atomic<int> ended{0};

  explicit echoes(rank_here& h) : here(h) {}
  endpoint listen() {
    return here.listen([this](std::unique_ptr<byte_stream> s) {
      streams.push_back(std::make_shared<echo>(std::move(s), ended));
      streams.back()->start(here.thread.get());
    });
  }
  void end() {
    here.on_loop([this] { streams.clear(); });
  }
};

// Blocks; any thread but the loop's.
struct caller {
  rank_here& here;
  std::unique_ptr<byte_stream> stream;
  std::vector<std::byte> received;
  std::mutex mutex;
  std::condition_variable changed;
  bool ended = false;

  caller(rank_here& h, std::unique_ptr<byte_stream> s) : here(h), stream(std::move(s)) {
    here.on_loop([this] { stream->start(here.thread.get(), [this] { read(); }, [] {}); });
  }
  ~caller() {
    here.on_loop([this] { stream.reset(); });
  }
  void read() {
    std::array<std::byte, 70000> some;
    const auto r = stream->read(some);
    std::lock_guard guard{mutex};
    if (r.what == status::moved)
      received.insert(received.end(), some.begin(), some.begin() + static_cast<std::ptrdiff_t>(r.bytes));
    ended = ended || r.what == status::ended;
    if (ended)
      stream->close();
    changed.notify_one();
  }
  void write(std::span<const std::byte> what) {
    while (!what.empty()) {
      const iovec piece{const_cast<std::byte*>(what.data()), what.size()};
      const auto r = stream->write({&piece, 1});
      if (r.what == status::moved)
        what = what.subspan(r.bytes);
      else
        std::this_thread::yield();
    }
  }
  bool wait_for(std::size_t bytes) {
    std::unique_lock lock{mutex};
    return changed.wait_for(lock, test::deadline, [&] { return received.size() >= bytes; });
  }
};

} // namespace suite

using namespace suite;

BOOST_TEST_GLOBAL_FIXTURE(mpi_program);

BOOST_DATA_TEST_CASE(what_is_written_arrives_once_and_in_order_and_so_does_the_end, kinds, kind) {
  rank_here here{kind};
  echoes all{here};
  const auto mine = all.listen();
  const auto master = of_master(mine);
  if (here.master()) {
    BOOST_TEST(comes([&] { return all.ended == 2 * (here.size - 1); }));
  } else {
    for (std::size_t size : {std::size_t{3}, std::size_t{20} << 20}) {
      auto dialled = here.dial(master);
      BOOST_REQUIRE_MESSAGE(dialled.stream, dialled.why_not);
      BOOST_TEST(dialled.stream->kind() == kind);
      BOOST_TEST(dialled.stream->peer() == (here.mpi ? "rank 0" : master.to_text()));
      caller c{here, std::move(dialled.stream)};
      const auto text = pattern(size, static_cast<unsigned>(here.rank));
      std::minstd_rand dice{7};
      for (std::size_t at = 0; at < size;) {
        const auto n = std::min<std::size_t>(size - at, 1 + dice() % (dice() % 4 == 0 ? 900000 : 300));
        c.write(std::span{text}.subspan(at, n));
        at += n;
      }
      BOOST_TEST(c.wait_for(size));
      BOOST_TEST((c.received == text));
    }
  }
  all.end();
  meet();
}

BOOST_AUTO_TEST_CASE(where_nobody_listens_is_told) {
  rank_here here{"tcp"};
  const auto mine = here.listen([](std::unique_ptr<byte_stream>) {});
  here.on_loop([&] { here.transport = std::make_shared<troupe::tcp_transport>(); });
  const auto refused = here.dial(mine);
  BOOST_TEST(!refused.stream);
  BOOST_TEST(refused.refused);
}

BOOST_AUTO_TEST_CASE(a_rank_that_cannot_be_reached_is_told) {
  rank_here here{"mpi"};
  const auto mine = endpoint{here.listen(nullptr).address, 0};
  meet();
  if (!here.master()) {
    const auto refused = here.dial(mine);
    BOOST_TEST(!refused.stream);
    BOOST_TEST(refused.refused);
    BOOST_TEST(refused.why_not == "rank 0 lets nobody in");
  }
  const auto nobody = here.dial({mine.address, 4711});
  BOOST_TEST(nobody.refused);
  BOOST_TEST(nobody.why_not.find("4711 is no rank of this MPI job, mpi-") != std::string::npos);
  BOOST_TEST(here.dial({"mpi-0", 1}).refused);
}

BOOST_AUTO_TEST_CASE(a_rank_that_does_not_answer_is_given_up) {
  rank_here here{"mpi"};
  const auto mine = here.listen(nullptr);
  meet();
  std::atomic<bool> stopped{here.rank == 1};
  if (stopped) // its loop asks for nothing
    here.thread.get().post([&] { std::this_thread::sleep_for(500ms); });
  std::this_thread::sleep_for(20ms);
  meet();
  if (here.master()) {
    const auto late = here.dial({mine.address, 1}, 50ms);
    BOOST_TEST(!late.refused);
    BOOST_TEST(late.why_not == "no answer from rank 1 within 50 ms");
  }
}

BOOST_DATA_TEST_CASE(who_is_not_read_can_write_a_few_megabytes_and_no_more, kinds, kind) {
  rank_here here{kind};
  std::vector<std::unique_ptr<byte_stream>> accepted;
  const auto mine = here.listen([&](std::unique_ptr<byte_stream> s) { accepted.push_back(std::move(s)); });
  const auto master = of_master(mine);
  if (here.rank == 1) {
    auto dialled = here.dial(master);
    BOOST_REQUIRE(dialled.stream);
    std::atomic<int> writable{0};
    here.on_loop([&] { dialled.stream->start(here.thread.get(), [] {}, [&] { ++writable; }); });
    const auto text = pattern(1 << 20, 1);
    std::size_t written = 0;
    for (int full = 0; full < 100;) {
      const iovec piece{const_cast<std::byte*>(text.data()), text.size()};
      const auto r = dialled.stream->write({&piece, 1});
      written += r.what == status::moved ? r.bytes : 0;
      full += r.what == status::would_block ? 1 : 0;
      std::this_thread::sleep_for(r.what == status::would_block ? 1ms : 0ms);
    }
    BOOST_TEST(written >= std::size_t{1} << 20);
    BOOST_TEST(written <= std::size_t{16} << 20);
    here.on_loop([&] { dialled.stream->want_write(true); });
    BOOST_TEST(writable == 0);
    meet();
    BOOST_TEST(comes([&] { return writable > 0; })); // the reader has begun
    here.on_loop([&] { dialled.stream.reset(); });
    meet();
    return;
  }
  meet();
  std::atomic<std::size_t> got{0};
  std::atomic<bool> ended{false};
  if (here.master())
    here.on_loop([&] {
      for (auto& s : accepted)
        s->start(
          here.thread.get(),
          [&, p = s.get()] {
            std::array<std::byte, 5000> some;
            const auto r = p->read(some);
            got += r.what == status::moved ? r.bytes : 0;
            if (r.what == status::ended)
              p->close();
            ended = ended || r.what == status::ended;
          },
          [] {});
    });
  meet();
  if (here.master()) {
    BOOST_TEST(comes([&] { return ended.load(); }));
    BOOST_TEST(got >= std::size_t{1} << 20);
  }
  here.on_loop([&] { accepted.clear(); });
}

// The other rank sleeps between them.
BOOST_DATA_TEST_CASE(ranks_that_wait_use_no_cpu_and_are_woken_by_what_comes, kinds, kind) {
  rank_here here{kind};
  echoes all{here};
  const auto mine = all.listen();
  const auto master = of_master(mine);
  if (here.rank == 1) {
    auto dialled = here.dial(master);
    BOOST_REQUIRE(dialled.stream);
    caller c{here, std::move(dialled.stream)};
    std::vector<double> us;
    const auto text = pattern(32, 1);
    for (std::size_t i = 1; i <= 200; ++i) {
      std::this_thread::sleep_for(2ms);
      const auto begin = loop::clock::now();
      c.write(text);
      BOOST_REQUIRE(c.wait_for(32 * i));
      us.push_back(std::chrono::duration<double, std::micro>(loop::clock::now() - begin).count());
    }
    std::sort(us.begin(), us.end());
    BOOST_TEST_MESSAGE(kind << ": to a rank that sleeps and back: median " << us[100] << " us, at most " << us.back() << " us");
  }
  meet();
  const auto before = cpu_seconds();
  std::this_thread::sleep_for(1s);
  const auto used = cpu_seconds() - before;
  BOOST_TEST_MESSAGE(kind << ": rank " << here.rank << " used " << 100 * used << " % of a CPU while nothing happened");
  BOOST_TEST(used < 0.2); // one that asks again and again uses all
  meet();
  all.end();
}
