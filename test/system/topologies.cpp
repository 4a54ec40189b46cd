#define BOOST_TEST_MODULE topologies
// Which processes have links, and may call each other.
#include "system/harness.hpp"

#include "system/test_manager.hpp"

#include <troupe/actors.hpp>

#include <numeric>
#include <set>

namespace {

using troupe::topology;
using ids = std::vector<proc_id>;

proc_id where_am_i() { return here().myid(); }

// Calls one process from another, from the master.
proc_id by_way_of(proc_id first, proc_id second) {
  return here().remotecall_fetch(first, [](proc_id to) { return here().remotecall_fetch<where_am_i>(to); }, second);
}

std::set<std::pair<proc_id, proc_id>> links() {
  std::set<std::pair<proc_id, proc_id>> out;
  for (auto& l : here().links())
    out.emplace(l.a, l.b);
  return out;
}

std::size_t links_of(const ids& all) {
  const auto there = links();
  return static_cast<std::size_t>(std::count_if(there.begin(), there.end(), [&](auto& l) {
    return (l.first == 1 || std::count(all.begin(), all.end(), l.first) != 0) && std::count(all.begin(), all.end(), l.second) != 0;
  }));
}

// Gives each worker of another manager an identity, 1, 2, …, and the identities that it names.
class numbering_manager final : public troupe::cluster_manager {
public:
  using names = std::function<std::vector<int>(int ident)>;

  numbering_manager(int count, names f) : count_(count), names_(std::move(f)) {}
  void launch(const troupe::launch_options& options, troupe::launch_sink& sink) override {
    struct numbering final : troupe::launch_sink {
      numbering(troupe::launch_sink& to, const names& f) : sink(to), names_of(f) {}
      void launched(troupe::worker_config config) override {
        config.ident = ++last;
        config.connect_idents = names_of(config.ident);
        sink.launched(std::move(config));
      }
      void failed(troupe::launch_failure why) override { sink.failed(std::move(why)); }
      troupe::launch_sink& sink;
      const names& names_of;
      int last = 0;
    } to{sink, names_};
    auto with_count = options;
    with_count.extra["count"] = std::to_string(count_);
    with_count.threads = 1;
    inner_.launch(with_count, to);
  }
  void manage(proc_id id, const troupe::worker_config& config, troupe::manage_op op) override { inner_.manage(id, config, op); }
  void kill(proc_id id, const troupe::worker_config& config) override { inner_.kill(id, config); }
  bool watch(proc_id id, const troupe::worker_config& config, std::function<void(troupe::exit_cause)> ended) override {
    return inner_.watch(id, config, std::move(ended));
  }

private:
  int count_;
  names names_;
  test_manager inner_{{}};
};

caf::behavior successor(caf::event_based_actor*) {
  return {[](int x) { return x + 1; }};
}

} // namespace

// TP-01
BOOST_AUTO_TEST_CASE(all_to_all_is_what_there_is_unless_one_asks_for_something_else) {
  const workers w{3};
  for (auto a : here().procs())
    for (auto b : here().procs())
      BOOST_TEST(by_way_of(a, b) == b);
}

// TP-02, AP-09
BOOST_AUTO_TEST_CASE(under_master_worker_workers_call_the_master_and_themselves_alone) {
  const workers w{3, {.topology = "master_worker"}};
  const auto failed = error_of<troupe::remote_error>([&] { by_way_of(w[0], w[1]); });
  BOOST_TEST(contains(failed.what(), "process " + std::to_string(w[0]) + " is not connected to process " + std::to_string(w[1])));
  BOOST_TEST(contains(failed.what(), "master-worker"));
  const auto bare = error_of<troupe::not_connected>([&] { failed.rethrow_nested(); });
  BOOST_TEST(bare.from() == w[0]);
  BOOST_TEST(bare.to() == w[1]);
  for (auto id : w.ids()) {
    BOOST_TEST(by_way_of(id, id) == id);
    BOOST_TEST(by_way_of(id, 1) == 1);
    BOOST_TEST(by_way_of(1, id) == id);
  }
  BOOST_TEST(links_of(w.ids()) == 3u); // the master's
}

