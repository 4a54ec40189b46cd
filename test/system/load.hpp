#pragma once

/// A cluster under load, for tests that break it meanwhile.

#include "system/load_actors.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <functional>
#include <map>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace load {

using namespace std::chrono_literals;

/// Threads of the master that call, ask and send all the time. Each of their calls must end with the right value, or with the loss
/// of a process that it involves and that was condemned before; what else happens is a complaint.
class generator {
public:
  /// Begins with the workers that it is given by `join`.
  generator(troupe::cluster& c, unsigned seed, int threads = 3) : cluster_(c), slots_(static_cast<std::size_t>(threads)) {
    for (auto& s : slots_)
      s.thread = std::thread{[this, &s, seed = ++seed] { work(s, seed); }};
  }

  /// Blocks until all calls have ended.
  ~generator() {
    stopping_ = true;
    for (auto& s : slots_)
      s.thread.join();
  }

  generator(const generator&) = delete;
  generator& operator=(const generator&) = delete;

  /// Gives new workers their part. They must not be broken until this returns.
  void join(const std::vector<proc_id>& ids) {
    for (auto id : ids) {
      const auto mine = cluster_.spawn<clerk>(id);
      for (auto& [other, theirs] : members()) {
        cluster_.request<void>(mine, meet_atom::value, other, theirs);
        cluster_.request<void>(theirs, meet_atom::value, id, mine);
      }
      std::lock_guard guard{mutex_};
      members_[id] = mine;
    }
  }

  /// To be called before a worker is ended: from now on, what involves it may fail.
  void condemn(proc_id id) {
    std::lock_guard guard{mutex_};
    condemned_.insert(id);
    fresh_.insert(id);
  }

  /// Those that were condemned are gone: nothing new involves them. Waits until the others' actors have heard of each end, once, and
  /// of no other, and until what they had sent to each other has arrived. Empty, or what is wrong after the limit.
  std::string bury(std::chrono::milliseconds limit) {
    std::set<proc_id> dead;
    {
      std::lock_guard guard{mutex_};
      dead.swap(fresh_);
      for (auto id : dead)
        members_.erase(id);
    }
    const auto living = members();
    const auto until = clock::now() + limit;
    const auto before = all_books(living);
    std::string wrong;
    do {
      wrong = compare(before, all_books(living), dead);
    } while (!wrong.empty() && clock::now() < until);
    for (auto& [id, actor] : living)
      for (auto d : dead)
        cluster_.request<void>(actor, part_atom::value, d);
    return wrong;
  }

  std::map<proc_id, caf::actor> members() const {
    std::lock_guard guard{mutex_};
    return members_;
  }

  /// Waits until each thread has ended what it was at, and has come so many calls further. Empty, or what they still wait for
  /// after the limit.
  std::string catch_up(std::chrono::milliseconds limit, number calls = 1) {
    std::unique_lock lock{mutex_};
    std::vector<number> begun;
    for (auto& s : slots_)
      begun.push_back(s.calls);
    const auto done = progress_.wait_for(lock, limit, [&] {
      for (std::size_t i = 0; i < slots_.size(); ++i)
        if (slots_[i].calls < begun[i] + calls)
          return false;
      return true;
    });
    return done ? "" : "calls that don't end:\n" + list();
  }

  /// What the threads wait for, a line each.
  std::string open_calls() const {
    std::lock_guard guard{mutex_};
    return list();
  }

  /// What has gone wrong by now: the first few.
  std::vector<std::string> complaints() const {
    std::lock_guard guard{mutex_};
    return complaints_;
  }

  number right() const { return right_; }
  number lost() const { return lost_; }

private:
  using clock = std::chrono::steady_clock;
  using random = std::mt19937;

  struct slot {
    number calls = 0; // that have ended
    std::string what = "nothing";
    clock::time_point begin = clock::now();
    std::thread thread;
  };

  std::string list() const {
    std::string out;
    for (auto& s : slots_)
      out += "  for " + std::to_string((clock::now() - s.begin) / 1ms) + " ms: " + s.what + '\n';
    return out;
  }

  using all_of_them = std::map<proc_id, books>;

  all_of_them all_books(const std::map<proc_id, caf::actor>& living) {
    all_of_them out;
    for (auto& [id, actor] : living)
      out[id] = cluster_.request<books>(actor, show_atom::value);
    return out;
  }

  static number at(const std::map<proc_id, number>& m, proc_id id) {
    const auto i = m.find(id);
    return i == m.end() ? 0 : i->second;
  }

  static std::string compare(const all_of_them& before, const all_of_them& now, const std::set<proc_id>& dead) {
    std::string wrong;
    for (auto& [id, b] : now) {
      const auto who = "process " + std::to_string(id) + ": ";
      if (!b.wrong.empty())
        wrong += who + b.wrong + '\n';
      for (auto d : dead)
        if (!b.ends.contains(d))
          wrong += who + "the end of the actor on " + std::to_string(d) + " was not reported\n";
      for (auto& [other, times] : b.ends)
        if (times != 1 || !dead.contains(other))
          wrong += who + "the end of the actor on " + std::to_string(other) + " was reported " + std::to_string(times) + " times\n";
      for (auto& [other, theirs] : before)
        if (at(b.received, other) < at(theirs.sent, id))
          wrong += who + "has note " + std::to_string(at(b.received, other)) + " of " + std::to_string(at(theirs.sent, id))
                   + " from process " + std::to_string(other) + '\n';
    }
    return wrong;
  }

