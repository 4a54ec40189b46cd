// Workers die in the midst of work. Prints what their callers, and the others, see of it.
#include <troupe/actors.hpp>
#include <troupe/troupe.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <map>
#include <mutex>
#include <thread>
#include <unistd.h>

using namespace std::chrono_literals;
using troupe::here;
using troupe::proc_id;

namespace {

std::function<void()> late_answer; // on the master

void nap() { troupe::this_task::sleep_for(60s); }

[[noreturn]] void die(std::string how) {
  std::fprintf(stderr, "first line\nmy last words\n");
  if (how == "status 0")
    std::exit(0);
  if (how == "status 7")
    ::_exit(7);
  if (how == "abort")
    std::abort();
  if (how == "segfault")
    ::raise(SIGSEGV);
  if (how == "leaving a child") // which holds the worker's streams
    static_cast<void>(!std::system("sleep 100 &"));
  ::kill(::getpid(), SIGKILL);
  std::abort();
}

// Calls another worker until the clock of this host says so, and tells how many calls went well.
int call_for(proc_id other, int milliseconds) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds{milliseconds};
  int n = 0;
  while (std::chrono::steady_clock::now() < until)
    n += here().remotecall_fetch(other, [] { return 1; });
  return n;
}

struct answers {
  std::mutex mutex;
  std::map<std::string, int> counts; // what came, and how often
  std::string text;                  // of one of them

  template <class Wait>
  void take(Wait wait) {
    std::string what = "a value";
    std::string said;
    try {
      wait();
    } catch (const troupe::process_exited& e) {
      what = "process_exited, worker " + std::to_string(e.pid()) + ", status " + std::to_string(e.cause().status) + ", signal "
             + std::to_string(e.cause().signal) + (e.cause().stderr_tail.find("my last words") != std::string::npos ? ", last words" : "")
             + (e.cause().host.empty() ? "" : ", host");
      said = e.what();
    } catch (const std::exception& e) {
      what = said = e.what();
    }
    std::replace(what.begin(), what.end(), '\n', '|');
    std::lock_guard guard{mutex};
    ++counts[what];
    text = said;
  }

  void print(const char* name) {
    for (auto& [what, n] : counts)
      std::cout << name << ": " << n << " x " << what << '\n';
  }
};

std::string list(const std::vector<proc_id>& ids) {
  std::string out;
  for (auto id : ids)
    out += (out.empty() ? "" : " ") + std::to_string(id);
  return out;
}

void print_views(troupe::cluster& c) {
  for (auto id : c.procs())
    std::cout << "procs on " << id << ": " << list(c.remotecall_fetch(id, [] { return here().procs(); })) << '\n';
}

auto now() { return std::chrono::steady_clock::now(); }

int ms_since(std::chrono::steady_clock::time_point begin) {
  return static_cast<int>(std::chrono::duration_cast<std::chrono::milliseconds>(now() - begin).count());
}

// 100 callers wait for worker 2, workers 3 and 4 call each other, and worker 3 calls worker 2.
int calls(troupe::cluster& c, const std::string& how) {
  answers got;
  answers nested;
  std::vector<std::thread> threads;
  std::atomic<int> open{0};
  auto between = c.remotecall<call_for>(3, 4, 1200);
  auto from_worker = c.remotecall(3, [] { here().remotecall_wait<nap>(2); });
  for (int t = 0; t < 10; ++t)
    threads.emplace_back([&, t] {
      std::vector<troupe::future<void>> futures;
      for (int i = 0; i < 9; ++i)
        futures.push_back(c.remotecall<nap>(2));
      open += 9;
      std::thread other{[&] {
        ++open;
        got.take([&] {
          if (t % 2 == 0)
            c.remotecall_fetch<nap>(2);
          else
            c.remotecall_wait<nap>(2);
        });
      }};
      for (auto& f : futures)
        got.take([&] { f.wait(); });
      other.join();
    });
  while (open < 100)
    std::this_thread::sleep_for(1ms);
  c.remotecall_wait(2, [] {}); // tasks start in order: those before have started
  std::cout << "open: " << open << std::endl;
  const auto begin = now();
  c.remote_do<die>(2, how);
  for (auto& t : threads)
    t.join();
  nested.take([&] { from_worker.wait(); });
  std::cout << "ms: " << ms_since(begin) << '\n';
  got.print("calls");
  nested.print("nested");
  std::cout << "text: " << got.text << '\n';
  print_views(c);
  answers later;
  const auto begin_later = now();
  for (int i = 0; i < 3; ++i)
    later.take([&] { c.remotecall_fetch<nap>(2); });
  later.take([&] { c.remotecall_fetch(3, [] { here().remotecall_wait<nap>(2); }); });
  later.print("later");
  std::cout << "later ms: " << ms_since(begin_later) << '\n';
  const auto info = c.info(2);
  std::cout << "info: " << (info.state == troupe::process_state::terminated ? "terminated, " : "not terminated, ")
            << (info.cause ? info.cause->to_text() : "no cause") << '\n';
  std::cout << "calls between survivors: " << between.fetch() << '\n';
  return 0;
}

