// Ends in many ways, while its workers are busy in many ways.
#include <troupe/actors.hpp>
#include <troupe/troupe.hpp>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <map>
#include <stdexcept>
#include <string>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

using namespace std::chrono_literals;
using troupe::here;

namespace {

volatile double sink = 0;

void spin(int seconds) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds{seconds};
  while (std::chrono::steady_clock::now() < until)
    sink = sink + 1;
}

void nap() { troupe::this_task::sleep_for(60s); }

// Lines until somebody ends it.
void chatter() {
  for (int i = 0;; ++i)
    std::printf("line %d of a worker that talks\n", i);
}

// More than the next worker ever deals with: this one waits for room.
void flood(troupe::proc_id next) {
  while (true)
    here().remote_do(next, [](const std::vector<char>&) { spin(60); }, std::vector<char>(10'000));
}

caf::behavior idle(caf::event_based_actor*) {
  return {[](int n) { return n; }};
}

caf::behavior spinning(caf::event_based_actor*) {
  return {[](int n) { spin(n); }};
}

// In one piece: lines of workers come between.
void say(const std::string& line) { std::cout << line + '\n' << std::flush; }

void ready() { say("ready: yes"); }

void started_on(troupe::cluster& c) {
  for (auto id : c.workers())
    say("pid of " + std::to_string(id) + ": " + std::to_string(c.info(id).os_pid));
  ready();
}

// -- what the workers do meanwhile -----------------------------------------------------------------

void keep_busy(troupe::cluster& c, const std::string& how) {
  if (how == "mixed") { // one is left idle
    c.remote_do<spin>(2, 60);
    c.remote_do<chatter>(3);
    c.remote_do<nap>(4);
  }
  for (auto id : c.workers()) {
    if (how == "spin")
      c.remote_do<spin>(id, 60);
    else if (how == "nap")
      c.remote_do<nap>(id);
    else if (how == "chatter")
      c.remote_do<chatter>(id);
    else if (how == "flood")
      c.remote_do<flood>(id, id == c.workers().back() ? c.workers().front() : id + 1);
    else if (how == "actors") {
      c.spawn<idle>(id);
      caf::anon_send(c.spawn<spinning>(id), 60);
    }
  }
  if (how == "actors")
    c.spawn<idle>(1);
}

// -- how the master ends ---------------------------------------------------------------------------

int returns(troupe::cluster& c) {
  started_on(c);
  return 3;
}

int throws(troupe::cluster& c) {
  started_on(c);
  try {
    throw std::invalid_argument{"the inner problem"};
  } catch (...) {
    std::throw_with_nested(std::runtime_error{"the outer problem"});
  }
}

int throws_a_number(troupe::cluster& c) {
  started_on(c);
  throw 42;
}

int fails_remotely(troupe::cluster& c) {
  started_on(c);
  c.remotecall_fetch(2, []() -> int { throw std::out_of_range{"no such cell"}; });
  return 0;
}

int exits(troupe::cluster& c) {
  started_on(c);
  std::exit(9);
}

int exits_at_once(troupe::cluster& c) {
  started_on(c);
  ::_exit(9);
}

int aborts(troupe::cluster& c) {
  started_on(c);
  std::abort();
}

int fetches(troupe::cluster& c) {
  auto f = c.remotecall<nap>(2);
  started_on(c);
  f.fetch();
  return 0;
}

int fetches_and_catches(troupe::cluster& c) {
  auto f = c.remotecall<nap>(2);
  started_on(c);
  try {
    f.fetch();
  } catch (const troupe::interrupted& e) {
    say(std::string{"caught: "} + e.what());
    say("a call afterwards: " + std::to_string(c.remotecall_fetch(3, [] { return 42; })));
    return 5;
  }
  return 0;
}

int computes(troupe::cluster& c) {
  started_on(c);
  spin(60);
  return 0;
}

int sleeps(troupe::cluster& c) {
  started_on(c);
  ::sleep(60);
  return 0;
}

int adds(troupe::cluster& c) {
  ready();
  troupe::local_options o;
  o.exename = "/bin/sh";
  o.exeflags = {"-c", "sleep 100", "sh"};
  c.addprocs(2, o);
  return 0;
}

// One of two tells an address where nobody answers, the other none.
int adds_mute_ones(troupe::cluster& c) {
  const int s = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  ::sockaddr_in where{};
  where.sin_family = AF_INET;
  where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ::socklen_t size = sizeof where;
  if (::bind(s, reinterpret_cast<::sockaddr*>(&where), size) != 0 || ::listen(s, 1) != 0
      || ::getsockname(s, reinterpret_cast<::sockaddr*>(&where), &size) != 0)
    return 1;
  troupe::local_options o;
  o.exename = "/bin/sh";
  o.exeflags = {"-c", "mkdir \"$0\" 2>/dev/null && echo troupe_worker:$1#127.0.0.1; sleep 100", std::getenv("FIRST"),
                std::to_string(ntohs(where.sin_port))};
  ready();
  c.addprocs(2, o);
  return 0;
}

// -- output ----------------------------------------------------------------------------------------

// A worker writes 10 MB without an end of line, and answers calls meanwhile.
int prints_one_line(troupe::cluster& c) {
  auto f = c.remotecall(2, [] {
    const std::string piece(1000, 'x');
    for (int i = 0; i < 10000; ++i)
      std::fputs(piece.c_str(), stdout);
    std::fflush(stdout);
  });
  int n = 0;
  while (!f.isready())
    n += c.remotecall_fetch(2, troupe::direct([] { return 1; }));
  f.fetch();
  ready();
  std::fprintf(stderr, "calls meanwhile: %d\n", n);
  return 0;
}

// Workers write lines that nobody reads, and are called meanwhile.
int prints_to_nobody(troupe::cluster& c) {
  started_on(c);
  c.remote_do<chatter>(2);
  int n = 0;
  const auto until = std::chrono::steady_clock::now() + 1s;
  while (std::chrono::steady_clock::now() < until)
    n += c.remotecall_fetch(3, [] { return 1; }) + c.remotecall_fetch(2, troupe::direct([] { return 1; }));
  std::fprintf(stderr, "calls meanwhile: %d\n", n); // std::cerr would wait for std::cout
  return 0;
}

} // namespace

int main(int argc, char** argv) {
  const std::map<std::string, int (*)(troupe::cluster&)> ends = {{"return", returns},
                                                                 {"throw", throws},
                                                                 {"throw a number", throws_a_number},
                                                                 {"fail remotely", fails_remotely},
                                                                 {"exit", exits},
                                                                 {"_exit", exits_at_once},
                                                                 {"abort", aborts},
                                                                 {"fetch", fetches},
                                                                 {"fetch and catch", fetches_and_catches},
                                                                 {"compute", computes},
                                                                 {"sleep", sleeps},
                                                                 {"add", adds},
                                                                 {"add mute ones", adds_mute_ones},
                                                                 {"print one line", prints_one_line},
                                                                 {"print to nobody", prints_to_nobody}};
  troupe::app app{"faults_endings", "Ways to end"};
  std::string end;
  std::string busy;
  app.option("--end", end, "how the program ends");
  app.option("--busy", busy, "what workers do meanwhile");
  return app.run(argc, argv, [&](troupe::cluster& c) {
    if (!busy.empty())
      keep_busy(c, busy);
    return ends.at(end)(c);
  });
}
