#define BOOST_TEST_MODULE references
#include <boost/test/unit_test.hpp>

#include "actors/waiting.hpp"

#include "troupe/actors/owned_references.hpp"
#include "troupe/actors/references.hpp"

#include <atomic>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <thread>
#include <vector>

using troupe::held_reference_ptr;
using troupe::proc_id;
using troupe::ref_id;
using origin = troupe::references::origin;

namespace {

// -- one process ------------------------------------------------------------------------------------------------------------

struct told {
  proc_id owner;
  troupe::count_news what;
};

// Notes what it tells.
struct process {
  explicit process(proc_id id = 1) {
    troupe::references::settings s;
    s.id = id;
    s.send = [this, id](proc_id owner, troupe::frame_builder& f) {
      const auto& bytes = f.finish_whole();
      troupe::reader in{std::span{bytes}.subspan(sizeof(troupe::frame_header))};
      std::lock_guard guard{mutex};
      while (in.left() > 0)
        all.push_back({owner, troupe::count_news::read(in, id)});
    };
    s.flush_soon = [this] { ++flushes; };
    s.ask = [](proc_id, troupe::frame_builder&, auto, bool) { return std::uint64_t{0}; };
    s.forget = [](std::uint64_t) {};
    refs = std::make_shared<troupe::references>(std::move(s));
  }

  std::vector<told> news() {
    refs->flush();
    std::lock_guard guard{mutex};
    return std::exchange(all, {});
  }

  std::mutex mutex;
  std::vector<told> all;
  std::atomic<int> flushes{0};
  std::shared_ptr<troupe::references> refs;
};

using kind = troupe::count_news::kind;

} // namespace

// RF-03
BOOST_AUTO_TEST_CASE(numbers_are_drawn_once_by_any_thread) {
  process p;
  std::vector<std::vector<ref_id>> drawn(8);
  std::vector<std::thread> threads;
  for (auto& mine : drawn)
    threads.emplace_back([&] {
      for (int i = 0; i < 1000; ++i)
        mine.push_back(p.refs->next(3));
    });
  for (auto& t : threads)
    t.join();
  std::set<std::uint64_t> all;
  for (auto& mine : drawn)
    for (auto& id : mine) {
      BOOST_TEST((id.whence == 1 && id.where == 3));
      all.insert(id.id);
    }
  BOOST_TEST(all.size() == 8000u);
  BOOST_TEST(*all.begin() == 1u);
}

BOOST_AUTO_TEST_CASE(numbers_of_what_lives_on_one_process_follow_each_other) {
  process p;
  std::map<troupe::proc_id, std::vector<std::uint64_t>> drawn;
  for (std::uint64_t i = 0; i < 2 * troupe::references::ids_at_once; ++i)
    for (troupe::proc_id where = 2; where < 20; ++where)
      drawn[where].push_back(p.refs->next(where).id);
  std::set<std::uint64_t> all;
  for (auto& [where, ids] : drawn) {
    all.insert(ids.begin(), ids.end());
    int gaps = 0;
    for (std::size_t i = 1; i < ids.size(); ++i)
      gaps += ids[i] == ids[i - 1] + 1 ? 0 : 1;
    BOOST_TEST(gaps <= 2);
  }
  BOOST_TEST(all.size() == 18 * 2 * troupe::references::ids_at_once);
}

// FU-10
BOOST_AUTO_TEST_CASE(what_is_never_used_is_never_told) {
  process p;
  static_cast<void>(p.refs->hold(p.refs->next(2), origin::untold));
  BOOST_TEST(p.news().empty());
  BOOST_TEST(p.refs->count() == 0u);
}

BOOST_AUTO_TEST_CASE(the_owner_hears_of_a_reference_before_whoever_gets_a_copy) {
  process p;
  const auto r = p.refs->hold(p.refs->next(2), origin::untold);
  p.refs->leaving(3, std::span{&r, 1});
  { // sent, not only noted
    std::lock_guard guard{p.mutex};
    BOOST_REQUIRE(p.all.size() == 2u);
    BOOST_TEST((p.all[0].what.what == kind::create));
    BOOST_TEST((p.all[1].what.what == kind::add && p.all[1].what.holder == 3 && p.all[1].what.n == 1));
  }
}

