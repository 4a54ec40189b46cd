// References in the hands of many threads: what ThreadSanitizer looks at, and what only threads can get wrong.
#define BOOST_TEST_MODULE references_threads
#include <boost/test/unit_test.hpp>

#include "troupe/actors/owned_references.hpp"

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <latch>
#include <map>
#include <random>
#include <thread>

using namespace std::chrono_literals;
using troupe::ask_op;
using troupe::frame_kind;
using troupe::held_reference_ptr;
using troupe::owned_references;
using troupe::proc_id;
using troupe::ref_id;
using troupe::references;

namespace {

constexpr proc_id processes = 3;
constexpr auto deadline = 60s;

// Three processes in one, each with a thread that takes frames in the order in which they were sent, and threads that work.
class cluster {
public:
  struct process {
    proc_id id = 0;
    std::shared_ptr<references> held;
    std::unique_ptr<owned_references> owned;
    std::mutex mutex;
    std::condition_variable more;
    std::deque<std::pair<proc_id, std::shared_ptr<troupe::byte_buffer>>> inbox;
    std::vector<held_reference_ptr> copies; // that have arrived, for whoever takes them
    std::map<std::uint64_t, held_reference_ptr> asking;
    std::jthread loop; // the last: it ends first
  };

  cluster() {
    for (proc_id id = 1; id <= processes; ++id)
      add(id);
    for (auto& p : all_)
      p->loop = std::jthread{[this, &p = *p](std::stop_token stop) { run(p, stop); }};
  }

  ~cluster() {
    for (auto& p : all_) {
      p->loop.request_stop();
      p->more.notify_all();
    }
    for (auto& p : all_)
      p->loop.join();
  }

  process& at(proc_id id) { return *all_[static_cast<std::size_t>(id - 1)]; }

  // One of many threads of a process.
  void work(process& p, unsigned seed, int rounds) {
    std::mt19937 random{seed};
    std::vector<held_reference_ptr> mine;
    for (int i = 0; i < rounds; ++i) {
      if (mine.empty() || random() % 4 == 0)
        mine.push_back(random() % 4 == 0 ? make(p, static_cast<proc_id>(random() % processes + 1), random() % 2 == 0) : nullptr);
      if (!mine.back())
        mine.back() = take(p, random());
      if (!mine.back()) {
        mine.pop_back();
        continue;
      }
      auto& one = mine[random() % mine.size()];
      switch (random() % 6) {
        case 0:
        case 1:
          hand(p, static_cast<proc_id>(random() % processes + 1), one);
          break;
        case 2:
          ask(p, one);
          break;
        case 3: { // to another thread
          std::lock_guard guard{p.mutex};
          p.copies.push_back(one);
          break;
        }
        default:
          std::swap(one, mine.back());
          mine.pop_back();
      }
      if (random() % 16 == 0)
        p.held->flush();
    }
  }

  // Everything is dropped, and nothing is on its way.
  std::string settle() {
    const auto limit = std::chrono::steady_clock::now() + deadline;
    while (true) {
      std::string left;
      for (auto& p : all_) {
        std::vector<held_reference_ptr> dropped;
        {
          std::lock_guard guard{p->mutex};
          dropped.swap(p->copies);
          if (!p->asking.empty() || !p->inbox.empty())
            left = "process " + std::to_string(p->id) + " hasn't come to rest";
        }
        dropped.clear();
        p->held->flush();
        if (auto n = p->owned->size(); n > 0)
          left = "process " + std::to_string(p->id) + " still keeps " + std::to_string(n);
        else if (auto m = p->held->count(); m > 0)
          left = "process " + std::to_string(p->id) + " still holds " + std::to_string(m);
      }
      if (left.empty() || std::chrono::steady_clock::now() > limit)
        return left;
      std::this_thread::yield();
    }
  }

