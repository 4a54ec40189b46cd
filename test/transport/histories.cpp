// What links go through: processes that talk to each other while everything fails that can. Each history is made from a seed. To
// see one that failed: TROUPE_HISTORY=seed bin/test_transport_histories. TROUPE_HISTORIES=n: how many.
#define BOOST_TEST_MODULE histories
#include <boost/test/unit_test.hpp>

#include "transport/seeds.hpp"
#include "transport/virtual_cluster.hpp"

#include <cstdlib>
#include <cstring>
#include <deque>
#include <list>
#include <set>
#include <sstream>

using namespace std::chrono_literals;
using test::dice;
using test::virtual_cluster;
using troupe::flow;
using troupe::frame_kind;
using troupe::proc_id;
using troupe::urgency;

namespace {

using process = virtual_cluster::process;
using duration = virtual_cluster::clock::duration;

struct frame_plan {
  frame_kind kind;
  std::uint64_t key; // of a message: its receiver
  std::uint64_t number;
  std::size_t size;
};

// What keeps its order among itself.
using group = std::pair<frame_kind, std::uint64_t>;

group group_of(const frame_plan& f) { return {f.kind, f.kind == frame_kind::message ? f.key : 0}; }

flow flow_of(frame_kind kind) { return kind == frame_kind::call ? flow::calls : kind == frame_kind::message ? flow::messages : flow::none; }

void fill(std::vector<std::uint64_t>& words, std::uint64_t number) {
  for (std::size_t i = 0; i < words.size(); ++i)
    words[i] = (number + i) * 0x9e3779b97f4a7c15;
}

bool is_filled(std::span<const std::byte> bytes, std::uint64_t number) {
  std::vector<std::uint64_t> words((bytes.size() + 7) / 8);
  fill(words, number);
  return bytes.empty() || std::memcmp(words.data(), bytes.data(), bytes.size()) == 0;
}

// The frames of one process to another that have been sent and have not arrived: the model.
class expected {
public:
  void sent(const frame_plan& f) {
    waiting_[group_of(f)].push_back(f);
    ++count_;
  }

  // What is wrong with a frame that has arrived, or nothing.
  std::string arrived(const frame_plan& f) {
    auto& mine = waiting_[group_of(f)];
    auto i = mine.begin();
    if (f.kind == frame_kind::reply) // may pass each other
      while (i != mine.end() && i->number != f.number)
        ++i;
    if (i == mine.end() || i->number != f.number)
      return "frame " + std::to_string(f.number)
             + (mine.empty() ? ", none was expected" : ", expected " + std::to_string(mine.front().number));
    if (i->size != f.size)
      return "frame " + std::to_string(f.number) + " of " + std::to_string(f.size) + " bytes, sent were " + std::to_string(i->size);
    mine.erase(i);
    --count_;
    // what is about actors stays behind messages and calls
    if (f.kind == frame_kind::watch)
      for (auto& [g, others] : waiting_)
        if ((g.first == frame_kind::message || g.first == frame_kind::call) && !others.empty() && others.front().number < f.number)
          return "frame " + std::to_string(f.number) + " passed frame " + std::to_string(others.front().number);
    return {};
  }

  std::size_t count() const { return count_; }
  void clear() {
    waiting_.clear();
    count_ = 0;
  }

private:
  std::map<group, std::deque<frame_plan>> waiting_;
  std::size_t count_ = 0;
};

// What is to become of a process.
enum class fate { lives, may_be_lost, is_lost };

class history {
public:
  struct result {
    std::vector<std::string> problems;
    std::uint64_t log_hash = 0;
    std::uint64_t frames = 0;
  };

  explicit history(std::uint64_t seed, bool show)
    : dice_(seed * 2 + 1), cluster_(options(seed, show), hooks()), fates_(cluster_.all().size() + 1) {}

  result run() {
    try {
      begin();
      make_faults();
      cluster_.run_until(fault_time);
      heal();
      auto end = fault_time;
      for (int i = 0; i < most_seconds && !settled(); ++i)
        cluster_.run_until(end += 1s);
      check();
    } catch (const std::exception& e) {
      problem(std::string{"an exception: "} + e.what());
    }
    result_.log_hash = cluster_.log_hash();
    return result_;
  }

private:
  static constexpr duration fault_time = 20s;
  // Shorter than what makes a link to the master, or the other end of it, seem lost; and how far apart such times are.
  static constexpr auto short_outage = 1500ms;
  static constexpr auto short_refusal = 500ms;
  static constexpr duration between_outages = 8s;
  static constexpr int most_corruptions = 4; // of one link
  // After the last fault: a worker that has been declared lost over a silent link bears that for a minute.
  static constexpr int most_seconds = 70;

