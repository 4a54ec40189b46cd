#define BOOST_TEST_MODULE mesh
#include <boost/test/unit_test.hpp>

#include "transport/encoding.hpp"
#include "transport/loop_thread.hpp"
#include "unclaimed_port.hpp"

#include "troupe/transport/mesh.hpp"
#include "troupe/transport/tcp.hpp"

#include <algorithm>
#include <arpa/inet.h>
#include <array>
#include <atomic>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
#include <vector>

using namespace std::chrono_literals;
using namespace std::string_literals;
using test::contains;
using troupe::error_info;
using troupe::error_kind;
using troupe::frame_kind;
using troupe::hello;
using troupe::mesh;
using troupe::proc_id;
using troupe::urgency;

namespace {

constexpr std::uint64_t cluster_number = 0x1234;

struct received {
  proc_id from;
  frame_kind kind;
  std::string text;
};

struct happened {
  std::vector<received> frames;
  std::vector<proc_id> up;
  std::map<proc_id, std::string> down;
  std::map<proc_id, std::string> lost;
  std::vector<std::string> dismissed;
  std::vector<std::pair<proc_id, error_info>> unreachable;
  std::vector<hello> adopted;
  std::vector<std::string> refused;
  int dials_asked_for = 0;
};

struct node_options {
  std::string cookie = "right cookie";
  std::uint64_t cluster = cluster_number;
  std::chrono::milliseconds limit{60000};
};

// A process as far as its links go: its mesh, on a loop of its own.
class node {
public:
  explicit node(proc_id id, node_options o = {}) {
    mesh::settings s;
    s.cookie = o.cookie;
    s.id = id;
    s.cluster = id == 0 ? 0 : o.cluster;
    s.host = "host of " + std::to_string(id);
    s.build_id = "build";
    s.connect_limit = o.limit;
    s.types = {7, 8, 9};
    mesh::events e;
    e.frame = [this](proc_id from, troupe::frame_view& f) { take(from, f); };
    e.up = [this](proc_id id, const hello&) { seen.change([&](auto& h) { h.up.push_back(id); }); };
    e.down = [this](proc_id id, const std::string& why) { seen.change([&](auto& h) { h.down[id] = why; }); };
    e.unreachable = [this](proc_id id, const error_info& why) { seen.change([&](auto& h) { h.unreachable.emplace_back(id, why); }); };
    e.lost = [this](proc_id id, const std::string& why) { seen.change([&](auto& h) { h.lost[id] = why; }); };
    e.dismissed = [this](const std::string& why) { seen.change([&](auto& h) { h.dismissed.push_back(why); }); };
    e.adopted = [this](const hello& x) { seen.change([&](auto& h) { h.adopted.push_back(x); }); };
    e.refused = [this](const troupe::refusal& r) { seen.change([&](auto& h) { h.refused.push_back(r.text); }); };
    net = std::make_unique<mesh>(loop.get(), std::move(s), std::move(e));
    where = loop.run([&] { return net->listen("127.0.0.1", 0); });
  }

  ~node() {
    loop.run([&] { net->close(); });
    loop.stop();
    net.reset();
  }

  // Blocks until the worker is adopted; returns why it isn't.
  std::string adopt(proc_id id, const troupe::endpoint& worker, std::chrono::milliseconds limit = std::chrono::milliseconds{60000}) {
    std::promise<std::string> done;
    loop.run([&] { net->adopt(id, worker, limit, [&](const std::string& why) { done.set_value(why); }); });
    return done.get_future().get();
  }

  void add(proc_id id, const troupe::endpoint& other) {
    loop.run([&] { net->add(id, other); });
  }

  void connect(proc_id id) {
    loop.run([&] { net->connect(id); });
  }

  std::optional<error_info> send(proc_id to, const std::string& text, frame_kind kind = frame_kind::message) {
    troupe::frame_builder f;
    troupe::write(f.start(kind).out(), text);
    return net->send(to, f, urgency::now);
  }