  std::atomic<int> refused{0}, answered{0};

private:
  void add(proc_id id) {
    auto& p = *all_.emplace_back(std::make_unique<process>());
    p.id = id;
    references::settings h;
    h.id = id;
    h.send = [this, &p](proc_id to, troupe::frame_builder& f) { send(p, to, f); };
    h.flush_soon = [] {}; // somebody flushes all the time
    p.held = std::make_shared<references>(h);
    owned_references::settings o;
    o.id = id;
    o.gone = [](proc_id) { return false; };
    o.answer = [this, &p](troupe::reference_answer& a) { answer(p, a); };
    o.send = h.send;
    o.later = [](std::chrono::milliseconds, const std::function<void()>&) {};
    p.owned = std::make_unique<owned_references>(o);
  }

  void send(process& p, proc_id to, troupe::frame_builder& f) {
    if (to == p.id) {
      auto references = std::exchange(f.references(), {});
      const auto bytes = std::make_shared<troupe::byte_buffer>(std::move(f.finish_whole()));
      return handle(p, to, bytes, std::move(references));
    }
    p.held->leaving(to, f.references());
    auto& other = at(to);
    auto bytes = std::make_shared<troupe::byte_buffer>(std::move(f.finish_whole()));
    std::lock_guard guard{other.mutex};
    other.inbox.emplace_back(p.id, std::move(bytes));
    other.more.notify_one();
  }

  void run(process& p, const std::stop_token& stop) {
    while (true) {
      std::pair<proc_id, std::shared_ptr<troupe::byte_buffer>> next;
      {
        std::unique_lock lock{p.mutex};
        p.more.wait(lock, [&] { return stop.stop_requested() || !p.inbox.empty(); });
        if (p.inbox.empty())
          return;
        next = std::move(p.inbox.front());
        p.inbox.pop_front();
      }
      handle(p, next.first, next.second, {});
    }
  }

  void handle(process& p, proc_id from, const std::shared_ptr<troupe::byte_buffer>& bytes, std::vector<held_reference_ptr> references) {
    troupe::frame_view f;
    std::memcpy(&f.header, bytes->data(), sizeof f.header);
    f.payload = std::span{*bytes}.subspan(sizeof f.header);
    f.owner = bytes;
    f.references = std::move(references);
    if (from != p.id && (f.header.flags & troupe::frame_flags::references) != 0)
      for (auto& id : take_reference_list(f))
        f.references.push_back(p.held->arrived(from, id));
    troupe::reader in{f.payload};
    switch (f.header.kind) {
      case frame_kind::counts:
        return p.owned->hear(from, in);
      case frame_kind::ask:
        return p.owned->ask(from, f);
      case frame_kind::call:
        return p.owned->begin_call({p.id, from, in.get<std::uint64_t>()});
      case frame_kind::reply: {
        const auto number = in.get<std::uint64_t>();
        return take_answer(p, number, in.get<std::uint8_t>() != 0);
      }
      default: {
        std::lock_guard guard{p.mutex};
        for (auto& r : f.references)
          p.copies.push_back(std::move(r));
      }
    }
  }

  held_reference_ptr make(process& p, proc_id where, bool call) {
    const auto id = p.held->next(where);
    if (call) {
      troupe::frame_builder f;
      f.start(frame_kind::call).out().put(id.id);
      send(p, where, f);
    }
    auto out = p.held->hold(id, call ? references::origin::known : references::origin::untold);
    std::lock_guard guard{p.mutex};
    p.copies.push_back(out); // another thread may be the first to use it
    return out;
  }

  held_reference_ptr take(process& p, unsigned random) {
    std::lock_guard guard{p.mutex};
    if (p.copies.empty())
      return nullptr;
    std::swap(p.copies[random % p.copies.size()], p.copies.back());
    auto out = std::move(p.copies.back());
    p.copies.pop_back();
    return out;
  }

  void hand(process& p, proc_id to, const held_reference_ptr& what) {
    troupe::frame_builder f;
    f.start(frame_kind::message).out().put(std::uint64_t{1});
    f.out().carry(what);
    send(p, to, f);
  }