BOOST_AUTO_TEST_CASE(the_last_copy_here_gives_up_all_that_was_handed_to_this_process) {
  process p;
  const ref_id id{2, 5, 9};
  auto a = p.refs->arrived(3, id);
  auto b = p.refs->arrived(3, id);
  auto c = p.refs->arrived(4, id);
  BOOST_TEST((a == b && b == c));
  a = b = nullptr;
  BOOST_TEST(p.flushes == 0);
  c = nullptr;
  BOOST_TEST(p.flushes == 1);
  std::map<proc_id, std::int64_t> given_up;
  for (auto& n : p.news())
    given_up[n.what.from] += n.what.n;
  BOOST_TEST((given_up == std::map<proc_id, std::int64_t>{{3, -2}, {4, -1}}));
  BOOST_TEST(p.refs->count() == 0u);
}

BOOST_AUTO_TEST_CASE(copies_that_could_not_be_sent_are_taken_back) {
  process p;
  const auto r = p.refs->hold(p.refs->next(2), origin::known);
  p.refs->leaving(3, std::span{&r, 1});
  p.refs->not_left(3, std::span{&r, 1});
  std::int64_t sum = 0;
  for (auto& n : p.news())
    sum += n.what.holder == 3 ? n.what.n : 100;
  BOOST_TEST(sum == 0);
}

BOOST_AUTO_TEST_CASE(after_the_end_nothing_is_told) {
  process p;
  auto r = p.refs->hold(p.refs->next(2), origin::known);
  p.refs->close();
  r = nullptr;
  BOOST_TEST(p.news().empty());
  BOOST_TEST(p.flushes == 0);
}

BOOST_AUTO_TEST_CASE(who_uses_a_new_reference_with_another_thread_is_not_faster_than_its_creation) {
  for (int round = 0; round < 300; ++round) {
    process p;
    const auto r = p.refs->hold(p.refs->next(2), origin::untold);
    std::atomic<int> early{0}, ready{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; ++i)
      threads.emplace_back([&, i] {
        ++ready;
        while (ready < 3)
          std::this_thread::yield();
        if (i == 0)
          p.refs->leaving(4, std::span{&r, 1});
        else
          p.refs->make_known(r);
        std::lock_guard guard{p.mutex};
        early += p.all.empty() || p.all.front().what.what != kind::create;
      });
    for (auto& t : threads)
      t.join();
    BOOST_REQUIRE(early == 0);
    int created = 0;
    for (auto& n : p.news())
      created += n.what.what == kind::create;
    BOOST_REQUIRE(created == 1);
  }
}

// GC-11
BOOST_AUTO_TEST_CASE(copies_come_and_go_in_many_threads) {
  process p;
  const ref_id id{2, 5, 9};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&, i] {
      for (int k = 0; k < 5000; ++k) {
        const auto one = p.refs->arrived(3 + i, id);
        const auto two = p.refs->hold(id, origin::claimed);
        if (k % 100 == 0)
          p.refs->flush();
      }
    });
  for (auto& t : threads)
    t.join();
  BOOST_TEST(p.refs->count() == 0u);
  std::map<std::pair<proc_id, proc_id>, std::int64_t> sums;
  for (auto& n : p.news())
    sums[{n.what.from, n.what.holder}] += n.what.n;
  BOOST_TEST((sums[{1, 1}] == 0));
  for (proc_id from = 3; from < 7; ++from)
    BOOST_TEST((sums[{from, 1}] == -5000));
}

// -- several processes ------------------------------------------------------------------------------------------------------

namespace {

// Processes that hand copies to each other and lose them, in any order that a network may bring about: messages of one process to another keep their order, and nothing else
// does. Some processes die with what they haven't sent.
class history {
public:
  static constexpr int count = 4;

  explicit history(unsigned seed) : random_(seed) {
    for (proc_id p = 1; p <= count; ++p)
      procs_[p] = std::make_unique<node>(*this, p);
  }

  void run(int steps, int most_deaths) {
    for (int i = 0; i < steps; ++i) {
      step(most_deaths);
      check();
    }
    finish();
  }

private:
  struct message {
    std::vector<ref_id> copies;
    std::function<void()> deliver;
  };

