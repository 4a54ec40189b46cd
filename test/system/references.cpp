#define BOOST_TEST_MODULE references
#include "system/harness.hpp"

#include <troupe/actors.hpp>

#include <atomic>
#include <map>
#include <numeric>
#include <set>
#include <unordered_set>

namespace {

using troupe::future;
using troupe::ref_id;
using ints = std::vector<int>;
using ids = std::vector<proc_id>;

std::size_t refs_on(proc_id p) { return here().references(p).size(); }

ids holders(const ref_id& id) {
  for (auto& r : here().references(id.where))
    if (r.id == id)
      return r.holders;
  return {};
}

bool becomes_empty(proc_id p) {
  return eventually([&] { return refs_on(p) == 0; });
}

void kill(proc_id p) { ::kill(static_cast<::pid_t>(here().info(p).os_pid), SIGKILL); }

// Frames between the master and a worker, without what this costs itself.
std::uint64_t frames_to(proc_id id) {
  for (auto& l : here().links())
    if (l.a == 1 && l.b == id)
      return l.frames;
  return 0;
}

template <class T>
bool stays_open(const future<T>& f) {
  return !f.wait_for(50ms);
}

std::size_t resident_mb(int pid) {
  std::istringstream in{read_file("/proc/" + std::to_string(pid) + "/statm")};
  std::size_t size = 0, resident = 0;
  in >> size >> resident;
  return resident * 4096 >> 20;
}

int plus_one(int x) { return x + 1; }

// Two futures and what they are about.
struct pair_of_futures {
  std::string name;
  future<int> one;
  std::vector<future<std::string>> more;

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, pair_of_futures& x) {
    return f(caf::meta::type_name("pair_of_futures"), x.name, x.one, x.more);
  }
};

const setup register_types{[](troupe::app& app) { app.message_types<future<int>, pair_of_futures>(); }};

caf::behavior adder(caf::event_based_actor*) {
  return {[](const future<int>& f) { return f.fetch() + 1; },
          [](const pair_of_futures& p) { return p.name + p.more.at(0).fetch() + std::to_string(p.one.fetch()); }};
}

// What a channel of it can hold is a handle of that channel.
struct itself {
  std::vector<troupe::remote_channel<itself>> all;

  template <class Inspector>
  friend auto inspect(Inspector& f, itself& x) -> typename Inspector::result_type {
    return f(x.all);
  }
};

} // namespace

// -- identity ---------------------------------------------------------------------------------------------------------------

// RF-01, RF-02, RF-03
BOOST_AUTO_TEST_CASE(a_reference_is_known_by_who_made_it_and_a_number) {
  workers w{3};
  const auto f = future<int>::on(here(), w[0]);
  BOOST_TEST((f.id().where == w[0] && f.id().whence == 1 && f.id().id > 0));
  const auto back = here().remotecall_fetch(w[1], [](future<int> x) { return std::vector{x}; }, f).at(0); // alone it would be followed
  BOOST_TEST((back == f));
  BOOST_TEST((std::hash<future<int>>{}(back) == std::hash<future<int>>{}(f)));
  std::unordered_set<future<int>> all{f, back, future<int>::on(here(), w[0])};
  BOOST_TEST(all.size() == 2u);
  const auto made_there = here()
                            .remotecall_fetch(
                              w[1],
                              [](proc_id p) {
                                auto x = future<int>::on(here(), p);
                                x.put(3);
                                return std::vector{x};
                              },
                              w[2])
                            .at(0);
  BOOST_TEST((made_there.id().where == w[2] && made_there.id().whence == w[1]));
  BOOST_TEST(made_there.fetch() == 3);
  std::vector<std::set<std::uint64_t>> drawn(8);
  std::vector<std::thread> threads;
  for (auto& mine : drawn)
    threads.emplace_back([&] {
      for (int i = 0; i < 1000; ++i)
        mine.insert(future<int>::on(here(), w[0]).id().id);
    });
  std::set<std::uint64_t> numbers;
  for (std::size_t i = 0; i < 8; ++i) {
    threads[i].join();
    numbers.insert(drawn[i].begin(), drawn[i].end());
  }
  BOOST_TEST(numbers.size() == 8000u);
}