  virtual_cluster::options options(std::uint64_t seed, bool show) {
    virtual_cluster::options o;
    o.processes = dice_.between(3, 6);
    o.network = network();
    o.network.seed = seed;
    o.limits = limits();
    o.show = show;
    return o;
  }

  troupe::memory_network::settings network() {
    troupe::memory_network::settings s;
    s.most_delay = dice_.time(100us, 20ms);
    s.capacity = dice_.between(8 << 10, 300 << 10);
    s.most_piece = dice_.percent(20) ? 100 : dice_.between(1000, 64 << 10);
    if (dice_.percent(20))
      s.cuts = 0.002;
    return s;
  }

  troupe::session::limits limits() {
    troupe::session::limits l;
    if (dice_.percent(50))
      l.window = dice_.between(8 << 10, 1 << 20);
    if (dice_.percent(50))
      l.transit = dice_.between(8 << 10, 1 << 20);
    return l;
  }

  virtual_cluster::hooks hooks() {
    virtual_cluster::hooks h;
    h.frame = [this](process& p, proc_id from, troupe::frame_view& f) { take(p, from, f); };
    h.unreachable = [this](process& p, proc_id id, const troupe::error_info& why) {
      if (!cluster_.at(id).ended && fate_of(id) == fate::lives && fate_of(p.id) == fate::lives)
        problem("process " + std::to_string(id) + " couldn't be reached: " + why.message);
      expected_[{p.id, id}].clear();
    };
    h.ended = [this](process& p) { credits_.erase(p.id); };
    return h;
  }

  void problem(const std::string& text) {
    if (result_.problems.size() < 10)
      result_.problems.push_back(std::to_string(std::chrono::duration<double>(cluster_.time()).count()) + " s: " + text);
  }

  fate& fate_of(proc_id id) { return fates_.at(static_cast<std::size_t>(id)); }
  proc_id last() const { return static_cast<proc_id>(cluster_.all().size()); }
  proc_id any_worker() { return static_cast<proc_id>(dice_.between(2, cluster_.all().size())); }

  void begin() {
    for (proc_id id = 2; id <= last(); ++id)
      cluster_.plan(dice_.percent(80) ? 0us : dice_.time(0us, 500ms), [this, id] {
        cluster_.adopt(id);
        cluster_.step(cluster_.at(1));
      });
    cluster_.run_until(900ms);
    const bool all_links = dice_.percent(50);
    for (auto& p : cluster_.all()) {
      if (!p->joined)
        problem("process " + std::to_string(p->id) + " hasn't joined");
      if (all_links)
        for (proc_id other = 2; other < p->id; ++other)
          p->events->call_after(0ms, [&p, other] { p->net->connect(other); });
      p->events->call_after(dice_.time(0us, 50ms), [this, &p] { talk(*p); });
    }
    if (dice_.percent(30))
      large_ = dice_.between(1, 4);
  }

  // -- talking --------------------------------------------------------------------------------------------------------

  void talk(process& p) {
    if (cluster_.time() >= fault_time)
      return;
    for (auto n = dice_.between(1, 12); n > 0; --n) {
      auto to = static_cast<proc_id>(dice_.between(1, cluster_.all().size()));
      if (to != p.id && p.gone.count(to) == 0)
        say(p, to, make(), dice_.percent(30) ? urgency::now : urgency::batched);
    }
    p.events->call_after(dice_.percent(90) ? dice_.time(1ms, 200ms) : dice_.time(200ms, 3s), [this, &p] { talk(p); });
  }

  frame_plan make() {
    using enum frame_kind;
    constexpr frame_kind kinds[] = {joined, call, call, reply, reply, watch, message, message, message};
    frame_plan f;
    f.kind = kinds[dice_.between(0, std::size(kinds) - 1)];
    f.key = dice_.between(1, 3);
    f.number = ++last_number_;
    f.size = dice_.between(16, 300);
    if (f.kind == frame_kind::joined)
      return f;
    if (dice_.percent(4))
      f.size = dice_.between(300, 40 << 10);
    if (large_ > 0 && dice_.percent(1)) {
      --large_;
      f.size = dice_.between(1 << 20, 5 << 19) + 1;
    }
    return f;
  }

