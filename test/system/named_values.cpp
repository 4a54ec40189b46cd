#define BOOST_TEST_MODULE named_values
#include "system/test_manager.hpp"

#include <troupe/actors.hpp>

#include <atomic>
#include <numeric>
#include <optional>
#include <set>
#include <span>

namespace {

using ids = std::vector<proc_id>;
using troupe::named;

constexpr std::size_t mebibyte = 1 << 20;

struct mesh {
  std::vector<double> points;
  std::string name;
  bool operator==(const mesh&) const = default;

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, mesh& x) {
    return f(x.points, x.name);
  }
};

// Can't be encoded, or not be decoded, on purpose.
struct stubborn {
  bool written = true;
  int number = 0;

  template <class Inspector>
  friend auto inspect(Inspector& f, stubborn& x) -> typename Inspector::result_type {
    if (Inspector::reads_state && !x.written)
      throw std::runtime_error{"not now"};
    const auto failed = f(x.number);
    if (Inspector::writes_state && x.number == 13)
      throw std::runtime_error{"no thirteens"};
    return failed;
  }
};

template <class T>
T value_of(const std::string& name) {
  return named<T>(name);
}

template <class T>
std::optional<T> value_if_any(const std::string& name) {
  try {
    return named<T>(name);
  } catch (const troupe::usage_error&) {
    return std::nullopt;
  }
}

template <class T>
std::optional<T> value_on(proc_id where, const std::string& name) {
  return here().remotecall_fetch<value_if_any<T>>(where, name);
}

// The processes that have another value, or none.
template <class T>
ids others_than(const T& value, const std::string& name, const ids& where) {
  ids out;
  for (auto id : where)
    if (value_on<T>(id, name) != value)
      out.push_back(id);
  return out;
}

template <class T>
ids others_than(const T& value, const std::string& name) {
  return others_than(value, name, here().procs());
}

double sum_of(const std::string& name) {
  const auto& x = named<std::vector<double>>(name);
  return std::accumulate(x.begin(), x.end(), 0.0);
}

// What the master has sent since the object was made.
class sent_by_master {
public:
  std::uint64_t bytes() const { return own() - before_ - (before_ - first_); } // less what asking takes

private:
  static std::uint64_t own() { return here().statistics().front().bytes_sent; }

  const std::uint64_t first_ = own();
  const std::uint64_t before_ = own();
};

int os_pid() { return ::getpid(); }

std::size_t size_if_any(const std::string& name) { return value_if_any<std::vector<double>>(name).value_or(std::vector<double>{}).size(); }

caf::behavior reader_of_answer(caf::event_based_actor*) {
  return {[](int) { return named<int>("answer"); }};
}

// Counts its objects, and how many have been decoded.
struct counted {
  static inline std::atomic<int> alive{0}, decoded{0};
  int number = 0;

  explicit counted(int n = 0) : number(n) { ++alive; }
  counted(const counted& other) : number(other.number) { ++alive; }
  ~counted() { --alive; }

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, counted& x) {
    decoded += Inspector::writes_state;
    return f(x.number);
  }
};

// -- what joiners run: the value "joining" says how -----------------------------------------------------------------

std::mutex joining_mutex;
std::string joined_as;

void note(const std::string& what) {
  std::lock_guard guard{joining_mutex};
  joined_as += what;
}

std::string own_notes() {
  std::lock_guard guard{joining_mutex};
  return joined_as;
}

void first_function() {
  const auto how = value_if_any<std::string>("joining").value_or("");
  note("1" + how);
  if (how == "throws")
    throw std::domain_error{"no licence on this host"};
  if (how == "throws something else")
    throw 7;
  if (how == "dies")
    ::raise(SIGKILL);
  if (how == "hangs")
    for (;;)
      troupe::this_task::sleep_for(1s);
  if (how == "defines")
    here().define("defined by a joiner", here().myid());
  if (how == "calls")
    note(std::to_string(here().remotecall_fetch(1, [] { return 40; }) + here().remotecall_fetch(here().procs().at(1), [] { return 2; })));
}

// Once for all cases, which choose with the value what it does.
void register_functions() {
  static const bool once = [] {
    here().on_join<first_function>();
    here().on_join(troupe::with(std::string{"2"}, [](const std::string& what) { note(what); }));
    here().on_join([] { note("3"); });
    return true;
  }();
  static_cast<void>(once);
}