  bool wait_for_frames(std::size_t n) {
    return seen.wait([n](auto& h) { return h.frames.size() >= n; });
  }

  bool wait_for_up(proc_id id) {
    return seen.wait([id](auto& h) { return std::count(h.up.begin(), h.up.end(), id) > 0; });
  }

  bool wait_for_down(proc_id id) {
    return seen.wait([id](auto& h) { return h.down.count(id) > 0; });
  }

  error_info wait_for_unreachable(std::size_t n = 1) {
    BOOST_REQUIRE(seen.wait([n](auto& h) { return h.unreachable.size() >= n; }));
    return seen.get().unreachable[n - 1].second;
  }

  std::string wait_for_refused() {
    BOOST_REQUIRE(seen.wait([](auto& h) { return !h.refused.empty(); }));
    return seen.get().refused.back();
  }

  test::watched<happened> seen;
  test::loop_thread loop;
  std::unique_ptr<mesh> net;
  troupe::endpoint where;

private:
  // Asks to be dialled go through the master, as between real processes.
  void take(proc_id from, troupe::frame_view& f) {
    troupe::reader in{f.payload};
    if (f.header.kind == frame_kind::dial) {
      auto dialler = troupe::read<proc_id>(in);
      auto to = troupe::read<proc_id>(in);
      seen.change([](auto& h) { ++h.dials_asked_for; });
      if (net->id() != troupe::master_id)
        return net->connect(to);
      troupe::frame_builder copy;
      copy.start(frame_kind::dial);
      troupe::write(copy.out(), dialler);
      troupe::write(copy.out(), to);
      net->send(dialler, copy, urgency::now);
      return;
    }
    auto text = troupe::read<std::string>(in);
    seen.change([&](auto& h) { h.frames.push_back({from, f.header.kind, text}); });
  }
};

// A master and two workers, which know of each other but have no link yet.
struct cluster_of_three {
  node one, two, three;

  explicit cluster_of_three(std::chrono::milliseconds limit = std::chrono::milliseconds{60000})
    : one(1, {.limit = limit}), two(0, {.limit = limit}), three(0, {.limit = limit}) {
    BOOST_REQUIRE(one.adopt(2, two.where) == "");
    BOOST_REQUIRE(one.adopt(3, three.where) == "");
    two.wait_for_up(1);
    three.wait_for_up(1);
    two.add(3, three.where);
    three.add(2, two.where);
  }
};

std::vector<proc_id> linked(const node& n) {
  std::vector<proc_id> out;
  for (auto& l : n.net->links())
    out.push_back(l.peer);
  return out;
}

const std::vector<proc_id> master_and_two{1, 2}, master_and_three{1, 3};

// All descriptors of this process that are connected sockets.
std::set<int> connections() {
  std::set<int> out;
  for (int fd = 0; fd < 512; ++fd) {
    sockaddr_storage peer;
    socklen_t size = sizeof peer;
    if (::getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &size) == 0 && peer.ss_family == AF_INET)
      out.insert(fd);
  }
  return out;
}

