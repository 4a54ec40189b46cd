#define BOOST_TEST_MODULE backpressure
#include "system/harness.hpp"

#include <troupe/actors.hpp>

#include <atomic>
#include <fstream>
#include <memory>
#include <numeric>

namespace {

using bytes = std::vector<char>;

const setup register_types{[](troupe::app& app) { app.message_types<bytes>(); }};

// -- on any process ---------------------------------------------------------------------------------------------------

std::uint64_t memory_in_use() {
  std::ifstream in{"/proc/self/statm"};
  std::uint64_t size = 0, resident = 0;
  in >> size >> resident;
  return resident * 4096;
}

std::atomic<std::uint64_t> produced{0};
std::atomic<bool> stop_producing{false};
std::atomic<bool> held{false};

constexpr std::uint64_t mega = 1 << 20;
// What the credit allows one side, and what an allocator and a batch or two add to it.
constexpr std::uint64_t bound = 64 * mega;

// Deals with nothing as long as it is held, in its first message.
caf::behavior holding_consumer(caf::stateful_actor<std::uint64_t>* self) {
  return {[=](const bytes& b) {
            while (held)
              std::this_thread::sleep_for(1ms);
            self->state += b.size();
          },
          [=](int) { return self->state; }};
}

struct flood {
  std::size_t size;
  std::uint64_t count;
};

// Sends so many messages in one go.
caf::behavior producer(caf::event_based_actor* self, caf::actor to) {
  return {[=](std::uint64_t size, std::uint64_t count) {
    for (produced = 0; produced < count && !stop_producing; ++produced)
      self->send(to, bytes(size));
    return produced.load();
  }};
}

std::uint64_t waiting_in(const std::vector<troupe::process_statistics>& all, proc_id who, proc_id for_whom) {
  for (auto& s : all)
    if (s.id == who)
      for (auto& p : s.peers)
        if (p.peer == for_whom)
          return p.waiting;
  return 0;
}

// Floods the next in a circle, and hears how much came from the one before.
caf::behavior neighbour(caf::stateful_actor<std::uint64_t>* self) {
  return {[=](const caf::actor& next, std::uint64_t size, std::uint64_t count) {
            for (std::uint64_t i = 0; i < count; ++i)
              self->send(next, bytes(size));
          },
          [=](const bytes& b) { self->state += b.size(); }, [=](int) { return self->state; }};
}

} // namespace

BOOST_AUTO_TEST_CASE(messages_to_an_actor_that_does_nothing_fill_neither_process) {
  auto& c = here();
  const workers all{2};
  auto& ids = all.ids();
  for (std::uint64_t size : {std::uint64_t{1}, 100 * mega / 1000, 3 * mega}) {
    c.everywhere(ids, [] {
      held = true;
      stop_producing = false;
    });
    auto consumer = c.spawn<holding_consumer>(ids[1]);
    auto maker = c.spawn<producer>(ids[0], consumer);
    auto before = c.remotecall_fetch(ids[0], troupe::direct([] { return memory_in_use(); }));
    auto before_there = c.remotecall_fetch(ids[1], troupe::direct([] { return memory_in_use(); }));
    constexpr std::uint64_t endless = 1'000'000'000;
    caf::anon_send(maker, size, endless);
    // until it waits, and for a while longer
    BOOST_REQUIRE(eventually([&] { return waiting_in(c.statistics(), ids[0], ids[1]) == 1; }));
    auto sent = c.remotecall_fetch(ids[0], troupe::direct([] { return produced.load(); }));
    std::this_thread::sleep_for(700ms); // longer than it takes to look for circles
    BOOST_TEST(c.remotecall_fetch(ids[0], troupe::direct([] { return produced.load(); })) == sent);
    auto here_now = c.remotecall_fetch(ids[0], troupe::direct([] { return memory_in_use(); }));
    auto there_now = c.remotecall_fetch(ids[1], troupe::direct([] { return memory_in_use(); }));
    BOOST_TEST((here_now < before + bound), size << " bytes each: " << (here_now - before) / mega << " MB at the producer");
    BOOST_TEST((there_now < before_there + bound), size << " bytes each: " << (there_now - before_there) / mega << " MB at the consumer");
    c.everywhere(ids, troupe::direct([] {
                   held = false;
                   stop_producing = true;
                 }));
    BOOST_TEST(eventually([&] { return waiting_in(c.statistics(), ids[0], ids[1]) == 0; }));
    auto arrived = [&] { return c.request<std::uint64_t>(consumer, 0); };
    auto total = [&] { return c.remotecall_fetch(ids[0], [] { return produced.load(); }); };
    BOOST_TEST(eventually([&] { return arrived() == size * total(); }), arrived() << " bytes of " << total() << " messages came");
    caf::anon_send_exit(consumer, caf::exit_reason::kill);
    caf::anon_send_exit(maker, caf::exit_reason::kill);
  }
}