// While it lives, workers join in this way.
class joining {
public:
  explicit joining(const std::string& how) {
    register_functions();
    here().define("joining", how);
  }
  ~joining() { here().undefine("joining", {1}), here().undefine("joining"); }
};

troupe::launch_error failure_of(const std::string& how, int n, troupe::local_options options = {}) {
  joining mode{how};
  return error_of<troupe::launch_error>([&] { here().addprocs(n, std::move(options)); });
}

} // namespace

// -- values ---------------------------------------------------------------------------------------------------

// SE-04
BOOST_AUTO_TEST_CASE(a_named_value_is_the_same_on_every_process) {
  workers w{3};
  auto& c = here();
  const mesh m{{1, 2, 3}, "triangle"};
  c.define("mesh", m);
  c.define("count", 7);
  c.define("text", "three words here");
  const std::vector<int> numbers{1, 2, 3};
  c.define("numbers", std::span{numbers});
  BOOST_TEST(others_than(m, "mesh") == ids{}, boost::test_tools::per_element());
  BOOST_TEST(others_than(7, "count") == ids{}, boost::test_tools::per_element());
  BOOST_TEST(others_than(std::string{"three words here"}, "text") == ids{}, boost::test_tools::per_element());
  BOOST_TEST(others_than(numbers, "numbers") == ids{}, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(the_master_alone_has_named_values_as_well) {
  here().define("alone", 5);
  BOOST_TEST(named<int>("alone") == 5);
}

// SE-04
BOOST_AUTO_TEST_CASE(a_value_that_has_not_changed_is_not_sent_again) {
  workers w{2};
  auto& c = here();
  const std::vector<int> big(mebibyte, 3);
  c.define("big", big);
  {
    sent_by_master sent;
    c.define("big", big);
    BOOST_TEST(sent.bytes() < 1024); // what asking has left to be told of, a heartbeat
  }
  {
    sent_by_master sent; // from a worker only what it takes to ask
    c.remotecall_fetch(w[0], [] { here().define("big", std::vector<int>(mebibyte, 3)); });
    BOOST_TEST(sent.bytes() < 4096);
    BOOST_TEST(c.statistics().at(1).bytes_sent < mebibyte);
  }
  {
    sent_by_master sent;
    c.define("big", std::vector<unsigned>(mebibyte, 3)); // the same bytes of another type
    BOOST_TEST(sent.bytes() > sizeof(int) * mebibyte);
  }
  {
    sent_by_master sent;
    c.define("big", std::vector<unsigned>(mebibyte, 4));
    BOOST_TEST(sent.bytes() > sizeof(int) * mebibyte);
  }
}

BOOST_AUTO_TEST_CASE(a_later_definition_replaces_the_value_and_its_type) {
  workers w{2};
  here().define("changing", 1);
  BOOST_TEST(others_than(1, "changing") == ids{}, boost::test_tools::per_element());
  here().define("changing", 2);
  BOOST_TEST(others_than(2, "changing") == ids{}, boost::test_tools::per_element());
  here().define("changing", std::string{"text"});
  BOOST_TEST(others_than(std::string{"text"}, "changing") == ids{}, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(any_process_defines_and_all_end_with_the_same_version) {
  workers w{4};
  here().everywhere([] {
    for (int i = 0; i < 50; ++i)
      here().define("contended", 1000 * here().myid() + i);
  });
  const auto last = named<int>("contended");
  BOOST_TEST(last % 1000 == 49);
  BOOST_TEST(others_than(last, "contended") == ids{}, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_large_value_comes_from_a_worker_as_well) {
  workers w{3};
  here().remotecall_fetch(w[1], [] { here().define("from a worker", std::vector<double>(mebibyte, 0.5)); });
  for (auto id : here().procs())
    BOOST_TEST(here().remotecall_fetch<sum_of>(id, "from a worker") == 0.5 * mebibyte);
}

BOOST_AUTO_TEST_CASE(a_handle_of_an_actor_is_a_value) {
  workers w{2};
  here().define("answer", 1);
  const auto reader = here().spawn<reader_of_answer>(w[0]);
  here().define("reader", reader);
  here().define("answer", 42);
  BOOST_TEST(here().remotecall_fetch(w[1], [] { return here().request<int>(named<caf::actor>("reader"), 0); }) == 42);
}

// -- which version is seen --------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(a_task_sees_one_version_until_it_ends) {
  workers w{1};
  here().define("stepping", std::vector<int>{1});
  const auto seen = here().remotecall_fetch(w[0], [] {
    const auto& first = named<std::vector<int>>("stepping");
    here().define("stepping", std::vector<int>{2});
    const auto& again = named<std::vector<int>>("stepping");
    const auto direct = here().remotecall_fetch(here().myid(), troupe::direct([] { return named<std::vector<int>>("stepping").at(0); }));
    const auto other_task = here().remotecall_fetch(here().myid(), [] { return named<std::vector<int>>("stepping").at(0); });
    here().define("stepping", std::string{"three"});
    here().undefine("stepping");
    const auto& still = named<std::vector<int>>("stepping");
    return std::vector<int>{first.at(0), &again == &first, direct, other_task, &still == &first, still.at(0)};
  });
  BOOST_TEST(seen == (std::vector<int>{1, 1, 2, 2, 1, 1}), boost::test_tools::per_element());
  BOOST_TEST((value_on<std::string>(w[0], "stepping") == std::nullopt));
}

BOOST_AUTO_TEST_CASE(a_thread_sees_the_newest_version_and_keeps_what_it_has_seen) {
  std::thread{[] {
    std::vector<const std::vector<int>*> seen;
    for (int i = 0; i < 100; ++i) {
      here().define("counted", std::vector<int>(1000, i));
      seen.push_back(&named<std::vector<int>>("counted"));
      if (&named<std::vector<int>>("counted") != seen.back())
        note("moved ");
    }
    for (int i = 0; i < 100; ++i)
      if (*seen[static_cast<std::size_t>(i)] != std::vector<int>(1000, i))
        note("lost ");
  }}.join();
  BOOST_TEST(own_notes() == "");
}

BOOST_AUTO_TEST_CASE(an_actor_sees_the_newest_version_each_time) {
  workers w{1};
  here().define("answer", 1);
  const auto reader = here().spawn<reader_of_answer>(w[0]);
  for (int i = 1; i < 20; ++i) {
    here().define("answer", i);
    BOOST_TEST(here().request<int>(reader, 0) == i);
  }
}

BOOST_AUTO_TEST_CASE(versions_that_nobody_sees_any_more_are_freed) {
  workers w{1};
  here().define("counted object", counted{});
  for (int i = 0; i < 5; ++i) {
    here().define("counted object", counted{i});
    BOOST_TEST(here().remotecall_fetch(w[0], [] { return named<counted>("counted object").number; }) == i);
  }
  BOOST_TEST(here().remotecall_fetch(w[0], [] { return counted::alive.load(); }) == 1);
  here().undefine("counted object");
  BOOST_TEST(here().remotecall_fetch(w[0], [] { return counted::alive.load(); }) == 0);
}

BOOST_AUTO_TEST_CASE(a_value_is_decoded_once_on_each_process) {
  workers w{1, [] {
              troupe::local_options o;
              o.threads = 4;
              return o;
            }()};
  here().define("decoded once", counted{3});
  std::vector<troupe::future<int>> all;
  for (int i = 0; i < 40; ++i)
    all.push_back(here().remotecall(w[0], [] { return named<counted>("decoded once").number; }));
  for (auto& f : all)
    BOOST_TEST(f.fetch() == 3);
  BOOST_TEST(here().remotecall_fetch(w[0], [] { return counted::decoded.load(); }) == 1);
}

// -- what can go wrong --------------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(a_name_that_is_not_there_is_an_error_that_says_which_are) {
  workers w{1};
  here().define("alpha", 1);
  here().define("beta", 2);
  const auto local = error_of<troupe::usage_error>([] { static_cast<void>(named<int>("gamma")); });
  BOOST_TEST(contains(local.what(), "there is no value named 'gamma' on process 1; defined are"));
  BOOST_TEST(contains(local.what(), "'alpha', "));
  BOOST_TEST(contains(local.what(), "'beta'"));
  const auto remote = error_of<troupe::remote_error>([&] { here().remotecall_fetch<value_of<int>>(w[0], "gamma"); });
  BOOST_TEST(contains(remote.what(), "'gamma' on process " + std::to_string(w[0])));
  BOOST_CHECK_THROW(remote.rethrow_nested(), troupe::usage_error);
}

BOOST_AUTO_TEST_CASE(a_value_asked_for_as_another_type_is_an_error_that_names_both) {
  workers w{1};
  here().define("typed", mesh{{1}, "dot"});
  const auto e = error_of<troupe::type_mismatch>([] { static_cast<void>(named<std::vector<int>>("typed")); });
  BOOST_TEST(contains(e.what(), "mesh"));
  BOOST_TEST(contains(e.what(), "std::vector<int"));
  const auto remote = error_of<troupe::remote_error>([&] { here().remotecall_fetch<value_of<int>>(w[0], "typed"); });
  BOOST_CHECK_THROW(remote.rethrow_nested(), troupe::type_mismatch);
}

BOOST_AUTO_TEST_CASE(a_value_that_cannot_be_decoded_is_an_error_where_it_is_asked_for) {
  workers w{1};
  here().define("unlucky", stubborn{true, 13});
  for (int i = 0; i < 2; ++i) {
    const auto e = error_of<troupe::not_decodable>([] { static_cast<void>(named<stubborn>("unlucky")); });
    BOOST_TEST(contains(e.what(), "the value named 'unlucky' can't be decoded: no thirteens"));
    BOOST_CHECK_THROW(here().remotecall_fetch(w[0], [] { return named<stubborn>("unlucky").number; }), troupe::error);
  }
}

BOOST_AUTO_TEST_CASE(a_value_that_cannot_be_encoded_changes_nothing) {
  here().define("encoded", stubborn{true, 1});
  const auto e = error_of<troupe::not_serializable>([] { here().define("encoded", stubborn{false, 2}); });
  BOOST_TEST(contains(e.what(), "the value named 'encoded' can't be encoded: not now"));
  BOOST_TEST(named<stubborn>("encoded").number == 1);
}

BOOST_AUTO_TEST_CASE(a_direct_function_cannot_define) {
  workers w{1};
  BOOST_CHECK_THROW(here().remotecall_fetch(w[0], troupe::direct([] { here().define("never", 1); })), troupe::remote_error);
  BOOST_CHECK_THROW(here().remotecall_fetch(1, troupe::direct([] { here().define("never", 1); })), troupe::remote_error);
  BOOST_CHECK_THROW(static_cast<void>(named<int>("never")), troupe::usage_error);
}

// -- names that are removed ---------------------------------------------------------------------------------------

// SE-05
BOOST_AUTO_TEST_CASE(names_are_removed_from_all_workers_and_the_master_keeps_its_own) {
  workers w{2};
  auto& c = here();
  for (auto name : {"a", "b", "c", "d"})
    c.define(name, std::string{name});
  c.undefine("a");
  c.undefine({"b", "nothing of this name", "c"});
  c.undefine("nothing either");
  for (std::string name : {"a", "b", "c"}) {
    BOOST_TEST(others_than(name, name) == w.ids(), boost::test_tools::per_element());
    BOOST_TEST(named<std::string>(name) == name);
  }
  BOOST_TEST(others_than(std::string{"d"}, "d") == ids{}, boost::test_tools::per_element());
  workers later{1};
  BOOST_TEST((value_on<std::string>(later[0], "a") == std::nullopt));
  BOOST_TEST((value_on<std::string>(later[0], "d") == "d"));
}

// SE-05
BOOST_AUTO_TEST_CASE(names_are_removed_from_some_processes) {
  workers w{3};
  auto& c = here();
  for (auto name : {"a", "b", "c", "d"})
    c.define(name, std::string{name});
  c.undefine("a", {w[1]});
  c.undefine({"b", "c", "nothing of this name"}, {w[0], w[2]});
  c.undefine("d", {1});
  BOOST_TEST(others_than(std::string{"a"}, "a") == ids{w[1]}, boost::test_tools::per_element());
  BOOST_TEST(others_than(std::string{"b"}, "b") == (ids{w[0], w[2]}), boost::test_tools::per_element());
  BOOST_TEST(others_than(std::string{"c"}, "c") == (ids{w[0], w[2]}), boost::test_tools::per_element());
  BOOST_TEST(others_than(std::string{"d"}, "d") == ids{1}, boost::test_tools::per_element());
  workers later{1};
  BOOST_TEST((value_on<std::string>(later[0], "a") == "a"));
  BOOST_TEST((value_on<std::string>(later[0], "d") == "d"));
  BOOST_CHECK_THROW(c.undefine("a", {9999}), troupe::unknown_process);
  BOOST_TEST(c.remotecall_fetch(w[0], [] {
    try {
      here().undefine("a", {9999});
    } catch (const troupe::unknown_process& e) {
      return e.pid();
    }
    return 0;
  }) == 9999);
  const auto gone = w[0];
  c.rmprocs(gone);
  c.undefine("a", {gone, w[2]});
  BOOST_TEST(others_than(std::string{"a"}, "a") == (ids{w[1], w[2]}), boost::test_tools::per_element());
}

// SE-04, SE-05
BOOST_AUTO_TEST_CASE(a_value_that_was_removed_somewhere_is_sent_again) {
  workers w{2};
  auto& c = here();
  c.define("back", 5);
  c.undefine("back", {w[0]});
  c.define("back", 5);
  BOOST_TEST(others_than(5, "back") == ids{}, boost::test_tools::per_element());
  c.remotecall_fetch(w[1], [] { here().undefine("back"); });
  BOOST_TEST(others_than(5, "back") == w.ids(), boost::test_tools::per_element());
  c.remotecall_fetch(w[1], [] { here().define("back", 5); });
  BOOST_TEST(others_than(5, "back") == ids{}, boost::test_tools::per_element());
}

// -- large values ---------------------------------------------------------------------------------------------------

// SE-08
BOOST_AUTO_TEST_CASE(a_large_value_is_passed_on_from_worker_to_worker) {
  workers w{8};
  const std::size_t n = 8 * mebibyte;
  sent_by_master sent;
  const auto time = time_of([&] { here().define("large", std::vector<double>(n, 1.0)); });
  BOOST_TEST(sent.bytes() < 3 * n * sizeof(double));
  BOOST_TEST_MESSAGE("64 MiB on 8 workers after " << std::chrono::duration<double>(time).count() << " s, of which the master has sent "
                                                  << static_cast<double>(sent.bytes()) / (n * sizeof(double)) << " copies");
  for (auto id : w.ids())
    BOOST_TEST(here().remotecall_fetch<sum_of>(id, "large") == static_cast<double>(n));
  here().undefine("large", here().procs());
}

// SE-08
BOOST_AUTO_TEST_CASE(who_was_to_get_a_large_value_from_a_process_that_dies_gets_it_all_the_same) {
  workers w{8};
  const std::size_t n = 8 * mebibyte;
  // the first of each half is to pass it on, and one of those behind the second as well
  const auto pid = [&](std::size_t i) { return here().remotecall_fetch<os_pid>(w[i]); };
  const std::array<::pid_t, 2> dying{pid(0), pid(5)};
  for (auto p : dying)
    BOOST_REQUIRE(::kill(p, SIGSTOP) == 0);
  std::atomic<bool> defined{false};
  std::thread definition{[&] {
    here().define("large", std::vector<double>(n, 1.0));
    defined = true;
  }};
  const ids alive{w[1], w[2], w[3], w[4], w[6], w[7]};
  BOOST_TEST(eventually([&] { return here().remotecall_fetch<size_if_any>(w[4], "large") == n; }));
  BOOST_TEST(!defined);
  for (auto p : dying)
    ::kill(p, SIGKILL);
  definition.join();
  for (auto id : alive)
    BOOST_TEST(here().remotecall_fetch<sum_of>(id, "large") == static_cast<double>(n));
  here().undefine("large", here().procs());
}

// -- workers that join ------------------------------------------------------------------------------------------------

// AP-34
BOOST_AUTO_TEST_CASE(a_worker_that_joins_has_the_values_from_the_start) {
  here().define("small", 1);
  here().define("large", std::vector<double>(mebibyte, 2.0));
  workers w{2};
  BOOST_TEST(others_than(1, "small") == ids{}, boost::test_tools::per_element());
  for (auto id : w.ids())
    BOOST_TEST(here().remotecall_fetch<sum_of>(id, "large") == 2.0 * mebibyte);
}

// AP-34
BOOST_AUTO_TEST_CASE(workers_that_join_while_values_are_defined_end_with_the_last) {
  std::atomic<bool> stop{false};
  int last = 0;
  std::thread definitions{[&] {
    while (!stop) {
      ++last;
      here().define("moving", last);
      here().define("moving large", std::vector<int>(100'000, last));
    }
  }};
  std::optional<workers> some, more;
  some.emplace(2);
  more.emplace(3);
  stop = true;
  definitions.join();
  BOOST_TEST(others_than(last, "moving") == ids{}, boost::test_tools::per_element());
  BOOST_TEST(others_than(std::vector<int>(100'000, last), "moving large") == ids{}, boost::test_tools::per_element());
}

// AP-34
BOOST_AUTO_TEST_CASE(functions_run_on_each_worker_that_joins_before_it_is_there) {
  joining mode{"!"};
  workers w{2};
  for (auto id : w.ids())
    BOOST_TEST(here().remotecall_fetch<own_notes>(id) == "1!23");
  BOOST_TEST(own_notes() == ""); // not on the master
  workers later{1};
  BOOST_TEST(here().remotecall_fetch<own_notes>(later[0]) == "1!23");
}

// AP-34
BOOST_AUTO_TEST_CASE(functions_run_on_workers_of_a_manager_of_one_s_own) {
  joining mode{"!"};
  const auto manager = std::make_shared<test_manager>(test_manager::settings{});
  troupe::launch_options options;
  options.extra["count"] = "2";
  const auto added = here().addprocs(manager, options);
  for (auto id : added)
    BOOST_TEST(here().remotecall_fetch<own_notes>(id) == "1!23");
  here().rmprocs(added);
}

// AP-34
BOOST_AUTO_TEST_CASE(functions_run_on_ranks_of_an_mpi_job) {
  const auto ranks = [](int n) {
    troupe::mpi_options options;
    options.np = n;
    return troupe::mpi_manager{options};
  };
  {
    joining mode{"!"};
    const auto added = here().addprocs(ranks(2));
    BOOST_TEST(added.size() == 2);
    for (auto id : added)
      BOOST_TEST(here().remotecall_fetch<own_notes>(id) == "1!23");
    here().rmprocs(added);
  }
  joining mode{"throws"};
  const auto e = error_of<troupe::launch_error>([&] { here().addprocs(ranks(2)); });
  BOOST_TEST(contains(e.what(), "first_function, given to on_join, threw std::domain_error: no licence on this host"), e.what());
}

BOOST_AUTO_TEST_CASE(a_function_that_runs_when_a_worker_joins_may_call_and_define) {
  workers w{1};
  {
    joining mode{"defines"};
    workers joiner{1};
    BOOST_TEST(others_than(joiner[0], "defined by a joiner") == ids{}, boost::test_tools::per_element());
  }
  joining mode{"calls"}; // the master and the other worker
  workers joiner{1};
  BOOST_TEST(here().remotecall_fetch<own_notes>(joiner[0]) == "1calls4223");
}

// AP-34
BOOST_AUTO_TEST_CASE(a_worker_on_which_such_a_function_throws_does_not_join) {
  workers w{1};
  const auto before = here().procs();
  const auto children = processes_of_run().size();
  const auto e = failure_of("throws", 2);
  BOOST_TEST(e.failures().size() == 2);
  for (auto& f : e.failures()) {
    BOOST_TEST((f.reason == troupe::launch_reason::refused));
    BOOST_TEST(contains(f.text, "first_function, given to on_join, threw std::domain_error: no licence on this host"), f.text);
  }
  BOOST_TEST(contains(failure_of("throws something else", 1).what(), "first_function, given to on_join, threw"));
  BOOST_TEST(here().procs() == before, boost::test_tools::per_element());
  BOOST_TEST(eventually([&] { return processes_of_run().size() == children; }));
}

BOOST_AUTO_TEST_CASE(a_worker_that_dies_or_hangs_in_such_a_function_holds_nobody_up) {
  workers w{1};
  const auto died = failure_of("dies", 2);
  BOOST_TEST(died.failures().size() == 2);
  for (auto& f : died.failures())
    BOOST_TEST((f.reason == troupe::launch_reason::died));
  troupe::local_options options;
  options.launch_timeout = 1500ms;
  const auto hung = failure_of("hangs", 1, options);
  BOOST_TEST((hung.failures().at(0).reason == troupe::launch_reason::silent));
  here().define("after them", 1);
  BOOST_TEST(others_than(1, "after them") == ids{}, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(only_the_master_says_what_runs_when_a_worker_joins) {
  workers w{1};
  const auto e = error_of<troupe::remote_error>([&] { here().remotecall_fetch(w[0], [] { here().on_join([] {}); }); });
  BOOST_CHECK_THROW(e.rethrow_nested(), troupe::usage_error);
  BOOST_TEST(contains(e.what(), "on_join: only process 1 may do this"));
}