troupe::unique_fd dial_by_hand(const troupe::endpoint& where) {
  troupe::unique_fd s{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_port = htons(where.port);
  ::inet_pton(AF_INET, where.address.c_str(), &a.sin_addr);
  timeval limit{60, 0};
  ::setsockopt(s.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  BOOST_REQUIRE(::connect(s.get(), reinterpret_cast<sockaddr*>(&a), sizeof a) == 0);
  return s;
}

} // namespace

// -- adoption ---------------------------------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(a_worker_gets_its_id_from_the_master_that_dials_it) {
  node master{1}, worker{0};
  BOOST_TEST(worker.net->id() == 0);
  BOOST_TEST(master.adopt(5, worker.where) == "");
  BOOST_REQUIRE(worker.wait_for_up(1));
  BOOST_TEST(worker.net->id() == 5);
  BOOST_TEST(worker.net->cluster() == cluster_number);
  auto w = worker.seen.get();
  BOOST_REQUIRE(w.adopted.size() == 1u);
  BOOST_TEST(w.adopted[0].from == 1);
  BOOST_TEST(w.adopted[0].to == 5);
  BOOST_TEST(w.adopted[0].cluster == cluster_number);
  BOOST_TEST(w.adopted[0].host == "host of 1");
  BOOST_TEST(w.adopted[0].os_pid == ::getpid());
  BOOST_TEST((w.adopted[0].types == std::vector<std::uint64_t>{7, 8, 9}));
  BOOST_TEST((master.seen.get().up == std::vector<proc_id>{5}));
  BOOST_TEST(master.seen.get().adopted.empty());

  auto greeting = master.net->greeting(5); // the worker's, with what it has just become
  BOOST_REQUIRE(greeting);
  BOOST_TEST(greeting->from == 5);
  BOOST_TEST(greeting->to == 1);
  BOOST_TEST(greeting->cluster == cluster_number);
  BOOST_TEST(greeting->host == "host of 0");
  BOOST_TEST(greeting->build_id == "build");
  BOOST_REQUIRE(worker.net->greeting(1));
  BOOST_TEST(worker.net->greeting(1)->from == 1);
  BOOST_TEST(!master.net->greeting(6));
}

BOOST_AUTO_TEST_CASE(frames_pass_both_ways_over_the_link_and_are_counted) {
  node master{1}, worker{0};
  BOOST_TEST(master.adopt(2, worker.where) == "");
  BOOST_REQUIRE(worker.wait_for_up(1));
  for (int i = 0; i < 10; ++i) {
    BOOST_TEST(!master.send(2, "to worker " + std::to_string(i)));
    BOOST_TEST(!worker.send(1, "to master " + std::to_string(i), frame_kind::reply));
  }
  BOOST_REQUIRE(master.wait_for_frames(10));
  BOOST_REQUIRE(worker.wait_for_frames(10));
  auto last = master.seen.get().frames.back();
  BOOST_TEST(last.from == 2);
  BOOST_TEST((last.kind == frame_kind::reply));
  BOOST_TEST(worker.seen.get().frames[3].text == "to worker 3");
  auto links = master.net->links();
  BOOST_REQUIRE(links.size() == 1u);
  BOOST_TEST(links[0].peer == 2);
  BOOST_TEST(links[0].kind == "tcp");
  BOOST_TEST(links[0].frames == 20u);
  BOOST_TEST(links[0].bytes >= 20 * (32 + 8 + 11u)); // and what is about the link
}

BOOST_AUTO_TEST_CASE(a_worker_that_cannot_be_reached_is_reported_with_the_reason) {
  node master{1};
  const test::unclaimed_port nobody;
  const troupe::endpoint closed{"127.0.0.1", nobody.number()};
  auto why = master.adopt(2, closed);
  BOOST_TEST(contains(why, "cannot connect to " + closed.to_text() + ": Connection refused"), why);
  why = master.adopt(3, {"no address", 1});
  BOOST_TEST(contains(why, "'no address' is not a numeric IPv4 or IPv6 address"), why);
  BOOST_TEST(master.net->links().empty());
}

BOOST_AUTO_TEST_CASE(a_worker_that_answers_nothing_is_given_up_after_the_limit) {
  node master{1};
  test::loop_thread mute_loop; // accepts nothing: its backlog does
  std::unique_ptr<troupe::tcp_listener> mute;
  std::vector<std::unique_ptr<troupe::byte_stream>> ignored;
  mute_loop.run([&] {
    mute = std::make_unique<troupe::tcp_listener>(mute_loop.get(), "127.0.0.1", 0,
                                                  [&](std::unique_ptr<troupe::byte_stream> s) { ignored.push_back(std::move(s)); });
  });
  auto begin = std::chrono::steady_clock::now();
  auto why = master.adopt(2, mute->where(), 80ms);
  BOOST_TEST(contains(why, "sent nothing for 80 ms"), why);
  BOOST_TEST((std::chrono::steady_clock::now() - begin >= 80ms));
  mute_loop.run([&] { mute.reset(); });
}