// RF-04
BOOST_AUTO_TEST_CASE(copies_on_a_process_share_what_was_fetched) {
  workers w{2};
  const auto f = here().remotecall<plus_one>(w[0], 1);
  const auto shared = here().remotecall_fetch(
    w[1],
    [](const future<int>& a, const std::vector<future<int>>& b) {
      a.fetch();
      return &a.fetch() == &b[0].fetch() && b[0].isready();
    },
    f, std::vector{f});
  BOOST_TEST(shared);
}

// RF-05
BOOST_AUTO_TEST_CASE(outside_of_the_cluster_a_future_means_nothing) {
  auto f = future<int>::on(here(), 1);
  troupe::byte_buffer bytes;
  troupe::writer w{bytes};
  BOOST_CHECK_THROW(write(w, f), std::runtime_error);
  std::vector<char> buffer;
  caf::binary_serializer sink{here().system(), buffer};
  BOOST_TEST(!sink(f));
  BOOST_TEST(buffer.empty());
}

BOOST_AUTO_TEST_CASE(a_future_travels_in_whatever_holds_it) {
  workers w{2};
  const auto f = here().remotecall<plus_one>(w[0], 41);
  const auto text = here().remotecall(w[0], [] { return std::string{"is "}; });
  pair_of_futures p{"it ", f, {text}};
  BOOST_TEST(here().remotecall_fetch(
               w[1], [](const pair_of_futures& x) { return x.name + x.more[0].fetch() + std::to_string(x.one.fetch()); }, p)
             == "it is 42");
  BOOST_TEST(here().remotecall_fetch(w[1], troupe::with(f, [](const future<int>& x, int y) { return x.fetch() + y; }), 1) == 43);
  const auto a = here().spawn<adder>(w[1]);
  BOOST_TEST(here().request<int>(a, here().remotecall<plus_one>(w[0], 7)) == 9);
  BOOST_TEST(here().request<std::string>(a, p) == "it is 42");
  const auto list = here().remotecall_fetch(
    w[1],
    [](proc_id other) {
      std::vector<future<int>> out;
      for (int i = 0; i < 5; ++i)
        out.push_back(here().remotecall<plus_one>(other, i));
      return out;
    },
    w[0]);
  for (int i = 0; i < 5; ++i)
    BOOST_TEST(list[static_cast<std::size_t>(i)].fetch() == i + 1);
}

// -- putting and getting ----------------------------------------------------------------------------------------------------

// FU-01, FU-02
BOOST_AUTO_TEST_CASE(a_future_is_set_once_by_anyone) {
  workers w{2};
  for (auto where : {proc_id{1}, w[0]})
    for (auto by : {proc_id{1}, w[0], w[1]}) {
      const auto f = future<int>::on(here(), where);
      BOOST_TEST(!f.isready());
      here().remotecall_wait(by, [](const future<int>& x) { x.put(5); }, f);
      BOOST_TEST(f.isready());
      BOOST_TEST(f.fetch() == 5);
      BOOST_TEST(f.fetch() == 5);
      BOOST_CHECK_THROW(f.put(6), troupe::already_set);
      const auto again = here().remotecall(w[1], [](const future<int>& x) { x.put(7); }, f);
      const auto e = error_of<troupe::remote_error>([&] { again.wait(); });
      BOOST_CHECK_THROW(e.rethrow_nested(), troupe::already_set);
    }
  const auto nothing = future<void>::on(here(), w[0]);
  nothing.put();
  nothing.fetch();
  BOOST_CHECK_THROW(nothing.put(), troupe::already_set);
}

// FU-02
BOOST_AUTO_TEST_CASE(the_result_of_a_call_is_not_set_again_and_what_is_set_first_stays) {
  workers w{2};
  for (auto p : {proc_id{1}, w[0]}) {
    const auto done = here().remotecall<plus_one>(p, 1);
    done.wait();
    BOOST_CHECK_THROW(done.put(9), troupe::already_set);
    BOOST_TEST(done.fetch() == 2);
    const auto gate = future<void>::on(here(), 1);
    for (const bool fails : {false, true}) {
      const auto gate_of_this = future<void>::on(here(), 1);
      const auto f = here().remotecall(
        p,
        [](const future<void>& g, bool x) {
          g.wait();
          if (x)
            throw std::runtime_error{"too late to fail"};
          return 1;
        },
        gate_of_this, fails);
      here().remotecall_wait(w[1], [](const future<int>& x) { x.put(2); }, f);
      gate_of_this.put();
      BOOST_TEST(f.fetch() == 2);
      BOOST_TEST(here().remotecall_fetch(w[1], [](const future<int>& x) { return x.fetch(); }, f) == 2);
    }
  }
}