  void say(process& p, proc_id to, const frame_plan& f, urgency u) {
    auto& queue = parked_[{p.id, to}];
    if (!queue.empty())
      queue.push_back(f);
    else if (!send(p, to, f, u)) {
      queue.push_back(f);
      wait_for_room(p, to);
    }
  }

  void wait_for_room(process& p, proc_id to) {
    auto& first = parked_[{p.id, to}].front();
    auto ready = [this, &p, to] {
      if (p.ended)
        return;
      p.events->post([this, &p, to] {
        auto& queue = parked_[{p.id, to}];
        while (!queue.empty() && send(p, to, queue.front(), urgency::batched))
          queue.pop_front();
        if (!queue.empty())
          wait_for_room(p, to);
      });
    };
    p.net->when_room(to, flow_of(first.kind), ready, first.size + sizeof(troupe::frame_header));
  }

  // Whether there was room.
  bool send(process& p, proc_id to, const frame_plan& plan, urgency u) {
    troupe::frame_builder f;
    auto& out = f.start(plan.kind).out();
    out.put(plan.key);
    out.put(plan.number);
    std::vector<std::uint64_t> words((plan.size - 16 + 7) / 8);
    fill(words, plan.number);
    out.raw(words.data(), plan.size - 16);
    bool full = false;
    auto error = p.net->send(to, f, u, flow_of(plan.kind), &full);
    if (full)
      return false;
    if (error && p.gone.count(to) == 0)
      problem("process " + std::to_string(p.id) + " can't send to " + std::to_string(to) + ": " + error->message);
    if (!error)
      expected_[{p.id, to}].sent(plan);
    return true;
  }

  void take(process& p, proc_id from, troupe::frame_view& f) {
    ++result_.frames;
    troupe::reader in{f.payload};
    frame_plan got;
    got.kind = f.header.kind;
    got.size = f.payload.size();
    got.key = in.get<std::uint64_t>();
    got.number = in.get<std::uint64_t>();
    cluster_.note("frame", p.id, from, got.number);
    auto where = "process " + std::to_string(p.id) + " from " + std::to_string(from) + ": ";
    if (auto wrong = expected_[{from, p.id}].arrived(got); !wrong.empty())
      problem(where + wrong);
    if (!is_filled(in.take(in.left()), got.number))
      problem(where + "frame " + std::to_string(got.number) + " is corrupt");
    if (got.kind == frame_kind::call && dice_.percent(30)) {
      auto answer = make();
      answer.kind = frame_kind::reply;
      say(p, from, answer, urgency::batched);
    }
    if (dice_.percent(5)) {
      auto kept = credits_[p.id].insert(credits_[p.id].end(), std::move(f.credit));
      p.events->call_after(dice_.time(1ms, 2s), [this, &p, kept] { credits_[p.id].erase(kept); });
    }
  }

  // -- what goes wrong ----------------------------------------------------------------------------------------------------

  std::string host(proc_id id) { return cluster_.at(id).host; }

  void make_faults() {
    const auto end = std::chrono::duration_cast<std::chrono::microseconds>(fault_time);
    for (auto n = dice_.between(0, 25); n > 0; --n) {
      const auto when = dice_.time(1s, end - 100ms);
      const auto a = static_cast<proc_id>(dice_.between(1, cluster_.all().size()));
      auto b = any_worker();
      if (a == b)
        continue;
      switch (dice_.between(0, 9)) {
        case 0:
        case 1:
          cluster_.plan(when, [this, a, b] {
            cluster_.note("CUT", a, b);
            cluster_.net().cut(host(a), host(b));
          });
          break;
        case 2:
          if (a == 1 && !may_fail(b, when))
            break;
          cluster_.plan(when, [this, a, b] {
            cluster_.note("SILENCE", a, b);
            cluster_.net().silence(host(a), host(b));
          });
          break;
        case 3:
        case 4:
          part(a, b, when);
          break;
        case 5:
          refuse(a, b, when);
          break;
        case 6: {
          auto more = dice_.time(0us, a == 1 ? 50ms : 300ms);
          cluster_.plan(when, [this, a, b, more] {
            cluster_.note("SLOW", a, b, static_cast<std::uint64_t>(more.count()));
            cluster_.net().slow(host(a), host(b), more);
          });
          break;
        }
        case 7:
          corrupt(a, b, when);
          break;
        case 8:
          stop(a, when);
          break;
        case 9:
          if (dice_.percent(20))
            kill(b, when);
          break;
      }
    }
  }