// -- who isn't let in ---------------------------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(a_wrong_cookie_is_refused_on_both_sides_with_the_cause) { // CK-07
  node worker{0};
  {
    node stranger{1, {.cookie = "wrong cookie"}};
    auto why = stranger.adopt(2, worker.where);
    BOOST_TEST(contains(why, "it may have another cookie"), why);
    BOOST_TEST(contains(why, worker.where.to_text()), why);
  }
  BOOST_TEST(contains(worker.wait_for_refused(), "127.0.0.1:"));
  BOOST_TEST(contains(worker.wait_for_refused(), "the peer doesn't know this cluster's cookie"));
  BOOST_TEST(worker.net->id() == 0);
  BOOST_TEST(worker.seen.get().adopted.empty());
  node master{1};
  BOOST_TEST(master.adopt(2, worker.where) == ""); // it did no harm
}

BOOST_AUTO_TEST_CASE(a_cookie_can_be_set_later) {
  node master{1, {.cookie = "made up"}}, worker{0};
  master.loop.run([&] { master.net->set_cookie("right cookie"); });
  BOOST_TEST(master.net->cookie() == "right cookie");
  BOOST_TEST(master.adopt(2, worker.where) == "");
}

BOOST_AUTO_TEST_CASE(strangers_that_are_mute_or_talk_junk_are_dropped_while_links_go_on) { // CK-07, CK-08, CK-09
  node master{1};
  node worker{0, {.limit = 150ms}};
  BOOST_TEST(master.adopt(2, worker.where) == "");
  std::vector<troupe::unique_fd> mute;
  for (int i = 0; i < 100; ++i)
    mute.push_back(dial_by_hand(worker.where));
  auto junk = dial_by_hand(worker.where);
  BOOST_REQUIRE(::send(junk.get(), std::string(200, '?').data(), 200, MSG_NOSIGNAL) == 200);
  char c;
  BOOST_TEST(TEMP_FAILURE_RETRY(::recv(junk.get(), &c, 1, 0)) <= 0); // at once
  BOOST_TEST(contains(worker.wait_for_refused(), "expected a troupe preamble"));
  BOOST_TEST(!master.send(2, "meanwhile"));
  BOOST_REQUIRE(worker.wait_for_frames(1));
  for (auto& fd : mute)
    BOOST_TEST(TEMP_FAILURE_RETRY(::recv(fd.get(), &c, 1, 0)) == 0); // after the limit
  BOOST_REQUIRE(worker.seen.wait([](auto& h) { return h.refused.size() == 101; }));
  BOOST_TEST(contains(worker.wait_for_refused(), "its 150 ms were over"));
  BOOST_TEST((linked(worker) == std::vector<proc_id>{1}));
}

BOOST_AUTO_TEST_CASE(who_has_no_business_here_is_told_why) {
  auto told = [](node& dialler, proc_id to, const troupe::endpoint& where) { return dialler.adopt(to, where); };
  cluster_of_three c;
  {
    node other{9, {.cluster = 77}};
    BOOST_TEST(contains(told(other, 2, c.two.where), "the peer refused: this process belongs to another cluster"));
    BOOST_TEST(contains(c.two.wait_for_refused(), "this process belongs to another cluster"));
  }
  node nine{9};
  BOOST_TEST(contains(told(nine, 4, c.two.where), "the peer refused: this is process 2, not 4"));
  BOOST_TEST(contains(told(c.two, 3, c.three.where), "the peer refused: process 2 must be dialled, it must not dial process 3"));
  node fresh{0};
  BOOST_TEST(contains(told(nine, 4, fresh.where), "the peer refused: this worker waits for its master, process 9 is not one"));
  BOOST_TEST(fresh.net->id() == 0);
  node eight{8};
  c.two.loop.run([&] { c.two.net->mark_gone(8, troupe::make_error_info(error_kind::process_exited, "gone", 8)); });
  BOOST_TEST(contains(told(eight, 2, c.two.where), "the peer refused: process 8 has been declared lost"));
  BOOST_TEST((linked(c.two) == std::vector<proc_id>{1}));
  BOOST_TEST(told(nine, 2, c.two.where) == ""); // nine itself is welcome at two
}