BOOST_AUTO_TEST_CASE(under_master_worker_any_is_a_worker_that_may_be_called) {
  const workers w{3, {.topology = topology::master_worker}};
  for (int i = 0; i < 6; ++i)
    BOOST_TEST(here().remotecall_fetch(w[1], [] { return here().remotecall_fetch<where_am_i>(troupe::any); }) == w[1]);
}

BOOST_AUTO_TEST_CASE(under_master_worker_references_of_other_workers_cant_be_asked_and_are_freed_all_the_same) {
  const workers w{2, {.topology = topology::master_worker}};
  auto f = here().remotecall(w[1], [] { return 7; });
  const auto id = f.id();
  f.wait();
  const auto failed =
    error_of<troupe::remote_error>([&] { here().remotecall_fetch(w[0], [](troupe::future<int> g) { return g.fetch(); }, f); });
  BOOST_TEST(contains(failed.what(), "not connected"));
  BOOST_TEST(f.fetch() == 7);
  f = {};
  BOOST_TEST(eventually([&] {
    const auto there = here().references(w[1]);
    return std::none_of(there.begin(), there.end(), [&](auto& r) { return r.id == id; });
  }));
}

BOOST_AUTO_TEST_CASE(under_master_worker_values_maps_and_collectives_of_the_master_work) {
  const workers w{4, {.topology = topology::master_worker}};
  here().define("table", std::vector<double>(100000, 0.5)); // would go down a tree
  auto sums = here().pmap([](int x) { return x + troupe::named<std::vector<double>>("table").at(static_cast<std::size_t>(x)); },
                          std::vector<int>{1, 2, 3, 4});
  BOOST_TEST(std::accumulate(sums.begin(), sums.end(), 0.0) == 12.0);
  BOOST_TEST(here().reduce(
               w.ids(), [] { return static_cast<int>(here().myid()); }, std::plus<>{})
             == std::accumulate(w.ids().begin(), w.ids().end(), 0));
  const auto seen = here().share(std::vector<int>(100000, 3));
  here().broadcast(w.ids(), 5, [](int five) {
    if (five != 5)
      throw std::runtime_error{"not 5"};
  });
  here().barrier(w.ids());
  for (auto id : w.ids())
    BOOST_TEST(here().remotecall_fetch(id, [](const troupe::shared<std::vector<int>>& s) { return s->at(99999); }, seen) == 3);
  BOOST_TEST(links_of(w.ids()) == 4u);
}

BOOST_AUTO_TEST_CASE(under_master_worker_messages_of_actors_to_other_workers_are_refused) {
  const workers w{2, {.topology = topology::master_worker}};
  const auto a = here().spawn<successor>(w[1]);
  BOOST_TEST(here().request<int>(a, 1) == 2);
  BOOST_CHECK_THROW(here().remotecall_fetch(w[0], [](caf::actor to) { return here().request<int>(to, 1); }, a), troupe::error);
}

// TP-03, AP-10
BOOST_AUTO_TEST_CASE(a_custom_topology_links_those_pairs_that_the_manager_names) {
  const auto manager = std::make_shared<numbering_manager>(8, [](int ident) {
    std::vector<int> out;
    for (int i = ident + 2; i <= 8; i += 2)
      out.push_back(i);
    return out;
  });
  troupe::launch_options options;
  options.topology = topology::custom;
  options.lazy = true; // which a custom topology can't be
  const auto all = here().addprocs(manager, options);
  BOOST_TEST(links_of(all) == 8u + 12u); // of equal parity: two times 4 over 2
  int worked = 0;
  int failed = 0;
  for (auto a : all)
    for (auto b : all) {
      try {
        worked += by_way_of(a, b) == b;
      } catch (const troupe::remote_error& e) {
        BOOST_TEST(contains(e.what(), "not connected"));
        ++failed;
      }
    }
  BOOST_TEST(worked == 32);
  BOOST_TEST(failed == 32);
  here().rmprocs(all);
}

// TP-13
BOOST_AUTO_TEST_CASE(an_identity_that_never_comes_fails_the_addition_within_its_time) {
  const auto manager = std::make_shared<numbering_manager>(2, [](int) { return std::vector<int>{9}; });
  troupe::launch_options options;
  options.topology = topology::custom;
  options.launch_timeout = 2s;
  const auto time = time_of([&] {
    const auto failed = error_of<troupe::launch_error>([&] { here().addprocs(manager, options); });
    BOOST_TEST(contains(failed.what(), "ident 9"));
    BOOST_TEST(failed.joined().size() == 2u);
    here().rmprocs(failed.joined());
  });
  BOOST_TEST((time > 2s && time < 10s));
}