BOOST_AUTO_TEST_CASE(calls_to_a_worker_that_is_busy_wait_at_their_caller) {
  auto& c = here();
  const workers all{1};
  const auto w = all[0];
  c.everywhere(w, [] { held = true; });
  c.remote_do(w, [] {
    while (held)
      std::this_thread::sleep_for(1ms);
  });
  std::atomic<std::uint64_t> made{0};
  constexpr std::uint64_t calls = 100'000;
  auto before = memory_in_use();
  std::thread caller{[&] {
    for (; made < calls; ++made)
      c.remote_do(w, [](const bytes&) { ++produced; }, bytes(1000));
  }};
  BOOST_CHECK(eventually([&] { return waiting_in(c.statistics(), 1, w) == 1; }));
  BOOST_TEST((memory_in_use() < before + bound));
  BOOST_TEST(made < calls);
  c.remotecall_fetch(w, troupe::direct([] { held = false; }));
  caller.join();
  BOOST_TEST(eventually([&] { return c.remotecall_fetch(w, [] { return produced.load(); }) == calls; }));
}

BOOST_AUTO_TEST_CASE(who_waits_for_a_worker_that_dies_is_told) {
  auto& c = here();
  const workers all{1};
  const auto w = all[0];
  auto pid = c.info(w).os_pid;
  c.remote_do(w, [] {
    while (true)
      std::this_thread::sleep_for(1ms);
  });
  std::string failure;
  std::thread caller{[&] {
    try {
      while (true)
        c.remote_do(w, [](const bytes&) {}, bytes(10'000));
    } catch (const troupe::process_exited& e) {
      failure = e.what();
    }
  }};
  BOOST_CHECK(eventually([&] { return waiting_in(c.statistics(), 1, w) == 1; }));
  ::kill(static_cast<pid_t>(pid), SIGKILL);
  caller.join();
  BOOST_TEST(failure.find("signal 9") != std::string::npos, failure);
}

BOOST_AUTO_TEST_CASE(actors_that_flood_each_other_get_through) {
  auto& c = here();
  const workers all{3};
  auto& ids = all.ids();
  for (std::size_t n : {std::size_t{2}, std::size_t{3}}) {
    std::vector<caf::actor> circle;
    for (std::size_t i = 0; i < n; ++i)
      circle.push_back(c.spawn<neighbour>(ids[i]));
    constexpr std::uint64_t size = mega / 4, count = 160; // 40 MB each, which the credit doesn't allow
    for (std::size_t i = 0; i < n; ++i)
      caf::anon_send(circle[i], circle[(i + 1) % n], size, count);
    for (auto& a : circle)
      BOOST_TEST(eventually([&] { return c.request<std::uint64_t>(a, 0) == size * count; }));
  }
}

BOOST_AUTO_TEST_CASE(small_messages_pass_a_large_value) {
  auto& c = here();
  const workers all{1};
  const auto w = all[0];
  auto a = c.spawn<holding_consumer>(w);
  auto large = c.remotecall(w, [](const bytes& b) { return b.size(); }, bytes(400 * mega));
  BOOST_TEST(c.request<std::uint64_t>(a, 0) == 0u);
  BOOST_TEST(!large.isready()); // the answer came while the value was on its way
  BOOST_TEST(large.fetch() == 400 * mega);
}

BOOST_AUTO_TEST_CASE(statistics_tell_what_each_process_has_done) {
  auto& c = here();
  const workers all{2};
  auto& ids = all.ids();
  auto before = c.statistics();
  BOOST_REQUIRE(before.size() == 3u);
  for (int i = 0; i < 100; ++i)
    c.remotecall_fetch(ids[0], [](const bytes& b) { return b.size(); }, bytes(1000));
  auto after = c.statistics();
  BOOST_REQUIRE(after.size() == 3u);
  for (std::size_t i = 0; i < 3; ++i)
    BOOST_TEST(after[i].id == static_cast<proc_id>(i == 0 ? 1 : ids[i - 1]));
  BOOST_TEST(after[0].messages_sent >= before[0].messages_sent + 100);
  BOOST_TEST(after[0].bytes_sent >= before[0].bytes_sent + 100'000);
  BOOST_TEST(after[1].messages_received >= before[1].messages_received + 100);
  BOOST_TEST(after[1].tasks >= before[1].tasks + 100);
  BOOST_TEST(after[2].tasks < before[2].tasks + 100);
  BOOST_TEST(after[0].waits == before[0].waits);
  // on a worker: its own
  auto own = c.remotecall_fetch(ids[0], [] { return here().statistics(); });
  BOOST_REQUIRE(own.size() == 1u);
  BOOST_TEST(own[0].id == ids[0]);
}