// FU-03
BOOST_AUTO_TEST_CASE(of_racing_puts_one_succeeds_and_everyone_sees_its_value) {
  workers w{2};
  const auto put = [](const future<int>& f, int x) {
    try {
      f.put(x);
    } catch (const troupe::already_set&) {
      return -f.fetch();
    }
    return f.fetch();
  };
  for (int i = 0; i < 200; ++i) {
    const auto f = future<int>::on(here(), i % 3 == 0 ? 1 : w[static_cast<std::size_t>(i % 2)]);
    const auto a = here().remotecall(w[0], put, f, 1);
    const auto b = here().remotecall(w[1], put, f, 2);
    const int mine = put(f, 3);
    const std::set<int> seen{a.fetch(), b.fetch(), mine};
    const int value = f.fetch();
    BOOST_REQUIRE((seen == std::set<int>{value, -value}));
  }
}

// FU-05, FU-08, FU-09
BOOST_AUTO_TEST_CASE(what_is_known_here_costs_no_message) {
  workers w{1};
  const auto put = future<int>::on(here(), w[0]);
  BOOST_TEST(!put.isready());
  put.put(1);
  BOOST_TEST(becomes_empty(w[0])); // nobody else held it
  const auto fetched = future<int>::on(here(), w[0]);
  here().remotecall_wait(w[0], [](const future<int>& f) { f.put(2); }, fetched);
  fetched.fetch();
  BOOST_TEST(becomes_empty(w[0]));
  std::this_thread::sleep_for(20ms); // what is one-way has left
  const auto before = frames_to(w[0]);
  const auto empty = frames_to(w[0]) - before;
  const auto middle = frames_to(w[0]);
  for (int i = 0; i < 1000; ++i) {
    put.fetch();
    fetched.fetch();
    put.wait();
    if (!put.isready() || !fetched.isready())
      BOOST_FAIL("not ready");
  }
  BOOST_TEST(frames_to(w[0]) - middle <= empty + 10); // nothing for each
}

// FU-10
BOOST_AUTO_TEST_CASE(a_future_is_made_where_it_lives_when_it_is_first_used) {
  workers w{1};
  {
    const auto f = future<int>::on(here(), w[0]);
    BOOST_TEST(refs_on(w[0]) == 0u);
    BOOST_TEST(!f.isready());
    BOOST_TEST(refs_on(w[0]) == 1u);
    BOOST_TEST((holders(f.id()) == ids{1}));
  }
  BOOST_TEST(becomes_empty(w[0]));
}