  void ask(process& p, const held_reference_ptr& about) {
    const auto number = ++last_question_;
    {
      std::lock_guard guard{p.mutex};
      p.asking[number] = about;
    }
    p.held->make_known(about);
    troupe::frame_builder f;
    p.held->begin(f, about->id(), 0, ask_op::isready);
    std::memcpy(f.out().buffer().data() + sizeof(troupe::frame_header), &number, sizeof number);
    send(p, about->id().where, f);
  }

  void answer(process& p, troupe::reference_answer& a) {
    const bool failed = a.what == troupe::reference_answer::kind::error;
    if (a.to == p.id)
      return take_answer(p, a.question, failed);
    troupe::frame_builder f;
    f.start(frame_kind::reply).out().put(a.question);
    f.out().put(std::uint8_t{failed});
    send(p, a.to, f);
  }

  void take_answer(process& p, std::uint64_t number, bool failed) {
    ++answered;
    if (failed)
      ++refused;
    held_reference_ptr dropped;
    std::lock_guard guard{p.mutex};
    const auto i = p.asking.find(number);
    dropped = std::move(i->second);
    p.asking.erase(i);
  }

  std::atomic<std::uint64_t> last_question_{0};
  std::vector<std::unique_ptr<process>> all_;
};

} // namespace

BOOST_AUTO_TEST_CASE(threads_that_copy_hand_on_and_drop_leave_nothing_and_find_what_they_hold) {
  cluster c;
  {
    std::vector<std::jthread> threads;
    for (proc_id id = 1; id <= processes; ++id)
      for (unsigned i = 0; i < 3; ++i)
        threads.emplace_back([&c, id, i] { c.work(c.at(id), static_cast<unsigned>(id) * 100 + i, 4000); });
  }
  BOOST_TEST(c.settle() == "");
  BOOST_TEST(c.refused == 0);
  BOOST_TEST(c.answered > 0);
}

// What the owner of references makes of what process 2 tells.
struct listening_owner {
  static constexpr proc_id holder = 2, dying = 7, other = 8;

  std::shared_ptr<references> make_holder() {
    references::settings s;
    s.id = holder;
    s.flush_soon = [] {};
    s.send = [this](proc_id, troupe::frame_builder& f) { hear(f); };
    return std::make_shared<references>(s);
  }

  void hear(troupe::frame_builder& f) {
    troupe::reader in{std::span<const std::byte>{f.finish()}.subspan(sizeof(troupe::frame_header))};
    std::lock_guard guard{mutex};
    while (in.left() > 0) {
      const auto x = troupe::count_news::read(in, holder);
      auto& c = counts[ref_id{1, x.whence, x.id}];
      if (x.what == troupe::count_news::kind::settle)
        c.settle(x.from, holder, x.n, gone);
      else
        c.add(x.from, holder, x.n, gone && x.from == dying);
    }
  }

  std::mutex mutex;
  std::map<ref_id, troupe::holder_counts> counts;
  bool gone = false; // it knows that the one is
};

const std::vector<proc_id> only_the_holder{listening_owner::holder};