// -- links between workers --------------------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(frames_that_are_sent_before_the_link_is_open_arrive_in_order) { // TP-11
  cluster_of_three c;
  for (int i = 0; i < 3000; ++i) // the first wait, the last go over the open link
    BOOST_REQUIRE(!c.three.send(2, std::to_string(i)));
  BOOST_REQUIRE(c.two.wait_for_frames(3000));
  auto frames = c.two.seen.get().frames;
  for (std::size_t i = 0; i < 3000; ++i) {
    BOOST_REQUIRE(frames[i].from == 3);
    BOOST_REQUIRE(frames[i].text == std::to_string(i));
  }
  BOOST_TEST(c.one.seen.get().dials_asked_for == 0); // the higher id dials by itself
  BOOST_TEST((linked(c.two) == master_and_three));
}

BOOST_AUTO_TEST_CASE(the_lower_id_asks_the_higher_one_to_dial) {
  cluster_of_three c;
  for (int i = 0; i < 100; ++i)
    BOOST_REQUIRE(!c.two.send(3, std::to_string(i)));
  BOOST_REQUIRE(c.three.wait_for_frames(100));
  for (std::size_t i = 0; i < 100; ++i)
    BOOST_REQUIRE(c.three.seen.get().frames[i].text == std::to_string(i));
  BOOST_TEST(c.one.seen.get().dials_asked_for == 1); // once, not for each frame
  BOOST_TEST(c.three.seen.get().dials_asked_for == 1);
  BOOST_TEST((linked(c.three) == master_and_two));
  BOOST_TEST((linked(c.one) == std::vector<proc_id>{2, 3}));
}

BOOST_AUTO_TEST_CASE(frames_of_many_threads_arrive_while_the_link_opens) {
  cluster_of_three c;
  std::vector<std::thread> senders;
  for (int t = 0; t < 8; ++t)
    senders.emplace_back([&, t] {
      for (int i = 0; i < 200; ++i)
        c.three.send(2, std::to_string(t) + ":" + std::to_string(i));
    });
  for (auto& s : senders)
    s.join();
  BOOST_REQUIRE(c.two.wait_for_frames(1600));
  std::array<int, 8> next{};
  for (auto& f : c.two.seen.get().frames) {
    auto t = static_cast<std::size_t>(f.text[0] - '0');
    BOOST_REQUIRE(f.text == std::to_string(t) + ":" + std::to_string(next[t]++));
  }
}

BOOST_AUTO_TEST_CASE(two_that_call_each_other_at_once_get_one_link) { // TP-09
  for (int round = 0; round < 15; ++round) {
    cluster_of_three c;
    std::atomic<int> ready{0};
    auto send = [&](node& from, proc_id to) {
      ++ready;
      while (ready < 2) {
      }
      for (int i = 0; i < 20; ++i)
        from.send(to, std::to_string(i));
    };
    std::thread other{[&] { send(c.three, 2); }};
    send(c.two, 3);
    other.join();
    BOOST_REQUIRE(c.two.wait_for_frames(20));
    BOOST_REQUIRE(c.three.wait_for_frames(20));
    for (auto n : {&c.two, &c.three}) {
      n->loop.settle();
      auto h = n->seen.get();
      BOOST_TEST(h.frames.size() == 20u);
      BOOST_TEST(h.frames[19].text == "19");
      BOOST_TEST(h.up.size() == 2u);
      BOOST_TEST(h.down.empty());
      BOOST_TEST(h.unreachable.empty());
      BOOST_TEST(h.refused.empty());
    }
    BOOST_TEST((linked(c.two) == master_and_three));
    BOOST_TEST((linked(c.three) == master_and_two));
  }
}