  // Whether there may be an outage of a process's link to the master at this time, so that it and the master live on.
  bool may_fail(proc_id id, duration when) {
    for (auto& [who, at] : outages_)
      if ((who == id || who == 1 || id == 1) && (when > at ? when - at : at - when) < between_outages)
        return false;
    outages_.emplace_back(id, when);
    return true;
  }

  void part(proc_id a, proc_id b, duration when) {
    const bool both = dice_.percent(60);
    auto time = dice_.time(10ms, 15s);
    if (a == 1 && dice_.percent(20)) {
      fate_of(b) = std::max(fate_of(b), fate::may_be_lost);
    } else if (a == 1) {
      time = std::min<std::chrono::microseconds>(time, short_outage);
      if (!may_fail(b, when))
        return;
    }
    cluster_.plan(when, [this, a, b, both] {
      cluster_.note(both ? "PART both" : "PART", a, b);
      cluster_.net().part(host(a), host(b));
      if (both)
        cluster_.net().part(host(b), host(a));
    });
    cluster_.plan(when + time, [this, a, b, both] {
      cluster_.note("JOIN", a, b);
      cluster_.net().join(host(a), host(b));
      if (both)
        cluster_.net().join(host(b), host(a));
    });
  }

  void refuse(proc_id a, proc_id b, duration when) {
    auto time = dice_.time(10ms, 15s);
    if (a == 1 && dice_.percent(20)) {
      fate_of(b) = std::max(fate_of(b), fate::may_be_lost);
    } else if (a == 1) {
      time = std::min<std::chrono::microseconds>(time, short_refusal);
      if (!may_fail(b, when))
        return;
    }
    cluster_.plan(when, [this, a, b] {
      cluster_.note("REFUSE", a, b);
      cluster_.net().refuse(host(a), host(b), true);
      cluster_.net().refuse(host(b), host(a), true);
    });
    cluster_.plan(when + time, [this, a, b] {
      cluster_.note("LET IN", a, b);
      cluster_.net().refuse(host(a), host(b), false);
      cluster_.net().refuse(host(b), host(a), false);
    });
  }

  void corrupt(proc_id a, proc_id b, duration when) {
    if (++corruptions_[std::minmax(a, b)] > most_corruptions)
      return;
    const bool forth = dice_.percent(50);
    cluster_.plan(when, [this, a, b, forth] {
      cluster_.note("CORRUPT", forth ? a : b, forth ? b : a);
      cluster_.net().corrupt(host(forth ? a : b), host(forth ? b : a));
    });
  }

  void stop(proc_id a, duration when) {
    duration time = dice_.time(10ms, short_outage);
    if (a != 1 && dice_.percent(20)) {
      time = dice_.percent(50) ? dice_.time(2s, 15s) : dice_.time(25s, 40s);
      fate_of(a) = std::max(fate_of(a), time > 20s ? fate::is_lost : fate::may_be_lost);
    } else if (!may_fail(a, when)) {
      return;
    }
    cluster_.plan(when, [this, a] {
      if (++stops_[a] == 1)
        cluster_.stop(a, true);
    });
    cluster_.plan(when + time, [this, a] {
      if (--stops_[a] == 0)
        cluster_.stop(a, false);
    });
  }

  void kill(proc_id b, duration when) {
    fate_of(b) = fate::is_lost;
    const bool seen = dice_.percent(50);
    cluster_.plan(when, [this, b, seen] { cluster_.end(cluster_.at(b), seen, "killed"); });
  }

  void heal() {
    cluster_.note("HEALED", 0);
    for (proc_id a = 1; a <= last(); ++a)
      for (proc_id b = 1; b <= last(); ++b) {
        cluster_.net().join(host(a), host(b));
        cluster_.net().refuse(host(a), host(b), false);
        cluster_.net().slow(host(a), host(b), {});
      }
  }