  void work(slot& s, unsigned seed) {
    random dice{seed};
    while (!stopping_) {
      const auto all = members();
      if (all.empty()) {
        std::this_thread::sleep_for(1ms);
        continue;
      }
      const auto any = [&] { return *std::next(all.begin(), dice() % all.size()); };
      call(s, dice, any(), any());
    }
  }

  // One call of one kind, which involves one or two workers.
  void call(slot& s, random& dice, const std::pair<const proc_id, caf::actor>& one, const std::pair<const proc_id, caf::actor>& two) {
    const auto q = mix(++question_);
    const auto a = one.first;
    const auto b = two.first;
    // now and then what doesn't fit into one read
    const auto data = data_for(q, dice() % 20 == 0 ? 40000 : dice() % 200);
    switch (dice() % 6) {
      case 0:
        return attempt(s, "a call", {a}, [&] { return cluster_.remotecall_fetch<answer>(a, q, data) == right_answer(a, q, data); });
      case 1:
        return attempt(s, "a call within a call", {a, b},
                       [&] { return cluster_.remotecall_fetch<ask>(a, b, q, data) == right_answer(b, q, data); });
      case 2: {
        const std::vector<proc_id> all{b, 1, a, b, b};
        return attempt(s, "futures in a task", {a, b},
                       [&] { return cluster_.remotecall_fetch<ask_all>(a, all, q) == right_answer_of_all(all, q); });
      }
      case 3:
        return attempt(s, "many calls at once", {a, b}, [&] {
          call_many(a, b, q);
          return true;
        });
      case 4:
        return attempt(s, "a request of an actor", {a, b}, [&] { return pass(one, b, q); });
      default:
        return attempt(s, "messages between actors", {a, b}, [&] {
          if (a != b)
            cluster_.request<void>(one.second, write_atom::value, b, 10);
          return true;
        });
    }
  }

  void call_many(proc_id a, proc_id b, number q) {
    std::vector<troupe::future<number>> open(20);
    const auto where = [&](number i) { return i % 2 == 0 ? a : b; };
    const auto each = [&](auto what) {
      for (number i = 0; i < open.size(); ++i)
        judge("one of many calls to process " + std::to_string(where(i)), {where(i)}, [&] { return what(i); });
    };
    each([&](number i) {
      open[i] = cluster_.remotecall<answer>(where(i), q + i, numbers{});
      return true;
    });
    each([&](number i) { return !open[i].valid() || open[i].fetch() == right_answer(where(i), q + i, {}); });
  }

  // An actor asks another. Whether the answer was right; throws nothing for one that died with the other's process.
  bool pass(const std::pair<const proc_id, caf::actor>& one, proc_id b, number q) {
    if (one.first == b)
      return cluster_.request<number>(one.second, ask_atom::value, q) == right_answer(b, q, {});
    const auto got = cluster_.request<outcome>(one.second, pass_atom::value, b, q);
    if (got.error.empty())
      return got.value == right_answer(b, q, {});
    const auto names_it = got.error.find("orker " + std::to_string(b) + " ") != std::string::npos;
    if (!is_condemned(b) || !names_it)
      complain("a request of an actor to process " + std::to_string(b) + " ended with: " + got.error);
    else
      ++lost_;
    return true;
  }

  template <class Call>
  void attempt(slot& s, const std::string& kind, const std::vector<proc_id>& involved, Call succeeds) {
    auto what = kind;
    for (auto id : involved)
      what += (id == involved.front() ? ", process " : " and ") + std::to_string(id);
    {
      std::lock_guard guard{mutex_};
      s.what = what;
      s.begin = clock::now();
    }
    judge(what, involved, succeeds);
    std::lock_guard guard{mutex_};
    ++s.calls;
    progress_.notify_all();
  }

  template <class Call>
  void judge(const std::string& what, const std::vector<proc_id>& involved, Call succeeds) {
    try {
      if (succeeds())
        ++right_;
      else
        complain(what + ": a wrong answer");
    } catch (const troupe::process_exited& e) {
      ++lost_;
      if (std::find(involved.begin(), involved.end(), e.pid()) == involved.end() || !is_condemned(e.pid()))
        complain(what + ": " + e.what());
    } catch (const std::exception& e) {
      complain(what + ": " + e.what());
    }
  }

  bool is_condemned(proc_id id) const {
    std::lock_guard guard{mutex_};
    return condemned_.contains(id);
  }

  void complain(std::string text) {
    std::lock_guard guard{mutex_};
    if (complaints_.size() < 8)
      complaints_.push_back(std::move(text));
  }

  troupe::cluster& cluster_;
  std::atomic<bool> stopping_{false};
  std::atomic<number> question_{0};
  std::atomic<number> right_{0};
  std::atomic<number> lost_{0};
  mutable std::mutex mutex_; // guards what follows
  std::condition_variable progress_;
  std::map<proc_id, caf::actor> members_;
  std::set<proc_id> condemned_;
  std::set<proc_id> fresh_; // of these, since the last burial
  std::vector<std::string> complaints_;
  std::vector<slot> slots_;
};

} // namespace load