BOOST_AUTO_TEST_CASE(a_link_that_is_cut_is_opened_again_and_nothing_is_lost) { // TP-16
  cluster_of_three c;
  auto before = connections();
  c.three.send(2, "first");
  BOOST_REQUIRE(c.two.wait_for_frames(1));
  for (int fd : connections())
    if (before.count(fd) == 0)
      ::shutdown(fd, SHUT_RDWR);
  BOOST_TEST(!c.two.send(3, "by the lower"));
  BOOST_TEST(!c.three.send(2, "by the higher"));
  BOOST_REQUIRE(c.two.wait_for_down(3));
  BOOST_REQUIRE(c.three.wait_for_down(2));
  BOOST_REQUIRE(c.three.wait_for_frames(1));
  BOOST_REQUIRE(c.two.wait_for_frames(2));
  BOOST_TEST(c.two.seen.get().frames[1].text == "by the higher");
  for (auto n : {&c.two, &c.three}) {
    auto h = n->seen.get();
    BOOST_TEST(h.up.size() == 2u); // once for each process, not for each link
    BOOST_TEST(h.unreachable.empty());
    BOOST_TEST(h.lost.empty());
  }
}

BOOST_AUTO_TEST_CASE(a_link_that_is_cut_is_back_after_two_round_trips_and_the_connect) {
  cluster_of_three c;
  auto before = connections();
  c.three.send(2, "first");
  BOOST_REQUIRE(c.two.wait_for_frames(1));
  std::vector<double> micros;
  for (std::size_t i = 0; i < 100; ++i) {
    auto begin = std::chrono::steady_clock::now();
    for (int fd : connections())
      if (before.count(fd) == 0)
        ::shutdown(fd, SHUT_RDWR);
    c.three.send(2, "again");
    BOOST_REQUIRE(c.two.wait_for_frames(i + 2));
    micros.push_back(std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin).count());
  }
  std::sort(micros.begin(), micros.end());
  BOOST_TEST_MESSAGE("recovery from a cut link: median " << micros[50] << " us, with threads that wake each other");
  BOOST_TEST(c.two.seen.get().frames.size() == 101u);
  BOOST_TEST(connections().size() == before.size() + 2); // nothing is left of the old ones
}

BOOST_AUTO_TEST_CASE(what_cannot_go_directly_goes_by_way_of_the_master) {
  cluster_of_three c;
  troupe::endpoint closed;
  {
    node gone{0};
    closed = gone.where;
  }
  c.three.add(2, closed);
  BOOST_TEST(!c.three.send(2, "x"));
  BOOST_REQUIRE(c.two.wait_for_frames(1));
  BOOST_TEST(!c.two.send(3, "y"));
  BOOST_REQUIRE(c.three.wait_for_frames(1));
  BOOST_TEST((linked(c.two) == std::vector<proc_id>{1})); // direct links only
  c.three.add(2, c.two.where);
  while (linked(c.three) != master_and_two) // as soon as there can be one, it is used
    std::this_thread::sleep_for(1ms);
  BOOST_TEST(!c.three.send(2, "directly"));
  BOOST_REQUIRE(c.two.wait_for_frames(2));
  BOOST_TEST(c.two.seen.get().frames[1].text == "directly");
}