// Calls are made all the time while worker 2 dies: no error but one.
int flood(troupe::cluster& c, const std::string& how) {
  answers got;
  std::vector<std::thread> threads;
  std::atomic<bool> stop{false};
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      while (!stop)
        got.take([&] { c.remotecall_fetch(2, [] { return 1; }); });
    });
  while (true) {
    std::this_thread::sleep_for(1ms);
    std::lock_guard guard{got.mutex};
    if (got.counts["a value"] > 200)
      break;
  }
  c.remote_do<die>(2, how);
  while (true) {
    std::this_thread::sleep_for(1ms);
    std::lock_guard guard{got.mutex};
    if (got.counts.size() > 1)
      break;
  }
  stop = true;
  for (auto& t : threads)
    t.join();
  got.print("flood");
  return 0;
}

struct watcher_state {
  std::string seen;
};

// Answers nobody; but an int has its process die.
caf::behavior mute(caf::stateful_actor<int>* self) {
  return {[=](std::string) { return self->make_response_promise<int>(); }, [=](int) { die("signal 9"); }};
}

// Waits for an actor that doesn't answer, monitors it, and tells what it has heard.
caf::behavior watcher(caf::stateful_actor<watcher_state>* self, caf::actor other) {
  self->set_down_handler([=](caf::down_msg& m) { self->state.seen += "down: " + self->system().render(m.reason) + '\n'; });
  self->monitor(other);
  self->request(other, caf::infinite, std::string{"hello"})
    .then([=](int) { self->state.seen += "an answer\n"; },
          [=](caf::error& e) { self->state.seen += "no answer: " + self->system().render(e) + '\n'; });
  return {[=](bool) { return self->state.seen; }};
}

void wait_until_seen(troupe::cluster& c, const std::vector<caf::actor>& watchers) {
  for (auto& w : watchers) {
    std::string seen;
    do
      seen = c.request<std::string>(w, true);
    while (seen.find("down") == std::string::npos || seen.find("no answer") == std::string::npos);
    std::cout << "watcher: " << seen;
  }
}

int actors(troupe::cluster& c, const std::string& how) {
  auto victim = c.spawn<mute>(2);
  std::vector<caf::actor> watchers{c.spawn<watcher>(1, victim), c.spawn<watcher>(3, victim)};
  for (auto& w : watchers)
    c.request<std::string>(w, true); // it waits now
  answers got;
  std::thread asker{[&] { got.take([&] { c.request<int>(victim, std::string{"hello"}); }); }};
  auto from_worker = c.remotecall(3, [](caf::actor a) { here().request<int>(a, std::string{"hello"}); }, victim);
  c.request<std::string>(watchers[1], true);
  const auto begin = now();
  c.remote_do<die>(2, how);
  asker.join();
  got.take([&] { from_worker.wait(); });
  wait_until_seen(c, watchers);
  std::cout << "ms: " << ms_since(begin) << '\n';
  got.print("requests");
  answers later;
  later.take([&] { c.request<int>(victim, std::string{"hello"}); });
  later.take([&] { c.worker(2); });
  later.take([&] { c.spawn<mute>(2); });
  later.print("later");
  return 0;
}

// Removal ends what the worker was asked, as its death would, but says nothing.
int removal(troupe::cluster& c, const std::string&) {
  answers got;
  auto open = c.remotecall<nap>(2);
  auto from_worker = c.remotecall(3, [] { here().remotecall_wait<nap>(2); });
  std::atomic<bool> answered{false};
  late_answer = [&] { answered = true; };
  c.remote_do(2, [] {
    here().remotecall_wait(1, [] {
      troupe::this_task::sleep_for(500ms);
      late_answer();
    });
  });
  c.remotecall_wait(2, [] {});
  const auto begin = now();
  std::thread remover{[&] { c.rmprocs(2); }};
  got.take([&] { open.wait(); });
  got.take([&] { from_worker.wait(); });
  remover.join();
  std::cout << "ms: " << ms_since(begin) << '\n';
  got.print("removed");
  print_views(c);
  while (!answered)
    troupe::this_task::sleep_for(1ms);
  c.remotecall_wait(1, [] {}); // comes after the answer that nobody waits for
  return 0;
}

} // namespace

int main(int argc, char** argv) {
  const std::map<std::string, int (*)(troupe::cluster&, const std::string&)> scenes = {
    {"calls", calls}, {"flood", flood}, {"actors", actors}, {"removal", removal}};
  troupe::app app{"faults_deaths", "Workers that die"};
  std::string scene = "calls";
  std::string how = "signal 9";
  app.option("--scene", scene, "what they are doing");
  app.option("--how", how, "how they die");
  return app.run(argc, argv, [&](troupe::cluster& c) { return scenes.at(scene)(c, how); });
}