  struct node {
    node(history& all, proc_id id) {
      troupe::references::settings s;
      s.id = id;
      s.send = [&all, id](proc_id owner, troupe::frame_builder& f) { all.send_counts(id, owner, f); };
      s.flush_soon = [this] { wants_flush = true; };
      s.ask = [](proc_id, troupe::frame_builder&, auto, bool) { return std::uint64_t{0}; };
      s.forget = [](std::uint64_t) {};
      refs = std::make_shared<troupe::references>(std::move(s));
      troupe::owned_references::settings o;
      o.id = id;
      o.gone = [this](proc_id p) { return gone.contains(p); };
      o.answer = [](troupe::reference_answer&) {};
      o.later = [this](std::chrono::milliseconds, std::function<void()> f) { later.push_back(std::move(f)); };
      o.send = [&all, id](proc_id to, troupe::frame_builder& f) { all.send_counts(id, to, f); };
      o.recount = [this](const ref_id& which, proc_id from) { refs->recount(which, from); };
      o.now = [this] { return now; };
      owned = std::make_unique<troupe::owned_references>(std::move(o));
    }

    bool alive = true;
    bool wants_flush = false;
    std::set<proc_id> gone; // that it knows of
    std::vector<held_reference_ptr> held;
    std::vector<std::function<void()>> later;
    std::chrono::steady_clock::time_point now{std::chrono::hours{1}};
    std::shared_ptr<troupe::references> refs;
    std::unique_ptr<troupe::owned_references> owned;
  };

  int any(int n) { return std::uniform_int_distribution<int>{0, n - 1}(random_); }

  proc_id any_alive() {
    while (true)
      if (const auto p = static_cast<proc_id>(1 + any(count)); procs_[p]->alive)
        return p;
  }

  void send_counts(proc_id from, proc_id to, troupe::frame_builder& f) {
    const auto bytes = std::make_shared<troupe::byte_buffer>(f.finish_whole());
    send(from, to, {{}, [this, from, to, bytes] {
                      procs_[to]->owned->hear(from, troupe::reader{std::span{*bytes}.subspan(sizeof(troupe::frame_header))});
                    }});
  }

  void send(proc_id from, proc_id to, message m) {
    if (from == to)
      m.deliver();
    else if (procs_[to]->alive && !procs_[from]->gone.contains(to))
      wires_[{from, to}].push_back(std::move(m));
  }

  void step(int most_deaths) {
    const auto p = any_alive();
    auto& me = *procs_[p];
    switch (any(11)) {
      case 0: // makes one
        if (const auto where = static_cast<proc_id>(1 + any(count)); !me.gone.contains(where))
          me.held.push_back(me.refs->hold(me.refs->next(where), origin::untold));
        return;
      case 1: // gives one up
      case 2:
        if (!me.held.empty()) {
          std::swap(me.held[static_cast<std::size_t>(any(static_cast<int>(me.held.size())))], me.held.back());
          me.held.pop_back();
        }
        return;
      case 3: // hands some on, and perhaps gives them up at once
      case 4:
      case 5: {
        const auto to = static_cast<proc_id>(1 + any(count));
        if (me.held.empty() || to == p)
          return;
        std::vector<held_reference_ptr> list;
        for (int n = 1 + any(2); n > 0; --n)
          list.push_back(me.held[static_cast<std::size_t>(any(static_cast<int>(me.held.size())))]);
        me.refs->leaving(to, list);
        if (me.gone.contains(to))
          return me.refs->not_left(to, list);
        std::vector<ref_id> copies;
        for (auto& r : list)
          copies.push_back(r->id());
        send(p, to, {copies, [this, p, to, copies] {
                       for (auto& id : copies)
                         procs_[to]->held.push_back(procs_[to]->refs->arrived(p, id));
                     }});
        if (any(2) == 0)
          std::erase_if(me.held, [&](auto& h) { return h == list.front(); });
        return;
      }
      case 6:
        if (me.wants_flush) {
          me.wants_flush = false;
          me.refs->flush();
        }
        return;
      case 7:
        if (most_deaths > deaths_ && any(20) == 0)
          die(p);
        return;
      default:
        learn_or_deliver();
    }
  }

  void learn_or_deliver() {
    if (const auto p = any_alive(); any(6) == 0) {
      for (auto& [q, other] : procs_)
        if (!other->alive && !procs_[p]->gone.contains(q))
          return learn(p, q);
    }
    std::vector<std::pair<proc_id, proc_id>> full;
    for (auto& [way, all] : wires_)
      if (!all.empty())
        full.push_back(way);
    if (!full.empty())
      deliver(full[static_cast<std::size_t>(any(static_cast<int>(full.size())))]);
  }