BOOST_AUTO_TEST_CASE(connecting_to_who_is_linked_already_changes_nothing) {
  cluster_of_three c;
  c.three.connect(2);
  BOOST_REQUIRE(c.three.wait_for_up(2));
  BOOST_REQUIRE(c.two.wait_for_up(3));
  for (int i = 0; i < 3; ++i) {
    c.three.connect(2);
    c.two.connect(3);
  }
  c.three.send(2, "x");
  BOOST_REQUIRE(c.two.wait_for_frames(1));
  BOOST_TEST(c.three.seen.get().up.size() == 2u);
  BOOST_TEST(c.one.seen.get().dials_asked_for == 0);
}

// -- who can't be reached -----------------------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(a_worker_that_is_dialled_in_vain_is_reported_with_both_ends) { // TP-12
  cluster_of_three c;
  troupe::endpoint closed;
  {
    node gone{0};
    closed = gone.where;
  }
  c.one.loop.run([&] { c.one.net->mark_gone(2, troupe::make_error_info(error_kind::process_exited, "gone", 2)); }); // no relay
  c.three.add(2, closed);
  BOOST_TEST(!c.three.send(2, "x"));
  auto why = c.three.wait_for_unreachable();
  BOOST_TEST((why.kind == error_kind::not_connected));
  BOOST_TEST(why.pid == 2);
  BOOST_TEST((why.pids == std::vector<proc_id>{3, 2}));
  BOOST_TEST(contains(why.message, "process 3 is not connected to process 2: cannot connect to " + closed.to_text()), why.message);
  c.three.add(2, c.two.where); // what waited has been dropped, and the next one tries again
  BOOST_TEST(!c.three.send(2, "y"));
  BOOST_REQUIRE(c.two.wait_for_frames(1));
  BOOST_TEST(c.two.seen.get().frames[0].text == "y");
}

BOOST_AUTO_TEST_CASE(who_is_asked_to_dial_and_does_not_is_given_up_after_the_limit) {
  cluster_of_three c{400ms};
  c.two.add(4, {"127.0.0.1", 1});
  auto begin = std::chrono::steady_clock::now();
  BOOST_TEST(!c.two.send(4, "x")); // the master can't pass it on: it knows no process 4
  auto why = c.two.wait_for_unreachable();
  BOOST_TEST((std::chrono::steady_clock::now() - begin >= 400ms));
  BOOST_TEST((why.kind == error_kind::not_connected));
  BOOST_TEST(contains(why.message, "it didn't dial this process"), why.message);
}

BOOST_AUTO_TEST_CASE(without_a_master_nobody_can_be_asked_to_dial) {
  node two{2};
  two.add(3, {"127.0.0.1", 1});
  two.loop.run([&] { two.net->mark_gone(1, troupe::make_error_info(error_kind::process_exited, "gone", 1)); });
  BOOST_TEST(!two.send(3, "x"));
  BOOST_TEST(contains(two.wait_for_unreachable().message, "there is no link to the master"));
}

BOOST_AUTO_TEST_CASE(the_master_knows_at_once_that_a_process_is_unknown) {
  node master{1};
  for (proc_id id : {99, 0, -1}) {
    auto why = master.send(id, "x");
    BOOST_REQUIRE(why);
    BOOST_TEST((why->kind == error_kind::unknown_process));
    BOOST_TEST(why->pid == id);
    BOOST_TEST(why->message == "there is no process " + std::to_string(id) + " in this cluster");
    BOOST_TEST(!master.net->knows(id));
  }
  BOOST_TEST(master.net->knows(1));
}

BOOST_AUTO_TEST_CASE(a_worker_learns_after_a_while_that_a_process_is_unknown) {
  cluster_of_three c{400ms};
  auto begin = std::chrono::steady_clock::now();
  BOOST_TEST(!c.two.send(99, "x"));
  BOOST_TEST(!c.two.send(99, "y"));
  auto why = c.two.wait_for_unreachable();
  BOOST_TEST((std::chrono::steady_clock::now() - begin >= 100ms));
  BOOST_TEST((why.kind == error_kind::unknown_process));
  BOOST_TEST(why.pid == 99);
  BOOST_TEST(!c.two.send(99, "z")); // and again
  BOOST_TEST((c.two.wait_for_unreachable(2).kind == error_kind::unknown_process));
  BOOST_TEST(c.two.seen.get().unreachable.size() == 2u);
  BOOST_REQUIRE(c.two.send(0, "never anybody"));
}