  // -- what must have come of it ----------------------------------------------------------------------------------------------

  bool lives(proc_id id) { return !cluster_.at(id).ended && !cluster_.at(id).stopped; }

  std::string what_is_left() {
    for (auto& p : cluster_.all()) {
      if (p->stopped)
        return "process " + std::to_string(p->id) + " is stopped";
      auto gone = cluster_.at(1).gone.count(p->id) > 0;
      if (gone != p->ended)
        return "process " + std::to_string(p->id) + (gone ? " still runs although it was lost" : " has not been declared lost");
      if (p->ended)
        continue;
      for (auto& [id, c] : p->net->counts())
        if (c.in_transit != 0 || c.waiting != 0)
          return "process " + std::to_string(p->id) + " has " + std::to_string(c.in_transit) + " bytes for process " + std::to_string(id)
                 + " that are not acknowledged, and " + std::to_string(c.waiting) + " who wait for room";
      for (proc_id to = 1; to <= last(); ++to) {
        if (!lives(to) || to == p->id)
          continue;
        if (auto n = expected_[{p->id, to}].count(); n > 0)
          return std::to_string(n) + " frames from process " + std::to_string(p->id) + " to " + std::to_string(to) + " haven't arrived";
        if (!parked_[{p->id, to}].empty())
          return "process " + std::to_string(p->id) + " still waits to send to " + std::to_string(to);
        auto links = p->net->links();
        if (p->net->connected(to) && std::none_of(links.begin(), links.end(), [to](auto& l) { return l.peer == to; }))
          return "the link between " + std::to_string(p->id) + " and " + std::to_string(to) + " is relayed";
      }
      for (auto& [id, texts] : cluster_.at(1).gone)
        if (p->gone.count(id) == 0)
          return "process " + std::to_string(p->id) + " hasn't heard that " + std::to_string(id) + " is lost";
    }
    return {};
  }

  bool settled() { return what_is_left().empty(); }

  void check() {
    if (auto left = what_is_left(); !left.empty())
      problem("at the end " + left);
    for (auto& p : cluster_.all()) {
      auto who = "process " + std::to_string(p->id);
      if (fate_of(p->id) == fate::lives && p->ended)
        problem(who + " was lost, and had no reason to");
      if (fate_of(p->id) == fate::is_lost && !p->ended)
        problem(who + " was not lost");
      if (p->ended)
        continue;
      for (auto& [id, texts] : p->gone) {
        if (texts.size() != 1)
          problem(who + " was told " + std::to_string(texts.size()) + " times that " + std::to_string(id) + " is lost");
        if (texts != cluster_.at(1).gone[id])
          problem(who + " was told otherwise than the master why " + std::to_string(id) + " is lost: " + texts.front());
      }
    }
  }

  dice dice_;
  result result_;
  std::map<std::pair<proc_id, proc_id>, expected> expected_;
  std::map<std::pair<proc_id, proc_id>, std::deque<frame_plan>> parked_; // until there is room
  std::map<proc_id, std::list<troupe::credit>> credits_;
  std::map<std::pair<proc_id, proc_id>, int> corruptions_;
  std::vector<std::pair<proc_id, duration>> outages_;
  std::map<proc_id, int> stops_;
  std::uint64_t last_number_ = 0;
  std::uint64_t large_ = 0;
  virtual_cluster cluster_;
  std::vector<fate> fates_;
};

history::result run(std::uint64_t seed, bool show = false) {
  history h{seed, show};
  return h.run();
}

} // namespace

BOOST_AUTO_TEST_CASE(frames_arrive_once_and_in_order_whatever_happens_to_the_links) {
  std::uint64_t frames = 0;
  test::run_histories("test_transport_histories", 500, [&](std::uint64_t seed, bool show) {
    auto r = run(seed, show);
    frames += r.frames;
    return r.problems;
  });
  BOOST_TEST(frames > 0);
  BOOST_TEST_MESSAGE(frames << " frames");
}

BOOST_AUTO_TEST_CASE(a_seed_makes_the_same_history_each_time) {
  std::set<std::uint64_t> hashes;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    auto hash = run(seed).log_hash;
    BOOST_TEST(run(seed).log_hash == hash);
    hashes.insert(hash);
  }
  BOOST_TEST(hashes.size() == 20);
}