// A copy arrives while the last one before it ends in another thread, and then who handed them out dies: what is told adds up, whatever the order.
BOOST_AUTO_TEST_CASE(what_ends_while_another_copy_arrives_is_counted_once) {
  constexpr auto dying = listening_owner::dying, other = listening_owner::other;
  constexpr std::uint64_t ids = 3;
  for (unsigned round = 0; round < 200; ++round) {
    listening_owner owner;
    const auto held = owner.make_holder();
    std::array<std::mutex, 2> baskets_mutex;
    std::array<std::vector<held_reference_ptr>, 2> baskets;
    std::atomic<bool> done{false};
    std::array<std::int64_t, ids + 1> from_other{};
    std::vector<held_reference_ptr> kept;
    {
      std::vector<std::jthread> droppers;
      for (std::size_t i = 0; i < baskets.size(); ++i)
        droppers.emplace_back([&, i] {
          while (!done) {
            std::vector<held_reference_ptr> mine;
            {
              std::lock_guard guard{baskets_mutex[i]};
              mine.swap(baskets[i]);
            }
            mine.clear();
            held->flush();
          }
        });
      std::mt19937 random{round};
      bool lost = false;
      for (int k = 0; k < 300; ++k) {
        if (k == 150) { // the last that comes of it, and is kept
          for (std::uint64_t id = 1; id <= ids; ++id)
            kept.push_back(held->arrived(dying, {1, 1, id}));
          held->peer_lost(dying);
          lost = true;
          std::lock_guard guard{owner.mutex};
          owner.gone = true;
        }
        const auto id = random() % ids + 1;
        const auto from = lost || random() % 2 == 0 ? other : dying;
        if (from == other)
          ++from_other[id];
        auto copy = held->arrived(from, {1, 1, id});
        const auto i = random() % baskets.size();
        std::lock_guard guard{baskets_mutex[i]};
        baskets[i].push_back(std::move(copy));
      }
      done = true;
    }
    for (auto& b : baskets)
      b.clear();
    held->flush();
    // what the other has handed out hasn't been told of until now
    for (auto& [id, counts] : owner.counts)
      BOOST_TEST(counts.holders() == only_the_holder);
    kept.clear();
    held->flush();
    for (auto& [id, counts] : owner.counts) {
      counts.add(other, listening_owner::holder, from_other[id.id], false);
      BOOST_TEST(counts.none());
    }
    BOOST_TEST(held->count() == 0U);
  }
}

// The same at the one moment that matters: the last copy has gone, but not yet what counts it.
BOOST_AUTO_TEST_CASE(what_has_just_gone_is_not_given_up_after_the_settling) {
  constexpr auto dying = listening_owner::dying;
  const ref_id id{1, 1, 1};
  for (int round = 0; round < 300; ++round) {
    listening_owner owner;
    owner.gone = true;
    const auto held = owner.make_holder();
    auto last = held->arrived(dying, id);
    held_reference_ptr next;
    std::latch begun{2};
    std::jthread arriving, ending;
    held->share_state({1, 1, 2}, [&] { // no other thread gets on while this is made
      arriving = std::jthread{[&] {
        begun.arrive_and_wait();
        next = held->arrived(dying, id);
        held->peer_lost(dying);
      }};
      ending = std::jthread{[&] {
        begun.arrive_and_wait();
        last.reset();
      }};
      begun.wait();
      std::this_thread::yield();
      return std::shared_ptr<troupe::detail::future_state>{};
    });
    arriving.join();
    ending.join();
    held->flush();
    BOOST_TEST(owner.counts[id].holders() == only_the_holder);
    next.reset();
    held->flush();
    BOOST_TEST(owner.counts[id].none());
  }
}

// Two threads use for the first time what only they know of: neither asks before the owner has been told.
BOOST_AUTO_TEST_CASE(nobody_goes_ahead_of_the_news_of_what_is_made) {
  for (int round = 0; round < 2000; ++round) {
    std::atomic<bool> told{false};
    references::settings s;
    s.id = 2;
    s.flush_soon = [] {};
    s.send = [&](proc_id, troupe::frame_builder&) { told = true; };
    auto held = std::make_shared<references>(s);
    const auto one = held->hold(held->next(1), references::origin::untold);
    std::latch start{3};
    std::atomic<int> early{0};
    {
      const auto use = [&](bool leaves) {
        start.arrive_and_wait();
        if (leaves)
          held->leaving(3, std::span{&one, 1});
        else
          held->make_known(one);
        if (!told)
          ++early;
      };
      std::vector<std::jthread> threads;
      for (int i = 0; i < 3; ++i)
        threads.emplace_back(use, i == 0);
    }
    BOOST_TEST(early == 0);
  }
}