BOOST_AUTO_TEST_CASE(what_is_sent_before_the_news_of_a_process_waits_for_them) {
  node one{1}, two{0}, three{0};
  BOOST_REQUIRE(one.adopt(2, two.where) == "");
  BOOST_REQUIRE(one.adopt(3, three.where) == "");
  three.wait_for_up(1);
  BOOST_TEST(!three.send(2, "a"));
  BOOST_TEST(!three.send(2, "b"));
  three.loop.settle();
  BOOST_TEST((linked(three) == std::vector<proc_id>{1}));
  three.add(2, two.where);
  BOOST_REQUIRE(two.wait_for_frames(2));
  BOOST_TEST(two.seen.get().frames[1].text == "b");
}

BOOST_AUTO_TEST_CASE(who_is_marked_gone_gets_nothing_more_and_the_first_cause_stays) {
  cluster_of_three c;
  c.three.send(2, "x");
  BOOST_REQUIRE(c.two.wait_for_frames(1));
  c.three.loop.run([&] {
    c.three.net->mark_gone(2, troupe::make_error_info(error_kind::process_exited, "was killed", 2));
    c.three.net->mark_gone(2, troupe::make_error_info(error_kind::process_exited, "another cause", 2));
  });
  auto why = c.three.send(2, "y");
  BOOST_REQUIRE(why);
  BOOST_TEST(why->message == "was killed");
  BOOST_REQUIRE(c.three.net->gone(2));
  BOOST_TEST(c.three.net->gone(2)->message == "was killed");
  BOOST_TEST(!c.three.net->gone(1));
  BOOST_TEST(c.three.net->knows(2));
  BOOST_REQUIRE(c.two.wait_for_down(3)); // the other side sees its link end
  BOOST_TEST((linked(c.three) == std::vector<proc_id>{1}));
  c.three.connect(2);
  c.three.loop.settle();
  BOOST_TEST(c.three.seen.get().down.empty());
  BOOST_TEST(c.two.seen.get().frames.size() == 1u);
}

BOOST_AUTO_TEST_CASE(who_goes_while_frames_wait_for_it_is_not_reported_twice) {
  cluster_of_three c{400ms};
  c.two.add(4, {"127.0.0.1", 1});
  BOOST_TEST(!c.two.send(4, "x")); // waits until the limit
  c.two.loop.settle();
  c.two.loop.run([&] { c.two.net->mark_gone(4, troupe::make_error_info(error_kind::process_exited, "gone", 4)); });
  BOOST_TEST(!c.two.send(98, "x")); // unknown: given up after a quarter of the limit, four times
  for (std::size_t i = 1; i <= 5; ++i) {
    c.two.wait_for_unreachable(i);
    c.two.send(98, "x");
  }
  for (auto& [id, why] : c.two.seen.get().unreachable)
    BOOST_TEST(id == 98);
}

// -- the end ------------------------------------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(a_mesh_that_closes_ends_its_links_and_lets_nobody_in) {
  cluster_of_three c;
  c.three.send(2, "last words");
  c.three.loop.run([&] { c.three.net->close(); });
  BOOST_REQUIRE(c.one.wait_for_down(3));
  BOOST_TEST(c.three.net->links().empty());
  BOOST_TEST(c.three.seen.get().down.empty());
  BOOST_TEST((linked(c.one) == std::vector<proc_id>{2}));
  node stranger{9};
  BOOST_TEST(contains(stranger.adopt(3, c.three.where), "Connection refused"));
}
