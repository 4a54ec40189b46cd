#define BOOST_TEST_MODULE pools
#include "system/harness.hpp"

#include <troupe/actors.hpp>

#include <atomic>
#include <map>
#include <numeric>
#include <optional>
#include <ranges>
#include <set>

namespace {

using troupe::abstract_pool;
using troupe::call_options;
using troupe::remote_channel;
using troupe::worker_pool;
using ids = std::vector<proc_id>;
using channel = remote_channel<int>;

struct crew {
  std::string name;
  worker_pool pool;
  std::map<std::string, std::vector<worker_pool>> more;

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, crew& x) {
    return f(caf::meta::type_name("crew"), x.name, x.pool, x.more);
  }
};

const setup register_types{[](troupe::app& app) { app.message_types<worker_pool, crew>(); }};

struct unsendable {
  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, unsendable&) {
    if constexpr (Inspector::reads_state)
      throw std::runtime_error{"it doesn't travel"};
    return f();
  }
};

caf::behavior foreman(caf::event_based_actor*) {
  return {[](const worker_pool& p) { return static_cast<int>(p.size()); },
          [](const crew& x) { return static_cast<int>(x.pool.size() + x.more.at("others").at(1).size()); }};
}

proc_id where_am_i() { return here().myid(); }

proc_id until_put(const channel& ch) {
  ch.take();
  return here().myid();
}

void fail() { throw std::runtime_error{"it failed"}; }

template <class T>
bool stays_open(const troupe::future<T>& f) {
  return !f.wait_for(50ms);
}

void kill_worker(proc_id id) { ::kill(static_cast<::pid_t>(here().info(id).os_pid), SIGKILL); }

bool contains_id(const ids& all, proc_id id) { return std::find(all.begin(), all.end(), id) != all.end(); }

std::size_t pools_on(proc_id where, const worker_pool& pool) {
  std::size_t n = 0;
  for (auto& r : here().references(where))
    n += r.id == pool.id();
  return n;
}

// WP-19: always the highest idle id
class highest_first : public abstract_pool {
public:
  explicit highest_first(ids members) {
    for (auto id : members)
      push(id);
  }
  std::optional<proc_id> take() override {
    for (auto i = slots_.rbegin(); i != slots_.rend(); ++i)
      if (i->second > 0) {
        --i->second;
        ++out_[i->first];
        return i->first;
      }
    return std::nullopt;
  }
  void put(proc_id id) override {
    if (out_[id] == 0)
      return;
    --out_[id];
    ++slots_.at(id);
  }
  void push(proc_id id) override { ++slots_[id]; }
  ids members() const override {
    ids out;
    for (auto& [id, n] : slots_)
      out.push_back(id);
    return out;
  }
  ids idle() const override {
    ids out;
    for (auto& [id, n] : slots_)
      if (n > 0)
        out.push_back(id);
    return out;
  }

private:
  std::map<proc_id, int> slots_;
  std::map<proc_id, int> out_;
};

// The same, told of deaths.
class tidy final : public highest_first {
public:
  using highest_first::highest_first;
  std::optional<proc_id> take() override { return hidden_.empty() ? highest_first::take() : std::nullopt; }
  ids members() const override {
    auto out = highest_first::members();
    std::erase_if(out, [&](auto id) { return hidden_.contains(id); });
    return out;
  }
  void lost(proc_id id) override { hidden_.insert(id); }

private:
  std::set<proc_id> hidden_;
};

} // namespace

// WP-01, WP-02, WP-03
BOOST_AUTO_TEST_CASE(a_pool_is_made_of_ids_and_gives_them_out_one_by_one) {
  workers w{2};
  const std::set<proc_id> as_set{w[0], w[1]};
  for (auto& pool : {worker_pool{here(), {w[0], w[1]}}, worker_pool{here(), w.ids()}, worker_pool{here(), as_set},
                     worker_pool{here(), std::views::iota(w[0], w[1] + 1)}}) {
    BOOST_TEST((pool.members() == w.ids()));
    BOOST_TEST((pool.idle() == w.ids()));
    BOOST_TEST(pool.isready());
    BOOST_TEST(pool.take() == w[0]);
    BOOST_TEST(pool.take() == w[1]);
    BOOST_TEST(!pool.isready());
    BOOST_TEST(pool.size() == 2u);
    BOOST_TEST(pool.idle().empty());
    const auto third = here().remotecall(1, [](const worker_pool& p) { return p.take(); }, pool);
    BOOST_TEST(stays_open(third));
    pool.put(w[1]);
    BOOST_TEST(third.fetch() == w[1]);
    pool.put(w[0]);
    pool.push(1);
    BOOST_TEST((pool.members() == ids{1, w[0], w[1]}));
    BOOST_TEST(pool.take() == w[0]);
    BOOST_TEST(pool.take() == 1);
  }
}