// TP-04
BOOST_AUTO_TEST_CASE(under_each_topology_those_who_stay_see_what_the_master_sees) {
  for (auto which : {topology::all_to_all, topology::master_worker}) {
    auto all = here().addprocs(4, {.topology = which});
    while (!all.empty()) {
      here().rmprocs(all.back());
      all.pop_back();
      for (auto id : all)
        BOOST_TEST(here().remotecall_fetch(id, [] { return here().procs(); }) == here().procs());
    }
    BOOST_TEST(here().nprocs() == 1);
  }
}

// TP-07, TP-15: 8 workers: 8 * 7 / 2 links among them, and the master's 8
BOOST_AUTO_TEST_CASE(not_lazy_all_links_are_there_when_workers_are) {
  {
    const workers w{8, {.lazy = false}};
    BOOST_TEST(links_of(w.ids()) == 36u);
    const workers more{1};
    BOOST_TEST(links().size() == 45u);
  }
  const workers w{8};
  BOOST_TEST(links_of(w.ids()) == 8u);
}

// AP-11, AP-12
BOOST_AUTO_TEST_CASE(the_topology_cant_be_changed_while_there_are_workers) {
  {
    const workers w{1, {.topology = topology::master_worker}};
    const auto wrong = error_of<troupe::usage_error>([] { here().addprocs(1, {.topology = topology::all_to_all}); });
    BOOST_TEST(contains(wrong.what(), "master-worker"));
    BOOST_TEST(here().nworkers() == 1);
    const workers more{1}; // asks for nothing
    BOOST_CHECK_THROW(by_way_of(w[0], more[0]), troupe::remote_error);
  }
  {
    const workers w{1, {.lazy = false}};
    BOOST_CHECK_THROW(here().addprocs(1, {.lazy = true}), troupe::usage_error);
    BOOST_TEST(here().nworkers() == 1);
  }
  const workers w{2, {.topology = topology::all_to_all, .lazy = true}};
  BOOST_TEST(by_way_of(w[0], w[1]) == w[1]);
}

// AP-13
BOOST_AUTO_TEST_CASE(a_topology_that_there_is_not_is_refused_at_once) {
  const auto wrong = error_of<troupe::usage_error>([] { here().addprocs(1, {.topology = "ring"}); });
  BOOST_TEST(contains(wrong.what(), "'ring' is none of all-to-all, master-worker, custom"));
  BOOST_TEST(here().nprocs() == 1);
}

// AP-04
BOOST_AUTO_TEST_CASE(options_have_the_defaults_that_are_documented) {
  const troupe::local_options local;
  BOOST_TEST((local.topology == topology::all_to_all));
  BOOST_TEST(local.lazy);
  BOOST_TEST(local.exename.empty());
  BOOST_TEST(local.exeflags.empty());
  BOOST_TEST(local.env.empty());
  BOOST_TEST(local.respawn == 0);
  BOOST_TEST((local.launch_timeout == 60s));
  const troupe::ssh_options ssh;
  BOOST_TEST(ssh.ssh == "ssh");
  BOOST_TEST(ssh.sshflags.empty());
  BOOST_TEST((ssh.shell == troupe::shell::posix));
  BOOST_TEST((!ssh.cmdline_cookie && !ssh.tunnel && !ssh.multiplex && ssh.max_parallel == 10));
}

// TP-10: with two turns, of which one is taken
BOOST_AUTO_TEST_CASE(a_link_to_a_worker_that_computes_opens_at_once) {
  const workers w{2, {.threads = 2}};
  auto busy = here().remotecall(w[1], [] {
    const auto until = std::chrono::steady_clock::now() + 3s;
    while (std::chrono::steady_clock::now() < until && !troupe::this_task::stop_requested()) {
    }
  });
  BOOST_TEST((time_of([&] { BOOST_TEST(by_way_of(w[0], w[1]) == w[1]); }) < 1s));
  BOOST_TEST(!busy.isready());
  busy.cancel();
}