// FU-11
BOOST_AUTO_TEST_CASE(a_fetched_future_carries_its_value) {
  workers w{2};
  const auto fetched = here().remotecall<plus_one>(w[0], 1);
  fetched.fetch();
  const auto failed = here().remotecall(w[0], []() -> int { throw std::runtime_error{"as before"}; });
  BOOST_CHECK_THROW(failed.fetch(), troupe::remote_error);
  const auto unfetched = here().remotecall(w[0], [] { return std::vector<int>(100'000); });
  unfetched.wait();
  kill(w[0]);
  BOOST_CHECK_THROW(unfetched.fetch(), troupe::process_exited);
  const auto fetch = [](const future<int>& f) { return f.fetch(); };
  BOOST_TEST(here().remotecall_fetch(w[1], fetch, fetched) == 2);
  BOOST_TEST(contains(error_of<troupe::remote_error>([&] { here().remotecall_fetch(w[1], fetch, failed); }).what(), "as before"));
  BOOST_CHECK_THROW(
    here().remotecall_fetch(w[1], [](const future<std::vector<int>>& f) { return f.fetch().size(); }, unfetched), troupe::process_exited);
}

// FU-06
BOOST_AUTO_TEST_CASE(everyone_who_fetches_gets_it) {
  workers w{2};
  for (auto where : {proc_id{1}, w[0]}) {
    const auto f = future<ints>::on(here(), where);
    std::vector<future<std::size_t>> there;
    for (auto p : {w[0], w[1], w[1]})
      there.push_back(here().remotecall(p, [](const future<ints>& x) { return x.fetch().size(); }, f));
    std::atomic<int> right{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 10; ++i)
      threads.emplace_back([&] { right += f.fetch().size() == 300'000; });
    BOOST_TEST(stays_open(there[0]));
    here().remotecall_wait(w[1], [](const future<ints>& x) { x.put(ints(300'000, 1)); }, f);
    for (auto& t : threads)
      t.join();
    BOOST_TEST(right == 10);
    for (auto& x : there)
      BOOST_TEST(x.fetch() == 300'000u);
  }
}

// FU-13
BOOST_AUTO_TEST_CASE(an_element_of_the_value_can_be_asked_for) {
  workers w{1};
  const auto f = here().remotecall(w[0], [] { return std::vector<ints>{{1, 2}, {3, 4}}; });
  BOOST_TEST(f[1][0] == 3);
  const auto m = here().remotecall(w[0], [] { return std::array<int, 2>{7, 8}; });
  BOOST_TEST(m[1] == 8);
}

BOOST_AUTO_TEST_CASE(a_future_of_another_type_is_refused) {
  workers w{1};
  for (auto where : {proc_id{1}, w[0]}) {
    const auto f = future<int>::on(here(), where);
    f.isready();
    const future<int> same{here(), f.id()};
    BOOST_TEST((same == f));
    BOOST_CHECK_THROW((future<std::string>{here(), f.id()}), troupe::type_mismatch); // known here as another
    BOOST_TEST(here().remotecall_fetch(
      w[0],
      [](ref_id id) {
        const future<std::string> x{here(), id};
        try {
          x.put("x");
        } catch (const troupe::type_mismatch&) {
          return true;
        }
        return false;
      },
      f.id()));
    here().remotecall_wait(w[0], [](const future<int>& x) { x.put(4); }, f);
    BOOST_TEST(same.fetch() == 4);
    BOOST_CHECK_THROW((troupe::remote_channel<int>{here(), here().remotecall<plus_one>(w[0], 1).id()}.take()), troupe::error);
  }
}

BOOST_AUTO_TEST_CASE(the_id_of_what_is_gone_is_an_error) {
  workers w{2};
  ref_id by_master, by_worker;
  {
    const auto f = future<int>::on(here(), w[0]);
    f.isready();
    by_master = f.id();
    by_worker = here().remotecall_fetch(
      w[1],
      [](proc_id p) {
        auto x = future<int>::on(here(), p);
        x.isready();
        return x.id();
      },
      w[0]);
  }
  BOOST_TEST(becomes_empty(w[0]));
  for (auto& id : {by_master, by_worker}) {
    BOOST_CHECK_THROW((future<int>{here(), id}.wait()), troupe::usage_error);
    BOOST_CHECK_THROW((future<int>{here(), id}.put(1)), troupe::usage_error);
    BOOST_CHECK_THROW((future<int>{here(), id}.isready()), troupe::usage_error);
  }
  BOOST_TEST(eventually([&] { return refs_on(w[0]) == 0; }));
}

// -- continuations ----------------------------------------------------------------------------------------------------------

// FU-15
BOOST_AUTO_TEST_CASE(continuations_run_when_the_value_comes) {
  workers w{1};
  for (auto p : {proc_id{1}, w[0]}) {
    const auto f = future<int>::on(here(), p);
    const auto text = f.then([](int x) { return std::to_string(x); });
    const auto longer = text.then([](const std::string& s) { return s + "!"; });
    const auto nothing = longer.then([](const std::string&) {});
    const auto after = nothing.then([] { return 1; });
    const auto followed = f.then([p](int x) { return here().remotecall<plus_one>(p, x); });
    auto std_future = longer.to_std();
    auto std_nothing = nothing.to_std();
    BOOST_TEST(stays_open(longer));
    f.put(7);
    BOOST_TEST(longer.fetch() == "7!");
    BOOST_TEST(after.fetch() == 1);
    BOOST_TEST(followed.fetch() == 8);
    BOOST_TEST(std_future.get() == "7!");
    std_nothing.get();
    BOOST_TEST(f.then([](int x) { return x * 2; }).fetch() == 14);
  }
}

BOOST_AUTO_TEST_CASE(errors_pass_through_continuations) {
  workers w{1};
  const auto f = here().remotecall(w[0], []() -> int { throw std::domain_error{"broken there"}; });
  std::atomic<bool> ran{false};
  const auto g = f.then([&](int x) {
    ran = true;
    return x;
  });
  const auto h = g.then([&](int x) {
    ran = true;
    return std::to_string(x);
  });
  BOOST_TEST(error_of<troupe::remote_error>([&] { h.fetch(); }).message() == "broken there");
  BOOST_CHECK_THROW(h.to_std().get(), troupe::remote_error);
  BOOST_TEST(!ran);
  const auto thrown = here().remotecall<plus_one>(w[0], 1).then([](int) -> int { throw std::out_of_range{"broken here"}; });
  BOOST_TEST(contains(error_of<troupe::error>([&] { thrown.fetch(); }).what(), "broken here"));
  BOOST_CHECK_THROW(troupe::when_all(std::vector{g, thrown}).fetch(), troupe::remote_error);
}

// FU-15
BOOST_AUTO_TEST_CASE(many_futures_can_be_waited_for_at_once) {
  workers w{2};
  std::vector<future<int>> all;
  for (int i = 0; i < 1000; ++i)
    all.push_back(here().remotecall<plus_one>(w[static_cast<std::size_t>(i % 2)], i));
  const auto values = troupe::when_all(all).fetch();
  for (int i = 0; i < 1000; ++i)
    if (values[static_cast<std::size_t>(i)] != i + 1)
      BOOST_FAIL("value " << i);
  std::vector<future<int>> open;
  for (int i = 0; i < 3; ++i)
    open.push_back(future<int>::on(here(), w[0]));
  const auto any = troupe::when_any(open);
  BOOST_TEST(stays_open(any));
  here().remotecall_wait(w[1], [](const future<int>& f) { f.put(0); }, open[1]);
  BOOST_TEST(any.fetch() == 1u);
  open[0].put(1);
  open[2].put(2);
  BOOST_TEST((troupe::when_all(open).fetch() == ints{1, 0, 2}));
  BOOST_TEST(troupe::when_all(std::vector<future<int>>{}).fetch().empty());
  BOOST_CHECK_THROW(troupe::when_any(std::vector<future<int>>{}), troupe::usage_error);
  const auto [x, y, z] =
    troupe::when_all(all[0], here().remotecall(w[0], [] { return std::string{"s"}; }), here().remotecall(w[0], [] {})).fetch();
  BOOST_TEST(x == 1);
  BOOST_TEST(y == "s");
  troupe::when_all(std::vector{here().remotecall(w[0], [] {}), here().remotecall(w[1], [] {})}).fetch();
}

BOOST_AUTO_TEST_CASE(what_continuations_return_can_be_sent) {
  workers w{2};
  const auto f = future<int>::on(here(), w[0]);
  const auto text = f.then([](int x) { return std::string(static_cast<std::size_t>(x), 'x'); });
  const auto size = here().remotecall(w[1], [](const future<std::string>& s) { return s.fetch().size(); }, text);
  BOOST_TEST(stays_open(size));
  f.put(100'000);
  BOOST_TEST(size.fetch() == 100'000u);
  BOOST_TEST(here().remotecall_fetch(w[1], [](const future<std::string>& s) { return s.fetch().size(); }, text) == 100'000u);
}

BOOST_AUTO_TEST_CASE(functions_may_return_futures) {
  workers w{2};
  const auto f = here().remotecall(w[0], [](proc_id other) { return here().remotecall<plus_one>(other, 1); }, w[1]);
  BOOST_TEST(f.fetch() == 2); // what it returns is followed
  const auto failed = here().remotecall(
    w[0], [](proc_id other) { return here().remotecall(other, []() -> int { throw std::runtime_error{"deep down"}; }); }, w[1]);
  BOOST_TEST(contains(error_of<troupe::remote_error>([&] { failed.fetch(); }).what(), "deep down"));
}

// -- promises, actors, processes that go --------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(a_tied_future_fails_with_who_promised_it) {
  workers w{2};
  const auto f = future<int>::on(here(), w[0]);
  f.tie(w[1]);
  const auto kept = future<int>::on(here(), 1);
  kept.tie(w[1]);
  here().remotecall_wait(w[1], [](const future<int>& x) { x.put(1); }, kept);
  const auto fetching = here().remotecall(1, [](const future<int>& x) { return x.fetch(); }, f);
  BOOST_TEST(stays_open(fetching));
  kill(w[1]);
  BOOST_CHECK_THROW(fetching.fetch(), troupe::process_exited);
  BOOST_TEST(error_of<troupe::process_exited>([&] { f.fetch(); }).pid() == w[1]);
  BOOST_TEST(kept.fetch() == 1);
}

BOOST_AUTO_TEST_CASE(the_actor_of_a_reference_ends_with_it) {
  workers w{2};
  auto f = future<int>::on(here(), w[0]);
  auto ch = troupe::remote_channel<int>::on(here(), w[1]);
  std::atomic<int> downs{0};
  caf::scoped_actor self{here().system()};
  self->monitor(f.actor());
  self->monitor(ch.actor());
  BOOST_TEST((f.actor() == f.actor()));
  BOOST_TEST(!self->has_next_message());
  f = {};
  self->receive([&](const caf::down_msg&) { ++downs; }, caf::after(10s) >> [] {});
  BOOST_TEST(downs == 1);
  kill(w[1]);
  self->receive([&](const caf::down_msg&) { ++downs; }, caf::after(10s) >> [] {});
  BOOST_TEST(downs == 2);
}

// FU-14
BOOST_AUTO_TEST_CASE(a_lost_owner_is_told_of) {
  workers w{2};
  const auto f = future<int>::on(here(), w[0]);
  const auto waiting = here().remotecall(
    w[1],
    [](const future<int>& x) {
      try {
        x.fetch();
      } catch (const troupe::process_exited& e) {
        return e.pid();
      }
      return 0;
    },
    f);
  BOOST_TEST(stays_open(waiting));
  kill(w[0]);
  BOOST_TEST(waiting.fetch() == w[0]);
  BOOST_CHECK_THROW(f.fetch(), troupe::process_exited);
  BOOST_CHECK_THROW(f.wait(), troupe::process_exited);
  const auto g = here().remotecall(w[1], [](const future<int>& x) { return x.fetch(); }, f);
  BOOST_CHECK_THROW(g.fetch(), troupe::process_exited);
  BOOST_CHECK_THROW(future<int>::on(here(), w[0]), troupe::process_exited);
  BOOST_CHECK_THROW(future<int>::on(here(), 99), troupe::unknown_process);
  BOOST_CHECK_THROW((future<int>{here(), f.id()}.tie(1)), troupe::process_exited);
}

// GC-13
BOOST_AUTO_TEST_CASE(an_empty_future_throws_whatever_is_asked_of_it) {
  auto f = future<int>::on(here(), 1);
  const auto moved = std::move(f);
  for (auto& x : {f, future<int>{}}) {
    BOOST_CHECK_THROW(x.put(1), troupe::usage_error);
    BOOST_CHECK_THROW(x.then([](int) {}), troupe::usage_error);
    BOOST_CHECK_THROW(x.to_std(), troupe::usage_error);
    BOOST_CHECK_THROW(x.tie(1), troupe::usage_error);
    BOOST_CHECK_THROW(x.id(), troupe::usage_error);
    BOOST_CHECK_THROW(x.actor(), troupe::usage_error);
    BOOST_CHECK_THROW(x.cancel(), troupe::usage_error);
    BOOST_CHECK_THROW(troupe::when_all(std::vector{x}), troupe::usage_error);
  }
}

// -- lifetime -----------------------------------------------------------------------------------------------------------------

// GC-01, GC-02, GC-08
BOOST_AUTO_TEST_CASE(a_result_is_kept_until_it_is_fetched_or_dropped) {
  workers w{1};
  for (const bool fetched : {true, false}) {
    auto f = here().remotecall(w[0], [] { return std::string(100, 'x'); });
    f.wait();
    BOOST_TEST(refs_on(w[0]) == 1u);
    if (fetched)
      f.fetch();
    else
      f = {};
    BOOST_TEST(eventually([&] { return refs_on(w[0]) == 0; }, 1s));
  }
}

// GC-03
BOOST_AUTO_TEST_CASE(a_future_lives_until_all_its_holders_have_fetched_it) {
  workers w{2};
  const auto f = here().remotecall(w[0], [] { return std::string(100'000, 'x'); });
  here().remotecall_wait(
    w[1],
    [](const future<std::string>& x) {
      static future<std::string> mine;
      mine = x;
    },
    f);
  f.fetch();
  BOOST_TEST(eventually([&] { return holders(f.id()) == ids{w[1]}; }));
  const auto fetched = here().remotecall_fetch(w[1], [](ref_id id) { return future<std::string>{here(), id}.fetch().size(); }, f.id());
  BOOST_TEST(fetched == 100'000u);
  BOOST_TEST(becomes_empty(w[0]));
}

// GC-04
BOOST_AUTO_TEST_CASE(a_channel_lives_until_its_last_copy_goes) {
  workers w{1};
  auto ch = troupe::remote_channel<int>::on(here(), w[0], 2);
  ch.put(1);
  ch.fetch();
  ch.take();
  auto copy = ch;
  ch = {};
  BOOST_TEST(refs_on(w[0]) == 1u);
  copy = {};
  BOOST_TEST(becomes_empty(w[0]));
}

// GC-06
BOOST_AUTO_TEST_CASE(sending_a_future_back_leaves_nothing_there) {
  workers w{1};
  const auto f = future<int>::on(here(), w[0]);
  for (int i = 0; i < 5; ++i)
    here().remotecall_wait(w[0], [](const future<int>& x) { x.isready(); }, f);
  BOOST_TEST(eventually([&] { return holders(f.id()) == ids{1}; }));
}

// GC-07
BOOST_AUTO_TEST_CASE(calls_that_bring_their_result_leave_nothing) {
  workers w{1};
  BOOST_TEST(becomes_empty(1)); // of what cases before have left
  for (int i = 0; i < 10'000; ++i)
    here().remotecall_fetch<plus_one>(w[0], i);
  BOOST_TEST(refs_on(w[0]) == 0u);
  BOOST_TEST(refs_on(1) == 0u);
}

// GC-09
BOOST_AUTO_TEST_CASE(what_a_lost_process_held_is_freed) {
  workers w{2};
  auto f = here().remotecall(w[0], [] { return std::string(100'000, 'x'); });
  here().remotecall_wait(
    w[1],
    [](const future<std::string>& x, proc_id other) {
      static auto mine = std::pair{x, troupe::remote_channel<int>::on(here(), other)};
      mine.second.put(1);
    },
    f, w[0]);
  f = {};
  BOOST_TEST(eventually([&] { return refs_on(w[0]) == 2; }));
  kill(w[1]);
  BOOST_TEST(eventually([&] { return refs_on(w[0]) == 0; }, 5s));
}

// GC-10
BOOST_AUTO_TEST_CASE(no_order_of_messages_frees_early_or_never) {
  workers w{3};
  for (int i = 0; i < 1000; ++i) {
    auto f = future<int>::on(here(), w[0]);
    here().remote_do(
      w[1], [](future<int> x, proc_id next) { here().remote_do(next, [](future<int> y) { y.put(1); }, std::move(x)); }, f, w[2]);
    if (i % 2 == 0)
      f = {};
    else
      BOOST_REQUIRE(f.fetch() == 1);
  }
  BOOST_TEST(becomes_empty(w[0]));
  for (auto p : {proc_id{1}, w[1], w[2]})
    BOOST_TEST(becomes_empty(p));
}

// GC-11
BOOST_AUTO_TEST_CASE(dropping_does_no_harm_anywhere) {
  workers w{2};
  std::vector<future<int>> all;
  for (int i = 0; i < 1000; ++i)
    all.push_back(i % 2 == 0 ? here().remotecall<plus_one>(w[0], i) : future<int>::on(here(), w[1]));
  for (auto& f : all)
    static_cast<void>(f.id());
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (std::size_t i = t * 100; i < (t + 1) * 100; ++i)
        all[i] = {};
    });
  for (auto& t : threads)
    t.join();
  auto gate = future<int>::on(here(), w[0]);
  std::vector<future<int>> in_callback{all.begin() + 400, all.begin() + 600};
  all.erase(all.begin() + 400, all.begin() + 600);
  const auto done = gate.then([&](int) { in_callback.clear(); });
  gate.put(1);
  done.fetch();
  kill(w[0]);
  BOOST_TEST(eventually([&] {
    const auto there = here().procs();
    return std::find(there.begin(), there.end(), w[0]) == there.end();
  }));
  all.clear();
  BOOST_TEST(becomes_empty(w[1]));
}

const scenario drops_at_the_end{"drops_at_the_end", [](troupe::cluster& c) {
                                  static std::vector<future<int>> kept;
                                  static std::vector<troupe::remote_channel<int>> channels;
                                  const auto w = c.addprocs(1);
                                  for (int i = 0; i < 1000; ++i) {
                                    kept.push_back(c.remotecall<plus_one>(w[0], i));
                                    kept.push_back(future<int>::on(c, w[0]));
                                    channels.push_back(troupe::remote_channel<int>::on(c, i % 2 == 0 ? 1 : w[0]));
                                  }
                                  return 0;
                                }};

BOOST_AUTO_TEST_CASE(copies_may_outlive_the_cluster) {
  const auto r = run_scenario("drops_at_the_end");
  BOOST_TEST(r.end.status == 0);
  BOOST_TEST(r.err == "");
}

// GC-12
BOOST_AUTO_TEST_CASE(large_results_are_freed_when_they_are_dropped) {
  workers w{1};
  const auto pid = static_cast<int>(here().info(w[0]).os_pid);
  for (int i = 0; i < 20; ++i) {
    auto f = here().remotecall(w[0], [] { return std::vector<double>(12'500'000, 1.0); });
    f.wait();
    BOOST_TEST(eventually([&] { return resident_mb(pid) < 300; }, 1s));
  }
  std::istringstream status{read_file("/proc/" + std::to_string(pid) + "/status")};
  for (std::string word; status >> word;)
    if (std::size_t peak = 0; word == "VmHWM:" && status >> peak)
      BOOST_TEST(peak / 1024 < 300u);
}

// FU-01
BOOST_AUTO_TEST_CASE(a_future_lives_here_unless_told_otherwise) {
  const auto f = future<int>::on(here());
  BOOST_TEST(f.id().where == here().myid());
  BOOST_TEST(!f.isready());
  f.put(3);
  BOOST_TEST(f.fetch() == 3);
  BOOST_TEST(f.fetch() == 3);
}

// GC-14
BOOST_AUTO_TEST_CASE(a_channel_that_holds_itself_stays_until_it_is_emptied) {
  workers w{1};
  BOOST_TEST(becomes_empty(w[0]));
  auto ch = troupe::remote_channel<itself>::on(here(), w[0], 2);
  const auto id = ch.id();
  ch.put({{ch}});
  ch = {};
  BOOST_TEST(eventually([&] { return holders(id) == ids{w[0]}; }));
  // news of others that were dropped later have come, and it is still there
  static_cast<void>(here().remotecall(w[0], [] { return 1; }).fetch());
  BOOST_TEST(eventually([&] { return refs_on(w[0]) == 1; }));
  BOOST_TEST((holders(id) == ids{w[0]}));
  static_cast<void>(troupe::remote_channel<itself>{here(), id}.take());
  BOOST_TEST(becomes_empty(w[0]));
}

// GC-15
BOOST_AUTO_TEST_CASE(a_million_futures_leave_nothing_behind) {
  workers w{1};
  const auto round = [&](int n) {
    for (int i = 0; i < n; ++i) {
      if (i % 4 == 0)
        static_cast<void>(future<int>::on(here(), w[0]).id());
      else if (i % 4 == 1)
        future<int>::on(here(), 1).put(i);
      else
        static_cast<void>(here().remotecall<plus_one>(w[0], i));
    }
    BOOST_TEST(becomes_empty(w[0]));
    BOOST_TEST(becomes_empty(1));
  };
  round(250'000);
  const auto here_before = bytes_in_use(1), there_before = bytes_in_use(w[0]);
  for (int i = 0; i < 6; ++i)
    round(125'000);
  // a leak of 16 bytes each would be 12 MB
  BOOST_TEST(bytes_in_use(1) - here_before < 6'000'000);
  BOOST_TEST(bytes_in_use(w[0]) - there_before < 6'000'000);
}