BOOST_AUTO_TEST_CASE(what_is_wrong_with_a_pool_is_said) {
  workers w{1};
  BOOST_CHECK_THROW((worker_pool{here(), {99}}), troupe::unknown_process);
  BOOST_CHECK_THROW((worker_pool{here(), {w[0]}, 0}), troupe::usage_error);
  BOOST_CHECK_THROW((worker_pool{here(), std::shared_ptr<highest_first>{}}), troupe::usage_error);
  const worker_pool pool{here(), {w[0]}};
  BOOST_CHECK_THROW(pool.push(99), troupe::unknown_process);
  BOOST_CHECK_THROW(pool.push(w[0], -1), troupe::usage_error);
  // a worker doesn't know which processes there never were
  for (auto& p : {pool, worker_pool{here(), std::make_shared<highest_first>(w.ids())}}) {
    const auto e = error_of<troupe::remote_error>([&] { here().remotecall_fetch(w[0], [](const worker_pool& x) { x.push(99'999); }, p); });
    BOOST_CHECK_THROW(e.rethrow_nested(), troupe::unknown_process);
    BOOST_TEST(p.size() == 1u);
  }
  const worker_pool none;
  BOOST_TEST(!none.valid());
  BOOST_CHECK_THROW(none.take(), troupe::usage_error);
  BOOST_CHECK_THROW(none.size(), troupe::usage_error);
  BOOST_CHECK_THROW(here().remotecall<where_am_i>(none), troupe::usage_error);
  BOOST_CHECK_THROW(here().default_worker_pool(none), troupe::usage_error);
}

// WP-13
BOOST_AUTO_TEST_CASE(an_empty_pool_and_one_of_dead_workers_end_calls_with_an_error) {
  const worker_pool empty{here(), {}};
  BOOST_TEST(empty.size() == 0u);
  BOOST_TEST(!empty.isready());
  BOOST_CHECK_THROW(empty.take(), troupe::no_workers);
  BOOST_CHECK_THROW(empty.wait(), troupe::no_workers);
  BOOST_CHECK_THROW(here().remotecall(empty, troupe::fn<where_am_i>), troupe::no_workers);
  BOOST_CHECK_THROW(here().remotecall_fetch<where_am_i>(empty), troupe::no_workers);
  BOOST_CHECK_THROW(here().remote_do(empty, troupe::fn<where_am_i>), troupe::no_workers);
  ids gone;
  {
    workers w{2};
    gone = w.ids();
  }
  const worker_pool dead{here(), gone};
  const auto e = error_of<troupe::no_workers>([&] { here().remotecall_wait<where_am_i>(dead); });
  BOOST_TEST(contains(e.what(), "worker " + std::to_string(gone[0]) + " was removed"));
  BOOST_CHECK_THROW(dead.push(gone[0]), troupe::process_exited);
}

// WP-04, WP-13, WP-14
BOOST_AUTO_TEST_CASE(members_that_die_leave_at_once_and_who_waits_for_the_last_is_told) {
  workers w{3};
  const worker_pool pool{here(), w.ids()};
  for (int i = 0; i < 3; ++i)
    pool.take();
  const auto take = here().remotecall(1, [](const worker_pool& p) { return p.take(); }, pool);
  const auto wait = here().remotecall(w[2], [](const worker_pool& p) { p.wait(); }, pool);
  BOOST_TEST(stays_open(take));
  BOOST_TEST(stays_open(wait));
  kill_worker(w[0]);
  BOOST_TEST(eventually([&] { return pool.size() == 2; }, 2s));
  BOOST_TEST((pool.members() == ids{w[1], w[2]}));
  pool.put(w[0]); // no longer one
  BOOST_TEST(!pool.isready());
  here().rmprocs(w[1]);
  BOOST_TEST((pool.members() == ids{w[2]}));
  BOOST_TEST(!take.isready());
  kill_worker(w[2]);
  BOOST_CHECK_THROW(wait.fetch(), troupe::process_exited);
  const auto e = error_of<troupe::remote_error>([&] { take.fetch(); });
  BOOST_CHECK_THROW(e.rethrow_nested(), troupe::no_workers);
  BOOST_TEST(contains(e.what(), "killed by signal 9"));
  BOOST_CHECK_THROW(pool.take(), troupe::no_workers);
}

// WP-05
BOOST_AUTO_TEST_CASE(calls_that_wait_give_their_member_back_also_when_they_fail) {
  workers w{1};
  const worker_pool pool{here(), w.ids()};
  for (int i = 0; i < 10; ++i) {
    BOOST_CHECK_THROW(here().remotecall_fetch<fail>(pool), troupe::remote_error);
    BOOST_TEST((pool.idle() == w.ids()));
    BOOST_CHECK_THROW(here().remotecall_wait<fail>(pool), troupe::remote_error);
    BOOST_TEST(pool.isready());
    BOOST_TEST(here().remotecall_fetch<where_am_i>(pool) == w[0]);
    BOOST_TEST(pool.isready());
    BOOST_TEST(here().remotecall_wait<where_am_i>(pool).fetch() == w[0]);
    BOOST_TEST((pool.idle() == w.ids()));
  }
  BOOST_TEST(pool.size() == 1u);
}

// WP-06
BOOST_AUTO_TEST_CASE(an_asynchronous_call_keeps_its_member_until_it_has_ended_whoever_waits) {
  workers w{1};
  for (auto& pool : {worker_pool{here(), w.ids()}, worker_pool{here(), std::make_shared<highest_first>(w.ids())}}) {
    const auto ch = channel::on(here(), 1, 10);
    for (int how = 0; how < 4; ++how) {
      auto f = here().remotecall(
        pool,
        [](const channel& c, bool fails) {
          if (c.take() != 0 || fails)
            throw std::runtime_error{"it failed"};
          return std::vector<double>(100'000); // stays there
        },
        ch, how == 1);
      if (how == 2)
        f = {};
      BOOST_TEST(!pool.isready());
      ch.put(0);
      if (how == 3)
        f.wait();
      else
        pool.wait(call_options{.deadline = 1s});
      BOOST_TEST(pool.isready());
      BOOST_TEST((pool.idle() == w.ids()));
    }
    // nobody has brought anything here
    for (auto& s : here().statistics())
      if (s.id == 1)
        BOOST_TEST(s.bytes_received < 2'000'000u);
  }
}

// WP-06
BOOST_AUTO_TEST_CASE(a_member_is_back_when_its_calls_future_is_ready) {
  workers w{2};
  const worker_pool pool{here(), {w[0]}};
  for (int i = 0; i < 300; ++i) {
    here().remotecall<where_am_i>(pool).wait();
    BOOST_REQUIRE(pool.isready());
  }
  // and for who uses the pool from elsewhere
  BOOST_TEST(here().remotecall_fetch(
    w[1],
    [](const worker_pool& p) {
      for (int i = 0; i < 300; ++i) {
        here().remotecall<where_am_i>(p).wait();
        if (!p.isready())
          return false;
      }
      return true;
    },
    pool));
}

// WP-07
BOOST_AUTO_TEST_CASE(fire_and_forget_gives_the_member_back_at_once) {
  workers w{1};
  const worker_pool pool{here(), w.ids()};
  const auto ch = channel::on(here());
  for (int i = 0; i < 3; ++i) {
    here().remote_do(pool, [](const channel& c) { c.take(); }, ch);
    BOOST_TEST(pool.isready());
    here().remote_do(call_options{.deadline = 20s}, pool, [](const channel& c) { c.take(); }, ch);
    BOOST_TEST(pool.isready());
  }
  for (int i = 0; i < 6; ++i)
    ch.put(i);
}

BOOST_AUTO_TEST_CASE(a_call_that_can_not_be_sent_gives_its_member_back) {
  workers w{1};
  const worker_pool pool{here(), w.ids()};
  const unsendable broken;
  const auto f = [](const unsendable&) {};
  BOOST_CHECK_THROW(here().remotecall(pool, f, broken), troupe::not_serializable);
  BOOST_TEST(pool.isready());
  BOOST_CHECK_THROW(here().remotecall_fetch(pool, f, broken), troupe::not_serializable);
  BOOST_TEST(pool.isready());
  BOOST_CHECK_THROW(here().remote_do(pool, f, broken), troupe::not_serializable);
  BOOST_TEST(pool.isready());
}

// WP-08
BOOST_AUTO_TEST_CASE(as_many_calls_run_as_there_are_members) {
  workers w{4};
  for (bool backwards : {false, true}) {
    const worker_pool pool{here(), w.ids()};
    std::vector<channel> gates;
    std::vector<troupe::future<proc_id>> calls;
    for (int i = 0; i < 4; ++i) {
      BOOST_TEST(pool.isready());
      gates.push_back(channel::on(here()));
      calls.push_back(here().remotecall<until_put>(pool, gates.back()));
    }
    BOOST_TEST(!pool.isready());
    for (std::size_t k = 0; k < 4; ++k) {
      const auto i = backwards ? 3 - k : k;
      gates[i].put(1);
      pool.wait(call_options{.deadline = 10s});
      BOOST_TEST(calls[i].fetch() == w[i]);
      BOOST_TEST((pool.idle() == ids{w[i]}));
      gates[i] = channel::on(here());
      calls[i] = here().remotecall<until_put>(pool, gates[i]);
      BOOST_TEST(!pool.isready());
    }
    for (auto& g : gates)
      g.put(1);
    for (auto& c : calls)
      c.wait();
    BOOST_TEST(pool.idle().size() == 4u);
  }
}

// WP-09
BOOST_AUTO_TEST_CASE(members_take_turns) {
  workers w{3};
  const worker_pool pool{here(), w.ids()};
  std::map<proc_id, int> times;
  for (int i = 0; i < 99; ++i)
    ++times[here().remotecall_fetch<where_am_i>(pool)];
  for (auto id : w.ids())
    BOOST_TEST(times[id] == 33);
}

// WP-10, WP-11
BOOST_AUTO_TEST_CASE(a_pool_works_on_every_process_and_is_accounted_for_where_it_lives) {
  workers w{3};
  const worker_pool pool{here(), {w[0], w[1]}};
  BOOST_TEST((here().remotecall_fetch(w[2], [](const worker_pool& p) { return p; }, pool) == pool));
  // taken there, waited for here and there, put back here
  BOOST_TEST(here().remotecall_fetch(w[2], [](const worker_pool& p) { return p.take(); }, pool) == w[0]);
  BOOST_TEST(pool.take() == w[1]);
  std::vector<troupe::future<void>> waits;
  for (auto id : {proc_id{1}, w[2]})
    waits.push_back(here().remotecall(id, [](const worker_pool& p) { p.wait(); }, pool));
  for (auto& f : waits)
    BOOST_TEST(stays_open(f));
  pool.put(w[0]); // worker 2 of these has taken it, and lives: it hasn't been given up
  for (auto& f : waits)
    f.wait();
  pool.put(w[1]);
  const auto used = here().remotecall_fetch(
    w[2],
    [](const worker_pool& p) {
      std::set<proc_id> out;
      for (int i = 0; i < 20; ++i)
        out.insert(here().remotecall_fetch<where_am_i>(p));
      return ids{out.begin(), out.end()};
    },
    pool);
  BOOST_TEST((used == ids{w[0], w[1]}));
  BOOST_TEST((pool.idle() == ids{w[0], w[1]}));
  // one that was made there
  const auto made = here().remotecall_fetch(w[2], [](const ids& members) { return worker_pool{here(), members}; }, w.ids());
  BOOST_TEST(made.id().where == w[2]);
  BOOST_TEST(here().remotecall_fetch<where_am_i>(made) == w[0]);
  BOOST_TEST((made.members() == w.ids()));
  kill_worker(w[2]);
  BOOST_CHECK_THROW(eventually([&] { return made.size() == 99; }), troupe::process_exited);
}

// WP-11
BOOST_AUTO_TEST_CASE(pools_travel_in_whatever_travels) {
  workers w{2};
  const worker_pool pool{here(), w.ids()};
  const worker_pool one{here(), {w[1]}};
  const crew all{"all", pool, {{"others", {pool, one}}}};
  const auto use = troupe::with(all, [](const crew& x, const std::vector<worker_pool>& more) {
    return static_cast<int>(x.pool.size() + x.more.at("others").at(1).size() + more.at(0).size());
  });
  BOOST_TEST(here().remotecall_fetch(w[0], use, std::vector{one, pool}) == 4);
  const auto a = here().spawn<foreman>(w[0]);
  BOOST_TEST(here().request<int>(a, pool) == 2);
  BOOST_TEST(here().request<int>(a, all) == 3);
  const auto ch = remote_channel<worker_pool>::on(here(), w[1], 2);
  ch.put(pool);
  BOOST_TEST((ch.take() == pool));
  BOOST_TEST(!here().remotecall_fetch(w[0], [](const worker_pool& p) { return p.valid(); }, worker_pool{}));
  const auto b = here().spawn<foreman>(pool);
  BOOST_TEST(here().request<int>(b, one) == 1);
}

// WP-11
BOOST_AUTO_TEST_CASE(a_pool_is_freed_with_its_last_copy_anywhere) {
  workers w{2};
  auto pool = std::make_optional<worker_pool>(here(), w.ids());
  const auto copy = *pool;
  BOOST_TEST(pools_on(1, copy) == 1u);
  const auto id = copy.id();
  const auto there = [&] {
    const auto all = here().references(1);
    return std::any_of(all.begin(), all.end(), [&](auto& r) { return r.id == id; });
  };
  const auto ch = remote_channel<worker_pool>::on(here(), w[0], 1);
  ch.put(copy);
  pool.reset();
  const_cast<worker_pool&>(copy) = {};
  BOOST_TEST(!eventually([&] { return !there(); }, 50ms));
  BOOST_TEST(ch.take().size() == 2u);
  BOOST_TEST(eventually([&] { return !there(); }));
}

// WP-12
BOOST_AUTO_TEST_CASE(what_is_no_member_is_not_given_back) {
  workers w{2};
  const worker_pool pool{here(), {w[0]}};
  pool.put(99);
  pool.put(w[1]);
  pool.put(w[0]);
  BOOST_TEST((pool.members() == ids{w[0]}));
  BOOST_TEST(pool.take() == w[0]);
  BOOST_TEST(!pool.isready());
}

// WP-15
BOOST_AUTO_TEST_CASE(slots_let_several_calls_run_on_one_worker) {
  workers w{1};
  worker_pool pushed{here(), w.ids()};
  pushed.push(w[0]);
  for (auto& pool : {worker_pool{here(), w.ids(), 2}, worker_pool{here(), {w[0], w[0]}}, pushed}) {
    const auto ch = channel::on(here());
    const auto a = here().remotecall<until_put>(pool, ch);
    BOOST_TEST(pool.isready());
    const auto b = here().remotecall<until_put>(pool, ch);
    BOOST_TEST(!pool.isready());
    BOOST_TEST(pool.size() == 1u);
    ch.put(1);
    ch.put(2);
    a.wait();
    b.wait();
    BOOST_TEST((pool.idle() == w.ids()));
  }
}

// WP-16
BOOST_AUTO_TEST_CASE(the_default_pool_holds_all_workers_and_without_any_stands_for_the_master) {
  const auto pool = here().default_worker_pool();
  const auto alone = [&] {
    BOOST_TEST(pool.size() == 0u);
    BOOST_TEST((pool.members() == ids{1}));
    BOOST_TEST((pool.idle() == ids{1}));
    for (int i = 0; i < 5; ++i)
      BOOST_TEST(pool.take() == 1);
    BOOST_TEST(pool.isready());
    BOOST_TEST(here().remotecall_fetch<where_am_i>(pool) == 1);
  };
  alone();
  {
    workers w{2};
    BOOST_TEST(pool.size() == 2u);
    BOOST_TEST((pool.members() == w.ids()));
    BOOST_TEST((here().default_worker_pool() == pool));
    workers more{1};
    BOOST_TEST(pool.size() == 3u);
    kill_worker(w[0]);
    BOOST_TEST(eventually([&] { return pool.size() == 2; }, 2s));
    std::set<proc_id> used;
    for (int i = 0; i < 10; ++i)
      used.insert(here().remotecall_fetch<where_am_i>(pool));
    BOOST_TEST((used == std::set<proc_id>{w[1], more[0]}));
  }
  alone();
}

// WP-17, WP-18
BOOST_AUTO_TEST_CASE(every_process_has_the_same_default_pool_which_can_be_replaced) {
  workers w{2};
  const auto first = here().default_worker_pool();
  const auto of = [](proc_id p) { return here().remotecall_fetch(p, [] { return here().default_worker_pool(); }); };
  BOOST_TEST((of(w[0]) == first));
  BOOST_TEST((here().remotecall_fetch(w[0], [] { return here().default_worker_pool().members(); }) == w.ids()));
  const worker_pool other{here(), {w[1]}};
  here().default_worker_pool(other);
  BOOST_TEST((here().default_worker_pool() == other));
  BOOST_TEST((of(w[0]) == other));
  workers more{1};
  BOOST_TEST(here().default_worker_pool().size() == 1u);
  here().remotecall_wait(w[1], [](const worker_pool& p) { here().default_worker_pool(p); }, first);
  BOOST_TEST((here().default_worker_pool() == first));
  BOOST_TEST(first.size() == 3u); // who came meanwhile, too
  // one that was made on a worker
  here().remotecall_wait(w[1], [] { here().default_worker_pool(worker_pool{here(), {here().myid()}}); });
  BOOST_TEST((here().default_worker_pool().members() == ids{w[1]}));
  here().default_worker_pool(first);
}

// WP-16, WP-17
BOOST_AUTO_TEST_CASE(who_is_given_a_new_worker_by_the_default_pool_can_call_it) {
  workers w{1};
  const auto stop = troupe::future<int>::on(here());
  const auto calls = here().remotecall(
    w[0],
    [](const troupe::future<int>& until) {
      int n = 0;
      for (; !until.isready(); ++n)
        here().remotecall_fetch<where_am_i>(here().default_worker_pool());
      return n;
    },
    stop);
  workers second{1};
  workers third{1};
  stop.put(1);
  BOOST_TEST(calls.fetch() >= 0);
}

// RC-05
BOOST_AUTO_TEST_CASE(all_forms_of_calls_take_a_pool_and_options) {
  workers w{2};
  const worker_pool pool{here(), w.ids()};
  auto& c = here();
  const auto add = [](int a, int b) { return a + b; };
  const call_options o{.deadline = 20s};
  BOOST_TEST(c.remotecall(pool, add, 1, 2).fetch() == 3);
  BOOST_TEST(c.remotecall(o, pool, add, 1, 2).fetch() == 3);
  BOOST_TEST(c.remotecall_wait(pool, add, 1, 2).fetch() == 3);
  BOOST_TEST(c.remotecall_wait(o, pool, add, 1, 2).fetch() == 3);
  BOOST_TEST(c.remotecall_fetch(pool, add, 1, 2) == 3);
  BOOST_TEST(c.remotecall_fetch(o, pool, add, 1, 2) == 3);
  BOOST_TEST(c.spawnat(pool, add, 1, 2).fetch() == 3);
  BOOST_TEST(c.spawnat(o, pool, add, 1, 2).fetch() == 3);
  BOOST_TEST(c.remotecall_fetch(pool, troupe::direct(add), 1, 2) == 3);
  BOOST_TEST(contains_id(w.ids(), c.remotecall<where_am_i>(o, pool).fetch()));
  const auto ch = remote_channel<proc_id>::on(c, 1, 9);
  const auto tell = [](const remote_channel<proc_id>& to) { to.put(here().myid()); };
  c.remote_do(pool, tell, ch);
  c.remote_do(o, pool, tell, ch);
  BOOST_TEST(contains_id(w.ids(), ch.take()));
  BOOST_TEST(contains_id(w.ids(), ch.take()));
  BOOST_TEST(pool.idle().size() == 2u);
}

BOOST_AUTO_TEST_CASE(a_deadline_and_a_token_hold_for_the_wait_for_a_member) {
  workers w{1};
  for (auto& pool : {worker_pool{here(), w.ids()}, worker_pool{here(), std::make_shared<highest_first>(w.ids())}}) {
    const auto id = pool.take();
    const auto t = time_of([&] {
      BOOST_CHECK_THROW(pool.take(call_options{.deadline = 30ms}), troupe::deadline_exceeded);
      BOOST_CHECK_THROW(pool.wait(call_options{.deadline = 30ms}), troupe::deadline_exceeded);
      BOOST_CHECK_THROW(here().remotecall(call_options{.deadline = 30ms}, pool, troupe::fn<where_am_i>), troupe::deadline_exceeded);
      BOOST_CHECK_THROW(here().remotecall_fetch(call_options{.deadline = 30ms}, pool, troupe::fn<where_am_i>), troupe::deadline_exceeded);
      BOOST_CHECK_THROW(here().remote_do(call_options{.deadline = 30ms}, pool, troupe::fn<where_am_i>), troupe::deadline_exceeded);
      troupe::cancel_token token;
      std::jthread canceller{[&] { token.cancel(); }};
      BOOST_CHECK_THROW(here().remotecall(call_options{.token = token}, pool, troupe::fn<where_am_i>), troupe::cancelled);
    });
    BOOST_TEST((t >= 150ms));
    // who gave up has taken nothing
    pool.put(id);
    BOOST_TEST(pool.isready());
    // what is left of the deadline is the call's
    const auto ch = channel::on(here());
    const auto held = here().remotecall<until_put>(pool, ch);
    std::jthread late{[&] {
      std::this_thread::sleep_for(100ms);
      ch.put(1);
    }};
    const auto all = time_of([&] {
      BOOST_CHECK_THROW(here().remotecall_fetch(call_options{.deadline = 400ms}, pool, [] { troupe::this_task::sleep_for(30s); }),
                        troupe::deadline_exceeded);
    });
    BOOST_TEST((all >= 400ms));
    BOOST_TEST((all < 20s));
    held.wait();
    pool.wait(call_options{.deadline = 10s});
  }
}

// WP-02: whoever gives up in the moment in which it is served loses nothing
BOOST_AUTO_TEST_CASE(no_member_is_lost_between_takers_that_give_up) {
  workers w{2};
  const worker_pool pool{here(), {w[0]}};
  std::vector<troupe::future<int>> users;
  for (auto id : {proc_id{1}, w[0], w[1]})
    users.push_back(here().remotecall(
      id,
      [](const worker_pool& p) {
        int taken = 0;
        for (int i = 0; i < 300; ++i)
          try {
            const auto m = p.take(call_options{.deadline = std::chrono::microseconds{i * 7 % 400}});
            ++taken;
            p.put(m);
          } catch (const troupe::deadline_exceeded&) {
          }
        return taken;
      },
      pool));
  for (auto& u : users)
    BOOST_TEST(u.fetch() >= 0);
  pool.wait(call_options{.deadline = 10s});
  BOOST_TEST(pool.take(call_options{.deadline = 10s}) == w[0]);
  BOOST_TEST(!pool.isready());
}

BOOST_AUTO_TEST_CASE(what_a_worker_has_taken_comes_back_when_it_dies) {
  workers w{3};
  for (auto& pool : {worker_pool{here(), {w[1], w[2]}}, worker_pool{here(), std::make_shared<highest_first>(ids{w[1], w[2]})}}) {
    workers user{1};
    here().remotecall_wait(
      user[0],
      [](const worker_pool& p) {
        p.take();
        p.take();
      },
      pool);
    BOOST_TEST(!pool.isready());
    kill_worker(user[0]);
    pool.wait(call_options{.deadline = 10s});
    BOOST_TEST((pool.take() == w[1] || pool.isready()));
  }
}

// WP-05, WP-13: calls end with their worker, and others get their turn
BOOST_AUTO_TEST_CASE(calls_on_a_worker_that_dies_end_and_the_pool_goes_on) {
  workers w{2};
  const worker_pool pool{here(), w.ids()};
  const auto ch = channel::on(here());
  const auto a = here().remotecall<until_put>(pool, ch);
  const auto b = here().remotecall<until_put>(pool, ch);
  kill_worker(w[0]);
  BOOST_CHECK_THROW(a.wait(), troupe::process_exited);
  BOOST_TEST((pool.members() == ids{w[1]}));
  ch.put(1);
  BOOST_TEST(b.fetch() == w[1]);
  BOOST_TEST(here().remotecall_fetch<where_am_i>(pool) == w[1]);
  const auto c = here().remotecall<until_put>(pool, ch);
  kill_worker(w[1]);
  BOOST_CHECK_THROW(here().remotecall_fetch<where_am_i>(pool), troupe::no_workers);
  BOOST_CHECK_THROW(c.wait(), troupe::process_exited);
}

BOOST_AUTO_TEST_CASE(a_call_that_is_given_up_gives_its_member_back) {
  workers w{1};
  const worker_pool pool{here(), w.ids()};
  const auto forever = [] { troupe::this_task::sleep_for(1h); };
  const auto f = here().remotecall(pool, forever);
  BOOST_TEST(!pool.isready());
  f.cancel();
  BOOST_CHECK_THROW(f.wait(), troupe::cancelled);
  BOOST_TEST(pool.isready());
  BOOST_CHECK_THROW(here().remotecall_fetch(call_options{.deadline = 30ms}, pool, forever), troupe::deadline_exceeded);
  BOOST_TEST(pool.isready());
  const auto begun = channel::on(here());
  const auto g = here().remotecall(
    pool,
    [](const channel& c) {
      c.put(1);
      troupe::this_task::sleep_for(1h);
    },
    begun);
  begun.take();
  here().interrupt(w[0]);
  BOOST_CHECK_THROW(g.wait(), troupe::interrupted);
  BOOST_TEST(pool.isready());
}

// WP-19
BOOST_AUTO_TEST_CASE(a_pool_of_ones_own_is_used_like_any_other) {
  workers w{3};
  const worker_pool pool{here(), std::make_shared<highest_first>(w.ids())};
  BOOST_TEST(pool.size() == 3u);
  BOOST_TEST((pool.members() == w.ids()));
  for (int i = 0; i < 5; ++i)
    BOOST_TEST(here().remotecall_fetch<where_am_i>(pool) == w[2]);
  const auto ch = channel::on(here());
  const auto f = here().remotecall<until_put>(pool, ch);
  BOOST_TEST(here().remotecall_fetch<where_am_i>(pool) == w[1]);
  BOOST_TEST(here().remotecall_fetch(w[0], [](const worker_pool& p) { return here().remotecall_fetch<where_am_i>(p); }, pool) == w[1]);
  ch.put(1);
  BOOST_TEST(f.fetch() == w[2]);
  pool.put(99);
  BOOST_TEST(pool.take() == w[2]);
  BOOST_TEST(pool.take() == w[1]);
  BOOST_TEST(pool.take() == w[0]);
  BOOST_TEST(!pool.isready());
  const auto wait = here().remotecall(w[0], [](const worker_pool& p) { p.wait(); }, pool);
  const auto take = here().remotecall(w[0], [](const worker_pool& p) { return p.take(); }, pool);
  BOOST_TEST(stays_open(take));
  BOOST_TEST(!wait.isready());
  pool.put(w[1]);
  wait.wait();
  BOOST_TEST(take.fetch() == w[1]);
  pool.push(1);
  BOOST_TEST(pool.take() == 1);
  here().default_worker_pool(pool);
  BOOST_TEST((here().default_worker_pool().members() == ids{1, w[0], w[1], w[2]}));
}

// WP-13, WP-14, WP-19
BOOST_AUTO_TEST_CASE(a_pool_of_ones_own_whose_members_die_ends_takes_too) {
  for (int kind = 0; kind < 2; ++kind) {
    workers w{2};
    const auto of_own = kind == 0 ? std::make_shared<highest_first>(w.ids()) : std::make_shared<tidy>(w.ids());
    const worker_pool pool{here(), of_own};
    kill_worker(w[1]);
    BOOST_TEST(eventually([&] { return pool.size() == 1; }, 2s));
    BOOST_TEST((pool.members() == ids{w[0]}));
    if (kind == 0)
      BOOST_TEST(pool.take() == w[0]);
    const auto blocked = here().remotecall(1, [](const worker_pool& p) { p.take(); }, pool);
    BOOST_TEST(stays_open(blocked));
    kill_worker(w[0]);
    const auto e = error_of<troupe::remote_error>([&] { blocked.wait(); });
    BOOST_CHECK_THROW(e.rethrow_nested(), troupe::no_workers);
    BOOST_CHECK_THROW(pool.take(), troupe::no_workers);
    BOOST_CHECK_THROW(pool.wait(), troupe::no_workers);
    BOOST_TEST(!pool.isready());
  }
}

// WP-20, WP-21
BOOST_AUTO_TEST_CASE(a_pool_may_hold_the_caller_and_workers) {
  workers w{2};
  const worker_pool self{here(), {1}};
  BOOST_TEST(here().remotecall_fetch<where_am_i>(self) == 1);
  const worker_pool all{here(), here().procs()};
  for (int round = 0; round < 20; ++round) {
    std::vector<troupe::future<proc_id>> calls;
    for (int i = 0; i < 10; ++i)
      calls.push_back(here().remotecall<where_am_i>(all));
    std::set<proc_id> used;
    for (auto& f : calls)
      used.insert(f.fetch());
    BOOST_TEST(used.size() >= 1u);
  }
  BOOST_TEST(all.idle().size() == 3u);
}

// What maps ask.
BOOST_AUTO_TEST_CASE(a_pool_tells_what_has_changed_and_takes_questions_back) {
  workers w{2};
  for (auto& pool :
       {worker_pool{here(), w.ids()}, here().remotecall_fetch(w[1], [](const ids& xs) { return worker_pool{here(), xs}; }, w.ids())}) {
    auto first = pool.ask_view(0);
    const auto v = worker_pool::view_of(*first);
    BOOST_TEST(v.members.size() == 2u);
    auto second = pool.ask_view(v.version);
    BOOST_TEST(!second->ready());
    const auto id = pool.take();
    const auto v2 = worker_pool::view_of(*second);
    BOOST_TEST(v2.members[0].taken == 1);
    pool.take();
    second = pool.ask_view(worker_pool::view_of(*pool.ask_view(0)).version);
    auto dropped = pool.ask_take();
    auto next = pool.ask_take();
    dropped = nullptr;
    pool.put(id);
    BOOST_TEST(worker_pool::taken_of(*next) == id);
    pool.put(id);
    auto unread = pool.ask_take();
    BOOST_TEST(unread->wait(std::chrono::steady_clock::now() + 10s));
    BOOST_TEST(!pool.isready());
    unread = nullptr;
    BOOST_TEST(pool.isready());
    second = nullptr;
  }
  const worker_pool own{here(), std::make_shared<highest_first>(w.ids())};
  BOOST_TEST(worker_pool::view_of(*own.ask_view(0)).custom);
  BOOST_TEST(worker_pool::taken_of(*own.ask_take()) == w[1]);
}

namespace {

// On a second level of calls, each of which has taken a member.
int spread(const worker_pool& p, int depth) {
  if (depth == 0)
    return 1;
  const auto a = here().remotecall(p, troupe::fn<spread>, p, depth - 1);
  return a.fetch() + 1;
}

} // namespace

// WP-11
BOOST_AUTO_TEST_CASE(calls_through_a_pool_nest_as_deep_as_there_are_slots) {
  workers w{2};
  const worker_pool pool{here(), w.ids(), 3};
  BOOST_TEST(here().remotecall_fetch<spread>(pool, pool, 5) == 6);
  BOOST_TEST((pool.idle() == w.ids()));
}

namespace {

// Calls of all kinds through a pool, some of which end early. Returns how many have run.
int use_in_every_way(const worker_pool& p, int n) {
  int done = 0;
  std::vector<troupe::future<proc_id>> open;
  for (int i = 0; i < n; ++i)
    try {
      switch (i % 5) {
        case 0:
          here().remotecall_fetch<where_am_i>(p);
          break;
        case 1:
          open.push_back(here().remotecall<where_am_i>(p));
          break;
        case 2:
          here().remotecall(p, [] { troupe::this_task::sleep_for(1h); }).cancel();
          break;
        case 3:
          here().remotecall_fetch(call_options{.deadline = std::chrono::microseconds{i * 37 % 2000}}, p, troupe::fn<where_am_i>);
          break;
        default:
          here().remote_do(p, troupe::fn<where_am_i>);
      }
      ++done;
    } catch (const troupe::deadline_exceeded&) {
    } catch (const troupe::process_exited&) {
    }
  for (auto& f : open)
    try {
      f.wait();
    } catch (const troupe::process_exited&) {
    }
  return done;
}

} // namespace

// WP-05, WP-06, WP-08, WP-14
BOOST_AUTO_TEST_CASE(whatever_happens_to_calls_and_their_processes_every_member_comes_back) {
  workers members{4};
  workers users{2};
  for (auto& pool : {worker_pool{here(), members.ids()}, worker_pool{here(), std::make_shared<highest_first>(members.ids())}}) {
    std::vector<troupe::future<int>> all;
    for (auto id : {proc_id{1}, users[0], users[1]})
      all.push_back(here().remotecall(id, troupe::fn<use_in_every_way>, pool, 200));
    workers doomed{1};
    const auto never = here().remotecall(doomed[0], troupe::fn<use_in_every_way>, pool, 1'000'000);
    const auto victim = pool.members().front();
    kill_worker(victim);
    kill_worker(doomed[0]);
    for (auto& f : all)
      BOOST_TEST(f.fetch() > 0);
    BOOST_CHECK_THROW(never.fetch(), troupe::process_exited);
    BOOST_TEST(eventually([&] { return !contains_id(pool.members(), victim) && pool.idle() == pool.members(); }));
    BOOST_TEST(pool.size() >= 2u);
  }
}