  void deliver(std::pair<proc_id, proc_id> way) {
    auto m = std::move(wires_[way].front());
    wires_[way].pop_front();
    m.deliver();
  }

  void die(proc_id p) {
    ++deaths_;
    auto& me = *procs_[p];
    me.alive = false;
    me.refs->close();
    me.held.clear();
    for (auto& [way, all] : wires_) {
      if (way.second == p)
        all.clear();
      if (way.first == p) // the last that it has sent doesn't arrive
        all.resize(static_cast<std::size_t>(any(static_cast<int>(all.size()) + 1)));
    }
  }

  void learn(proc_id p, proc_id lost) {
    wires_[{lost, p}].clear();
    procs_[p]->gone.insert(lost);
    procs_[p]->refs->peer_lost(lost);
    procs_[p]->owned->peer_lost(lost, {});
  }

  bool has_copy(const ref_id& id) {
    const auto is = [&](auto& h) { return h->id() == id; };
    for (auto& [p, n] : procs_)
      if (n->alive && std::any_of(n->held.begin(), n->held.end(), is))
        return true;
    for (auto& [way, all] : wires_)
      for (auto& m : all)
        if (std::find(m.copies.begin(), m.copies.end(), id) != m.copies.end())
          return true;
    return false;
  }

  // What has been made is there as long as there is a copy.
  void check() {
    std::set<ref_id> there;
    for (auto& [p, n] : procs_)
      if (n->alive)
        for (auto& x : n->owned->list())
          there.insert(x.id);
    for (auto i = made_.begin(); i != made_.end();)
      if (there.contains(*i)) {
        ++i;
      } else {
        BOOST_REQUIRE_MESSAGE(!procs_[i->where]->alive || !has_copy(*i), troupe::to_string(*i) << " was freed, and there is a copy");
        i = made_.erase(i);
      }
    made_.insert(there.begin(), there.end());
  }

  void quiet() {
    const auto busy = [&] {
      for (auto& [way, all] : wires_)
        if (!all.empty())
          return true;
      for (auto& [p, n] : procs_) {
        if (n->alive && n->wants_flush)
          return true;
        for (auto& [q, other] : procs_)
          if (n->alive && !other->alive && !n->gone.contains(q))
            return true;
      }
      return false;
    };
    while (busy()) {
      learn_or_deliver();
      for (auto& [p, n] : procs_)
        if (n->alive && std::exchange(n->wants_flush, false))
          n->refs->flush();
      check();
    }
  }

  void pass_time() {
    for (auto& [p, n] : procs_) {
      n->now += std::chrono::seconds{2}; // more than mourning takes
      for (auto& f : std::exchange(n->later, {}))
        f();
    }
  }

  // With all messages delivered and all copies gone, nothing is left.
  void finish() {
    quiet();
    pass_time();
    check();
    for (auto& [p, n] : procs_)
      n->held.clear();
    quiet();
    pass_time();
    for (auto& [p, n] : procs_)
      if (n->alive) {
        BOOST_REQUIRE_MESSAGE(n->owned->size() == 0u, "process " << p << " has " << n->owned->size() << " left");
        BOOST_REQUIRE(n->refs->count() == 0u);
      }
  }

  std::mt19937 random_;
  int deaths_ = 0;
  std::map<std::pair<proc_id, proc_id>, std::deque<message>> wires_;
  std::map<proc_id, std::unique_ptr<node>> procs_;
  std::set<ref_id> made_;
};

} // namespace

// GC-10
BOOST_AUTO_TEST_CASE(in_no_order_of_messages_is_anything_freed_early_or_never) {
  for (unsigned seed = 1; seed <= 300; ++seed) {
    BOOST_TEST_CONTEXT("seed " << seed)
    history{seed}.run(400, 0);
  }
}

// GC-09
BOOST_AUTO_TEST_CASE(nor_when_processes_die) {
  for (unsigned seed = 1; seed <= 600; ++seed) {
    BOOST_TEST_CONTEXT("seed " << seed)
    history{seed}.run(400, 2);
  }
}
